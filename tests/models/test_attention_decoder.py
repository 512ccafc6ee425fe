"""The attention decoder: what each position sees, its loss by formula, scores of hypotheses."""

import pytest
import torch

from neve.errors import ConfigError
from neve.models import ModelConfig
from neve.models.attention_decoder import AttentionDecoder, sentences
from neve.tasks.losses import attention_losses

TOKENS = 6


def config(**changes):
    shape = {"decoder_layers": 2, "decoder_dim": 16, "decoder_heads": 2}
    return ModelConfig(**{**shape, "decoder_feedforward_dim": 32, **changes})


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return AttentionDecoder(config(), 10, TOKENS).eval()


@pytest.fixture
def encoded():
    torch.manual_seed(1)
    return torch.randn(2, 7, 10), torch.tensor([7, 4])


def test_inputs_and_outputs_are_shifted_by_one():
    inputs, outputs, counts = sentences([[3, 1], [], [5]], torch.device("cpu"))
    assert inputs.tolist() == [[0, 3, 1], [0, 0, 0], [0, 5, 0]]
    assert outputs.tolist() == [[3, 1, 0], [0, 0, 0], [5, 0, 0]]
    assert counts.tolist() == [3, 1, 2]


def test_a_position_sees_what_came_before_and_all_of_its_utterance(decoder, encoded):
    memory, lengths = encoded
    inputs = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3]])
    logits = decoder(memory, lengths, inputs)
    assert logits.shape == (2, 4, TOKENS)
    for changed in (1, 2, 3):
        other = inputs.clone()
        other[:, changed] = 5
        same = torch.isclose(decoder(memory, lengths, other), logits, atol=1e-6).all(-1)[0]
        assert same.tolist() == [u < changed for u in range(4)]
    beyond, within = memory.clone(), memory.clone()
    beyond[1, 4:] = 9.0
    assert torch.allclose(decoder(beyond, lengths, inputs), logits, atol=1e-6)
    within[1, 3] = 9.0
    changed = ~torch.isclose(decoder(within, lengths, inputs), logits, atol=1e-4).all(-1)
    assert changed.tolist() == [[False] * 4, [True] * 4]


def test_the_order_of_tokens_matters(decoder, encoded):
    memory, lengths = encoded
    inputs = torch.tensor([[0, 1, 2, 3], [0, 2, 1, 3]])
    ends = decoder(memory[:1].expand(2, -1, -1), lengths[:1].expand(2), inputs)[:, -1]
    assert not torch.allclose(*ends, atol=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_cross_entropy_with_smoothed_labels(decoder, encoded, smoothing):
    memory, lengths = encoded
    targets = [[3, 1, 4], [2]]
    found = attention_losses(decoder, memory, lengths, targets, smoothing)
    for row, target in enumerate(targets):
        wanted, said = 0.0, [0]
        for token in [*target, 0]:
            logits = decoder(memory[row : row + 1], lengths[row : row + 1], torch.tensor([said]))
            log_probs = logits[0, -1].log_softmax(-1)
            for other in range(TOKENS):
                share = smoothing / TOKENS + (1 - smoothing) * (other == token)
                wanted -= share * float(log_probs[other].detach())
            said.append(token)
        assert float(found[row].detach()) == pytest.approx(wanted, rel=1e-4)


def test_scores_are_log_probabilities_of_whole_hypotheses(decoder, encoded):
    memory, lengths = encoded
    hypotheses = [[[1, 2], [], [5, 5, 5]], [[4]]]
    scores = decoder.score(memory, lengths, hypotheses)
    assert [len(some) for some in scores] == [3, 1]
    for row, some in enumerate(hypotheses):
        for tokens, score in zip(some, scores[row]):
            one = (memory[row : row + 1], lengths[row : row + 1])
            loss = attention_losses(decoder, *one, [tokens], 0.0)
            assert score == pytest.approx(-float(loss.detach()), rel=1e-4)
    assert decoder.score(memory, lengths, [[], []]) == [[], []]
    with pytest.raises(ValueError, match="3 lists of hypotheses for 2 rows"):
        decoder.score(memory, lengths, [[], [], []])


def test_every_parameter_gets_a_gradient(encoded):
    decoder = AttentionDecoder(config(dropout=0.1), 10, TOKENS)
    attention_losses(decoder, *encoded, [[3, 1, 4], [2]], 0.1).sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_shapes_that_cannot_be_are_named():
    for wrong in ({"decoder_layers": 0}, {"decoder_dim": 18, "decoder_heads": 4}):
        with pytest.raises(ConfigError, match=f"model.{next(iter(wrong))}"):
            AttentionDecoder(config(**wrong), 10, TOKENS)
