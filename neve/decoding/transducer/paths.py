"""What the searches have in common: hypotheses under way, and what becomes of them at the end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from neve.decoding.transducer.histories import Histories


@dataclasses.dataclass(slots=True)
class TokenPath:
    """A sequence of tokens with the frame in which each one was emitted.

    log_probs: log-probability of each token there, given that it is not blank: how sure the model
    is of what was said, whenever that is. score: log-probability of all alignments that the search
    has summed up.
    """

    tokens: list[int]
    frames: list[int]
    log_probs: list[float]
    score: float


@dataclasses.dataclass(slots=True)
class Partial:
    """A hypothesis under way.

    node: its history, in `Histories`; score: log-probability of its alignments; best: that of the
    best one, to which `trail` belongs: (trail before, frame, log-probability as in `TokenPath`) of
    its last token.
    """

    node: int
    score: float
    best: float
    trail: tuple | None


def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    high, low = (a, b) if a >= b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def merge(found: dict[int, Partial], new: Partial) -> None:
    """Put `new` among the hypotheses by history; of equal tokens the probabilities are added."""
    old = found.get(new.node)
    if old is None:
        found[new.node] = new
        return
    old.score = log_add(old.score, new.score)
    if new.best > old.best:
        old.best, old.trail = new.best, new.trail


def token_log_probs(logits: Tensor, blank_penalty: float, temperature: float) -> Tensor:
    """(M, V) logits to log-probabilities; the penalty is taken from the blank's logit."""
    logits = logits.float()
    if blank_penalty:
        logits = logits.clone()
        logits[:, 0] -= blank_penalty
    if temperature != 1.0:
        logits = logits / temperature
    return torch.log_softmax(logits, dim=-1)


def emission_log_probs(scores: Tensor) -> list[float]:
    """Log-probability that it is not blank, of each row of (M, V) log-probabilities."""
    return torch.logsumexp(scores[:, 1:], dim=-1).tolist()


def joined(
    model, encoded: Tensor, rows: list[int], frame: int, histories: Histories, nodes: list[int]
) -> Tensor:
    """(M, V) logits of `nodes`, whose utterances are `rows` of (N, T, J) `encoded`, in a frame."""
    index = torch.tensor(rows, device=encoded.device)
    return model.joiner.join(encoded[index, frame], histories.outputs(nodes))


def grouped_best(scores: np.ndarray, groups: np.ndarray, count: int) -> list[np.ndarray]:
    """For each group the places, in (M, K) scores flattened, of its `count` highest, best first.

    Args:
        scores: (M, K).
        groups: (G + 1,) group g is the rows groups[g] to groups[g + 1] - 1.
        count: of a group with fewer scores, all.
    """
    places = []
    for begin, end in zip(groups[:-1], groups[1:]):
        part = scores[begin:end].ravel()
        if len(part) > count:
            best = np.argpartition(-part, count - 1)[:count]
            best = best[np.argsort(-part[best], kind="stable")]
        else:
            best = np.argsort(-part, kind="stable")
        places.append(best + begin * scores.shape[1])
    return places


def finished(
    partials: Iterable[Partial], histories: Histories, length_norm: bool
) -> list[TokenPath]:
    """The hypotheses of an utterance, best first.

    With `length_norm` their order is that of score / (tokens + 1): long ones have lower scores than
    short ones only because they are long.
    """
    paths = []
    for partial in partials:
        frames, log_probs, trail = [], [], partial.trail
        while trail is not None:
            trail, frame, log_prob = trail
            frames.append(frame)
            log_probs.append(log_prob)
        tokens = histories.tokens(partial.node)
        paths.append(TokenPath(tokens, frames[::-1], log_probs[::-1], partial.score))

    def rank(path: TokenPath) -> float:
        return normed(path.score, len(path.tokens), length_norm)

    return sorted(paths, key=rank, reverse=True)


def normed(score: float, tokens: int, length_norm: bool) -> float:
    """What hypotheses of so many tokens are ranked by."""
    return score / (tokens + 1) if length_norm else score
