"""The results file: what is written is read back, and what is not a result is named."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neve.errors import NeveError
from neve.results import Hypothesis, Result, Word, iter_results, read_results, write_results

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TIME = st.integers(0, 100_000).map(lambda ms: ms / 1000)
WORD = st.builds(
    Word, TEXT, TIME, TIME, st.none() | st.integers(0, 10_000).map(lambda c: c / 10_000)
)
HYPOTHESIS = st.builds(
    Hypothesis,
    st.lists(WORD, max_size=4),
    st.floats(-1e6, 1e6, allow_nan=False),
)
RESULT = st.builds(
    Result,
    TEXT,
    st.none() | TEXT,
    st.lists(HYPOTHESIS, max_size=3),
    TIME,
    st.none() | TEXT,
    st.dictionaries(TEXT, TEXT, max_size=3),
)


def example(**changes):
    record = {
        "id": "u1",
        "ref": "A B",
        "duration": 1.5,
        "speaker": "s",
        "fields": {},
        "nbest": [{"score": -1.0, "words": [["A", 0.0, 0.5, None]]}],
    }
    record.update(changes)
    return {key: value for key, value in record.items() if value is not ...}


@settings(max_examples=50, deadline=None)
@given(results=st.lists(RESULT, max_size=4, unique_by=lambda r: r.id))
def test_round_trip(tmp_path_factory, results):
    path = tmp_path_factory.mktemp("results") / "hyps-test.jsonl"
    assert write_results(path, results) == len(results)
    assert read_results(path) == results


def test_times_are_rounded_to_a_tenth_of_a_millisecond(tmp_path):
    path = tmp_path / "hyps.jsonl"
    write_results(path, [Result("u", "A", [Hypothesis([Word("A", 0.1 + 0.2, 0.34, 0.98765)])])])
    assert read_results(path)[0].nbest[0].words == [Word("A", 0.3, 0.34, 0.9877)]
    assert "0.30000000000000004" not in path.read_text()


def test_text_of_the_best_hypothesis():
    words = [Word("A", 0, 1, 1.0), Word("B", 1, 2, 1.0)]
    assert Result("u", None, [Hypothesis(words), Hypothesis([])]).hyp == "A B"
    assert Result("u", None, []).hyp == ""


@pytest.mark.parametrize(
    "record, complaint",
    [
        (example(id=...), "no 'id'"),
        (example(id=7), "id is 7"),
        (example(nbest=...), "no 'nbest'"),
        (example(ref=["A"]), "ref is"),
        (example(duration="long"), "duration is 'long'"),
        (example(nbest=[{"words": [["A", 0.0]]}]), "unpack"),
        (example(nbest=[{"words": [[3, 0.0, 0.1, None]]}]), "word 3"),
        (example(nbest=[{"words": [["A", None, 0.1, None]]}]), "start is None"),
        (example(nbest=[["A"]]), "indices"),
        (example(fields=["x"]), "items"),
        ([], "not a JSON object"),
    ],
)
def test_a_line_that_is_not_a_result_is_named(tmp_path, record, complaint):
    path = tmp_path / "hyps-test.jsonl"
    path.write_text(json.dumps(example(id="u0")) + "\n" + json.dumps(record) + "\n")
    with pytest.raises(NeveError) as error:
        read_results(path)
    assert f"{path}, line 2" in str(error.value)
    assert complaint in str(error.value)


def test_a_cut_line_is_named(tmp_path):
    path = tmp_path / "hyps-test.jsonl"
    path.write_text(json.dumps(example()) + "\n" + '{"id": "u2", "ref')
    with pytest.raises(NeveError, match="line 2: not a decoding result"):
        read_results(path)


def test_an_id_that_comes_twice_is_named_with_both_lines(tmp_path):
    path = tmp_path / "hyps-test.jsonl"
    path.write_text((json.dumps(example()) + "\n\n") * 2)
    with pytest.raises(NeveError, match="line 3: utterance u1 is already on line 1"):
        read_results(path)


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "hyps-test.jsonl"
    write_results(path, [Result("u", "A", [])])
    before = path.read_bytes()
    with pytest.raises(NeveError, match="u1 is given twice"):
        write_results(path, [Result("u1", "A", []), Result("u1", "B", [])])
    with pytest.raises(NeveError, match="u2 cannot be written"):
        write_results(path, [Result("u2", "A", [], duration=float("nan"))])
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_missing_file_and_a_binary_one(tmp_path):
    with pytest.raises(NeveError, match="cannot be read.*decode first"):
        read_results(tmp_path / "none.jsonl")
    path = tmp_path / "binary.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NeveError, match="not UTF-8"):
        next(iter_results(path))
