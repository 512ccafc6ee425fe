"""The four kinds of corpus, and what is wrong with each."""

import pytest
import soundfile

from neve.data import DataConfig, load_cuts, prepare_manifests
from neve.data.sources import flatten, read_corpus
from neve.errors import NeveError
from neve.text import TextConfig


def read(tmp_path, **keys):
    problems = []
    config = DataConfig(**{"dev": [], "test": [], **keys})
    return read_corpus(config, tmp_path / "download", tmp_path, 1, problems), problems


def table(corpus, tmp_path, rows=None, name="train.csv", **keys):
    path = corpus.table(rows, name)
    return read(tmp_path, **{"source": "table", "dir": str(path), **keys})[0]


# -- tables ----------------------------------------------------------------------------------


def test_csv_with_quotes_other_columns_and_a_byte_order_mark(corpus, tmp_path):
    path = corpus.folder / "data.csv"
    path.write_text(
        '\ufefftext,audio,mood\n"YES, ""NO""",audio/utt001.wav,happy\n\nNO,audio/utt000.wav,\n'
    )
    splits, _ = read(tmp_path, source="table", dir=str(path))
    first, second = splits["train"].utterances
    assert first.text == 'YES, "NO"' and first.id == "utt001" and first.fields == {"mood": "happy"}
    assert first.where == f"{path}:2" and second.where == f"{path}:4"
    assert splits["train"].recordings["utt001"].source == str(corpus.path("utt001"))


def test_tsv_takes_quotes_as_they_are(corpus, tmp_path):
    rows = [["audio", "text"], ["audio/utt000.wav", '"YES']]
    assert table(corpus, tmp_path, rows, "a.tsv")["train"].utterances[0].text == '"YES'


def test_a_table_of_segments(corpus, tmp_path):
    rows = [["audio", "text", "start", "end"], ["audio/utt003.wav", "NO", "0.5", "1.25"]]
    rows.append(["audio/utt003.wav", "YES", "0", ""])
    first, second = table(corpus, tmp_path, rows)["train"].utterances
    assert (first.id, first.start, first.duration) == ("utt003-0000050", 0.5, 0.75)
    assert (second.id, second.start, second.duration) == ("utt003-0000000", 0.0, None)
    assert first.recording == second.recording


def test_a_directory_of_tables(corpus, tmp_path):
    corpus.table(name="train.csv")
    corpus.table(corpus.rows()[:3], name="test.tsv")
    splits, _ = read(tmp_path, source="table", dir=str(corpus.folder), test=["test"])
    assert len(splits["train"].utterances) == 12 and len(splits["test"].utterances) == 2


@pytest.mark.parametrize(
    "rows,message",
    [
        ([["audio", "words"], ["a", "x"]], "train.csv:1: there is no column text.*audio, words"),
        ([["path"], ["a"]], "train.csv:1: there is no column audio and no column text"),
        ([["audio", "text", "text"], ["a", "b", "c"]], "train.csv:1: column 'text' is there twice"),
        ([["audio", "text"], ["a.wav", "x", "y"]], "train.csv:2: has 3 columns.*2.*double quotes"),
        ([["audio", "text"], ["", "x"]], "train.csv:2: the column audio is empty"),
        ([["audio", "text"]], "train.csv: has no utterances"),
        ([["audio", "text", "start"], ["a", "x", "soon"]], "train.csv:2: column start: 'soon'"),
        ([["audio", "text"], ["a", '"x']], "train.csv:2: "),
    ],
)
def test_bad_tables_are_named_by_line(corpus, tmp_path, rows, message):
    with pytest.raises(NeveError, match=message):
        table(corpus, tmp_path, rows)


def test_a_table_in_another_encoding(corpus, tmp_path):
    path = corpus.folder / "latin.csv"
    path.write_bytes("audio,text\na.wav,café\n".encode("latin-1"))
    with pytest.raises(NeveError, match="latin.csv: is not UTF-8.*iconv"):
        read(tmp_path, source="table", dir=str(path))


def test_no_table(tmp_path):
    with pytest.raises(NeveError, match="nowhere: is neither a table nor a directory"):
        read(tmp_path, source="table", dir=str(tmp_path / "nowhere"))


# -- Kaldi -----------------------------------------------------------------------------------


def kaldi(corpus, tmp_path, **changes):
    return read(tmp_path, source="kaldi", dir=str(corpus.kaldi(**changes)))


def test_kaldi_directory(corpus, tmp_path):
    splits, problems = kaldi(corpus, tmp_path, spk2gender=["spk0 f"], utt2lang=["utt000 en"])
    assert not problems
    utterances = splits["train"].utterances
    assert {item.id: item.text for item in utterances} == corpus.texts
    assert {item.id: item.speaker for item in utterances} == corpus.speakers
    assert utterances[0].gender == "f" and utterances[1].gender is None
    assert utterances[0].language == "en"


def test_kaldi_segments_and_commands(corpus, tmp_path):
    changes = {
        "wav_scp": [f"rec cat {corpus.path('utt003')} |"],
        "segments": ["a rec 0.0 0.5", "b rec 0.5 -1"],
        "text": ["a YES", "b NO"],
        "utt2spk": ["a x", "b x"],
    }
    folder = corpus.kaldi(**changes)
    config = DataConfig(source="kaldi", dir=str(folder), dev=[], test=[])
    prepare_manifests(config, TextConfig(), tmp_path, tmp_path / "out", 1)
    first, second = load_cuts(tmp_path / "out/cuts_train.jsonl.gz")
    samples, _ = soundfile.read(corpus.path("utt003"), dtype="float32")
    assert first.load_audio()[0].tolist() == samples[:8000].tolist()
    assert second.load_audio()[0].tolist() == samples[8000:].tolist()


def test_kaldi_command_that_fails(corpus, tmp_path):
    names = sorted(corpus.texts)
    lines = [f"{name} {corpus.path(name)}" for name in names]
    lines[2] = "utt002 sh -c 'echo no such tape >&2; exit 3' |"
    folder = corpus.kaldi(wav_scp=lines)
    config = DataConfig(source="kaldi", dir=str(folder), dev=[], test=[], max_dropped=0.5)
    prepare_manifests(config, TextConfig(), tmp_path, tmp_path / "out", 1)
    (line,) = (tmp_path / "out/problems.txt").read_text().splitlines()
    assert line.startswith("train\tutt002\tdropped\tunreadable audio\t")
    assert "exit status 3: no such tape" in line


def test_kaldi_entries_without_partner(corpus, tmp_path):
    names = sorted(corpus.texts)
    splits, problems = kaldi(
        corpus,
        tmp_path,
        wav_scp=[f"{name} {corpus.path(name)}" for name in names[1:]],
        text=[f"{name} {corpus.texts[name]}" for name in names[:-1]],
        utt2spk=[f"{name} someone" for name in names if name != "utt005"],
    )
    found = {(problem.kind, problem.id, problem.action) for problem in problems}
    assert found == {
        ("transcript without audio", "utt000", "dropped"),
        ("audio without transcript", "utt011", "ignored"),
        ("no speaker", "utt005", "kept"),
    }
    assert "text:1: not in wav.scp" in next(p.detail for p in problems if p.id == "utt000")
    assert len(splits["train"].utterances) == 10


def test_kaldi_unsorted(corpus, tmp_path):
    names = sorted(corpus.texts, reverse=True)
    splits, problems = kaldi(corpus, tmp_path, text=[f"{n} {corpus.texts[n]}" for n in names])
    (problem,) = problems
    assert problem.kind == "file not sorted" and "text:2" in problem.detail
    assert [item.id for item in splits["train"].utterances] == sorted(corpus.texts)


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"text": ["utt000 YES", "utt000 NO"]}, "text:2: utt000 is there twice, first in .*text:1"),
        ({"text": ["utt000 YES", "", "utt001 NO"]}, "text:2: the line is empty"),
        ({"wav_scp": ["utt000"]}, "wav.scp:1: recording utt000 has neither"),
        ({"segments": ["utt000 utt000 zero one"]}, "segments:1: is not `utterance recording"),
        ({"segments": ["utt000 utt000 0.5"]}, "segments:1: is not `utterance recording"),
    ],
)
def test_bad_kaldi_lines_are_named(corpus, tmp_path, changes, message):
    with pytest.raises(NeveError, match=message):
        kaldi(corpus, tmp_path, **changes)


def test_kaldi_directory_for_each_split(corpus, tmp_path):
    corpus.kaldi().rename(corpus.folder / "train")
    splits, _ = read(tmp_path, source="kaldi", dir=str(corpus.folder))
    assert len(splits["train"].utterances) == 12


def test_no_kaldi_directory(corpus, tmp_path):
    with pytest.raises(NeveError, match="has neither wav.scp nor a directory train"):
        read(tmp_path, source="kaldi", dir=str(corpus.folder))
    folder = corpus.kaldi()
    (folder / "text").unlink()
    with pytest.raises(NeveError, match="text: there is no such file"):
        read(tmp_path, source="kaldi", dir=str(folder))


# -- a recipe's script, Lhotse's recipes -----------------------------------------------------

SCRIPT = """
import argparse, pathlib
from lhotse import AudioSource, Recording, RecordingSet, SupervisionSegment, SupervisionSet
p = argparse.ArgumentParser()
p.add_argument("--download"); p.add_argument("--out"); p.add_argument("--nj", type=int)
a = p.parse_args()
out = pathlib.Path(a.out)
for split, name in (("train", "utt001"), ("other", "utt002")):
    r = Recording(name, [AudioSource("file", [0], a.download + f"/{name}.wav")], 16000, 800, 0.05)
    s = SupervisionSegment("u-" + name, name, 0.0, 0.05, text="yes", speaker="s", custom={"k": "v"})
    RecordingSet.from_recordings([r]).to_file(out / f"recordings_{split}.jsonl.gz")
    SupervisionSet.from_segments([s]).to_file(out / f"supervisions_{split}.jsonl.gz")
(out / "lexicon.txt").write_text("YES Y\\n")
"""


def test_a_recipes_script(corpus, tmp_path):
    script = tmp_path / "manifests.py"
    script.write_text(SCRIPT)
    config = DataConfig(script=str(script), dev=[], test=[], min_utterance=0.01)
    out = tmp_path / "out"
    prepare_manifests(config, TextConfig(), corpus.audio, out, 2)
    (cut,) = load_cuts(out / "cuts_train.jsonl.gz")
    assert cut.id == "u-utt001" and cut.supervisions[0].custom == {"k": "v"}
    assert (out / "lexicon.txt").read_text() == "YES Y\n"
    assert not list(out.glob("*_other*"))


def test_a_script_that_fails(tmp_path):
    script = tmp_path / "manifests.py"
    script.write_text("raise SystemExit(7)")
    with pytest.raises(NeveError, match="manifests.py failed with exit status 7"):
        read(tmp_path, script=str(script))
    with pytest.raises(NeveError, match="gone.py: there is no such script"):
        read(tmp_path, script="gone.py")


def test_a_lhotse_recipe(tmp_path, humming):
    folder = tmp_path / "waves_yesno"
    folder.mkdir()
    for number in range(60):  # as many as Lhotse's recipe wants
        name = "_".join(f"{number:08b}")
        soundfile.write(folder / f"{name}.wav", humming(["YES"], 8000, number), 8000)
    splits, _ = read(tmp_path, source="lhotse:yesno", dir=str(folder), test=["test"])
    sizes = {name: len(split.utterances) for name, split in splits.items()}
    assert sizes == {"train": 30, "test": 30}
    assert splits["train"].utterances[0].text == "NO NO NO NO NO NO NO NO"
    with pytest.raises(NeveError, match="prepare_yesno takes no volume; it takes"):
        read(tmp_path, source="lhotse:yesno", dir=str(folder), options={"volume": 11})


def test_lhotse_recipes_that_do_not_exist_or_fail(tmp_path):
    with pytest.raises(NeveError, match="Lhotse has no recipe yesyes; it has .*librispeech"):
        read(tmp_path, source="lhotse:yesyes", dir=str(tmp_path))
    with pytest.raises(NeveError, match="prepare_aishell.*failed"):
        read(tmp_path, source="lhotse:aishell", dir=str(tmp_path))


def test_nested_manifests_of_lhotse_recipes():
    leaf = {"recordings": 1, "supervisions": 2}
    assert flatten(leaf) == [("", leaf)]
    assert flatten({"train": leaf, "test": leaf}) == [("train", leaf), ("test", leaf)]
    assert flatten({"en": {"train": leaf, "dev": leaf}}) == [("train", leaf), ("dev", leaf)]
    two = flatten({"en": {"train": leaf}, "de": {"train": leaf}})
    assert [name for name, _ in two] == ["en_train", "de_train"]


# -- splits ----------------------------------------------------------------------------------


def test_held_out_speakers(tiny, tmp_path):
    corpus = tiny(count=40, speakers=10)
    keys = {"dev": ["dev"], "test": ["test"], "hold_out_dev": 0.1, "hold_out_test": 0.2}
    splits = table(corpus, tmp_path, **keys)
    sizes = {name: len(split.utterances) for name, split in splits.items()}
    assert sizes == {"train": 28, "dev": 4, "test": 8}
    speakers = [{item.speaker for item in split.utterances} for split in splits.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 10
    for split in splits.values():
        assert set(split.recordings) == {item.recording for item in split.utterances}


def test_held_out_utterances_of_one_speaker(tiny, tmp_path):
    splits = table(tiny(count=20, speakers=1), tmp_path, dev=["dev"], hold_out_dev=0.1)
    assert len(splits["dev"].utterances) == 2 and len(splits["train"].utterances) == 18


def test_splits_that_are_not_there(corpus, tmp_path):
    with pytest.raises(NeveError, match="no split dev .it has train.*hold_out_dev"):
        table(corpus, tmp_path, dev=["dev"])
    with pytest.raises(NeveError, match="train is in data.train and in data.dev or"):
        table(corpus, tmp_path, dev=["train"])
    with pytest.raises(NeveError, match="data.train names no split"):
        table(corpus, tmp_path, train=[])
    with pytest.raises(NeveError, match="data.source: 'tables' is not"):
        read(tmp_path, source="tables")
