"""Further losses in both tasks: weighed sums, what learns by them, and settings that cannot be."""

import re

import pytest
import torch
from toy_speech import BINS, TEXTS, ToyLoader, fit, make_config, make_langs, toy_data

from neve.config import to_dict
from neve.decoding.config import DecodingConfig
from neve.errors import ConfigError, NeveError
from neve.export import pack
from neve.frontend import FeatureConfig, Frontend
from neve.models import load_model
from neve.tasks import make_task
from neve.training import Progress, TrainingConfig, memory_report

FEATURES = FeatureConfig(num_bins=BINS)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    def make(kind, model=None, training=None, data=None, **loss):
        torch.manual_seed(0)
        toy_data(monkeypatch, **(data or {}))
        letters, _ = make_langs(tmp_path)
        config = make_config(kind, model={**DECODER, **(model or {})}, training=training, **loss)
        return make_task(config, tmp_path, letters)

    return make


DECODER = {
    "decoder_layers": 1, "decoder_dim": 16, "decoder_heads": 2, "decoder_feedforward_dim": 32,
}  # fmt: skip


def loss_of(task):
    (batch,) = task.train_batches(1)
    task.begin_update(Progress(1, 10**6, 0.0, 1e6))
    return task.loss(batch)


def errors(task):
    task.model.eval()
    return task.validate()["token_errors"]


EVERYTHING = {
    "attention_weight": 0.4, "cr_weight": 0.3, "mmi_weight": 0.6, "ctc_smoothing": 0.05,
    "mwer_weight": 0.7, "mwer_beam": 3, "ctc_delay_penalty": 0.01,
}  # fmt: skip
NAMES = {
    "attention": 0.4, "consistency": 0.3, "mmi": 0.6, "smoothing": 0.05, "word_errors": 0.7,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["ctc", "transducer"])
def test_the_total_is_the_weighed_sum_of_what_is_logged(toy, kind):
    main = {"ctc_weight": 0.2, "simple_weight": 0.5, "main_weight": 0.9}
    task = toy(kind, training={"init": "some.pt"}, **EVERYTHING, **main)
    loss = loss_of(task)
    stats = dict(loss.stats)
    weights = {"ctc": 0.9} if kind == "ctc" else {"simple": 0.45, "pruned": 0.9, "ctc": 0.2}
    assert set(stats) == {*weights, *NAMES}
    wanted = sum(weight * stats[name] for name, weight in {**weights, **NAMES}.items())
    assert float(loss.total.detach()) == pytest.approx(wanted, rel=1e-4)
    assert loss.items.shape == (len(TEXTS),) and loss.items.isfinite().all()
    assert loss.weight == sum(len(task.tokens(text)) for text in TEXTS)
    loss.total.backward()
    for name, parameter in task.model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", ["ctc", "transducer"])
def test_without_weights_there_is_the_main_loss_alone(toy, kind):
    task = toy(kind)
    assert set(loss_of(task).stats) == ({"ctc"} if kind == "ctc" else {"simple", "pruned", "ctc"})
    assert task.model.attention_decoder is None and task.views == 1


# -- each loss teaches ---------------------------------------------------------------------------


def test_attention_learns_and_scores_the_transcript_best(toy):
    task = toy("ctc", attention_weight=0.5, label_smoothing=0.0)
    fit(task, 60)
    assert errors(task) == 0.0
    (batch,) = task.dev_batches()
    with torch.no_grad():
        outputs, lengths = task.model.encoder(batch["features"], batch["feature_lens"])
    right = [task.tokens(text) for text in TEXTS]
    wrong = [task.tokens("NO YES"), *right[:-1]]
    scores = task.model.attention_decoder.score(
        outputs[-1], lengths, [[a, b] for a, b in zip(right, wrong)]
    )
    assert all(first > second for first, second in scores)


def test_consistency_brings_the_views_together(toy):
    distance = {}
    for weight in (1e-9, 2.0):
        task = toy("ctc", cr_weight=weight, data={"noise": 1.0})
        fit(task, 40)
        distance[weight] = loss_of(task).stats["consistency"]
        assert errors(task) < 0.2
    assert distance[2.0] < 0.6 * distance[1e-9]


def test_lf_mmi_alone_trains_a_model(toy):
    task = toy("ctc", mmi_weight=1.0, main_weight=0.0)
    totals = fit(task, 80)
    assert 0.0 < totals[-1] < 0.1 * totals[0]
    assert errors(task) == 0.0


def test_mwer_lowers_the_expected_errors_of_a_trained_transducer(toy):
    task = toy("transducer", rnnt_warmup=0.0, rnnt_type="modified")
    fit(task, 45)
    weights = {name: value.clone() for name, value in task.model.state_dict().items()}
    tuned = toy(
        "transducer", rnnt_type="modified", training={"init": "x.pt"}, mwer_weight=1.0,
        main_weight=0.0, ctc_weight=0.0,
    )  # fmt: skip
    tuned.model.load_state_dict(weights, strict=False)
    before = loss_of(tuned).stats["word_errors"]
    fit(tuned, 12, rate=0.003)
    after = loss_of(tuned).stats["word_errors"]
    assert after < 0.8 * before


def test_mwer_lowers_the_expected_errors_of_a_trained_ctc_model(toy):
    task = toy("ctc")
    fit(task, 25)
    weights = {name: value.clone() for name, value in task.model.state_dict().items()}
    tuned = toy("ctc", training={"init": "x.pt"}, mwer_weight=1.0, main_weight=0.0)
    tuned.model.load_state_dict(weights)
    before = loss_of(tuned).stats["word_errors"]
    fit(tuned, 15, rate=0.003)
    after = loss_of(tuned).stats["word_errors"]
    assert after < 0.8 * before


def test_a_ctc_delay_penalty_makes_tokens_earlier(toy):
    places = {}
    for penalty in (0.0, 0.2):
        task = toy("ctc", ctc_delay_penalty=penalty)
        fit(task, 60)
        (batch,) = task.dev_batches()
        with torch.no_grad():
            log_probs, lengths = task.model(batch["features"], batch["feature_lens"])
        frames = []
        for row, length in zip(log_probs.argmax(-1), lengths.tolist()):
            begins = (row[1:length] != row[: length - 1]) & (row[1:length] != 0)
            frames += begins.nonzero().flatten().tolist()
        places[penalty] = sum(frames) / len(frames)
    assert places[0.2] < places[0.0] - 0.4


def test_smoothing_leaves_the_posteriors_less_sharp(toy):
    sharpest = {}
    for weight in (0.0, 0.3):
        task = toy("ctc", ctc_smoothing=weight)
        fit(task, 60)
        (batch,) = task.dev_batches()
        with torch.no_grad():
            log_probs, lengths = task.model(batch["features"], batch["feature_lens"])
        sharpest[weight] = float(log_probs.exp().amax(-1).mean())
        assert errors(task) == 0.0
    assert sharpest[0.3] < sharpest[0.0] - 0.05


# -- distillation --------------------------------------------------------------------------------


def packed(task, config, directory, frontend):
    """The model of a task as a model directory."""
    directory.mkdir()
    torch.save({"model": task.model.state_dict()}, directory.parent / "teacher.pt")
    frontend.save(directory.parent)
    pack(
        directory,
        weights=directory.parent / "teacher.pt",
        frontend=directory.parent / "frontend.json",
        lang=task.lang.directory,
        graph=None,
        scales=None,
        scores=None,
        settings={
            "model": to_dict(config.model),
            "features": to_dict(FEATURES),
            "decoding": to_dict(DecodingConfig(method="greedy")),
        },
        name="teacher",
    )
    return str(directory)


@pytest.fixture
def teacher(toy, tmp_path, monkeypatch):
    """A trained model of a kind, packed."""
    monkeypatch.setattr(ToyLoader, "frontend", Frontend(FEATURES), raising=False)

    def make(kind, updates=60, **model):
        task = toy(kind, model=model, rnnt_warmup=0.0)
        fit(task, updates)
        config = make_config(kind, model={**DECODER, **model})
        return packed(task, config, tmp_path / "model", Frontend(FEATURES))

    return make


@pytest.mark.parametrize("kind", ["ctc", "transducer"])
def test_a_student_learns_from_its_teacher_alone(toy, teacher, kind):
    directory = teacher(kind, updates=60 if kind == "ctc" else 90)
    task = toy(
        kind, model={"dim": 24}, teacher=directory, distill_weight=1.0, distill_temperature=1.5,
        main_weight=0.0, ctc_weight=0.0, prune_range=4,
    )  # fmt: skip
    names = set(dict(task.model.named_parameters()))
    totals = fit(task, 60 if kind == "ctc" else 90)
    assert totals[-1] < 0.1 * totals[0]
    if kind == "ctc":
        assert errors(task) == 0.0
    assert names == set(dict(task.model.named_parameters()))  # the teacher is not among them
    assert not any(p.requires_grad for p in task.further.teacher.model.parameters())


def test_a_teacher_that_does_not_fit_is_refused(toy, teacher, tmp_path, monkeypatch):
    directory = teacher("ctc", updates=0)
    use = {"teacher": directory, "distill_weight": 1.0}
    with pytest.raises(
        ConfigError, match=r"2001 frames of features it makes 1001, the student 667"
    ):
        toy("ctc", model={"subsampling": 3}, **use)
    with pytest.raises(ConfigError, match=r"not of the student's model\.kind"):
        toy("transducer", **use)
    other = Frontend(FeatureConfig(num_bins=BINS, cmvn="none", low_freq=40.0))
    monkeypatch.setattr(ToyLoader, "frontend", other)
    with pytest.raises(ConfigError, match="they differ in .*low_freq"):
        toy("ctc", **use)
    monkeypatch.setattr(ToyLoader, "frontend", Frontend(FEATURES))
    tokens = tmp_path / "model/lang/tokens.txt"
    tokens.write_text(re.sub(r"^N (\d+)", r"Q \1", tokens.read_text(), flags=re.M))
    lexicon = tmp_path / "model/lang/lexicon.txt"
    lexicon.write_text(re.sub(r"\bN\b", "Q", lexicon.read_text()))
    with pytest.raises(ConfigError, match="train both on the same lang directory"):
        toy("ctc", **use)
    with pytest.raises(NeveError, match="is not a model directory"):
        toy("ctc", teacher=str(tmp_path), distill_weight=1.0)


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "keys", "message"),
    [
        ("ctc", {"attention_weight": -0.1}, "attention_weight=-0.1"),
        ("ctc", {"mmi_weight": float("nan")}, "mmi_weight=nan"),
        ("ctc", {"main_weight": 0.0}, "loss.main_weight is 0"),
        ("ctc", {"main_weight": 0.0, "attention_weight": 1.0}, "trains the CTC head"),
        ("transducer", {"main_weight": 0.0, "mmi_weight": 1.0}, "trains the transducer"),
        ("ctc", {"mwer_weight": 1.0}, "training.init"),
        ("ctc", {"distill_weight": 1.0}, "loss.teacher"),
        ("ctc", {"teacher": "somewhere"}, "loss.distill_weight is 0"),
        ("transducer", {"ctc_weight": 0.0, "cr_weight": 0.2}, "loss.cr_weight needs a CTC head"),
        ("transducer", {"ctc_weight": 0.0, "mmi_weight": 0.2}, "loss.mmi_weight needs a CTC head"),
        ("transducer", {"auxiliary": "letters"}, "loss.auxiliary belong to a CTC model"),
        ("ctc", {"label_smoothing": 1.0}, "loss.label_smoothing=1.0"),
        ("ctc", {"distill_temperature": 0.0}, "loss.distill_temperature=0.0"),
        ("ctc", {"mmi_order": 0}, "loss.mmi_order=0"),
        ("ctc", {"mwer_beam": 1}, "loss.mwer_beam=1"),
    ],
)
def test_settings_that_cannot_be_are_named(toy, kind, keys, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        toy(kind, **keys)


def test_partial_weights_of_nothing_and_views_without_masks_are_refused(tmp_path, monkeypatch):
    toy_data(monkeypatch)
    letters, _ = make_langs(tmp_path)
    with pytest.raises(ConfigError, match=r"training\.init_partial is set"):
        make_task(make_config("ctc", training={"init_partial": True}), tmp_path, letters)
    config = make_config("ctc", cr_weight=0.2)
    config.augment.spec_augment = False
    with pytest.raises(ConfigError, match=r"augment\.spec_augment"):
        make_task(config, tmp_path, letters)


def test_what_is_not_finite_is_left_to_the_training_loop(toy):
    task = toy("ctc", training={"init": "some.pt"}, **EVERYTHING)
    with torch.no_grad():
        task.model.head.bias[1] = torch.nan
    loss = loss_of(task)
    assert loss.total.isnan() and loss.items.isnan().all()


def test_a_batch_of_two_views_is_described(toy):
    task = toy("ctc", cr_weight=0.2)
    (batch,) = task.train_batches(1)
    assert "6 utterances in two views of up to" in task.describe(batch)
    assert any("loss.cr_weight" in line for line in task.memory_knobs())


@pytest.mark.parametrize("kind", ["ctc", "transducer"])
def test_memory_is_measured_with_all_losses_and_the_given_weights(toy, kind, tmp_path):
    path = tmp_path / "averaged.pt"
    first = toy(kind, attention_weight=0.4)
    with torch.no_grad():
        next(iter(first.model.parameters())).fill_(0.25)
    torch.save({"model": first.model.state_dict()}, path)
    training = {"init": str(path), "learning_rate": 0.0, "weight_decay": 0.0}
    task = toy(kind, training=training, **EVERYTHING)
    report = memory_report(task, TrainingConfig(device="cpu", **training))
    assert "activations" in report and "loss.cr_weight: it makes two views" in report
    assert (next(iter(task.model.parameters())) == 0.25).all()


@pytest.mark.parametrize("kind", ["ctc", "transducer"])
def test_checkpoints_load_with_and_without_what_only_trains(toy, kind, tmp_path):
    task = toy(kind, attention_weight=0.3)
    path, config = tmp_path / "averaged.pt", make_config(kind, model=DECODER).model
    torch.save({"model": task.model.state_dict()}, path)
    plain = load_model(path, config, BINS, task.lang.num_tokens)
    assert plain.attention_decoder is None
    whole = load_model(path, config, BINS, task.lang.num_tokens, attention_decoder=True)
    mine = task.model.attention_decoder.state_dict()
    assert all(torch.equal(v, mine[k]) for k, v in whole.attention_decoder.state_dict().items())
    without = toy(kind)
    torch.save({"model": without.model.state_dict()}, path)
    with pytest.raises(NeveError, match="no attention decoder"):
        load_model(path, config, BINS, task.lang.num_tokens, attention_decoder=True)
