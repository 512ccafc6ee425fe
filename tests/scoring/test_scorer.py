"""The scoring stage: its files, its report, and its bad input."""

import ast
import html.parser
import json
import re
import subprocess
import sys

import pytest

from neve.errors import NeveError
from neve.results import Hypothesis, Result, Word, write_results
from neve.scoring import ScoringConfig, read_summary, score
from neve.scoring.curves import line_chart, read_curves
from neve.scoring.summary import write_summary

NASTY = "<script>\"&'x"
VOID = {"meta"}


def result(id, ref, hyp, speaker="s1", confidence=None, **fields):
    nbest = [Hypothesis([Word(w, 0.0, 0.1, confidence) for w in hyp.split()])]
    return Result(id, ref, nbest, 2.5, speaker, fields)


@pytest.fixture
def decoded(tmp_path):
    directory = tmp_path / "decode_hlg"
    test = [
        result("u1", "ONE TWO THREE", "ONE TOO THREE FOUR", "s1", 0.9, room="hall"),
        result("u2", "NINE <UNK> FIVE", "FIVE", "s2", 0.7, room="car"),
        result("u3", "ONE", "ONE", "s2", 0.8, room="car"),
    ]
    write_results(directory / "hyps-test.jsonl", test)
    write_results(directory / "hyps-dev.jsonl", [result("v1", "ONE", "ONE")])
    return directory


def write_curves(path, epochs):
    with open(path, "w") as f:
        for epoch in range(1, epochs + 1):
            for split in ("train", "dev"):
                entry = {"step": 10 * epoch, "epoch": epoch, "split": split}
                f.write(json.dumps({**entry, "loss": 100 / epoch, "lr": 1e-3 / epoch}) + "\n")


class Checker(html.parser.HTMLParser):
    """Asserts that every element is closed where it should be."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.attributes, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def check_page(path):
    page = path.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert "script" not in checker.elements
    for name, value in checker.attributes:
        assert not name.startswith("on")
        if name in ("href", "src"):
            assert value.startswith("#")
    assert not re.search(r"https?:|url\(|@import", page)
    return checker.text


def test_all_files_are_written(decoded, tmp_path):
    out = tmp_path / "report"
    summaries = score(ScoringConfig(), decoded, out)
    assert list(summaries) == ["dev", "test"]
    assert (summaries["test"].words.errors, summaries["test"].words.reference) == (4, 7)
    kinds = ("recogs-{}.txt", "recogs-{}.jsonl", "errs-{}.txt", "errs-{}.jsonl",
             "wer-summary-{}.txt", "wer-summary-{}.json")  # fmt: skip
    expected = {k.format(split) for k in kinds for split in ("dev", "test")} | {"report.html"}
    assert {p.name for p in out.iterdir()} == expected


def test_recogs(decoded, tmp_path):
    score(ScoringConfig(), decoded, tmp_path)
    lines = (tmp_path / "recogs-test.txt").read_text().splitlines()
    assert lines[2:4] == ["u2:\tref=['NINE', '<UNK>', 'FIVE']", "u2:\thyp=['FIVE']"]
    assert ast.literal_eval(lines[0].split("ref=")[1]) == ["ONE", "TWO", "THREE"]
    records = [json.loads(x) for x in (tmp_path / "recogs-test.jsonl").read_text().splitlines()]
    assert [(r["id"], r["ref"], r["hyp"], r["errors"]) for r in records] == [
        ("u1", "ONE TWO THREE", "ONE TOO THREE FOUR", 2),
        ("u2", "NINE <UNK> FIVE", "FIVE", 2),
        ("u3", "ONE", "ONE", 0),
    ]


def test_errs(decoded, tmp_path):
    score(ScoringConfig(), decoded, tmp_path)
    text = (tmp_path / "errs-test.txt").read_text()
    assert text.startswith(
        "%WER 57.14\n4 errors: 1 insertions, 2 deletions, 1 substitutions, over 7 reference words "
        "(4 correct)\n"
    )
    assert "\nu1:\tONE (TWO->TOO) THREE (*->FOUR)\nu2:\t(NINE->*) (<UNK>->*) FIVE\n" in text
    assert "\nSUBSTITUTIONS: count ref -> hyp\n1\tTWO -> TOO\n" in text
    assert "\nDELETIONS: count ref\n1\t<UNK>\n1\tNINE\n" in text
    assert "\nINSERTIONS: count hyp\n1\tFOUR\n" in text
    assert "\nFIVE\t1 0 1 1\n" in text
    records = [json.loads(line) for line in (tmp_path / "errs-test.jsonl").read_text().splitlines()]
    assert records[0]["errors"] == 4
    by_kind = {}
    for record in records:
        by_kind.setdefault(record["kind"], []).append(record)
    assert by_kind["utterance"][1]["alignment"] == [["NINE", None], ["<UNK>", None], ["FIVE"] * 2]
    assert by_kind["substitution"] == [
        {"kind": "substitution", "ref": "TWO", "hyp": "TOO", "count": 1}
    ]
    assert [r["ref"] for r in by_kind["deletion"]] == ["<UNK>", "NINE"]
    assert [r["hyp"] for r in by_kind["insertion"]] == ["FOUR"]
    assert sum(r["reference"] for r in by_kind["word"]) == 7


def test_summary_text(decoded, tmp_path):
    score(ScoringConfig(), decoded, tmp_path)
    text = (tmp_path / "wer-summary-test.txt").read_text()
    assert "%WER 57.14 [ 4 / 7, 1 ins, 2 del, 1 sub ] 95 % interval" in text
    assert "%SER 66.67 [ 2 / 3 ]" in text
    assert "jiwer" in text
    assert "by room" in text
    assert re.search(r"^car +2 +5 s +50\.00 +2 +4 +0 +2 +0", text, re.MULTILINE)


def test_summary_file_round_trip(decoded, tmp_path):
    about = {"tag": "tdnn", "seed": 3, "decoding": "hlg"}
    summaries = score(ScoringConfig(), decoded, tmp_path / "out", experiment=about)
    path = tmp_path / "out" / "wer-summary-test.json"
    assert read_summary(path) == summaries["test"]
    assert read_summary(path).experiment == {"tag": "tdnn", "seed": "3", "decoding": "hlg"}
    write_summary(tmp_path / "again.json", read_summary(path))
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert len(path.read_text().splitlines()) == 1


def test_the_same_input_gives_the_same_files(decoded, tmp_path):
    for name in ("one", "two"):
        score(ScoringConfig(), decoded, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_report_is_well_formed_and_stands_alone(decoded, tmp_path):
    write_curves(tmp_path / "curves.jsonl", 5)
    score(
        ScoringConfig(),
        decoded,
        tmp_path,
        training_curves=tmp_path / "curves.jsonl",
        experiment={"tag": "tdnn", "seed": 1},
        command="./run.sh --stage 8",
    )
    text = check_page(tmp_path / "report.html")
    parts = ("tdnn, seed 1", "57.14 %", "By room", "TWO → TOO", "learning rate")
    for part in (*parts, "./run.sh --stage 8", "cross entropy", "4 errors in 7 words"):
        assert part in text


def test_report_escapes_everything(tmp_path):
    write_results(
        tmp_path / "hyps-t&t.jsonl",
        [
            result(NASTY, f"{NASTY} A {NASTY}", f"{NASTY}y {NASTY}", NASTY, **{NASTY: NASTY}),
            result("b", f"{NASTY} A", f"A {NASTY}", "s", **{NASTY: "v"}),
        ],
    )
    with open(tmp_path / "curves.jsonl", "w") as f:
        for epoch in range(4):
            f.write(json.dumps({"step": epoch, "epoch": epoch, "split": NASTY, "loss": 1}) + "\n")
    score(
        ScoringConfig(),
        tmp_path,
        tmp_path,
        training_curves=tmp_path / "curves.jsonl",
        title=NASTY,
        command=NASTY,
    )
    text = check_page(tmp_path / "report.html")
    assert text.count(NASTY) >= 12
    assert "By " + NASTY in text


def test_report_without_errors_or_curves(tmp_path):
    write_results(tmp_path / "hyps-test.jsonl", [result("a", "ONE", "ONE"), result("b", "", "")])
    score(ScoringConfig(), tmp_path, tmp_path, training_curves=tmp_path / "none.jsonl")
    text = check_page(tmp_path / "report.html")
    assert "0.00 %" in text
    assert "Substitutions" not in text and "Training" not in text


def test_long_tables_are_cut_and_say_so(tmp_path):
    results = [result(f"u{i:02}", f"A B{i}", "A X", speaker=f"s{i}") for i in range(30)]
    write_results(tmp_path / "hyps-test.jsonl", results)
    score(ScoringConfig(top_confusions=20, worst_utterances=7), tmp_path, tmp_path)
    text = check_page(tmp_path / "report.html")
    assert "Substitutions (20 of 30)" in text
    assert "8 more" in text
    assert "Utterances with most errors (7 of 30)" in text
    assert "By speaker (30 rows)" in text


def test_a_breakdown_with_very_many_rows_shows_those_with_most_errors(tmp_path):
    results = [result(f"u{i}", "A", "A" if i < 520 else "X", f"s{i:03}") for i in range(530)]
    write_results(tmp_path / "hyps-test.jsonl", results)
    score(ScoringConfig(check=False), tmp_path, tmp_path)
    text = check_page(tmp_path / "report.html")
    assert "By speaker (500 of 530 rows, those with most errors)" in text
    assert "s529" in text and "s519" not in text
    assert "s519" in (tmp_path / "wer-summary-test.txt").read_text()


def test_a_set_that_was_not_decoded_is_named(decoded, tmp_path):
    with pytest.raises(NeveError, match=r"hyps-test2.jsonl; there are dev, test"):
        score(ScoringConfig(), decoded, tmp_path / "out", splits=["test", "test2"])
    assert not (tmp_path / "out").exists()
    with pytest.raises(NeveError, match="nothing to score"):
        score(ScoringConfig(), tmp_path / "empty", tmp_path / "out")


def test_only_the_sets_asked_for(decoded, tmp_path):
    assert list(score(ScoringConfig(), decoded, tmp_path / "out", splits=["test"])) == ["test"]


def test_a_bad_line_is_named(decoded, tmp_path):
    with open(decoded / "hyps-test.jsonl", "a") as f:
        f.write("{}\n")
    with pytest.raises(NeveError, match="hyps-test.jsonl, line 4: not a decoding result"):
        score(ScoringConfig(), decoded, tmp_path / "out")


def test_skipped_utterances_are_told(tmp_path, capsys):
    results = [result("a", "ONE", "ONE"), result("b", None, "TWO")]
    write_results(tmp_path / "hyps-test.jsonl", results)
    score(ScoringConfig(missing_reference="skip"), tmp_path, tmp_path)
    assert "left out, having no reference: b" in capsys.readouterr().out
    assert "1 utterances without a reference" in check_page(tmp_path / "report.html")
    assert read_summary(tmp_path / "wer-summary-test.json").skipped == 1


def test_a_damaged_summary_is_named(tmp_path):
    path = tmp_path / "wer-summary-test.json"
    for content in ("", "[]", '{"split": "test"}'):
        path.write_text(content)
        with pytest.raises(NeveError, match="wer-summary-test.json: not a summary"):
            read_summary(path)


def test_curves_average_within_an_epoch_and_later_lines_win(tmp_path):
    path = tmp_path / "curves.jsonl"
    entries = [
        (1, 1, "train", 8.0, 0.1),
        (2, 1, "train", 6.0, 0.2),
        (3, 2, "train", 99.0, 0.3),
        (3, 2, "train", 4.0, 0.3),  # this epoch was trained again after a resume
        (4, 3, "train", float("nan"), 0.4),
        (4, 3, "dev", 5.0, None),
    ]
    with open(path, "w") as f:
        for step, epoch, split, loss, lr in entries:
            entry = {"step": step, "epoch": epoch, "split": split, "loss": loss, "lr": lr}
            f.write(json.dumps(entry) + "\n")
        f.write('{"step": 5, "ep')
    curves = read_curves(path)
    assert curves.unit == "epoch"
    assert curves.losses == {"train": [(1, 7.0), (2, 4.0)], "dev": [(3, 5.0)]}
    assert curves.rates == [(1, 0.2), (2, 0.3), (3, 0.4)]


def test_curves_of_a_short_training_go_by_step(tmp_path):
    write_curves(tmp_path / "curves.jsonl", 2)
    curves = read_curves(tmp_path / "curves.jsonl")
    assert curves.unit == "step"
    assert curves.losses["dev"] == [(10, 100.0), (20, 50.0)]


def test_a_bad_line_of_curves_is_named(tmp_path):
    write_curves(tmp_path / "curves.jsonl", 2)
    text = (tmp_path / "curves.jsonl").read_text()
    (tmp_path / "curves.jsonl").write_text("oops\n" + text)
    with pytest.raises(NeveError, match="curves.jsonl, line 1"):
        read_curves(tmp_path / "curves.jsonl")


@pytest.mark.parametrize(
    "points",
    [
        [(1, 5.0)],
        [(1, 5.0), (2, 5.0)],
        [(1, 0.0), (2, 0.0)],
        [(1, -3.0), (9, 40.0)],
        [(x, 1000 * 0.8**x) for x in range(100)],
        [(x, 1e-3 - 1e-9 * x) for x in range(3)],
    ],
)
def test_charts_stay_within_their_frame(points):
    svg = line_chart("loss", {"train": points}, "epoch", log=True)
    checker = Checker()
    checker.feed(svg)
    assert checker.open == []
    drawn = re.search(r'points="([^"]*)"', svg)[1].split()
    assert len(drawn) == len(points)
    for point in drawn:
        x, y = map(float, point.split(","))
        assert 0 <= x <= 400 and 0 <= y <= 240
    assert line_chart("loss", {"train": []}, "epoch") == ""


def test_scoring_needs_neither_torch_nor_lhotse():
    program = (
        "import sys, neve.scoring; neve.scoring.ScoringConfig; light = set(sys.modules);"
        "import neve.scoring as s; [getattr(s, name) for name in s.__all__];"
        "print(*sorted({'numpy', 'kaldialign'} & light), 'all',"
        " *sorted({'torch', 'lhotse', 'scipy', 'jiwer', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["all"], done.stderr
