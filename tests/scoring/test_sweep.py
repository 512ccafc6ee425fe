"""The page of a choice of scales."""

import html.parser
import json
import re

import pytest

from neve.errors import NeveError
from neve.scoring import write_sweep_page


class Parser(html.parser.HTMLParser):
    """The page's text and elements, with attributes; all elements must be closed."""

    def __init__(self, text):
        super().__init__()
        self.text, self.elements, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.text.append(data)


def page_of(tmp_path, trials, sets=("dev",), chosen=None):
    """A page of (scales, errors) in 200 words; the first with the fewest errors is chosen."""
    chosen = min(range(len(trials)), key=lambda i: trials[i][1]) if chosen is None else chosen
    rows = [
        {**scales, "errors": errors, "words": 200, "wer": errors / 2, "chosen": i == chosen}
        for i, (scales, errors) in enumerate(trials)
    ]
    (tmp_path / "sweep.json").write_text(json.dumps({"sets": sets, "trials": rows}))
    write_sweep_page(tmp_path / "sweep.json", tmp_path / "sweep.html", "A & B")
    text = (tmp_path / "sweep.html").read_text()
    assert "<script" not in text and not re.search(r"(src|href)=", text)
    page = Parser(text)
    return page, " ".join(page.text)


def test_one_scale_has_a_line_with_the_chosen_point(tmp_path):
    trials = [({"lm_scale": x / 10, "word_score": 0.0}, e) for x, e in ((1, 30), (2, 24), (3, 27))]
    page, text = page_of(tmp_path, trials)
    assert "A & B" in text and "3 choices of scales, tried on dev" in text
    lines = [a["points"].split() for name, a in page.elements if name == "polyline"]
    ((left, middle, right),) = [[tuple(map(float, p.split(","))) for p in one] for one in lines]
    assert left[0] < middle[0] < right[0] and middle[1] > right[1] > left[1]  # downwards is less
    rings = [a for name, a in page.elements if name == "circle" and a["r"] == "6"]
    assert [(float(ring["cx"]), float(ring["cy"])) for ring in rings] == [middle]
    assert "0.2: 12.00" in text and "24 errors in 200 words" in text
    assert "word score" not in text  # of which there is one value
    assert not [a for name, a in page.elements if name == "rect"]  # nor a heat map


def test_two_scales_have_a_heat_map(tmp_path):
    errors = {(1.0, 0.0): 20, (1.0, 1.0): 30, (2.0, 0.0): 40, (2.0, 1.0): 10, (3.0, 0.0): 50}
    errors[3.0, 1.0] = 11
    trials = [({"acoustic_scale": a, "word_score": w}, e) for (a, w), e in errors.items()]
    page, text = page_of(tmp_path, trials, ["dev", "dev-b"])
    assert "tried on dev, dev-b" in text
    cells = [a for name, a in page.elements if name == "rect" and "fill-opacity" in a["style"]]
    assert len(cells) == 6
    rates = re.findall(r"acoustic scale [\d.]+, word score [\d.]+: [\d.]+ %", text)
    assert "acoustic scale 2, word score 1: 5.00 %" in rates and len(set(rates)) == 6
    opaque = {a["style"].rpartition(":")[2]: (a["x"], a["y"]) for a in cells}
    frame = next(a for name, a in page.elements if name == "rect" and "stroke:" in a["style"])
    assert opaque[max(opaque)] == (frame["x"], frame["y"])
    # the best of the other scale for each value, beside that with the other as chosen
    assert len([1 for name, _ in page.elements if name == "polyline"]) == 4
    assert "at the edge: widen the range" in text  # word score 1 is its last


def test_three_scales_have_a_map_for_each_pair_of_the_best_of_the_third(tmp_path):
    trials = [
        ({"a": float(a), "b": float(b), "c": float(c)}, 10 + 4 * a + 2 * b + c)
        for a in (0, 1) for b in (0, 1) for c in (0, 1)
    ]  # fmt: skip
    page, text = page_of(tmp_path, trials)
    assert len([1 for name, a in page.elements if name == "rect" and "stroke:" in a["style"]]) == 3
    assert "a 1, b 1: 8.00 %" in text and "b 1, c 1: 6.50 %" in text
    rows = text[text.index("All that was tried") :]
    assert rows.split("chosen")[0].split()[-5:] == ["0", "0", "0", "10", "5.00"]


def test_large_sweeps_and_equal_errors(tmp_path):
    trials = [({"lm_scale": i / 20, "ilm_scale": j / 20}, 9) for i in range(40) for j in range(30)]
    page, text = page_of(tmp_path, trials, chosen=0)
    assert "The best 25" in text and "1200 choices have 9 errors" in text
    assert len([1 for name, _ in page.elements if name == "rect"]) == 1201


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[",
        '{"sets": [], "trials": []}',
        '{"sets": [], "trials": [{"a": 1, "errors": 1, "words": 2, "wer": 5, "chosen": false}]}',
    ],
)
def test_what_is_no_table_of_trials_is_named(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(NeveError, match=r"sweep\.json: not a table of trials"):
        write_sweep_page(tmp_path / "sweep.json", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    with pytest.raises(NeveError, match="cannot be read"):
        write_sweep_page(tmp_path / "missing.json", tmp_path / "page.html")
