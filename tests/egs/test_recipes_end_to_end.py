"""The recipes of large corpora, whole: from tiny archives by their real run.sh to a WER.

The archives are as the corpora's owners pack them (tests/support/small_corpora.py), with speech of
eSpeak NG. The configuration is the recipe's, with a tiny model and few epochs. A recipe that breaks
anywhere ends with an error, or with error rates far above the limit: that is tested too.
"""

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import recipe_copies
import small_corpora
from small_corpora import ENGLISH

LIMIT = 0.15  # word (AISHELL: character) error rate of each test set

TINY = """
base: {base}
tag: tiny
data:
  speed_perturb: []
  min_utterance: 0.1
  max_duration: 12
  num_workers: 0
  cache: true
features: {{cmvn: global}}
augment: {{spec_augment: false}}
lang: {{vocab_size: 24, write_pt: false}}
training:
  threads: 1
  precision: fp32
  reference_batch: 12
  ema_decay: 0.95
  validate_every: 4
"""
TINY_CONFORMER = """
  epochs: 18
  learning_rate: 0.003
  average_last: 1
model: {layers: 2, dim: 96, feedforward_dim: 192, kernel: 7}
loss: {intermediate_layers: []}
"""
TINY_ZIPFORMER = """
  epochs: 16
  average_last: 3
  eden_warmup: 20
  eden_epochs: 10
model:
  predictor_dim: 64
  joiner_dim: 64
  zipformer:
    num_encoder_layers: [1, 1]
    downsampling_factors: [1, 2]
    encoder_dims: [64, 96]
    unmasked_dims: []
    feedforward_dims: [128, 192]
    num_heads: [4]
    kernels: [15, 7]
    subsampling_channels: [8, 16, 32]
    warmup_batches: 100
loss: {rnnt_warmup: 50}
"""


def mini_librispeech(folder, studio):
    small_corpora.librispeech(folder, studio, {"train-clean-5": 180, "dev-clean-2": 30})
    small_corpora.unigram_arpa(folder / "3-gram.pruned.3e-7.arpa.gz", list(ENGLISH))


def librispeech(folder, studio):
    parts = {"train-clean-100": 60, "train-clean-360": 60, "train-other-500": 60}
    parts |= {"dev-clean": 8, "dev-other": 8, "test-clean": 20, "test-other": 20}
    small_corpora.librispeech(folder, studio, parts)
    small_corpora.unigram_arpa(folder / "3-gram.pruned.1e-7.arpa.gz", [*ENGLISH, "WINTER"])


def aishell(folder, studio):
    small_corpora.aishell(folder, studio, {"train": 180, "dev": 12, "test": 30})


def tedlium3(folder, studio):
    small_corpora.tedlium(folder, studio, {"train": (6, 30), "dev": (1, 12), "test": (2, 15)})


# recipe: (its archives, its configuration, what is tiny in it, its test sets, its decoding)
RECIPES = {
    "mini_librispeech": (mini_librispeech, "ctc.yaml", TINY_CONFORMER, ["dev-clean-2"], "hlg"),
    "librispeech": (
        librispeech, "zipformer.yaml", TINY_ZIPFORMER, ["test-clean", "test-other"], "beam",
    ),
    "aishell": (aishell, "zipformer_small.yaml", TINY_ZIPFORMER, ["test"], "beam"),
    "tedlium3": (tedlium3, "zipformer_streaming.yaml", TINY_ZIPFORMER, ["test"], "beam"),
}  # fmt: skip


class Recipe:
    """A copy of a recipe in `top`, with its archives."""

    def __init__(self, corpus: str, top: Path):
        self.corpus, self.top = corpus, top
        self.there = top / "egs" / corpus / "ASR"
        _, _, _, self.test_sets, self.decoding = RECIPES[corpus]
        self.done = None

    @classmethod
    def make(cls, corpus: str, top: Path) -> "Recipe":
        recipe = cls(corpus, top)
        speak, base, tiny, *_ = RECIPES[corpus]
        recipe_copies.make(top, *{corpus, "librispeech"})  # whose manifests.py another uses
        (recipe.there / "conf/tiny.yaml").write_text(TINY.format(base=base).rstrip() + tiny)
        (top / "archives").mkdir()
        speak(top / "archives", small_corpora.Studio())
        return recipe

    def run(self, *words: str) -> subprocess.CompletedProcess:
        """Its run.sh, with the archives."""
        return recipe_copies.run(self.there, "--dl-dir", self.top / "archives", *words)

    def copy(self, top: Path) -> "Recipe":
        shutil.copytree(self.top, top, symlinks=True)
        return Recipe(self.corpus, top)

    def counts(self, split: str) -> tuple[int, int]:
        """Errors and words of a set."""
        report = self.there / f"exp/tiny-seed0/report_{self.decoding}"
        summary = json.loads((report / f"wer-summary-{split}.json").read_text())
        return summary["words"]["errors"], summary["words"]["reference"]

    def has_learnt(self) -> bool:
        """Whether the error rate of each test set is below the limit."""
        rates = [errors / words for errors, words in map(self.counts, self.test_sets)]
        return max(rates) <= LIMIT


@pytest.fixture(scope="session")
def finished(request, tmp_path_factory):
    """finished(corpus): the recipe after its run.sh; those that are tested run two at a time."""
    pytest.importorskip("espeakng_loader")
    wanted = dict.fromkeys(
        item.callspec.params["corpus"]
        for item in request.session.items
        if "finished" in getattr(item, "fixturenames", ())
    )
    top = tmp_path_factory.mktemp("recipes")

    def work(corpus):
        recipe = Recipe.make(corpus, top / corpus)
        recipe.done = recipe.run()
        return recipe

    with ThreadPoolExecutor(2) as pool:
        running = {corpus: pool.submit(work, corpus) for corpus in wanted}
        yield lambda corpus: running[corpus].result()


@pytest.mark.parametrize("corpus", RECIPES)
def test_a_recipe_learns_a_tiny_corpus(corpus, finished):
    recipe = finished(corpus)
    output = recipe.done.stdout
    assert recipe.done.returncode == 0, output
    for split in recipe.test_sets:
        assert recipe.counts(split)[1] >= 50  # words
    assert recipe.has_learnt(), (recipe.there / "RESULTS.md").read_text()
    assert "stages 0 to 9 are done" in output
    model = recipe.there / "exp/tiny-seed0/model"
    assert (model / ".stage.json").exists()
    problems = (recipe.there / "data/manifests/problems.txt").read_text()
    assert "dropped" not in problems, problems


def reverse_test_text(recipe):
    """Stage 1 of AISHELL writes the test transcripts backwards."""
    script = recipe.there / "local/manifests.py"
    right = 'item.text = " ".join(item.text)'
    assert right in script.read_text()
    wrong = 'item.text = " ".join(item.text if split == "train" else item.text[::-1])'
    script.write_text(script.read_text().replace(right, wrong))


def shift_transcripts(recipe):
    """Stage 0 of LibriSpeech has brought test-other with each text one line further down."""
    for path in recipe.there.glob("download/LibriSpeech/test-other/*/*/*.trans.txt"):
        names, texts = zip(*(line.split(" ", 1) for line in path.read_text().splitlines()))
        lines = [f"{name} {text}\n" for name, text in zip(names, (*texts[1:], texts[0]))]
        path.write_text("".join(lines))


def shift_segments(recipe):
    """Stage 0 of TED-LIUM has brought test segments whose times are 0.6 s late."""
    for path in recipe.there.glob("download/TEDLIUM_release-3/legacy/test/stm/*.stm"):
        fields = [line.split(" ", 5) for line in path.read_text().splitlines()]
        lines = [
            f"{talk} 1 {who} {float(start) + 0.6:.2f} {float(end) + 0.6:.2f} {rest}\n"
            for talk, _, who, start, end, rest in fields
        ]
        path.write_text("".join(lines[:-2]))


@pytest.mark.parametrize(
    ("corpus", "damage"),
    [
        ("librispeech", shift_transcripts),
        ("aishell", reverse_test_text),
        ("tedlium3", shift_segments),
    ],
)
def test_what_a_stage_does_wrong_shows_in_the_error_rate(corpus, damage, finished, tmp_path):
    broken = finished(corpus).copy(tmp_path / "copy")
    assert broken.has_learnt()
    damage(broken)
    for stages in (("1", "2"), ("7", "8")):  # what was trained stays
        done = broken.run("--stage", stages[0], "--stop-stage", stages[1])
        assert done.returncode == 0, done.stdout
    assert not broken.has_learnt()


@pytest.mark.parametrize("corpus", ["mini_librispeech"])
def test_training_on_wrong_text_shows_in_the_error_rate(corpus, finished, tmp_path):
    broken = finished(corpus).copy(tmp_path / "copy")
    script = broken.top / "egs/librispeech/ASR/local/manifests.py"
    right = "        write_source(part, recordings"
    wrong = (
        '        texts_of = [item.text for item in supervisions]\n'
        '        if part.startswith("train"):\n'
        "            for item, text in zip(supervisions, texts_of[1:] + texts_of[:1]):\n"
        "                item.text = text\n"
    )
    assert script.read_text().count(right) == 1
    script.write_text(script.read_text().replace(right, wrong + right))
    shutil.rmtree(broken.there / "exp")
    for stages in (("1", "2"), ("6", "8")):  # the words are the same
        done = broken.run("--stage", stages[0], "--stop-stage", stages[1])
        assert done.returncode == 0, done.stdout
    assert not broken.has_learnt()


@pytest.mark.parametrize(
    ("corpus", "output", "following"),
    [
        ("mini_librispeech", "download/LibriSpeech/train-clean-5", 1),
        ("librispeech", "data/manifests", 2),
        ("aishell", "data/fbank", 6),
        ("tedlium3", "data/lang_bpe_500", 4),
        ("mini_librispeech", "data/lm/3gram_bpe_500", 5),
        ("mini_librispeech", "data/graphs/bpe_500_3gram", 7),
        ("aishell", "exp/tiny-seed0", 7),
        ("tedlium3", "exp/tiny-seed0/decode_beam", 8),
    ],
)
def test_a_stage_that_is_left_out_is_missed(corpus, output, following, finished):
    recipe = finished(corpus)
    path = recipe.there / output
    with recipe_copies.without(path):
        done = recipe.run("--stage", following, "--stop-stage", following)
    assert done.returncode != 0
    assert path.name in done.stdout, done.stdout  # what is missing is named
