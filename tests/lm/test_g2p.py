"""Graphone alignment and the pronunciations of words that no lexicon has."""

import itertools
import math
import random

import pytest

from neve.cli.main import main
from neve.errors import NeveError
from neve.lang import LexiconEntry
from neve.lm.g2p import G2p, _name, _parse, evaluate, hold_out
from neve.lm.graphones import Graphone, align

# a language whose spelling has rules: sh and ch are one sound, x is two, e at the end is silent,
# c is soft before e and i
RULES = [("SH", "S1"), ("CH", "C1"), ("X", "K S"), ("CE", "S E"), ("CI", "S I"), ("C", "K")]
LETTERS = {mark: mark for mark in "ABDEFGIKLMNOPRSTU"}


def spoken(word):
    phones, at = [], 0
    while at < len(word):
        if word[at:] == "E" and at:
            break
        for letters, sounds in [*RULES, *LETTERS.items()]:
            if word.startswith(letters, at):
                phones += sounds.split()
                at += len(letters)
                break
    return tuple(phones)


def words(count, seed=0):
    draw = random.Random(seed)
    onsets = ["SH", "CH", "X", "C", "B", "D", "F", "G", "K", "L", "M", "N", "P", "R", "S", "T"]
    found = set()
    while len(found) < count:
        syllables = draw.randint(1, 3)
        word = "".join(
            draw.choice(onsets) + draw.choice("AEIOU") + draw.choice(["", "", "N", "R", "SH"])
            for _ in range(syllables)
        )
        found.add(word + draw.choice(["", "", "E"]))
    return sorted(found)


def entries(count, seed=0):
    return [LexiconEntry(word, spoken(word)) for word in words(count, seed)]


def all_ways(word, phones, units):
    """Every sequence of graphones that makes an entry."""
    if not word and not phones:
        yield ()
    for a, b in units:
        if a <= len(word) and b <= len(phones) and (a or b):
            first = Graphone(word[:a], tuple(phones[:b]))
            for rest in all_ways(word[a:], phones[b:], units):
                yield (first, *rest)


@pytest.mark.parametrize("units", [((1, 0), (1, 1), (1, 2), (2, 1)), ((0, 1), (1, 0), (1, 1))])
def test_expectation_maximisation_equals_the_sum_over_all_ways(units):
    lexicon = [("AB", ("a", "b")), ("ABB", ("a", "b")), ("A", ("a",)), ("XA", ("k", "s", "a"))]
    # the definition, by enumeration
    ways = [list(all_ways(*entry, units)) for entry in lexicon]
    names = {g for way in itertools.chain(*ways) for g in way}
    probs = dict.fromkeys(names, 1 / len(names))
    for _ in range(4):
        counts = dict.fromkeys(names, 0.0)
        for alternatives in ways:
            weights = [math.prod(probs[g] for g in way) for way in alternatives]
            for way, weight in zip(alternatives, weights):
                for graphone in way:
                    counts[graphone] += weight / sum(weights)
        total = sum(counts.values())
        probs = {g: count / total for g, count in counts.items()}
    for alternatives, found in zip(ways, align(lexicon, units, iterations=4)):
        best = max(math.prod(probs[g] for g in way) for way in alternatives)
        assert math.prod(probs[g] for g in found) == pytest.approx(best)


def test_alignments_spell_the_entries():
    lexicon = entries(200)
    for (word, phones), found in zip(lexicon, align(lexicon)):
        assert "".join(g.letters for g in found) == word
        assert sum((g.phones for g in found), ()) == phones
    by_word = {word: found for (word, _), found in zip(lexicon, align(lexicon))}
    pairs = {g for found in by_word.values() for g in found}
    assert Graphone("SH", ("S1",)) in pairs and Graphone("X", ("K", "S")) in pairs


def test_entries_that_cannot_be_aligned():
    found = align([("AB", ("a", "b")), ("C", ("s", "i", "i"))])
    assert found[0] is not None and found[1] is None
    with pytest.raises(NeveError, match="not one entry"):
        align([("C", ("s", "i", "i"))])
    with pytest.raises(NeveError, match="units"):
        align([("AB", ("a", "b"))], units=((3, 1),))
    with pytest.raises(NeveError, match="units"):
        align([("AB", ("a", "b"))], units=((0, 0),))


def test_rules_are_learnt_from_examples():
    known, unseen = hold_out(entries(900), 0.1)
    assert not {e.word for e in known} & {e.word for e in unseen} and len(unseen) == 90
    accuracy = evaluate(G2p.train(known, order=4), unseen)
    assert accuracy.words == 90
    assert accuracy.word_error_rate < 0.05 and accuracy.phone_error_rate < 0.02
    # a unigram of graphones cannot know that c is soft before e and i
    assert evaluate(G2p.train(known, order=1), unseen).word_error_rate > 0.1


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_search_finds_the_sum_over_all_graphone_sequences(order):
    model = G2p.train(entries(60), order=order)
    alphabet = [_parse(name) for name in model._model.words if "}" in name]
    pairs = {g for g in alphabet}

    def score(way):
        return 10 ** model._model.score([_name(g) for g in way])

    totals = {}

    def grow(word, way):
        if not word:
            phones = sum((g.phones for g in way), ())
            totals[phones] = totals.get(phones, 0.0) + score(way)
        for g in pairs:
            if g.letters and word.startswith(g.letters):
                grow(word[len(g.letters) :], (*way, g))

    grow("SHACE", ())
    totals.pop((), None)
    everything = sum(totals.values())
    found = model("SHACE", nbest=10**6, beam=10**6, width=1e9)
    assert len(found) == len(totals)
    for phones, probability in found:
        assert probability == pytest.approx(totals[phones] / everything, rel=1e-6)
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)
    assert model("SHACE")[0].phones == found[0].phones


def test_phones_without_letters():
    lexicon = [LexiconEntry(w, ("x", *w.lower())) for w in ("ABC", "BCA", "CAB", "AC", "BB", "A")]
    units = ((1, 0), (1, 1), (0, 1))
    model = G2p.train(lexicon, order=2, units=units)
    assert model("CBA")[0].phones == ("x", "c", "b", "a")


def test_every_letter_of_a_small_lexicon_can_be_read_alone():
    lexicon = {"CALL": "K O L", "HIM": "H I M", "HER": "H E R", "NOW": "N A U", "SEE": "S I"}
    model = G2p.train([LexiconEntry(w, tuple(p.split())) for w, p in lexicon.items()])
    for word, phones in lexicon.items():
        assert model(word)[0].phones == tuple(phones.split())
        assert model(word[::-1])[0].phones
    assert model("IRMA")[0].phones


def test_marks_on_letters_and_unknown_letters():
    model = G2p.train(entries(100), order=3)
    assert model("SHÀN")[0].phones == model("SHAN")[0].phones
    with pytest.raises(NeveError, match="7AB: no word of the lexicon has 7"):
        model("7AB")
    with pytest.raises(NeveError, match="empty"):
        model("")
    with pytest.raises(NeveError, match="no word to learn"):
        G2p.train([LexiconEntry("<UNK>", ("SPN",)), LexiconEntry("!SIL", ("SIL",))])


def test_a_model_in_a_file(tmp_path):
    odd = [LexiconEntry("A}B|", ("a%", "b|")), LexiconEntry("A%", ("a%", "p}"))]
    model = G2p.train([*entries(100), *odd], order=3)
    model.save(tmp_path / "g2p.arpa.gz")
    again = G2p.load(tmp_path / "g2p.arpa.gz")
    for word in ("SHAX", "A}B|", "A%"):
        ours, theirs = model(word, 5), again(word, 5)
        assert [p.phones for p in ours] == [p.phones for p in theirs]
        assert again(word)[0].probability == pytest.approx(ours[0].probability, rel=1e-4)
    assert model("A}B|")[0].phones == ("a%", "b|")
    text = "\\data\\\nngram 1=3\n\n\\1-grams:\n-1\tcat\n-1\t<s>\n-1\t</s>\n\\end\\\n"
    (tmp_path / "lm.arpa").write_text(text)
    with pytest.raises(NeveError, match="lm.arpa: cat is no graphone"):
        G2p.load(tmp_path / "lm.arpa")


def test_verb(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"{word.lower()} {' '.join(phones)}" for word, phones in entries(300)]
    (tmp_path / "lexicon.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "words.txt").write_text("shoxe\nCINA and more\n")
    assert main(["g2p", "--lexicon", "lexicon.txt", "--model", "m.arpa", "words.txt"]) == 0
    shown = capsys.readouterr().out
    assert shown == "SHOXE S1 O K S\nCINA S I N A\n"
    assert main(["g2p", "--model", "m.arpa", "words.txt"]) == 0
    assert capsys.readouterr().out == shown
    assert main(["g2p", "--model", "m.arpa", "--nbest", "3", "words.txt"]) == 0
    assert 2 < len(capsys.readouterr().out.splitlines()) <= 6
    assert main(["g2p", "--lexicon", "lexicon.txt", "--held-out", "0.1"]) == 0
    assert "30 words: " in capsys.readouterr().out
    (tmp_path / "words.txt").write_text("ok\nq7\n")
    assert main(["g2p", "--model", "m.arpa", "words.txt"]) == 1
    assert "words.txt:2: Q7: no word of the lexicon has 7, Q" in capsys.readouterr().err
    assert main(["g2p", "words.txt"]) == 1
    assert "--lexicon FILE is needed" in capsys.readouterr().err
