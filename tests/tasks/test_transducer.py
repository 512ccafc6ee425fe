"""The transducer task: it learns, weights follow the warm-up; lengths, types, delay, figures."""

import pytest
import torch
from toy_speech import TEXTS, fit, make_config, make_langs, toy_data

from neve.decoding.transducer import greedy_search
from neve.errors import NeveError
from neve.fsa import rnnt_loss
from neve.tasks import make_task
from neve.tasks.transducer import padded
from neve.training import Progress


@pytest.fixture
def toy(tmp_path, monkeypatch):
    def make(data=None, phones=False, model=None, **loss):
        torch.manual_seed(0)
        toy_data(monkeypatch, **(data or {}))
        letters, of_phones = make_langs(tmp_path)
        config = make_config("transducer", model=model, **loss)
        return make_task(config, tmp_path, letters, of_phones if phones else None)

    return make


def at(batches):
    return Progress(1, int(batches), 0.0, float(batches))


def found_texts(task, max_symbols=5):
    batch = next(iter(task.dev_batches()))
    with torch.no_grad():
        encoded, lengths = task.model.encode(batch["features"], batch["feature_lens"])
        paths = greedy_search(task.model, encoded, lengths, max_symbols=max_symbols)
    return [task.lang.decode(list(path.tokens)) for path in paths], paths


@pytest.mark.parametrize("kind", ["regular", "modified", "constrained"])
def test_a_tiny_model_learns_a_toy_corpus(toy, kind):
    task = toy(rnnt_type=kind, rnnt_warmup=20.0)
    task.model.eval()
    before = task.validate()
    totals = fit(task, 120, progress=lambda n: at(n))
    after = task.validate()
    assert totals[-1] < 0.2 * totals[0]
    assert after["loss"] < 0.2 * before["loss"]
    assert after["token_errors"] == 0.0 and after["ctc_errors"] == 0.0
    texts, _ = found_texts(task, max_symbols=1)
    assert texts == TEXTS


def test_with_an_lstm_and_a_ctc_head_on_phones(toy):
    task = toy(phones=True, model={"predictor": "lstm"}, rnnt_warmup=20.0)
    assert task.model.ctc_head[1].out_features == task.ctc_lang.num_tokens
    assert task.model.joiner.output.out_features == task.lang.num_tokens
    assert task.ctc_targets.tokens("NO") == [task.ctc_lang.tokens[p] for p in ("N", "OW")]
    fit(task, 120, progress=lambda n: at(n))
    after = task.validate()
    assert after["token_errors"] == 0.0 and after["ctc_errors"] == 0.0


def test_without_a_ctc_head(toy):
    task = toy(ctc_weight=0.0)
    assert task.model.ctc_head is None
    (batch,) = task.train_batches(1)
    loss = task.loss(batch)
    assert set(loss.stats) == {"simple", "pruned"}
    assert set(task.validate()) == {"loss", "token_errors"}


def test_the_weights_follow_the_warm_up(toy):
    task = toy(rnnt_warmup=100.0, simple_weight=0.5)
    seen = []
    for batches in (0, 50, 100, 5000):
        task.begin_update(at(batches))
        seen.append((task.simple_weight, task.pruned_weight))
    assert seen == [(1.0, 0.1), (0.75, 0.55), (0.5, 1.0), (0.5, 1.0)]
    task.config.rnnt_warmup = 0.0
    task.begin_update(at(0))
    assert (task.simple_weight, task.pruned_weight) == (0.5, 1.0)


def test_the_total_is_the_weighed_sum_per_token(toy):
    task = toy(ctc_weight=0.3, rnnt_warmup=100.0)
    (batch,) = task.train_batches(1)
    task.begin_update(at(50))
    loss = task.loss(batch)
    stats = loss.stats
    wanted = 0.75 * stats["simple"] + 0.55 * stats["pruned"] + 0.3 * stats["ctc"]
    assert float(loss.total.detach()) == pytest.approx(wanted, rel=1e-5)
    assert loss.weight == sum(len(task.tokens(text)) for text in TEXTS)
    assert loss.items.shape == (len(TEXTS),) and not loss.items.requires_grad
    loss.total.backward()
    for name, parameter in task.model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_wide_range_prunes_nothing(toy):
    task = toy(prune_range=100)
    (batch,) = task.train_batches(1)
    encoded, lengths = task.model.encode(batch["features"], batch["feature_lens"])
    targets = [task.tokens(text) for text in batch["texts"]]
    _, pruned = task.transducer_losses(encoded, lengths, targets)
    symbols, boundary = padded(targets, lengths)
    joiner = task.model.joiner
    predicted = task.model.predictor(torch.nn.functional.pad(symbols, (1, 0)))
    logits = joiner.join(
        joiner.project(encoded).unsqueeze(2), joiner.project_predictor(predicted).unsqueeze(1)
    )
    whole = rnnt_loss(logits, symbols, 0, boundary, reduction="none")
    assert torch.allclose(pruned, whole, rtol=1e-4)


def test_frames_that_are_needed(toy):
    letters = toy(ctc_weight=0.0)
    tokens = letters.tokens("YES YES NO")
    assert letters.frames_needed("YES YES NO") == 1  # any number of tokens in a frame
    for kind in ("modified", "constrained"):
        letters.config.rnnt_type = kind
        assert letters.frames_needed("YES YES NO") == len(tokens)
    with_head = toy(phones=True)
    assert with_head.frames_needed("YES NO") == 5
    assert with_head.frames_needed("SO") == 2


def test_texts_of_the_data_are_remembered_and_those_with_doubled_words_are_not(toy):
    task = toy(phones=True, doubled_words=0.1)
    task.begin_measuring()  # which doubles all words
    task.model.train()
    batch = task.largest_batch(100.0)
    seen = {}
    tokens = task.tokens
    task.tokens = lambda text: seen.setdefault(text, tokens(text))
    loss = task.loss(batch)
    assert torch.isfinite(loss.total)
    twice = {" ".join(word for word in text.split() for _ in "12") for text in batch["texts"]}
    assert set(seen) == twice
    for targets in (task.targets, task.ctc_targets):
        assert set(targets.known) >= set(batch["texts"]) and not twice & set(targets.known)


def test_what_does_not_fit_the_ctc_head_is_dropped(toy, caplog):
    short = {"frames": 1, "silence": 0}
    with pytest.raises(NeveError, match="more tokens than frames"):
        toy(data=short)
    assert toy(data=short, ctc_weight=0.0).dropped == set()
    with pytest.raises(NeveError, match="more tokens than frames"):
        toy(data=short, ctc_weight=0.0, rnnt_type="modified")


def advance(task):
    """Frames by which symbols are said before the middle of their utterance, on average.

    The derivative of the log-probability by the delay penalty is its sum over the symbols.
    """
    (batch,) = task.train_batches(1)
    targets = [task.tokens(text) for text in batch["texts"]]
    with torch.no_grad():
        encoded, lengths = task.model.encode(batch["features"], batch["feature_lens"])
        losses = []
        for task.config.delay_penalty in (0.0, 1e-3):
            losses.append(float(task.transducer_losses(encoded, lengths, targets)[1].sum()))
    return (losses[0] - losses[1]) / 1e-3 / sum(map(len, targets))


def test_a_delay_penalty_makes_emissions_earlier(toy):
    """The encoder sees a little of what is to come; the penalty decides what it makes of it."""
    found = {}
    for penalty in (0.0, 0.1):
        task = toy({"texts": TEXTS[:4]}, delay_penalty=penalty, ctc_weight=0.0, prune_range=99)
        totals = fit(task, 80, progress=lambda n: at(1e6))
        assert totals[-1] < 0.5 * totals[0]
        found[penalty] = advance(task)
    assert found[0.1] > found[0.0] + 0.5


def test_validation_counts_errors_of_both_heads(toy):
    task = toy()
    task.model.eval()
    figures = task.validate()
    assert set(figures) == {"loss", "token_errors", "ctc_errors"}
    (batch,) = task.dev_batches()
    targets = [task.tokens(text) for text in batch["texts"]]
    encoded, lengths = task.model.encode(batch["features"], batch["feature_lens"])
    pruned = float(task.transducer_losses(encoded, lengths, targets)[1].detach().sum())
    assert figures["loss"] == pytest.approx(pruned / sum(map(len, targets)), rel=1e-5)
    task.dev_loader = None
    assert task.validate() == {}


def test_symbols_are_padded_and_lengths_bound_the_losses():
    symbols, boundary = padded([[3, 1], [], [2]], torch.tensor([5, 4, 3]))
    assert symbols.tolist() == [[3, 1], [0, 0], [2, 0]]
    assert boundary.tolist() == [[0, 0, 2, 5], [0, 0, 0, 4], [0, 0, 1, 3]]
