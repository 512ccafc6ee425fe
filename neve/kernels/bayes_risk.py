"""Expected edit distance of a word sequence to the paths of a lattice, and what they say instead.

Xu, Povey, Mangu and Zhu, "Minimum Bayes risk decoding and system combination based on a recursion
for edit distance" (Computer Speech and Language 25, 2011), sections 4 and 5. A sequence of Q words
has 2Q + 1 places, its words and the gaps around them; a word of a path takes a place or is
inserted, a place without one is passed by. What is best for an arc is decided for the mean of all
that led to it, so that what the paper computes is no less than the true distance, and may be more
where paths meet. Here a state is therefore split first into parts to which paths with like
distances lead, which makes it exact, but for limits that are below.
"""

import functools
from typing import NamedTuple

import numpy as np
from numba import njit

from neve.kernels.token_passing import grown
from neve.kernels.totals import Arcs, backward_scores, forward_scores

REACH = 4  # distances that are more than this above the least of a state are taken to be equal
LARGEST = 1 << 24  # distances that are kept at most; of a larger lattice fewer parts are told apart
ALIGNED, PASSED, INSERTED = 0, 1, 2
TIE = 1e-9  # of alignments that differ by less the first of the above is taken


class Votes(NamedTuple):
    """What the paths say at the places of a sequence.

    risk: the expected edit distance. votes (2Q + 1, V): the probability of each word at each
    place, gaps at the even ones; word 0 is none. spoken: for each of the Q words the arcs that say
    it at its place, rising, and the part of its probability that each of them has.
    """

    risk: float
    votes: np.ndarray
    spoken: list[tuple[np.ndarray, np.ndarray]]


class WordLattice:
    """A lattice in which an arc says a word or nothing.

    Args:
        splits: (S+1,) the arcs that leave state s are splits[s] .. splits[s+1]-1; states are
            sorted so that arcs go to later ones, the first is the start, the last the only end.
        dst: (A,) where the arcs go.
        scores: (A,) log-probabilities up to a constant, float64.
        words: (A,) numbers below V of what they say, 0 for nothing.
        most: at most so many parts of a state are told apart; 1 is the recursion of the paper.

    Raises:
        ValueError: no path leads from the start to the end.
    """

    def __init__(self, splits, dst, scores, words, most: int = 16):
        self.splits = np.ascontiguousarray(splits, np.int64)
        self.words = np.ascontiguousarray(words, np.int64)
        self.num_words, self.most = int(self.words.max(initial=0)) + 1, most
        num_states = len(self.splits) - 1
        src = np.repeat(np.arange(num_states), np.diff(self.splits))
        scores = np.ascontiguousarray(scores, np.float64)
        self.arcs = _one_automaton(src, np.ascontiguousarray(dst, np.int64), scores, num_states)
        totals, _ = forward_scores(self.arcs, log_semiring=True)
        if num_states < 2 or not totals[-1] > -np.inf:
            raise ValueError("no path leads through the lattice")
        self._alive = np.isfinite(totals[src] + scores)

    def vote(self, sequence) -> Votes:
        """The risk of a sequence of words (numbers, none of them 0), and the paths' votes."""
        sequence = np.array(sequence, np.int64)
        places = np.zeros(2 * len(sequence) + 1, np.int64)
        places[1::2] = sequence
        arcs, origin = self._split(sequence)
        num_states = int(arcs.state_splits[-1])
        totals, _ = forward_scores(arcs, log_semiring=True)
        shares = np.exp(totals[arcs.src] + arcs.scores - totals[arcs.dst])
        splits = np.searchsorted(arcs.src, np.arange(num_states + 1))
        arrays = (splits, arcs.dst, self.words[origin], shares, places)
        mean = _distances(*arrays)
        votes = np.zeros((len(places), max(self.num_words, int(places.max()) + 1)))
        said = _votes(*arrays, mean, origin, votes)
        return Votes(float(mean[-1, -1]), votes, _summed(*said, len(sequence), len(self.words)))

    def _split(self, sequence) -> tuple[Arcs, np.ndarray]:
        """The lattice, its states split by distances to `sequence`; arcs and those they are of."""
        arrays, num_states = self.arcs, len(self.splits) - 1
        room = LARGEST // (num_states * (2 * len(sequence) + 2))
        states, src, dst, origin = _split_states(
            self.splits, arrays.dst, self.words, self._alive, sequence, max(1, min(self.most, room))
        )
        order = np.argsort(states, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return _one_automaton(rank[src], rank[dst], arrays.scores[origin], len(order)), origin

    def least_risk(self, sequence) -> tuple[list[int], Votes]:
        """The words with the least risk that voting from `sequence` leads to, and their votes.

        Each round takes the likeliest word of each place, until the risk falls no further; it is
        never above that of `sequence`.
        """
        now = [int(word) for word in sequence]
        standing = self.vote(now)
        while True:
            places = np.zeros(2 * len(now) + 1, np.int64)
            places[1::2] = now
            votes = standing.votes.copy()
            votes[np.arange(len(places)), places] += TIE  # of equals, what stands
            better = [int(word) for word in votes.argmax(axis=1) if word]
            if better == now:
                return now, standing
            tried = self.vote(better)
            if tried.risk >= standing.risk - TIE:
                return now, standing
            now, standing = better, tried

    def path_through(self, arc: int) -> list[int]:
        """The arcs of the best path with `arc`."""
        entering, leaving = self._best_arcs
        src, dst, last = self.arcs.src, self.arcs.dst, len(self.splits) - 2
        path, state = [arc], int(src[arc])
        while state:
            path.append(int(entering[state]))
            state = int(src[path[-1]])
        path.reverse()
        state = int(dst[arc])
        while state != last:
            path.append(int(leaving[state]))
            state = int(dst[path[-1]])
        return path

    @functools.cached_property
    def _best_arcs(self) -> tuple[np.ndarray, np.ndarray]:
        """By which arc the best path enters and leaves each state."""
        return forward_scores(self.arcs, False)[1], backward_scores(self.arcs, False)[1]


def _one_automaton(src, dst, scores, num_states: int) -> Arcs:
    return Arcs(src, dst, scores, np.array([0, num_states]), np.array([0, len(dst)]))


@njit(cache=True, nogil=True)
def _split_states(splits, dst, words, alive, sequence, most):
    """Splits states by the distances of what leads to them to the first words of `sequence`.

    What is the same but for a constant, and for distances that are more than REACH above the least,
    leads to the same part; a state that has `most` parts gives what is new to the nearest.

    Returns:
        The state of each part, in the order in which they are met; source, target and arc of the
        lattice of each arc between them, by the state of the source and the order of parts.
    """
    num_states, width = len(splits) - 1, len(sequence) + 1
    first, final = np.full(num_states, -1), np.full(num_states, -1)
    parts = np.zeros(num_states, np.int64)
    states, after = np.full(2 * num_states, -1), np.full(2 * num_states, -1)
    columns = np.zeros(2 * num_states * width, np.int16)
    src, to = np.empty(2 * len(dst), np.int64), np.empty(2 * len(dst), np.int64)
    origin = np.empty(2 * len(dst), np.int64)
    count = arcs = 0
    column = np.empty(width, np.int16)
    for q in range(width):
        columns[q] = min(q, REACH)
    states[0], first[0], final[0], parts[0], count = 0, 0, 0, 1, 1
    for state in range(num_states - 1):
        part = first[state]
        while part >= 0:
            for arc in range(splits[state], splits[state + 1]):
                if not alive[arc]:
                    continue
                target, word = dst[arc], words[arc]
                if target == num_states - 1:
                    column[:] = 0  # what follows is nothing: one part
                else:
                    _next_column(columns[part * width : (part + 1) * width], word, sequence, column)
                found, near = -1, np.int64(2**62)
                other = first[target]
                while other >= 0 and near > 0:
                    apart = np.int64(0)
                    for q in range(width):
                        apart += abs(columns[other * width + q] - column[q])
                    if apart < near:
                        found, near = other, apart
                    other = after[other]
                if near > 0 and parts[target] < most:
                    found = count
                    if count == len(states):
                        states, after = grown(states, 2 * count), grown(after, 2 * count)
                        columns = grown(columns, 2 * count * width)
                    states[found], after[found] = target, -1
                    columns[found * width : (found + 1) * width] = column
                    if parts[target]:
                        after[final[target]] = found
                    else:
                        first[target] = found
                    final[target] = found
                    parts[target] += 1
                    count += 1
                if arcs == len(src):
                    src, to = grown(src, 2 * arcs), grown(to, 2 * arcs)
                    origin = grown(origin, 2 * arcs)
                src[arcs], to[arcs], origin[arcs] = part, found, arc
                arcs += 1
            part = after[part]
    return states[:count], src[:arcs], to[:arcs], origin[:arcs]


@njit(cache=True, nogil=True)
def _next_column(before, word, sequence, column):
    """Distances to the first words of the sequence after one more word (0: none), least 0."""
    column[:] = before
    if word == 0:
        return
    column[0] += 1
    least = column[0]
    for q in range(1, len(column)):
        taken = before[q - 1] + (word != sequence[q - 1])
        column[q] = min(taken, before[q] + 1, column[q - 1] + 1)
        least = min(least, column[q])
    for q in range(len(column)):
        column[q] = min(column[q] - least, REACH)


@njit(cache=True, nogil=True)
def _align(before, word, places, row, chosen):
    """An arc's distances (P+1,) to the first places, from those before it, and how each is got."""
    row[0] = before[0] + 1
    chosen[0] = INSERTED
    for q in range(1, len(places) + 1):
        place = places[q - 1]
        least, how = before[q - 1] + (word != place), ALIGNED
        passed = row[q - 1] + (place != 0)
        if passed < least - TIE:
            least, how = passed, PASSED
        inserted = before[q] + 1
        if inserted < least - TIE:
            least, how = inserted, INSERTED
        row[q], chosen[q] = least, how


@njit(cache=True, nogil=True)
def _distances(splits, dst, words, shares, places):
    """(S, P+1): of each state the mean distance of what leads to it to the first q places."""
    num_states, width = len(splits) - 1, len(places) + 1
    mean = np.zeros((num_states, width))
    for q in range(1, width):
        mean[0, q] = mean[0, q - 1] + (places[q - 1] != 0)
    row, chosen = np.empty(width), np.empty(width, np.int8)
    for state in range(num_states - 1):
        for arc in range(splits[state], splits[state + 1]):
            share = shares[arc]
            if words[arc] == 0:
                mean[dst[arc]] += share * mean[state]
            else:
                _align(mean[state], words[arc], places, row, chosen)
                mean[dst[arc]] += share * row
    return mean


def _summed(numbers, arcs, parts, count: int, num_arcs: int):
    """The parts of `_votes`, by the number of the word; those of one arc are added."""
    keys, which = np.unique(numbers * num_arcs + arcs, return_inverse=True)
    parts = np.bincount(which, parts, len(keys))
    ends = np.searchsorted(keys, np.arange(count + 1) * num_arcs)
    return [(keys[a:b] % num_arcs, parts[a:b]) for a, b in zip(ends, ends[1:])]


@njit(cache=True, nogil=True)
def _votes(splits, dst, words, shares, places, mean, origin, votes):
    """Adds the probability with which each word takes each place to `votes`.

    Returns (numbers, arcs, parts): the part of it by which an arc, as `origin` numbers them, says
    the word of the sequence with this number, at its place. Most arcs do so at a few places only.
    """
    size = 1 << 10
    numbers, arcs = np.empty(size, np.int64), np.empty(size, np.int64)
    parts = np.empty(size, np.float64)
    count = 0
    num_states, width = len(splits) - 1, len(places) + 1
    passing = np.zeros((num_states, width))
    passing[num_states - 1, width - 1] = 1
    row, chosen, here = np.empty(width), np.empty(width, np.int8), np.empty(width)
    for state in range(num_states - 2, -1, -1):
        for arc in range(splits[state], splits[state + 1]):
            share, word = shares[arc], words[arc]
            if word == 0:
                passing[state] += share * passing[dst[arc]]
                continue
            _align(mean[state], word, places, row, chosen)
            here[:] = share * passing[dst[arc]]
            for q in range(width - 1, -1, -1):
                if here[q] == 0:
                    continue
                if chosen[q] == ALIGNED:
                    passing[state, q - 1] += here[q]
                    votes[q - 1, word] += here[q]
                    if word == places[q - 1]:
                        if count == len(parts):
                            numbers, arcs = grown(numbers, 2 * count), grown(arcs, 2 * count)
                            parts = grown(parts, 2 * count)
                        numbers[count], arcs[count] = (q - 2) // 2, origin[arc]
                        parts[count] = here[q]
                        count += 1
                elif chosen[q] == PASSED:
                    here[q - 1] += here[q]
                    votes[q - 1, 0] += here[q]
                else:
                    passing[state, q] += here[q]
    for q in range(width - 1, 0, -1):
        votes[q - 1, 0] += passing[0, q]
        passing[0, q - 1] += passing[0, q]
    return numbers[:count], arcs[:count], parts[:count]
