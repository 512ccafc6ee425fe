"""The unknown word as an n-gram of phones, pieces or characters."""

import itertools
import math

import numpy as np
import pytest
import torch

from neve.decoding import DecodingConfig, Recognizer
from neve.errors import ConfigError
from neve.graphs import GraphConfig, build_graph
from neve.graphs.unknown import at_least, token_model
from neve.lang import Lang, LangConfig, build_lang
from neve.lm import LmConfig, build_lm
from neve.models import CtcModel, ModelConfig
from neve.results import Result, read_results, write_results

LEXICON = ["CAT k a t", "TACK t a k", "AT a t", "TEA t i", "EAT i t", "TEAK t i k", "KIT k i t"]
TEXT = ["AT TEA TACK", "CAT AT KIT", "EAT TEA", "KIT TACK TEA CAT", "TEAK AT"]


def made(place, kind="phone", order=2, silence="", **keys):
    """A lang directory with such an unknown word, and its n-gram G."""
    place.mkdir(exist_ok=True)
    (place / "text").write_text("".join(f"u{i} {line}\n" for i, line in enumerate(TEXT)))
    (place / "lexicon.txt").write_text("\n".join(LEXICON) + "\n")
    lexicon = place / "lexicon.txt" if kind == "phone" else None
    given = {"oov": "unk", "unk_model": "tokens", "unk_order": order, "write_pt": False, **keys}
    settings = LangConfig(kind=kind, vocab_size=16, silence=silence, **given)
    build_lang(settings, [place / "text"], lexicon, place / "lang")
    build_lm(LmConfig(order=2), [place / "text"], place / "lang", place / "lm")
    return Lang.load(place / "lang")


def graph_of(lang, **keys):
    return build_graph(lang.directory, lang.directory.parent / "lm/G.fst.txt", GraphConfig(**keys))


def decode(lang, graph, said, method="1best", others=1e-4):
    """The best hypothesis for tokens that are said surely, a frame each and a blank between."""
    frames = [index for token in said.split() for index in (lang.tokens[token], 0)]
    log_probs = np.full((1, len(frames), lang.num_tokens), math.log(others), np.float32)
    log_probs[0, np.arange(len(frames)), frames] = 0.0
    torch.manual_seed(0)
    shape = ModelConfig(encoder="tdnn", dim=8, layers=2, subsampling=3)
    config = DecodingConfig(method=method, search_beam=60.0, output_beam=20.0)
    model = CtcModel(shape, 8, lang.num_tokens).eval()
    recognizer = Recognizer(model, lang, graph, config, 0.01)
    ((best, *_),) = recognizer.search(log_probs, np.array([len(frames)]))
    return best


@pytest.mark.parametrize("method", ["graph", "1best", "nbest"])
@pytest.mark.parametrize("silence", ["", "SIL"])
def test_an_unknown_word_is_found_and_keeps_its_phones(tmp_path, method, silence):
    lang = made(tmp_path / "one", silence=silence)
    graph = graph_of(lang)
    pause = f" {silence} " if silence else " "
    best = decode(lang, graph, f"k a t{pause}i k a{pause}t i", method)  # nothing in it is words
    assert best.text == "CAT <UNK> TEA"
    assert [word.spoken for word in best.words] == [None, "i k a", None]
    assert best.words[1].start == pytest.approx((8 if silence else 6) * 0.03)
    assert decode(lang, graph, "t a k t i", method).text == "TACK TEA"  # no more than is needed
    path = tmp_path / "hyps.jsonl"
    write_results(path, [Result("u", "CAT IKA TEA", [best])])
    kept = read_results(path)[0].nbest[0]
    assert kept.text == best.text and [w.spoken for w in kept.words] == [None, "i k a", None]


def test_how_likely_unknown_words_are(tmp_path):
    lang = made(tmp_path / "one")
    few, many = (graph_of(lang, unk_score=score) for score in (0.0, 30.0))
    assert decode(lang, few, "a t i k").text == "AT <UNK>"
    assert decode(lang, many, "k a t t i").text.startswith("<UNK>")
    without = made(tmp_path / "two", unk_model="none")
    plain = graph_of(without)
    assert plain.num_states < few.num_states
    assert "<UNK>" not in decode(without, plain, "k a t i k a t i").text
    with pytest.raises(ConfigError, match=r"unk_score: in a graph .* set lang\.unk_model"):
        graph_of(without, unk_score=1.0)


@pytest.mark.parametrize(("kind", "said", "spelled"), [
    ("char", "▁ C A T ▁ I K A ▁ T E A", "IKA"), ("bpe", None, "IKA"),
])  # fmt: skip
def test_other_tokens_spell_the_unknown_word(tmp_path, kind, said, spelled):
    lang = made(tmp_path / "one", kind)
    if said is None:
        ids = [lang.encode("CAT"), lang._spell("IKA"), lang.encode("TEA")]
        said = " ".join(lang.tokens[i] for part in ids for i in part)
    best = decode(lang, graph_of(lang), said, others=1e-8)  # I and K are in no word
    assert best.text == "CAT <UNK> TEA" and best.words[1].spoken == spelled


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_automaton_has_the_probabilities_of_the_ngram(tmp_path, order):
    lang = made(tmp_path / "one", order=order)
    model = token_model(lang)
    for least in (1, 2):
        rows, count = at_least(model, least)
        after = {}
        for src, dst, label, _, score in rows:
            after.setdefault((src, label), []).append((dst, score))

        def total(tokens, state=0, after=after):
            """The probability of backing off only where a token, or the end, is lacking."""
            label = tokens[0] if tokens else -1
            if (state, label) in after:
                ((dst, score),) = after[state, label]
                return score + (total(tokens[1:], dst) if tokens else 0.0)
            if (state, 0) not in after:
                return -math.inf
            ((dst, score),) = after[state, 0]
            return score + total(tokens, dst)

        phones = sorted({index for w in lang.vocabulary for index in lang.pronunciations(w)[0]})
        assert total([]) == -math.inf
        assert (total(phones[:1]) > -math.inf) == (least == 1)
        mass = sum(
            math.exp(total(list(tokens)))
            for length in range(least, 6)
            for tokens in itertools.product(phones, repeat=length)
        )
        short = math.exp(total([phones[0]])) if least == 1 else 0.0
        assert 0.3 < mass <= 1.0 + 1e-6 and short < 0.5
        assert count <= 2 * least * (model.num_states + 1)


def test_settings_that_cannot_be_together(tmp_path, caplog):
    with pytest.raises(ConfigError, match="lang.unk_model is tokens, but lang.oov is error"):
        made(tmp_path / "one", oov="error")
    with pytest.raises(ConfigError, match="lang.unk_order=0"):
        made(tmp_path / "two", order=0)
    lang = made(tmp_path / "three")
    build_lm(
        LmConfig(order=2, vocabulary="text"),
        [lang.directory.parent / "text"],
        lang.directory,
        lang.directory.parent / "lm",
    )
    assert "<UNK>" in (lang.directory.parent / "lm/lm.arpa").read_text()
    arpa = (lang.directory.parent / "lm/lm.arpa").read_text().replace("<UNK>", "ELSE")
    (tmp_path / "else.arpa").write_text(arpa)
    build_lm(
        LmConfig(arpa=str(tmp_path / "else.arpa")), [], lang.directory, lang.directory.parent / "lm"
    )
    graph_of(lang)
    assert "<UNK> is not in the grammar" in caplog.text
