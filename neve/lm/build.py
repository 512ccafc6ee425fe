"""Building the language model of a lang directory: stage 4."""

import itertools
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from neve.errors import NeveError, named
from neve.lang import Lang, read_transcripts
from neve.lang.lines import read_lines
from neve.lm.arpa import ArpaLm, in_memory
from neve.lm.arpa_file import read_arpa, write_arpa
from neve.lm.classes import is_class, normal_words
from neve.lm.config import LmConfig, memory_bytes, mixture_weights
from neve.lm.grammar import arpa_to_fst
from neve.lm.kneser_ney import estimate
from neve.lm.mixture import best_weights, interpolate
from neve.lm.pruning import entropy_prune
from neve.lm.token_text import TokenText
from neve.text import TextConfig, normalize

log = logging.getLogger(__name__)


def build_lm(
    config: LmConfig,
    transcripts: Sequence[str | os.PathLike],
    lang: str | os.PathLike,
    out: str | os.PathLike,
    *,
    dev: Sequence[str | os.PathLike] = (),
    text: TextConfig | None = None,
) -> ArpaLm:
    """Write lm.arpa and G.fst.txt to the directory `out`; the model in memory.

    It is estimated on text, or read from an ARPA file, mixed with others, and pruned, as `config`
    says. A model of tokens has no G.

    Args:
        config: the `lm` section.
        transcripts: training transcripts (Kaldi text files).
        lang: the lang directory; its words are those of G, and, with `config.vocabulary` lexicon,
            the model knows all of them (or all of its tokens).
        dev: transcripts whose perplexity is reported, and that weights are tuned on.
        text: normal form for the files in `config.text`.

    Raises NeveError for missing, empty or unusable text.
    """
    lexicon = Lang.load(lang)
    lexicon.check_text(text)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    spelling = TokenText(lexicon) if config.unit == "tokens" else None
    memory = memory_bytes(config.memory)

    def texts(paths: Sequence) -> Iterator[list[str]]:
        return spelling.spelled(_texts(paths)) if spelling else _texts(paths)

    words = None if spelling else lexicon
    given = [_read_model(path, words) for path in config.interpolate]
    alone = bool(config.arpa or config.text or (config.transcripts and transcripts))
    weights = mixture_weights(config.weights, len(given) + alone) if given else None
    with tempfile.TemporaryDirectory(prefix=".lm-", dir=out) as scratch:
        models = given
        if config.arpa:
            models = [_read_model(config.arpa, words), *given]
        elif alone or not given:
            known = spelling.names if spelling else lexicon.vocabulary
            vocabulary = known if config.vocabulary != "text" else []
            if lexicon.unk_model != "none" and not spelling:  # to be found, it has to be in G
                vocabulary = [*vocabulary, lexicon.unk_word]
            sentences = _Sentences(config, transcripts, lexicon, text)
            only = None
            if config.vocabulary == "lexicon-only" and not spelling:
                # the classes are known when all is read
                only = itertools.chain(vocabulary, [lexicon.unk_word], sentences.classes)
            estimated = estimate(
                spelling.spelled(sentences) if spelling else sentences,
                config.order,
                vocabulary,
                discount_fallback=config.discount_fallback or None,
                prune=config.prune,
                limit=only,
                memory=memory,
                scratch=scratch,
                share=sentences.share if sentences.plain else None,
            )
            models = [estimated, *given]
        model = _mixed(models, weights, dev and texts(dev)) if given else models[0]
        if config.prune_entropy or config.max_ngrams:
            for path in dev:
                log.info("%s, before pruning: %s", path, model.perplexity(texts([path])))
            model = entropy_prune(model, config.prune_entropy, config.max_ngrams)
        write_arpa(model, out / "lm.arpa")
        sizes = (f"{len(level)} {n}-grams" for n, level in enumerate(model.levels, start=1))
        log.info("%s: %s", out / "lm.arpa", ", ".join(sizes))
        for path in dev:
            log.info("%s: %s", path, model.perplexity(texts([path])))
        if not spelling:
            arpa_to_fst(out / "lm.arpa", Path(lang) / "words.txt", out / "G.fst.txt", model=model)
        return in_memory(model)


def _read_model(path: str | os.PathLike, lang: Lang | None) -> ArpaLm:
    """The model of an ARPA file; a warning says if words of `lang` are there in another form."""
    model = read_arpa(path)
    if lang is None:
        return model
    pairs = ((word, lang.normal(word)) for word in model.words if word not in lang.words)
    other = [f"{word} for {form}" for word, form in pairs if form != word and form in lang.words]
    if other:
        log.warning(
            "%s: %d of its %d words are in the lang directory in another form: %s. Was it made of "
            "text in the normal form (section text)?",
            path,
            len(other),
            len(model.words),
            named(other, 10),
        )
    return model


def _texts(paths: Sequence[str | os.PathLike]) -> Iterator[list[str]]:
    for path in paths:
        yield from read_transcripts(path).values()


def _mixed(models: list[ArpaLm], weights: list[float] | None, dev: Iterable) -> ArpaLm:
    """The mixture of `models`; the weights are tuned on `dev` if there are none."""
    if weights is None:
        if not dev:
            raise NeveError(
                "lm.weights is auto, but there are no dev transcripts (data.dev) to tune the "
                "weights of the mixture on; name a dev set, or give the weights"
            )
        weights = best_weights(models, dev)
    return interpolate(models, weights)


class _Sentences:
    """The words of each sentence; unknown words as the lang directory's word for them, if any, in
    a model of words.

    classes: those that were met. plain: whether `share` can say which part of the text has been
    read: no file is compressed.
    """

    def __init__(
        self,
        config: LmConfig,
        transcripts: Sequence[str | os.PathLike],
        lang: Lang,
        text: TextConfig | None,
    ):
        self.transcripts = transcripts if config.transcripts else ()
        self.files, self.lang, self.text = config.text, lang, text
        self.as_unknown = lang.oov == "unk" and lang.unk_word in lang.words
        self.as_unknown &= config.unit == "words"
        if not self.files and not self.transcripts:
            raise NeveError(
                "there is no text for the language model: set lm.transcripts to true, or name files"
                " in lm.text or a model in lm.arpa"
            )
        paths = [Path(path) for path in self.files]
        self.plain = all(path.suffix != ".gz" for path in paths)
        self.size = sum(path.stat().st_size for path in paths if path.exists())
        self.done = 0
        self.classes: set[str] = set()

    def share(self) -> float:
        """Which part of the files has been read."""
        return min(1.0, self.done / max(1, self.size))

    def __iter__(self) -> Iterator[list[str]]:
        lang = self.lang
        unknown = lang.unk_word if self.as_unknown else ""

        def mapped(words: list[str]) -> list[str]:
            self.classes.update(word for word in words if word[0] == "$" and is_class(word))
            if not unknown:
                return words
            return [word if word in lang.words or is_class(word) else unknown for word in words]

        normal = (lambda words: normalize(words, self.text)) if self.text is not None else None
        yield from map(mapped, filter(None, _texts(self.transcripts)))
        for path in self.files:
            for _, line in read_lines(path, "text for the language model"):
                self.done += len(line) + 1 if line.isascii() else len(line.encode()) + 1
                words = normal_words(line, normal)
                if words:
                    yield mapped(words)
