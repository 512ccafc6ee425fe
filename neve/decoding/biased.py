"""Which words of a text are said in a recording, window by window, where text and speech differ.

A window is decoded with a graph of the text's words: after a word those may follow that do so in
the text, and anything that is no such word is taken by a filler, which costs something in each
frame in which the model does not hear blank (a language model biased to the transcript, as for
segmenting imperfect transcripts: Hazen, "Automatic alignment and error correction of human
generated transcripts for long speech recordings", Interspeech 2006).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neve.decoding.alignment import GraphBuilder, path_spans
from neve.kernels import one_best
from neve.lang import Lang, UnknownWordError
from neve.results import Word

FILLER = "<?>"  # stands for speech that is none of the text's words
LEAVE = 4.0  # cost of leaving the order of the text's words
FRAME = 3.0  # cost of the filler in a frame with a token
BEAM = 30.0


class BiasedDecoder:
    """Finds the words of a text in log-probabilities.

    Attributes:
        unknown: words of the text that the lang directory cannot spell; they are never found.
    """

    def __init__(self, text: Sequence[str], lang: Lang, frame_seconds: float):
        self.lang, self.frame_seconds = lang, frame_seconds
        followed: dict[str, dict[str, None]] = {word: {} for word in text}
        for before, word in zip(text, text[1:]):
            followed[word][before] = None
        spoken, self.unknown = {}, []
        for word in followed:
            try:
                spoken[word] = list(dict.fromkeys(map(tuple, lang.pronunciations(word))))
            except UnknownWordError:
                self.unknown.append(word)
        self.words = list(spoken)
        builder = GraphBuilder()
        start, hub = builder.state(), builder.state()
        ends = {word: builder.state() for word in self.words}
        leaving = [(state, -LEAVE) for state in ends.values()]
        builder.arc([(start, 0.0), *leaving], hub, -1, lang.num_tokens)
        if lang.silence:  # costs nothing, and the text's order goes on behind it
            silence = lang.tokens[lang.silence]
            quiet = {word: builder.state() for word in self.words}
            for word, state in quiet.items():
                builder.arc([(ends[word], 0.0)], state, -1, silence)
        for number, word in enumerate(self.words):
            before = [other for other in followed[word] if other in ends]
            sources = [(start, 0.0), (hub, 0.0), *((ends[other], 0.0) for other in before)]
            if lang.silence:
                sources += [(quiet[other], 0.0) for other in before]
            for tokens in spoken[word]:
                builder.chain(sources, ends[word], number, tokens)
        last = [start, hub, *ends.values()]
        if lang.silence:
            last += quiet.values()
        self.graph = builder.finish([(state, 0.0) for state in last])
        self.places, self.firsts = builder.places, builder.firsts

    def __call__(self, log_probs: np.ndarray, begin: float = 0.0) -> list[Word]:
        """The words in (T, C) log-probabilities, `FILLER` where others are said.

        Times are in seconds; the first frame is at `begin`. Confidence as in `alignment.align`.
        """
        log_probs = np.asarray(log_probs, np.float32)[:, : self.lang.num_tokens]
        if not len(log_probs):
            return []
        heard = log_probs[:, 1:].max(axis=1)
        if self.lang.silence:
            quiet = np.maximum(log_probs[:, 0], log_probs[:, self.lang.tokens[self.lang.silence]])
        else:
            quiet = log_probs[:, 0]
        filler = np.maximum(quiet, heard - np.float32(FRAME))
        scores = np.concatenate([log_probs, filler[:, None]], axis=1)
        (path,) = one_best(
            self.graph, scores[None], np.array([len(scores)]), BEAM, 1000, 20000, True, threads=1
        )
        words: list[Word] = []
        parts: list[float] = []

        def finish() -> None:
            if parts:
                words[-1].confidence = min(1.0, float(np.exp(np.mean(parts))))
                parts.clear()

        for span in path_spans(self.graph, path.arcs, len(scores)):
            owner, token = self.places[span.place]
            if owner >= 0:
                if span.place in self.firsts:
                    finish()
                    start = begin + span.begin * self.frame_seconds
                    words.append(Word(self.words[owner], start, start))
                words[-1].end = begin + span.end * self.frame_seconds
                parts.append(float(log_probs[span.begin : span.end, token].max()))
            elif token == self.lang.num_tokens:
                inside = np.flatnonzero((heard > quiet)[span.begin : span.end])
                if len(inside):
                    finish()
                    times = begin + (span.begin + inside[[0, -1]] + [0, 1]) * self.frame_seconds
                    words.append(Word(FILLER, float(times[0]), float(times[1]), 0.0))
        finish()
        return words


def join_windows(windows: Sequence[tuple[float, float, list[Word]]]) -> list[Word]:
    """Words of overlapping windows (begin, end in seconds, words) as those of the whole.

    Two windows meet within their overlap in the middle of the longest time without a word of the
    first, so that no word is cut or stands twice.
    """
    words: list[Word] = []
    reached = 0.0
    for number, (begin, _, found) in enumerate(windows):
        if number:
            reached = meeting_point(words, begin, windows[number - 1][1])
            words = [word for word in words if word.start + word.end < 2 * reached]
        words += [word for word in found if not number or word.start + word.end >= 2 * reached]
    return words


def meeting_point(words: Sequence[Word], begin: float, end: float) -> float:
    """The middle of the longest part of begin..end seconds in which there is no word."""
    edges, time = [], begin
    for word in words:
        if word.end > begin:
            edges.append((time, min(max(word.start, time), end)))
            time = max(time, word.end)
    edges.append((min(time, end), end))
    a, b = max(edges, key=lambda edge: edge[1] - edge[0])
    return (a + b) / 2
