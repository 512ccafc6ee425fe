"""Stages: skipping, repeating, what a kill leaves, two runs at once, a full disk."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from neve.config import option
from neve.errors import NeveError
from neve.pipeline import MARKER, Stage


@dataclass
class Lm:
    order: int = option(3, "order")
    threads: int = option(1, "does not matter")


@dataclass
class Loss:
    teacher: str = option("", "a directory")
    weight: float = option(0.5, "weight")


@dataclass
class Training:
    lr: float = option(0.1, "rate")
    epochs: int = option(2, "how many")


@dataclass
class Root:
    lm: Lm = field(default_factory=Lm)
    loss: Loss = field(default_factory=Loss)
    training: Training = field(default_factory=Training)


def make(tmp_path, body="one", config=None, **options):
    """Run a stage that copies its input and some numbers; whether it had anything to do."""
    source = tmp_path / "in.txt"
    if not source.exists():
        source.write_text("text\n")
    options = {"inputs": [source], "sections": ("lm", "!lm.threads"), **options}
    with Stage("copy", tmp_path / "out", config=config or Root(), **options) as stage:
        if stage.finished:
            return False
        (stage.dir / "text").write_text(source.read_text() + body)
        for i in range(5):
            (stage.dir / f"part{i}").write_text(str(i))
    return True


def leftovers(tmp_path):
    return [p.name for p in tmp_path.iterdir() if ".partial-" in p.name or ".old-" in p.name]


def test_what_a_key_names_counts_by_its_content(tmp_path, capsys):
    def made(folder, weight=0.5):
        config = Root(loss=Loss(teacher=str(folder) if folder else "", weight=weight))
        inputs = [tmp_path / "in.txt"]
        if folder:
            inputs += [(f"loss.teacher/{name}", folder / name) for name in ("a", "b")]
        return make(tmp_path, config=config, inputs=inputs, sections=("loss",))

    one = tmp_path / "one"
    one.mkdir()
    for name in ("a", "b"):
        (one / name).write_text(name)
    assert made(None) and made(one) and not made(one)
    one.rename(tmp_path / "two")
    assert not made(tmp_path / "two")  # moved, the same
    assert made(tmp_path / "two", weight=0.7)
    (tmp_path / "two" / "b").write_text("c")
    capsys.readouterr()
    assert made(tmp_path / "two", weight=0.7)
    assert f"made again: {tmp_path / 'two' / 'b'} changed" in capsys.readouterr().err
    assert made(None, weight=0.7)
    assert "loss.teacher/a is no longer an input" in capsys.readouterr().err


def test_first_run_then_skipped_then_forced(tmp_path, capsys):
    assert make(tmp_path)
    marker = json.loads((tmp_path / "out" / MARKER).read_text())
    assert marker["stage"] == "copy" and marker["versions"]["python"]
    assert marker["command"].endswith(" ".join(sys.argv[1:]))
    assert "order: 3" in (tmp_path / "out/config.yaml").read_text()
    assert not make(tmp_path, "two")
    assert "up to date, skipped (--force repeats it)" in capsys.readouterr().err
    assert make(tmp_path, "two", force=True)
    assert (tmp_path / "out/text").read_text() == "text\ntwo"
    assert not leftovers(tmp_path)


def test_only_declared_keys_contents_and_version_matter(tmp_path, capsys):
    make(tmp_path)
    assert not make(tmp_path, config=Root(lm=Lm(threads=9), training=Training(lr=9)))
    assert make(tmp_path, config=Root(lm=Lm(order=4)))
    assert "lm.order was 3, is 4" in capsys.readouterr().err
    assert not make(tmp_path, config=Root(lm=Lm(order=4)))
    source = tmp_path / "in.txt"
    content = source.read_text()
    source.unlink()
    source.write_text(content)  # another file with the same content
    assert not make(tmp_path, config=Root(lm=Lm(order=4)))
    source.write_text("other\n")
    capsys.readouterr()
    assert make(tmp_path, config=Root(lm=Lm(order=4)))
    assert "in.txt changed" in capsys.readouterr().err
    assert make(tmp_path, config=Root(lm=Lm(order=4)), version=2)
    assert "format of this stage's output is newer" in capsys.readouterr().err


def test_a_directory_is_known_by_what_is_in_it(tmp_path):
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    (data / "deep/a").write_text("a")
    assert make(tmp_path, inputs=[data])
    (data / ".hidden").write_text("not looked at")
    assert not make(tmp_path, inputs=[data])
    (data / "deep/a").rename(data / "deep/b")
    assert make(tmp_path, inputs=[data])


def test_hand_edited_output_of_an_earlier_stage_is_noticed(tmp_path):
    make(tmp_path)

    def second():
        with Stage("second", tmp_path / "next", inputs=[tmp_path / "out"]) as stage:
            return stage.finished

    assert not second()
    assert second()
    make(tmp_path, force=True)  # made again, but the same
    assert second()
    (tmp_path / "out/part3").write_text("by hand")
    assert not second()


def test_a_stage_that_adds_to_its_inputs(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_text("a")

    def prepare():
        with Stage("prepare", tmp_path / "out", inputs=[data], settle=True) as stage:
            if not stage.finished:
                (data / "converted").write_text("a")
            return stage.finished

    assert not prepare()
    assert prepare()
    (data / "a").write_text("another")
    assert not prepare()


def test_missing_input_names_file_and_remedy(tmp_path):
    with pytest.raises(NeveError, match="needs .*absent, which is not there: run the stage"):
        make(tmp_path, inputs=[tmp_path / "absent"])
    assert not (tmp_path / "out").exists()


def test_unmarked_directory_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(NeveError, match="is not empty, and no finished stage has made it"):
            make(tmp_path, force=force)
        with pytest.raises(NeveError, match="is not empty, and no finished stage has made it"):
            make(tmp_path, force=force, live=True)
    assert (tmp_path / "out/thesis.txt").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    with pytest.raises(NeveError, match="is a file"), Stage("x", tmp_path / "file"):
        raise AssertionError("the block must not run")


def test_failure_keeps_the_former_output_and_the_log(tmp_path):
    make(tmp_path)
    with pytest.raises(ZeroDivisionError):
        with Stage("copy", tmp_path / "out", force=True) as stage:
            (stage.dir / "half").write_text("half")
            print("a line of the log")
            1 / 0  # noqa: B018
    assert (tmp_path / "out/text").read_text() == "text\none"
    assert not (tmp_path / "out/half").exists() and not leftovers(tmp_path)
    log = (tmp_path / "log/out.log").read_text()
    assert "a line of the log" in log and "ZeroDivisionError" in log and "# versions:" in log
    assert sys.stdout is not None and not hasattr(sys.stdout, "_tee")


def test_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with Stage("copy", tmp_path / "out") as stage:
            (stage.dir / "half").write_text("half")
            raise KeyboardInterrupt
    assert not (tmp_path / "out").exists() and not leftovers(tmp_path)


def test_output_may_be_a_link_to_another_disk(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk/real")
    assert make(tmp_path)
    assert (tmp_path / "out").is_symlink() and (tmp_path / "disk/real" / MARKER).exists()
    assert not make(tmp_path)


# -- full disk -----------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_full_disk_in_the_block(tmp_path):
    make(tmp_path)
    with pytest.raises(NeveError, match=r"no space is left.*free some space"):
        with Stage("copy", tmp_path / "out", force=True):
            with open("/dev/full", "w") as stream:
                stream.write("x" * 100000)
    assert (tmp_path / "out/text").exists() and not leftovers(tmp_path)
    assert not make(tmp_path)


def test_full_disk_when_the_marker_is_written(tmp_path, monkeypatch):
    real = os.fsync

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NeveError, match="no space is left"):
        make(tmp_path)
    assert not (tmp_path / "out").exists() and not leftovers(tmp_path)
    monkeypatch.setattr(os, "fsync", real)
    assert make(tmp_path)


def test_really_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    code = (
        "import sys\nfrom pathlib import Path\nfrom neve.errors import NeveError\n"
        "from neve.pipeline import Stage\n"
        "try:\n"
        f"    with Stage('copy', {str(disk / 'out')!r}) as stage:\n"
        "        (stage.dir / 'big').write_bytes(bytes(1 << 20))\n"
        "except NeveError as error:\n"
        f"    print(error, sorted(p.name for p in Path({str(disk)!r}).iterdir()))\n"
    )
    mount = f"mount -t tmpfs -o size=256k none {disk}"
    shell = f"{mount} || exit 77; exec {sys.executable} -c \"$CODE\""
    try:
        answer = subprocess.run(
            ["unshare", "-rm", "sh", "-c", shell],
            capture_output=True, text=True, env={**os.environ, "CODE": code},
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if answer.returncode == 77 or "unshare:" in answer.stderr:
        pytest.skip("this machine does not let tests mount a small disk")
    assert "no space is left" in answer.stdout
    assert answer.stdout.strip().endswith("['.out.lock', 'log']")


# -- killed --------------------------------------------------------------------------------------

HAZARDS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}


def in_child(function):
    """Run `function` in a forked process; its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def kill_at(count):
    """From now on, kill -9 this process at the `count`th operation on files."""
    left = [count]

    def hook(event, _):
        if event in HAZARDS:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


@pytest.mark.parametrize("again", [False, True], ids=["first", "repeated"])
def test_killed_at_every_moment(tmp_path, again):
    """Kill a stage at each of its file operations in turn; what is there is old or whole."""
    for count in range(1, 500):
        place = tmp_path / str(count)
        place.mkdir()
        if again:
            make(place, "one")

        def killed(place=place, count=count):
            kill_at(count)
            make(place, "two", force=again)

        status = in_child(killed)
        out = place / "out"
        if out.exists():  # complete, whichever run it is from
            assert (out / MARKER).exists()
            assert (out / "text").read_text() in ("text\none", "text\ntwo")
            assert len(list(out.glob("part*"))) == 5
        make(place, "three")
        assert (out / "text").read_text() in (
            ("text\none", "text\ntwo") if again else ("text\ntwo", "text\nthree")
        )
        assert len(list(out.glob("part*"))) == 5
        make(place, "four", force=True)
        assert (out / "text").read_text() == "text\nfour"
        assert not leftovers(place)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert count > 15  # there were that many moments


SLOW = """
import sys
from neve.pipeline import Stage
with Stage("slow", sys.argv[1], wait="wait" in sys.argv[2:]) as stage:
    if stage.finished:
        sys.exit(0)
    for i in range(1000):
        (stage.dir / f"file{i}").write_text("x" * 1000)
        print(i, flush=True)
        if i == 500 and "hold" in sys.argv[2:]:
            sys.stdin.readline()
"""


def slow(out, *words):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(out), *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_killed_from_outside_at_random_moments(tmp_path):
    out = tmp_path / "out"
    for moment in sorted(random.Random(1).sample(range(1000), 4)):
        process = slow(out)
        for line in process.stdout:
            if int(line) == moment:
                process.kill()
                break
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not out.exists()
    process = slow(out)
    _, errors = process.communicate()
    assert process.returncode == 0 and "removing what an interrupted run left" in errors
    assert len(list(out.glob("file*"))) == 1000 and not leftovers(tmp_path)


def test_two_runs_at_once(tmp_path):
    out = tmp_path / "out"
    first = slow(out, "hold")
    while int(first.stdout.readline()) < 500:
        pass
    with pytest.raises(NeveError, match=rf"in use by process {first.pid} on \S+ since .*--wait"):
        with Stage("slow", out):
            raise AssertionError("the block must not run")
    second = slow(out, "wait")
    waiting = second.stderr.readline()
    assert waiting.startswith("waiting: ") and str(first.pid) in waiting
    first.stdin.write("\n")
    first.communicate()
    _, errors = second.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    assert "up to date, skipped" in errors
    assert len(list(out.glob("file*"))) == 1000


def test_a_killed_holder_frees_the_lock_at_once(tmp_path):
    out = tmp_path / "out"
    first = slow(out, "hold")
    first.stdout.readline()
    first.kill()
    first.communicate()
    with Stage("slow", out) as stage:
        (stage.dir / "a").write_text("a")
    assert (out / "a").exists()


def test_output_is_not_replaced_while_another_stage_reads_it(tmp_path):
    make(tmp_path)
    with Stage("reader", tmp_path / "next", inputs=[tmp_path / "out"]) as stage:
        with pytest.raises(NeveError, match="in use by another run, which reads it"):
            make(tmp_path, "two", force=True)
        assert not make(tmp_path)  # to look whether it is up to date does not disturb
        (stage.dir / "copy").write_text((tmp_path / "out/text").read_text())
    assert (tmp_path / "next/copy").read_text() == "text\none"
    assert make(tmp_path, "two", force=True)


def test_dry_run_does_nothing(tmp_path, capsys):
    assert not make(tmp_path, dry_run=True)
    assert "would run: not made yet" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.txt"]
    make(tmp_path)
    capsys.readouterr()
    assert not make(tmp_path, dry_run=True)
    assert "would be skipped" in capsys.readouterr().err
    assert not make(tmp_path, dry_run=True, inputs=[tmp_path / "absent"])


# -- live ----------------------------------------------------------------------------------------


def train(tmp_path, upto, **options):
    """A training that counts epochs; killed, so to speak, when it has reached `upto`."""
    config = options.pop("config", Root())
    with Stage(
        "train", tmp_path / "out", config=config, sections=("training",), live=True,
        extend=("training.epochs",), **options,
    ) as stage:  # fmt: skip
        if stage.finished:
            return None
        done = len(list(stage.dir.glob("epoch-*")))
        assert stage.resuming == (done > 0)
        for epoch in range(done, config.training.epochs):
            if epoch == upto:
                raise KeyboardInterrupt
            Path(stage.dir / f"epoch-{epoch}").write_text("weights")
        return done


def test_live_stage_resumes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 1)
    assert not (tmp_path / "out" / MARKER).exists()
    assert (tmp_path / "out/epoch-0").exists()
    assert train(tmp_path, 9) == 1  # one epoch was done already
    assert train(tmp_path, 9) is None
    more = Root(training=Training(epochs=4))
    assert train(tmp_path, 9, config=more) == 2
    assert train(tmp_path, 9, config=more) is None


def test_live_stage_started_with_other_settings(tmp_path):
    train(tmp_path, 9)
    other = Root(training=Training(lr=0.2))
    with pytest.raises(NeveError, match=r"training.lr was 0.1, is 0.2. Choose another --tag"):
        train(tmp_path, 9, config=other)
    assert (tmp_path / "out" / MARKER).exists()
    assert train(tmp_path, 9, config=other, force=True) == 0
    assert train(tmp_path, 9, config=other, force=True) == 0
    aside = [p for p in tmp_path.iterdir() if p.name.startswith("out.")]
    assert len(aside) == 2 and all((p / "epoch-1").exists() for p in aside)
