"""When words were said: the frames of a path's tokens, cut at the words' boundaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from neve.lang import Lang
from neve.results import Word

Pronunciations = Callable[[str], list[list[int]]]


def token_runs(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of one token in (T,) labels as (token, first frame, frame after the last); no blanks."""
    edges = np.flatnonzero(np.diff(labels)) + 1
    starts, ends = [0, *edges.tolist()], [*edges.tolist(), len(labels)]
    if not len(labels):
        return []
    return [(int(labels[a]), a, b) for a, b in zip(starts, ends) if labels[a] != 0]


class TokenSpan(NamedTuple):
    """A token of a hypothesis: first frame, frame after the last, the model's log-probability."""

    token: int
    begin: int
    end: int
    log_prob: float


def spelled_words(spans: Sequence[TokenSpan], lang: Lang, frame_seconds: float) -> list[Word]:
    """The words that tokens spell without a lexicon; tokens themselves where they are phones.

    A word begins with a token that has the word boundary, and lasts from the first frame of its
    first token to the last of its last one. Its confidence is the geometric mean of its tokens'
    probabilities. What spells nothing (silence, a boundary alone) is left out.
    """
    groups: list[list[TokenSpan]] = []
    for span in spans:
        if not groups or lang.starts_word(span.token):
            groups.append([])
        groups[-1].append(span)
    words = []
    for group in groups:
        text = lang.decode([span.token for span in group])
        if text:
            confidence = float(np.exp(np.mean([span.log_prob for span in group])))
            start, end = group[0].begin * frame_seconds, group[-1].end * frame_seconds
            words.append(Word(text, start, end, min(1.0, confidence)))
    return words


def split_tokens(
    tokens: Sequence[int],
    words: Sequence[str],
    pronunciations: Pronunciations,
    free: str = "",
    starts: Sequence[int] = (),
) -> list[int] | None:
    """Cut `tokens` into one pronunciation per word.

    Args:
        free: a word that any tokens may be, besides its pronunciations.
        starts: for each word the token with which it began as the graph emitted it. The free words
            begin as near to these as the others allow.

    Returns:
        For each word the number of tokens up to its end, or None where no choice of pronunciations
        gives these tokens.
    """
    # after each word: tokens used -> (how far free words are from their starts, used before it)
    reached: list[dict[int, tuple[int, int]]] = [{0: (0, -1)}]
    for number, word in enumerate(words):
        here: dict[int, tuple[int, int]] = {}
        for used, (off, _) in reached[-1].items():
            ends = [
                used + len(spelling)
                for spelling in pronunciations(word)
                if list(tokens[used : used + len(spelling)]) == list(spelling)
            ]
            if word == free:
                off += abs(used - starts[number])
                ends = range(used + 1, len(tokens) + 1)
            for end in ends:
                if end not in here or off < here[end][0]:
                    here[end] = off, used
        reached.append(here)
    if len(tokens) not in reached[-1]:
        return None
    ends, end = [], len(tokens)
    for here in reversed(reached[1:]):
        ends.append(end)
        end = here[end][1]
    return ends[::-1]


def timed_words(
    labels: np.ndarray,
    log_probs: np.ndarray,
    words: Sequence[str],
    emitted: Sequence[int],
    pronunciations: Pronunciations,
    frame_seconds: float,
    free: str = "",
    spell: Callable[[list[int]], str] | None = None,
) -> list[Word]:
    """The words of a best path with their times and confidences.

    A word lasts from the first frame of its first token to the last frame of its last one. Its
    confidence is the geometric mean, over its tokens, of the highest probability that the model
    gave the token in its frames.

    Args:
        labels: (T,) token of each frame on the path, 0 for blank.
        log_probs: (T, C) the model's log-probabilities, unscaled.
        words: the words of the path.
        emitted: frame in which the graph emitted each word: its time where the tokens on the path
            are not those of its pronunciations (silence between words, say).
        pronunciations: token sequences of a word.
        frame_seconds: length of a frame.
        free: the unknown word, if it may be any tokens; `spell` writes them as its `spoken`.
    """
    spans = [
        TokenSpan(token, a, b, float(log_probs[a:b, token].max()))
        for token, a, b in token_runs(labels)
    ]
    options = (pronunciations, frame_seconds, free, spell)
    return words_of_spans(spans, len(labels), words, emitted, *options)


def words_of_spans(
    spans: Sequence[TokenSpan],
    frames: int,
    words: Sequence[str],
    emitted: Sequence[int],
    pronunciations: Pronunciations,
    frame_seconds: float,
    free: str = "",
    spell: Callable[[list[int]], str] | None = None,
) -> list[Word]:
    """As `timed_words`, of a path of that many frames whose tokens are `spans`."""
    tokens = [span.token for span in spans]
    starts = np.searchsorted([span.begin for span in spans], emitted).tolist() if free else ()
    ends = split_tokens(tokens, words, pronunciations, free, starts)
    result = []
    for i, word in enumerate(words):
        if ends is None:
            first = min(emitted[i], frames - 1)  # a final arc comes after the last frame
            last = min(emitted[i + 1], frames) if i + 1 < len(words) else frames
            last = max(first + 1, last)
            inside = [span for span in spans if first <= span.begin < last]
        else:
            begin, end = (ends[i - 1] if i else 0), ends[i]
            first, last = spans[begin].begin, spans[end - 1].end
            inside = spans[begin:end]
        sure = float(np.exp(np.mean([span.log_prob for span in inside]))) if inside else 0.0
        spoken = spell([span.token for span in inside]) if spell and word == free else None
        times = first * frame_seconds, last * frame_seconds
        result.append(Word(word, *times, min(1.0, sure), spoken))
    return result
