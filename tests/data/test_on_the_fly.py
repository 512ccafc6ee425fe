"""Features that are computed when a batch is made, and Shar directories: as stored ones from files.
"""

import numpy as np
import pytest
import soundfile
from tiny_corpus import RATE, TinyCorpus, hum

from neve.data import AugmentConfig, DataConfig, Loader, compute_features, prepare_manifests
from neve.errors import NeveError
from neve.frontend import FeatureConfig
from neve.text import TextConfig

PLAIN = AugmentConfig(spec_augment=False)
EXACT = {"storage": "float32", "num_bins": 23}


def config_of(source="table", folder="", **keys):
    return DataConfig(**{"source": source, "dir": str(folder), "dev": [], "test": [], **keys})


def features(manifests, out, data, augment=PLAIN, **keys):
    compute_features(data, FeatureConfig(**{**EXACT, **keys}), augment, manifests, out, 1)
    return out


def loader(fbank, augment=PLAIN, epoch=0, training=True, split="train", **keys):
    config = DataConfig(**{"max_duration": 6.0, **keys})
    result = Loader([fbank / f"cuts_{split}.jsonl.gz"], config, augment, training=training)
    result.set_epoch(epoch)
    return result


def matrices(batches):
    """Features by id, without padding."""
    return {
        name: matrix[:length].numpy()
        for batch in batches
        for name, matrix, length in zip(batch["ids"], batch["features"], batch["feature_lens"])
    }


def assert_same(one, two, tolerance=0.0):
    assert one.keys() == two.keys() and one
    for name, matrix in one.items():
        assert matrix.shape == two[name].shape
        assert np.abs(matrix - two[name]).max() <= tolerance, name


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fly")
    corpus = TinyCorpus(folder / "corpus", count=8)
    prepare_manifests(
        config_of(folder=corpus.table()), TextConfig(), folder, folder / "manifests", 1
    )
    return folder / "manifests"


@pytest.mark.parametrize("cmvn", ["none", "global", "utterance"])
def test_features_on_the_fly_equal_those_that_are_stored(manifests, tmp_path, cmvn):
    stored = features(manifests, tmp_path / "stored", config_of(), cmvn=cmvn)
    fly = features(manifests, tmp_path / "fly", config_of(on_the_fly=True), cmvn=cmvn)
    assert sorted(path.name for path in fly.iterdir()) == ["cuts_train.jsonl.gz", "frontend.json"]
    assert (fly / "frontend.json").read_bytes() == (stored / "frontend.json").read_bytes()
    seen = set()
    for epoch in range(3):
        one, two = (matrices(loader(x, epoch=epoch)) for x in (stored, fly))
        assert len(one) == 8
        assert_same(one, two)  # the same speeds are drawn, too
        seen |= set(one)
    assert len(seen) > 12 and {name.partition("_sp")[2] for name in seen} == {"", "0.9", "1.1"}
    assert list(loader(fly).contents()) == list(loader(stored).contents())
    with_processes = loader(fly, num_workers=1)
    assert_same(matrices(loader(fly)), matrices(with_processes))


def test_lossy_storage_is_close_to_features_on_the_fly(manifests, tmp_path):
    stored = features(manifests, tmp_path / "stored", config_of(), storage="lilcom")
    fly = features(manifests, tmp_path / "fly", config_of(on_the_fly=True), storage="lilcom")
    assert_same(matrices(loader(stored)), matrices(loader(fly)), 2**-6 + 1e-6)


def test_augmentation_on_the_fly_differs_in_each_epoch(manifests, tmp_path):
    augment = AugmentConfig(reverb_prob=1.0, telephone_prob=0.5, spec_augment=False)
    one = config_of(speed_perturb=[])
    fly = config_of(speed_perturb=[], on_the_fly=True)
    stored = features(manifests, tmp_path / "stored", one, augment)
    fly = features(manifests, tmp_path / "fly", fly, augment)
    assert_same(  # when decoding, as it is stored
        matrices(loader(stored, augment, training=False)),
        matrices(loader(fly, augment, training=False)),
    )
    first, again = (matrices(loader(fly, augment, cache=cache)) for cache in (False, True))
    assert_same(first, again)
    cached = loader(fly, augment, cache=True)
    list(cached)
    cached.set_epoch(1)
    later = matrices(cached)
    assert all(np.abs(first[name] - later[name]).max() > 0.1 for name in first)


def test_audio_that_is_gone_or_not_finite_names_its_utterance(tmp_path):
    corpus = TinyCorpus(tmp_path / "corpus", count=4)
    data = config_of(folder=corpus.table(), on_the_fly=True, speed_perturb=[])
    prepare_manifests(data, TextConfig(), tmp_path, tmp_path / "manifests", 1)
    fly = features(tmp_path / "manifests", tmp_path / "fly", data)
    assert len(matrices(loader(fly))) == 4
    broken = hum(["YES", "NO"])
    broken[100] = np.inf
    soundfile.write(corpus.path("utt001"), broken, RATE, subtype="FLOAT")
    with pytest.raises(NeveError, match=r"utt001: its audio .* not finite.*data.check full"):
        list(loader(fly))
    corpus.path("utt001").unlink()
    with pytest.raises(NeveError, match=r"utt001: its audio .*utt001.wav\) cannot be read"):
        list(loader(fly))


# -- Shar ------------------------------------------------------------------------------------------


def write_shar(manifests, folder, fields, fbank=None):
    """A Shar directory as Lhotse writes it, of three shards."""
    from lhotse import CutSet
    from lhotse.shar import SharWriter

    from neve.data import load_cuts

    cuts = load_cuts((fbank or manifests) / "cuts_train.jsonl.gz")
    folder.mkdir(parents=True)
    with SharWriter(folder, fields=fields, shard_size=3, warn_unused_fields=False) as writer:
        for cut in CutSet.from_cuts(cuts):
            writer.write(cut)


@pytest.mark.parametrize("on_the_fly", [False, True])
def test_audio_of_shar_directories(manifests, tmp_path, on_the_fly):
    write_shar(manifests, tmp_path / "shar/train", {"recording": "flac"})
    data = config_of("shar", tmp_path / "shar", on_the_fly=on_the_fly, speed_perturb=[0.9])
    prepare_manifests(data, TextConfig(), tmp_path, tmp_path / "manifests", 1)
    for name in ("text_train",):
        assert (tmp_path / "manifests" / name).read_text() == (manifests / name).read_text()
    of_shar = features(tmp_path / "manifests", tmp_path / "fbank", data)
    of_files = features(manifests, tmp_path / "files", config_of(speed_perturb=[0.9]))
    for epoch in range(2):
        one, two = (matrices(loader(x, epoch=epoch)) for x in (of_files, of_shar))
        assert_same(one, two)  # FLAC and the audio files both have 16 bits


@pytest.mark.parametrize(("kind", "tolerance"), [("numpy", 0.0), ("lilcom", 2**-5)])
def test_features_of_shar_directories_are_kept(manifests, tmp_path, capsys, kind, tolerance):
    plain = config_of(speed_perturb=[])
    of_files = features(manifests, tmp_path / "files", plain)
    write_shar(manifests, tmp_path / "shar/train", {"features": kind}, fbank=of_files)
    data = config_of("shar", tmp_path / "shar", speed_perturb=[0.9])
    prepare_manifests(data, TextConfig(), tmp_path, tmp_path / "manifests", 1)
    of_shar = features(tmp_path / "manifests", tmp_path / "fbank", data)
    assert "8 utterances have features and keep them" in capsys.readouterr().out
    assert_same(matrices(loader(of_files)), matrices(loader(of_shar)), tolerance)
    with pytest.raises(NeveError, match="made with features.num_bins 23, but 80 is configured"):
        features(tmp_path / "manifests", tmp_path / "other", data, num_bins=80)


def test_damaged_shar_directories_are_named(manifests, tmp_path):
    def prepare(folder):
        data = config_of("shar", folder)
        prepare_manifests(data, TextConfig(), tmp_path, tmp_path / "manifests", 1)

    with pytest.raises(NeveError, match="has no directory train: data.dir names"):
        prepare(tmp_path)
    folder = tmp_path / "shar/train"
    folder.mkdir(parents=True)
    with pytest.raises(NeveError, match=r"train: has no cuts\.\*\.jsonl\.gz"):
        prepare(tmp_path / "shar")
    folder.rmdir()
    write_shar(manifests, folder, {"recording": "wav"})
    tar = folder / "recording.000001.tar"
    content = tar.read_bytes()
    tar.write_bytes(content[: len(content) // 2])
    with pytest.raises(NeveError, match=r"recording\.000001\.tar: cannot be read.*damaged"):
        prepare(tmp_path / "shar")
    tar.unlink()
    with pytest.raises(NeveError, match=r"neither recording\.000001\.tar nor features\.000001"):
        prepare(tmp_path / "shar")
    tar.write_bytes((folder / "recording.000000.tar").read_bytes())
    with pytest.raises(NeveError, match="transcript without audio"):
        prepare(tmp_path / "shar")
