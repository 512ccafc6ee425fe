"""Keywords in an audio file with a packed model of random weights."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import soundfile
import torch

from neve.cli.main import main
from neve.decoding import DecodingConfig, load_packed
from neve.decoding.keywords import KeywordSpotter, keyword_tokens
from neve.errors import NeveError
from neve.export import pack
from neve.frontend import FeatureConfig, Frontend
from neve.lang import LangConfig, build_lang
from neve.models import CtcModel, ModelConfig
from neve.transcribe.spot import read_keywords, spot_keywords


@pytest.fixture
def packed(tmp_path):
    shape = ModelConfig(encoder="tdnn", dim=8, layers=2, subsampling=3)
    features = FeatureConfig(num_bins=8, sampling_rate=8000)
    (tmp_path / "text_train").write_text("u1 AB BA\n")
    build_lang(LangConfig(kind="char"), [tmp_path / "text_train"], None, tmp_path / "lang")
    Frontend(features).save(tmp_path)
    tokens = len((tmp_path / "lang/tokens.txt").read_text().splitlines()) - 1
    torch.manual_seed(0)
    torch.save({"model": CtcModel(shape, 8, tokens).state_dict()}, tmp_path / "averaged.pt")
    (tmp_path / "scales.json").write_text("{}")
    (tmp_path / "report").mkdir()
    (tmp_path / "model").mkdir()
    pack(
        tmp_path / "model",
        weights=tmp_path / "averaged.pt",
        frontend=tmp_path / "frontend.json",
        lang=tmp_path / "lang",
        graph=None,
        scales=tmp_path / "scales.json",
        scores=tmp_path / "report",
        settings={
            "features": asdict(features),
            "model": asdict(shape),
            "decoding": asdict(DecodingConfig(method="greedy")),
        },
        name="tiny",
    )
    samples = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    (tmp_path / "keywords.txt").write_text("AB\t0.1\n\nBA AB\n")
    return tmp_path


def test_detections_are_those_of_the_models_outputs(packed, capsys):
    found = list(spot_keywords(packed / "a.wav", packed / "model", packed / "keywords.txt", 0.2))
    method = load_packed(packed / "model").recognizer.method
    samples, rate = soundfile.read(packed / "a.wav", dtype="float32")
    features = torch.from_numpy(Frontend.load(packed / "model")(samples, rate))
    outputs, lengths = method.encode(features[None], torch.tensor([len(features)]))
    keywords = keyword_tokens(method.lang, ["AB", "BA AB"])
    spotter = KeywordSpotter(keywords, 0.2, {"AB": 0.1})
    wanted = spotter.spot(outputs[0, : int(lengths[0])])
    assert wanted and len(found) == len(wanted)
    for (start, end, score, keyword), one in zip(found, wanted):
        assert (score, keyword) == (pytest.approx(one.score), one.keyword)
        assert start == pytest.approx(one.start * 0.03) and end == pytest.approx(one.end * 0.03)
    words = ["spot", str(packed / "a.wav"), "--model", str(packed / "model"), "--threshold", "0.2"]
    words += ["--keywords", str(packed / "keywords.txt")]
    assert main([*words, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["keyword"] for row in rows] == [one.keyword for one in wanted]
    assert main(words) == 0 and wanted[0].keyword in capsys.readouterr().out


def test_what_is_wrong_is_named(packed, capsys):
    (packed / "bad.txt").write_text("AB\n\nBA\t2\n")
    with pytest.raises(NeveError, match="bad.txt:3: the threshold '2' is not"):
        read_keywords(packed / "bad.txt")
    with pytest.raises(NeveError, match="gone.txt: there is no such list of keywords"):
        read_keywords(packed / "gone.txt")
    (packed / "bad.txt").write_text("\n")
    with pytest.raises(NeveError, match="bad.txt: is empty"):
        read_keywords(packed / "bad.txt")
    (packed / "bad.txt").write_text("AXB\n")
    with pytest.raises(NeveError, match="no pronunciation for AXB"):
        list(spot_keywords(packed / "a.wav", packed / "model", packed / "bad.txt"))
    words = ["spot", str(packed / "b.wav"), "--model", "m", "--keywords", "k"]
    assert main(words) == 1 and "there is no such audio file" in capsys.readouterr().err
