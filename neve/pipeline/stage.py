"""The stage: one context manager around everything that makes one output directory.

    with Stage("lm", out, inputs=[text], config=config, sections=("lm",)) as stage:
        if stage.finished:
            return
        estimate(text, stage.dir)      # appears as `out` when the block ends

What makes an output complete is its marker, `.stage.json`, written last. A stage works in a
temporary directory beside `out` and renames it at the end; training, whose directory is live, works
in place and is complete once the marker is there.
"""

import contextlib
import json
import os
import secrets
import shutil
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from neve.config import save, to_dict
from neve.errors import NeveError, disk_full
from neve.files import atomic_open
from neve.pipeline.fingerprint import CONFIG, MARKER, FileDigests, digest_of, read_json
from neve.pipeline.lock import DirectoryLock, lock_path
from neve.pipeline.record import Tee, surroundings
from neve.pipeline.wanted import difference, select, without
from neve.progress import duration

STARTED = ".stage-started.json"  # in a live directory: what was started there


class Stage:
    """One run of a stage that makes the directory `out`.

    name      what the user calls it, e.g. "lm"
    out       the directory that it makes
    inputs    files and directories that it reads, or pairs of a key of `config` and the path it
              gives: that key counts by the path's content, not by its value, so that what it names
              may be moved (a key with several paths: `loss.teacher/model.pt`)
    config    the root configuration; all of it is saved as `config.yaml` in the output
    sections  dotted keys of `config` on which the output depends; "!key" leaves one out again
    version   to be raised when the format or meaning of the output changes
    force     repeat it although it is finished
    live      work in `out` itself and resume there (training)
    settle    look at the inputs again at the end, because the stage itself may add to them
    extend    for live: keys that may grow after the start, e.g. the number of epochs
    wait      wait for a run that uses `out` instead of failing
    dry_run   say what would be done, do nothing

    In the block, `finished` is true if there is nothing to do; else `dir` is where to write, `out`
    where it will be. After an error nothing but the log (`<out's parent>/log/<out's name>.log`) is
    left of a stage that is not live.
    """

    def __init__(
        self,
        name: str,
        out: str | os.PathLike,
        inputs: Iterable[str | os.PathLike | tuple[str, str | os.PathLike]] = (),
        config: object = None,
        sections: Sequence[str] = (),
        version: int = 1,
        force: bool = False,
        live: bool = False,
        extend: Sequence[str] = (),
        settle: bool = False,
        wait: bool = False,
        dry_run: bool = False,
    ):
        self.name = name
        self.out = Path(out)
        self.inputs = {}
        for i, given in enumerate(inputs):
            key, path = given if isinstance(given, tuple) else (f"{i} {Path(given).name}", given)
            self.inputs[key] = Path(path)
        self.config = config
        self.sections = tuple(sections)
        self.version = version
        self.force = force
        self.live = live
        self.extend = tuple(extend)
        self.settle = settle
        self.wait = wait
        self.dry_run = dry_run
        self.finished = False
        self.resuming = False
        self.dir = self.out
        self._target = Path(os.path.realpath(self.out))  # a link to another disk stays a link
        self._locks = contextlib.ExitStack()
        self._files: dict = {}
        self._begin = time.time()

    # -- entering ------------------------------------------------------------------------------

    def __enter__(self) -> "Stage":
        try:
            self._enter()
        except BaseException:
            if self.dir != self.out:
                remove(self.dir)
            self._locks.close()
            raise
        return self

    def _enter(self) -> None:
        for path in self.inputs.values():
            if not path.exists():
                self._missing(path)
                return
        if self.dry_run:
            reason = self._why(self._read_state())
            state = f"would run: {reason}" if reason else "is up to date, would be skipped"
            say(f"stage {self.name}: {self.out} {state}")
            self.finished = True
            return
        self._share_inputs()
        lock = DirectoryLock(self._target, wait=self.wait)
        self._locks.callback(lock.release)
        lock.share()
        if self._skip():
            return
        lock.own()
        self._clean_up()
        if self._skip():  # another run may have finished between the two locks
            return
        found = self._read_state()
        reason = self._why(found)
        if self.live:
            reason = self._prepare_live(found, reason)
        else:
            self._prepare_temporary()
        self._record = surroundings(self.name)
        self._tee = Tee(self._target.parent / "log" / f"{self._target.name}.log")
        self._tee.note(self._record)
        say(f"stage {self.name}: {self.out}: {reason}")

    def _skip(self) -> bool:
        """Whether there is nothing to do, which ends the stage."""
        if self._why(self._read_state()):
            return False
        self._locks.close()
        self.finished = True
        say(f"stage {self.name}: {self.out} is up to date, skipped (--force repeats it)")
        return True

    def _missing(self, path: Path) -> None:
        message = f"stage {self.name} needs {path}, which is not there"
        if self.dry_run:
            say(f"{message} yet")
            self.finished = True
            return
        raise NeveError(f"{message}: run the stage that makes it first, or correct the path")

    def _share_inputs(self) -> None:
        """Keep others from replacing a finished directory while this stage reads it."""
        folders = {path if path.is_dir() else path.parent for path in self.inputs.values()}
        for folder in sorted(Path(os.path.realpath(folder)) for folder in folders):
            if (folder / MARKER).exists() and lock_path(folder).exists() and (
                folder != self._target
            ):
                lock = DirectoryLock(folder, wait=self.wait)
                self._locks.callback(lock.release)
                lock.share()

    def _read_state(self) -> dict | None:
        """The marker of the finished output, or None; sets what the output is to be made from."""
        known = {}
        for name in (STARTED, MARKER):
            known.update((read_json(self._target / name) or {}).get("files", {}))
        self._files = {**known, **self._files}
        self._describe()
        return read_json(self._target / MARKER)

    def _describe(self) -> None:
        digests = FileDigests(self._files)
        inputs = {key: digests.path(path) for key, path in self.inputs.items()}
        self._files = digests.table
        keys = select(to_dict(self.config) if self.config else {}, self.sections)
        for key in inputs:
            if key.partition("/")[0] in keys:
                keys[key.partition("/")[0]] = ""
        self._wanted = {"version": self.version, "inputs": inputs, "config": keys}
        self.fingerprint = digest_of(self._wanted)

    def _why(self, found: dict | None) -> str:
        """Why the stage has to run; empty if it has not."""
        if found is None:
            return "not made yet"
        if self.force:
            return "repeated (--force)"
        if found.get("fingerprint") == self.fingerprint:
            return ""
        return "made again: " + difference(found.get("wanted", {}), self._wanted, self.inputs)

    # -- directories ---------------------------------------------------------------------------

    def _hidden(self, kind: str) -> Path:
        name = f".{self._target.name}.{kind}-{os.getpid()}-{secrets.token_hex(3)}"
        return self._target.parent / name

    def _clean_up(self) -> None:
        """Remove what runs left that were killed; called with the lock held, so they are dead."""
        parent, name = self._target.parent, self._target.name
        for old in sorted(parent.glob(f".{glob_escape(name)}.old-*")):
            if not self._target.exists():  # killed between the two renames: the old one is back
                os.rename(old, self._target)
            else:
                remove(old)
        for partial in parent.glob(f".{glob_escape(name)}.partial-*"):
            say(f"stage {self.name}: removing what an interrupted run left: {partial}")
            remove(partial)

    def _prepare_temporary(self) -> None:
        self._check_ours(MARKER)
        self.dir = self._hidden("partial")
        try:
            self.dir.mkdir(parents=True)
        except OSError as error:
            raise disk_full(error, self.dir) or NeveError(
                f"{self.dir}: cannot be made: {error.strerror}"
            ) from error

    def _prepare_live(self, found: dict | None, reason: str) -> str:
        self._check_ours(MARKER, STARTED)
        started = read_json(self._target / STARTED)
        if started is not None and self.force:
            say(f"stage {self.name}: {self.out} was moved to {move_aside(self._target)}")
            started = None
        if started is not None:
            before, now = (
                dict(wanted, config=without(wanted["config"], self.extend))
                for wanted in (started["wanted"], self._wanted)
            )
            if before != now:
                raise NeveError(
                    f"stage {self.name}: {self.out} was started with something else: "
                    f"{difference(before, now, self.inputs)}. Choose another --tag or --expdir, "
                    "or give --force to move it aside and begin anew"
                )
            self.resuming = True
            if found is None:
                reason = "goes on with what was started"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._target / MARKER)
        self._target.mkdir(parents=True, exist_ok=True)
        self._save_config(self._target)
        write_json(self._target / STARTED, {"wanted": self._wanted, "files": self._files})
        return reason

    def _check_ours(self, *markers: str) -> None:
        """Nothing that no stage has made is ever replaced."""
        target = self._target
        if target.exists() and not target.is_dir():
            raise NeveError(f"{self.out} is a file; stage {self.name} needs a directory there")
        if not target.exists() or not any(target.iterdir()):
            return
        if any((target / marker).exists() for marker in markers):
            return
        raise NeveError(
            f"{self.out} is not empty, and no finished stage has made it ({MARKER} is missing): "
            "it is left alone. Move or remove it, or choose another directory"
        )

    def _save_config(self, directory: Path) -> None:
        if self.config is not None:
            save(self.config, directory / CONFIG)

    # -- leaving -------------------------------------------------------------------------------

    def __exit__(self, kind, error, trace) -> None:
        if self.finished:
            return
        try:
            problem = error
            if problem is None:
                try:
                    self._commit()
                except BaseException as caught:
                    problem = caught
            if problem is None:
                took = duration(time.time() - self._begin)
                say(f"stage {self.name}: {self.out} finished, took {took}")
                return
            self._tee.note("".join(traceback.format_exception(problem)))
            full = None
            if isinstance(problem, Exception) and not isinstance(problem, NeveError):
                full = disk_full(problem, self.dir)
            if not self.live:
                remove(self.dir)
            if full is not None:
                raise full from problem
            if error is None:
                raise problem
        finally:
            self._tee.close()
            self._locks.close()

    def _commit(self) -> None:
        """Make what was written the finished output: the marker last, then the rename."""
        if self.settle:
            self._describe()
        marker = {
            **self._record,
            "fingerprint": self.fingerprint,
            "wanted": self._wanted,
            "files": self._files,
            "seconds": round(time.time() - self._begin, 3),
        }
        if self.live:
            write_json(self._target / MARKER, marker)
            return
        self._save_config(self.dir)
        write_json(self.dir / MARKER, marker)
        old = self._hidden("old")
        if self._target.exists():
            os.rename(self._target, old)
        os.rename(self.dir, self._target)
        remove(old)


def say(text: str) -> None:
    """A line for the user, in order with what else is printed."""
    print(text, file=sys.stderr, flush=True)


def write_json(path: Path, value: dict) -> None:
    """Write a dictionary, whole or not at all."""
    with atomic_open(path) as stream:
        json.dump(value, stream, indent=1, default=str)
        stream.write("\n")


def remove(path: Path) -> None:
    """Remove a directory of our own making."""
    shutil.rmtree(path, ignore_errors=True)


def move_aside(path: Path) -> Path:
    """Give a directory a dated name; nothing in it is lost."""
    aside = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}")
    while aside.exists():
        aside = aside.with_name(f"{aside.name}x")
    os.rename(path, aside)
    return aside


def glob_escape(name: str) -> str:
    """A name in which no character means anything to glob."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
