"""ARPA files: what is written is read, what is wrong is named; scores with back-off."""

import gzip
import math

import numpy as np
import pytest

from neve.errors import NeveError
from neve.lm import estimate, read_arpa, write_arpa

MODEL = """
a comment before the data

\\data\\
ngram 1=5
ngram 2=3
ngram 3=2

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.5
-1.0\t</s>
-0.6\ta\t-0.25
-0.7\tb\t-0.125

\\2-grams:
-0.2\t<s> b\t-0.0625
-0.3\tb a\t-0.03125
-0.4\ta </s>

\\3-grams:
-0.05\tb a </s>
-0.1\t<s> b a

\\end\\
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(MODEL)
    return path


def test_back_off(path):
    model = read_arpa(path)
    assert model.order == 3 and model.words == ["<unk>", "<s>", "</s>", "a", "b"]
    assert model.score("b a") == pytest.approx(-0.2 - 0.1 - 0.05)
    # a after <s>: back-off of <s>; b after (<s> a): no such context, back-off of a
    # </s> after (a b): no such context, back-off of b
    assert model.score("a b") == pytest.approx((-0.5 - 0.6) + (-0.25 - 0.7) + (-0.125 - 1.0))
    # b after (<s> b): back-offs of "<s> b" and of b
    assert model.score("b b") == pytest.approx(-0.2 + (-0.0625 - 0.125 - 0.7) + (-0.125 - 1.0))
    # an unknown word, and nothing after it can look back beyond it
    assert model.score("x b") == pytest.approx((-0.5 - 1.5) - 0.7 + (-0.125 - 1.0))
    assert model.score([]) == pytest.approx(-0.5 - 1.0)
    assert model.score("a", eos=False) == pytest.approx(-0.5 - 0.6)
    assert model.score("a", bos=False, eos=False) == pytest.approx(-0.6)
    assert model.log_prob(["b", "b", "a"], "</s>") == pytest.approx(-0.05)
    assert model.log_prob(["a", "x", "a"], "</s>") == pytest.approx(-0.4)


def test_perplexity(path):
    model = read_arpa(path)
    result = model.perplexity(["b a", ["x", "b"]])
    assert (result.sentences, result.words, result.oov) == (2, 4, 1)
    log_prob = (-0.2 - 0.1 - 0.05) + (-0.7 - 0.125 - 1.0)
    assert result.log_prob == pytest.approx(log_prob)
    assert result.value == pytest.approx(10 ** (-log_prob / 5))
    assert str(result).startswith("2 sentences, 4 words, 1 OOVs: perplexity ")
    assert math.isnan(model.perplexity([]).value)


def test_no_unknown_word(path):
    path.write_text(MODEL.replace("ngram 1=5", "ngram 1=4").replace("-1.5\t<unk>\n", ""))
    model = read_arpa(path)
    assert model.score("b x") == -math.inf
    assert model.perplexity(["b x"]).oov == 1


@pytest.mark.parametrize("name", ["copy.arpa", "copy.arpa.gz"])
def test_what_is_written_is_read(tmp_path, name):
    text = ["a b a", "b a c", "a", "b c b a"]
    model = estimate(text, 3, discount_fallback=(0.5, 1.0, 1.5))
    write_arpa(model, tmp_path / name)
    first = (tmp_path / name).read_bytes()
    again = read_arpa(tmp_path / name)
    assert again.words == model.words
    for one, other in zip(model.levels, again.levels, strict=True):
        assert np.array_equal(one.context, other.context) and np.array_equal(one.word, other.word)
        assert np.allclose(one.log_prob, other.log_prob, rtol=1e-6)
        assert np.allclose(one.backoff, other.backoff, rtol=1e-6)
    write_arpa(again, tmp_path / name)
    assert (tmp_path / name).read_bytes() == first


def test_the_order_of_the_lines_does_not_matter(path):
    model = read_arpa(path)
    rows = "-0.2\t<s> b\t-0.0625\n-0.3\tb a\t-0.03125\n-0.4\ta </s>"
    path.write_text(MODEL.replace(rows, "\n".join(reversed(rows.split("\n")))))
    other = read_arpa(path)
    assert model.ngrams(3) == other.ngrams(3) == ["<s> b a", "b a </s>"]
    for sentence in ("b a", "a b", "b b a", ""):
        assert model.score(sentence) == other.score(sentence)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("-0.7\tb", "-O.7\tb", 14, "could not convert string to float: '-O.7'"),
        ("-0.7\tb", "0.7\tb", 14, "the log probability 0.7 is not a number of at most 0"),
        ("-0.7\tb", "nan\tb", 14, "the log probability nan is not"),
        ("-0.125", "inf", 14, "the back-off inf is not a number"),
        ("-0.125", "-0.1.2", 14, "could not convert"),
        ("-0.3\tb a\t-0.03125", "-0.3\tb", 18, "a line here has a log probability, 2 words"),
        ("-0.1\t<s> b a", "-0.1\t<s> b a\t-1", 23, "3 words, not"),
        ("-0.7\tb", "-0.7\ta", 14, "the word a stands in \\1-grams: already"),
        ("-0.3\tb a\t-0.03125", "-0.3\t<s> b", 18, "'<s> b' stands in \\2-grams: already"),
        ("-0.3\tb a", "-0.3\tb c", 18, "the word c is not in \\1-grams:"),
        ("-0.1\t<s> b a", "-0.1\ta b a", 23, "its beginning, 'a b', is not in \\2-grams:"),
        ("ngram 1=5", "ngram 1=6", 16, "6 1-grams are announced in the header, found 5"),
        ("ngram 2=3", "ngram 2=2", 19, "there are more 2-grams than the header says"),
        ("ngram 3=2", "ngram 3=1", 23, "there are more 3-grams than the header says"),
        ("ngram 3=2", "ngram 4=2", 7, "expected the count of 3-grams"),
        ("ngram 3=2", "ngram 3=", 7, "expected \\1-grams: after the counts"),
        ("\\data\\", "data", 25, "there is no \\data\\ section"),
        ("\\1-grams:", "", 10, "expected \\1-grams: after the counts, found '-1.5"),
        ("\\2-grams:", "", 17, "there are more 1-grams than the header says"),
        ("\\2-grams:", "\\3-grams:", 16, "expected \\2-grams:, found '\\\\3-grams:'"),
        ("\\end\\", "", 25, "the file stops before \\end\\"),
        ("<s>\t-0.5", "<S>\t-0.5", 17, "the word <s> is not in \\1-grams:"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(path, old, new, line, words):
    assert old in MODEL
    path.write_text(MODEL.replace(old, new, 1))
    with pytest.raises(NeveError) as error:
        read_arpa(path)
    message = str(error.value)
    assert words in message and "make it again" in message
    assert message.startswith(f"{path}:{line}: "), message


def test_a_truncated_file_is_never_taken_for_whole(path):
    whole = path.read_bytes()
    for size in range(0, len(whole) - len("\\end\\\n") + 1, 7):
        path.write_bytes(whole[:size])
        with pytest.raises(NeveError, match="lm.arpa:"):
            read_arpa(path)


def test_a_truncated_compressed_file(tmp_path):
    path = tmp_path / "lm.arpa.gz"
    path.write_bytes(gzip.compress(MODEL.encode())[:-12])
    with pytest.raises(NeveError, match="lm.arpa.gz:[0-9]+: the compressed file is broken"):
        read_arpa(path)
    path.write_text(MODEL)
    with pytest.raises(NeveError, match="lm.arpa.gz:[0-9]+: the compressed file is broken"):
        read_arpa(path)


def test_unreadable_files(tmp_path):
    with pytest.raises(NeveError, match="there is no such ARPA file"):
        read_arpa(tmp_path / "absent.arpa")
    with pytest.raises(NeveError, match="cannot be read"):
        read_arpa(tmp_path)
    (tmp_path / "latin.arpa").write_bytes(MODEL.encode() + b"\xff")
    (tmp_path / "latin.arpa").write_bytes(MODEL.replace("\tb\t", "\t\xe9\t").encode("latin-1"))
    with pytest.raises(NeveError, match="latin.arpa:14: is not UTF-8"):
        read_arpa(tmp_path / "latin.arpa")


def test_positive_back_offs_are_told(path, caplog):
    path.write_text(MODEL.replace("-0.125", "0.125"))
    model = read_arpa(path)
    assert "1 back-off weights are positive" in caplog.text
    assert model.log_prob(["b"], "b") == pytest.approx(0.125 - 0.7)
