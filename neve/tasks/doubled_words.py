"""Words that a training batch says twice: the audio of a word, found by the CTC head, put in again.

A transducer learns from every long sound that a symbol just given out is not given out again. What
tells it that a word was in truth said twice ("TWO TWO", "double T") is rare in a small corpus, and
then such words are found once. Here any word of any utterance may be the repeated one. Putting
pieces of speech together is an old way to rare events; for transducers see Zhao et al., "On
addressing practical challenges for RNN-Transducer", ASRU 2021.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from neve.errors import NeveError
from neve.kernels.ctc_prefix import align_ctc
from neve.tasks.ctc_targets import CtcTargets

EVERY = 2  # one batch in so many, on average, has doubled words, for they cost a forward pass
WORST = 1.5  # nats per token: an alignment that is less likely is not believed
MARGIN = 3  # frames of the encoder before the first word and after the last one


class DoubledWords:
    """Doubles words of batches.

    Attributes:
        always: every word of every batch is doubled, also if the model does not find it, as a model
            that has learnt nothing does not: then all words last equally long. That is the largest
            batch that can come out.

    Args:
        model: has `encode` and `ctc_log_probs`.
        targets: of the CTC head.
        share: of all words, 0 to 0.5.
    """

    def __init__(self, model, targets: CtcTargets, share: float):
        self.model, self.targets = model, targets
        self.share = min(1.0, EVERY * share)
        self.always = False

    def __call__(
        self, features: Tensor, lengths: Tensor, texts: list[str]
    ) -> tuple[Tensor, Tensor, list[str]]:
        """(N, T, F) features, (N,) lengths and texts, as they were or with doubled words."""
        if not self.share or not (self.always or float(torch.rand(1)) * EVERY < 1.0):
            return features, lengths, texts
        with torch.no_grad():
            encoded, encoded_lens = self.model.encode(features, lengths)
            log_probs = self.model.ctc_log_probs(encoded).float().cpu().numpy()
        rows, said = [], []
        for row, (text, have, length) in enumerate(
            zip(texts, encoded_lens.tolist(), lengths.tolist())
        ):
            words = text.split()
            twice = (torch.rand(len(words)) < (1.0 if self.always else self.share)).tolist()
            bounds = self.bounds(log_probs[row, :have], words) if any(twice) else None
            if self.always:
                bounds = np.linspace(0, have, len(words) + 1)
            matrix = features[row, :length]
            if bounds is not None:
                places = np.rint(bounds * (length / have)).astype(int).clip(0, length).tolist()
                matrix, words = doubled(matrix, words, places, twice)
            rows.append(matrix)
            said.append(" ".join(words))
        lengths = torch.tensor([len(matrix) for matrix in rows]).to(lengths)
        return pad_sequence(rows, batch_first=True), lengths, said

    def bounds(self, log_probs: np.ndarray, words: list[str]) -> np.ndarray | None:
        """(words + 1,) frames of (T, C) log-probabilities between which the words are.

        They are in the middle between the last token of one word and the first of the next. None
        where the text does not fit.
        """
        spelled = [self.targets.lang.encode(word) for word in words]
        tokens = [token for word in spelled for token in word]
        try:
            labels, score = align_ctc(log_probs, tokens)
        except NeveError:
            return None
        if not tokens or score < -WORST * len(tokens):
            return None
        begins = (labels != 0) & (labels != np.concatenate([[0], labels[:-1]]))
        first = np.flatnonzero(begins)  # of each token
        last = np.flatnonzero((labels != 0) & (labels != np.concatenate([labels[1:], [0]])))
        ends = np.cumsum([len(word) for word in spelled])
        starts = ends - [len(word) for word in spelled]
        inner = (last[ends[:-1] - 1] + 1 + first[starts[1:]]) / 2
        outer = first[0] - MARGIN, last[-1] + 1 + MARGIN
        return np.concatenate([[outer[0]], inner, [outer[1]]])


def doubled(
    matrix: Tensor, words: list[str], bounds: list[int], twice: list[bool]
) -> tuple[Tensor, list[str]]:
    """(T, F) features and words, those marked a second time after the first.

    bounds: (words + 1) frames between which they are.
    """
    pieces, said = [matrix[: bounds[0]]], []
    for place, word in enumerate(words):
        piece = matrix[bounds[place] : bounds[place + 1]]
        pieces += [piece] * (1 + twice[place])
        said += [word] * (1 + twice[place])
    return torch.cat([*pieces, matrix[bounds[-1] :]]), said
