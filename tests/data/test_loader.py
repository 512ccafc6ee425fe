"""Batches: what is in them, their order and size, epochs, ranks, workers, resuming, the cache."""

import gzip
import json
import multiprocessing
import os
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.data import AugmentConfig, DataConfig, Loader, compute_features, prepare_manifests
from neve.data.loader import one_of_each, pack
from neve.errors import NeveError
from neve.frontend import LOG_FLOOR, FeatureConfig
from neve.text import TextConfig

PLAIN = AugmentConfig(spec_augment=False)


@pytest.fixture(scope="module")
def fbank(tmp_path_factory):
    """Features of 30 utterances at three speeds."""
    import numpy
    import soundfile

    folder = tmp_path_factory.mktemp("loader")
    generator = numpy.random.default_rng(0)
    lines = ["audio,text,speaker"]
    for number in range(30):
        seconds = 0.5 + 0.1 * number
        samples = 0.1 * generator.standard_normal(int(seconds * 16000))
        soundfile.write(folder / f"u{number:02d}.wav", samples, 16000)
        lines.append(f"u{number:02d}.wav,SOME WORDS {'I' * (number + 1)},s{number % 3}")
    (folder / "table.csv").write_text("\n".join(lines))
    config = DataConfig(source="table", dir=str(folder / "table.csv"), dev=[], test=[])
    prepare_manifests(config, TextConfig(), folder, folder / "manifests", 1)
    compute_features(
        config, FeatureConfig(), AugmentConfig(), folder / "manifests", folder / "fbank", 1
    )
    return folder / "fbank"


def loader_of(fbank, training=True, augment=PLAIN, **keys):
    others = {
        name: keys.pop(name) for name in ("seed", "rank", "world_size", "num_workers") & keys.keys()
    }
    config = DataConfig(**{"max_duration": 12.0, **keys})
    return Loader(
        [fbank / "cuts_train.jsonl.gz"], config, augment, training=training, **others
    )


def original(name: str) -> str:
    return name.split("_")[0]


def test_what_a_batch_holds(fbank):
    for batch in loader_of(fbank):
        size = len(batch["ids"])
        features, lengths = batch["features"], batch["feature_lens"]
        assert features.shape == (size, int(lengths.max()), 80)
        assert str(features.dtype) == "torch.float32" and str(lengths.dtype) == "torch.int64"
        for i, cut in enumerate(batch["cuts"]):
            assert cut.id == batch["ids"][i] and cut.duration == batch["durations"][i]
            assert cut.supervisions[0].text == batch["texts"][i]
            assert cut.supervisions[0].speaker == batch["speakers"][i]
            assert np.array_equal(features[i, : lengths[i]].numpy(), cut.load_features())
            assert features[i, lengths[i] :].numpy() == pytest.approx(LOG_FLOOR)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("limits", [{"max_duration": 7.0}, {"max_cuts": 3}])
def test_batches_keep_their_limits(fbank, training, limits):
    for batch in loader_of(fbank, training, **limits):
        size = len(batch["ids"])
        assert size * max(batch["durations"]) <= limits.get("max_duration", 12.0) or size == 1
        assert size <= limits.get("max_cuts", 1000)


def test_an_utterance_longer_than_a_batch_comes_alone(fbank):
    batches = list(loader_of(fbank, max_duration=1.0))
    assert all(len(batch["ids"]) == 1 for batch in batches if max(batch["durations"]) > 0.5)
    assert sum(len(batch["ids"]) for batch in batches) == 30


def test_training_has_each_utterance_once_at_some_speed(fbank):
    loader = loader_of(fbank)
    speeds, orders = set(), set()
    for epoch in range(6):
        loader.set_epoch(epoch)
        ids = [name for batch in loader for name in batch["ids"]]
        assert sorted(map(original, ids)) == [f"u{number:02d}" for number in range(30)]
        speeds |= {name for name in ids if original(name) == "u07"}
        orders.add(tuple(ids))
    assert speeds == {"u07", "u07_sp0.9", "u07_sp1.1"} and len(orders) == 6


def test_training_can_have_all_speeds(fbank):
    loader = loader_of(fbank, speed_per_epoch="all")
    ids = [name for batch in loader for name in batch["ids"]]
    assert len(ids) == len(set(ids)) == 90
    assert loader.seconds == pytest.approx(sum(d for b in loader for d in b["durations"]))


def test_evaluation_has_everything_once_longest_first(fbank):
    loader = loader_of(fbank, training=False)
    durations = [duration for batch in loader for duration in batch["durations"]]
    assert len(durations) == 90 and durations == sorted(durations, reverse=True)
    assert len({name for batch in loader for name in batch["ids"]}) == 90


def test_length_is_known_beforehand(fbank):
    for training in (True, False):
        loader = loader_of(fbank, training)
        assert len(loader) == len(list(loader)) > 3


def same(one: dict, two: dict) -> bool:
    return one["ids"] == two["ids"] and bool((one["features"] == two["features"]).all())


def test_everything_follows_from_seed_and_epoch(fbank):
    augment = AugmentConfig()
    first = list(loader_of(fbank, augment=augment, seed=5))
    again = list(loader_of(fbank, augment=augment, seed=5))
    assert all(map(same, first, again))
    other = list(loader_of(fbank, augment=augment, seed=6))
    assert [batch["ids"] for batch in other] != [batch["ids"] for batch in first]
    loader = loader_of(fbank, augment=augment, seed=5)
    loader.set_epoch(1)
    second = list(loader)
    assert [batch["ids"] for batch in second] != [batch["ids"] for batch in first]
    loader.set_epoch(0)
    assert all(map(same, first, loader))


def test_workers_change_nothing(fbank):
    augment = AugmentConfig()
    with_thread = list(loader_of(fbank, augment=augment, num_workers=0))
    with_processes = list(loader_of(fbank, augment=augment, num_workers=2))
    assert len(with_thread) == len(with_processes)
    assert all(map(same, with_thread, with_processes))


def test_a_process_that_is_killed_is_replaced(fbank, caplog):
    augment, pace = AugmentConfig(), {"num_workers": 2, "max_cuts": 2, "prefetch": 1}
    whole = list(loader_of(fbank, augment=augment, **{**pace, "num_workers": 0}))
    before = set(multiprocessing.active_children())
    killed, rest = [], loader_of(fbank, augment=augment, **pace)
    for number, batch in enumerate(rest):
        assert same(batch, whole[number])
        if number in (0, 4, 9):
            (worker, *_) = set(multiprocessing.active_children()) - before
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
            killed.append(worker)
    assert number == len(whole) - 1 and len(killed) == 3
    assert "was killed, most likely for want of memory; started again (3 of 3 times)" in caplog.text


def test_processes_that_are_killed_too_often_stop_the_epoch(fbank):
    before = set(multiprocessing.active_children())
    with pytest.raises(NeveError, match=r"as 3 times before.*lower data.num_workers"):
        for _ in loader_of(fbank, max_cuts=1, prefetch=1, num_workers=1):
            for worker in set(multiprocessing.active_children()) - before:
                os.kill(worker.pid, signal.SIGKILL)
                worker.join()


def test_features_that_are_not_finite_name_their_utterance(fbank, tmp_path):
    path = tmp_path / "cuts_train.jsonl"
    lines = gzip.decompress((fbank / "cuts_train.jsonl.gz").read_bytes()).splitlines()
    cut = json.loads(lines[0])
    values = np.zeros((cut["features"]["num_frames"], 80), np.float32)
    values[5, 7] = np.nan
    np.save(tmp_path / "bad.npy", values)
    cut["features"].update(
        storage_type="numpy_files", storage_path=str(tmp_path), storage_key="bad.npy"
    )
    path.write_text(json.dumps(cut))
    with pytest.raises(NeveError, match=rf"utterance {cut['id']}: its features are not finite"):
        list(Loader([path], DataConfig(), PLAIN, training=False))


def test_the_cache_changes_nothing(fbank):
    augment = AugmentConfig()
    plain, cached = (loader_of(fbank, augment=augment, cache=cache) for cache in (False, True))
    for epoch in (0, 1, 0):
        plain.set_epoch(epoch)
        cached.set_epoch(epoch)
        assert all(map(same, plain, cached))


def test_a_cached_epoch_reads_nothing(fbank, tmp_path):
    import shutil

    copy = tmp_path / "fbank"
    shutil.copytree(fbank, copy)
    loader = loader_of(copy, cache=True, speed_per_epoch="all")
    count = len(list(loader))
    for path in copy.glob("*.lca"):
        path.unlink()
    assert len(list(loader)) == count


def test_spec_augment_is_for_training_alone(fbank):
    def values(training, augment):
        loader = loader_of(fbank, training, augment)
        return np.concatenate([batch["features"].numpy().ravel() for batch in loader])

    always = AugmentConfig(spec_prob=1.0)
    assert np.array_equal(values(False, always), values(False, PLAIN))
    assert not np.array_equal(values(True, always), values(True, PLAIN))


def test_ranks_share_an_epoch(fbank):
    for world_size in (2, 3, 4):
        whole = [batch["ids"] for batch in loader_of(fbank)]
        parts = [
            [batch["ids"] for batch in loader_of(fbank, rank=rank, world_size=world_size)]
            for rank in range(world_size)
        ]
        assert len({len(part) for part in parts}) == 1
        together = [ids for group in zip(*parts, strict=True) for ids in group]
        assert together[: len(whole)] == whole
        assert together[len(whole) :] == whole[: len(together) - len(whole)]
        decoded = [
            name
            for rank in range(world_size)
            for batch in loader_of(fbank, training=False, rank=rank, world_size=world_size)
            for name in batch["ids"]
        ]
        assert len(decoded) == len(set(decoded)) == 90


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_epoch_is_resumed_where_it_was(fbank, num_workers):
    loader = loader_of(fbank, augment=AugmentConfig(), num_workers=num_workers)
    loader.set_epoch(2)
    whole = list(loader)
    states = []
    for _ in loader:
        states.append(json.loads(json.dumps(loader.state_dict())))
        if len(states) == 3:
            break
    for done, state in enumerate(states, 1):
        resumed = loader_of(fbank, augment=AugmentConfig(), num_workers=num_workers)
        resumed.load_state_dict(state)
        rest = list(resumed)
        assert len(rest) == len(whole) - done
        assert all(map(same, rest, whole[done:]))
        assert len(list(resumed)) == len(whole)  # the next one is whole again


def test_utterances_of_unusual_length_are_left_out_of_training(fbank):
    keys = {"min_utterance": 1.0, "max_utterance": 2.0}
    durations = [d for batch in loader_of(fbank, **keys) for d in batch["durations"]]
    assert durations and min(durations) >= 1.0 and max(durations) <= 2.0
    assert len([d for batch in loader_of(fbank, False, **keys) for d in batch["durations"]]) == 90
    with pytest.raises(NeveError, match="no utterance is 50.0 to 60.0 s long.*data.min_utterance"):
        loader_of(fbank, min_utterance=50.0, max_utterance=60.0)


def test_little_is_padding(fbank):
    total = used = 0
    loader = loader_of(fbank)
    for epoch in range(4):
        loader.set_epoch(epoch)
        for batch in loader:
            total += batch["features"].shape[0] * batch["features"].shape[1]
            used += int(batch["feature_lens"].sum())
    assert used > 0.85 * total


def test_several_files_and_missing_ones(fbank, tmp_path):
    path = fbank / "cuts_train.jsonl.gz"
    loader = Loader([path, path], DataConfig(), PLAIN, training=False)
    assert sum(len(batch["ids"]) for batch in loader) == 180
    with pytest.raises(NeveError, match="gone.jsonl.gz: there is no such manifest"):
        Loader([tmp_path / "gone.jsonl.gz"], DataConfig(), PLAIN, training=True)
    with pytest.raises(NeveError, match="no manifests"):
        Loader([], DataConfig(), PLAIN, training=True)


@pytest.mark.parametrize(
    "content,message",
    [
        (b"{}\n", "bad.jsonl:1: is not a cut with features"),
        (b'\n{"id": "a", "duration": 1.0}\n', "bad.jsonl:2: is not a cut with features"),
        (b"not json\n", "bad.jsonl:1: is not a cut"),
        (b"", "bad.jsonl: there are no utterances"),
    ],
)
def test_damaged_manifests_are_named(tmp_path, content, message):
    (tmp_path / "bad.jsonl").write_bytes(content)
    with pytest.raises(NeveError, match=message):
        Loader([tmp_path / "bad.jsonl"], DataConfig(), PLAIN, training=True)


def test_a_manifest_cut_short_is_named(fbank, tmp_path):
    content = (fbank / "cuts_train.jsonl.gz").read_bytes()
    (tmp_path / "cuts.jsonl.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(NeveError, match="cuts.jsonl.gz: cannot be read"):
        Loader([tmp_path / "cuts.jsonl.gz"], DataConfig(), PLAIN, training=True)


def test_features_that_are_gone_are_named(fbank, tmp_path):
    import shutil

    copy = tmp_path / "fbank"
    shutil.copytree(fbank, copy)
    loader = loader_of(copy)
    for path in copy.glob("*.lca"):
        path.write_bytes(b"")
    with pytest.raises(NeveError, match=r"utterance u.*feats_train_0000.lca\) cannot be read"):
        list(loader)


def test_features_of_different_kinds_do_not_mix(fbank, tmp_path):
    import shutil

    copy = tmp_path / "fbank"
    shutil.copytree(fbank, copy)
    path = copy / "frontend.json"
    path.write_text(path.read_text().replace('"low_freq": 20.0', '"low_freq": 50.0'))
    files = [fbank / "cuts_train.jsonl.gz", copy / "cuts_train.jsonl.gz"]
    with pytest.raises(NeveError, match="hold features of different kinds"):
        Loader(files, DataConfig(), PLAIN, training=True)


def test_stopping_early_leaves_no_thread(fbank):
    import threading

    before = threading.active_count()
    for _ in loader_of(fbank):
        break
    assert threading.active_count() == before


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(0.1, 30), min_size=1, max_size=60), st.floats(1, 100), st.integers(0, 10)
)
def test_packing_loses_nothing(durations, max_duration, max_cuts):
    durations = np.array(durations)
    order = np.argsort(-durations)
    batches = pack(order, durations, max_duration, max_cuts)
    assert np.array_equal(np.concatenate(batches), order)
    for batch, after in zip(batches, [*batches[1:], None], strict=True):
        assert len(batch) == 1 or len(batch) * durations[batch].max() <= max_duration
        assert not max_cuts or len(batch) <= max_cuts
        if after is not None and not max_cuts:  # the next one would not have fitted
            more = durations[np.append(batch, after[0])]
            assert len(more) * more.max() > max_duration


def test_versions_are_drawn_evenly():
    utterances = np.array([0, 0, 0, 1, 2, 2])
    generator = np.random.default_rng(0)
    draws = [one_of_each(utterances, np.arange(6), generator) for _ in range(3000)]
    counts = np.bincount(np.concatenate(draws), minlength=6) / 3000
    assert counts == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1, 1 / 2, 1 / 2], abs=0.04)


def test_an_epoch_is_resumed_by_another_number_of_processes(fbank):
    whole = [batch["ids"] for batch in loader_of(fbank, max_duration=5.0)]
    rest = []
    for rank in range(3):
        part = loader_of(fbank, max_duration=5.0, rank=rank, world_size=3)
        part.load_state_dict({"epoch": 0, "batches": 4})
        rest.append([batch["ids"] for batch in part])
        assert part.state_dict()["batches"] == 4 + 3 * len(rest[0])
    together = [ids for group in zip(*rest, strict=True) for ids in group]
    assert together[: len(whole) - 4] == whole[4:]


def test_utterances_can_be_left_out_and_the_largest_batch_asked_for(fbank):
    loader = loader_of(fbank, speed_per_epoch="all")
    loader.leave_out({"u29", "u29_sp0.9", "u29_sp1.1"})
    ids = {name for batch in loader for name in batch["ids"]}
    assert len(ids) == 87 and not {name for name in ids if original(name) == "u29"}
    largest = loader.largest(20.0)
    assert 20.0 * 0.7 < sum(largest["durations"]) <= 20.0
    assert largest["ids"][0] == "u28_sp0.9" and len(loader.largest(0.1)["ids"]) == 1
