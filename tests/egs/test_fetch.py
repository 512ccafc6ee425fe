"""Stage 0's fetching: from a directory, over HTTP and resumed, and what is not as it should be."""

import fcntl
import functools
import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

FETCH = Path(__file__).resolve().parents[2] / "local/fetch.py"
FILES = {"corpus/a.wav": b"first", "corpus/b/c.wav": b"second", "corpus/README": b"text"}
DIGEST = hashlib.sha256(
    f"{hashlib.sha256(b'first').hexdigest()}  a.wav\n"
    f"{hashlib.sha256(b'second').hexdigest()}  b/c.wav\n".encode()
).hexdigest()


def pack(path, files):
    """A tar.gz of {name: content}."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def fetch(download, dl_dir=None, url="http://127.0.0.1:9/corpus.tar.gz", **changed):
    """fetch.py on a corpus whose audio is known; `changed` are options, None leaves one out."""
    settings = {"folder": "corpus", "pattern": "**/*.wav", "count": 2, "bytes": 11,
                "sha256": DIGEST, **changed}
    command = [sys.executable, FETCH, "--url", url, "--download", download,
               "--dl-dir", dl_dir or ""]
    for name, value in settings.items():
        if value is not None:
            command += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return subprocess.run(command, capture_output=True, text=True)


UNKNOWN = {"count": None, "bytes": None, "sha256": None}  # a corpus whose audio is not known
ONE_FILE = {**UNKNOWN, "folder": None, "pattern": None, "file": "lm/model.gz"}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a directory; knows ranges, which is what resuming needs, and notes them."""

    ranges: list = []

    def do_GET(self):
        content = Path(self.translate_path(self.path)).read_bytes()
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.ranges.append(start)
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """(URL, the directory behind it, where each request wanted to start)."""
    served = tmp_path / "served"
    served.mkdir()
    handler = type("Noting", (Handler,), {"ranges": []})
    httpd = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(served)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}/corpus.tar.gz", served, handler.ranges
    httpd.shutdown()
    httpd.server_close()


def complete(download):
    return {str(p.relative_to(download)): p.read_bytes()
            for p in sorted(download.glob("corpus/**/*")) if p.is_file()}


def test_archive_in_dl_dir(tmp_path):
    pack(tmp_path / "corpus.tar.gz", FILES)
    done = fetch(tmp_path / "download", tmp_path)
    assert done.returncode == 0, done.stderr
    assert complete(tmp_path / "download") == FILES
    assert [p.name for p in (tmp_path / "download").iterdir()] == ["corpus"]
    assert "complete already" in fetch(tmp_path / "download", tmp_path).stdout


def test_unpacked_corpus_in_dl_dir_is_used_where_it_is(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert fetch(tmp_path / "download", tmp_path).returncode == 0
    assert (tmp_path / "download/corpus").resolve() == tmp_path / "corpus"


def test_download(tmp_path, server):
    url, served, _ = server
    pack(served / "corpus.tar.gz", FILES)
    done = fetch(tmp_path / "download", url=url)
    assert done.returncode == 0, done.stderr
    assert complete(tmp_path / "download") == FILES


def test_download_goes_on_where_it_stopped(tmp_path, server):
    url, served, ranges = server
    pack(served / "corpus.tar.gz", FILES)
    (tmp_path / "download").mkdir()
    (tmp_path / "download/corpus.tar.gz.part").write_bytes(
        (served / "corpus.tar.gz").read_bytes()[:50])
    assert fetch(tmp_path / "download", url=url).returncode == 0
    assert ranges == [50]
    assert complete(tmp_path / "download") == FILES


def test_a_part_that_is_no_part_is_fetched_anew(tmp_path, server):
    url, served, ranges = server
    pack(served / "corpus.tar.gz", FILES)
    (tmp_path / "download").mkdir()
    (tmp_path / "download/corpus.tar.gz.part").write_bytes(bytes(100000))
    assert fetch(tmp_path / "download", url=url).returncode == 0
    assert ranges == [100000, 0]


def test_site_that_does_not_answer(tmp_path):
    done = fetch(tmp_path / "download")
    assert done.returncode == 1
    assert "cannot download http://127.0.0.1:9/corpus.tar.gz" in done.stderr
    assert "--dl-dir" in done.stderr


@pytest.mark.parametrize(
    "files, message",
    [
        ({"corpus/a.wav": b"first"}, "has 1 files **/*.wav of 5 bytes, but the corpus has 2 of 11"),
        ({**FILES, "corpus/a.wav": b"FIRST"}, "not the release this recipe was made for"),
        ({"other/a.wav": b"first"}, "does not hold a folder corpus/"),
        ({"../corpus/a.wav": b"first"}, "does not hold a folder corpus/"),
    ],
)
def test_another_archive_leaves_nothing(tmp_path, files, message):
    pack(tmp_path / "corpus.tar.gz", files)
    done = fetch(tmp_path / "download", tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert not list((tmp_path / "download").iterdir())


def test_truncated_archive_leaves_nothing(tmp_path):
    pack(tmp_path / "whole", FILES)
    (tmp_path / "corpus.tar.gz").write_bytes((tmp_path / "whole").read_bytes()[:-30])
    done = fetch(tmp_path / "download", tmp_path)
    assert done.returncode == 1
    assert "corpus.tar.gz is damaged" in done.stderr
    assert not list((tmp_path / "download").iterdir())


def test_dl_dir_that_is_not_there(tmp_path):
    done = fetch(tmp_path / "download", tmp_path / "nowhere")
    assert done.returncode == 1
    assert "nowhere is not a directory" in done.stderr


def test_a_link_to_a_corpus_that_has_moved_is_made_anew(tmp_path):
    pack(tmp_path / "corpus.tar.gz", FILES)
    (tmp_path / "download").mkdir()
    (tmp_path / "download/corpus").symlink_to(tmp_path / "gone/corpus")
    done = fetch(tmp_path / "download", tmp_path)
    assert done.returncode == 0, done.stderr
    assert complete(tmp_path / "download") == FILES


def test_two_runs_at_once_wait_for_each_other(tmp_path):
    pack(tmp_path / "corpus.tar.gz", FILES)
    (tmp_path / "download").mkdir()
    directory = os.open(tmp_path / "download", os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    threading.Timer(1.0, os.close, [directory]).start()
    done = fetch(tmp_path / "download", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "another run fetches into" in done.stdout
    assert complete(tmp_path / "download") == FILES


def test_a_part_of_a_corpus_and_files_beside_it(tmp_path):
    """Two archives that unpack into the same folder, as LibriSpeech's do."""
    dl_dir = tmp_path / "there"
    dl_dir.mkdir()
    for part in ("one", "two"):
        pack(dl_dir / f"{part}.tar.gz", {f"./top/{part}/a.wav": part.encode(),
                                         "./top/ABOUT.TXT": b"text", "./top/other.doc": b"no"})
    for part in ("one", "two"):
        done = fetch(tmp_path / "download", dl_dir, f"http://127.0.0.1:9/{part}.tar.gz",
                     folder=f"top/{part}", also="top/*.TXT", discard=True, **UNKNOWN)
        assert done.returncode == 0, done.stderr
    found = {str(p.relative_to(tmp_path / "download")) for p in tmp_path.glob("download/**/*")}
    assert found == {"top", "top/one", "top/one/a.wav", "top/two", "top/two/a.wav", "top/ABOUT.TXT"}
    assert len(list(dl_dir.iterdir())) == 2  # what is in --dl-dir is only read

    # What this has unpacked can itself be the --dl-dir of another recipe.
    done = fetch(tmp_path / "again", tmp_path / "download", folder="top/two", also="top/*.TXT",
                 **UNKNOWN)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again/top/two").resolve() == tmp_path / "download/top/two"
    assert (tmp_path / "again/top/ABOUT.TXT").read_text() == "text"


def test_archives_in_an_archive(tmp_path):
    pack(tmp_path / "s1.tar.gz", {"train/s1/a.wav": b"first", "../evil.wav": b"no"})
    inner = (tmp_path / "s1.tar.gz").read_bytes()
    pack(tmp_path / "corpus.tar.gz", {"corpus/wav/s1.tar.gz": inner})
    done = fetch(tmp_path / "download", tmp_path, inner="wav/*.tar.gz", **UNKNOWN)
    assert done.returncode == 0, done.stderr
    assert complete(tmp_path / "download") == {"corpus/wav/train/s1/a.wav": b"first"}

    pack(tmp_path / "corpus.tar.gz", {"corpus/wav/s1.tar.gz": inner[:-20]})
    done = fetch(tmp_path / "other", tmp_path, inner="wav/*.tar.gz", **UNKNOWN)
    assert done.returncode == 1 and "wav/s1.tar.gz is damaged" in done.stderr
    assert not list((tmp_path / "other").iterdir())


def test_a_folder_without_audio_is_no_corpus(tmp_path):
    pack(tmp_path / "corpus.tar.gz", {"corpus/wav/s1.tar.gz": b"still packed"})
    done = fetch(tmp_path / "download", tmp_path, **UNKNOWN)
    assert done.returncode == 1 and "has no files **/*.wav in corpus/" in done.stderr
    (tmp_path / "corpus").mkdir()
    done = fetch(tmp_path / "download", tmp_path, **UNKNOWN)
    assert done.returncode == 1 and "corpus has no files **/*.wav" in done.stderr


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_download_is_held_against_its_owners_digest(tmp_path, server, kind):
    url, served, _ = server
    pack(served / "corpus.tar.gz", FILES)
    done = fetch(tmp_path / "download", url=url, archive_digest=f"{kind}:{'0' * 32}", **UNKNOWN)
    assert done.returncode == 1 and f"has the digest {kind}:" in done.stderr
    assert not list((tmp_path / "download").iterdir())

    right = hashlib.new(kind, (served / "corpus.tar.gz").read_bytes()).hexdigest()
    done = fetch(tmp_path / "download", url=url, archive_digest=f"{kind}:{right}", discard=True,
                 **UNKNOWN)
    assert done.returncode == 0, done.stderr
    assert complete(tmp_path / "download") == FILES
    assert [p.name for p in (tmp_path / "download").iterdir()] == ["corpus"]  # archive discarded


def test_one_file(tmp_path, server):
    url, served, _ = server
    (served / "corpus.tar.gz").write_bytes(b"a model")
    done = fetch(tmp_path / "download", url=url, **ONE_FILE)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "download/lm/model.gz").read_bytes() == b"a model"
    assert "is there already" in fetch(tmp_path / "download", url=url, **ONE_FILE).stdout

    # In --dl-dir, under its own name or where it shall lie.
    for number, name in enumerate(["corpus.tar.gz", "lm/model.gz"]):
        dl_dir = tmp_path / f"there{number}"
        (dl_dir / name).parent.mkdir(parents=True)
        (dl_dir / name).write_bytes(b"mine")
        done = fetch(tmp_path / f"download{number}", dl_dir, **ONE_FILE)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / f"download{number}/lm/model.gz").resolve() == dl_dir / name


def test_links_within_the_corpus_are_kept_and_others_are_not(tmp_path):
    """As in TED-LIUM 3, where most of legacy/ links to data/."""
    with tarfile.open(tmp_path / "corpus.tar.gz", "w:gz") as tar:
        for name, content, kind in [
            ("./corpus/data/a.wav", b"first", tarfile.REGTYPE),
            ("./corpus/legacy/a.wav", "../data/a.wav", tarfile.SYMTYPE),
            ("./corpus/legacy/b.wav", "./corpus/data/a.wav", tarfile.LNKTYPE),
            ("./corpus/legacy/c.wav", "../../../secret.wav", tarfile.SYMTYPE),
            ("./corpus/legacy/d.wav", "/etc/passwd", tarfile.SYMTYPE),
            ("./corpus/legacy/e.wav", "elsewhere/a.wav", tarfile.LNKTYPE),
        ]:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.linkname = content
                tar.addfile(member)
    done = fetch(tmp_path / "download", tmp_path, **UNKNOWN)
    assert done.returncode == 0, done.stderr
    assert complete(tmp_path / "download") == {
        "corpus/data/a.wav": b"first", "corpus/legacy/a.wav": b"first",
        "corpus/legacy/b.wav": b"first"}
    assert not (tmp_path / "download/corpus/legacy/c.wav").is_symlink()
