"""Stage 2: values, copies, storage, and the same files whatever the number of jobs."""

import numpy as np
import pytest
import soundfile

from neve.data import AugmentConfig, DataConfig, compute_features, load_cuts, prepare_manifests
from neve.data import features as features_module
from neve.errors import NeveError
from neve.frontend import FeatureConfig, Frontend, fbank, read_audio
from neve.text import TextConfig


@pytest.fixture
def prepared(corpus, tmp_path):
    """The configuration and manifests of a corpus whose last two utterances are for testing."""
    rows = corpus.rows()
    rows[0].append("split")
    for number, row in enumerate(rows[1:]):
        row.append("test" if number >= 10 else "train")
    path = corpus.table(rows)
    config = DataConfig(source="table", dir=str(path), dev=[], test=["test"])
    prepare_manifests(config, TextConfig(), tmp_path, tmp_path / "manifests", 1)
    return config, tmp_path / "manifests"


def compute(prepared, out, nj=1, augment=None, **keys):
    config, manifests = prepared
    features = FeatureConfig(**keys)
    compute_features(config, features, augment or AugmentConfig(), manifests, out, nj)
    return {split: load_cuts(out / f"cuts_{split}.jsonl.gz") for split in ("train", "test")}


@pytest.mark.parametrize("storage,error", [("lilcom", 2**-6), ("float16", 2**-8), ("float32", 0)])
def test_stored_values(prepared, corpus, tmp_path, storage, error):
    cuts = compute(prepared, tmp_path / "fbank", storage=storage)
    for cut in cuts["test"]:
        samples, rate = read_audio(corpus.path(cut.id))
        exact = fbank(samples, rate)
        stored = cut.load_features().astype(np.float32)
        assert stored.shape == exact.shape == (cut.num_frames, 80)
        assert np.abs(stored - exact).max() <= error


def test_lhotse_alone_reads_them(prepared, tmp_path, monkeypatch):
    from lhotse import CutSet
    from lhotse.qa import validate

    monkeypatch.chdir(tmp_path)
    compute(prepared, tmp_path / "fbank")
    cuts = CutSet.from_file("fbank/cuts_train.jsonl.gz")
    validate(cuts, read_data=True)
    assert cuts[0].load_features().shape == (cuts[0].num_frames, 80)


def test_the_final_name_stands_in_the_manifests(prepared, tmp_path, monkeypatch):
    """A stage works in a temporary directory that is renamed; and users move directories."""
    config, manifests = prepared
    compute_features(
        config,
        FeatureConfig(),
        AugmentConfig(),
        manifests,
        tmp_path / "partial",
        1,
        final="data/fbank",
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "partial").rename(tmp_path / "data/fbank")
    (cut, *_) = load_cuts(tmp_path / "data/fbank/cuts_test.jsonl.gz")
    assert len(cut.load_features()) == cut.num_frames
    monkeypatch.chdir(tmp_path)
    from lhotse import CutSet

    cut = CutSet.from_file("data/fbank/cuts_test.jsonl.gz")[0]
    assert cut.features.storage_path.startswith("data/fbank/")
    assert len(cut.load_features()) == cut.num_frames


def test_speed_copies(prepared, tmp_path):
    cuts = compute(prepared, tmp_path / "fbank")
    assert [cut.id for cut in cuts["test"]] == ["utt010", "utt011"]
    train = {cut.id: cut for cut in cuts["train"]}
    assert len(train) == 30
    loudest = {}
    for name in ("utt000", "utt000_sp0.9", "utt000_sp1.1"):
        cut = train[name]
        assert cut.custom["utterance"] == "utt000"
        assert cut.supervisions[0].duration == pytest.approx(cut.duration)
        matrix = cut.load_features()
        loudest[name] = matrix.mean(axis=0).argmax()
        assert len(matrix) == cut.num_frames
    assert train["utt000_sp0.9"].duration == pytest.approx(train["utt000"].duration / 0.9, abs=1e-3)
    assert loudest["utt000_sp0.9"] < loudest["utt000"] < loudest["utt000_sp1.1"]


def test_any_number_of_jobs_gives_the_same_bytes(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(features_module, "SMALL", 0.0)
    monkeypatch.setattr(features_module, "SHARE", 7)
    augment = AugmentConfig(copies=1, reverb_prob=0.5, telephone_prob=0.5)
    for nj in (1, 2):
        config, manifests = prepared
        compute_features(
            config,
            FeatureConfig(cmvn="global"),
            augment,
            manifests,
            tmp_path / f"nj{nj}",
            nj,
            final=tmp_path / "fbank",
        )
    files = sorted(path.name for path in (tmp_path / "nj1").iterdir())
    assert len(files) == 2 + 1 + 9 + 1
    for name in files:
        one, two = (tmp_path / f"nj{nj}" / name for nj in (1, 2))
        assert one.read_bytes() == two.read_bytes(), name


def test_global_statistics_are_of_the_training_data(prepared, tmp_path):
    cuts = compute(prepared, tmp_path / "fbank", cmvn="global", storage="float32")
    together = np.concatenate([cut.load_features() for cut in cuts["train"]])
    frontend = Frontend.load(tmp_path / "fbank")
    assert frontend.mean == pytest.approx(together.mean(axis=0), abs=1e-3)
    assert frontend.deviation == pytest.approx(together.std(axis=0), abs=1e-3)


def test_resampling_to_the_rate_of_the_features(prepared, corpus, tmp_path, capsys):
    cuts = compute(prepared, tmp_path / "fbank", sampling_rate=8000)
    assert "test: 2 utterances are resampled from 16000 to 8000 Hz" in capsys.readouterr().out
    for cut in cuts["test"]:
        samples, rate = read_audio(corpus.path(cut.id), 8000)
        stored = cut.load_features()
        assert cut.sampling_rate == 8000 and len(stored) == cut.num_frames
        assert np.abs(stored - fbank(samples, rate)).max() < 0.05
    slow = next(cut for cut in cuts["train"] if cut.id == "utt003_sp0.9")
    assert len(slow.load_features()) == slow.num_frames


def test_augmentation_in_place(prepared, tmp_path):
    clean = compute(prepared, tmp_path / "clean")
    changed = compute(prepared, tmp_path / "changed", augment=AugmentConfig(reverb_prob=1.0))
    for one, two in zip(clean["train"], changed["train"], strict=True):
        assert one.id == two.id and "reverberation" in two.custom["augmented"]
        assert np.abs(one.load_features() - two.load_features()).max() > 1
    for one, two in zip(clean["test"], changed["test"], strict=True):
        assert np.array_equal(one.load_features(), two.load_features())
    augment = AugmentConfig(telephone_prob=1.0, splits=["test"])
    other = compute(prepared, tmp_path / "other", augment=augment)
    assert [cut.custom["augmented"] for cut in other["test"]] == ["telephone band"] * 2
    assert not any("augmented" in cut.custom for cut in other["train"])


def test_augmented_copies(prepared, tmp_path):
    augment = AugmentConfig(copies=2, reverb_prob=1.0)
    clean = {cut.id: cut for cut in compute(prepared, tmp_path / "clean")["train"]}
    cuts = {cut.id: cut for cut in compute(prepared, tmp_path / "fbank", augment=augment)["train"]}
    assert len(cuts) == 10 * 3 * 3
    for name, cut in clean.items():
        assert np.array_equal(cuts[name].load_features(), cut.load_features())
        first, second = cuts[f"{name}_aug1"], cuts[f"{name}_aug2"]
        assert first.custom["utterance"] == second.custom["utterance"] == name.split("_")[0]
        assert not np.array_equal(first.load_features(), second.load_features())
        assert first.supervisions[0].text == cut.supervisions[0].text


def test_an_utterance_that_is_a_part_of_its_recording(corpus, tmp_path, humming):
    samples = humming(["YES", "NO", "MAYBE"] * 3)
    soundfile.write(corpus.audio / "long.wav", samples, 16000)
    rows = [["audio", "text", "id", "start", "end"]]
    for number in range(8):
        start = 0.1237 * number
        rows.append(["audio/long.wav", "YES", f"p{number}", f"{start}", f"{start + 1.00331}"])
    config = DataConfig(source="table", dir=str(corpus.table(rows)), dev=[], test=[])
    prepare_manifests(config, TextConfig(), tmp_path, tmp_path / "manifests", 1)
    compute_features(
        config, FeatureConfig(), AugmentConfig(), tmp_path / "manifests", tmp_path / "fbank", 1
    )
    for cut in load_cuts(tmp_path / "fbank/cuts_train.jsonl.gz"):
        assert len(cut.load_features()) == cut.num_frames
        if "_sp" not in cut.id:
            start = round(cut.start * 16000)
            exact = fbank(samples[start : start + round(cut.duration * 16000)], 16000)
            assert abs(len(exact) - cut.num_frames) <= 1
            # 16-bit storage of the samples shows where a filter holds next to nothing
            frames = min(len(exact), cut.num_frames)
            assert np.abs(cut.load_features()[: frames - 1] - exact[: frames - 1]).mean() < 0.05


def test_audio_that_vanished_after_it_was_checked(prepared, corpus, tmp_path):
    corpus.path("utt011").unlink()
    with pytest.raises(NeveError, match=r"utterance utt011: its audio \(.*utt011.wav\) cannot be"):
        compute(prepared, tmp_path / "fbank")


def test_audio_that_was_cut_after_it_was_checked(prepared, corpus, tmp_path, humming):
    soundfile.write(corpus.path("utt011"), humming(["NO"]), 16000)
    with pytest.raises(NeveError, match="utterance utt011: "):
        compute(prepared, tmp_path / "fbank")


def test_a_full_disk(prepared, tmp_path):
    out = tmp_path / "fbank"
    out.mkdir()
    (out / "feats_train_0000.lca").symlink_to("/dev/full")
    with pytest.raises(NeveError, match="fbank: no space is left on this disk"):
        compute(prepared, out)


def test_speeds_that_make_no_sense(prepared, tmp_path):
    config, _ = prepared
    for speed in (1.0, 0.0, 3.0):
        config.speed_perturb = [speed]
        with pytest.raises(NeveError, match=f"data.speed_perturb: {speed} is not a speed"):
            compute(prepared, tmp_path / "fbank")


def test_missing_manifests(tmp_path):
    with pytest.raises(NeveError, match="cuts_train.jsonl.gz: there is no such manifest"):
        compute((DataConfig(), tmp_path), tmp_path / "fbank")


def test_the_extractor_is_known_to_lhotse(prepared, tmp_path):
    from lhotse.features.base import get_extractor_type

    from neve.data.extractor import FbankExtractor

    assert get_extractor_type("neve-fbank") is FbankExtractor
    extractor = FbankExtractor.from_dict({"feature_type": "neve-fbank", "num_bins": 40})
    samples = np.random.default_rng(0).standard_normal((1, 16000)).astype(np.float32) * 0.1
    matrix = extractor.extract(samples, 16000)
    assert matrix.shape == (100, 40)
    assert np.array_equal(matrix, fbank(samples[0], 16000, FeatureConfig(num_bins=40)))
    doubled = FbankExtractor.mix(matrix, matrix, 1.0)
    assert doubled == pytest.approx(matrix + np.log(2), abs=1e-5)
    assert FbankExtractor.compute_energy(doubled) == pytest.approx(
        2 * FbankExtractor.compute_energy(matrix), rel=1e-4
    )
    assert extractor.to_dict()["feature_type"] == "neve-fbank"


def test_stats_of_silence_are_refused():
    with pytest.raises(NeveError, match="no audio to take the mean"):
        Frontend(FeatureConfig(cmvn="global"), *features_module.Statistics(80).mean_and_deviation())


def test_the_frontend_file_gives_what_the_loader_gives(prepared, corpus, tmp_path):
    from neve.data import Loader

    cuts = compute(prepared, tmp_path / "fbank", cmvn="global", storage="float32")
    loader = Loader(
        [tmp_path / "fbank/cuts_test.jsonl.gz"], prepared[0], AugmentConfig(), training=False
    )
    (batch,) = loader
    frontend = Frontend.load(tmp_path / "fbank")
    for row, length, name in zip(
        batch["features"], batch["feature_lens"], batch["ids"], strict=True
    ):
        direct = frontend.file(corpus.path(name))
        assert np.abs(row[:length].numpy() - direct).max() < 1e-5
    assert len(cuts["test"]) == 2
