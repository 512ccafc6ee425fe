"""The banking recipe, whole: its run.sh with conf/tiny.yaml, from nothing to the comparison.

So small a general model knows the sounds of its own few words alone, so that words, phrases and a
language model cannot help it by themselves; fine-tuning does, and all together more. What a stage
does wrong shows in these figures, and what one has not made is named by the stage that needs it.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import recipe_copies
import yaml

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 0.5  # word error rate of bank_test with all measures together
RECALL = 0.6  # of the terms in bank_test, with all measures together


class Recipe:
    """A copy of the recipe in `top`."""

    def __init__(self, top: Path):
        self.top, self.there = top, top / "egs/banking/ASR"
        self.made = self.there / "tiny"
        self.done = None

    def copy(self, top: Path) -> "Recipe":
        shutil.copytree(self.top, top, symlinks=True)
        return Recipe(top)

    def run(self, *words: str) -> subprocess.CompletedProcess:
        """Its run.sh, with one acoustic scale in place of a choice of them."""
        less = ("--nj", "2", "--decoding.acoustic-scales", "[1.6]")
        return recipe_copies.run(self.there, *less, *words)

    def rows(self) -> list[str]:
        """tag/decoding of each row of the comparison."""
        config = yaml.safe_load((self.there / "conf/phone.yaml").read_text(encoding="utf-8"))
        return list(config["scoring"]["compare"].values())

    def summary(self, row: str) -> dict:
        tag, decoding = row.split("/")
        report = self.made / f"exp/{tag}-seed0/report_{decoding}"
        return json.loads((report / "wer-summary-bank_test.json").read_text(encoding="utf-8"))

    def rate(self, row: str) -> float:
        return self.summary(row)["words"]["rate"]

    def recall(self, row: str) -> float:
        return self.summary(row)["terms"][-1]["recall"]

    def shows_that_the_measures_help(self) -> bool:
        """Whether all together leave few errors, 70 % of the general model's at most, and find
        the terms."""
        return (
            self.rate("bank/all") <= min(LIMIT, 0.7 * self.rate("general/baseline"))
            and self.recall("bank/all") >= RECALL
        )


@pytest.fixture(scope="module")
def banking(tmp_path_factory):
    """The recipe after its run.sh."""
    pytest.importorskip("espeakng_loader", reason="eSpeak NG (espeakng-loader) speaks the corpora")
    recipe = Recipe(tmp_path_factory.mktemp("banking") / "top")
    recipe_copies.make(recipe.top, "banking")
    recipe.done = recipe.run()
    return recipe


def test_all_rows_are_compared_and_together_they_help(banking):
    assert banking.done.returncode == 0, banking.done.stdout
    results = (banking.made / "RESULTS.md").read_text(encoding="utf-8")
    assert banking.shows_that_the_measures_help(), results
    assert banking.rate("bank/tuned") < banking.rate("general/baseline")
    assert banking.recall("bank/all") > banking.recall("bank/tuned")
    rows, table = banking.rows(), results.split("## Compared on bank_test")[1]
    assert len(rows) == 8
    for row in rows:
        words = banking.summary(row)["words"]
        assert words["reference"] > 300
        assert f"| {words['errors']} / {words['reference']} | {100 * words['rate']:.2f} |" in table
    assert f"bank\\_test {len(rows)} times" in results
    page = (banking.made / "exp/comparison.html").read_text(encoding="utf-8")
    assert f"{100 * banking.rate('bank/all'):.2f}" in page
    assert (banking.made / "exp/bank-seed0/model/.stage.json").exists()
    problems = (banking.made / "data/manifests/problems.txt").read_text(encoding="utf-8")
    assert "dropped" not in problems, problems


def test_the_full_run_is_left_alone(banking):
    assert not [name for name in ("download", "data", "exp") if (banking.there / name).exists()]
    results = "egs/banking/ASR/RESULTS.md"
    assert (banking.top / results).read_bytes() == (ROOT / results).read_bytes()


def test_wrong_transcripts_show_in_the_error_rate(banking, tmp_path):
    broken = banking.copy(tmp_path / "copy")
    assert broken.shows_that_the_measures_help()
    script = broken.there / "local/manifests.py"
    right = "    write_manifests(corpus, splits, args.out)\n"
    wrong = (
        "    import dataclasses\n"
        "    calls = splits['bank_test']\n"
        "    splits['bank_test'] = [dataclasses.replace(u, groups=other.groups) for u, other in\n"
        "                           zip(calls, calls[1:] + calls[:1])]\n"
    )
    text = script.read_text(encoding="utf-8")
    assert text.count(right) == 1
    script.write_text(text.replace(right, wrong + right), encoding="utf-8")
    done = broken.run("--stop-stage", "2")
    assert done.returncode == 0, done.stdout
    again = ("--stage", "7", "--stop-stage", "8", "--decodings", "conf/decode/all.yaml")
    done = broken.run(*again)  # what was trained stays
    assert "were not scored on the same references: bank_test-" in done.stdout, done.stdout
    assert not broken.shows_that_the_measures_help()


@pytest.mark.parametrize(
    ("output", "following"),
    [
        ("data/graphs/phone_3gram_words", "7"),
        ("exp/general-seed0/decode_baseline", "8"),
        ("exp/bank-seed0/averaged.pt", "9"),
    ],
)
def test_a_stage_that_is_left_out_is_missed(output, following, banking):
    path = banking.made / output
    with recipe_copies.without(path):
        done = banking.run("--stage", following, "--stop-stage", following)
    assert done.returncode != 0
    assert path.name in done.stdout, done.stdout  # what is missing is named
