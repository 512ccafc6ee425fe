"""Batches with several views: masks of their own, the same frames, the same again when resumed."""

import numpy as np
import pytest
import soundfile
import torch

from neve.data import (
    AugmentConfig,
    DataConfig,
    Loader,
    SpecAugment,
    compute_features,
    prepare_manifests,
)
from neve.frontend import FeatureConfig
from neve.text import TextConfig

AUGMENT = AugmentConfig(spec_prob=1.0, time_warp=10)


@pytest.fixture(scope="module")
def fbank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    generator = np.random.default_rng(0)
    lines = ["audio,text,speaker"]
    for number in range(6):
        samples = 0.1 * generator.standard_normal(int((0.6 + 0.1 * number) * 16000))
        soundfile.write(folder / f"u{number}.wav", samples, 16000)
        lines.append(f"u{number}.wav,{'SAME WORDS' if number % 2 else 'OTHERS'},s{number % 2}")
    (folder / "table.csv").write_text("\n".join(lines))
    config = DataConfig(source="table", dir=str(folder / "table.csv"), dev=[], test=[])
    prepare_manifests(config, TextConfig(), folder, folder / "manifests", 1)
    compute_features(config, FeatureConfig(), AUGMENT, folder / "manifests", folder / "fbank", 1)
    return folder / "fbank"


def loader_of(fbank, views, augment=AUGMENT, training=True):
    files = [fbank / "cuts_train.jsonl.gz"]
    return Loader(files, DataConfig(max_duration=3.0), augment, training=training, views=views)


def test_two_views_have_other_masks(fbank):
    for batch in loader_of(fbank, 2):
        features, views = batch["features"], batch["views"]
        assert views.shape == (len(features), 1, *features.shape[1:])
        assert not torch.equal(views[:, 0], features)
        for row, length in enumerate(batch["feature_lens"].tolist()):
            first, second = features[row, length:], views[row, 0, length:]
            assert torch.equal(first, second)  # the padding
            same = (features[row, :length] == views[row, 0, :length]).float().mean()
            assert same > 0.2  # where neither is masked


def test_views_come_again_when_an_epoch_is_resumed(fbank):
    loader = loader_of(fbank, 2)
    loader.set_epoch(3)
    whole = list(loader)
    again = loader_of(fbank, 2)
    again.load_state_dict({"epoch": 3, "batches": 1})
    rest = list(again)
    assert len(rest) == len(whole) - 1 > 0
    for batch, same in zip(whole[1:], rest):
        assert torch.equal(batch["views"], same["views"])


def test_one_view_or_no_training_has_none(fbank):
    assert all("views" not in batch for batch in loader_of(fbank, 1))
    assert all("views" not in batch for batch in loader_of(fbank, 2, training=False))
    largest = loader_of(fbank, 2).largest(3.0)
    assert largest["views"].shape[0] == len(largest["ids"])


def test_transcripts_count_an_utterance_once_at_all_its_speeds(fbank):
    loader = loader_of(fbank, 1)
    assert len(list(loader.contents())) == 18
    assert sorted(loader.transcripts()) == 3 * ["OTHERS"] + 3 * ["SAME WORDS"]


def test_views_share_the_warp_and_nothing_else():
    rows = np.arange(300, dtype=np.float32)[:, None] + np.zeros(80, np.float32)
    config = AugmentConfig(spec_prob=1.0, time_warp=80)
    views = SpecAugment(config).views(rows, np.random.default_rng(1), 3)
    values, counts = np.unique(views[0], return_counts=True)
    free = np.all([view != values[counts.argmax()] for view in views], axis=0)  # of all masks
    assert len(views) == 3 and not np.array_equal(views[0], views[1])
    assert free.mean() > 0.2
    assert np.array_equal(views[0][free], views[1][free])
    assert np.array_equal(views[0][free], views[2][free])
    assert not np.array_equal(views[0][free], rows[free])  # there was a warp


def test_one_view_is_what_calling_gives():
    rows = np.random.default_rng(0).standard_normal((200, 80)).astype(np.float32)
    augment = SpecAugment(AugmentConfig())
    for seed in range(5):
        (view,) = augment.views(rows, np.random.default_rng(seed), 1)
        assert np.array_equal(view, augment(rows, np.random.default_rng(seed)))
