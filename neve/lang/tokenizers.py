"""Tokenizers of words without a lexicon: SentencePiece pieces and characters."""

import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from neve.errors import NeveError
from neve.lang.lexicon import DISAMBIG

BLANK, SENTENCE, UNKNOWN = "<blk>", "<sos/eos>", "<unk>"
SPECIAL = (BLANK, SENTENCE, UNKNOWN)  # ids 0, 1, 2, as in icefall
BOUNDARY = "\u2581"  # ▁, stands where a word begins


class Tokenizer(Protocol):
    """Splits words into tokens; `tokens[i]` is the token with id i."""

    tokens: list[str]

    def split(self, word: str) -> tuple[str, ...]:
        """The tokens of one word; what cannot be written with the others is <unk>."""
        ...


class CharTokenizer:
    """A token for the beginning of a word, ▁, and one for each character."""

    def __init__(self, tokens: Iterable[str]):
        self.tokens = list(tokens)
        self._known = frozenset(self.tokens)

    @classmethod
    def learn(cls, words: Iterable[str]) -> "CharTokenizer":
        """The tokenizer with all characters of `words`, in the order of their code points."""
        characters = set()
        for word in words:
            if BOUNDARY in word:
                raise NeveError(
                    f"the word {word} has the character {BOUNDARY}, which marks where words begin; "
                    "remove it from the transcripts or choose lang.kind phone"
                )
            characters.update(word)
        return cls([*SPECIAL, *sorted(characters | {BOUNDARY})])

    def split(self, word: str) -> tuple[str, ...]:
        return (BOUNDARY, *(mark if mark in self._known else UNKNOWN for mark in word))


class BpeTokenizer:
    """A SentencePiece model."""

    def __init__(self, model: bytes, name: str = "bpe.model"):
        """Load a serialized model; `name` is the file it came from, for messages."""
        import sentencepiece

        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise NeveError(f"{name}: is not a SentencePiece model; run the lang stage") from error
        self.model = model
        count = self._processor.get_piece_size()
        self.tokens = [self._processor.id_to_piece(index) for index in range(count)]

    @classmethod
    def read(cls, path: str | os.PathLike) -> "BpeTokenizer":
        try:
            return cls(Path(path).read_bytes(), str(path))
        except OSError as error:
            raise NeveError(f"{path}: cannot be read: {error}; run the lang stage") from error

    @classmethod
    def learn(
        cls, sentences: Iterable[str], vocab_size: int, model_type: str = "unigram"
    ) -> "BpeTokenizer":
        """Train on `sentences`; the same sentences always give the same model.

        <blk>, <sos/eos> and <unk> have the ids 0, 1 and 2; text is taken as it is, without
        SentencePiece's own normalisation. Raises NeveError if the text has too little or too much
        variety for `vocab_size` pieces.
        """
        import sentencepiece

        stream = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(sentences),
                model_writer=stream,
                vocab_size=vocab_size,
                model_type=model_type,
                character_coverage=1.0,
                normalization_rule_name="identity",
                user_defined_symbols=[BLANK, SENTENCE],
                unk_id=len(SPECIAL) - 1,
                bos_id=-1,
                eos_id=-1,
                max_sentence_length=1 << 20,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise NeveError(_too_many_or_few(str(error), vocab_size)) from error
        return cls(stream.getvalue())

    def split(self, word: str) -> tuple[str, ...]:
        ids = self._processor.encode(word)
        return tuple(self.tokens[index] for index in ids)


def _too_many_or_few(reason: str, vocab_size: int) -> str:
    limit = re.search(r"value <= ([0-9]+)", reason)
    if limit:
        return (
            f"lang.vocab_size is {vocab_size}, but the training text has enough variety for "
            f"{limit[1]} pieces only; set it to {limit[1]} or less"
        )
    limit = re.search(r"smaller than required_chars\. [0-9]+ vs ([0-9]+)", reason)
    if limit:
        return (
            f"lang.vocab_size is {vocab_size}, but the characters of the training text alone need "
            f"{limit[1]}; set it to more than that"
        )
    return f"SentencePiece cannot train {vocab_size} pieces (lang.vocab_size): {reason}"


def check_tokens(tokens: Iterable[str]) -> None:
    """Raise NeveError if a learnt token looks like a disambiguation symbol."""
    for token in tokens:
        if DISAMBIG.fullmatch(token):
            raise NeveError(
                f"the token {token} clashes with a disambiguation symbol (#0, #1, ...); remove the "
                "character # from the transcripts (text.punctuation remove)"
            )
