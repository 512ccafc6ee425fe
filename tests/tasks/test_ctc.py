"""The CTC task: its loss against all alignments written out, targets, lengths, data that is bad."""

import itertools
import math
import types

import pytest
import torch

from neve.data import DataConfig
from neve.errors import ConfigError, NeveError
from neve.lang import LangConfig, build_lang
from neve.models import ModelConfig
from neve.tasks import LossConfig, speech
from neve.tasks.ctc import CtcTask, letter_table
from neve.tasks.ctc_targets import ctc_losses, frames_needed, greedy_tokens
from neve.tasks.speech import without
from neve.training import TrainingConfig


def collapse(path):
    return [token for token, _ in itertools.groupby(path) if token != 0]


@pytest.mark.parametrize("target", [[], [1], [1, 1], [2, 1], [1, 2, 2]])
def test_loss_is_the_sum_over_all_alignments(target):
    torch.manual_seed(len(target))
    log_probs = torch.randn(1, 5, 3).log_softmax(-1)
    total = sum(
        math.exp(sum(float(log_probs[0, t, token]) for t, token in enumerate(path)))
        for path in itertools.product(range(3), repeat=5)
        if collapse(path) == target
    )
    loss = ctc_losses(log_probs, torch.tensor([5]), [target])
    assert float(loss[0]) == pytest.approx(-math.log(total), abs=1e-5)


def test_fewest_frames_are_exact():
    for target in ([], [1], [1, 1], [1, 2, 1], [2, 2, 2]):
        need = frames_needed(target)
        for frames in range(1, 7):
            fits = any(
                collapse(path) == target for path in itertools.product(range(3), repeat=frames)
            )
            assert fits == (frames >= need), (target, frames)


def test_greedy_tokens_stop_at_the_length():
    labels = torch.tensor([[0, 1, 1, 0, 1, 2, 2], [2, 2, 0, 1, 1, 1, 1]])
    scores = torch.nn.functional.one_hot(labels, 3).float()
    assert greedy_tokens(scores, torch.tensor([7, 3])) == [[1, 1, 2], [2]]


def test_dropped_utterances_leave_every_part_of_a_batch():
    batch = {"features": torch.arange(6).view(3, 2), "ids": ["a", "b", "c"], "texts": list("xyz")}
    assert without(batch, {"q"}) is batch
    rest = without(batch, {"b"})
    assert rest["ids"] == ["a", "c"] and rest["texts"] == ["x", "z"]
    assert rest["features"].tolist() == [[0, 1], [4, 5]]


class FakeLoader:
    """Batches of random features for given (id, text, frames)."""

    def __init__(self, rows):
        self.rows, self.seconds = rows, sum(frames for *_, frames in rows) / 100

    def load_state_dict(self, state):
        self.epoch = state["epoch"]

    def leave_out(self, ids):
        self.rows = [row for row in self.rows if row[0] not in ids]

    def contents(self):
        return iter(self.rows)

    def __iter__(self):
        torch.manual_seed(1)
        lengths = torch.tensor([frames for *_, frames in self.rows])
        yield {
            "features": torch.randn(len(self.rows), int(lengths.max()), 8),
            "feature_lens": lengths,
            "ids": [name for name, *_ in self.rows],
            "texts": [text for _, text, _ in self.rows],
            "durations": [frames / 100 for *_, frames in self.rows],
        }


ROWS = [("long", "YES NO", 40), ("short", "NO NO NO", 20), ("tiny", "YES YES YES", 12)]


@pytest.fixture
def make_task(tmp_path, monkeypatch):
    (tmp_path / "text_train").write_text("".join(f"{a} {b}\n" for a, b, _ in ROWS))
    lang = tmp_path / "lang"
    lang.mkdir()

    def make(rows=ROWS, lexicon="YES Y EH S\nNO N OW\n", **loss):
        (tmp_path / "lexicon.txt").write_text(lexicon)
        settings = LangConfig(write_pt=False)
        build_lang(settings, [tmp_path / "text_train"], tmp_path / "lexicon.txt", lang)
        monkeypatch.setattr(speech, "Loader", lambda *a, **k: FakeLoader(rows))
        config = types.SimpleNamespace(
            data=DataConfig(train=["train"], dev=["dev"], max_duration=60.0),
            augment=None,
            features=types.SimpleNamespace(num_bins=8),
            model=ModelConfig(encoder="tdnn", dim=16, layers=2, subsampling=2, dropout=0.0),
            training=TrainingConfig(device="cpu"),
            loss=LossConfig(**loss),
        )
        return CtcTask(config, tmp_path, lang)

    return make


def test_utterances_with_more_tokens_than_frames_are_dropped_and_named(make_task, caplog):
    task = make_task()
    assert task.dropped == {"tiny"}  # 9 tokens in 6 frames
    assert "tiny (9 tokens, 6 frames)" in caplog.text
    (batch,) = task.train_batches(1)
    assert batch["ids"] == ["long", "short"]


def test_or_they_stop_the_training(make_task):
    with pytest.raises(NeveError, match=r"1 of 3.*tiny \(9 tokens, 6 frames\).*model\.subsampling"):
        make_task(too_long="error")
    with pytest.raises(NeveError, match="1 of 1"):
        make_task(rows=ROWS[2:])


def test_loss_has_one_item_an_utterance_and_is_differentiable(make_task):
    task = make_task(intermediate_layers=[1], auxiliary="letters")
    assert letter_table(task.lang) == {"E": 1, "N": 2, "O": 3, "S": 4, "Y": 5}
    (batch,) = task.train_batches(1)
    loss = task.loss(batch)
    assert loss.ids == ["long", "short"] and loss.items.shape == (2,)
    assert loss.size == pytest.approx(0.6)
    loss.total.backward()
    for name, parameter in task.model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_training_lowers_the_loss_and_the_token_errors(make_task):
    task = make_task(rows=ROWS[:2])
    before = task.validate()
    optimizer = torch.optim.Adam(task.model.parameters(), 0.02)
    for _ in range(150):
        for batch in task.train_batches(1):
            optimizer.zero_grad()
            task.loss(batch).total.backward()
            optimizer.step()
    task.model.eval()
    after = task.validate()
    assert after["loss"] < 0.2 * before["loss"] and after["token_errors"] == 0.0


def one_hot(tokens, classes, sure=0.9):
    """(1, 2n+1, C) log-probabilities that say `tokens`, a blank around each."""
    labels = [0] + [label for token in tokens for label in (token, 0)]
    rows = torch.full((len(labels), classes), (1 - sure) / (classes - 1))
    rows[torch.arange(len(labels)), torch.tensor(labels)] = sure
    return rows.log()[None]


def test_the_pronunciation_that_was_said_is_the_target(make_task, tmp_path):
    lexicon = "YES Y EH S\nYES Y AH\nYES EH S\nNO N OW\nNO N AH\n"
    task = make_task(lexicon=lexicon)
    token = task.lang.tokens
    said = [[token[p] for p in spelling.split()] for spelling in ("Y AH N OW EH S", "Y EH S N AH")]
    for tokens, text in zip(said, ("YES NO YES", "YES NO")):
        log_probs = one_hot(tokens, task.lang.num_tokens)
        frames = torch.tensor([log_probs.shape[1]])
        assert task.targets.pronounced(log_probs, frames, [text]) == [tokens]
    task.targets.choice = "first"
    assert task.targets.pronounced(log_probs, frames, ["YES NO"]) == [task.lang.encode("YES NO")]


def test_pronunciations_that_do_not_fit_together_are_not_chosen(make_task):
    task = make_task(lexicon="YES Y EH S\nYES Y EH S AH\nNO N OW\n")
    token = task.lang.tokens
    log_probs = one_hot([token[p] for p in "Y EH S AH".split()] * 2, task.lang.num_tokens)
    long = [token[p] for p in "Y EH S AH Y EH S AH".split()]
    assert task.targets.pronounced(log_probs, torch.tensor([17]), ["YES YES"]) == [long]
    # seven frames hold one long YES, wherever it is, but not two
    said = torch.zeros(1, 7, task.lang.num_tokens)
    said[0, [3, 6]] = -10.0
    said[0, [3, 6], token["AH"]] = 0.0
    frames, text = torch.tensor([7]), "YES YES"
    first, *both = (
        ctc_losses(said, frames, [tokens])
        for tokens in (task.tokens(text), *(tokens for *_, tokens in task.targets.variants(text)))
    )
    assert len(both) == 2 and max(both) < first < math.inf
    assert task.targets.pronounced(said, frames, [text]) == [task.tokens(text)]


def test_one_pronunciation_leaves_no_choice(make_task):
    task = make_task()
    log_probs = torch.randn(1, 12, task.lang.num_tokens).log_softmax(-1)
    assert task.targets.variants("YES NO") == []
    frames = torch.tensor([12])
    assert task.targets.pronounced(log_probs, frames, ["YES NO"]) == [task.tokens("YES NO")]


def test_weights_must_leave_something_to_the_main_loss(make_task):
    weights = {"intermediate_weight": 0.5, "auxiliary_weight": 0.5}
    make_task(intermediate_layers=[1], **weights)
    with pytest.raises(ConfigError, match="intermediate_weight"):  # before any batch is loaded
        make_task(intermediate_layers=[1], auxiliary="letters", **weights)


def test_a_batch_is_described_for_messages_about_memory(make_task):
    task = make_task()
    (batch,) = task.train_batches(1)
    assert task.describe(batch) == (
        "2 utterances of up to 0.4 s and 40 frames, 80 frames with padding, 11 tokens"
    )
    assert "data.max_duration (now 60 s)" in task.memory_knobs()[0]
