"""The table and page of several systems: figures by hand, from scored decodings on disk."""

import json

import pytest

from neve.errors import ConfigError
from neve.results import Hypothesis, Result, Word, write_results
from neve.scoring import ScoringConfig, find_experiments, score
from neve.scoring.comparison import about, compare, markdown, table_of, write_comparison
from neve.text import TextConfig

REFERENCES = {"a": "THE APR IS LOW", "b": "A WIRE TRANSFER", "c": "YES YES YES"}
SYSTEMS = {  # tag, decoding: hypotheses
    ("general", "base"): ["THE APE IS LOW", "A TIRE TRANSFER", "YES NO"],  # 4 errors
    ("general", "words"): ["THE APR IS LOW", "A TIRE TRANSFER", "YES NO"],  # 3
    ("tuned", "all"): ["THE APR IS LOW", "A WIRE TRANSFER", "YES YES YES APR"],  # 1
}
ROWS = {"baseline": "general/base", "with words": "general/words", "<all>": "tuned/all"}


@pytest.fixture
def scored(tmp_path):
    """scored(*systems, seed=0, text=None): an experiments directory in which they are scored."""
    (tmp_path / "terms.txt").write_text("APR\nWIRE TRANSFER\n")
    config = ScoringConfig(terms=str(tmp_path / "terms.txt"), compare=ROWS, bootstrap_samples=200)

    def make(*systems, seed=0, text=None):
        for tag, decoding in systems:
            run = tmp_path / f"exp/{tag}-seed{seed}"
            results = [
                Result(name, ref, [Hypothesis([Word(word, 0, 1) for word in hyp.split()])])
                for (name, ref), hyp in zip(REFERENCES.items(), SYSTEMS[tag, decoding])
            ]
            write_results(run / f"decode_{decoding}/hyps-test.jsonl", results)
            told = {"tag": tag, "seed": str(seed), "decoding": decoding}
            reports = run / f"report_{decoding}"
            score(config, run / f"decode_{decoding}", reports, experiment=told, text=text)
        return config, find_experiments(tmp_path / "exp")

    return make


def test_figures_of_each_row(scored):
    compared, missing = compare(*scored(*SYSTEMS))
    assert missing == [] and list(compared) == ["test"]
    base, words, everything = compared["test"]
    assert [row.name for row in compared["test"]] == list(ROWS)
    assert [row.words.errors for row in compared["test"]] == [4, 3, 1]
    assert {row.words.reference for row in compared["test"]} == {10}
    assert base.reduction is None
    assert (words.reduction, everything.reduction) == pytest.approx((0.25, 0.75))
    assert base.better is None and 0.5 < words.better <= everything.better <= 1
    found = [(r.terms.correct, r.terms.reference, r.terms.hypothesis) for r in compared["test"]]
    assert found == [(0, 2, 0), (1, 2, 1), (2, 2, 3)]


def test_references_have_their_normal_form(scored, monkeypatch):
    compared, _ = compare(*scored(*SYSTEMS))
    wanted = [row.better for row in compared["test"]]
    for name, text in REFERENCES.items():
        monkeypatch.setitem(REFERENCES, name, text.lower() + ".")
    compared, _ = compare(*scored(*SYSTEMS, text=TextConfig()), TextConfig())
    assert [row.words.errors for row in compared["test"]] == [4, 3, 1]
    assert [row.better for row in compared["test"]] == wanted


def test_the_table_and_the_page_have_the_figures(scored, tmp_path):
    compared, _ = compare(*scored(*SYSTEMS))
    header, cells = table_of(compared["test"])
    assert all(len(row) == len(header) for row in cells)
    assert cells[0][:3] == ("baseline", "4 / 10", "40.00") and cells[0][4] == "-"
    assert header[4] == "relative WER reduction %"
    assert cells[2][4] == "75.0" and cells[2][-3:] == ("2 / 2", "100.00", "66.67")
    lines = markdown(compared)
    assert lines[0] == "## Compared on test"
    assert any(line.startswith("| with words | 3 / 10 | 30.00 |") for line in lines)
    path = tmp_path / "page.html"
    write_comparison(path, compared, title="A & B", command="./run.sh")
    page = path.read_text()
    assert "&lt;all&gt;" in page and "<all>" not in page and "A &amp; B" in page
    assert "66.67" in page and "tuned/all" in page and "./run.sh" in page


def test_what_is_not_scored_yet_is_said(scored):
    compared, missing = compare(*scored(("general", "base")))
    assert compared == {} and missing == ["general/words", "tuned/all"]


def test_seeds_are_summed(scored):
    scored(*SYSTEMS)
    compared, _ = compare(*scored(("general", "base"), seed=1))
    base, words, _ = compared["test"]
    assert (base.seeds, words.seeds) == (2, 1)
    assert base.words.errors == 8 and base.words.reference == 20
    assert words.reduction == pytest.approx(0.25)
    assert words.better is None and base.interval is None
    assert "baseline 2, with words 1" in about(compared["test"])


def test_systems_without_terms_have_no_such_columns(scored, tmp_path):
    config, _ = scored(*SYSTEMS)
    for path in (tmp_path / "exp").glob("*/report_*/wer-summary-test.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "terms": None}))
    compared, _ = compare(config, find_experiments(tmp_path / "exp"))
    header, _ = table_of(compared["test"])
    assert "recall %" not in header


@pytest.mark.parametrize("system", ["general", "general/", "/base", ""])
def test_a_system_is_written_tag_slash_decoding(system):
    with pytest.raises(ConfigError, match="scoring.compare: one"):
        compare(ScoringConfig(compare={"one": system}), [])
