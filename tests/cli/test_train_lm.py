"""`neve train-lm`: from transcripts to a model directory that scores; a second run has no work."""

import pytest

from neve.cli.main import main
from neve.lang import Lang
from neve.models.lm import load_lm

MODEL = ["--neural-lm.model.dim", "8", "--neural-lm.model.layers", "1", "--neural-lm.model.heads"]
MODEL += ["2", "--neural-lm.model.feedforward-dim", "8", "--neural-lm.training.epochs", "2"]
WORDS = ["--lang.kind", "char", "--lang.write-pt", "false", "--neural-lm.training.device", "cpu"]


def test_from_transcripts_to_scores(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/manifests").mkdir(parents=True)
    for split in ("train", "dev"):
        path = tmp_path / f"data/manifests/text_{split}"
        path.write_text("u1 ONE TWO\nu2 TWO ONE ONE\n")
    assert main(["train-lm", *WORDS, *MODEL]) == 1
    assert "data/lang_char: stage 3 makes it (`neve lang`" in capsys.readouterr().err
    assert main(["lang", *WORDS]) == 0
    assert main(["train-lm", *WORDS, *MODEL]) == 0
    directory = tmp_path / "data/lm/transformer_char-seed0/model"
    model = load_lm(directory)
    assert Lang.load(directory / "lang").encode("ONE") == Lang.load("data/lang_char").encode("ONE")
    scores = model.score([Lang.load(directory / "lang").encode(text) for text in ("ONE", "TWO")])
    assert scores.shape == (2,) and (scores < 0).all()
    capsys.readouterr()
    assert main(["train-lm", *WORDS, *MODEL]) == 0
    assert "is up to date, skipped" in capsys.readouterr().err
    # the model can be made larger only under another name
    assert main(["train-lm", *WORDS, *MODEL, "--neural-lm.model.dim", "12"]) == 1
    assert "neural_lm.model.dim" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["neural-lm.model.kind", "neural-lm.unit"])
def test_choices(key, capsys):
    assert main(["train-lm", f"--{key}", "other"]) == 1
    assert "other" in capsys.readouterr().err
