"""Building lang directories of the three kinds and reading them back."""

import subprocess
import sys

import pytest

from neve.errors import NeveError
from neve.lang import Lang, LangConfig, SymbolTable, UnknownWordError, build_lang, read_transcripts
from neve.text import TextConfig

LEXICON = "yes Y EH S\nno N OW\nknow N OW\nnovember N OW V\nyes Y AE S\n"
FILES = ["L.npz", "L_disambig.npz", "coverage.txt", "lang.yaml", "lexicon.txt"]
FILES += ["lexicon_disambig.txt", "tokens.txt", "words.txt"]


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "text_train").write_text("a1 YES NO YES\na2 NO KNOW\n\na3\n")
    (tmp_path / "text_dev").write_text("b1 NO NOVEMBER\nb2 MAYBE MAYBE YES\n")
    (tmp_path / "lexicon.txt").write_text(LEXICON)
    return tmp_path


def build(corpus, lexicon="lexicon.txt", **options):
    options.setdefault("write_pt", False)
    reports = build_lang(
        LangConfig(**options),
        [corpus / "text_train"],
        corpus / lexicon if lexicon else None,
        corpus / "lang",
        dev=[corpus / "text_dev"],
        text=TextConfig(),
    )
    return Lang.load(corpus / "lang"), reports


def test_phones(corpus):
    lang, (train, dev) = build(corpus, silence="SIL")
    assert sorted(path.name for path in (corpus / "lang").iterdir()) == sorted(FILES)
    assert lang.tokens.symbols == "<eps> AE EH N OW S SIL V Y #0 #1 #2".split()
    assert lang.words.symbols == "<eps> KNOW NO NOVEMBER YES #0 <s> </s>".split()
    assert (lang.kind, lang.num_tokens, lang.silence) == ("phone", 9, "SIL")
    assert lang.encode("YES NO") == [8, 2, 5, 3, 4]
    assert lang.pronunciations("YES") == [[8, 2, 5], [8, 1, 5]]
    assert lang.decode([0, 6, 8, 2, 0, 5, 6]) == "Y EH S"
    assert lang.vocabulary == ["KNOW", "NO", "NOVEMBER", "YES"]
    disambiguated = (corpus / "lang" / "lexicon_disambig.txt").read_text().splitlines()
    assert disambiguated[:2] == ["KNOW N OW #1", "NO N OW #2"]
    assert (train.utterances, train.words, train.distinct, train.missing) == (3, 5, 3, {})
    assert dev.missing == {"MAYBE": ["b2", "b2"]} and dev.missing_utterances == ["b2"]
    report = (corpus / "lang" / "coverage.txt").read_text()
    assert "dev: 5 words (4 distinct) in 2 utterances" in report
    assert "not in the lexicon: 1 distinct, 2 occurrences (40.00 %), in 1 utterances" in report
    assert "  MAYBE 2 b2\n" in report
    with pytest.raises(UnknownWordError, match="no pronunciation for MAYBE, X"):
        lang.encode("YES MAYBE X MAYBE")


def test_pt_files_hold_the_same_graphs(corpus):
    torch = pytest.importorskip("torch")
    build(corpus, write_pt=True)
    from neve.lang import LexiconFst

    for name in ("L", "L_disambig"):
        arrays = LexiconFst.load(corpus / "lang" / f"{name}.npz")
        content = torch.load(corpus / "lang" / f"{name}.pt", weights_only=True)
        assert content["arcs"].tolist() == arrays.arcs.tolist()
        assert content["aux_labels"].tolist() == arrays.aux_labels.tolist()


def test_words_missing_from_the_lexicon_are_named_with_their_utterances(corpus):
    (corpus / "text_train").write_text("a1 YES PERHAPS\na2 PERHAPS OR\n")
    with pytest.raises(NeveError) as error:
        build(corpus)
    message = str(error.value)
    assert "train: 4 words" in message and "lang.oov" in message
    assert "\n  PERHAPS 2 a1 a2\n  OR 1 a2\n" in message
    assert not (corpus / "lang").exists()


def test_long_lists_of_missing_words_are_cut(corpus):
    lines = [f"a{i} " + " ".join(f"W{j}" for j in range(30)) for i in range(5)]
    (corpus / "text_train").write_text("\n".join(lines) + "\n")
    with pytest.raises(NeveError) as error:
        build(corpus)
    message = str(error.value)
    assert "  W0 5 a0 a1 a2 ...\n" in message and "... and 10 more words" in message


def test_unknown_words_can_have_a_word_of_their_own(corpus):
    (corpus / "text_train").write_text("a1 YES PERHAPS\n")
    lang, _ = build(corpus, oov="unk")
    spn = lang.tokens["SPN"]
    assert "<UNK>" in lang.words and not lang.is_word("<UNK>")
    assert lang.encode("NO PERHAPS") == [*lang.encode("NO"), spn]
    assert "<UNK>" not in lang.vocabulary


def test_utterances_with_unknown_words_can_be_dropped(corpus):
    (corpus / "text_train").write_text("a1 YES PERHAPS\na2 YES\n")
    lang, (train, _) = build(corpus, oov="drop")
    assert train.missing_utterances == ["a1"]
    with pytest.raises(UnknownWordError) as error:
        lang.encode("YES PERHAPS")
    assert error.value.words == ["PERHAPS"]


def test_unknown_words_can_be_pronounced_by_a_model(corpus):
    (corpus / "text_train").write_text("a1 YES PERHAPS <noise>\na2 YES\n")
    (corpus / "lexicon.txt").write_text(LEXICON + "<noise> NSN\n")
    spoken = {"PERHAPS": [("P", "AE"), ("P", "OW")]}
    options = {"oov": "g2p", "write_pt": False, "extra_words": ["yes"]}
    train, out = [corpus / "text_train"], corpus / "lang"
    (report,) = build_lang(
        LangConfig(**options),
        train,
        corpus / "lexicon.txt",
        out,
        text=TextConfig(),
        pronounce=spoken.__getitem__,
    )
    lang = Lang.load(out)
    assert report.missing == {} and len(lang.pronunciations("PERHAPS")) == 2
    assert "pronounced by the model: PERHAPS P OW\n" in (out / "coverage.txt").read_text()
    with pytest.raises(UnknownWordError):
        lang.encode("OTHER")

    def refuses(word):
        raise NeveError(f"{word}: cannot be pronounced")

    with pytest.raises(NeveError, match="PERHAPS 1 a1"):
        build_lang(LangConfig(**options), train, corpus / "lexicon.txt", out, pronounce=refuses)
    with pytest.raises(NeveError, match="lang.oov is g2p, which is for lang.kind phone"):
        build(corpus, kind="char", oov="g2p", lexicon=None)
    with pytest.raises(NeveError, match="no model of pronunciations"):
        build(corpus, oov="g2p")


def test_characters(corpus):
    lang, _ = build(corpus, kind="char", lexicon=None)
    tokens = "<blk> <sos/eos> <unk> E K N O S W Y \u2581".split()
    assert lang.tokens.symbols == [*tokens, "#0"]
    assert lang.num_tokens == len(tokens)
    assert lang.words.symbols == "<eps> KNOW NO YES #0 <s> </s>".split()
    ids = lang.encode("YES NO")
    assert [lang.tokens[i] for i in ids] == ["\u2581", "Y", "E", "S", "\u2581", "N", "O"]
    assert lang.decode(ids) == "YES NO"
    assert lang.decode(lang.encode("YON SEEN")) == "YON SEEN"  # words that it never saw
    with pytest.raises(UnknownWordError, match="MAYBE"):
        lang.encode("MAYBE")
    lang, _ = build(corpus, kind="char", lexicon=None, oov="unk")
    assert lang.decode(lang.encode("MAYBE")) == "<unk><unk>Y<unk>E"
    assert lang.pronunciations("<UNK>") == [[2]]


def test_pieces(corpus):
    lang, _ = build(corpus, kind="bpe", vocab_size=13)
    first = (corpus / "lang" / "bpe.model").read_bytes()
    assert [lang.tokens[i] for i in range(3)] == ["<blk>", "<sos/eos>", "<unk>"]
    assert lang.num_tokens == 13 and lang.tokens["#0"] == 13
    # NOVEMBER is in the lexicon, but the transcripts have no V, M, B, R
    assert lang.vocabulary == ["KNOW", "NO", "YES"]
    assert lang.decode(lang.encode("YES KNOW NO")) == "YES KNOW NO"
    for word in lang.vocabulary:
        assert lang.decode(lang.pronunciations(word)[0]) == word
    assert lang.decode(lang.encode("SEEN")) == "SEEN"
    build(corpus, kind="bpe", vocab_size=13)
    assert (corpus / "lang" / "bpe.model").read_bytes() == first


def test_too_many_or_too_few_pieces(corpus):
    with pytest.raises(NeveError, match=r"lang.vocab_size is 500, but .* set it to [0-9]+ or less"):
        build(corpus, kind="bpe", vocab_size=500)
    with pytest.raises(NeveError, match=r"lang.vocab_size is 5, but the characters"):
        build(corpus, kind="bpe", vocab_size=5)


def test_extra_words(corpus):
    lang, _ = build(corpus, kind="char", lexicon=None, extra_words=["snow"])
    assert "SNOW" in lang.vocabulary
    with pytest.raises(NeveError, match="lang.extra_words: JAZZ has a character"):
        build(corpus, kind="char", lexicon=None, extra_words=["jazz"])
    with pytest.raises(NeveError, match="lang.extra_words JAZZ have no pronunciation"):
        build(corpus, extra_words=["jazz", "yes"])


def test_lexicon_words_are_normalised(corpus):
    (corpus / "lexicon.txt").write_text(LEXICON + "Yes Y EH S\nice-cream AY S\n!SIL SIL\n")
    lang, _ = build(corpus)
    assert lang.pronunciations("YES") == [[8, 2, 5], [8, 1, 5]]
    assert "!SIL" in lang.words and "!SIL" not in lang.vocabulary
    report = (corpus / "lang" / "coverage.txt").read_text()
    assert "ice-cream is left out: normalised as the transcripts are it is 'ICE CREAM'" in report


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: (d / "text_train").write_text("a1\na2 \n"), "text_train: there is not one word"),
        (lambda d: (d / "text_train").write_text(""), "text_train: there is not one word"),
        (
            lambda d: (d / "text_train").write_text("a1 YES\na2 NO\na1 NO\n"),
            "text_train:3: utterance a1 stands in line 1 already",
        ),
        (lambda d: (d / "text_dev").unlink(), "text_dev: there is no such file of transcripts"),
        (lambda d: (d / "lexicon.txt").unlink(), "lexicon.txt: there is no such lexicon"),
        (lambda d: (d / "lexicon.txt").write_text("-- SIL\n"), "not one word is left"),
    ],
)
def test_bad_files(corpus, change, words):
    change(corpus)
    with pytest.raises(NeveError) as error:
        build(corpus)
    assert words in str(error.value)


def test_phones_need_a_lexicon(corpus):
    with pytest.raises(NeveError, match="lang.kind phone needs a lexicon"):
        build(corpus, lexicon=None)


def test_learnt_tokens_must_not_look_like_disambiguation_symbols(corpus):
    (corpus / "text_train").write_text("".join(f"a{i} x#0 y#0 #0x\n" for i in range(50)))
    with pytest.raises(NeveError, match="the token #0 clashes"):
        build(corpus, kind="bpe", lexicon=None, vocab_size=9, bpe_model="bpe")


def test_reserved_words_in_transcripts(corpus):
    (corpus / "text_train").write_text("a1 YES <s>\n")
    with pytest.raises(NeveError, match="reserved word <s>"):
        build(corpus, kind="char", lexicon=None)
    (corpus / "text_train").write_text("a1 \u2581YES\n")
    with pytest.raises(NeveError, match="marks where words begin"):
        build(corpus, kind="char", lexicon=None)


def test_a_directory_of_icefall(corpus):
    lang, _ = build(corpus, silence="SIL")
    (corpus / "lang" / "lang.yaml").unlink()
    again = Lang.load(corpus / "lang")
    assert (again.kind, again.num_tokens, again.silence) == ("phone", lang.num_tokens, "SIL")
    assert again.encode("YES NO") == lang.encode("YES NO")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tokens.txt", None, "tokens.txt: there is no such symbol table"),
        ("tokens.txt", "a 0\n#0 1\n", "id 0 is the blank"),
        ("words.txt", "<eps> 0\nYES 1\n", "lexicon.txt:1: KNOW: the word is not in words.txt"),
        ("lexicon.txt", "YES Y Q\n", "lexicon.txt:1: YES: the token Q is not in tokens.txt"),
        ("lexicon.txt", "YES Y\nNO\n", "lexicon.txt:2: NO: there are no tokens"),
        ("lang.yaml", "kind: phone\n", "lang.yaml: the key oov is missing"),
        ("lang.yaml", "- [", "lang.yaml: cannot be read"),
    ],
)
def test_damaged_directories(corpus, name, content, words):
    build(corpus)
    path = corpus / "lang" / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(NeveError) as error:
        Lang.load(corpus / "lang")
    assert words in str(error.value)


def test_disambiguation_symbols_come_last(corpus):
    build(corpus)
    path = corpus / "lang" / "tokens.txt"
    table = SymbolTable.read(path)
    symbols = table.symbols
    symbols[1], symbols[-1] = symbols[-1], symbols[1]
    SymbolTable(symbols).write(path)
    with pytest.raises(NeveError, match="must have the highest ids"):
        Lang.load(corpus / "lang")


def test_transcripts(corpus):
    assert read_transcripts(corpus / "text_train") == {
        "a1": ["YES", "NO", "YES"],
        "a2": ["NO", "KNOW"],
        "a3": [],
    }


def test_no_heavy_imports():
    code = (
        "import sys, neve.lang, neve.lm, neve.text\n"
        "from neve.lang import Lang, build_lang\n"
        "from neve.lm import build_lm, estimate\n"
        "print(sorted({'torch', 'lhotse', 'sentencepiece', 'numba', 'kaldilm'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
