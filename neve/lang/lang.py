"""A lang directory that has been built: text to token ids and back."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import yaml

from neve.errors import NeveError
from neve.lang.lexicon import DISAMBIG, EPSILON, LexiconEntry
from neve.lang.lines import read_lines
from neve.lang.symbols import SymbolTable
from neve.lang.tokenizers import BLANK, BOUNDARY, SPECIAL, UNKNOWN, BpeTokenizer, CharTokenizer
from neve.text import TextConfig, normalize


class UnknownWordError(NeveError):
    """A text has words that the lang directory cannot spell; `words` lists them."""

    def __init__(self, words: list[str], directory: Path):
        self.words = words
        super().__init__(
            f"{directory}: no pronunciation for {', '.join(words)}; add it to the lexicon and run "
            "the lang stage again, or set lang.oov to unk or drop"
        )


class Lang:
    """Symbol tables and lexicon of a lang directory.

    Attributes:
        directory: where it was read from.
        kind: phone, bpe or char.
        tokens, words: SymbolTable of tokens.txt and words.txt.
        num_tokens: number of CTC classes: ids 0 (blank) to num_tokens - 1; the disambiguation
            symbols, which have the ids from there on, are not among them.
        oov, unk_word: what becomes of unknown words (see LangConfig).
        unk_model, unk_order: how the unknown word is spoken (see LangConfig).
        silence: name of the optional silence phone, or "".
        text: the normal form of all words; None where it is not known (made by others).
    """

    def __init__(
        self,
        directory: Path,
        tokens: SymbolTable,
        words: SymbolTable,
        lexicon: list[LexiconEntry],
        settings: dict,
    ):
        self.directory = directory
        self.tokens = tokens
        self.words = words
        self.kind: str = settings["kind"]
        self.oov: str = settings["oov"]
        self.unk_word: str = settings["unk_word"]
        self.silence: str = settings["silence"]
        self.sil_prob: float = settings["sil_prob"]
        self.unk_model: str = settings.get("unk_model", "none")
        self.unk_order: int = settings.get("unk_order", 2)
        self.text = TextConfig(**settings["text"]) if settings.get("text") else None
        disambig = {tokens[symbol] for symbol in tokens if DISAMBIG.fullmatch(symbol)}
        self.num_tokens = min(disambig, default=tokens.max_id + 1)
        if disambig != set(range(self.num_tokens, tokens.max_id + 1)):
            raise NeveError(
                f"{directory / 'tokens.txt'}: the disambiguation symbols (#0, #1, ...) must have "
                "the highest ids; run the lang stage again"
            )
        self._pronunciations: dict[str, list[list[int]]] = {}
        for word, spelling in lexicon:
            ids = [tokens[token] for token in spelling]
            self._pronunciations.setdefault(word, []).append(ids)
        self._tokenizer: BpeTokenizer | CharTokenizer | None = None

    @classmethod
    def load(cls, directory: str | os.PathLike) -> Lang:
        """Read a lang directory, also one that icefall made (then without lang.yaml).

        Raises NeveError that names the file that is missing or malformed.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise NeveError(f"{directory}: there is no such lang directory; run the lang stage")
        tokens = SymbolTable.read(directory / "tokens.txt")
        settings = _settings(directory, tokens)
        words = SymbolTable.read(directory / "words.txt")
        lexicon = []
        for number, line in read_lines(directory / "lexicon.txt", "lexicon"):
            word, *spelling = line.split()
            strange = [token for token in spelling if token not in tokens]
            wrong = ""
            if strange:
                wrong = f"the token {strange[0]} is not in tokens.txt"
            elif not spelling:
                wrong = "there are no tokens"
            elif word not in words:
                wrong = "the word is not in words.txt"
            if wrong:
                raise NeveError(
                    f"{directory / 'lexicon.txt'}:{number}: {word}: {wrong}; run the lang stage"
                )
            lexicon.append(LexiconEntry(word, tuple(spelling)))
        return cls(directory, tokens, words, lexicon, settings)

    def normal(self, text: str) -> str:
        """Words in the normal form of the lang directory, with one space between them.

        All that is read beside it (lists of phrases and keywords, texts to align) goes through
        this, so that its words are those of the transcripts.
        """
        return normalize(text, self.text) if self.text is not None else " ".join(text.split())

    def check_text(self, text: TextConfig | None) -> None:
        """NeveError if `text` is not the normal form that the lang directory was made with."""
        if text is None or self.text is None or text == self.text:
            return
        for key, value in dataclasses.asdict(text).items():
            own = getattr(self.text, key)
            if own != value:
                raise NeveError(
                    f"{self.directory}: was made with text.{key} {own!r}, and now it is {value!r}: "
                    "words would not meet. Set it as before, or run manifests and lang again "
                    "(stages 1 and 3)"
                )

    def is_word(self, word: str) -> bool:
        """Whether `word` is a word that people say and the lang directory can spell.

        The unknown word, names in angle brackets, words of silence alone and the symbols of
        words.txt that are no words (<eps>, #0, <s>, </s>) are not.
        """
        if word not in self._pronunciations or word in (self.unk_word, "!SIL"):
            return False
        if word.startswith("<") and word.endswith(">"):
            return False
        silence = [self.tokens[self.silence]] if self.silence else None
        return self._pronunciations[word] != [silence]

    def is_written(self, word: str) -> bool:
        """Whether a word that was recognised stands in the hypothesis.

        Words that people say, and the unknown word where it is one of the words that are trained
        and recognised (oov is unk). Silence, noises and symbols do not.
        """
        return self.is_word(word) or (self.oov == "unk" and word == self.unk_word)

    @property
    def free_word(self) -> str:
        """The unknown word, if decoding graphs let any tokens be it (unk_model); else ""."""
        return self.unk_word if self.unk_model != "none" else ""

    @property
    def vocabulary(self) -> list[str]:
        """All words for which `is_word` holds, in the order of words.txt."""
        return [word for word in self.words if self.is_word(word)]

    def pronunciations(self, word: str) -> list[list[int]]:
        """The token ids of each pronunciation of `word`, the usual one first.

        A word that is not in the lexicon is spelled by the tokenizer (bpe, char) or as the unknown
        word (if oov is unk). Raises UnknownWordError if neither is possible.
        """
        if word not in self._pronunciations:
            ids = self._spell(word)
            if ids is None:
                raise UnknownWordError([word], self.directory)
            return [ids]
        return [list(ids) for ids in self._pronunciations[word]]

    def encode(self, text: str) -> list[int]:
        """Token ids of the words of `text`, each in its first pronunciation, without silence.

        Raises UnknownWordError that names all words without a pronunciation, if oov is not unk.
        """
        result: list[int] = []
        unknown: list[str] = []
        for word in text.split():
            known = self._pronunciations.get(word)
            ids = known[0] if known else self._spell(word)
            if ids is None:
                unknown.append(word)
            else:
                result += ids
        if unknown:
            raise UnknownWordError(list(dict.fromkeys(unknown)), self.directory)
        return result

    def decode(self, ids: list[int]) -> str:
        """The text of token ids: words for bpe and char, phones with spaces for phone.

        Blanks and silence are left out. Raises NeveError for an id that is not a class.
        """
        for index in ids:
            if not 0 <= index < self.num_tokens:
                raise NeveError(f"{index} is no token id: they go from 0 to {self.num_tokens - 1}")
        symbols = [self.tokens[index] for index in ids if index != 0]
        if self.kind == "phone":
            return " ".join(symbol for symbol in symbols if symbol != self.silence)
        return " ".join("".join(symbols).replace(BOUNDARY, " ").split())

    def starts_word(self, index: int) -> bool:
        """Whether a word begins with this token; phones do not know it: always."""
        return self.kind == "phone" or self.tokens[index].startswith(BOUNDARY)

    def _spell(self, word: str) -> list[int] | None:
        """Token ids of a word that the lexicon lacks, or None."""
        if self.kind == "phone":
            known = self._pronunciations.get(self.unk_word) if self.oov == "unk" else None
            return known[0] if known else None
        if self._tokenizer is None:
            if self.kind == "bpe":
                self._tokenizer = BpeTokenizer.read(self.directory / "bpe.model")
            else:
                self._tokenizer = CharTokenizer(self.tokens.symbols[: self.num_tokens])
        pieces = self._tokenizer.split(word)
        if UNKNOWN in pieces and self.oov != "unk":
            return None
        return [self.tokens[piece] for piece in pieces]


def _settings(directory: Path, tokens: SymbolTable) -> dict:
    """The content of lang.yaml, or what the other files say where icefall made the directory."""
    path = directory / "lang.yaml"
    first = tokens.get(0)
    if first not in (EPSILON, BLANK):
        raise NeveError(
            f"{directory / 'tokens.txt'}: id 0 is the blank and must belong to {EPSILON} (phone) "
            f"or {BLANK} (bpe, char), not {first}"
        )
    if not path.exists():
        kind = "bpe" if (directory / "bpe.model").exists() else "char"
        if first == EPSILON:
            kind = "phone"
        silence = "SIL" if kind == "phone" and "SIL" in tokens else ""
        return {
            "kind": kind,
            "oov": "unk" if kind == "phone" else "error",
            "unk_word": "<UNK>",
            "silence": silence,
            "sil_prob": 0.5 if silence else 0.0,
        }
    settings = read_settings(directory)
    if settings["kind"] != "phone":
        for number, symbol in enumerate(SPECIAL):
            if tokens.get(number) != symbol:
                raise NeveError(
                    f"{directory / 'tokens.txt'}: id {number} must belong to {symbol}, not "
                    f"{tokens.get(number)}; run the lang stage again"
                )
    return settings


def read_settings(directory: Path) -> dict:
    """The content of lang.yaml. Raises NeveError if it cannot be read or is not whole."""
    path = directory / "lang.yaml"
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NeveError(f"{path}: cannot be read: {error}; run the lang stage again") from error
    keys = ("kind", "oov", "unk_word", "silence", "sil_prob")
    lacking = [key for key in keys if not isinstance(settings, dict) or key not in settings]
    if lacking:
        raise NeveError(f"{path}: the key {lacking[0]} is missing; run the lang stage again")
    strange = sorted(set(settings.get("text") or ()) - {*TextConfig.__dataclass_fields__})
    if strange:
        raise NeveError(f"{path}: text.{strange[0]} is unknown; it is of a newer version")
    return settings


def has_unknown_model(directory: str | os.PathLike) -> bool:
    """Whether the unknown word of a lang directory is spoken as a model of its own says."""
    directory = Path(directory)
    if not (directory / "lang.yaml").exists():
        return False
    return read_settings(directory).get("unk_model", "none") != "none"
