"""Rescoring with a larger n-gram, whose scores take the place of those of the graph's own G.

What the own G says of a word sequence is taken off the score of its path, and `lm_scale` times what
the larger one says is added; lexicon and acoustic model stay. With the same G and scale 1 nothing
changes. (Ljolje, Pereira and Riley, "Efficient general lattice generation and rescoring",
Eurospeech 1999; Povey et al., "Generating exact lattices in the WFST framework", ICASSP 2012.)
"""

from __future__ import annotations

from neve.decoding.lattices import BestPath, Nbest
from neve.decoding.word_lm import WordLm
from neve.decoding.word_paths import LmWords, best_word_path
from neve.errors import ConfigError
from neve.results import Hypothesis


class _Rescoring(BestPath):
    """Reads the larger model; `lm` is the graph's own."""

    scales = (*BestPath.scales, "lm_scale")

    def __init__(self, model, lang, graph, config, frame_seconds, lm=None):
        super().__init__(model, lang, graph, config, frame_seconds, lm)
        if not config.rescore_lm:
            raise ConfigError(
                f"decoding.method {config.method} needs decoding.rescore_lm, an ARPA file or a "
                "G.fst.txt"
            )
        if lm is None:
            raise ConfigError(
                f"decoding.method {config.method} needs the G with which the graph was made, to "
                "take its scores off; it is there for graphs HL, and for HLG made of G.fst.txt "
                "(stage 4) without classes, grammar and added words"
            )
        self.larger = WordLm.read(config.rescore_lm, lang)


class NbestRescoring(_Rescoring, Nbest):
    """The n-best list in the order of the new scores."""

    def ranked(self, found, scales):
        scored = [
            (
                candidate.score
                - self.lm.score(candidate.said)
                + scales.lm_scale * self.larger.score(candidate.said),
                candidate,
            )
            for candidate in found.candidates
        ]
        return sorted(scored, key=lambda one: -one[0])


class WholeLatticeRescoring(_Rescoring):
    """The best path of the whole lattice with the new scores."""

    def second_pass(self, found, scales, texts=None):
        lm = LmWords(self.larger, scales.lm_scale, self.lm)
        paths = [one.lattice and best_word_path(one.lattice, lm) for one in found]
        return [
            [self.of_path(one, path.arcs, path.score) if path else Hypothesis.nothing()]
            for one, path in zip(found, paths)
        ]
