"""Recall and precision of listed terms, counted by hand on small alignments."""

import json

import pytest

from neve.errors import NeveError
from neve.results import Hypothesis, Result, Word, write_results
from neve.scoring import ScoringConfig, align, read_summary, score
from neve.scoring.terms import TermCounts, all_terms, count_terms, read_terms

TERMS = [("WIRE", "TRANSFER"), ("APR",), ("SAVINGS", "ACCOUNT"), ("ACCOUNT",)]


def counts(*texts):
    return count_terms(TERMS, [align(ref.split(), hyp.split()) for ref, hyp in texts])


@pytest.mark.parametrize(
    ("ref", "hyp", "term", "said", "recognised", "correct"),
    [
        ("A WIRE TRANSFER", "A WIRE TRANSFER", 0, 1, 1, 1),
        ("A WIRE TRANSFER", "A FIRE TRANSFER", 0, 1, 0, 0),
        ("A WIRE TRANSFER", "A WIRE BIG TRANSFER", 0, 1, 0, 0),  # something is between
        ("WIRE THE TRANSFER", "WIRE TRANSFER", 0, 0, 1, 0),
        ("WIRE FEES", "WIRE TRANSFER", 0, 0, 1, 0),
        ("WIRE TRANSFER WIRE TRANSFER", "WIRE TRANSFER", 0, 2, 1, 1),
        ("APR", "", 1, 1, 0, 0),
        ("", "APR APR", 1, 0, 2, 0),
        ("APR OR APR", "APR OR APE", 1, 2, 1, 1),
        ("MY SAVINGS ACCOUNT", "MY SHAVINGS ACCOUNT", 2, 1, 0, 0),
        ("MY SAVINGS ACCOUNT", "MY SHAVINGS ACCOUNT", 3, 1, 1, 1),  # within a longer term
        ("MY APR SAVINGS", "MY APR SAVINGS", 2, 0, 0, 0),  # begun at the end
    ],
)
def test_what_counts(ref, hyp, term, said, recognised, correct):
    assert counts((ref, hyp))[term] == TermCounts(
        " ".join(TERMS[term]), said, recognised, correct
    )


def test_sums_recall_and_precision():
    total = all_terms(counts(("THE APR OF A WIRE TRANSFER", "THE APR OF A TIRE TRANSFER"),
                             ("AN ACCOUNT", "APR ACCOUNT")))  # fmt: skip
    assert total == TermCounts("all", 3, 3, 2)
    assert total.recall == total.precision == pytest.approx(2 / 3)
    assert TermCounts("X").recall is None and TermCounts("X").precision is None


def test_a_list_is_read_once_each_and_without_boosts(tmp_path):
    path = tmp_path / "terms.txt"
    path.write_text("WIRE  TRANSFER\t2.5\n\nAPR\nWIRE TRANSFER\n")
    assert read_terms(path) == [("WIRE", "TRANSFER"), ("APR",)]


@pytest.mark.parametrize("content", [None, "\n \n", b"\xff\xfe"])
def test_a_list_without_terms_is_an_error(tmp_path, content):
    path = tmp_path / "terms.txt"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(NeveError, match=r"terms\.txt"):
        read_terms(path)


def test_the_counts_are_in_all_files(tmp_path):
    def hypothesis(text):
        return [Hypothesis([Word(word, 0, 1) for word in text.split()])]

    (tmp_path / "terms.txt").write_text("WIRE TRANSFER\nAPR\n")
    write_results(tmp_path / "hyps-test.jsonl", [
        Result("a", "THE APR IS LOW", hypothesis("THE APR IS LOW")),
        Result("b", "A WIRE TRANSFER", hypothesis("A TIRE TRANSFER")),
    ])  # fmt: skip
    config = ScoringConfig(terms=str(tmp_path / "terms.txt"), bootstrap_samples=0)
    summary = score(config, tmp_path, tmp_path / "out")["test"]
    assert summary.terms == [TermCounts("WIRE TRANSFER", 1, 0, 0), TermCounts("APR", 1, 1, 1)]
    assert read_summary(tmp_path / "out/wer-summary-test.json").terms == summary.terms
    record = json.loads((tmp_path / "out/wer-summary-test.json").read_text())["terms"][-1]
    assert record == {"term": "all", "reference": 2, "hypothesis": 1, "correct": 1,
                      "recall": 0.5, "precision": 1.0}  # fmt: skip
    text = (tmp_path / "out/wer-summary-test.txt").read_text()
    assert "terms: recall 50.00 % [ 1 / 2 ], precision 100.00 % [ 1 / 1 ], 2 listed" in text
    assert "WIRE TRANSFER" in text
    page = (tmp_path / "out/report.html").read_text()
    assert "recall of the listed terms" in page and "WIRE TRANSFER" in page


def test_a_summary_without_terms_is_read(tmp_path):
    result = Result("a", "YES", [Hypothesis([Word("YES", 0, 1)])])
    write_results(tmp_path / "hyps-test.jsonl", [result])
    score(ScoringConfig(bootstrap_samples=0), tmp_path, tmp_path / "out")
    path = tmp_path / "out/wer-summary-test.json"
    record = json.loads(path.read_text())
    assert record.pop("terms") is None
    path.write_text(json.dumps(record))  # as it was before there were terms
    assert read_summary(path).terms is None
