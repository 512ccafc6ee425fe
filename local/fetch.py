#!/usr/bin/env python3
"""Fetch one archive of a corpus and unpack it, or one file; what every local/download.sh calls.

The archive, or what it unpacks to, is looked for in --dl-dir (or $NEVE_CORPORA) first and is then
only read.  Otherwise it is downloaded, going on where an interrupted download stopped, and held
against the digest that its owner gives.  The corpus appears under its final name only when it is
complete and checked, so that a killed run leaves nothing that looks finished; two runs at once
wait for each other.  Python's standard library only.
"""

import argparse
import contextlib
import fcntl
import fnmatch
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
    add = parser.add_argument
    add("--url", required=True, help="where the corpus's owner serves the archive or file")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--folder", help="the folder that the archive unpacks to, as in a/b")
    what.add_argument("--file", help="no archive: where the file itself shall lie, as in lm/x.gz")
    add("--pattern", default="**/*", help="the audio files in the folder, as in **/*.wav")
    add("--count", type=int, help="how many audio files there are; with --bytes and --sha256")
    add("--bytes", type=int, help="their total size")
    add("--sha256", help="digest of them all (see `digest`)")
    add("--archive-digest", default="", metavar="md5:HEX",
        help="digest (md5 or sha256) of what is downloaded, as the owner gives it")
    add("--also", default="", help="files of the archive outside the folder, as in a/*.TXT")
    add("--inner", default="", help="archives in the folder that are unpacked where they are")
    add("--discard", action="store_true", help="remove a downloaded archive when it is unpacked")
    add("--download", default="download", help="where the corpus shall lie")
    add("--dl-dir", default=os.environ.get("NEVE_CORPORA", ""),
        help="a directory that may hold the archive or file, or the corpus unpacked")
    args = parser.parse_args(argv)
    try:
        with alone(Path(args.download)):
            if args.dl_dir and not Path(args.dl_dir).is_dir():
                raise FetchError(f"{Path(args.dl_dir).absolute()} is not a directory; give an "
                                 "existing one as --dl-dir (or NEVE_CORPORA)")
            fetch_file(args) if args.file else fetch(args)
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
    drop_dead_link(target)
    unpacked = Path(args.dl_dir or ".", args.folder)
    if args.dl_dir and unpacked.is_dir():
        check(unpacked, args)
        for file in also_files(Path(args.dl_dir), args.also):
            link(Path(args.download) / file, Path(args.dl_dir) / file)
        link(target, unpacked)
        say(f"{target} points to the corpus in {args.dl_dir}")
        return
    archive_name = args.url.rsplit("/", 1)[-1]
    archive = Path(args.dl_dir or ".", archive_name)
    downloaded = not args.dl_dir or not archive.is_file()
    if downloaded:
        if args.dl_dir:
            say(f"{args.dl_dir} has neither {archive_name} nor {args.folder}/")
        archive = Path(args.download) / archive_name
        download(args.url, archive, args.archive_digest)
    number = unpack(archive, target, args)
    if downloaded and args.discard:
        archive.unlink()
    say(f"{target} is complete: {number} audio files")


def fetch_file(args):
    """Bring the file `args.file` to `args.download`, or raise `FetchError`."""
    target = Path(args.download) / args.file
    if target.exists():
        say(f"{target} is there already")
        return
    drop_dead_link(target)
    for name in dict.fromkeys((args.file, args.url.rsplit("/", 1)[-1])):
        if args.dl_dir and Path(args.dl_dir, name).is_file():
            link(target, Path(args.dl_dir, name))
            say(f"{target} points to the file in {args.dl_dir}")
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    download(args.url, target, args.archive_digest)
    say(f"{target} is there")


def drop_dead_link(path):
    """Remove a link to what lay in some --dl-dir, and no longer does."""
    if path.is_symlink() and not path.exists():
        path.unlink()


def link(path, source):
    """Make `path` a link to `source`, unless there is something."""
    drop_dead_link(path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(source.resolve(), target_is_directory=source.is_dir())


def also_files(folder, pattern):
    """Paths of the files that `pattern`, if any, names below `folder`, relative to it."""
    found = sorted(folder.glob(pattern)) if pattern else []
    return [file.relative_to(folder) for file in found if file.is_file()]


def download(url, archive, digest=""):
    """Download `url` to the file `archive`, going on with a part that lies there already.

    `digest` is `md5:HEX` or `sha256:HEX` of the whole, or empty; what has another is removed.
    """
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
            break
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is not a part of what is served now
                part.unlink()
                continue
            raise FetchError(f"{url}: {error}. {remedy}") from None
        except OSError as error:
            if attempt == 4 or not part.exists() or part.stat().st_size == have:
                raise FetchError(f"cannot download {url}: {error}. {remedy}") from None
            say(f"{error}; going on")
    else:
        raise FetchError(f"cannot download {url}. {remedy}")
    if digest and (found := digest_of(part, digest)) != digest:
        part.unlink()
        raise FetchError(f"what {url} serves has the digest {found}, but its owner gives {digest}: "
                         "it was damaged on the way, or is another release. Run this stage again")
    part.rename(archive)


def digest_of(path, like):
    """The digest of a file, in the form and of the kind of `like`, which is `kind:HEX`."""
    kind = like.partition(":")[0]
    total = hashlib.new(kind)
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            total.update(block)
    return f"{kind}:{total.hexdigest()}"


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
    """Unpack `archive`, check what came out, and move it to `target`; how many audio files it has.

    What `args.also` names goes beside it, unless it is there already.
    """
    download = Path(args.download)
    work = download / f".{args.folder.replace('/', '_')}.partial"
    shutil.rmtree(work, ignore_errors=True)  # what a killed run left
    try:
        extract(archive, work, args.folder, args.also)
        folder = work / args.folder
        if not folder.is_dir():
            raise FetchError(f"{archive} does not hold a folder {args.folder}/")
        for inner in sorted(folder.glob(args.inner)) if args.inner else ():
            extract(inner, inner.parent)
            inner.unlink()
        number = check(folder, args, where=archive)
        for file in also_files(work, args.also):
            if not (download / file).exists():
                (download / file).parent.mkdir(parents=True, exist_ok=True)
                (work / file).rename(download / file)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
        return number
    finally:
        shutil.rmtree(work, ignore_errors=True)


def extract(archive, where, folder="", also=""):
    """Extract the plain files and folders of an archive that are in `folder`, or match `also`."""
    try:
        with tarfile.open(archive) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
            # One pass: a compressed archive of gigabytes is not read twice.
            tar.extractall(where, (m for m in spoken_of(tar, archive) if wanted(m, folder, also)))
    except (tarfile.TarError, EOFError, OSError) as error:
        if getattr(error, "errno", None):
            raise
        raise FetchError(f"{archive} is damaged ({error}); remove it and fetch it again") from None


def spoken_of(tar, archive):
    """The members of an open archive, read to its end; says from time to time how far it is."""
    said = time.monotonic()
    for number, member in enumerate(tar):
        if time.monotonic() - said > 10:
            said = time.monotonic()
            say(f"unpacking {archive}: {number} files")
        yield member
    while tar.fileobj.read(1 << 16):  # to the checksum, which lies behind the last member
        pass


def wanted(member, folder, also=""):
    """Whether a member of the archive is a plain file or folder inside `folder`, or in `also`.

    A link counts if what it points to is inside `folder` too.
    """
    path = Path(member.name)
    if ".." in path.parts or path.is_absolute() or path.name.startswith("."):
        return False
    if member.issym() or member.islnk():
        below = path.parent if member.issym() else ""
        target = Path(os.path.normpath(os.path.join(below, member.linkname)))
        return not target.is_absolute() and within(path, folder) and within(target, folder)
    return (member.isfile() or member.isdir()) \
        and (within(path, folder) or fnmatch.fnmatch(path.as_posix(), also))


def within(path, folder):
    """Whether a relative path is `folder` or below it; everything but .. is below the empty one."""
    inside = Path(folder).parts
    return path.parts[:len(inside)] == inside and ".." not in path.parts


def check(folder, args, where=None):
    """The number of audio files of the corpus in `folder`; FetchError if they are not as they
    should be: where that is not known, if there are none."""
    files = sorted(file for file in folder.glob(args.pattern) if file.is_file())
    if args.count is None:
        if not files:
            raise FetchError(f"{where or folder} has no files {args.pattern}"
                             f"{f' in {args.folder}/' if where else ''}; remove it and fetch it "
                             "again, or unpack what is still packed in it")
        return len(files)
    size = sum(f.stat().st_size for f in files)
    if (len(files), size) != (args.count, args.bytes):
        raise FetchError(
            f"{where or folder} has {len(files)} files {args.pattern} of {size} bytes, but the "
            f"corpus has {args.count} of {args.bytes}; remove it and fetch it again")
    if (found := digest(folder, files)) != args.sha256:
        raise FetchError(
            f"{where or folder} is not the release this recipe was made for: its audio has the "
            f"digest {found}, not {args.sha256}; remove it and fetch it again")
    return len(files)


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
