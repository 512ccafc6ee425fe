"""Forced alignment: when each word and token of a known text was said, by a CTC model's outputs.

The best path through a graph of the text is taken (Viterbi; Rabiner, "A tutorial on hidden Markov
models", Proc. IEEE 1989, with CTC's topology instead of HMM states: Graves et al., ICML 2006). The
graph has every pronunciation of each word side by side and, where the lang directory has a silence
phone, an optional one before, between and after words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from neve.errors import NeveError
from neve.kernels import Graph, compose_ctc, one_best
from neve.lang import Lang, UnknownWordError
from neve.results import Word

EXACT = 1e30  # a beam in which everything is
DENSE = 20_000_000  # frames * states up to which the search is exact
WIDE = 300.0  # the beam of larger ones


class CannotAlign(NeveError):
    """An utterance that has no alignment, for a reason that concerns it alone; it may be skipped.

    reason: what is wrong, without the utterance's name.
    """

    def __init__(self, utterance: str, reason: str):
        self.utterance, self.reason = utterance, reason
        super().__init__(f"utterance {utterance}: {reason}")


@dataclass
class Alignment:
    """The words and tokens of an utterance with their times in seconds.

    words: as they stand in the text; confidence is the geometric mean of their tokens'.
    tokens: names of the tokens of the pronunciations that fit best, silence left out; confidence is
        the highest probability that the model gives the token in its frames.
    token_counts: how many of the tokens belong to each word.
    score: log-probability of the path, with those of optional silences.
    """

    id: str
    words: list[Word]
    tokens: list[Word]
    token_counts: list[int] = field(default_factory=list)
    score: float = 0.0


class GraphBuilder:
    """Arcs of an acceptor of tokens, each of which emits the number of its place."""

    def __init__(self):
        self.arcs: list[tuple[int, int, int, float, int]] = []
        self.places: list[tuple[int, int]] = []  # (owner, token)
        self.firsts: set[int] = set()  # places with which a chain begins
        self.num_states = 0

    def state(self) -> int:
        self.num_states += 1
        return self.num_states - 1

    def arc(self, sources: Sequence[tuple[int, float]], dst: int, owner: int, token: int) -> None:
        """One place, entered from each of (state, score)."""
        self.places.append((owner, token))
        for src, score in sources:
            self.arcs.append((src, dst, token, score, len(self.places)))

    def chain(
        self, sources: Sequence[tuple[int, float]], dst: int, owner: int, tokens: Sequence[int]
    ) -> None:
        """The tokens one after another."""
        self.firsts.add(len(self.places))
        for number, token in enumerate(tokens):
            last = number == len(tokens) - 1
            there = dst if last else self.state()
            self.arc(sources, there, owner, token)
            sources = [(there, 0.0)]

    def finish(self, ends: Sequence[tuple[int, float]]) -> Graph:
        """The CTC graph; it ends in the given states."""
        final = self.state()
        self.arcs += [(src, final, -1, score, 0) for src, score in ends]
        src, dst, labels, scores, aux = (np.array(column) for column in zip(*self.arcs))
        return compose_ctc(Graph.from_arcs(self.num_states, src, dst, labels, scores, aux))


def transcript_graph(words: Sequence[str], lang: Lang) -> tuple[Graph, list[tuple[int, int]]]:
    """All ways to say the words, one after another.

    Returns:
        A graph that consumes one label a frame, 0 for blank, and emits a number where a token
        begins; and for the numbers 1, 2, ... the place they stand for: (index of the word, or -1
        for silence, token id).

    Raises UnknownWordError that names all words that the lang directory cannot spell.
    """
    ways: list[list[list[int]]] = []
    unknown = []
    for word in words:
        try:
            ways.append(lang.pronunciations(word))
        except UnknownWordError:
            unknown.append(word)
    if unknown:
        raise UnknownWordError(list(dict.fromkeys(unknown)), lang.directory)
    silence = lang.tokens[lang.silence] if lang.silence else 0
    said, left = 0.0, 0.0
    if silence:
        chance = min(max(lang.sil_prob, 1e-6), 1.0 - 1e-6)
        said, left = float(np.log(chance)), float(np.log1p(-chance))
    builder = GraphBuilder()

    def boundary(state: int) -> list[tuple[int, float]]:
        """Where the next word begins: at once, or after silence."""
        if not silence:
            return [(state, 0.0)]
        after = builder.state()
        builder.arc([(state, said)], after, -1, silence)
        return [(state, left), (after, 0.0)]

    sources = boundary(builder.state())
    for number, pronunciations in enumerate(ways):
        end = builder.state()
        for tokens in dict.fromkeys(map(tuple, pronunciations)):
            builder.chain(sources, end, number, tokens)
        sources = boundary(end)
    return builder.finish(sources), builder.places


@dataclass
class Span:
    """Frames begin..end-1 of a place of a graph (see `transcript_graph`)."""

    place: int
    begin: int
    end: int


def path_spans(graph: Graph, arcs: np.ndarray, frames: int) -> list[Span]:
    """The spans of a path's tokens: each begins where the graph emits its place."""
    spans: list[Span] = []
    for frame, arc in enumerate(arcs[:frames].tolist()):
        begin, end = graph.aux_splits[arc], graph.aux_splits[arc + 1]
        if end > begin:
            spans.append(Span(int(graph.aux_values[begin]) - 1, frame, frame + 1))
        elif graph.labels[arc] > 0:
            spans[-1].end = frame + 1
    return spans


def align(
    utterance: str,
    text: str,
    log_probs: np.ndarray,
    lang: Lang,
    frame_seconds: float,
    duration: float | None = None,
    begins: np.ndarray | None = None,
) -> Alignment:
    """Align the words of `text` with an utterance.

    Args:
        utterance: its name, for messages.
        log_probs: (T, C) the model's log-probabilities, class 0 being blank.
        lang: the tokens that the classes are.
        frame_seconds: length of a frame of `log_probs`.
        duration: seconds; times are cut there (the last frame may reach beyond).
        begins: (T,) seconds at which the frames begin; None: one after another from 0.

    Raises:
        CannotAlign: there are no words, too few frames for them, tokens of probability 0, outputs
            that are not numbers; or words that cannot be spelled, if lang.oov is drop.
        NeveError: words cannot be spelled otherwise, or the classes are not those of `lang`.
    """
    words = text.split()
    log_probs = np.asarray(log_probs, np.float32)
    if log_probs.ndim != 2 or log_probs.shape[1] < lang.num_tokens:
        raise NeveError(
            f"utterance {utterance}: log_probs has the shape {log_probs.shape}, but (frames, "
            f"{lang.num_tokens} classes) are needed; is {lang.directory} the lang of the model?"
        )
    if not words:
        raise CannotAlign(utterance, "there are no words in its text")
    if np.isnan(log_probs).any():
        raise CannotAlign(utterance, "the model's outputs for it are not numbers (NaN)")
    try:
        graph, places = transcript_graph(words, lang)
    except UnknownWordError as error:
        if lang.oov == "drop":
            raise CannotAlign(utterance, f"no pronunciation for {', '.join(error.words)}") from None
        raise NeveError(f"utterance {utterance}: {error}") from None
    length = len(log_probs)
    exact = length * graph.num_states <= DENSE
    (path,) = one_best(
        graph,
        log_probs[None],
        np.array([length]),
        EXACT if exact else WIDE,
        min_active=graph.num_states if exact else 1000,
        max_active=graph.num_states,
        threads=1,
    )
    if not len(path.arcs):
        raise CannotAlign(
            utterance,
            f"{len(words)} words do not fit {length} frames: there are too few frames, or a token "
            "has probability 0; is this text that of the audio?",
        )
    if begins is None:
        begins = np.arange(length) * frame_seconds
    latest = float("inf") if duration is None else duration
    found: list[list[Word]] = [[] for _ in words]
    for span in path_spans(graph, path.arcs, length):
        owner, token = places[span.place]
        if owner >= 0:
            start = min(float(begins[span.begin]), latest)
            end = min(float(begins[span.end - 1]) + frame_seconds, latest)
            best = float(np.exp(log_probs[span.begin : span.end, token].max()))
            found[owner].append(Word(lang.tokens[token], start, end, min(1.0, best)))
    timed = [
        Word(word, parts[0].start, parts[-1].end, geometric_mean(parts))
        for word, parts in zip(words, found)
    ]
    tokens = [token for parts in found for token in parts]
    return Alignment(utterance, timed, tokens, [len(parts) for parts in found], path.score)


def geometric_mean(parts: Sequence[Word]) -> float:
    """That of confidences."""
    floor = np.finfo(np.float64).tiny
    return float(np.exp(np.mean(np.log([max(part.confidence, floor) for part in parts]))))
