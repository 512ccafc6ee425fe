"""The grammar G against the model it was made of, and the language model stage."""

import itertools
import math

import pytest

from neve.errors import NeveError
from neve.lang import LangConfig, SymbolTable, build_lang
from neve.lm import LmConfig, arpa_to_fst, build_lm, estimate, read_arpa, write_arpa

TEXT = ["yes no yes", "no no", "yes", "no yes yes no maybe", "maybe no"]


class Walker:
    """Reads G as text and walks it the way a back-off model is meant: #0 only where it must."""

    def __init__(self, path, words):
        self.words = words
        self.arcs, self.final = {}, {}
        self.start = None
        for line in path.read_text().splitlines():
            fields = line.split()
            state = int(fields[0])
            self.start = state if self.start is None else self.start
            if len(fields) <= 2:
                self.final[state] = float(fields[1]) if len(fields) == 2 else 0.0
            else:
                cost = float(fields[4]) if len(fields) == 5 else 0.0
                key = (state, int(fields[2]))
                assert key not in self.arcs
                self.arcs[key] = (int(fields[1]), int(fields[3]), cost)

    def cost(self, sentence):
        state, total = self.start, 0.0
        for word in [*sentence.split(), None]:
            while True:
                if word is None and state in self.final:
                    return total + self.final[state]
                label = self.words[word] if word else None
                if label is not None and (state, label) in self.arcs:
                    state, output, cost = self.arcs[state, label]
                    assert output == label
                    total += cost
                    break
                if (state, self.words["#0"]) not in self.arcs:
                    return math.inf
                state, output, cost = self.arcs[state, self.words["#0"]]
                assert output == 0
                total += cost


@pytest.fixture
def words(tmp_path):
    table = SymbolTable(["<eps>", "maybe", "never", "no", "yes", "#0", "<s>", "</s>"])
    table.write(tmp_path / "words.txt")
    return table


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_paths_score_as_the_model(tmp_path, words, order, name):
    model = estimate(TEXT, order, ["never"], discount_fallback=(0.5, 1.0, 1.5))
    write_arpa(model, tmp_path / name)
    arpa_to_fst(tmp_path / name, tmp_path / "words.txt", tmp_path / "G.fst.txt")
    grammar = Walker(tmp_path / "G.fst.txt", words)
    vocabulary = ["maybe", "never", "no", "yes"]
    for length in range(5):
        for sentence in itertools.product(vocabulary, repeat=length):
            expected = -model.score(sentence) * math.log(10.0)
            assert grammar.cost(" ".join(sentence)) == pytest.approx(expected, abs=2e-4)


def test_only_words_of_the_table(tmp_path, words, caplog):
    model = estimate(TEXT + ["other words yes"], 3, discount_fallback=(0.5, 1.0, 1.5))
    write_arpa(model, tmp_path / "lm.arpa")
    arpa_to_fst(tmp_path / "lm.arpa", tmp_path / "words.txt", tmp_path / "G.fst.txt")
    assert "2 of 5 words are not in" in caplog.text and "other words" in caplog.text
    grammar = Walker(tmp_path / "G.fst.txt", words)
    known = {words[word] for word in ("maybe", "no", "yes", "#0")}
    assert {label for _, label in grammar.arcs} == known
    expected = -model.score("maybe yes") * math.log(10.0)
    assert grammar.cost("maybe yes") == pytest.approx(expected, abs=1e-4)
    assert grammar.cost("never") == math.inf


def test_unusable_tables(tmp_path, words):
    write_arpa(estimate(["a b"], 1, discount_fallback=(0.5, 1, 1.5)), tmp_path / "lm.arpa")
    with pytest.raises(NeveError, match="none of its words is in .*words.txt"):
        arpa_to_fst(tmp_path / "lm.arpa", tmp_path / "words.txt", tmp_path / "G.fst.txt")
    (tmp_path / "words.txt").write_text("<eps> 0\na 1\n<s> 2\n</s> 3\n")
    with pytest.raises(NeveError, match="words.txt: #0 is missing"):
        arpa_to_fst(tmp_path / "lm.arpa", tmp_path / "words.txt", tmp_path / "G.fst.txt")
    (tmp_path / "lm.arpa").write_text("\\data\\\nngram 1=1\n\\1-grams:\nx a\n\\end\\\n")
    with pytest.raises(NeveError, match="lm.arpa:4: "):
        arpa_to_fst(tmp_path / "lm.arpa", tmp_path / "words.txt", tmp_path / "G.fst.txt")
    assert not (tmp_path / "G.fst.txt").exists()


@pytest.fixture
def corpus(tmp_path):
    lines = [f"u{i} {line}" for i, line in enumerate(TEXT)]
    (tmp_path / "text_train").write_text("\n".join(lines) + "\nempty\n")
    (tmp_path / "text_dev").write_text("d1 no yes\n")
    (tmp_path / "lexicon.txt").write_text("yes Y\nno N\nmaybe M\nnovember V\n")
    return tmp_path


def stage(corpus, lang=(), **options):
    config = LangConfig(write_pt=False, **dict(lang))
    train = [corpus / "text_train"]
    build_lang(config, train, corpus / "lexicon.txt", corpus / "lang")
    dev = [corpus / "text_dev"]
    return build_lm(LmConfig(**options), train, corpus / "lang", corpus / "lm", dev=dev)


def test_stage(corpus, caplog):
    caplog.set_level("INFO")
    model = stage(corpus)
    assert model.order == 3
    again = read_arpa(corpus / "lm" / "lm.arpa")
    assert again.score("no yes") == pytest.approx(model.score("no yes"), abs=1e-5)
    assert "1 sentences, 2 words, 0 OOVs: perplexity" in caplog.text
    # a word of the lexicon that the text lacks can be recognised
    table = SymbolTable.read(corpus / "lang" / "words.txt")
    cost = Walker(corpus / "lm" / "G.fst.txt", table).cost("yes november")
    assert cost == pytest.approx(-model.score("yes november") * math.log(10), abs=1e-4)
    assert model.log_prob([], "november") == model.log_prob([], "<unk>")


def test_stage_with_the_words_of_the_text_alone(corpus):
    model = stage(corpus, vocabulary="text")
    assert "november" not in model and "maybe" in model


def test_stage_with_further_text(corpus):
    (corpus / "more.txt").write_text("november november\n\n")
    model = stage(corpus, order=2, text=[str(corpus / "more.txt")])
    assert model.log_prob([], "november") > model.log_prob([], "<unk>") + 0.1
    alone = stage(corpus, order=2, text=[str(corpus / "more.txt")], transcripts=False)
    assert alone.log_prob([], "november") > model.log_prob([], "november")


def test_stage_with_a_given_model(corpus):
    given = estimate(["yes yes no"], 2, discount_fallback=(0.5, 1.0, 1.5))
    write_arpa(given, corpus / "given.arpa.gz")
    model = stage(corpus, arpa=str(corpus / "given.arpa.gz"))
    assert model.words == given.words
    assert (corpus / "lm" / "lm.arpa").exists() and (corpus / "lm" / "G.fst.txt").exists()


def test_stage_with_unknown_words(corpus):
    with open(corpus / "text_train", "a") as stream:
        stream.write("v perhaps yes\n")
    model = stage(corpus, lang={"oov": "unk"})
    assert "<UNK>" in model and "perhaps" not in model
    table = SymbolTable.read(corpus / "lang" / "words.txt")
    assert math.isfinite(Walker(corpus / "lm" / "G.fst.txt", table).cost("<UNK> yes"))
    model = stage(corpus, lang={"oov": "drop"})
    assert "<UNK>" not in model and "perhaps" in model


def test_stage_without_text(corpus):
    with pytest.raises(NeveError, match="there is no text for the language model"):
        stage(corpus, transcripts=False)
    (corpus / "more.txt").write_text("\n")
    with pytest.raises(NeveError, match="the text for the language model is empty"):
        stage(corpus, transcripts=False, text=[str(corpus / "more.txt")])
    with pytest.raises(NeveError, match="absent.txt: there is no such text"):
        stage(corpus, text=[str(corpus / "absent.txt")])
