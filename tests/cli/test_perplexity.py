"""`neve perplexity`: figures, unknown words, forms of the answer, texts that are no texts."""

import json

import pytest

from neve.cli.main import main
from neve.lm import estimate, write_arpa

TEXT = ["the cat sat", "the dog sat", "a cat"]


@pytest.fixture
def model(tmp_path):
    model = estimate(TEXT, 2, discount_fallback=(0.5, 1.0, 1.5))
    write_arpa(model, tmp_path / "lm.arpa")
    (tmp_path / "one.txt").write_text("the cat sat\n\na zebra sat\n")
    (tmp_path / "two.txt").write_text("u1 THE DOG, zebra\nu2\nu3 YETI\n")
    return model


def test_figures_of_each_text_and_of_all(tmp_path, monkeypatch, capsys, model):
    monkeypatch.chdir(tmp_path)
    assert main(["perplexity", "--lm", "lm.arpa", "one.txt", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["texts"]["one.txt"]
    result = model.perplexity(["the cat sat", "a zebra sat"])
    assert (found["sentences"], found["words"], found["oov"]) == (2, 6, 1)
    assert found["perplexity"] == pytest.approx(result.value, rel=1e-6)
    assert found["most_frequent_oov"] == [["zebra", 1]]
    # "<s> the", "the cat", "cat sat", "sat </s>", "<s> a", "sat </s>" are seen; sat has no history
    assert found["hits"] == [pytest.approx(1 / 7), pytest.approx(6 / 7)]
    words = ["--normalize", "--text.case", "lower", "--ids", "--page", "page.html"]
    assert main(["perplexity", "--lm", "lm.arpa", *words, "two.txt", "one.txt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["text", "sentences", "words"]
    assert lines[1].split()[:4] == ["two.txt", "3", "4", "2"] and lines[3].startswith("all")
    assert lines[-1].endswith("the most frequent: yeti 1, zebra 1") or "zebra 2" in lines[-1]
    page = (tmp_path / "page.html").read_text()
    assert "two.txt" in page and "yeti" in page and "http" not in page


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty.txt: there is not one word in this text"),
        (b"\n \n", "empty.txt: there is not one word in this text"),
        (b"a cat\n\xff\xfe\n", "empty.txt:2: is not UTF-8 text"),
    ],
)
def test_texts_that_are_none(tmp_path, monkeypatch, capsys, model, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_bytes(content)
    assert main(["perplexity", "--lm", "lm.arpa", "empty.txt"]) == 1
    assert message in capsys.readouterr().err
    assert main(["perplexity", "--lm", "no.arpa", "one.txt"]) == 1
    assert "no.arpa: there is no such ARPA file" in capsys.readouterr().err
    assert main(["perplexity", "--lm", "lm.arpa", "--text.case", "lower", "one.txt"]) == 1
    assert "text.case: give --normalize" in capsys.readouterr().err


def test_a_model_and_a_text_that_share_no_word(tmp_path, monkeypatch, capsys, model):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "upper.txt").write_text("THE CAT\n")
    assert main(["perplexity", "--lm", "lm.arpa", "upper.txt"]) == 0
    out = capsys.readouterr().out
    assert "100.00" in out and "CAT 1, THE 1" in out
