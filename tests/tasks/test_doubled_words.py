"""Words that are said twice: where they are, what is put in, and when nothing is."""

from types import SimpleNamespace

import pytest
import torch

from neve.tasks.doubled_words import DoubledWords, doubled

SPELLED = {"A": [1, 2], "B": [2], "C": [3, 1]}
# frames of the encoder: blank, A from 2, B at 8, C from 12, all in one frame each but the 3
LABELS = [0, 0, 1, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 3, 1, 0, 0, 0, 0, 0]
BOUNDS = [-1.0, 6.5, 10.5, 18.0]


class Model:
    """Of two feature frames it makes one, whose value names the token."""

    def __init__(self, sure=20.0):
        self.sure, self.calls = sure, 0

    def encode(self, features, lengths):
        self.calls += 1
        return features[:, ::2], lengths // 2

    def ctc_log_probs(self, encoded):
        at = torch.nn.functional.one_hot(encoded[..., 0].long(), 4).float()
        return torch.log_softmax(self.sure * at, dim=-1)


def make(share, **model):
    targets = SimpleNamespace(lang=SimpleNamespace(encode=lambda text: SPELLED[text]))
    return DoubledWords(Model(**model), targets, share)


def batch():
    one = torch.tensor(LABELS).repeat_interleave(2).float()
    two = torch.tensor([0, 2, 0, 0]).repeat_interleave(2).float()
    features = torch.zeros(2, 40, 3)
    features[0, :, 0], features[1, :8, 0] = one, two
    return features, torch.tensor([40, 8]), ["A B C", "B"]


def test_a_word_lasts_to_the_middle_between_its_neighbours_tokens_and_its_own():
    double = make(0.5)
    features, lengths, _ = batch()
    log_probs = double.model.ctc_log_probs(double.model.encode(features, lengths)[0])[0].numpy()
    assert double.bounds(log_probs, ["A", "B", "C"]).tolist() == BOUNDS
    assert double.bounds(log_probs, ["B", "B", "B"]) is None  # the model hears something else
    assert double.bounds(log_probs[:3], ["A", "B", "C"]) is None  # too short


def test_a_piece_is_put_in_behind_itself():
    matrix = torch.arange(10.0).unsqueeze(1)
    longer, words = doubled(matrix, ["A", "B"], [1, 4, 8], [False, True])
    assert longer.squeeze(1).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 8, 9]
    assert words == ["A", "B", "B"]


def test_all_words_twice():
    torch.manual_seed(0)
    double = make(0.5)
    found = [double(*batch()) for _ in range(20)]
    assert double.model.calls == sum(texts != ["A B C", "B"] for _, _, texts in found)
    assert 4 < double.model.calls < 16  # half of the batches
    features, lengths, texts = next(each for each in found if each[2] != ["A B C", "B"])
    assert texts == ["A A B B C C", "B B"]
    assert lengths.tolist() == [40 + 36, 8 + 8] and features.shape == (2, 76, 3)
    heard = torch.unique_consecutive(features[0, :76, 0]).tolist()
    assert [token for token in heard if token] == [1, 2, 1, 2, 2, 2, 3, 1, 3, 1]


@pytest.mark.parametrize("sure", [20.0, 0.1])
def test_where_memory_is_measured_every_batch_has_all_words_twice(sure):
    double = make(0.1, sure=sure)
    double.always = True
    for _ in range(5):
        features, lengths, texts = double(*batch())
        assert texts == ["A A B B C C", "B B"]
        assert lengths.tolist() == [80, 16] and features.shape == (2, 80, 3)
    none = make(0.0)
    none.always = True
    assert none(*batch())[1].tolist() == [40, 8]


@pytest.mark.parametrize("share, sure", [(0.0, 20.0), (0.5, 0.1)])
def test_nothing_changes_without_a_share_or_where_the_model_is_not_sure(share, sure):
    torch.manual_seed(0)
    double = make(share, sure=sure)
    for _ in range(10):
        features, lengths, texts = double(*batch())
        assert texts == ["A B C", "B"] and lengths.tolist() == [40, 8]
        assert torch.equal(features, batch()[0])
    assert bool(double.model.calls) == bool(share)
