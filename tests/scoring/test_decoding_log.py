"""The append-only log of decodings."""

import fcntl
import json
import multiprocessing
import os

import pytest

from neve.errors import NeveError
from neve.scoring import count_decodings, log_decoding


def note(path, split="test", is_test=True, command="neve decode"):
    log_decoding(
        path,
        split=split,
        experiment="a-seed0",
        decode_name="hlg",
        checkpoint="averaged.pt",
        command=command,
        is_test=is_test,
    )


def many(path, count):
    for _ in range(count):
        note(path, command="neve decode " + "x" * 5000)


def test_counts_by_split(tmp_path):
    path = tmp_path / "exp" / "decodings.jsonl"
    assert count_decodings(path) == {}
    note(path)
    note(path)
    note(path, "dev", is_test=False)
    assert count_decodings(path) == {"dev": 1, "test": 2}
    assert count_decodings(path, tests_only=True) == {"test": 2}


def test_only_ever_added_to(tmp_path):
    path = tmp_path / "decodings.jsonl"
    note(path)
    before, inode = path.read_bytes(), os.stat(path).st_ino
    note(path, command="größer\n\udcff")
    assert path.read_bytes().startswith(before)
    assert os.stat(path).st_ino == inode
    entry = json.loads(path.read_text().splitlines()[1])
    assert entry["command"] == "größer\n\udcff"
    assert entry["checkpoint"] == "averaged.pt"
    assert entry["time"].endswith("+00:00")


def test_writers_at_once_do_not_tear_lines(tmp_path):
    path = tmp_path / "decodings.jsonl"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=many, args=(path, 10)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert count_decodings(path) == {"test": 40}


def test_a_writer_waits_for_the_lock(tmp_path):
    path = tmp_path / "decodings.jsonl"
    context = multiprocessing.get_context("fork")
    with open(path, "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writer = context.Process(target=note, args=(path,))
        writer.start()
        writer.join(timeout=0.3)
        assert writer.is_alive() and path.read_bytes() == b""
        fcntl.flock(held, fcntl.LOCK_UN)
        writer.join()
    assert count_decodings(path) == {"test": 1}


@pytest.mark.parametrize("bad", ["{", "[]", '{"split": "test"}', '{"split": 1, "is_test": true}'])
def test_a_malformed_line_is_named(tmp_path, bad):
    path = tmp_path / "decodings.jsonl"
    note(path)
    with open(path, "a") as f:
        f.write(bad + "\n")
    note(path)
    with pytest.raises(NeveError, match=r"decodings.jsonl, line 2: not an entry"):
        count_decodings(path)


def test_a_line_that_was_cut_off_does_not_swallow_the_next(tmp_path):
    path = tmp_path / "decodings.jsonl"
    path.write_text('{"time": "2024')
    note(path)
    lines = path.read_text().splitlines()
    assert len(lines) == 2
    assert json.loads(lines[1])["split"] == "test"
    with pytest.raises(NeveError, match="line 1"):
        count_decodings(path)


def test_a_log_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "decodings.jsonl").mkdir()
    with pytest.raises(NeveError, match="cannot be noted"):
        note(tmp_path / "decodings.jsonl")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_an_error(tmp_path):
    (tmp_path / "decodings.jsonl").symlink_to("/dev/full")
    with pytest.raises(NeveError, match="no space is left"):
        note(tmp_path / "decodings.jsonl")
