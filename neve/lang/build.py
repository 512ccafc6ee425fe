"""Building a lang directory: stage 3."""

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import yaml

from neve.errors import ConfigError, NeveError
from neve.files import atomic_open
from neve.lang.config import LangConfig
from neve.lang.coverage import Coverage
from neve.lang.lexicon import (
    EPSILON,
    RESERVED_WORDS,
    LexiconEntry,
    add_disambiguation,
    read_lexicon,
    write_lexicon,
)
from neve.lang.lexicon_fst import make_lexicon_fst
from neve.lang.symbols import SymbolTable
from neve.lang.tokenizers import UNKNOWN, BpeTokenizer, CharTokenizer, Tokenizer, check_tokens
from neve.lang.transcripts import read_transcripts
from neve.text import TextConfig, normalize

log = logging.getLogger(__name__)

FORMAT = 1
NAMED_WORDS, NAMED_UTTERANCES = 20, 3  # how many an error message names


def build_lang(
    config: LangConfig,
    transcripts: Sequence[str | os.PathLike],
    lexicon: str | os.PathLike | None,
    out: str | os.PathLike,
    *,
    dev: Sequence[str | os.PathLike] = (),
    text: TextConfig | None = None,
    pronounce: Callable[[str], Sequence[Sequence[str]]] | None = None,
) -> list[Coverage]:
    """Make the lang directory `out` in icefall's format, and report what it does not cover.

    Args:
        config: the `lang` section.
        transcripts: training transcripts (Kaldi text files). BPE and character units, and the
            words of these languages, are learnt from them; `config.oov` says what happens to words
            without a pronunciation.
        lexicon: the lexicon file of a phone lang; otherwise its words are added if it is given.
        out: the directory; its files are written one by one, each at once.
        dev: further transcripts that are only checked: their missing words are reported, and their
            utterances left out of validation, whatever the policy (unless it is unk).
        text: normal form of the lexicon's and the extra words, so that they meet the transcripts';
            it is recorded, and `Lang.normal` gives it to all words that are read later.
        pronounce: gives the phones of words that the lexicon lacks, if `config.oov` is g2p; what it
            gives is in coverage.txt.

    Returns the coverage of each file of transcripts, as written to coverage.txt.
    Raises NeveError for unusable input and, if `config.oov` is error, for missing words, naming
    them and their utterances.
    """
    check_unknown(config)
    out = Path(out)
    train = [(_name(path), read_transcripts(path)) for path in transcripts]
    if not train:
        raise NeveError("no training transcripts were given to build the lang directory from")
    held_out = [(_name(path), read_transcripts(path)) for path in dev]
    given, remarks = _given_entries(config, lexicon, text)
    extra = [_normal(word, text) or word for word in config.extra_words]

    if config.oov == "g2p":
        given = _pronounced(config, given, train, extra, pronounce, remarks)
    if config.kind == "phone":
        entries, tokens = _phone_units(config, given, lexicon, extra)
        tokenizer = None
    else:
        sentences = [words for _, texts in train for words in texts.values()]
        tokenizer = _learn(config, sentences)
        entries = _spell(config, tokenizer, sentences, [entry.word for entry in given], extra)
        tokens = SymbolTable(tokenizer.tokens)
    known = _speller(entries, tokenizer)
    reports = [Coverage.of(name, texts, known) for name, texts in (*train, *held_out)]
    for report in reports:
        log.info("%s", report.summary())
    _apply_policy(config, reports[: len(train)])

    disambiguated, highest = add_disambiguation(entries)
    check_tokens(tokens.symbols)
    for number in range(highest + 1):
        tokens.add(f"#{number}")
    words = SymbolTable([EPSILON, *sorted({entry.word for entry in entries}), *RESERVED_WORDS[1:]])

    out.mkdir(parents=True, exist_ok=True)
    tokens.write(out / "tokens.txt")
    words.write(out / "words.txt")
    write_lexicon(out / "lexicon.txt", entries)
    write_lexicon(out / "lexicon_disambig.txt", disambiguated)
    if isinstance(tokenizer, BpeTokenizer):
        with atomic_open(out / "bpe.model", "wb") as stream:
            stream.write(tokenizer.model)
    _write_coverage(out, reports, remarks)
    _write_settings(out, config, tokens, text)
    silence = config.silence if config.kind == "phone" else ""
    for name, rows in (("L", entries), ("L_disambig", disambiguated)):
        fst = make_lexicon_fst(
            rows,
            tokens,
            words,
            silence=silence,
            sil_prob=config.sil_prob,
            disambig=name == "L_disambig",
        )
        fst.save(out / f"{name}.npz")
        if config.write_pt:
            fst.save_pt(out / f"{name}.pt")
    for remark in remarks:
        log.warning("%s", remark)
    return reports


def check_unknown(config: LangConfig) -> None:
    """ConfigError for settings of the unknown word that cannot be together."""
    if config.unk_model == "none":
        return
    if config.oov != "unk":
        raise ConfigError(
            f"lang.unk_model is {config.unk_model}, but lang.oov is {config.oov}: the unknown word "
            "is a word of the lang directory with lang.oov unk alone"
        )
    if config.unk_order < 1:
        raise ConfigError(f"lang.unk_order={config.unk_order} must be at least 1")


def _name(path: str | os.PathLike) -> str:
    return Path(path).name.removeprefix("text_")


def _normal(word: str, text: TextConfig | None) -> str:
    return normalize(word, text) if text is not None else word


def _given_entries(
    config: LangConfig, lexicon: str | os.PathLike | None, text: TextConfig | None
) -> tuple[list[LexiconEntry], list[str]]:
    """The entries of the user's lexicon in normal form, sorted by word, and remarks on them."""
    if lexicon is None:
        if config.kind == "phone":
            raise NeveError(
                "lang.kind phone needs a lexicon: name it in lang.lexicon (`WORD PHONE PHONE ...` "
                "on each line), or choose lang.kind bpe or char"
            )
        return [], []
    return normal_lexicon(lexicon, text)


def normal_lexicon(
    lexicon: str | os.PathLike, text: TextConfig | None
) -> tuple[list[LexiconEntry], list[str]]:
    """The entries of a lexicon file in the transcripts' normal form, by word; remarks on them.

    Raises NeveError as `read_lexicon` does, and if no word is left.
    """
    entries, remarks = read_lexicon(lexicon)
    kept: dict[LexiconEntry, None] = {}
    for word, phones in entries:
        # A name such as !SIL is no text; its punctuation is part of it.
        normal = word if word.startswith("!") else _normal(word, text)
        if not normal or " " in normal:
            remarks.append(
                f"{lexicon}: {word} is left out: normalised as the transcripts are it is "
                f"{normal!r}, not one word"
            )
            continue
        kept[LexiconEntry(normal, phones)] = None
    if not kept:
        raise NeveError(f"{lexicon}: not one word is left after normalisation (section text)")
    return sorted(kept, key=lambda entry: entry.word), remarks  # a stable sort


def _pronounced(
    config: LangConfig, given: list[LexiconEntry], train, extra, pronounce, remarks: list[str]
) -> list[LexiconEntry]:
    """The lexicon with the words of the training transcripts that it lacks; remarks on each.

    Words that cannot be pronounced stay missing, which the policy makes an error.
    """
    if config.kind != "phone" or pronounce is None:
        raise NeveError(
            f"lang.oov is g2p, which is for lang.kind phone, not {config.kind}: bpe and char spell "
            "every training word"
            if config.kind != "phone"
            else "lang.oov is g2p, but there is no model of pronunciations"
        )
    have = {entry.word for entry in given}
    wanted = {word for _, texts in train for words in texts.values() for word in words}
    new = []
    for word in sorted((wanted | set(extra)) - have - set(RESERVED_WORDS)):
        if word.startswith("<"):
            continue
        try:
            spoken = pronounce(word)
        except NeveError as error:
            remarks.append(str(error))
            continue
        for phones in spoken:
            new.append(LexiconEntry(word, tuple(phones)))
            remarks.append(f"pronounced by the model: {word} {' '.join(phones)}")
    return sorted([*given, *new], key=lambda entry: entry.word)


def _phone_units(
    config: LangConfig, given: list[LexiconEntry], lexicon, extra: Iterable[str]
) -> tuple[list[LexiconEntry], SymbolTable]:
    have = {entry.word for entry in given}
    lacking = sorted(set(extra) - have)
    if lacking:
        raise NeveError(
            f"{lexicon}: lang.extra_words {', '.join(lacking)} have no pronunciation; add them"
        )
    entries = given
    if config.oov == "unk" and config.unk_word not in have:
        entries = sorted([*given, _unknown_entry(config)], key=lambda entry: entry.word)
    phones = {phone for entry in entries for phone in entry.tokens}
    if config.silence:
        phones.add(config.silence)
    return entries, SymbolTable([EPSILON, *sorted(phones)])


def _unknown_entry(config: LangConfig) -> LexiconEntry:
    unit = config.unk_phone if config.kind == "phone" else UNKNOWN
    for key, value in (("unk_word", config.unk_word), ("unk_phone", unit)):
        if not value or value in RESERVED_WORDS or len(value.split()) != 1:
            raise NeveError(f"lang.{key} is {value!r}: lang.oov unk needs a name of one word there")
    return LexiconEntry(config.unk_word, (unit,))


def _learn(config: LangConfig, sentences: list[list[str]]) -> Tokenizer:
    if config.kind == "char":
        return CharTokenizer.learn(word for words in sentences for word in words)
    lines = (" ".join(words) for words in sentences if words)
    return BpeTokenizer.learn(lines, config.vocab_size, config.bpe_model)


def _spell(
    config: LangConfig,
    tokenizer: Tokenizer,
    sentences: list[list[str]],
    listed: Iterable[str],
    extra: Iterable[str],
) -> list[LexiconEntry]:
    """Spellings of the words of the transcripts, the lexicon and the configuration.

    Words of the lexicon with characters that the transcripts never have are left out: the model
    cannot learn them. Extra words with such characters are an error.
    """
    learnt = {word for words in sentences for word in words}
    reserved = learnt.intersection(RESERVED_WORDS)
    if reserved:
        raise NeveError(f"the transcripts have the reserved word {min(reserved)}; remove it")
    optional = {word for word in listed if not word.startswith(("<", "!"))}
    entries = []
    for word in sorted(learnt | optional | set(extra)):
        pieces = tokenizer.split(word)
        if UNKNOWN not in pieces:
            entries.append(LexiconEntry(word, pieces))
        elif word in extra:
            raise NeveError(
                f"lang.extra_words: {word} has a character that no training transcript has"
            )
    if config.oov == "unk":
        entries = [entry for entry in entries if entry.word != config.unk_word]
        entries = sorted([*entries, _unknown_entry(config)], key=lambda entry: entry.word)
    return entries


def _speller(entries: list[LexiconEntry], tokenizer: Tokenizer | None):
    """A function that tells whether a word can be spelled without the unknown unit."""
    have = {entry.word for entry in entries}
    if tokenizer is None:
        return have.__contains__
    return lambda word: word in have or UNKNOWN not in tokenizer.split(word)


def _apply_policy(config: LangConfig, reports: list[Coverage]) -> None:
    for report in reports:
        if not report.missing:
            continue
        details = "\n".join(report.details(NAMED_WORDS, NAMED_UTTERANCES))
        if config.oov in ("error", "g2p"):
            raise NeveError(
                f"{report.summary()}. Missing (word, count, utterances):\n{details}\n"
                "Add them to the lexicon, or set lang.oov to unk (train the unknown word on them), "
                "drop (leave their utterances out) or g2p (a model pronounces them)."
            )
        what = {"unk": f"spelled as {config.unk_word}", "drop": "utterances left out"}[config.oov]
        log.warning("%s; %s:\n%s", report.summary(), what, details)


def _write_coverage(out: Path, reports: list[Coverage], remarks: list[str]) -> None:
    with atomic_open(out / "coverage.txt") as stream:
        for report in reports:
            stream.write("\n".join([report.summary(), *report.details()]) + "\n")
        stream.writelines(remark + "\n" for remark in remarks)


def _write_settings(
    out: Path, config: LangConfig, tokens: SymbolTable, text: TextConfig | None
) -> None:
    """lang.yaml: what `Lang.load` cannot see from the other files."""
    phone = config.kind == "phone"
    settings = {
        "format": FORMAT,
        "kind": config.kind,
        "num_tokens": tokens["#0"],
        "oov": config.oov,
        "unk_word": config.unk_word,
        "unk_model": config.unk_model,
        "unk_order": config.unk_order,
        "silence": config.silence if phone else "",
        "sil_prob": config.sil_prob if phone and config.silence else 0.0,
        "text": dataclasses.asdict(text) if text is not None else None,
    }
    with atomic_open(out / "lang.yaml") as stream:
        yaml.safe_dump(settings, stream, sort_keys=False, allow_unicode=True)
