"""CTC prefix beam search, and the best alignment of given tokens with CTC scores."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from neve.errors import NeveError
from neve.kernels.phrases import Phrases, fill, no_phrases, step
from neve.kernels.threads import for_each
from neve.kernels.token_passing import checked, grown


class Prefix(NamedTuple):
    """Tokens, and the log of the summed probability of their alignments in the search."""

    tokens: list[int]
    score: float


@njit(cache=True, nogil=True)
def _log_add(a, b):
    if a < b:
        a, b = b, a
    return a if b == -np.inf else a + math.log1p(math.exp(b - a))


@njit(cache=True, nogil=True)
def _insert(scores, first, second, count, most, score, a, b):
    """Put (score, a, b) in its place among `count` sorted ones, of which `most` stay; the count."""
    if count == most:
        if score <= scores[most - 1]:
            return count
        count -= 1
    place = count
    while place > 0 and scores[place - 1] < score:
        scores[place] = scores[place - 1]
        first[place], second[place] = first[place - 1], second[place - 1]
        place -= 1
    scores[place], first[place], second[place] = score, a, b
    return count + 1


@njit(cache=True, nogil=True)
def _find(children, siblings, tokens, node, token):
    """The child of `node` by `token`, or -1."""
    child = children[node]
    while child >= 0 and tokens[child] != token:
        child = siblings[child]
    return child


@njit(cache=True, nogil=True)
def _likely(frame, added, best, tokens, unused):
    """The best tokens of a frame and their scores, as many as there is room for; their number."""
    n = 0
    for token in range(1, len(frame)):
        score = frame[token] + added[token]
        n = _insert(best, tokens, unused, n, len(best), score, token, 0)
    return n


@njit(cache=True, nogil=True)
def _search(log_probs, length, beam, phrases):
    """(parents, tokens) of all prefixes as a tree, and (nodes, scores) of the last beam, sorted.

    A prefix's probability has two parts: of alignments that end in blank, and in its last token;
    both have what its phrases earn. Of the tokens only the beam + 1 best of a frame, or with
    phrases the beam + 1 best after a prefix, can extend it into the beam.
    """
    num_tokens = log_probs.shape[1]
    few = min(beam + 1, num_tokens - 1)
    parents, tokens = np.full(256, -1, np.int32), np.zeros(256, np.int32)
    children, siblings = np.full(256, -1, np.int32), np.full(256, -1, np.int32)
    slot = np.full(256, -1, np.int32)  # place of a prefix in the beam
    states, gains = np.zeros(256, np.int32), np.zeros(256)  # of phrases; what the last token earned
    biased, added = len(phrases.symbol) > 1, np.zeros(num_tokens)
    size, count = 1, 1
    nodes, old = np.zeros(beam, np.int32), np.zeros(beam, np.int32)
    blank, token_end = np.full(beam, -np.inf), np.full(beam, -np.inf)
    old_blank, old_end, total = np.empty(beam), np.empty(beam), np.empty(beam)
    stay_blank, stay_end = np.empty(beam), np.empty(beam)
    blank[0] = 0.0
    best, likely = np.empty(few), np.empty(few, np.int32)
    unused = np.empty(few, np.int32)
    scores, sources = np.empty(beam), np.empty(beam, np.int32)
    extensions = np.empty(beam, np.int32)
    for t in range(length):
        frame = log_probs[t]
        n = 0
        if not biased:
            n = _likely(frame, added, best, likely, unused)
        for i in range(count):
            old[i], old_blank[i], old_end[i] = nodes[i], blank[i], token_end[i]
            total[i] = _log_add(blank[i], token_end[i])
            slot[old[i]] = i
        found = 0
        for i in range(count):
            last, parent = tokens[old[i]], parents[old[i]]
            stay_blank[i] = total[i] + frame[0]
            stay_end[i] = -np.inf
            if parent >= 0:
                stay_end[i] = old_end[i] + frame[last]
                j = slot[parent]
                if j >= 0:  # the parent says the token now
                    before = old_blank[j] if tokens[parent] == last else total[j]
                    stay_end[i] = _log_add(stay_end[i], before + frame[last] + gains[old[i]])
            score = _log_add(stay_blank[i], stay_end[i])
            if score > -np.inf:
                found = _insert(scores, sources, extensions, found, beam, score, i, 0)
        for i in range(count):
            last = tokens[old[i]] if parents[old[i]] >= 0 else 0
            if biased:
                fill(phrases, states[old[i]], added)
                n = _likely(frame, added, best, likely, unused)
            for k in range(n):
                token = likely[k]
                if total[i] + best[k] == -np.inf:
                    break
                if found == beam and total[i] + best[k] <= scores[beam - 1]:
                    break
                child = _find(children, siblings, tokens, old[i], token)
                if child >= 0 and slot[child] >= 0:
                    continue
                score = (old_blank[i] if token == last else total[i]) + best[k]
                if score > -np.inf:
                    found = _insert(scores, sources, extensions, found, beam, score, i, token)
        for i in range(count):
            slot[old[i]] = -1
        count = found
        for k in range(count):
            i, token = sources[k], extensions[k]
            if token == 0:
                nodes[k], blank[k], token_end[k] = old[i], stay_blank[i], stay_end[i]
                continue
            node = _find(children, siblings, tokens, old[i], token)
            if node < 0:
                if size == len(parents):
                    parents, tokens = grown(parents, size + 1), grown(tokens, size + 1)
                    children, siblings = grown(children, size + 1), grown(siblings, size + 1)
                    slot = grown(slot, size + 1)
                    states, gains = grown(states, size + 1), grown(gains, size + 1)
                    children[size:], slot[size:] = -1, -1
                node = size
                size += 1
                parents[node], tokens[node] = old[i], token
                siblings[node], children[old[i]] = children[old[i]], node
                states[node], gains[node] = 0, 0.0
                if biased:
                    states[node], gains[node] = step(phrases, states[old[i]], token)
            nodes[k], blank[k], token_end[k] = node, -np.inf, scores[k]
    final, order = np.empty(count), np.empty(count, np.int32)
    unused = np.empty(count, np.int32)
    n = 0
    for k in range(count):
        score = _log_add(blank[k], token_end[k]) - phrases.held[states[nodes[k]]]
        n = _insert(final, order, unused, n, count, score, nodes[k], 0)
    return parents, tokens, order, final


def prefix_beam_search(
    log_probs: np.ndarray,
    lengths: np.ndarray,
    beam: int,
    threads: int | None = None,
    phrases: Phrases | None = None,
) -> list[list[Prefix]]:
    """The most probable token sequences of each row (Hannun et al., 2014, arXiv:1408.2873).

    The alignments of a sequence are summed, as far as the beam has kept its prefixes.

    Args:
        log_probs: (N, T, C), token 0 being blank.
        lengths: (N,) frames of each row.
        beam: prefixes that are kept in each frame.
        threads: None for as many as there are.
        phrases: over the tokens; what they earn is added in the search, and is in the scores.

    Returns:
        Of each row at most `beam` sequences, the best first; none if no alignment is possible.

    Raises:
        NeveError: `log_probs` or `lengths` are not what they should be, or `beam` is not positive.
    """
    log_probs, lengths = checked(0, log_probs, lengths, beam=beam)
    phrases = phrases or no_phrases()

    def search(row: int) -> list[Prefix]:
        parents, tokens, nodes, scores = _search(
            log_probs[row], int(lengths[row]), int(beam), phrases
        )
        found = []
        for node, score in zip(nodes.tolist(), scores.tolist()):
            path = []
            while node > 0:
                path.append(int(tokens[node]))
                node = int(parents[node])
            found.append(Prefix(path[::-1], score))
        return found

    return for_each(len(log_probs), search, threads)


@njit(cache=True, nogil=True)
def _align(log_probs, tokens):
    """Labels (T,) of the best alignment and its score; -inf where there is none."""
    length, states = len(log_probs), 2 * len(tokens) + 1
    labels = np.zeros(length, np.int32)
    scores, before = np.full(states, -np.inf), np.full(states, -np.inf)
    came = np.zeros((length, states), np.int8)
    before[0] = 0.0  # as though a blank had come before the first frame
    for t in range(length):
        for s in range(states):
            token = tokens[s // 2] if s % 2 else 0
            best, step = before[s], 0
            if s > 0 and before[s - 1] > best:
                best, step = before[s - 1], 1
            if s > 1 and token and token != tokens[s // 2 - 1] and before[s - 2] > best:
                best, step = before[s - 2], 2
            scores[s] = best + log_probs[t, token]
            came[t, s] = step
        scores, before = before, scores
    s = states - 1
    if states > 1 and before[s - 1] > before[s]:
        s -= 1
    total = before[s]
    if total > -np.inf:
        for t in range(length - 1, -1, -1):
            labels[t] = tokens[s // 2] if s % 2 else 0
            s -= came[t, s]
    return labels, total


def align_ctc(log_probs: np.ndarray, tokens: list[int]) -> tuple[np.ndarray, float]:
    """The best alignment of tokens with (T, C) log-probabilities (Viterbi over CTC's states).

    Returns:
        The token of each frame (T,) int32, 0 for blank, and the alignment's log-probability.

    Raises:
        NeveError: there is no alignment: too few frames, or a token that is impossible.
    """
    labels, score = _align(np.asarray(log_probs), np.asarray(tokens, np.int32))
    if score == -np.inf:
        raise NeveError(
            f"{len(tokens)} tokens have no CTC alignment with {len(log_probs)} frames: there are "
            "too few frames, or a token has probability 0"
        )
    return labels, float(score)
