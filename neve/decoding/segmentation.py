"""Pieces of a long recording whose speech agrees with its text.

The words that were heard are matched with the text's (edit distance between anchors, runs of words
that both have once), and cuts are made at pauses so that as many matched words as possible are in
pieces that agree with the text.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import kaldialign

from neve.errors import ConfigError
from neve.results import Word

CELLS = 1_000_000  # of an edit distance that is computed at once
SLIDE = 50  # words by which what only one side has is moved at most
NONE = "\0"  # kaldialign's name for no word


@dataclass
class SegmentConfig:
    """shortest, longest: seconds of a piece; pause: seconds without a word where a cut may be;
    pad: seconds kept around the words; agreement: 1 - errors / words of the text that a piece has
    at least."""

    shortest: float = 2.0
    longest: float = 20.0
    pause: float = 0.2
    pad: float = 0.3
    agreement: float = 1.0

    def __post_init__(self):
        if not 0 <= self.shortest < self.longest:
            raise ConfigError(f"pieces of {self.shortest} to {self.longest} s: there can be none")
        if not 0 < self.agreement <= 1:
            raise ConfigError(f"an agreement of {self.agreement} is not above 0 and at most 1")
        if self.pause < 0 or self.pad < 0:
            raise ConfigError("pauses and the time around words cannot be negative")


@dataclass
class Segment:
    """Seconds start..end of a recording, the words of the text, the share of them that was heard
    as it stands there."""

    start: float
    end: float
    words: list[str]
    agreement: float


@dataclass
class LeftOut:
    """A part that is in no segment: time (None where nothing was heard), text, what was heard."""

    start: float | None
    end: float | None
    text: list[str]
    heard: list[str]
    reason: str


@dataclass
class Segmentation:
    segments: list[Segment] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


Match = tuple[int | None, int | None]


def match_words(text: Sequence[str], heard: Sequence[str]) -> list[Match]:
    """Pairs (place in text or None, place in heard or None), both rising: the fewest errors.

    Long inputs are first parted at anchors, runs of 4 (then 2, then 1) words that both have exactly
    once; what is still too long between two of them stays unmatched.
    """
    return list(_match(text, heard, 0, len(text), 0, len(heard), (4, 2, 1)))


def _match(text, heard, a: int, b: int, c: int, d: int, sizes) -> Iterator[Match]:
    if (b - a) * (d - c) <= CELLS:
        i, j = a, c
        for left, right in kaldialign.align(list(text[a:b]), list(heard[c:d]), NONE):
            yield (None if left == NONE else i, None if right == NONE else j)
            i, j = i + (left != NONE), j + (right != NONE)
        return
    if not sizes:
        yield from ((i, None) for i in range(a, b))
        yield from ((None, j) for j in range(c, d))
        return
    for i, j in _anchors(text, heard, a, b, c, d, sizes[0]):
        yield from _match(text, heard, a, i, c, j, sizes[1:])
        yield i, j
        a, c = i + 1, j + 1
    yield from _match(text, heard, a, b, c, d, sizes[1:])


def _anchors(text, heard, a: int, b: int, c: int, d: int, size: int) -> list[tuple[int, int]]:
    """The longest rising row of places whose next `size` words both have exactly once."""

    def once(words, begin, end):
        places: dict[tuple, int] = {}
        for place in range(begin, end - size + 1):
            key = tuple(words[place : place + size])
            places[key] = -1 if key in places else place
        return places

    there = once(heard, c, d)
    pairs = [
        (i, there[key]) for key, i in once(text, a, b).items() if i >= 0 and there.get(key, -1) >= 0
    ]
    pairs.sort()
    lasts: list[int] = []  # of the rows of each length, the smallest last place in heard
    ends: list[int] = []
    back = [-1] * len(pairs)
    for number, (_, j) in enumerate(pairs):
        length = bisect.bisect_left(lasts, j)
        back[number] = ends[length - 1] if length else -1
        lasts[length : length + 1] = [j]
        ends[length : length + 1] = [number]
    row, number = [], ends[-1] if ends else -1
    while number >= 0:
        row.append(pairs[number])
        number = back[number]
    return row[::-1]


def settled(matches: Sequence[Match], text: Sequence[str], heard: Sequence[Word]) -> list[Match]:
    """Equally good matches, in which words that only one side has are, if possible, at pauses.

    In `A B A B C` heard and `A B C` in the text either pair may be the one that is too many, or a
    part of each; where a pause is says which.
    """
    result = list(matches)
    spoken = [word.text for word in heard]

    def pause(j: int) -> float:
        """Seconds between the words j - 1 and j, 1 at most, as at the ends of the recording."""
        if not 0 < j < len(heard):
            return 1.0
        return min(1.0, heard[j].start - heard[j - 1].end)

    def same(k: int) -> bool:
        if not 0 <= k < len(result) or None in result[k]:
            return False
        return text[result[k][0]] == spoken[result[k][1]]

    p = 0
    while p < len(result):
        if None not in result[p]:
            p += 1
            continue
        side = 1 if result[p][0] is None else 0  # the one that has the words: 1 is heard
        q = p + 1
        while q < len(result) and result[q][1 - side] is None:
            q += 1
        words = spoken if side else text
        begin, end = result[p][side], result[p][side] + q - p
        last = max((j for _, j in result[max(0, p - 1) : p] if j is not None), default=None)
        shifts = {0: pause(begin) + pause(end) if side else pause(0 if last is None else last + 1)}
        for step in range(1, SLIDE):
            if not (same(p - step) and words[begin - step] == words[end - step]):
                break
            there = result[p - step][1]
            shifts[-step] = pause(begin - step) + pause(end - step) if side else pause(there)
        for step in range(1, SLIDE):
            if not (same(q + step - 1) and words[begin + step - 1] == words[end + step - 1]):
                break
            there = result[q + step - 1][1]
            shifts[step] = pause(begin + step) + pause(end + step) if side else pause(there + 1)
        shift = max(shifts, key=lambda step: (shifts[step], -abs(step)))
        first, past = min(p, p + shift), max(q, q + shift)
        texts = [i for i, _ in result[first:past] if i is not None]
        said = [j for _, j in result[first:past] if j is not None]
        alone = [(None, j) for j in range(begin + shift, end + shift)]
        if not side:
            alone = [(i, None) for i in range(begin + shift, end + shift)]
        texts = [i for i in texts if side or not begin + shift <= i < end + shift]
        said = [j for j in said if not side or not begin + shift <= j < end + shift]
        pairs = list(zip(texts, said, strict=True))
        result[first:past] = alone + pairs if shift < 0 else pairs + alone
        p = max(q, q + shift)
    return result


def segment(
    text: Sequence[str],
    heard: Sequence[Word],
    duration: float,
    config: SegmentConfig,
    unspellable: Collection[str] = (),
) -> Segmentation:
    """Cut a recording of `duration` seconds where `heard` was heard and `text` should be.

    A piece begins and ends with words that are matched, at pauses, and the errors in it (other
    words, words that only one side has) are few enough. Of all ways to cut, one with the most
    matched words less half a word for each piece is taken. No piece has words of `unspellable`.
    """
    matches = settled(match_words(text, [word.text for word in heard]), text, heard)
    place = [0] * len(heard)  # of each word that was heard, its match
    right, wrong, texts = [0], [0], [0]
    for number, (i, j) in enumerate(matches):
        if j is not None:
            place[j] = number
        same = i is not None and j is not None and text[i] == heard[j].text
        right.append(right[-1] + same)
        never = i is not None and text[i] in unspellable
        wrong.append(wrong[-1] + (len(matches) + 1 if never else int(not same)))
        texts.append(texts[-1] + (i is not None))
    cuts = [0]
    for j in range(1, len(heard)):
        if heard[j].start - heard[j - 1].end >= config.pause:
            cuts.append(j)
    if heard:
        cuts.append(len(heard))

    def span(a: int, b: int) -> tuple[float, float]:
        """Seconds of the words a..b-1 with what is around them."""
        before = heard[a - 1].end if a else -heard[a].start
        after = heard[b].start if b < len(heard) else 2 * duration - heard[b - 1].end
        start = max(heard[a].start - config.pad, (before + heard[a].start) / 2, 0.0)
        return start, min(heard[b - 1].end + config.pad, (after + heard[b - 1].end) / 2, duration)

    best, choice = [0.0] * len(cuts), [-1] * len(cuts)
    for y in range(1, len(cuts)):
        best[y] = best[y - 1]
        for x in range(y - 1, -1, -1):
            start, end = span(cuts[x], cuts[y])
            if end - start > config.longest:
                break
            first, last = place[cuts[x]], place[cuts[y] - 1] + 1
            edges = right[first + 1] - right[first] and right[last] - right[last - 1]
            if end - start < config.shortest or not edges:
                continue
            errors = wrong[last] - wrong[first]
            if errors > (1.0 - config.agreement) * (texts[last] - texts[first]) + 1e-9:
                continue
            value = best[x] + right[last] - right[first] - 0.5
            if value > best[y]:
                best[y], choice[y] = value, x
    chosen, y = [], len(cuts) - 1
    while y > 0:
        x = choice[y]
        if x >= 0:
            chosen.append((cuts[x], cuts[y]))
        y = x if x >= 0 else y - 1
    result, done = Segmentation(), 0
    for a, b in reversed(chosen):
        first, last = place[a], place[b - 1] + 1
        result.left_out += _left_out(text, heard, matches[done:first], unspellable)
        words = [text[i] for i, _ in matches[first:last] if i is not None]
        errors = wrong[last] - wrong[first]
        result.segments.append(Segment(*span(a, b), words, 1.0 - errors / len(words)))
        done = last
    result.left_out += _left_out(text, heard, matches[done:], unspellable)
    return result


def _left_out(text, heard, matches: Sequence[Match], unspellable) -> list[LeftOut]:
    """What these matches, which are in no piece, have in common."""
    if not matches:
        return []
    missing = [text[i] for i, _ in matches if i is not None]
    said = [heard[j] for _, j in matches if j is not None]
    strange = [word for word in missing if word in unspellable]
    if strange:
        reason = f"no pronunciation for {strange[0]}"
    elif not said:
        reason = "the text's words were not heard"
    elif not missing:
        reason = "speech that the text does not have"
    elif missing == [word.text for word in said]:
        reason = "agrees, but no pauses make a piece of it that is long or short enough"
    else:
        reason = "text and speech differ"
    start, end = (said[0].start, said[-1].end) if said else (None, None)
    return [LeftOut(start, end, missing, [word.text for word in said], reason)]
