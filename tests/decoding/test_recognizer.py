"""Recognising with a graph small enough to check by hand, greedily, and choosing scales."""

import numpy as np
import pytest
import torch

from neve.decoding import DecodingConfig, Recognizer, Scales
from neve.decoding.scales import best_of, sweep
from neve.errors import ConfigError
from neve.graphs import GraphConfig, build_graph
from neve.lang import Lang, LangConfig, build_lang
from neve.models import CtcModel, ModelConfig

MODEL = ModelConfig(encoder="tdnn", dim=8, layers=2, subsampling=3)
LEXICON = "AB A B\nABC A B C\nC C\n"
SURE = 0.9


@pytest.fixture
def make_lang(tmp_path):
    def make(kind="phone", lexicon=LEXICON, **changes):
        (tmp_path / "text_train").write_text("u1 AB C\nu2 ABC\n")
        (tmp_path / "lexicon.txt").write_text(lexicon)
        settings = LangConfig(kind=kind, write_pt=False, **changes)
        given = tmp_path / "lexicon.txt" if kind == "phone" else None
        build_lang(settings, [tmp_path / "text_train"], given, tmp_path / "lang")
        return Lang.load(tmp_path / "lang")

    return make


def recognizer_of(lang, **changes):
    """A recognizer with random weights and, for `graph`, the graph of the lexicon alone."""
    torch.manual_seed(0)
    config = DecodingConfig(**changes)
    graph = None
    if config.method == "graph":
        graph = build_graph(lang.directory, None, GraphConfig(kind="HL"))
    model = CtcModel(MODEL, 8, lang.num_tokens).eval()
    return Recognizer(model, lang, graph, config, 0.01)


def scores_of(lang, said, sure=SURE):
    """(1, T, C) log-probabilities that favour the given tokens; "-" is blank."""
    ids = [0 if token == "-" else lang.tokens[token] for token in said]
    rows = np.full((1, len(ids), lang.num_tokens), (1 - sure) / (lang.num_tokens - 1), np.float32)
    rows[0, np.arange(len(ids)), ids] = sure
    return np.log(rows)


def test_words_times_and_confidences_from_the_graph(make_lang):
    lang = make_lang()
    scores = scores_of(lang, "-AAB--C-")
    ((found,),) = recognizer_of(lang).search(scores, np.array([8]), Scales(word_score=2.0))
    # AB C and ABC have the same tokens; a score for each word decides for two
    assert [word.text for word in found.words] == ["AB", "C"]
    times = [(word.start, word.end) for word in found.words]
    assert times == [pytest.approx((0.03, 0.12)), pytest.approx((0.18, 0.21))]
    assert [word.confidence for word in found.words] == pytest.approx([SURE, SURE])


def test_word_score_is_added_for_each_word(make_lang):
    lang = make_lang()
    recognizer = recognizer_of(lang)
    scores, lengths = scores_of(lang, "ABC"), np.array([3])
    plain = {}
    for word_score, text in ((-2.0, "ABC"), (2.0, "AB C")):
        ((found,),) = recognizer.search(scores, lengths, Scales(word_score=word_score))
        assert found.text == text
        plain[text] = found.score - word_score * len(found.words)
    ((best,),) = recognizer.search(scores, lengths)
    assert best.score == pytest.approx(max(plain.values()), abs=1e-4)


def test_acoustic_scale_multiplies_the_acoustics_but_not_the_confidence(make_lang):
    lang = make_lang()
    recognizer = recognizer_of(lang)
    scores, lengths = scores_of(lang, "ABC"), np.array([3])
    (one,), (two,) = (recognizer.search(scores, lengths, Scales(scale))[0] for scale in (1.0, 2.0))
    assert two.score - one.score == pytest.approx(3 * np.log(SURE), abs=1e-4)
    assert two.words[0].confidence == pytest.approx(SURE) == one.words[0].confidence


def test_frames_past_the_length_are_not_read(make_lang):
    lang = make_lang()
    scores = np.concatenate([scores_of(lang, "AB-C"), scores_of(lang, "C-AB")])
    recognizer = recognizer_of(lang)
    together = recognizer.search(scores, np.array([2, 4]))
    (alone,) = recognizer.search(scores[:1, :2], np.array([2]))
    assert together[0] == alone and alone[0].text == "AB"
    assert together[1][0].text == "C AB"


def test_a_path_that_cannot_end_is_given_or_left_out_as_set(make_lang):
    lang = make_lang(lexicon="AB A B\nABC A B C\nC C B\n")
    scores, lengths = scores_of(lang, "A", sure=0.999), np.array([1])  # half a word
    assert recognizer_of(lang, allow_partial=False).search(scores, lengths)[0][0].words == []
    ((partial,),) = recognizer_of(lang, allow_partial=True).search(scores, lengths)
    assert np.isfinite(partial.score)
    for word in partial.words:  # whatever is given lies within the utterance
        assert 0.0 <= word.start < word.end <= pytest.approx(0.03)


def test_silence_is_no_part_of_a_word(make_lang):
    lang = make_lang(silence="SIL")
    said = ["SIL", "A", "A", "B", "SIL", "SIL", "C", "SIL"]
    ((found,),) = recognizer_of(lang).search(scores_of(lang, said), np.array([8]))
    assert [(word.text, word.start, word.end) for word in found.words] == [
        ("AB", pytest.approx(0.03), pytest.approx(0.12)),
        ("C", pytest.approx(0.18), pytest.approx(0.21)),
    ]


def test_greedy_joins_pieces_to_words(make_lang):
    lang = make_lang("char")
    recognizer = recognizer_of(lang, method="greedy")
    ((found,),) = recognizer.search(scores_of(lang, "▁A-BB▁-C-"), np.array([9]))
    assert [(word.text, word.start, word.end) for word in found.words] == [
        ("AB", pytest.approx(0.0), pytest.approx(0.15)),
        ("C", pytest.approx(0.15), pytest.approx(0.24)),
    ]
    assert found.score == pytest.approx(9 * np.log(SURE), rel=1e-5)
    assert found.words[0].confidence == pytest.approx(SURE)


def test_greedy_gives_phones_where_tokens_are_phones(make_lang):
    lang = make_lang()
    recognizer = recognizer_of(lang, method="greedy")
    ((found,),) = recognizer.search(scores_of(lang, "-AAB-B"), np.array([6]))
    assert found.text == "A B B"
    ((silent,),) = recognizer.search(scores_of(lang, "---"), np.array([3]))
    assert silent.words == []


def test_a_graph_is_asked_for(make_lang):
    lang = make_lang()
    with pytest.raises(ConfigError, match="there is no graph; run stage 5"):
        Recognizer(CtcModel(MODEL, 8, lang.num_tokens), lang, None, DecodingConfig(), 0.01)


def test_a_frame_is_as_long_as_the_subsampling_makes_it(make_lang):
    assert recognizer_of(make_lang(), method="greedy").frame_seconds == pytest.approx(0.03)


def dev_of(lang, *rows):
    return [(scores_of(lang, said), np.array([len(said)]), [text]) for said, text in rows]


def test_scales_with_the_fewest_dev_errors_are_chosen(make_lang, caplog):
    caplog.set_level("INFO")
    lang = make_lang()
    options = {"acoustic_scales": [1.0, 0.5], "word_scores": [-2.0, 2.0]}
    recognizer = recognizer_of(lang, **options)
    two = dev_of(lang, ("ABC", "AB C"), ("AB-C", "AB C"))
    assert best_of(sweep(recognizer, two)) == Scales(1.0, 2.0)
    one = dev_of(lang, ("ABC", "ABC"))
    assert best_of(sweep(recognizer, one)) == Scales(1.0, -2.0)
    assert "acoustic scale 0.5, word score 2: 2 errors in 1 dev words" in caplog.text


def test_a_choice_needs_a_dev_set_and_no_choice_needs_none(make_lang):
    lang = make_lang()

    def chosen(**changes):
        return best_of(sweep(recognizer_of(lang, **changes), []))

    assert chosen(acoustic_scales=[0.7]) == Scales(0.7, 0.0)
    with pytest.raises(ConfigError, match="no dev set to choose on"):
        chosen(acoustic_scales=[1.0, 2.0])
    with pytest.raises(ConfigError, match=r"decoding\.word_scores must not be empty"):
        chosen(word_scores=[])
    assert chosen(method="greedy", acoustic_scales=[2.0, 3.0]) == Scales()
    with pytest.raises(ConfigError, match="blank_penalties give a choice"):
        chosen(method="greedy", blank_penalties=[0.0, 1.0])
