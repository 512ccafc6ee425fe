"""Classes in G: hand-worked examples, and equality with what the classes stand for."""

import itertools
import math

import numpy as np
import pytest

from neve.errors import NeveError
from neve.fsa import Fsa, FsaVec, intersect, linear_fsa, remove_epsilon
from neve.graphs import GraphConfig, build_G, build_graph, make_G, read_classes
from neve.graphs.arcs import Arcs
from neve.graphs.classes import Entry, expand_classes, ordered, read_class
from neve.graphs.word_graph import arpa_classes
from neve.kernels import one_best
from neve.lang import LangConfig, LexiconEntry, SymbolTable, build_lang
from neve.lang.lexicon import add_disambiguation
from neve.lang.lexicon_fst import make_lexicon_fst
from neve.lm import LmConfig, arpa_to_fst, build_lm, estimate, write_arpa
from neve.text import TextConfig

WORDS = ["CALL", "MARY", "ANN", "SMITH", "NOW", "ONE", "TWO"]
TEXT = [
    "CALL $NAME",
    "CALL $NAME NOW",
    "CALL MARY",
    "$DIGIT $DIGIT $DIGIT",
    "NOW $DIGIT ONE $DIGIT",
    "ONE ONE TWO $NAME",
    "CALL NOW",
]
CLASSES = {
    "$NAME": [(("MARY",), 2.0), (("MARY", "ANN"), 1.0), (("$FIRST", "SMITH"), 1.0)],
    "$FIRST": [(("ANN",), 3.0), (("MARY",), 1.0)],
    "$DIGIT": [(("ONE",), 1.0), (("TWO",), 1.0), (("ONE", "ONE"), 2.0)],
}


def lists(classes=CLASSES):
    return {
        name: [Entry(words, weight, f"{name}:{i}") for i, (words, weight) in enumerate(entries)]
        for name, entries in classes.items()
    }


@pytest.fixture
def table():
    return SymbolTable(["<eps>", *sorted(WORDS), "#0", "<s>", "</s>"])


@pytest.fixture
def arpa(tmp_path):
    model = estimate(TEXT, 3, WORDS, discount_fallback=(0.5, 1.0, 1.5))
    write_arpa(model, tmp_path / "lm.arpa")
    return tmp_path / "lm.arpa"


def unexpanded(arpa, table):
    """G whose classes are words, and the ids of all classes, nested ones too."""
    wide = SymbolTable(table.symbols)
    ids = {name: wide.add(name) for name in ("$DIGIT", "$NAME")}
    wide.write(arpa.with_name("wide.txt"))
    arpa_to_fst(arpa, arpa.with_name("wide.txt"), arpa.with_name("G.fst.txt"))
    return build_G(arpa.with_name("G.fst.txt")), {**ids, "$FIRST": wide.max_id + 1}


def best(graph, labels, silent):
    """The best score of a label sequence through a graph; labels that are silent are free."""
    fsa = Fsa.from_graph(graph, acceptor=True)
    fsa.labels = fsa.labels.clone()
    fsa.labels[silent(fsa.labels)] = 0
    found = intersect(remove_epsilon(fsa), linear_fsa(list(labels)))
    if found.num_states == 0:
        return -math.inf
    return float(FsaVec([found]).get_tot_scores(use_double_scores=True, log_semiring=False)[0])


def spellings(classes, items, total=1.0):
    """(words, probability) of everything that a row of words and classes stands for."""
    if not items:
        yield (), 1.0
        return
    first, rest = items[0], items[1:]
    heads = [((first,), 1.0)]
    if first in classes:
        mass = sum(weight for _, weight in classes[first])
        heads = [
            (words, p * weight / mass)
            for entry, weight in classes[first]
            for words, p in spellings(classes, entry)
        ]
    for head, p in heads:
        for tail, q in spellings(classes, rest):
            yield head + tail, p * q


def test_scores_are_those_of_the_model_with_each_phrase_put_in(arpa, table):
    G, ids = unexpanded(arpa, table)
    expanded = expand_classes(G, table, ids, lists())
    backoff = table["#0"]
    wanted = {}
    items = [*WORDS, "$NAME", "$DIGIT"]
    all_ids = {**{word: table[word] for word in WORDS}, **ids}
    for length in (1, 2, 3):
        for row in itertools.product(items, repeat=length):
            if length == 3 and not {"$NAME", "$DIGIT"} & set(row):
                continue
            score = best(G, [all_ids[item] for item in row], lambda x: x == backoff)
            for words, p in spellings(CLASSES, row):
                total = score + math.log(p)
                wanted[words] = max(wanted.get(words, -math.inf), total)
    # of sentences of two words all rows of items that spell them are among those above
    checked = 0
    for words in itertools.product(WORDS, repeat=2):
        found = best(expanded, [table[w] for w in words], lambda x: x >= backoff)
        assert found == pytest.approx(wanted[words], abs=1e-4), words
        checked += 1
    assert checked == 49
    found = best(expanded, [table[w] for w in "CALL ANN SMITH".split()], lambda x: x >= backoff)
    assert found == pytest.approx(wanted["CALL", "ANN", "SMITH"], abs=1e-4)


def by_hand(rows, num_states):
    return Arcs.listed(num_states, rows).graph()


def test_a_hand_worked_example(table):
    # CALL $NAME with probability 0.5, CALL MARY with 0.1
    call, mary, ann = table["CALL"], table["MARY"], table["ANN"]
    name = table.max_id + 1
    rows = [
        (0, 1, call, call, 0.0),
        (1, 2, name, 0, math.log(0.5)),
        (1, 2, mary, mary, math.log(0.1)),
        (2, 3, -1, -1, 0.0),
    ]
    entries = lists({"$NAME": [(("MARY",), 3.0), (("ANN",), 1.0)]})
    graph = expand_classes(by_hand(rows, 4), table, {"$NAME": name}, entries)
    silent = lambda label: label >= table["#0"]  # noqa: E731
    assert best(graph, [call, mary], silent) == pytest.approx(math.log(0.375))
    assert best(graph, [call, ann], silent) == pytest.approx(math.log(0.125))
    assert best(graph, [call, call], silent) == -math.inf


def test_one_copy_for_each_state_that_follows():
    # many arcs of a class into one state share one copy of its list
    words = SymbolTable(["<eps>", *WORDS, *(f"N{i}" for i in range(200)), "#0", "<s>", "</s>"])
    name, now, contexts = words.max_id + 1, words["NOW"], 50
    rows = [(0, i, now, now, -float(i)) for i in range(1, contexts + 1)]
    rows += [(i, contexts + 1, name, 0, -0.5) for i in range(1, contexts + 1)]
    rows.append((contexts + 1, contexts + 2, -1, -1, 0.0))
    names = [((f"N{i}",), 1.0) for i in range(200)]
    G = by_hand(rows, contexts + 3)
    graph = expand_classes(G, words, {"$NAME": name}, lists({"$NAME": names}))
    assert graph.num_arcs < G.num_arcs + 2 * 200 + 10


def test_hlg_with_classes(tmp_path, arpa, table):
    # every word is spelled by letters, so that words begin alike and sound alike
    lang = tmp_path / "lang"
    lang.mkdir()
    entries = [LexiconEntry(word, tuple(word)) for word in sorted(WORDS)]
    entries, highest = add_disambiguation(entries)
    letters = sorted({mark for word in WORDS for mark in word})
    tokens = SymbolTable(["<eps>", *letters, *(f"#{i}" for i in range(highest + 1))])
    tokens.write(lang / "tokens.txt")
    table.write(lang / "words.txt")
    make_lexicon_fst(entries, tokens, table, disambig=True).save(lang / "L_disambig.npz")
    classes = tmp_path / "classes"
    classes.mkdir()
    for name, rows in CLASSES.items():
        lines = [f"{' '.join(words)}\t{weight}\n" for words, weight in rows]
        (classes / f"class_{name[1:].lower()}.txt").write_text("".join(lines))
    assert arpa_classes(arpa) == ["$DIGIT", "$NAME"]
    config = GraphConfig(classes=str(classes))
    G = make_G(lang, tmp_path, config)
    hlg = build_graph(lang, None, config, G)
    backoff = table["#0"]
    for text in ("CALL MARY ANN", "ONE ONE TWO", "NOW", "CALL ANN SMITH NOW", "ONE TWO ONE ONE"):
        frames = []
        for mark in text.replace(" ", ""):
            frames += [tokens[mark], 0]
        log_probs = np.full((1, len(frames), len(letters) + 1), -np.inf, np.float32)
        log_probs[0, np.arange(len(frames)), frames] = 0.0
        (path,) = one_best(hlg, log_probs, [len(frames)], 1e9, 0, 10**9)
        assert [table[int(w)] for w in hlg.words(path.arcs)[0]] == text.split()
        wanted = best(G, [table[w] for w in text.split()], lambda x: x >= backoff)
        assert path.score == pytest.approx(wanted, abs=1e-3)
    with pytest.raises(NeveError, match=r"lm.arpa: the model has the class \$DIGIT; name the dir"):
        make_G(lang, tmp_path, GraphConfig())


def test_text_with_classes_to_a_graph(tmp_path):
    """The stages: text with $NAME in it, normalised, to lm.arpa and to G with the lists."""
    lines = "u1 CALL MARY NOW\nu2 CALL ANN\n"
    (tmp_path / "text_train").write_text(lines)
    (tmp_path / "more.txt").write_text("call $NAME now!\ncall $NAME\n" * 5)
    train = [tmp_path / "text_train"]
    lang = LangConfig(kind="char", write_pt=False, oov="unk")
    build_lang(lang, train, None, tmp_path / "lang", text=TextConfig())
    config = LmConfig(order=2, text=[str(tmp_path / "more.txt")])
    model = build_lm(config, train, tmp_path / "lang", tmp_path / "lm", text=TextConfig())
    assert "$NAME" in model and arpa_classes(tmp_path / "lm" / "lm.arpa") == ["$NAME"]
    (tmp_path / "class_name.txt").write_text("mary\nann\t3\n")
    table = SymbolTable.read(tmp_path / "lang" / "words.txt")
    settings = GraphConfig(classes=str(tmp_path))
    G = make_G(tmp_path / "lang", tmp_path / "lm", settings, normal=str.upper)
    call, ann = table["CALL"], table["ANN"]
    score = best(G, [call, ann, table["NOW"]], lambda x: x >= table["#0"])
    wanted = model.score("CALL $NAME NOW") * math.log(10) + math.log(0.75)
    assert score >= wanted - 1e-4


def test_files_of_classes(tmp_path):
    path = tmp_path / "class_name.txt"
    path.write_text("mary\nann smith 2.5\nroom 5\t1\n\nzoé $OTHER\t3\n")
    found = read_class(path, str.upper)
    assert [(e.words, e.weight) for e in found] == [
        (("MARY",), 1.0),
        (("ANN", "SMITH"), 2.5),
        (("ROOM", "5"), 1.0),
        (("ZOÉ", "$OTHER"), 3.0),
    ]
    assert found[1].where == f"{path}:2"
    (tmp_path / "class_other.txt").write_text("one\n")
    assert set(read_classes(tmp_path, ["$NAME"], str.upper)) == {"$NAME", "$OTHER"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("mary\t-1\n", "class_name.txt:1: the weight '-1' is not a number above 0"),
        ("mary 0\n", "class_name.txt:1: the weight '0' is not"),
        ("a\nmary\tmuch\n", "class_name.txt:2: the weight 'much'"),
        ("\n", "class_name.txt: is empty"),
        ("mary\n$ACCOUNT x\n", r"class_account.txt: there is no such list, but .*name.txt:2 has"),
        ("mary\n$NAME x\n", r"class_name.txt:2: a class must not contain itself: \$NAME -> \$NAME"),
    ],
)
def test_bad_files_of_classes(tmp_path, content, words):
    (tmp_path / "class_name.txt").write_text(content)
    with pytest.raises(NeveError, match=words):
        read_classes(tmp_path, ["$NAME"])


def test_missing_files_cycles_and_unknown_words(tmp_path, table):
    with pytest.raises(NeveError, match=r"class_digit.txt: .* the language model has .*\$DIGIT"):
        read_classes(tmp_path, ["$DIGIT"])
    (tmp_path / "class_a.txt").write_text("x\ny $B\n")
    (tmp_path / "class_b.txt").write_text("$C z\n")
    (tmp_path / "class_c.txt").write_text("q\n$A\n")
    with pytest.raises(NeveError, match=r"\$A -> \$B -> \$C -> \$A"):
        read_classes(tmp_path, ["$A"])
    assert ordered(lists()) == ["$DIGIT", "$FIRST", "$NAME"]
    wrong = lists({"$NAME": [(("MARY",), 1.0), (("ZOE", "#0"), 1.0)]})
    G = by_hand([(0, 1, table.max_id + 1, 0, 0.0), (1, 2, -1, -1, 0.0)], 3)
    with pytest.raises(NeveError, match=r"(?s)\$NAME:1: ZOE\n\$NAME:1: #0\nadd them"):
        expand_classes(G, table, {"$NAME": table.max_id + 1}, wrong)
