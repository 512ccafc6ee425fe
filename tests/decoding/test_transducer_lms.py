"""Language models beside a transducer: worked by hand, against all paths, batches, sweeps."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from kaldialign import edit_distance
from table_transducer import SHAPE, Table
from tiny_lms import neural_lm, unigram_arpa

from neve.decoding import DecodingConfig, Recognizer, Scales
from neve.decoding.config import FUSION_METHODS, LIST_RESCORING_METHODS
from neve.decoding.neural_lm import NeuralLm
from neve.decoding.scales import sweep
from neve.decoding.token_ngram import TokenNgram
from neve.decoding.transducer import beam_search, fusion, greedy_search, modified_beam_search
from neve.decoding.transducer.fusion import Fusion, InternalFusion, NgramFusion, Sum
from neve.decoding.word_lm import SentenceLm
from neve.errors import ConfigError
from neve.lang import Lang, LangConfig, build_lang
from neve.lm import estimate, write_arpa
from neve.models import TransducerModel
from neve.models.lm import LanguageModel

MODIFIED = ("greedy", "modified-beam", "modified-beam-rescoring")  # a token takes a frame
SEARCHES = (greedy_search, modified_beam_search, beam_search)
TEXT = ["▁ A B ▁ C", "▁ A B C", "▁ C A A"]


@pytest.fixture
def lang(tmp_path):
    """Characters: 7 tokens, of which 4 are said."""
    (tmp_path / "text_train").write_text("u1 AB C\nu2 ABC\n")
    build_lang(
        LangConfig(kind="char", write_pt=False), [tmp_path / "text_train"], None, tmp_path / "char"
    )
    return Lang.load(tmp_path / "char")


def transducer(lang, rows=None):
    """A transducer whose search sees a table alone, of zeros if no rows are given."""
    model = TransducerModel(SHAPE, 8, lang.num_tokens)
    table = Table(np.zeros((lang.num_tokens,) * 2) if rows is None else rows)
    model.predictor = model.joiner = table
    return model.eval()


def frames(lang, *probabilities):
    """(1, T, V) logits of frames of {token: probability}; '-' is blank."""
    logits = torch.full((1, len(probabilities), lang.num_tokens), -30.0)
    for frame, said in enumerate(probabilities):
        for name, value in said.items():
            logits[0, frame, 0 if name == "-" else lang.tokens[name]] = math.log(value)
    return logits


def best(lang, method, outputs, scales, model=None, **changes):
    """{text: score} of the list, the best first."""
    config = DecodingConfig(method=method, nbest=9, length_norm=False, **changes)
    found = Recognizer(model or transducer(lang), lang, None, config, 0.01)
    (row,) = found.search(outputs, np.array([outputs.shape[1]]), scales)
    return {hypothesis.text: hypothesis.score for hypothesis in row}


# -- worked by hand --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [*FUSION_METHODS, *LIST_RESCORING_METHODS])
def test_a_neural_lm_makes_another_winner_and_lodr_takes_it_back(lang, tmp_path, method):
    # A is heard with 0.6, B with 0.4; the neural LM says B e^3 times as often as any other token
    outputs = frames(lang, {"A": 0.6, "B": 0.4})
    rows = np.zeros((lang.num_tokens,) * 2)
    rows[1:, 0] = 60.0  # after a token nothing but blank
    model = transducer(lang, rows)
    neural = str(neural_lm(lang, tmp_path / "neural", bias={"B": 3.0}))
    most = lang.num_tokens - 1 + math.exp(3.0)
    ended = 2.0 if "rescoring" in method else 1.0  # of a whole hypothesis there is its end too
    plain = {"A": math.log(0.6), "B": math.log(0.4)}

    def lm(text):
        return 3.0 * (text == "B") - ended * math.log(most)

    given = {"model": model, "neural_lm": neural}
    found = best(lang, method, outputs, Scales(lm_scale=0.5), **given)
    wanted = {text: plain[text] + 0.5 * lm(text) for text in "BA"}
    assert next(iter(found)) == "B"
    for text in found:
        if text in wanted:  # greedy has one, and others are all but impossible
            assert found[text] == pytest.approx(wanted[text], abs=1e-3)
    assert next(iter(best(lang, method, outputs, Scales(lm_scale=0.0), **given))) == "A"
    # of the transducer's training text the n-gram says that B is likely, too: off with that
    source = {"▁": 0.1, "A": 0.05, "B": 0.7, "C": 0.1, "</s>": 0.05}
    given["token_lm"] = str(unigram_arpa(tmp_path / "lm.arpa", source))
    found = best(lang, method, outputs, Scales(lm_scale=0.5, lodr_scale=-0.5), **given)
    assert next(iter(found)) == "A"
    end = math.log(0.05) if "rescoring" in method else 0.0
    for text in found:
        if text in wanted:
            off = -0.5 * (math.log(source[text]) + end)
            assert found[text] == pytest.approx(wanted[text] + off, abs=1e-3)


@pytest.mark.parametrize("method", MODIFIED)
def test_an_ngram_alone_has_the_scale_of_the_lm(lang, tmp_path, method):
    write_arpa(
        estimate([*["▁ A B"] * 9, "▁ A C"], 3, discount_fallback=(0.5, 1.0, 1.5)),
        tmp_path / "lm.arpa",
    )
    outputs = frames(lang, {"▁": 1.0}, {"A": 1.0}, {"B": 0.3, "C": 0.7})
    given = {"token_lm": str(tmp_path / "lm.arpa")}
    assert next(iter(best(lang, method, outputs, Scales(lm_scale=0.1), **given))) == "AC"
    found = best(lang, method, outputs, Scales(lm_scale=1.0, lodr_scale=5.0), **given)
    assert next(iter(found)) == "AB"
    ngram = TokenNgram.read(tmp_path / "lm.arpa", lang)
    said = [lang.tokens[name] for name in "▁AB"]
    wanted = math.log(0.3) + ngram.score(said, ended="rescoring" in method)
    assert found["AB"] == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("method", MODIFIED[:2])
def test_what_the_transducer_says_unheard_is_taken_off(lang, tmp_path, method):
    # after A it says B e^2 times as often as C, of its own; C is heard a little better
    rows = np.zeros((lang.num_tokens,) * 2)
    rows[lang.tokens["A"], lang.tokens["B"]] = 2.0
    model = transducer(lang, rows)
    outputs = frames(lang, {"A": 1.0}, {"B": 0.4, "C": 0.6})
    even = dict.fromkeys(("▁", "A", "B", "C", "</s>"), 0.2)
    given = {"token_lm": str(unigram_arpa(tmp_path / "lm.arpa", even)), "model": model}
    for scale, winner in ((0.0, "AB"), (-0.5, "AB"), (-1.0, "AC")):
        found = best(lang, method, outputs, Scales(lm_scale=0.5, ilm_scale=scale), **given)
        assert next(iter(found)) == winner
    heard = math.log(0.6 / (0.6 + 0.4 * math.exp(2.0)))
    # 6 tokens without blank: unheard all are as likely first, then B is e^2 as likely as any
    unheard = -math.log(6.0) - math.log(5.0 + math.exp(2.0))
    assert found["AC"] == pytest.approx(heard + 2 * 0.5 * math.log(0.2) - unheard, abs=1e-3)


def test_a_list_may_be_rescored_by_a_model_of_words(lang, tmp_path):
    method = "modified-beam-rescoring"
    outputs = frames(lang, {"▁": 1.0}, {"A": 1.0}, {"B": 0.4, "-": 0.6}, {"▁": 1.0}, {"C": 1.0})
    neural = str(neural_lm(lang, tmp_path / "neural", "words", {"AB": 4.0}))
    plain = best(lang, method, outputs, Scales(lm_scale=0.0), neural_lm=neural)
    assert list(plain)[:2] == ["A C", "AB C"]
    found = best(lang, method, outputs, Scales(lm_scale=1.0), neural_lm=neural)
    assert next(iter(found)) == "AB C"
    words = NeuralLm(neural).units
    wanted = 4.0 - 3 * math.log(words.size - 1 + math.exp(4.0))  # two words and the end
    assert found["AB C"] - plain["AB C"] == pytest.approx(wanted, abs=1e-3)
    with pytest.raises(ConfigError, match="is not over the tokens of"):
        best(lang, "modified-beam", outputs, Scales(), neural_lm=neural)


WORDS = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-99 <s> -0.5
-0.6 </s>
-0.9 B -0.4
-0.5 A -0.1
-1.5 <unk>

\\2-grams:
-0.2 <s> B
-0.3 B </s>

\\end\\
"""


@pytest.mark.parametrize("method", LIST_RESCORING_METHODS)
def test_a_list_is_rescored_by_an_ngram_of_words(lang, tmp_path, method):
    outputs = frames(lang, {"A": 0.7, "B": 0.3})
    rows = np.zeros((lang.num_tokens,) * 2)
    rows[1:, 0] = 60.0  # after a token nothing but blank
    (tmp_path / "lm.arpa").write_text(WORDS)
    given = {"rescore_lm": str(tmp_path / "lm.arpa"), "model": transducer(lang, rows)}
    plain = best(lang, method, outputs, Scales(lm_scale=0.0), **given)
    assert list(plain)[:2] == ["A", "B"]
    # <s> B -0.2, B </s> -0.3; A after <s> backs off, -0.5 - 0.5, and so does its end, -0.1 - 0.6
    for scale, winner in ((0.1, "A"), (0.5, "B")):
        found = best(lang, method, outputs, Scales(lm_scale=scale), **given)
        assert next(iter(found)) == winner
        for text, log10 in (("B", -0.5), ("A", -1.7)):
            added = found[text] - plain[text]
            assert added == pytest.approx(scale * log10 * math.log(10), abs=1e-4)
    # beside it an n-gram of the tokens of the training text, taken off
    even = dict.fromkeys(("▁", "A", "B", "C", "</s>"), 0.2)
    given["token_lm"] = str(unigram_arpa(tmp_path / "tokens.arpa", even))
    both = best(lang, method, outputs, Scales(lm_scale=0.5, lodr_scale=-0.3), **given)
    assert both["B"] - found["B"] == pytest.approx(-0.3 * 2 * math.log(0.2), abs=1e-4)


def test_an_ngram_of_words_has_its_own_words_or_those_of_its_G(lang, tmp_path):
    (tmp_path / "lm.arpa").write_text(WORDS)
    lm = SentenceLm(tmp_path / "lm.arpa", lang)
    # a word that it lacks is its <unk>, which no longer n-gram has; behind it B and the end
    said = [[], ["A", "A"], ["XY", "B"], ["B"]]
    wanted = [-0.5 - 0.6, -1.0 - 0.1 - 0.5 - 0.1 - 0.6, -0.5 - 1.5 - 0.9 - 0.3, -0.5]
    assert lm.score(said) == pytest.approx([log10 * math.log(10) for log10 in wanted], abs=1e-6)
    assert lm.score([]) == []
    without = WORDS.replace("-1.5 <unk>\n", "").replace("1=5", "1=4")
    (tmp_path / "lm.arpa").write_text(without)
    (score,) = SentenceLm(tmp_path / "lm.arpa", lang).score([["B", "XY"]])
    assert score == pytest.approx((-0.2 - 99 - 0.6) * math.log(10), abs=1e-4)
    a, c = lang.words["AB"], lang.words["C"]
    (tmp_path / "G.fst.txt").write_text(f"0 1 {a} {a} 0.5\n0 2.0\n1 0 {c} {c} 0.25\n1 1.0\n")
    of_G = SentenceLm(tmp_path / "G.fst.txt", lang)
    assert of_G.score([["AB"], ["AB", "C"], []]) == pytest.approx([-1.5, -2.75, -2.0])
    assert of_G.score([["XY"]])[0] < -99  # and G has no unknown word


def test_length_norm_holds_for_a_list_that_is_rescored(lang, tmp_path):
    outputs = frames(lang, {"▁": 1.0}, {"A": 0.4, "-": 0.6})
    neural = str(neural_lm(lang, tmp_path / "neural"))
    results = {}
    for on in (False, True):
        config = DecodingConfig(
            method="modified-beam-rescoring", nbest=2, length_norm=on, neural_lm=neural
        )
        found = Recognizer(transducer(lang), lang, None, config, 0.01)
        (row,) = found.search(outputs, np.array([2]), Scales(lm_scale=0.1))
        results[on] = [(hypothesis.text, hypothesis.score) for hypothesis in row]
    assert dict(results[True]) == pytest.approx(dict(results[False]))
    scores, counts = dict(results[True]), {"A": 3, "": 2}
    assert [text for text, _ in results[False]] == sorted(scores, key=lambda text: -scores[text])
    ranks = {text: score / counts[text] for text, score in scores.items()}
    assert [text for text, _ in results[True]] == sorted(ranks, key=lambda text: -ranks[text])


# -- against all paths -----------------------------------------------------------------------------


def everything(lang, tmp_path, model, kind="lstm"):
    """All three parts together, and what they say of a sequence, by other means."""
    directory = tmp_path / kind
    neural = NeuralLm(directory if directory.exists() else neural_lm(lang, directory, kind=kind))
    arpa = estimate(TEXT, 3, discount_fallback=(0.5, 1.0, 1.5))
    parts = [
        Fusion(neural.model, 0.4, lang.num_tokens),
        NgramFusion(TokenNgram(arpa, lang), -0.3),
        InternalFusion(model, -0.2),
    ]

    def unheard(before, token):
        return float(torch.log_softmax(model.joiner.rows[before, 1:].detach(), 0)[token - 1])

    def said(sequences):
        totals = (0.4 * neural.model.score(sequences, ended=False)).tolist()
        for number, tokens in enumerate(sequences):
            names = ["<s>", *(lang.tokens[token] for token in tokens)]
            for place, (before, token) in enumerate(zip((0, *tokens), tokens), start=1):
                # special tokens are the unknown word
                said = arpa.log_prob(names[:place], names[place]) * math.log(10.0)
                totals[number] += -0.3 * said - 0.2 * unheard(before, token)
        return totals

    return Sum(parts), said


def random_model(lang):
    generator = np.random.default_rng(3)
    model = transducer(lang, generator.normal(size=(lang.num_tokens,) * 2))
    outputs = torch.from_numpy(generator.normal(size=(3, 8, lang.num_tokens)) * 2).float()
    return model, outputs


def all_paths(model, frames, most):
    """{tokens: log of the summed probability of its paths}; most 0: a token takes a frame."""
    totals = {}

    def walk(frame, said, tokens, score):
        if frame == len(frames):
            totals[tokens] = np.logaddexp(totals.get(tokens, -np.inf), score)
            return
        logits = frames[frame] + model.joiner.rows[tokens[-1] if tokens else 0]
        scores = torch.log_softmax(logits, 0).tolist()
        walk(frame + 1, 0, tokens, score + scores[0])
        if said < (most or 1):
            for token in range(1, len(scores)):
                now = (frame, said + 1) if most else (frame + 1, 0)
                walk(*now, (*tokens, token), score + scores[token])

    with torch.no_grad():
        walk(0, 0, (), 0.0)
    return totals


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
@pytest.mark.parametrize("search", [modified_beam_search, beam_search])
def test_a_wide_beam_has_all_paths_and_what_the_models_say(lang, tmp_path, search, kind):
    model, outputs = random_model(lang)
    added, said = everything(lang, tmp_path, model, kind)
    options = {"beam": 3000, "length_norm": False, "fusion": added}
    most = 2 if search is beam_search else 0
    if most:
        options["max_symbols"] = most
    outputs = outputs[:1, :2] if most else outputs[:1, :3]
    (found,) = search(model, outputs, [outputs.shape[1]], **options)
    wanted = all_paths(model, outputs[0], most)
    assert len(found) == len(wanted) > 200
    sums = np.array([*wanted.values()]) + said([*wanted])
    assert {tuple(path.tokens): path.score for path in found} == pytest.approx(
        dict(zip(wanted, sums)), abs=1e-3
    )
    scores = [path.score for path in found]
    assert scores == sorted(scores, reverse=True)


def test_a_beam_of_one_is_greedy_with_models_too(lang, tmp_path):
    model, outputs = random_model(lang)
    lengths = [8, 8, 8]
    found = greedy_search(model, outputs, lengths, fusion=everything(lang, tmp_path, model)[0])
    rows = modified_beam_search(
        model, outputs, lengths, beam=1, fusion=everything(lang, tmp_path, model)[0]
    )
    plain = greedy_search(model, outputs, lengths)
    assert [path.tokens for path in found] != [path.tokens for path in plain]
    for path, (same,) in zip(found, rows):
        assert (path.tokens, path.frames) == (same.tokens, same.frames)
        assert path.score == pytest.approx(same.score, abs=1e-4)
        assert path.log_probs == pytest.approx(same.log_probs, abs=1e-4)


# -- batches, and what is remembered ---------------------------------------------------------------


@pytest.mark.parametrize("search", SEARCHES)
def test_a_batch_gives_what_its_rows_give(lang, tmp_path, monkeypatch, search):
    model, outputs = random_model(lang)
    lengths = [5, 8, 0]

    def searched(rows, lengths, spare=64):
        monkeypatch.setattr(fusion, "SPARE", spare)
        added = everything(lang, tmp_path, model)[0]
        found = search(model, rows, lengths, fusion=added)
        return [[paths] if search is greedy_search else paths for paths in found], added

    together, _ = searched(outputs, lengths)
    forgetful, _ = searched(outputs, lengths, spare=-1000)
    for row, length in enumerate(lengths):
        ((alone,), _) = searched(outputs[row : row + 1], [length])
        for other in (alone, forgetful[row]):
            assert [(path.tokens, path.frames) for path in together[row]] == [
                (path.tokens, path.frames) for path in other
            ]
            for path, same in zip(together[row], other):
                assert path.score == pytest.approx(same.score, abs=1e-4)
                assert path.log_probs == pytest.approx(same.log_probs, abs=1e-4)


@pytest.mark.parametrize("search", SEARCHES)
def test_only_what_a_search_goes_on_with_is_remembered(lang, tmp_path, monkeypatch, search):
    monkeypatch.setattr(fusion, "SPARE", 4)
    neural = NeuralLm(neural_lm(lang, tmp_path / "neural")).model
    asked, step = [], neural.step

    def counted(tokens, state):
        asked.append(len(tokens))
        return step(tokens, state)

    neural.step = counted
    rows = np.zeros((lang.num_tokens,) * 2)
    outputs = torch.randn(1, 80, lang.num_tokens)
    for place, token in enumerate((lang.tokens["A"], lang.tokens["B"])):
        rows[token, token] = -40.0
        outputs[0, place::2, token] = 20.0  # one after the other, a token in each frame
    added = Fusion(neural, 0.1, lang.num_tokens)
    found = search(transducer(lang, rows), outputs, [80], fusion=added)
    path = found[0] if search is greedy_search else found[0][0]
    assert len(path.tokens) >= 80
    assert path.tokens[:6] == [lang.tokens["A"], lang.tokens["B"]] * 3
    assert len(added.places) == len(added.table) <= 60 < 80 <= sum(asked)


# -- one search for all scales ---------------------------------------------------------------------


def test_all_scales_of_a_list_take_one_search_and_one_pass_of_the_lm(lang, tmp_path, monkeypatch):
    model, outputs = random_model(lang)
    write_arpa(estimate(TEXT, 2, discount_fallback=(0.5, 1.0, 1.5)), tmp_path / "lm.arpa")
    neural = str(neural_lm(lang, tmp_path / "neural"))
    lists = {
        "lm_scales": [0.0, 0.4, 2.0],
        "lodr_scales": [-0.5, 0.0],
        "blank_penalties": [0.0, 2.0],
    }

    def recognizer(**changes):
        config = DecodingConfig(
            method="modified-beam-rescoring", neural_lm=neural, token_lm=str(tmp_path / "lm.arpa"),
            beam=6, **changes,
        )  # fmt: skip
        return Recognizer(model, lang, None, config, 0.01)

    several = recognizer(**lists)
    passes, searches = [], []
    score, paths = LanguageModel.score, type(several.method).paths

    def counted_score(self, sequences, ended=True):
        passes.append(len(sequences))
        return score(self, sequences, ended)

    def counted_paths(self, *args, **options):
        searches.append(options["blank_penalty"])
        return paths(self, *args, **options)

    monkeypatch.setattr(LanguageModel, "score", counted_score)
    monkeypatch.setattr(type(several.method), "paths", counted_paths)
    texts, lengths = ["AB C", "C", "AA B"], np.array([8, 5, 8])
    trials = sweep(several, [(outputs, lengths, texts)])
    assert len(trials) == 12 and len({trial.errors for trial in trials}) > 1
    assert searches == [0.0, 2.0] and len(passes) == 2
    for trial in trials:
        single = {
            "lm_scales": [trial.scales.lm_scale],
            "lodr_scales": [trial.scales.lodr_scale],
            "blank_penalties": [trial.scales.blank_penalty],
        }
        alone = recognizer(**single)
        (only,) = sweep(alone, [])
        assert only.scales == trial.scales
        rows = alone.search(outputs, lengths, only.scales)
        errors = sum(
            edit_distance(text.split(), row[0].text.split())["total"]
            for text, row in zip(texts, rows)
        )
        assert errors == trial.errors


# -- what makes no sense ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", LIST_RESCORING_METHODS)
def test_a_list_is_rescored_by_something(lang, method):
    lacking = r"needs decoding\.neural_lm, .* decoding\.rescore_lm, .* or decoding\.token_lm"
    with pytest.raises(ConfigError, match=lacking):
        best(lang, method, frames(lang, {"A": 1.0}), Scales())


@pytest.mark.parametrize("method", FUSION_METHODS)
def test_a_search_takes_no_ngram_of_words(lang, method):
    with pytest.raises(ConfigError, match=r"rescore_lm: method .* those that have are nbest-resc"):
        best(lang, method, frames(lang, {"A": 1.0}), Scales(), rescore_lm="lm.arpa")


def test_scales_that_no_model_heeds_are_no_choice(lang):
    config = DecodingConfig(method="beam", lm_scales=[0.1, 0.2])
    plain = Recognizer(transducer(lang), lang, None, config, 0.01)
    (trial,) = sweep(plain, [])
    assert trial.scales == Scales()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lodr_scales": [-0.2]}, "lodr_scales: they weigh decoding.token_lm beside another"),
        ({"lodr_scales": [-0.2], "token_lm": "x"}, "lodr_scales: .* one of the two is not given"),
        ({"lodr_scales": [-0.2], "neural_lm": "x"}, "lodr_scales: .* one of the two is not given"),
        ({"ilm_scales": [0.0, -0.1]}, "ilm_scales: method beam has no use .* greedy, modified"),
        ({"ilm_scales": [-0.1], "token_lm": "x", "method": "beam-rescoring"},
         "ilm_scales: method beam-rescoring has no use for them here"),
        ({"rescore_lm": "x", "neural_lm": "x", "method": "beam-rescoring"},
         "rescore_lm and neural_lm would have one weight"),
    ],
)  # fmt: skip
def test_scales_without_what_they_weigh_are_named(lang, given, message):
    with pytest.raises(ConfigError, match=f"decoding.{message}"):
        Recognizer(
            transducer(lang), lang, None, DecodingConfig(**{"method": "beam", **given}), 0.01
        )


def test_an_empty_list_of_scales_is_named(lang, tmp_path):
    even = dict.fromkeys(("▁", "A", "B", "C", "</s>"), 0.2)
    arpa = str(unigram_arpa(tmp_path / "lm.arpa", even))
    config = DecodingConfig(method="beam", token_lm=arpa, ilm_scales=[])
    with pytest.raises(ConfigError, match=r"decoding\.ilm_scales must not be empty"):
        sweep(Recognizer(transducer(lang), lang, None, config, 0.01), [])
    fine = dataclasses.replace(config, ilm_scales=[-0.1])
    assert (
        sweep(Recognizer(transducer(lang), lang, None, fine, 0.01), [])[0].scales.ilm_scale == -0.1
    )
