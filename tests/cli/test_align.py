"""neve align: wrong usage is said at once and in words."""

import pytest

from neve.cli.main import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to align: --split NAME, --cuts FILE, or --audio with --text"),
        (["--audio", "a.wav"], "--audio and --text go together"),
        (["--split", "test", "--text", "a.txt"], "--audio and --text go together"),
        (["--cuts", "a.jsonl.gz"], "--out DIR: say where to write"),
        (["--split", "a", "--split", "b", "--out", "x"], "--out is one directory"),
        (["--split", "a", "--segment"], "--segment is for --audio"),
        (["--audio", "a.wav", "--text", "a.txt", "--out", "x"], "a.wav: there is no such file"),
        (["--split", "test"], "there is no exp/ctc-seed0/averaged.pt: stage 6 makes it"),
        (["--split", "test", "--model", "m", "--out", "x"], "m: is not a model directory"),
    ],
)
def test_wrong_usage(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["align", *words]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
