"""Forced alignment: times worked out by hand, pronunciations, silence, brute force, trouble."""

import itertools
import types

import numpy as np
import pytest

from neve.decoding.alignment import CannotAlign, align
from neve.errors import NeveError
from neve.lang import Lang, LangConfig, build_lang


def make_lang(folder, lexicon, **settings):
    words = sorted({line.split()[0] for line in lexicon})
    (folder / "text").write_text("u1 " + " ".join(words) + "\n")
    (folder / "lexicon.txt").write_text("".join(f"{line}\n" for line in lexicon))
    out = folder / "lang"
    build_lang(
        LangConfig(write_pt=False, **settings), [folder / "text"], folder / "lexicon.txt", out
    )
    return Lang.load(out)


def outputs(lang, frames, right=0.9):
    """(T, C) log-probabilities: of each frame `right` for the named token ("" is blank)."""
    rest = (1.0 - right) / (lang.num_tokens - 1)
    probs = np.full((len(frames), lang.num_tokens), rest)
    for t, name in enumerate(frames):
        probs[t, lang.tokens[name] if name else 0] = right
    return np.log(probs).astype(np.float32)


def times(parts):
    return [(part.text, round(part.start, 4), round(part.end, 4)) for part in parts]


@pytest.fixture
def lang(tmp_path):
    return make_lang(tmp_path, ["AB A B", "AB A C", "CA C A", "AA A A", "B B"])


def test_times_worked_out_by_hand(lang):
    found = align(
        "u", "AB CA", outputs(lang, ["", "A", "A", "", "B", "", "C", "A", ""]), lang, 0.04
    )
    assert times(found.tokens) == [
        ("A", 0.04, 0.12), ("B", 0.16, 0.2), ("C", 0.24, 0.28), ("A", 0.28, 0.32)
    ]  # fmt: skip
    assert times(found.words) == [("AB", 0.04, 0.2), ("CA", 0.24, 0.32)]
    assert found.token_counts == [2, 2]
    assert found.score == pytest.approx(9 * np.log(0.9), abs=1e-5)


def test_confidence_is_the_geometric_mean_of_the_tokens(lang):
    log_probs = outputs(lang, ["A", "A", "B", "C"])
    log_probs[0, lang.tokens["A"]] = np.log(0.3)
    log_probs[2, lang.tokens["B"]] = np.log(0.4)
    log_probs[3, 0] = 0.0
    found = align("u", "AB", log_probs, lang, 0.04)
    assert [round(part.confidence, 4) for part in found.tokens] == [0.9, 0.4]
    assert found.words[0].confidence == pytest.approx((0.9 * 0.4) ** 0.5, rel=1e-5)


def test_the_pronunciation_that_fits_is_taken_word_by_word(lang):
    found = align("u", "AB AB", outputs(lang, ["A", "C", "", "A", "B"]), lang, 0.1)
    assert [part.text for part in found.tokens] == ["A", "C", "A", "B"]
    assert times(found.words) == [("AB", 0.0, 0.2), ("AB", 0.3, 0.5)]


def test_a_repeated_token_has_a_blank_between_and_words_part_there(lang):
    found = align("u", "AA", outputs(lang, ["A", "A", "A", "A"]), lang, 0.1)
    assert [part.text for part in found.tokens] == ["A", "A"]
    (first, second) = found.tokens
    assert second.start - first.end == pytest.approx(0.1)  # the blank that had to be
    found = align("u", "B B", outputs(lang, ["B", "B", "", "B"]), lang, 0.1)
    assert times(found.words) == [("B", 0.0, 0.2), ("B", 0.3, 0.4)]


def test_optional_silence_belongs_to_no_word(tmp_path):
    lang = make_lang(tmp_path, ["AB A B", "C C"], silence="SIL", sil_prob=0.25)
    frames = ["SIL", "SIL", "A", "B", "SIL", "C"]
    found = align("u", "AB C", outputs(lang, frames), lang, 0.1)
    assert times(found.words) == [("AB", 0.2, 0.4), ("C", 0.5, 0.6)]
    assert [part.text for part in found.tokens] == ["A", "B", "C"]
    expected = 6 * np.log(0.9) + 2 * np.log(0.25) + np.log(0.75)
    assert found.score == pytest.approx(expected, abs=1e-4)
    found = align("u", "AB C", outputs(lang, ["A", "B", "C"]), lang, 0.1)
    assert times(found.words) == [("AB", 0.0, 0.2), ("C", 0.2, 0.3)]


def collapse(labels):
    return [k for k, _ in itertools.groupby(labels) if k]


def test_no_alignment_is_better_than_that_which_is_found(lang):
    draw = np.random.default_rng(0)
    texts = ["AB", "AB CA", "AA B", "B B"]
    for trial in range(24):
        text = texts[trial % 4]
        logits = draw.normal(0, 2, (5, lang.num_tokens))
        log_probs = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
        said = [
            [token for word in ways for token in word]
            for ways in itertools.product(*(lang.pronunciations(word) for word in text.split()))
        ]
        best = max(
            (
                (sum(log_probs[t, k] for t, k in enumerate(labels)), labels)
                for labels in itertools.product(range(lang.num_tokens), repeat=5)
                if collapse(labels) in said
            ),
            key=lambda pair: pair[0],
        )
        found = align("u", text, log_probs, lang, 1.0)
        assert found.score == pytest.approx(float(best[0]), abs=1e-4)
        runs = [(k, len(list(group))) for k, group in itertools.groupby(best[1])]
        ends = np.cumsum([length for _, length in runs])
        expected = [
            (lang.tokens[k], float(end - length), float(end))
            for (k, length), end in zip(runs, ends)
            if k
        ]
        assert times(found.tokens) == expected


def test_what_cannot_be_aligned_says_why(lang):
    few = outputs(lang, ["A", "B"])
    with pytest.raises(CannotAlign, match="utterance u7: 2 words do not fit 2 frames"):
        align("u7", "AB CA", few, lang, 0.04)
    with pytest.raises(CannotAlign, match="no words"):
        align("u7", " ", few, lang, 0.04)
    broken = few.copy()
    broken[1, 2] = np.nan
    with pytest.raises(CannotAlign, match="NaN"):
        align("u7", "AB", broken, lang, 0.04)
    impossible = few.copy()
    impossible[:, lang.tokens["A"]] = -np.inf
    with pytest.raises(CannotAlign, match="probability 0"):
        align("u7", "AB", impossible, lang, 0.04)
    with pytest.raises(NeveError, match="is .* the lang of the model"):
        align("u7", "AB", few[:, :2], lang, 0.04)


def test_unknown_words_are_handled_as_the_lang_directory_says(lang, tmp_path):
    log_probs = outputs(lang, ["A", "B"])
    with pytest.raises(NeveError, match="utterance u7: .*no pronunciation for XYZ") as error:
        align("u7", "AB XYZ", log_probs, lang, 0.04)
    assert not isinstance(error.value, CannotAlign)
    lang.oov = "drop"
    with pytest.raises(CannotAlign, match="utterance u7: no pronunciation for XYZ"):
        align("u7", "AB XYZ", log_probs, lang, 0.04)
    (tmp_path / "unk").mkdir()
    lang = make_lang(tmp_path / "unk", ["AB A B"], oov="unk")
    found = align("u7", "AB XYZ", outputs(lang, ["A", "B", "SPN"]), lang, 0.1)
    assert times(found.words) == [("AB", 0.0, 0.2), ("XYZ", 0.2, 0.3)]
    assert found.tokens[-1].text == "SPN"


def test_times_do_not_go_beyond_the_end_and_may_have_holes(lang):
    log_probs = outputs(lang, ["A", "B"])
    assert align("u", "AB", log_probs, lang, 0.04, duration=0.07).words[0].end == 0.07
    found = align("u", "AB", log_probs, lang, 0.04, begins=np.array([1.0, 2.0]))
    assert times(found.tokens) == [("A", 1.0, 1.04), ("B", 2.0, 2.04)]


def test_a_long_text_is_aligned_with_a_beam(lang, monkeypatch):
    frames = ["", "A", "", "B", "", "C", "A"] * 50
    whole = align("u", "AB CA " * 50, outputs(lang, frames), lang, 0.04)
    monkeypatch.setattr("neve.decoding.alignment.DENSE", 0)
    assert align("u", "AB CA " * 50, outputs(lang, frames), lang, 0.04) == whole


def test_set_of_utterances(lang, tmp_path):
    """Files of a set; the model is one that hands on its features as log-probabilities."""
    import json

    import torch

    from neve.decoding.align_corpus import align_set
    from neve.decoding.alignment_files import read_ctm, read_textgrid

    class Method:
        model = torch.nn.Linear(1, 1)
        frame_seconds = 0.1

        def encode(self, features, lengths):
            return features.numpy(), lengths.numpy()

    Method.lang = lang
    rows = [outputs(lang, ["A", "B", "", "C", "A"]), outputs(lang, ["A", "B", "B", "", ""])]
    batch = {
        "features": torch.from_numpy(np.stack([*rows, rows[0]])),
        "feature_lens": torch.tensor([5, 4, 2]),
        "ids": ["u/2", "u1", "short"],
        "texts": ["AB CA", "AB", "AB CA"],
        "durations": [0.5, 0.4, 0.2],
        "cuts": [types.SimpleNamespace()] * 3,
    }
    assert align_set(Method(), [batch], tmp_path, ("ctm", "textgrid")) == (2, 1)
    assert not (tmp_path / "cuts.jsonl.gz").exists()
    ctm = read_ctm(tmp_path / "words.ctm")
    assert {name: times(words) for name, words in ctm.items()} == {
        "u/2": [("AB", 0.0, 0.2), ("CA", 0.3, 0.5)], "u1": [("AB", 0.0, 0.3)]
    }  # fmt: skip
    duration, tiers = read_textgrid(tmp_path / "textgrid" / "u%2F2.TextGrid")
    assert duration == 0.5 and times(tiers["words"]) == times(ctm["u/2"])
    skipped = [json.loads(line) for line in (tmp_path / "skipped.jsonl").open()]
    assert [row["id"] for row in skipped] == ["short"] and "2 frames" in skipped[0]["reason"]
    with pytest.raises(NeveError, match="utterance u/2 is given twice"):
        align_set(Method(), [batch, batch], tmp_path, ("ctm",))
