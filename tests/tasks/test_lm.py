"""Training of neural language models: a grammar to its entropy, resuming, text that is cut."""

import json
import math

import numpy as np
import pytest
import torch

from neve.errors import ConfigError, NeveError
from neve.lang import Lang, LangConfig, build_lang
from neve.lm.units import Units
from neve.models.lm import load_lm
from neve.models.lm_config import LmModelConfig
from neve.tasks.lm import LmTask, train_lm
from neve.tasks.lm_config import NeuralLmConfig
from neve.tasks.lm_text import Sentences
from neve.training import TrainingConfig, load_checkpoint

# A sentence is a walk: what follows each word, and with which probability; "" ends it.
NEXT = {
    "": {"ONE": 0.6, "TWO": 0.4},
    "ONE": {"TWO": 0.7, "ONE": 0.1, "": 0.2},
    "TWO": {"SIX": 0.5, "ONE": 0.2, "": 0.3},
    "SIX": {"SIX": 0.3, "ONE": 0.4, "": 0.3},
}


def walk(generator):
    words, word = [], ""
    while word or not words:
        choices = NEXT[word]
        word = str(generator.choice(list(choices), p=list(choices.values())))
        if word:
            words.append(word)
    return words


def entropy(sentences):
    """Natural negative log probability of each word and sentence end, in the true grammar."""
    total = count = 0
    for words in sentences:
        for word, following in zip(["", *words], [*words, ""]):
            total -= math.log(NEXT[word][following])
            count += 1
    return total / count


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    for name, size in (("train", 1500), ("dev", 300)):
        rows = (f"u{i} {' '.join(walk(generator))}\n" for i in range(size))
        (path / f"text_{name}").write_text("".join(rows))
    config = LangConfig(kind="char", write_pt=False)
    build_lang(config, [path / "text_train"], None, path / "lang")
    return path


def settings(kind="lstm", training=(), **changes):
    model = {"kind": kind, "dim": 32, "layers": 1, "heads": 2, "feedforward_dim": 64}
    usual = {"epochs": 6, "learning_rate": 0.01, "device": "cpu", "threads": 1, "ema_decay": 0.98}
    return NeuralLmConfig(
        **{"unit": "words", "batch_tokens": 400, **changes},
        model=LmModelConfig(**model, dropout=0.0),
        training=TrainingConfig(**{**usual, "precision": "fp32", **dict(training)}),
    )


def train(corpus, out, config):
    out.mkdir(exist_ok=True)
    return train_lm(config, out, corpus / "lang", [corpus / "text_train"], [corpus / "text_dev"])


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_a_grammar_is_learnt_to_its_entropy(corpus, tmp_path, kind):
    model = load_lm(train(corpus, tmp_path / "out", settings(kind)))
    dev = [line.split()[1:] for line in (corpus / "text_dev").read_text().splitlines()]
    units = Units(Lang.load(corpus / "lang"), "words")
    scores = model.score([units.encode(words) for words in dev])
    loss = -float(scores.sum()) / sum(len(words) + 1 for words in dev)
    least = entropy(dev)
    assert least - 0.005 < loss < least + 0.03
    lines = (tmp_path / "out" / "curves.jsonl").read_text().splitlines()
    last = [json.loads(line) for line in lines if '"dev"' in line][-1]
    assert last["loss"] == pytest.approx(loss, abs=1e-3)
    assert last["perplexity"] == pytest.approx(math.exp(last["loss"]), rel=1e-3)


def test_resumed_training_equals_one_that_never_stopped(corpus, tmp_path, monkeypatch):
    config = settings("transformer", {"epochs": 2, "save_batches": 2}, unit="tokens")
    config.model.dropout = 0.2
    train(corpus, tmp_path / "whole", config)
    calls = []
    loss = LmTask.loss

    def stops(task, batch):
        calls.append(1)
        if len(calls) == 37:
            raise KeyboardInterrupt
        return loss(task, batch)

    monkeypatch.setattr(LmTask, "loss", stops)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path / "parts", config)
    assert (tmp_path / "parts" / "resume.pt").exists()
    train(corpus, tmp_path / "parts", config)
    whole, parts = (
        load_checkpoint(tmp_path / name / "averaged.pt")["model"] for name in ("whole", "parts")
    )
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_tokens_have_the_ids_of_the_lang_directory(corpus):
    lang = Lang.load(corpus / "lang")
    units = Units(lang, "tokens")
    assert units.encode(["ONE", "SIX"]) == lang.encode("ONE SIX")
    assert units.size == lang.num_tokens and units.names[units.boundary] == "<sos/eos>"
    words = Units(lang, "words")
    assert words.encode(["ONE", "NOVEMBER"])[1] == 0 and words.names[-1] == "<sos/eos>"


def test_long_sentences_are_cut_and_nothing_is_lost():
    sentences = Sentences(3, 9)
    for ids in ([1, 2, 3, 4, 5, 6, 7], [8], []):
        sentences.add(ids)
    sentences.finish()
    assert [sentences.predicted(i).tolist() for i in range(len(sentences))] == [
        [1, 2, 3],
        [4, 5, 6],
        [7, 9],
        [8, 9],
        [9],
    ]
    assert sentences.first.tolist() == [9, 3, 6, 9, 9] and sentences.tokens == 11
    for generator in (None, np.random.default_rng(0)):
        batches = sentences.batches(6, generator)
        assert sorted(np.concatenate(batches).tolist()) == [0, 1, 2, 3, 4]
        assert all(len(rows) * sentences.lengths[rows].max() <= 6 for rows in batches)


def test_an_epoch_is_shared_between_processes(corpus, monkeypatch):
    from neve.tasks import lm
    from neve.training.distributed import Group

    task = LmTask(settings(), corpus / "lang", [corpus / "text_train"])
    alone = [tuple(batch) for batch in task.train_batches(1)]
    assert alone == [tuple(batch) for batch in task.train_batches(1)]
    assert alone != [tuple(batch) for batch in task.train_batches(2)]
    assert alone[5:] == [tuple(batch) for batch in task.train_batches(1, skip=5)]
    for size in (2, 3, 4):
        parts = []
        for rank in range(size):
            group = Group(rank, size)
            monkeypatch.setattr(lm, "this_group", lambda group=group: group)
            parts.append([tuple(batch) for batch in task.train_batches(1)])
            rest = [tuple(batch) for batch in task.train_batches(1, skip=2 * size)]
            assert rest == parts[rank][2:]
        assert len({len(part) for part in parts}) == 1
        assert {batch for part in parts for batch in part} == set(alone)
    assert len(alone) % 2 or len(alone) % 3 or len(alone) % 4


def test_text_that_is_none(corpus, tmp_path, caplog):
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes(b"ONE\nTW\xd6\n")
    (tmp_path / "odd.txt").write_text("ONE TWO\nNOVEMBER\n")
    with pytest.raises(NeveError, match="there is no text for the neural language model"):
        LmTask(settings(text=[str(tmp_path / "empty.txt")]), corpus / "lang")
    with pytest.raises(NeveError, match="latin.txt:2: is not UTF-8 text"):
        LmTask(settings(text=[str(tmp_path / "latin.txt")]), corpus / "lang")
    with pytest.raises(NeveError, match="absent.txt: there is no such text"):
        LmTask(settings(text=[str(tmp_path / "absent.txt")]), corpus / "lang")
    with pytest.raises(ConfigError, match="neural_lm.max_length=1 must be at least 2"):
        LmTask(settings(max_length=1), corpus / "lang", [corpus / "text_train"])
    task = LmTask(
        settings(unit="tokens", text=[str(tmp_path / "odd.txt")]), corpus / "lang", [], []
    )
    assert len(task.sentences) == 1
    assert "1 sentences have words that" in caplog.text and "NOVEMBER" in caplog.text


def test_partial_weights_of_nothing_are_refused(corpus):
    training = TrainingConfig(init_partial=True)
    config = NeuralLmConfig(training=training)
    with pytest.raises(ConfigError, match=r"training\.init_partial is set, but training\.init"):
        LmTask(config, corpus / "lang", [corpus / "text_train"])
