"""What is written: the dictionary and general text; the bank's text, words, classes and terms.

| file | what |
|---|---|
| lexicon.txt | the general dictionary |
| general.txt | general sentences |
| calls.txt | the bank's sentences, with the classes $NAME and $ACCOUNT |
| sentences.txt | the same kind with names and accounts in them |
| classes/ | the lists of the classes: all customers and accounts |
| words.txt | the bank's words that the dictionary lacks; acronyms have a pronunciation |
| terms.txt | the terms and accounts whose recall is counted |
"""

import functools
import random

import bank
import dictionary
import general
from synth.pronounce import pronounce


def said(text):
    """The words of a text without its pauses."""
    return " ".join(text.replace(",", " ").split())


def write_texts(out, counts, taken):
    """Write all files; no sentence of `taken` is in them.

    Args:
        out: the directory.
        counts: sentences of general text, and of each kind of the bank's.
        taken: sentences that are said in the corpora.
    """
    lexicon = dictionary.entries()
    known = {word for word, _ in lexicon}
    write(out / "lexicon.txt", (f"{word} {' '.join(phones)}" for word, phones in lexicon))
    general_count, bank_count = counts
    rng = random.Random("banking:text")
    everyday = functools.partial(general.sentence, rng)
    write(out / "general.txt", untaken(general_count, taken, everyday))
    for name, named in (("calls.txt", False), ("sentences.txt", True)):
        lists = bank.choices("train", names=named)
        call = functools.partial(bank.call, rng, lists, bank.TEMPLATES)
        write(out / name, untaken(bank_count, taken, call))
    words = [word for word in bank.vocabulary() if word not in known]
    sounds = dict(pronounce([bank.SPOKEN[word] for word in words if word in bank.SPOKEN]))
    lines = (" ".join([word, *sounds.get(bank.SPOKEN.get(word), ())]) for word in words)
    write(out / "words.txt", lines)
    classes = bank.classes()
    (out / "classes").mkdir(exist_ok=True)
    for name, phrases in classes.items():
        write(out / "classes" / f"class_{name}.txt", phrases)
    write(out / "terms.txt", dict.fromkeys([*bank.terms(), *classes["account"]]))


def untaken(count, taken, draw):
    """`count` texts that `draw()` gives, without pauses, none of them in `taken`."""
    texts = []
    while len(texts) < count:
        text = said(draw())
        if text not in taken:
            texts.append(text)
    return texts


def write(path, lines):
    """A file of these lines."""
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
