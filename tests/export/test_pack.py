"""Model directories: what is packed can be read back, and bad pieces are named."""

import dataclasses
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from neve.decoding import DecodingConfig, Recognizer, Scales, load_packed
from neve.errors import ConfigError, NeveError
from neve.export import pack
from neve.frontend import FeatureConfig, Frontend
from neve.graphs import GraphConfig, build_graph, load_graph, save_graph
from neve.lang import Lang, LangConfig, build_lang
from neve.models import CtcModel, ModelConfig, TransducerModel, load_model
from neve.transcribe import Transcriber

MODEL = ModelConfig(encoder="tdnn", dim=8, layers=2, subsampling=3)


@pytest.fixture
def parts(tmp_path):
    """What training and decoding leave, with random weights; greedy, so without a graph."""
    (tmp_path / "text_train").write_text("u1 AB BA\nu2 BA\n")
    build_lang(LangConfig(kind="char"), [tmp_path / "text_train"], None, tmp_path / "lang")
    Frontend(FeatureConfig(num_bins=8, sampling_rate=8000)).save(tmp_path)
    tokens = len((tmp_path / "lang/tokens.txt").read_text().splitlines()) - 1
    torch.manual_seed(0)
    model = CtcModel(MODEL, 8, tokens, auxiliary_tokens=3)
    torch.save({"model": model.state_dict()}, tmp_path / "averaged.pt")
    (tmp_path / "scales.json").write_text(json.dumps({"acoustic_scale": 0.5, "word_score": 1.5}))
    (tmp_path / "report").mkdir()
    (tmp_path / "report/wer-summary-test.txt").write_text("test: 2 utterances\n%WER 1\n\ntable")
    (tmp_path / "report/errs-test.txt").write_text("long")
    (tmp_path / "model").mkdir()
    return {
        "out": tmp_path / "model",
        "weights": tmp_path / "averaged.pt",
        "frontend": tmp_path / "frontend.json",
        "lang": tmp_path / "lang",
        "graph": None,
        "scales": tmp_path / "scales.json",
        "scores": tmp_path / "report",
        "settings": {
            "features": asdict(FeatureConfig(num_bins=8, sampling_rate=8000)),
            "model": asdict(MODEL),
            "decoding": asdict(DecodingConfig(method="greedy")),
        },
        "name": "tiny-seed0",
    }


def test_packed_model_is_read_back(parts):
    pack(**parts)
    packed = load_packed(parts["out"])
    assert packed.scales == Scales(0.5, 1.5)
    wanted = torch.load(parts["weights"])["model"]
    found = packed.recognizer.model.state_dict()
    assert set(found) == {name for name in wanted if not name.startswith("auxiliary_head.")}
    assert all(torch.equal(found[name], wanted[name]) for name in found)
    assert load_packed(parts["out"], [("decoding.method", "greedy")]).recognizer.graph is None


@pytest.fixture
def joined(parts, tmp_path):
    """The same of a transducer on characters, whose CTC head has phones."""
    (tmp_path / "lexicon.txt").write_text("AB A B\nBA B A\n")
    lexicon, phones = tmp_path / "lexicon.txt", tmp_path / "phones"
    build_lang(LangConfig(write_pt=False), [tmp_path / "text_train"], lexicon, phones)
    shape = dataclasses.replace(MODEL, kind="transducer", predictor_dim=8, joiner_dim=8)
    sizes = [Lang.load(path).num_tokens for path in (parts["lang"], phones)]
    assert sizes[0] != sizes[1]
    torch.manual_seed(0)
    model = TransducerModel(shape, 8, *sizes, training=True)
    torch.save({"model": model.state_dict()}, parts["weights"])
    save_graph(build_graph(phones, None, GraphConfig(kind="HL")), tmp_path / "graph", "HL")
    scales = {"acoustic_scale": 1.0, "word_score": 0.0, "blank_penalty": -0.5}
    parts["scales"].write_text(json.dumps(scales))
    decoding = DecodingConfig(method="modified-beam", beam=3, nbest=2)
    settings = {**parts["settings"], "model": asdict(shape), "decoding": asdict(decoding)}
    return {**parts, "ctc_lang": phones, "graph": tmp_path / "graph/HL", "settings": settings}


def test_a_packed_transducer_gives_what_the_unpacked_one_gives(joined):
    pack(**joined)
    packed = load_packed(joined["out"])
    assert packed.scales == Scales(blank_penalty=-0.5)
    state = packed.recognizer.model.state_dict()
    assert not any(name.startswith("simple_") for name in state)
    shape = dataclasses.replace(MODEL, kind="transducer", predictor_dim=8, joiner_dim=8)
    decoding = DecodingConfig(**joined["settings"]["decoding"])
    lang, phones = Lang.load(joined["lang"]), Lang.load(joined["ctc_lang"])
    for method, graph in (("modified-beam", None), ("graph", load_graph(joined["graph"]))):
        model = load_model(joined["weights"], shape, 8, lang.num_tokens, phones.num_tokens)
        config = dataclasses.replace(decoding, method=method)
        unpacked = Recognizer(model, lang, graph, config, 0.01, phones)
        packed = load_packed(joined["out"], [("decoding.method", method)])
        batch = (torch.randn(2, 50, 8), torch.tensor([50, 31]))
        found, wanted = (
            recognizer.search(*recognizer.encode(*batch), packed.scales)
            for recognizer in (packed.recognizer, unpacked)
        )
        assert found == wanted and any(row[0].words for row in found)


def test_a_graph_that_was_not_packed_is_asked_for(parts):
    pack(**parts)
    with pytest.raises(NeveError, match="packed without a graph, for decoding.method greedy"):
        load_packed(parts["out"], [("decoding.method", "graph")])


def test_a_graph_LG_is_not_searched_with_ctc(joined, tmp_path):
    word = Lang.load(joined["ctc_lang"]).words["AB"]
    (tmp_path / "G.fst.txt").write_text(f"0 1 {word} {word} 0.5\n1 0\n")
    LG = build_graph(joined["ctc_lang"], tmp_path / "G.fst.txt", GraphConfig(kind="LG"))
    save_graph(LG, tmp_path / "graph", "LG")
    pack(**{**joined, "graph": tmp_path / "graph/LG"})
    for method in ("graph", "nbest"):
        with pytest.raises(ConfigError, match=rf"method {method}: the graph has no arcs for blank"):
            load_packed(joined["out"], [("decoding.method", method)])


def test_a_packed_transducer_transcribes(joined, tmp_path):
    pack(**joined)
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).normal(size=8000) * 0.1, 8000)
    for overrides in ([], [("decoding.method", "ctc-prefix-beam")]):
        transcript = Transcriber(joined["out"], overrides)(tmp_path / "noise.wav")
        assert transcript.text and transcript.duration == 1.0
        assert all(0 <= word.start < word.end <= 1.03 for word in transcript.words)


def test_scales_can_be_given(parts):
    pack(**parts)
    packed = load_packed(parts["out"], [("decoding.acoustic-scales", "[0.7]")])
    assert packed.scales == Scales(0.7, 1.5)
    with pytest.raises(ConfigError, match="give one value"):
        load_packed(parts["out"], [("decoding.word_scores", "[0.0, 1.0]")])


def test_nothing_refers_to_where_it_came_from(parts):
    pack(**parts)
    origin = str(parts["weights"].parent)
    texts = [
        path.read_text()
        for path in Path(parts["out"]).rglob("*")
        if path.suffix in (".yaml", ".json", ".txt", ".md")
    ]
    assert len(texts) > 5 and not [text for text in texts if origin in text]
    assert "%WER 1" in (parts["out"] / "README.md").read_text()
    assert not (parts["out"] / "scores/errs-test.txt").exists()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("weights", "there are no such weights; train first"),
        ("lang", "there is no such directory"),
        ("scales", "decode first"),
    ],
)
def test_a_missing_part_is_named(parts, part, message):
    parts[part] = parts[part].parent / "absent"
    with pytest.raises(NeveError, match=f"absent: .*{message}"):
        pack(**parts)


def test_damaged_weights_are_named(parts):
    parts["weights"].write_bytes(b"not weights")
    with pytest.raises(NeveError, match=r"averaged\.pt: is not a file of weights"):
        pack(**parts)


def test_a_packed_model_that_is_wrong_is_named(parts):
    pack(**parts)
    path = parts["out"] / "model.yaml"
    content = yaml.safe_load(path.read_text())
    for change, message in (
        ({"format": 7}, "is not format"),
        ({"model": {"encoder": "nothing"}}, "model.yaml: .*nothing"),
        ({"features": None}, "pack the model again"),
        ({"model": {**content["model"], "dim": 9}}, "do not fit"),
    ):
        path.write_text(yaml.safe_dump({**content, **change}))
        with pytest.raises(NeveError, match=message):
            load_packed(parts["out"])
    path.write_text("a: [")
    with pytest.raises(NeveError, match=r"model\.yaml: cannot be read"):
        load_packed(parts["out"])


def test_a_list_of_phrases_is_packed_and_used(joined, tmp_path):
    (tmp_path / "names.txt").write_text("AB BA\t1.5\nBA\n")
    decoding = {**joined["settings"]["decoding"], "phrases": str(tmp_path / "names.txt")}
    settings = {**joined["settings"], "decoding": decoding}
    joined["scales"].write_text(json.dumps({"phrase_boost": 2.0}))
    pack(**{**joined, "settings": settings})
    assert (joined["out"] / "phrases.txt").read_text() == "AB BA\t1.5\nBA\n"
    assert str(tmp_path) not in (joined["out"] / "model.yaml").read_text()
    (tmp_path / "names.txt").unlink()
    packed = load_packed(joined["out"])
    assert packed.scales == Scales(phrase_boost=2.0)
    batch = (torch.randn(2, 50, 8), torch.tensor([50, 31]))

    def found(*overrides):
        packed = load_packed(joined["out"], list(overrides))
        recognizer = packed.recognizer
        return recognizer.search(*recognizer.encode(*batch), packed.scales)

    favoured = found()
    assert packed.recognizer.method.phrases is not None and favoured != found(
        ("decoding.phrases", "")
    )
    # another method takes it too; another list takes the place of the packed
    other = load_packed(joined["out"], [("decoding.method", "fast-beam")]).recognizer
    assert other.method.phrases is not None
    (tmp_path / "others.txt").write_text("BA AB\t3\n")
    assert found(("decoding.phrases", str(tmp_path / "others.txt"))) != favoured
