"""The command line: help, configuration keys, errors, what a verb imports, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from neve.cli.main import VERBS, main, split_overrides
from neve.config import describe

SLOW = ("torch", "lhotse", "numba")


def neve(*words, cwd=None, code=0):
    """Run `neve WORDS` in a process of its own; (standard output, standard error)."""
    answer = subprocess.run(
        [sys.executable, "-m", "neve", *map(str, words)], capture_output=True, text=True, cwd=cwd
    )
    assert answer.returncode == code, answer.stderr
    return answer.stdout, answer.stderr


def slow_modules(*words, cwd=None):
    """The slow packages that are loaded once `neve WORDS` has run."""
    code = (
        "import sys\nfrom neve.cli.main import main\n"
        "status = main(sys.argv[1:])\nassert status == 0, status\n"
        f"print('slow:', *[name for name in {SLOW} if name in sys.modules])\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, cwd=cwd
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()[-1].split()[1:]


def test_overview_lists_the_verbs_in_the_order_of_the_stages(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    places = [text.index(f" {verb} ") for verb in VERBS]
    assert places == sorted(places)
    assert main([]) == 0
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip().endswith(__import__("neve").__version__)


def test_help_of_transcribe_needs_no_file(capsys):
    assert main(["transcribe", "--help"]) == 0
    assert "--model DIR" in capsys.readouterr().out


ALONE = ("transcribe", "spot", "doctor", "perplexity")  # they take no configuration


@pytest.mark.parametrize("verb", ALONE)
def test_help_of_a_verb_without_configuration_shows_no_key(verb, capsys):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert "options:" in text and "configuration keys" not in text and "--config" not in text


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ALONE])
def test_help_shows_type_default_and_meaning_of_each_key(verb, capsys):
    from neve.cli.config import Config

    assert main([verb, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    shown = [row for row in describe(Config) if f"--{row[0].replace('_', '-')} (" in text]
    assert len(shown) > (3 if verb == "g2p" else 8)  # g2p has only section text
    for key, kind, _, meaning in shown:
        assert f"--{key.replace('_', '-')} ({kind}; default " in text
        assert " ".join(meaning.split()) in text
    if verb == "config":
        assert len(shown) == len(describe(Config))


def test_every_key_has_a_meaning():
    from neve.cli.config import Config

    assert not [key for key, _, _, meaning in describe(Config) if len(meaning) < 8]


def test_help_starts_quickly_because_it_imports_nothing_slow():
    for words in (["--help"], ["train", "--help"], ["decode", "--help"], ["transcribe", "--help"]):
        assert slow_modules(*words) == []


def test_lang_lm_score_and_config_import_neither_torch_nor_lhotse(tmp_path):
    manifests = tmp_path / "data/manifests"
    manifests.mkdir(parents=True)
    for split in ("train", "dev"):
        (manifests / f"text_{split}").write_text("u1 ONE TWO\nu2 TWO ONE ONE\n")
    words = ["--lang.kind", "char", "--lang.write-pt", "false", "--lm.order", "2"]
    assert slow_modules("config", *words, cwd=tmp_path) == []
    assert slow_modules("lang", *words, cwd=tmp_path) == []
    assert (tmp_path / "data/lang_char/lexicon.txt").exists()
    assert slow_modules("lm", *words, cwd=tmp_path) == []
    assert (tmp_path / "data/lm/2gram_char/G.fst.txt").exists()
    decode = tmp_path / "exp/ctc-seed0/decode_hlg"
    decode.mkdir(parents=True)
    (decode / "hyps-test.jsonl").write_text(
        json.dumps({"id": "u1", "ref": "ONE TWO", "duration": 1.0, "speaker": "s", "fields": {},
                    "nbest": [{"score": 0.0, "words": [["ONE", 0.0, 0.4, 1.0]]}]}) + "\n"
    )  # fmt: skip
    assert slow_modules("score", *words, cwd=tmp_path) == []
    assert "50.00" in (tmp_path / "RESULTS.md").read_text()
    assert (tmp_path / "exp/ctc-seed0/report_hlg/config.yaml").exists()
    # a second time all is up to date
    for verb in ("lang", "lm", "score"):
        assert "is up to date, skipped" in neve(verb, *words, cwd=tmp_path)[1]


def test_configuration_is_composed_checked_and_printed(tmp_path):
    (tmp_path / "a.yaml").write_text("tag: a\nlm: {order: 4}\n")
    text, _ = neve("config", "--config", "a.yaml", "--training.seed=7", cwd=tmp_path)
    assert "exp: exp/a-seed7\n" in text and "order: 4\n" in text
    assert neve("config", "--check", "--config", "a.yaml", cwd=tmp_path)[0] == ""
    _, errors = neve("config", "--check", "--lm.ordr", "3", code=1)
    assert "there is no key lm.ordr; the nearest key is lm.order" in errors
    assert "Traceback" not in errors
    _, errors = neve("config", "--config", "b.yaml", cwd=tmp_path, code=1)
    assert "b.yaml: there is no such configuration file" in errors


def test_wrong_usage():
    assert "there is no verb" in neve("frobnicate", code=2)[1]
    assert "unrecognized arguments: --bogus" in neve("lm", "--bogus", code=2)[1]
    assert "--lm.order needs a value" in neve("lm", "--lm.order", code=2)[1]
    assert "--lm.order needs a value" in neve("lm", "--lm.order", "--lm.text", "x", code=2)[1]


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("features", "data/manifests/cuts_train.jsonl.gz: stage 1 makes it (`neve prepare`"),
        ("lang", "data/manifests/text_train: stage 1 makes it"),
        ("lm", "data/lang_phone/words.txt: stage 3 makes it (`neve lang`"),
        ("graph", "data/lang_phone/L_disambig.npz: stage 3 makes it"),
        ("train", "data/fbank/cuts_train.jsonl.gz: stage 2 makes it"),
        ("decode", "exp/ctc-seed0/averaged.pt: stage 6 makes it (`neve train`"),
        ("score", "exp/ctc-seed0/decode_hlg: stage 7 makes it"),
        ("pack", "exp/ctc-seed0/averaged.pt: stage 6 makes it"),
        ("average", "exp/ctc-seed0: `neve train` makes it"),
    ],
)
def test_a_missing_input_names_its_stage(tmp_path, monkeypatch, capsys, verb, message):
    monkeypatch.chdir(tmp_path)
    assert main([verb]) == 1
    assert f"neve {verb}: there is no {message}" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.partial*"))


@pytest.mark.parametrize(
    "method, key, message",
    [
        ("beam", "token-lm", "there is no x: `neve lm --lm.unit tokens` makes it"),
        ("greedy", "neural-lm", "there is no x: `neve train-lm` makes it"),
        ("mbr", "token-lm", "method mbr has no use for it; those that have are greedy, modified-"),
        ("ctc-greedy", "neural-lm", "no use for it; those that have are neural-rescoring, greedy"),
        ("beam", "rescore-lm", "have are nbest-rescoring, whole-lattice-rescoring"),
    ],
)
def test_language_models_of_a_decoding(tmp_path, monkeypatch, capsys, method, key, message):
    monkeypatch.chdir(tmp_path)
    for name in ("exp/ctc-seed0/averaged.pt", "data/fbank/frontend.json", "data/lang_phone/x"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.touch()
    splits = ["--decoding.splits", "[]", "--data.dev", "[]", "--data.test", "[]"]
    splits += ["--graph.kind", "HL"]
    (tmp_path / "data/graphs/phone_3gram/HL").mkdir(parents=True)
    assert main(["decode", *splits, "--decoding.method", method, f"--decoding.{key}", "x"]) == 1
    assert message in capsys.readouterr().err


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """Calls of `launch`, which starts nothing; the working directory has what training reads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    (tmp_path / "data/lang_phone").mkdir(parents=True)
    (tmp_path / "data/fbank").mkdir()
    for name in ("cuts_train.jsonl.gz", "cuts_dev.jsonl.gz", "frontend.json"):
        (tmp_path / "data/fbank" / name).touch()
    calls = []
    monkeypatch.setattr("neve.training.launch", lambda *what: calls.append(what))
    return calls


@pytest.mark.parametrize(
    "words, message",
    [
        (["mbr"], ""),
        (["attention-rescoring"], "needs the attention decoder, which a model directory does not"),
        (["nbest-oracle"], "needs the reference texts"),
        (["whole-lattice-rescoring"], "needs decoding.rescore_lm and the graph's own G"),
        (["neural-rescoring"], "needs decoding.neural_lm"),
        (["modified-beam"], ""),
        (["modified-beam", "--decoding.neural-lm", "lm"], "needs decoding.neural_lm"),
        (["beam", "--decoding.token-lm", "lm.arpa"], "needs decoding.token_lm, which"),
        (["beam-rescoring"], "needs decoding.neural_lm, rescore_lm or token_lm"),
    ],
)
def test_what_a_model_directory_cannot_decode_is_not_packed(
    tmp_path, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["pack", "--decoding.method", *words]) == 1
    assert (message or "averaged.pt: stage 6 makes it") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "processes"),
    [
        (["--ngpu", "2"], 2),
        (["--ngpu", "0", "--nproc", "3", "--training.restarts", "5"], 3),
        (["--ngpu", "4", "--nproc", "2", "--force"], 2),
    ],
)
def test_training_on_several_devices_starts_itself_several_times(launched, words, processes):
    assert main(["train", *words]) == 0
    restarts = 5 if "--training.restarts" in words else 3
    assert launched == [([sys.executable, "-m", "neve", "train", *words], processes, restarts)]


def test_one_device_needs_no_further_process(launched, capsys):
    for words in (["--ngpu", "0"], ["--nproc", "1", "--training.device", "cpu"]):
        assert main(["train", *words]) == 1
        assert "data/lang_phone/tokens.txt: there is no" in capsys.readouterr().err  # in training
    assert launched == []


def test_what_training_lacks_is_said_once_before_processes_are_started(launched, capsys):
    Path("data/fbank/frontend.json").unlink()
    assert main(["train", "--ngpu", "2"]) == 1
    assert capsys.readouterr().err.count("there is no data/fbank/frontend.json: stage 2") == 1
    assert launched == []


def test_training_on_several_machines_is_started_by_torchrun(launched, capsys):
    for words, message in (
        (["--num-nodes", "2"], "torchrun --nnodes N --nproc-per-node GPUS"),
        (["--nproc", "0"], "--nproc 0: there cannot be so few"),
        (["--ngpu", "-1"], "--ngpu -1: there cannot be so few"),
    ):
        assert main(["train", *words]) == 1
        assert message in capsys.readouterr().err
    assert launched == []


def test_overrides_are_taken_out_before_the_options():
    words = ["--nj", "3", "--a.b", "-4", "--c-d.e=x=y", "--force", "--tag", "name", "FILE"]
    rest, overrides = split_overrides(words, None)
    assert rest == ["--nj", "3", "--force", "FILE"]
    assert overrides == [("a.b", "-4"), ("c-d.e", "x=y"), ("tag", "name")]


def test_transcribe_names_what_is_wrong(tmp_path, capsys):
    (tmp_path / "x.wav").write_bytes(b"")
    for file, message in (
        ("y.wav", "y.wav: there is no such audio file"),
        ("x.wav", "is not a model directory (there is no model.yaml in it)"),
    ):
        assert main(["transcribe", str(tmp_path / file), "--model", str(tmp_path)]) == 1
        assert message in capsys.readouterr().err
    (tmp_path / "model.yaml").write_text("format: 99\n")
    assert main(["transcribe", str(tmp_path / "x.wav"), "--model", str(tmp_path)]) == 1
    assert "model.yaml: is not format" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["transcribe", "x.wav"])
    assert "--model" in capsys.readouterr().err


SCRIPT = """
import sys
print("the script has begun", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_stage_leaves_nothing_half_done(tmp_path, how, status):
    (tmp_path / "local").mkdir()
    (tmp_path / "local/manifests.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "neve", "prepare"], cwd=tmp_path, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "the script has begun\n"
    os.killpg(process.pid, how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    if how == signal.SIGINT:
        assert "neve prepare: interrupted. Nothing half-done is left" in errors
        assert errors.count("Traceback") <= 1  # the recipe's script may show its own
    assert not (tmp_path / "data/manifests").exists()
    assert not [p for p in (tmp_path / "data").iterdir() if "partial" in p.name]
    assert "KeyboardInterrupt" in (tmp_path / "data/log/manifests.log").read_text() or (
        how == signal.SIGTERM
    )


def test_a_programming_error_shows_its_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("neve.cli.config.run", lambda config, args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["config"])


def test_output_may_be_cut_short_by_its_reader():
    process = subprocess.Popen(
        [sys.executable, "-m", "neve", "config", "--help"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


def test_no_machine_path_in_the_library():
    """Defaults are relative to the directory that a verb is run in."""
    from neve.cli.config import Config

    for key, _, default, _ in describe(Config):
        assert not Path(str(default)).is_absolute(), key
