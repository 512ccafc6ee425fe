"""Building the language model of a lang directory: stage 4."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from neve.errors import NeveError
from neve.lang import Lang, read_transcripts
from neve.lang.lines import read_lines
from neve.lm.arpa import ArpaLm
from neve.lm.arpa_file import read_arpa, write_arpa
from neve.lm.config import LmConfig
from neve.lm.grammar import arpa_to_fst
from neve.lm.kneser_ney import estimate
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
    """Write lm.arpa and G.fst.txt to the directory `out`.

    Args:
        config: the `lm` section.
        transcripts: training transcripts (Kaldi text files).
        lang: the lang directory; its words are those of G, and, with `config.vocabulary` lexicon,
            the model knows all of them.
        dev: transcripts whose perplexity is reported.
        text: normal form for the files in `config.text`.

    Raises NeveError for missing, empty or unusable text.
    """
    lexicon = Lang.load(lang)
    out = Path(out)
    if config.arpa:
        model = read_arpa(config.arpa)
    else:
        vocabulary = lexicon.vocabulary if config.vocabulary == "lexicon" else ()
        model = estimate(
            _sentences(config, transcripts, lexicon, text),
            config.order,
            vocabulary,
            discount_fallback=config.discount_fallback or None,
            prune=config.prune,
        )
    out.mkdir(parents=True, exist_ok=True)
    write_arpa(model, out / "lm.arpa")
    sizes = ", ".join(f"{len(level)} {n}-grams" for n, level in enumerate(model.levels, start=1))
    log.info("%s: %s", out / "lm.arpa", sizes)
    for path in dev:
        sentences = read_transcripts(path).values()
        log.info("%s: %s", path, model.perplexity(sentences))
    arpa_to_fst(out / "lm.arpa", Path(lang) / "words.txt", out / "G.fst.txt")
    return model


def _sentences(
    config: LmConfig,
    transcripts: Sequence[str | os.PathLike],
    lang: Lang,
    text: TextConfig | None,
) -> Iterator[list[str]]:
    """The words of each sentence; unknown words as the lang directory's word for them, if any."""
    if not config.text and not (config.transcripts and transcripts):
        raise NeveError(
            "there is no text for the language model: set lm.transcripts to true, or name files in "
            "lm.text or a model in lm.arpa"
        )
    unknown = lang.unk_word if lang.oov == "unk" and lang.unk_word in lang.words else ""

    def mapped(words: list[str]) -> list[str]:
        return [word if word in lang.words else unknown for word in words] if unknown else words

    for path in transcripts if config.transcripts else ():
        for words in read_transcripts(path).values():
            if words:
                yield mapped(words)
    for path in config.text:
        for _, line in read_lines(path, "text for the language model"):
            words = (normalize(line, text) if text is not None else line).split()
            if words:
                yield mapped(words)
