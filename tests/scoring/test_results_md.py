"""RESULTS.md: every seed in its group, the introduction kept, damaged files named."""

import json

import pytest

from neve.costs import Cost, Spent, write_costs
from neve.errors import NeveError
from neve.results import Hypothesis, Result, Word, write_results
from neve.scoring import ScoringConfig, log_decoding, score, write_results_md
from neve.scoring.results_md import MARKER


def add(exp, run, wrong, decoding="hlg", splits=("test",), cost=None, **experiment):
    """An experiment whose every set has ten words, of which `wrong` are wrong."""
    directory = exp / run / f"decode_{decoding}"
    words = ["X"] * wrong + ["A"] * (10 - wrong)
    nbest = [Hypothesis([Word(w, 0.0, 0.1) for w in words])]
    results = [Result("u1", " ".join("A" * 10), nbest, 1.0), Result("u2", "", [], 1.0)]
    for split in splits:
        write_results(directory / f"hyps-{split}.jsonl", results)
    if cost:
        write_costs(directory, dict.fromkeys(splits, cost))
    score(ScoringConfig(), directory, exp / run / f"report_{decoding}", experiment=experiment)


def rows_of(text, heading):
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_groups_show_every_seed_with_mean_and_deviation(tmp_path):
    exp = tmp_path / "exp"
    add(exp, "tdnn-seed10", 3, splits=("dev", "test"))
    add(exp, "tdnn-seed2", 1, splits=("dev", "test"))
    add(exp, "tdnn-seed2", 0, decoding="greedy")
    add(exp, "a_b-seed0", 2)
    path = tmp_path / "RESULTS.md"
    found = write_results_md(path, exp, title="Digits")
    assert [(e.tag, e.decoding, e.seed) for e in found] == [
        ("a_b", "hlg", "0"), ("tdnn", "greedy", "2"), ("tdnn", "hlg", "2"), ("tdnn", "hlg", "10"),
    ]  # fmt: skip
    text = path.read_text()
    assert text.startswith(f"# Digits\n\n{MARKER}\n")
    greedy, *rows = (row[1:] for row in rows_of(text.split("## tdnn\n")[1], "Each training"))
    assert [row[:4] for row in rows] == [
        ["dev", "2", "1 / 10", "10.00"],
        ["dev", "10", "3 / 10", "30.00"],
        ["dev", "mean of 2", "2.0", "20.00 ± 14.14"],
        ["test", "2", "1 / 10", "10.00"],
        ["test", "10", "3 / 10", "30.00"],
        ["test", "mean of 2", "2.0", "20.00 ± 14.14"],
    ]
    assert rows[0][5] == "1 / 0 / 0"
    assert greedy[2] == "0 / 10"
    assert [row[:3] for row in rows_of(text, "tdnn")] == [
        ["greedy", "-", "0.00"],
        ["hlg", "20.00 ± 14.14", "20.00 ± 14.14"],
    ]
    assert rows_of(text, r"a\_b, decoding hlg")[0][1:4] == ["0", "2 / 10", "20.00"]


def test_one_table_of_all_decodings_has_what_they_took(tmp_path):
    # a set of 2 utterances: 10 s, 250 frames; seed 1 takes twice as long as seed 0
    costs = [
        Cost(
            "nbest", "2gram", "20 / 8", 1, "cpu", 2, 10.0, 250, arcs, 6,
            encoder=Spent(w, w), search=Spent(w, 3 * w),
        )
        for w, arcs in ((1.0, 1000), (2.0, 3000))
    ]  # fmt: skip
    for seed, cost in enumerate(costs):
        add(tmp_path, f"ctc-seed{seed}", seed, "lists", ("dev", "test"), cost)
        add(tmp_path, f"ctc-seed{seed}", 0, "greedy", ("dev",), Cost("greedy", audio=1.0))
    path = tmp_path / "RESULTS.md"
    write_results_md(path, tmp_path)
    # both sets and seeds together: 40 s of audio, 6 s of model and 6 s of search, 24 s of
    # processors, 8000 arcs in 1000 frames, 24 hypotheses for 8 utterances
    assert rows_of(path.read_text(), "ctc") == [
        ["greedy", "0.00 ± 0.00", "-", "greedy", "-", "-", "0.0000", "0.0000", "0.0000", "-", "-"],
        ["lists", "5.00 ± 7.07", "5.00 ± 7.07", "nbest", "2gram", "20 / 8", "0.3000", "0.1500",
         "0.6000", "8.0", "3.0"],
    ]  # fmt: skip
    summary = (tmp_path / "ctc-seed0" / "report_lists" / "wer-summary-dev.txt").read_text()
    line = "real-time factor 0.2000 (search 0.1000, processors 0.4000), 4.0 arcs a frame in the"
    assert line in summary


def test_what_the_files_say_goes_before_the_directory(tmp_path):
    add(tmp_path, "run1", 1, tag="tdnn", seed=5, decoding="hlg")
    add(tmp_path, "run2", 2)
    found = write_results_md(tmp_path / "RESULTS.md", tmp_path)
    assert [(e.tag, e.seed) for e in found] == [("run2", ""), ("tdnn", "5")]


def test_the_introduction_is_kept(tmp_path):
    add(tmp_path, "tdnn-seed0", 1)
    path = tmp_path / "RESULTS.md"
    path.write_text("# Mine\n\nWords of *mine*.\n")
    write_results_md(path, tmp_path)
    first = path.read_text()
    write_results_md(path, tmp_path)
    assert path.read_text() == first
    assert first.startswith(f"# Mine\n\nWords of *mine*.\n\n{MARKER}\n")
    add(tmp_path, "tdnn-seed1", 2)
    write_results_md(path, tmp_path)
    assert path.read_text().count(MARKER) == 1
    assert "mean of 2" in path.read_text()


def test_command_versions_training_and_decodings(tmp_path):
    exp = tmp_path / "exp"
    add(exp, "tdnn-seed0", 1)
    add(exp, "tdnn-seed1", 1)
    told = {"parameters": 3123456, "epochs": 107, "train_seconds": 2340, "hours_per_hour": 104.4}
    (exp / "tdnn-seed0" / "summary.json").write_text(json.dumps(told))
    (exp / "tdnn-seed1" / "summary.json").write_text(json.dumps({"epochs": 3, "parameters": "?"}))
    for split, is_test in (("test", True), ("test", True), ("dev", False)):
        log_decoding(
            exp / "decodings.jsonl",
            split=split,
            experiment="tdnn-seed0",
            decode_name="hlg",
            checkpoint="averaged.pt",
            command="x",
            is_test=is_test,
        )
    path = tmp_path / "RESULTS.md"
    write_results_md(
        path, exp, command="./run.sh --tag x", versions={"torch": "2.1"}, revision="abc1234"
    )
    text = path.read_text()
    assert "```\n./run.sh --tag x\n```" in text
    assert "git revision `abc1234`, torch 2.1." in text
    assert rows_of(text, "Training") == [
        ["tdnn", "0", "3.12 M", "107", "39.0 min", "104"],
        ["tdnn", "1", "-", "3", "-", "-"],
    ]
    assert "So far: test 2 times." in text
    write_results_md(path, exp, test_sets=["test", "other"])
    assert "So far: test 2 times, other 0 times." in path.read_text()


def test_nothing_scored_is_an_error(tmp_path):
    with pytest.raises(NeveError, match="no experiment has been scored"):
        write_results_md(tmp_path / "RESULTS.md", tmp_path / "exp")
    assert not (tmp_path / "RESULTS.md").exists()


def test_damaged_files_are_named_and_the_old_page_stays(tmp_path):
    add(tmp_path, "tdnn-seed0", 1)
    path = tmp_path / "RESULTS.md"
    write_results_md(path, tmp_path)
    before = path.read_text()
    (tmp_path / "decodings.jsonl").write_text("oops\n")
    with pytest.raises(NeveError, match="decodings.jsonl, line 1"):
        write_results_md(path, tmp_path)
    (tmp_path / "decodings.jsonl").unlink()
    (tmp_path / "tdnn-seed0" / "summary.json").write_text("{")
    with pytest.raises(NeveError, match="summary.json: cannot be read"):
        write_results_md(path, tmp_path)
    (tmp_path / "tdnn-seed0" / "summary.json").unlink()
    (tmp_path / "tdnn-seed0" / "report_hlg" / "wer-summary-test.json").write_text("{}")
    with pytest.raises(NeveError, match="wer-summary-test.json: not a summary"):
        write_results_md(path, tmp_path)
    assert path.read_text() == before
