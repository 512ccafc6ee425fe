"""Makes the drawn texts of this directory, digits.txt and zipf.txt; they never change.

digits.txt has digit strings: a closed vocabulary, for which unigram discounts cannot be estimated.
zipf.txt is drawn from a hierarchical Pitman-Yor process over contexts of two words, so that its
counts of counts fall as those of natural text do and all discounts can be estimated.
"""

import random
from pathlib import Path

HERE = Path(__file__).parent
DIGITS = "zero one two three four five six seven eight nine oh".split()


def digits(rng: random.Random) -> str:
    return " ".join(rng.choice(DIGITS) for _ in range(rng.randint(1, 7)))


class Restaurants:
    """Word counts of each context: a word is an old one, or comes from the shorter context."""

    def __init__(self, rng: random.Random, strength=(30.0, 4.0, 2.0), discount: float = 0.75):
        self.rng, self.strength, self.discount = rng, strength, discount
        self.counts: dict[tuple, dict[int, int]] = {}

    def draw(self, context: tuple) -> int:
        counts = self.counts.setdefault(context, {})
        old = [(word, count - self.discount) for word, count in counts.items() if count > 0]
        mass = sum(weight for _, weight in old)
        if self.rng.random() * (sum(counts.values()) + self.strength[len(context)]) < mass:
            words, weights = zip(*old)
            word = self.rng.choices(words, weights)[0]
        else:
            word = self.draw(context[1:]) if context else self.rng.randrange(4000)
        counts[word] = counts.get(word, 0) + 1
        return word


def name(number: int) -> str:
    """A word that can be pronounced: 0 is ba."""
    syllables = ""
    while True:
        syllables = "bdfgklmnprstvz"[number // 5 % 14] + "aeiou"[number % 5] + syllables
        number //= 70
        if not number:
            return syllables


def main() -> None:
    rng = random.Random(7)
    lines = [digits(rng) for _ in range(300)]
    (HERE / "digits.txt").write_text("\n".join(lines) + "\n")
    rng = random.Random(3)
    restaurants = Restaurants(rng)
    lines = []
    for _ in range(500):
        context: tuple = (-1, -1)
        words = []
        for _ in range(1 + min(20, int(rng.expovariate(1 / 6)))):
            word = restaurants.draw(context)
            context = (context[1], word)
            words.append(name(word))
        lines.append(" ".join(words))
    (HERE / "zipf.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
