"""Every recipe is complete, and its dry run shows every stage."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from neve.cli.config import Config
from neve.config import load
from neve.decoding.config import DecodingConfig, refuse_idle_lms

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted(path.parent for path in ROOT.glob("egs/*/*/run.sh"))
BANKING = ROOT / "egs/banking/ASR"  # calls the template several times
VERBS = ["prepare", "features", "lang", "lm", "graph", "train", "decode", "score", "pack"]


def name(recipe):
    return recipe.parent.name


def test_there_are_recipes_and_each_directory_is_one():
    assert {"digits", "yesno", "an4"} <= {name(recipe) for recipe in RECIPES}
    assert {path.name for path in (ROOT / "egs").iterdir() if path.is_dir()} == {
        name(recipe) for recipe in RECIPES
    }


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_a_recipe_is_complete(recipe):
    for path in (recipe / "run.sh", *recipe.glob("local/*.sh")):
        assert os.access(path, os.X_OK), f"{path} is not executable"
    about = (recipe / "README.md").read_text(encoding="utf-8")
    assert about.startswith("# ") and len(about.split()) > 40
    assert list(recipe.glob("conf/*.yaml"))
    assert len((recipe / "run.sh").read_text().splitlines()) <= 30


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_a_recipe_has_valid_configurations_based_on_the_shared_defaults(recipe):
    for path in sorted(recipe.glob("conf/*.yaml")):
        assert isinstance(load(Config, [path]), Config)
        assert "base" in yaml.safe_load(path.read_text(encoding="utf-8")), f"{path} has no base"


def test_each_method_of_decoding_has_a_file_that_says_all_it_needs():
    methods = set()
    for path in sorted(ROOT.glob("conf/decode/**/*.yaml")):
        decoding = load(Config, [ROOT / "egs/an4/ASR/conf/transducer.yaml", path]).decoding
        if path.stem != "graves-beam":  # not to be taken for a modified beam
            assert decoding.name == path.stem and decoding.method in path.stem
        refuse_idle_lms(decoding)
        methods.add(decoding.method)
    choices = DecodingConfig.__dataclass_fields__["method"].metadata["choices"]
    assert methods == set(choices)


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_a_recipe_copies_no_python_of_another(recipe):
    """What is here is true of this corpus alone: no file of local/ stands in another recipe."""
    others = [
        path.read_text(encoding="utf-8")
        for other in RECIPES
        if other != recipe
        for path in other.glob("local/*.py")
    ]
    for path in recipe.glob("local/*.py"):
        assert path.read_text(encoding="utf-8") not in others, path


def dry_run(recipe, *words):
    answer = subprocess.run(
        ["./run.sh", "--dry-run", *words], capture_output=True, text=True, cwd=recipe
    )
    commands = [line[2:] for line in answer.stderr.splitlines() if line.startswith("+ ")]
    return answer, commands


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_a_dry_run_prints_the_commands_of_all_stages(recipe):
    answer, commands = dry_run(recipe)
    assert answer.returncode == 0, answer.stderr
    shown = [match[1] for command in commands if (match := re.search(r"\bneve (\w+)", command))]
    assert list(dict.fromkeys(shown)) == ["config", *VERBS]
    assert commands[1].startswith("local/download.sh")
    assert [line for line in answer.stderr.splitlines() if line.startswith("stage 9:")]


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r != BANKING], ids=name)
def test_stages_options_and_seeds_reach_the_commands(recipe):
    answer, commands = dry_run(
        recipe, "--stage", "6", "--stop_stage=7", "--seeds", "3 4", "--lm.order", "2", "--nj", "5",
        "--force", "--expdir", "elsewhere", "--ngpu", "0",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert [re.search(r"neve (\w+)", c)[1] for c in commands] == [
        "config", "train", "train", "decode", "decode",
    ]  # fmt: skip
    for command, seed in zip(commands[1:], "3434", strict=True):
        assert f"--training.seed {seed}" in command
        for words in ("--lm.order 2", "--nj 5", "--force", "--paths.experiments elsewhere"):
            assert words in command
    assert "--ngpu 0" in commands[1]


def test_the_parts_of_banking_take_the_stages_and_options_that_are_asked_for():
    answer, commands = dry_run(BANKING, "--stage", "4", "--stop-stage", "7", "--seeds", "3 4",
                               "--config", "conf/tiny.yaml", "--expdir", "elsewhere")  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    verbs = [re.search(r"neve ([\w-]+)", command)[1] for command in commands]
    general = ["config", "lm", "graph", "graph", *["train"] * 2, *["decode"] * 6]
    bank = ["config", "lm", "train-lm", "graph", *["train"] * 2, *["decode"] * 10]
    assert verbs == ["config", *general, *bank, "config"]
    assert all("--config conf/tiny.yaml" in command for command in commands)
    assert all("--paths.experiments elsewhere" in command for command in commands)
    for command in commands:
        kinds = {part for part in ("general", "bank") if f"conf/parts/{part}.yaml" in command}
        assert len(kinds) <= 1
    rows = load(Config, [BANKING / "conf/phone.yaml"]).scoring.compare.values()
    files = [BANKING / f"conf/decode/{row.partition('/')[2]}.yaml" for row in rows]
    for row, path in zip(rows, files, strict=True):
        decoding = load(Config, [BANKING / "conf/phone.yaml", path])
        assert f"{decoding.tag}/{decoding.decoding.name}" == row
        decoded = [command for command in commands if f"conf/decode/{path.name}" in command]
        assert len([command for command in decoded if "neve decode" in command]) == 2


def test_the_try_of_banking_writes_beside_the_full_run():
    files = list(BANKING.glob("conf/*/*.yaml"))
    assert len(files) > 10
    for path in files:
        tiny = load(Config, [BANKING / "conf/tiny.yaml", path])
        assert all(there.startswith("tiny/") for there in vars(tiny.paths).values()), path
        assert not re.search(r"(?<!tiny/)\b(data|exp|download)/", repr(tiny)), path
    answer, commands = dry_run(ROOT / "egs/yesno/ASR", "--stage", "9")
    assert answer.returncode == 0, answer.stderr
    assert not [command for command in commands if "--paths." in command]  # those of the files


def test_banking_keeps_the_options_that_its_parts_use():
    shown = subprocess.run(["./run.sh", "--help"], capture_output=True, text=True, cwd=BANKING)
    assert shown.returncode == 0 and shown.stdout.count("usage:") == 1
    for words in (["--only", "7"], ["--with", "conf/tiny.yaml"]):
        answer, commands = dry_run(BANKING, *words)
        assert answer.returncode == 2 and not commands
        assert "choose stages by --stage and --stop-stage" in answer.stderr


def test_each_decoding_is_decoded_and_scored():
    answer, commands = dry_run(
        ROOT / "egs/an4/ASR", "--stage", "7", "--seeds", "0 1",
        "--decodings", "conf/phone.yaml conf/bpe.yaml",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    found = [re.search(r"neve (\w+) .*--config conf/(\w+)\.yaml", c).groups() for c in commands[1:]]
    both = ["phone", "bpe"] * 2
    assert found[:-2] == [(verb, name) for verb in ("decode", "score") for name in both]
    assert [verb for verb, _ in found[-2:]] == ["pack", "pack"]


def test_each_language_model_and_graph_is_made_by_stages_4_and_5():
    answer, commands = dry_run(
        ROOT / "egs/an4/ASR", "--stage", "4", "--stop-stage", "5", "--ngpu", "0",
        "--lms", "conf/lm/*.yaml", "--neural-lms", "conf/neural_lm/*.yaml",
        "--graphs", "conf/graph/*.yaml",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    made = [re.search(r"neve ([\w-]+) .*--config (\S+)", command).groups() for command in commands]
    folder = ROOT / "egs/an4/ASR"
    lms, neural, graphs = (
        sorted(str(file.relative_to(folder)) for file in (folder / "conf" / name).glob("*.yaml"))
        for name in ("lm", "neural_lm", "graph")
    )
    assert lms and neural and graphs
    assert made[1:] == [
        *(("lm", file) for file in ["conf/phone.yaml", *lms]),
        *(("train-lm", file) for file in neural),
        *(("graph", file) for file in ["conf/phone.yaml", *graphs]),
    ]
    assert "--ngpu 0" in commands[1 + 1 + len(lms)]
    for file in (*lms, *neural, *graphs):
        assert f"--each {file}" in commands[0]  # a mistake in any of them shows at once


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stage", "ten"], "take 0 to 9"),
        (["--stage", "5", "--stop-stage", "3"], "there is nothing to do from --stage 5"),
        (["--train-jobs", "two"], "--train-jobs takes 1 or more, not 'two'"),
        (["--no-such-option", "1"], "there is no option --no-such-option"),
        (["--config", "conf/absent.yaml"], "there is no file conf/absent.yaml"),
        (["--decodings", "conf/absent.yaml"], "there is no file conf/absent.yaml"),
        (["--lms", "conf/absent/*.yaml"], "there is no file conf/absent/*.yaml"),
        (["stray"], "what is stray?"),
        (["--lm.ordr", "3"], "there is no key lm.ordr; the nearest key is lm.order"),
        (["--only", "7 decode"], "--only takes stages from 0 to 9, not 'decode'"),
        (["--only", "10"], "--only takes stages from 0 to 9, not '10'"),
        (["--only", " "], "--only names no stage"),
    ],
)
def test_a_mistake_is_found_before_the_first_stage(words, message):
    answer, commands = dry_run(ROOT / "egs/yesno/ASR", *words)
    assert answer.returncode != 0 and message in answer.stderr
    assert len(commands) <= 1  # at most the check of the configuration


def test_files_that_are_read_alone_are_checked_alone(tmp_path):
    folder = ROOT / "egs/an4/ASR"
    wrong, right = tmp_path / "a.yaml", tmp_path / "b.yaml"
    wrong.write_text("decoding: {method: bream}\n")
    right.write_text("decoding: {method: beam}\n")  # read after the other, it would hide that
    words = ("--stage", "7", "--stop-stage", "7", "--seeds", "0", "--decodings")
    answer, commands = dry_run(folder, *words, f"{wrong} {right}")
    assert answer.returncode == 1 and len(commands) == 1
    assert f"{wrong}: decoding.method: 'bream' is not one of" in answer.stderr
    answer, commands = dry_run(folder, *words, str(right))
    assert answer.returncode == 0 and len(commands) == 2


def test_help_of_the_default_recipe():
    answer = subprocess.run(["./run.sh", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0
    for option in ("--stage", "--stop-stage", "--nj", "--dl-dir", "--expdir", "--ngpu",
                   "--num-nodes", "--seeds", "--dry-run", "--force", "--help"):  # fmt: skip
        assert option in answer.stdout


def test_slurm_takes_the_heavy_stages():
    answer = subprocess.run(
        ["./run.sh", "--dry-run", "--stage", "3"],
        capture_output=True, text=True, cwd=ROOT / "egs/yesno/ASR",
        env={**os.environ, "NEVE_CMD": "slurm"},
    )  # fmt: skip
    lines = [line for line in answer.stderr.splitlines() if line.startswith("+")]
    assert answer.returncode == 0
    assert all("local/slurm.sh" in line for line in lines if " neve train " in line)
    assert not any("slurm" in line for line in lines if " neve lang " in line)
