"""Words and phrases added to a finished lang directory and G: recognised when listed."""

import hashlib
import math

import numpy as np
import pytest

from neve.cli.main import main
from neve.errors import NeveError
from neve.graphs import (
    GraphConfig,
    build_G,
    build_graph,
    extend_G,
    extend_lang,
    load_graph,
    make_G,
    read_new_words,
)
from neve.graphs.new_words import unigram_state
from neve.kernels import one_best
from neve.lang import Lang, LangConfig, SymbolTable, build_lang
from neve.lm import LmConfig, build_lm, read_arpa
from neve.text import TextConfig

TEXT = ["call him now", "call her", "see him now", "call now", "now see her", "see now"] * 2
LEXICON = {"call": "K O L", "him": "H I M", "her": "H E R", "now": "N A U", "see": "S I"}
NAMES = {"IRMA": "I R M A", "SIMON": "S A I M O N", "NORA": "N O R A", "KAI": "K A I"}
TRAP = {"HIMA": "H I M A"}  # begins as HIM does


@pytest.fixture(scope="module", params=["", "SIL"])
def task(tmp_path_factory, request):
    root = tmp_path_factory.mktemp("task")
    (root / "text_train").write_text("".join(f"u{i} {t.upper()}\n" for i, t in enumerate(TEXT)))
    (root / "lexicon.txt").write_text("".join(f"{w} {p}\n" for w, p in LEXICON.items()))
    config = LangConfig(silence=request.param, write_pt=True)
    train = [root / "text_train"]
    build_lang(config, train, root / "lexicon.txt", root / "lang", text=TextConfig())
    build_lm(LmConfig(order=3), train, root / "lang", root / "lm")
    return root


def files(directory):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in directory.iterdir()}


def extended(task, out, lines, **settings):
    """(HLG, its lang) with added words."""
    (out / "names.txt").write_text("".join(line + "\n" for line in lines))
    lang = Lang.load(task / "lang")
    new = read_new_words(out / "names.txt", lang, str.upper)
    larger = extend_lang(lang, new.lexicon, out / "lang")
    config = GraphConfig(add_words="names.txt", **settings)
    G = make_G(out / "lang", task / "lm", config, new=new, old_words=task / "lang" / "words.txt")
    return build_graph(out / "lang", None, config, G), larger


def posteriors(lang, words, spelled, noise=0.0, seed=0):
    """(1, T, C) log-probabilities of a sentence: each phone two frames, blanks between words."""
    rows = []
    for word in words:
        for phone in spelled[word].split():
            rows += [lang.tokens[phone]] * 2
        rows.append(0)
    draw = np.random.default_rng(seed)
    scores = draw.normal(0.0, 1.0, (len(rows), lang.num_tokens)) * noise
    scores[np.arange(len(rows)), rows] += 5.0
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores[None].astype(np.float32)


def recognised(graph, lang, log_probs):
    (path,) = one_best(graph, log_probs, [log_probs.shape[1]], 40.0, 0, 100000)
    return [lang.words[int(word)] for word in graph.words(path.arcs)[0]]


def test_names_are_recognised_when_listed_and_never_found_where_they_were_not_said(task, tmp_path):
    spelled = {**{w.upper(): p for w, p in LEXICON.items()}, **NAMES, **TRAP}
    graph, lang = extended(task, tmp_path, [f"{w} {p}" for w, p in {**NAMES, **TRAP}.items()])
    plain = build_graph(task / "lang", task / "lm" / "G.fst.txt")
    old = Lang.load(task / "lang")
    draw = np.random.default_rng(1)
    known = [w.upper() for w in LEXICON]
    hits = misses = false = said = 0
    for i in range(60):
        words = [str(draw.choice(known)) for _ in range(3)]
        if i % 2:
            words[int(draw.integers(3))] = str(draw.choice(list(NAMES)))
        log_probs = posteriors(lang, words, spelled, noise=1.0, seed=i)
        found = recognised(graph, lang, log_probs)
        listed = {**NAMES, **TRAP}
        said += sum(w in listed for w in words)
        hits += sum(w in listed and w in found for w in words)
        false += sum(w in listed and w not in words for w in found)
        # without the list the names cannot be found, and what was said without them is
        before = recognised(plain, old, log_probs)
        assert not set(before) & set(listed)
        misses += i % 2 == 0 and found != before
    assert said == 30
    recall, precision = hits / said, hits / max(1, hits + false)
    assert recall >= 0.95 and precision >= 0.95, (recall, precision)
    assert misses == 0


def test_ids_stay_and_the_old_directory_is_not_touched(task, tmp_path):
    before = files(task / "lang")
    _, lang = extended(task, tmp_path, ["irma I R M A", "him H E M", "see Irma"])
    assert files(task / "lang") == before
    old = Lang.load(task / "lang")
    assert lang.num_tokens == old.num_tokens and lang.silence == old.silence
    for word in old.vocabulary:
        assert lang.words[word] == old.words[word]
    for token in range(old.num_tokens):
        assert lang.tokens[token] == old.tokens[token]
    assert lang.words.symbols[-4:] == ["IRMA", "#0", "<s>", "</s>"]
    assert lang.words["IRMA"] == old.words["#0"]
    added = [lang.tokens[phone] for phone in "H E M".split()]
    assert lang.pronunciations("HIM") == [*old.pronunciations("HIM"), added]
    assert {path.name for path in (tmp_path / "lang").iterdir()} == set(before)
    with pytest.raises(NeveError, match="cannot be the old one"):
        extend_lang(old, [], task / "lang")


def sentence_score(graph, lang, words, spelled):
    log_probs = posteriors(lang, words, spelled)
    (path,) = one_best(graph, log_probs, [log_probs.shape[1]], 1e9, 0, 10**9)
    assert [lang.words[int(w)] for w in graph.words(path.arcs)[0]] == words
    labels = graph.labels[path.arcs][:-1]
    return path.score - float(log_probs[0, np.arange(len(labels)), labels].sum())


def test_probabilities_by_hand(task, tmp_path):
    """The score of a sentence with a new word, from the model's numbers."""
    model = read_arpa(task / "lm" / "lm.arpa")
    lang = Lang.load(task / "lang")
    spelled = {**{w.upper(): p for w, p in LEXICON.items()}, **NAMES}
    silence = 2 * math.log(0.5) if lang.silence else 0.0  # none before, between and after words
    ln10 = math.log(10)

    def back_off(*words):
        level = model.levels[len(words) - 1]
        return float(level.backoff[model.find([model.words.index(w) for w in words])]) * ln10

    end = model.log_prob([], "</s>") * ln10
    new = model.log_prob([], "<unk>") * ln10
    for number, setting, prob in ((0, "unk", new), (1, "0.01", math.log(0.01))):
        out = tmp_path / str(number)
        out.mkdir()
        graph, larger = extended(task, out, ["irma I R M A"], add_words_prob=setting)
        wanted = back_off("<s>") + prob + end + silence
        assert sentence_score(graph, larger, ["IRMA"], spelled) == pytest.approx(wanted, abs=2e-3)
    # as HIM: also after CALL
    out = tmp_path / "like"
    out.mkdir()
    graph, larger = extended(task, out, ["irma I R M A"], add_words_prob="HIM")
    scores = [
        sentence_score(graph, larger, ["CALL", word, "NOW"], spelled) for word in ("HIM", "IRMA")
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_phrases_and_words_without_probability(task, tmp_path):
    spelled = {**{w.upper(): p for w, p in LEXICON.items()}, **NAMES}
    lines = ["irma I R M A", "irma her her", "nora N O R A"]
    graph, lang = extended(task, tmp_path, lines, add_words_prob="0.2")
    words = ["IRMA", "HER", "HER"]
    # the phrase is as likely as a word, where three words in a row would not be
    one = sentence_score(graph, lang, ["NORA"], spelled)
    three = sentence_score(graph, lang, words, spelled)
    extra = 2 * math.log(0.5) if lang.silence else 0.0
    assert three == pytest.approx(one + extra, abs=2e-3)
    again = tmp_path / "none"
    again.mkdir()
    graph, lang = extended(task, again, ["irma I R M A"], add_words_prob="0")
    assert "IRMA" in lang.words and "IRMA" not in recognised(
        graph, lang, posteriors(lang, ["IRMA"], spelled)
    )


def test_a_class_takes_the_words(task, tmp_path):
    text = [f"v{i} CALL $NAME NOW" for i in range(3)]
    (tmp_path / "text_train").write_text("\n".join(text) + "\n")
    build_lm(LmConfig(order=2), [tmp_path / "text_train"], task / "lang", tmp_path / "lm")
    (tmp_path / "names.txt").write_text("irma I R M A\n")
    lang = Lang.load(task / "lang")
    new = read_new_words(tmp_path / "names.txt", lang, str.upper)
    larger = extend_lang(lang, new.lexicon, tmp_path / "lang")
    config = GraphConfig(add_words="names.txt", add_words_prob="$NAME")
    G = make_G(tmp_path / "lang", tmp_path / "lm", config, new=new)
    graph = build_graph(tmp_path / "lang", None, config, G)
    spelled = {**{w.upper(): p for w, p in LEXICON.items()}, **NAMES}
    words = ["CALL", "IRMA", "NOW"]
    assert recognised(graph, larger, posteriors(larger, words, spelled)) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("irma I R X", "names.txt:1: X is no phone of .*tokens.txt"),
        ("irma", "names.txt:1: IRMA has no pronunciation"),
        ("see irma", "names.txt:1: IRMA has no pronunciation"),
        ("<s> S", "names.txt:1: the name <S> is reserved|the name <s> is reserved"),
        ("$name S", r"names.txt:1: the name \$NAME is reserved"),
        ("", "names.txt: is empty"),
    ],
)
def test_bad_lists(task, tmp_path, line, words):
    (tmp_path / "names.txt").write_text(line + "\n")
    normal = lambda word: word if word.startswith("<") else word.upper()  # noqa: E731
    with pytest.raises(NeveError, match=words):
        read_new_words(tmp_path / "names.txt", Lang.load(task / "lang"), normal)


def test_bad_probabilities_and_graphs(task, tmp_path):
    for setting, words in (
        ("2", "add_words_prob is 2.0: a probability is between 0 and 1"),
        ("NOBODY", "add_words_prob is NOBODY: the language model has no such word"),
        ("#0", "the language model has no such word"),
    ):
        with pytest.raises(NeveError, match=words):
            extended(task, tmp_path, ["irma I R M A"], add_words_prob=setting)
    table = SymbolTable.read(task / "lang" / "words.txt")
    (tmp_path / "G.fst.txt").write_text("0 1 1 1 0.5\n1\n")
    with pytest.raises(NeveError, match="G is no back-off n-gram"):
        extend_G(build_G(tmp_path / "G.fst.txt"), table, [], 0.1, table.max_id + 1)
    G = build_G(task / "lm" / "G.fst.txt")
    state = unigram_state(G, table["#0"])
    labels = G.labels[G.row_splits[state] : G.row_splits[state + 1]]
    assert set(labels.tolist()) >= {table[w.upper()] for w in LEXICON}
    (tmp_path / "G.fst.txt").write_text("0 1 99 99 0.5\n1\n")
    config = GraphConfig(add_words="names.txt")
    with pytest.raises(NeveError, match="G has the word id 99, which words.txt lacks"):
        make_G(task / "lang", tmp_path, config, old_words=task / "lang" / "words.txt")


def test_pronunciations_by_a_function(task, tmp_path):
    lang = Lang.load(task / "lang")
    (tmp_path / "names.txt").write_text("irma\nkai K A I\n")
    asked = []

    def pronounce(word):
        asked.append(word)
        return [("I", "R", "M", "A"), ("E", "R", "M", "A")]

    new = read_new_words(tmp_path / "names.txt", lang, str.upper, pronounce)
    assert asked == ["IRMA"] and [e.word for e in new.lexicon] == ["KAI", "IRMA", "IRMA"]
    with pytest.raises(NeveError, match="names.txt:1: IRMA is pronounced Q, but Q is no phone"):
        read_new_words(tmp_path / "names.txt", lang, str.upper, lambda word: [("Q",)])


def test_characters(tmp_path):
    (tmp_path / "text_train").write_text("a1 SEE HIM NOW\na2 CALL HER\n")
    train = [tmp_path / "text_train"]
    config = LangConfig(kind="char", write_pt=False)
    build_lang(config, train, None, tmp_path / "lang")
    build_lm(LmConfig(order=2), train, tmp_path / "lang", tmp_path / "lm")
    lang = Lang.load(tmp_path / "lang")
    (tmp_path / "names.txt").write_text("irma\nnew see\n")
    new = read_new_words(tmp_path / "names.txt", lang, str.upper)
    assert [e.word for e in new.lexicon] == ["IRMA", "NEW"]
    larger = extend_lang(lang, new.lexicon, tmp_path / "more")
    assert larger.decode(larger.pronunciations("IRMA")[0]) == "IRMA"
    (tmp_path / "names.txt").write_text("irma\nzoe\n")
    with pytest.raises(NeveError, match="names.txt:2: ZOE has a character"):
        read_new_words(tmp_path / "names.txt", lang, str.upper)


def test_verb(task, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("irma\nsee nora\n")
    common = ["graph", "--paths.lang", str(task / "lang"), "--paths.lm", str(task / "lm")]
    common += ["--paths.graph", "graphs/g"]
    assert main(common) == 0
    # the new lang directory stands beside the old one: give that a place here
    (tmp_path / "lang").symlink_to(task / "lang")
    words = [*common, "--paths.lang", "lang", "--add-words", "names.txt"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "2 new words, 2 pronunciations or spellings" in shown and "IRMA " in shown
    assert "--paths.lang lang_names --paths.graph graphs/g_names" in shown
    lang = Lang.load("lang_names")
    graph = load_graph("graphs/g_names")
    assert lang.words["IRMA"] in graph.aux_values
    assert Lang.load("lang").words["#0"] not in load_graph("graphs/g").aux_values
    assert main(words) == 0 and "new words" not in capsys.readouterr().out  # up to date
    assert main([*words, "--graph.kind", "H"]) == 1
    assert "graph.add_words has no use in a graph.kind H" in capsys.readouterr().err
