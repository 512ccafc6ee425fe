"""Listed phrases in searches: what they change, and what is said where they cannot."""

import contextlib
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neve.cli import decode as cli_decode
from neve.cli import pack as cli_pack
from neve.cli.config import Config
from neve.config import load
from neve.decoding import DecodingConfig, Recognizer, Scales
from neve.decoding.by_name import CTC, TRANSDUCER
from neve.decoding.lattices import BestPath
from neve.decoding.phrases import PhraseBonus
from neve.decoding.scales import sweep
from neve.decoding.transducer import greedy_search, modified_beam_search
from neve.errors import NeveError
from neve.graphs import BiasingGraph, GraphConfig, build_graph, read_phrases, token_biasing
from neve.lang import Lang, LangConfig, build_lang
from neve.models import CtcModel, ModelConfig, TransducerModel

MODEL = ModelConfig(encoder="tdnn", dim=8, layers=2, subsampling=3, predictor_dim=8, joiner_dim=16)


@pytest.fixture
def lang(tmp_path):
    """Words of one phone each."""
    (tmp_path / "text").write_text("u1 A B C D\n")
    (tmp_path / "lexicon.txt").write_text("A a\nB b\nC c\nD d\n")
    settings = LangConfig(write_pt=False)
    build_lang(settings, [tmp_path / "text"], tmp_path / "lexicon.txt", tmp_path / "lang")
    return Lang.load(tmp_path / "lang")


@pytest.fixture
def characters(tmp_path):
    (tmp_path / "text").write_text("u1 AB C\nu2 ABC\n")
    build_lang(LangConfig(kind="char", write_pt=False), [tmp_path / "text"], None,
               tmp_path / "char")  # fmt: skip
    return Lang.load(tmp_path / "char")


@pytest.fixture
def listed(tmp_path):
    """Writes a list of phrases and gives its name."""

    def write(*lines):
        (tmp_path / "phrases.txt").write_text("".join(f"{line}\n" for line in lines))
        return str(tmp_path / "phrases.txt")

    return write


def with_ctc(lang, **changes):
    config = DecodingConfig(**{"output_beam": 30.0, "search_beam": 40.0, "nbest": 10, **changes})
    graph = build_graph(lang.directory, None, GraphConfig(kind="HL"))
    torch.manual_seed(0)
    return Recognizer(CtcModel(MODEL, 8, lang.num_tokens).eval(), lang, graph, config, 0.01)


def transducer(lang):
    torch.manual_seed(0)
    shape = ModelConfig(**{**vars(MODEL), "kind": "transducer"})
    model = TransducerModel(shape, 8, lang.num_tokens)
    for parameter in model.parameters():
        parameter.data.mul_(2.0)  # so that it says something
    return model.eval()


def with_transducer(lang, **changes):
    given = {"method": "modified-beam", "length_norm": False, "nbest": 30, "beam": 30, **changes}
    return Recognizer(transducer(lang), lang, None, DecodingConfig(**given), 0.01)


def scores_of(lang, *rows):
    """(1, T, C) log-probabilities of frames given as {token: probability}; "-" is blank."""
    values = np.full((1, len(rows), lang.num_tokens), 1e-9)
    for frame, row in enumerate(rows):
        for token, probability in row.items():
            values[0, frame, 0 if token == "-" else lang.tokens[token]] = probability
    return np.log(values).astype(np.float32)


def best_of(recognizer, scores, scales=None):
    ((best, *_),) = recognizer.search(scores, np.array([scores.shape[1]]), scales)
    return best


OF_CTC = ["1best", "ctc-greedy", "ctc-lattice", "ctc-prefix-beam", "graph", "mbr", "nbest"]


@pytest.mark.parametrize("method", OF_CTC)
def test_a_listed_phrase_wins(lang, listed, method):
    # A C 0.6, B C 0.4: with more than log 1.5 = 0.405 B C is best, which has two words or tokens
    scores = scores_of(lang, {"a": 0.6, "b": 0.4}, {"c": 1.0})
    plain = best_of(with_ctc(lang, method=method), scores)
    assert plain.text.upper() == "A C"
    recognizer = with_ctc(lang, method=method, phrases=listed("B C"))
    # what is chosen frame by frame has no second chance: B alone must be better than A
    little, much = (0.15, 0.25) if method != "ctc-greedy" else (0.4, 0.41)
    assert best_of(recognizer, scores, Scales(phrase_boost=little)).text == plain.text
    found = best_of(recognizer, scores, Scales(phrase_boost=much))
    assert found.text.upper() == "B C"
    if method != "mbr":
        wanted = plain.score + math.log(0.4 / 0.6) + 2 * much
        assert found.score == pytest.approx(wanted, abs=1e-4)
    # a boost of its own, whatever that of the others is
    own = with_ctc(lang, method=method, phrases=listed(f"B C\t{much}"))
    assert best_of(own, scores, Scales(phrase_boost=0.0)) == found
    # what is begun and not finished earns nothing
    begun = with_ctc(lang, method=method, phrases=listed("B D"))
    if method != "ctc-greedy":
        assert best_of(begun, scores, Scales(phrase_boost=2.0)).text == plain.text


@pytest.mark.parametrize("method", ["graph", "1best", "nbest", "ctc-lattice"])
def test_a_listed_phrase_survives_beams_that_would_prune_it(lang, listed, method):
    scores = scores_of(lang, {"a": 0.95, "b": 0.05}, {"c": 1.0})
    narrow = {"search_beam": 3.5, "output_beam": 0.1, "min_active": 0}
    recognizer = with_ctc(lang, method=method, phrases=listed("B C"), **narrow)
    assert best_of(recognizer, scores, Scales(phrase_boost=1.6)).text.upper() == "B C"
    assert best_of(recognizer, scores, Scales(phrase_boost=1.3)).text.upper() == "A C"


def test_lattices_with_phrases_are_pruned_exactly_whatever_the_backend(lang, listed, monkeypatch):
    torch.manual_seed(0)
    scores = (torch.randn(1, 40, lang.num_tokens) * 2).log_softmax(-1).numpy()
    options = {"method": "nbest", "phrases": listed("B C"), "output_beam": 2.0}
    method, sizes = with_ctc(lang, **options).method, []
    for pruning in ("exact", "k2"):
        monkeypatch.setattr(BestPath, "pruning", pruning)
        sizes.append(method.sizes(method.first_pass(scores, np.array([40]), Scales())))
    assert sizes[0] == sizes[1]


def test_a_path_that_could_not_end_has_its_phrases_too(lang, listed, tmp_path):
    a, b, c, d = (lang.words[word] for word in "ABCD")
    rows = [f"0 1 {a} {a} 0", f"0 1 {b} {b} 0", f"1 2 {c} {c} 0", f"2 3 {d} {d} 0", "3 0", ""]
    (tmp_path / "G.txt").write_text("\n".join(rows))  # A C D or B C D, and the D is not said
    graph = build_graph(lang.directory, tmp_path / "G.txt")
    scores = scores_of(lang, {"a": 0.6, "b": 0.4}, {"c": 1.0})
    model = CtcModel(MODEL, 8, lang.num_tokens).eval()
    for given, text in (({}, "A C"), ({"phrases": listed("B C")}, "B C")):
        config = DecodingConfig(method="1best", search_beam=15.0, **given)
        found = best_of(Recognizer(model, lang, graph, config, 0.01), scores)
        assert found.partial and found.text == text


def test_a_transducers_hypotheses_get_the_bonus_of_their_tokens(characters, listed):
    model, lengths = transducer(characters), [4, 3]
    torch.manual_seed(1)
    encoder_out, _ = model.encode(torch.randn(2, 12, 8), torch.tensor([12, 9]))
    options = {"beam": 2000, "length_norm": False}  # a beam that loses nothing
    before = modified_beam_search(model, encoder_out, lengths, **options)
    biasing = token_biasing(characters, read_phrases(listed("AB", "C\t-0.5", "AB C\t2")))
    bonus = PhraseBonus(biasing, characters.num_tokens)
    after = modified_beam_search(model, encoder_out, lengths, phrases=bonus, **options)
    earned = set()
    for old, new in zip(before, after, strict=True):
        old = {tuple(path.tokens): path for path in old}
        assert len(new) > 20
        for path in new:
            own = old.get(tuple(path.tokens))
            if own is not None:
                wanted = own.score + biasing.score(path.tokens)
                assert path.score == pytest.approx(wanted, abs=1e-4)
                earned.add(round(biasing.score(path.tokens), 3))
    assert len(earned) > 2


def heard(*rows):
    """A model that hears in each frame these probabilities of blank, A, B and C, and outputs."""
    predictor = SimpleNamespace(
        context_size=1,
        init_state=lambda count, device: torch.zeros(count, 1),
        step=lambda tokens, state: (torch.zeros(len(tokens), 1), state),
    )
    joiner = SimpleNamespace(
        project=lambda encoded: encoded,
        project_predictor=lambda output: output,
        join=lambda encoded, predicted: encoded,
    )
    scores = torch.tensor([rows], dtype=torch.float32).log()
    return SimpleNamespace(predictor=predictor, joiner=joiner), scores


def greedy(phrases, boost, *rows, **options):
    model, scores = heard(*rows)
    bonus = PhraseBonus(BiasingGraph(phrases, boost), scores.shape[2])
    (path,) = greedy_search(model, scores, [len(rows)], phrases=bonus, **options)
    return path


def test_greedy_chooses_with_the_boost():
    rows = [(0.1, 0.8, 0.05, 0.05), (0.1, 0.0, 0.4, 0.5)]
    assert greedy([[3, 3]], 0.0, *rows).tokens == [1, 3]
    path = greedy([[1, 2]], 0.3, *rows)
    assert path.tokens == [1, 2] and path.frames == [0, 1]
    assert path.score == pytest.approx(math.log(0.8 * 0.4) + 2 * 0.3)
    assert path.log_probs[1] == pytest.approx(math.log(0.4 / 0.9))  # knows nothing of the boost
    # a token that ends the hope is not worse than blank for it, and the loan is paid back
    path = greedy([[1, 2]], 1.2, rows[0], (0.35, 0.0, 0.05, 0.6))
    assert path.tokens == [1, 3] and path.score == pytest.approx(math.log(0.8 * 0.6))
    # also where the utterance ends
    path = greedy([[1, 2]], 1.2, rows[0], (0.9, 0.05, 0.0, 0.05))
    assert path.tokens == [1] and path.score == pytest.approx(math.log(0.8 * 0.9))
    # a token that earns something may be better than blank
    assert greedy([[1, 2]], 1.2, rows[0], (0.6, 0.0, 0.3, 0.1)).tokens == [1, 2]


def test_ctc_greedy_earns_where_a_token_begins(lang, listed):
    with_list = with_ctc(lang, method="ctc-greedy", phrases=listed("A A B"))
    rows = [{"a": 0.9, "-": 0.1}, {"a": 0.5, "b": 0.5}, {"-": 1.0}, {"a": 0.4, "c": 0.6},
            {"b": 0.3, "d": 0.45, "-": 0.25}]  # fmt: skip
    scores = scores_of(lang, *rows)
    assert best_of(with_list, scores, Scales(phrase_boost=0.0)).text.upper() == "A C D"
    found = best_of(with_list, scores, Scales(phrase_boost=0.5))
    assert found.text.upper() == "A A B"
    assert found.score == pytest.approx(math.log(0.9 * 0.5 * 0.4 * 0.3) + 3 * 0.5, abs=1e-4)


def test_a_listed_phrase_wins_with_a_transducer(characters, listed):
    torch.manual_seed(1)
    batch = (torch.randn(1, 12, 8), torch.tensor([12]))
    plain = with_transducer(characters)
    (nbest,) = plain.search(*plain.encode(*batch))
    first = nbest[0]
    other = next(one for one in nbest[1:] if one.text.isalpha() and one.text not in first.text)
    tokens = len(characters.encode(other.text))
    gap = (first.score - other.score) / tokens
    found = with_transducer(characters, phrases=listed(other.text))
    outputs = found.encode(*batch)
    (kept,) = found.search(*outputs, Scales(phrase_boost=0.0))
    assert kept == nbest  # a boost of 0 changes nothing
    (changed,) = found.search(*outputs, Scales(phrase_boost=gap + 2.0))
    assert other.text in changed[0].text and other.text not in first.text
    # of one length and beam, the same in a batch of two as alone
    torch.manual_seed(2)
    features, lengths = torch.randn(2, 30, 8), torch.tensor([30, 18])
    together = found.search(*found.encode(features, lengths), Scales(phrase_boost=1.5))
    for row in range(2):
        (alone,) = found.search(
            *found.encode(features[row : row + 1, : lengths[row]], lengths[row : row + 1]),
            Scales(phrase_boost=1.5),
        )
        assert [one.text for one in alone] == [one.text for one in together[row]]
        for one, same in zip(alone, together[row]):
            assert one.score == pytest.approx(same.score, abs=1e-3)


@pytest.mark.parametrize("method", OF_CTC)
def test_a_batch_is_as_its_rows_are_and_boost_0_changes_nothing(lang, listed, method):
    draw = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 20, lang.num_tokens)) * 2)
    scores, lengths = draw.log_softmax(-1).float().numpy(), np.array([20, 0, 11])
    plain = with_ctc(lang, method=method, output_beam=8.0).search(scores, lengths)
    found = with_ctc(lang, method=method, output_beam=8.0, phrases=listed("A B", "C"))
    assert found.search(scores, lengths, Scales(phrase_boost=0.0)) == plain
    together = found.search(scores, lengths, Scales(phrase_boost=1.0))
    assert together != plain
    for row, length in enumerate(lengths):
        (alone,) = found.search(
            scores[row : row + 1, :length], lengths[row : row + 1], Scales(phrase_boost=1.0)
        )
        assert alone[0].text == together[row][0].text
        assert alone[0].score == pytest.approx(together[row][0].score, abs=1e-3)


def test_the_boost_is_chosen_on_dev(lang, listed):
    scores, lengths = scores_of(lang, {"a": 0.6, "b": 0.4}, {"c": 1.0}), np.array([2])
    given = {"phrases": listed("B C"), "phrase_boosts": [0.0, 0.5]}
    trials = sweep(with_ctc(lang, method="1best", **given), [(scores, lengths, ["B C"])])
    tried = [(trial.scales.phrase_boost, trial.errors) for trial in trials]
    assert tried == [(0.0, 1), (0.5, 0)]
    # without a list there is nothing to choose
    (one,) = sweep(with_ctc(lang, method="1best", phrase_boosts=[0.0, 0.5]), [])
    assert one.scales == Scales()


def test_words_that_cannot_be_found_are_named(lang, characters, listed):
    name = listed("A B", "oslo B", "<noise>", "C")
    with pytest.raises(NeveError, match=r"phrases\.txt: oslo, <noise> cannot be recognised .*lang"):
        with_ctc(lang, method="1best", phrases=name)
    with pytest.raises(NeveError, match=r"phrases\.txt: oslo, <noise> cannot be recognised"):
        with_ctc(lang, method="ctc-lattice", phrases=name)
    name = listed("ABC CAB", "ab", "OSLO C")
    with pytest.raises(NeveError, match=r"phrases\.txt: ab, OSLO cannot .* as transcripts are"):
        with_transducer(characters, phrases=name)
    with pytest.raises(NeveError, match=r"phrases\.txt:1: the boost 'much' is not a number"):
        with_transducer(characters, phrases=listed("ABC\tmuch"))


def test_all_methods_can_favour_phrases():
    assert all(kind.biasing is not None for kind in {**CTC, **TRANSDUCER}.values())


def as_text(given):
    """A pair of key and path as strings, whatever kind of path it is; else what was given."""
    return tuple(map(str, given)) if isinstance(given, tuple) else given


def test_the_list_is_an_input_of_the_stage(listed, monkeypatch):
    seen = {}

    @contextlib.contextmanager
    def stage(name, out, inputs, *rest, **more):
        seen["inputs"] = list(inputs)
        yield SimpleNamespace(finished=True)

    for verb in (cli_decode, cli_pack):
        monkeypatch.setattr(verb, "open_stage", stage)
    name = listed("A B")
    counted = ("decoding.phrases", str(name))  # the key stands for the file's content
    for given, expected in (([("decoding.phrases", name)], True), ([], False)):
        config = load(Config, (), [("decoding.method", "1best"), *given])
        for verb in (cli_decode, cli_pack):
            verb.run(config, SimpleNamespace(dry_run=True))
            assert (counted in [as_text(each) for each in seen.pop("inputs")]) is expected
