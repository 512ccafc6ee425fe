"""ARPA files, the text format of back-off n-gram models, also compressed (.gz).

    \\data\\
    ngram 1=4
    ngram 2=2

    \\1-grams:
    -0.5 <tab> word <tab> -0.3      log10 probability, n-gram, log10 back-off (0 if not there)
    ...
    \\end\\
"""

from __future__ import annotations

import gzip
import logging
import math
import os
import re
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neve.errors import NeveError
from neve.files import atomic_open
from neve.lm.arpa import BOS, EOS, ArpaLm, Level
from neve.lm.counting import Progress

log = logging.getLogger(__name__)


def write_arpa(model: ArpaLm, path: str | os.PathLike) -> None:
    """Write `model`; the same model always gives the same bytes."""
    progress = Progress(f"writing {path}", sum(map(len, model.levels)))
    with atomic_open(path) as stream:
        stream.write("\\data\\\n")
        for number, level in enumerate(model.levels, start=1):
            stream.write(f"ngram {number}={len(level)}\n")
        for order, level in enumerate(model.levels, start=1):
            stream.write(f"\n\\{order}-grams:\n")
            for part, names in model.ngram_blocks(order):
                probs = level.log_prob[part].tolist()
                if order == model.order:
                    rows = (f"{prob:.7g}\t{name}\n" for prob, name in zip(probs, names))
                else:
                    backoffs = level.backoff[part].tolist()
                    rows = (
                        f"{prob:.7g}\t{name}\t{backoff:.7g}\n"
                        for prob, name, backoff in zip(probs, names, backoffs)
                    )
                stream.writelines(rows)
                progress.add(len(names))
        stream.write("\n\\end\\\n")
    progress.end()


def read_arpa(path: str | os.PathLike) -> ArpaLm:
    """Read and check an ARPA file.

    Raises NeveError with file, line and remedy for anything that is not as it should be: a missing
    or unexpected section, numbers that are none, positive log probabilities, n-grams of a wrong
    length, with unknown words or unknown contexts or that stand twice, counts that do not match the
    header, no sentence end, a file that stops before \\end\\.
    """
    return _Reader(Path(path)).read()


class _Reader:
    def __init__(self, path: Path):
        self.path = path
        self.number = 0
        self.lines = self._lines()

    def read(self) -> ArpaLm:
        counts = self._header()
        ids: dict[str, int] = {}
        levels: list[Level] = []
        names: list[str] = []
        for order, expected in enumerate(counts, start=1):
            last = order == len(counts)
            rows = self._section(order, expected)
            if order == 1:
                levels.append(self._words(rows, ids, names, last))
            else:
                levels.append(self._ngrams(rows, order, ids, levels, last))
        self._expect("\\end\\", len(counts))
        for mark in (BOS, EOS):
            if mark not in ids:
                self._fail(f"the model has no {mark}, so it cannot be used for sentences")
        positive = sum(int((level.backoff > 0).sum()) for level in levels)
        if positive:
            log.warning("%s: %d back-off weights are positive", self.path, positive)
        return ArpaLm(names, levels)

    def _lines(self) -> Iterator[str]:
        """Lines that are not blank, without the space around them."""
        opened = gzip.open if self.path.suffix == ".gz" else open
        try:
            with opened(self.path, "rb") as stream:
                for raw in stream:
                    self.number += 1
                    line = raw.decode("utf-8").strip()
                    if line:
                        yield line
        except FileNotFoundError:
            raise NeveError(f"{self.path}: there is no such ARPA file") from None
        except UnicodeDecodeError as error:
            self._fail(f"is not UTF-8 text ({error.reason})", error)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.number += 1
            self._fail(f"the compressed file is broken or truncated ({error})", error)
        except OSError as error:
            raise NeveError(f"{self.path}: cannot be read: {error}") from error

    def _fail(self, what: str, cause: BaseException | None = None):
        raise NeveError(
            f"{self.path}:{self.number}: {what}. The file is damaged or not in ARPA format; copy "
            "or make it again"
        ) from cause

    def _header(self) -> list[int]:
        for line in self.lines:
            if line == "\\data\\":
                break
        else:
            self._fail("there is no \\data\\ section")
        counts: list[int] = []
        for line in self.lines:
            match = re.fullmatch(r"ngram\s+([0-9]+)\s*=\s*([0-9]+)", line)
            if not match:
                break
            if int(match[1]) != len(counts) + 1:
                self._fail(f"expected the count of {len(counts) + 1}-grams, found {line!r}")
            counts.append(int(match[2]))
        else:
            self._fail("the file stops in its \\data\\ section")
        if not counts:
            self._fail(f"expected `ngram 1=COUNT` after \\data\\, found {line!r}")
        if line != "\\1-grams:":
            self._fail(f"expected \\1-grams: after the counts, found {line!r}")
        return counts

    def _expect(self, title: str, before: int) -> None:
        """Read `title`, which follows the section of the order `before`."""
        line = next(self.lines, None)
        if line is None:
            self._fail(f"the file stops before {title}")
        if line != title and line.startswith("\\"):
            self._fail(f"expected {title}, found {line!r}")
        if line != title:
            self._fail(f"there are more {before}-grams than the header says")

    def _section(self, order: int, expected: int) -> Iterator[list[str]]:
        """Fields of the `expected` lines of a section; fails if there are fewer or more."""
        if order > 1:
            self._expect(f"\\{order}-grams:", order - 1)
        for found in range(expected):
            line = next(self.lines, None)
            if line is None:
                self._fail(f"the file stops after {found} of {expected} {order}-grams")
            if line.startswith("\\") and (line == "\\end\\" or line.endswith("-grams:")):
                self._fail(f"{expected} {order}-grams are announced in the header, found {found}")
            yield line.split()

    def _numbers(self, fields: list[str], order: int, last: bool) -> tuple[float, float]:
        """Log probability and back-off of a line with these fields."""
        if not order + 1 <= len(fields) <= order + 2 or (last and len(fields) > order + 1):
            back = "" if last else " and perhaps a back-off"
            self._fail(f"a line here has a log probability, {order} words{back}, not {fields}")
        try:
            log_prob = float(fields[0])
            backoff = float(fields[order + 1]) if len(fields) == order + 2 else 0.0
        except ValueError as error:
            self._fail(str(error), error)
        if math.isnan(log_prob) or log_prob > 0.0:
            self._fail(f"the log probability {fields[0]} is not a number of at most 0")
        if not math.isfinite(backoff) and backoff != -math.inf:
            self._fail(f"the back-off {fields[-1]} is not a number")
        return log_prob, backoff

    def _words(self, rows, ids: dict[str, int], names: list[str], last: bool) -> Level:
        probs, backoffs = array("d"), array("d")
        for fields in rows:
            log_prob, backoff = self._numbers(fields, 1, last)
            word = fields[1]
            if word in ids:
                self._fail(f"the word {word} stands in \\1-grams: already")
            ids[word] = len(names)
            names.append(word)
            probs.append(log_prob)
            backoffs.append(backoff)
        size = len(names)
        context = np.zeros(size, dtype=np.int64)
        return Level(context, np.arange(size, dtype=np.int32), np.array(probs), np.array(backoffs))

    def _ngrams(
        self, rows, order: int, ids: dict[str, int], levels: list[Level], last: bool
    ) -> Level:
        """The level of `order` from 2, sorted as the `levels` below are."""
        probs, backoffs, flat, lines = array("d"), array("d"), array("i"), array("q")
        for fields in rows:
            log_prob, backoff = self._numbers(fields, order, last)
            try:
                flat.extend([ids[word] for word in fields[1 : order + 1]])
            except KeyError as error:
                self._fail(f"the word {error.args[0]} is not in \\1-grams:", error)
            probs.append(log_prob)
            backoffs.append(backoff)
            lines.append(self.number)
        words = np.array(flat, dtype=np.int32).reshape(-1, order)
        names = list(ids)

        def spelled(row: int, length: int) -> str:
            return repr(" ".join(names[word] for word in words[row, :length].tolist()))

        context = words[:, 0].astype(np.int64)
        for length in range(2, order):
            context = levels[length - 1].rows(context, words[:, length - 1])
            if len(context) and context.min() < 0:
                row = int(np.argmin(context))
                self.number = lines[row]
                begin = spelled(row, length)
                self._fail(f"its beginning, {begin}, is not in \\{length}-grams:")
        final = np.ascontiguousarray(words[:, -1])
        sorting = np.lexsort((final, context))  # what stands twice stays in the order of its lines
        context, final = context[sorting], final[sorting]
        twice = np.flatnonzero((context[1:] == context[:-1]) & (final[1:] == final[:-1])) + 1
        if len(twice):
            row = int(sorting[twice].min())
            self.number = lines[row]
            self._fail(f"{spelled(row, order)} stands in \\{order}-grams: already")
        return Level(context, final, np.array(probs)[sorting], np.array(backoffs)[sorting])
