"""The sentences of the digits corpus: connected digit strings and dates.

Everything is drawn from generators seeded by names, so the corpus is the same on every machine.
"""

import random

DIGITS = "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE".split()
TEENS = ("TEN ELEVEN TWELVE THIRTEEN FOURTEEN FIFTEEN SIXTEEN SEVENTEEN EIGHTEEN "
         "NINETEEN").split()
TENS = "TWENTY THIRTY FORTY FIFTY SIXTY SEVENTY EIGHTY NINETY".split()
ORDINALS = ("FIRST SECOND THIRD FOURTH FIFTH SIXTH SEVENTH EIGHTH NINTH TENTH ELEVENTH TWELFTH "
            "THIRTEENTH FOURTEENTH FIFTEENTH SIXTEENTH SEVENTEENTH EIGHTEENTH NINETEENTH").split()
MONTHS = ("JANUARY FEBRUARY MARCH APRIL MAY JUNE JULY AUGUST SEPTEMBER OCTOBER NOVEMBER "
          "DECEMBER").split()
MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def digit_string(rng):
    """One to eight digits, in groups as people say them: a list of lists of words.

    The groups are set off by short pauses; 0 is ZERO or OH, one way throughout a string.
    """
    zero = rng.choice(["ZERO", "OH"])
    digits = [rng.randrange(10) for _ in range(rng.randint(1, 8))]
    words = [DIGITS[d] if d else zero for d in digits]
    size = rng.choice([2, 3, 4, 8, 8])
    return [words[i:i + size] for i in range(0, len(words), size)]


def date(rng):
    """A date, most often with a year, as a list of groups of words."""
    month = rng.randrange(12)
    day = ordinal(rng.randint(1, MONTH_DAYS[month]))
    form = rng.randrange(3)
    if form == 0:
        words = ["THE", *day, "OF", MONTHS[month]]
    elif form == 1:
        words = [MONTHS[month], *day]
    else:
        words = [MONTHS[month], "THE", *day]
    if rng.random() < 0.2:
        return [words]
    low, high = rng.choice([(0, 9), (10, 19), (20, 99), (20, 99)])  # as many teens as needed
    said = year(100 * rng.choice([18, 19, 20]) + rng.randint(low, high), rng.random() < 0.5)
    return [words, said] if rng.random() < 0.5 else [[*words, *said]]


def ordinal(n):
    """The words of the ordinal number `n`, 1 to 31."""
    if n < 20:
        return [ORDINALS[n - 1]]
    if n % 10 == 0:
        return [{20: "TWENTIETH", 30: "THIRTIETH"}[n]]
    return [TENS[n // 10 - 2], ORDINALS[n % 10 - 1]]


def year(n, with_and):
    """The words of a year from 1800 to 2099; 2000 to 2009 with AND or without."""
    if 2000 <= n < 2010:
        return ["TWO", "THOUSAND", *(["AND"] if with_and and n > 2000 else []),
                *([DIGITS[n - 2000]] if n > 2000 else [])]
    century, rest = below_hundred(n // 100), n % 100
    if rest == 0:
        return [*century, "HUNDRED"]
    return [*century, *(["OH", DIGITS[rest]] if rest < 10 else below_hundred(rest))]


def below_hundred(n):
    """The words of a number from 10 to 99."""
    if n < 20:
        return [TEENS[n - 10]]
    return [TENS[n // 10 - 2], *([DIGITS[n % 10]] if n % 10 else [])]


def sentences(count, seed, taken):
    """`count` sentences (kind, groups of words), half digit strings and half dates.

    A sentence of three words or more is in no other split: those in `taken` (a set of strings)
    are not used again, and the ones used are added to it only when all are drawn, so that a
    split may repeat its own.
    """
    rng = random.Random(f"digits:{seed}")
    drawn, used = [], set()
    while len(drawn) < count:
        kind = "date" if len(drawn) % 2 else "digits"
        groups = date(rng) if kind == "date" else digit_string(rng)
        text = " ".join(word for group in groups for word in group)
        if text in taken:
            continue
        if text.count(" ") >= 2:
            used.add(text)
        drawn.append((kind, groups))
    taken |= used
    return drawn
