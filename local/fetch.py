#!/usr/bin/env python3
"""Fetch one archive of a corpus and unpack it; what every recipe's local/download.sh calls.

The archive, or the corpus already unpacked, is looked for in --dl-dir (or $NEVE_CORPORA) first
and is then only read.  Otherwise it is downloaded, going on where an interrupted download
stopped.  The corpus appears under its final name only when it is complete and checked, so that
a killed run leaves nothing that looks finished; two runs at once wait for each other.  Python's
standard library only.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path


class FetchError(Exception):
    """Says what went wrong and what to do about it."""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="where the corpus's owner serves the archive")
    parser.add_argument("--folder", required=True, help="the folder that the archive unpacks to")
    parser.add_argument("--pattern", required=True, help="the audio files in it, as in **/*.wav")
    parser.add_argument("--count", type=int, required=True, help="how many audio files there are")
    parser.add_argument("--bytes", type=int, required=True, help="their total size")
    parser.add_argument("--sha256", required=True, help="digest of them all (see `digest`)")
    parser.add_argument("--download", default="download", help="where the corpus shall lie")
    parser.add_argument("--dl-dir", default=os.environ.get("NEVE_CORPORA", ""),
                        help="a directory that may hold the archive, or the corpus unpacked")
    args = parser.parse_args(argv)
    try:
        with alone(Path(args.download)):
            fetch(args)
    except (FetchError, OSError, tarfile.TarError, EOFError) as error:
        sys.exit(f"fetch.py: {error}")


@contextlib.contextmanager
def alone(folder):
    """Wait until no other process fetches into `folder`, and keep others out meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    directory = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run fetches into {folder}; waiting for it")
            fcntl.flock(directory, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system that cannot lock directories
        yield
    finally:
        os.close(directory)


def fetch(args):
    """Bring `args.folder` to `args.download`, or raise `FetchError`."""
    target = Path(args.download) / args.folder
    if target.exists():
        check(target, args)
        say(f"{target} is complete already")
        return
    if target.is_symlink():  # it points to a corpus that lay in some --dl-dir, and no longer does
        target.unlink()
    if args.dl_dir and not Path(args.dl_dir).is_dir():
        raise FetchError(f"{Path(args.dl_dir).absolute()} is not a directory; give an existing one "
                         "as --dl-dir (or NEVE_CORPORA)")

    archive_name = args.url.rsplit("/", 1)[-1]
    unpacked = Path(args.dl_dir or ".", args.folder)
    if args.dl_dir and unpacked.is_dir():
        check(unpacked, args)
        target.symlink_to(unpacked.resolve(), target_is_directory=True)
        say(f"{target} points to the corpus in {args.dl_dir}")
        return
    archive = Path(args.dl_dir or ".", archive_name)
    if not args.dl_dir or not archive.is_file():
        if args.dl_dir:
            say(f"{args.dl_dir} has neither {archive_name} nor {args.folder}/")
        archive = target.parent / archive_name
        download(args.url, archive)
    unpack(archive, target, args)
    say(f"{target} is complete: {args.count} audio files")


def download(url, archive):
    """Download `url` to the file `archive`, going on with a part that lies there already."""
    if archive.exists():
        return
    part = archive.with_name(archive.name + ".part")
    remedy = (f"Run this stage again to go on, or download it yourself and give its directory "
              f"as --dl-dir: {url}")
    for attempt in range(5):
        have = part.stat().st_size if part.exists() else 0
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                resumed = getattr(answer, "status", None) == 206
                have = have if resumed else 0
                total = have + int(answer.headers.get("Content-Length") or 0)
                copy(answer, part, have, total, archive.name)
                if part.stat().st_size < total:
                    raise OSError("the connection closed early")
            part.rename(archive)
            return
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is not a part of what is served now
                part.unlink()
                continue
            raise FetchError(f"{url}: {error}. {remedy}") from None
        except OSError as error:
            if attempt == 4 or not part.exists() or part.stat().st_size == have:
                raise FetchError(f"cannot download {url}: {error}. {remedy}") from None
            say(f"{error}; going on")
    raise FetchError(f"cannot download {url}. {remedy}")


def copy(answer, part, have, total, name):
    """Append (or, with `have` 0, write) what `answer` gives to `part`, and show progress."""
    said = time.monotonic()
    with open(part, "ab" if have else "wb") as out:
        while block := answer.read(1 << 18):
            out.write(block)
            have += len(block)
            if time.monotonic() - said > 5:
                said = time.monotonic()
                of = f" of {total / 1e6:.1f}" if total else ""
                say(f"{name}: {have / 1e6:.1f}{of} MB")


def unpack(archive, target, args):
    """Unpack `archive` beside `target`, check what came out, and rename it to `target`."""
    work = target.parent / f".{target.name}.partial"
    shutil.rmtree(work, ignore_errors=True)  # what a killed run left
    try:
        try:
            with tarfile.open(archive) as tar:
                tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
                members = [m for m in tar if wanted(m, args.folder)]
                tar.extractall(work, members)
        except (tarfile.TarError, EOFError, OSError) as error:
            if getattr(error, "errno", None):
                raise
            raise FetchError(f"{archive} is damaged ({error}); remove it and fetch it again") \
                from None
        if not (work / args.folder).is_dir():
            raise FetchError(f"{archive} does not hold a folder {args.folder}/")
        check(work / args.folder, args, where=archive)
        (work / args.folder).rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def wanted(member, folder):
    """Whether a member of the archive is a plain file or folder inside `folder`."""
    path = Path(member.name)
    return (member.isfile() or member.isdir()) and ".." not in path.parts \
        and not path.is_absolute() and path.parts[:1] == (folder,) \
        and not path.name.startswith(".")


def check(folder, args, where=None):
    """Raise `FetchError` unless the corpus in `folder` has the files that it should have."""
    files = sorted(folder.glob(args.pattern))
    size = sum(f.stat().st_size for f in files)
    if (len(files), size) != (args.count, args.bytes):
        raise FetchError(
            f"{where or folder} has {len(files)} files {args.pattern} of {size} bytes, but the "
            f"corpus has {args.count} of {args.bytes}; remove it and fetch it again")
    if (found := digest(folder, files)) != args.sha256:
        raise FetchError(
            f"{where or folder} is not the release this recipe was made for: its audio has the "
            f"digest {found}, not {args.sha256}; remove it and fetch it again")


def digest(folder, files):
    """SHA-256, in hexadecimal, of the files' names below `folder` and their contents."""
    total = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{content}  {file.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


def say(text):
    """Print at once, with the time."""
    print(time.strftime("%H:%M:%S"), text, flush=True)


if __name__ == "__main__":
    main()
