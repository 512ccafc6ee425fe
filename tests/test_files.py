"""Writing files whole or not at all, and what a full disk becomes."""

import errno
import gzip
import os

import pytest

from neve.errors import NeveError, disk_full, free_bytes
from neve.files import atomic_open


@pytest.mark.parametrize("name", ["a.txt", "deep/er/a.txt", "a.txt.gz"])
def test_text_appears_whole_under_its_name(tmp_path, name):
    path = tmp_path / name
    with atomic_open(path) as stream:
        stream.write("zeile ü\n")
        assert not path.exists()
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open()
    with opened as stream:
        assert stream.read() == "zeile ü\n"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_compressed_files_are_the_same_bytes_whenever_they_are_written(tmp_path, monkeypatch):
    import time

    for second in (1, 2):
        monkeypatch.setattr(time, "time", lambda second=second: 1e9 + second)
        with atomic_open(tmp_path / f"{second}/x.gz", "wb") as stream:
            stream.write(b"text" * 100)
    assert (tmp_path / "1/x.gz").read_bytes() == (tmp_path / "2/x.gz").read_bytes()


def test_an_error_leaves_the_former_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    path.write_text("former")
    with pytest.raises(ZeroDivisionError), atomic_open(path) as stream:
        stream.write("half")
        1 / 0  # noqa: B018
    assert path.read_text() == "former"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_open(tmp_path / "atomic"):
        pass
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_full_disk_names_the_file_and_the_remedy(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NeveError, match=r"a\.txt: no space is left.*free some space"):
        with atomic_open(tmp_path / "a.txt") as stream:
            stream.write("x")
    assert not list(tmp_path.iterdir())


def test_appending_is_not_what_this_is_for(tmp_path):
    with pytest.raises(ValueError, match="whole files"), atomic_open(tmp_path / "a", "a"):
        pass


def test_disk_full_looks_through_the_causes(tmp_path):
    inner = OSError(errno.ENOSPC, "full")
    outer = RuntimeError("could not write")
    outer.__cause__ = inner
    assert isinstance(disk_full(outer, tmp_path), NeveError)
    assert disk_full(OSError(errno.EDQUOT, "quota"), tmp_path) is not None
    assert disk_full(RuntimeError("something else"), tmp_path) is None
    assert disk_full(None, tmp_path) is None
    assert free_bytes(tmp_path / "not/there/yet") > 0
