"""The units of recognition: the keys of the `lang` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option


@dataclass
class LangConfig:
    kind: str = option(
        "phone",
        "what words are made of: phones of a lexicon, pieces learnt by SentencePiece, characters",
        choices=("phone", "bpe", "char"),
    )
    name: str = option(
        "${.kind}", "name of the lang directory, data/lang_<name>; e.g. bpe_500 where sizes differ"
    )
    lexicon: str | None = option(
        "${paths.manifests}/lexicon.txt",
        "pronunciations, one a line: WORD PHONE PHONE ...; a word may have several, and a "
        "probability after the word; bpe and char take only its words, if it exists",
    )
    vocab_size: int = option(500, "bpe: number of pieces, <blk>, <sos/eos> and <unk> included")
    bpe_model: str = option(
        "unigram", "bpe: how SentencePiece learns the pieces", choices=("unigram", "bpe")
    )
    silence: str = option(
        "",
        "phone: optional silence phone before, between and after words, e.g. SIL; empty: none "
        "(the blank of CTC covers silence)",
    )
    sil_prob: float = option(0.5, "phone: probability of the optional silence")
    oov: str = option(
        "error",
        "training words that have no pronunciation: an error, the unknown word (unk), leave out "
        "their utterances (drop), or, for phones, a model of the lexicon pronounces them (g2p)",
        choices=("error", "unk", "drop", "g2p"),
    )
    unk_word: str = option("<UNK>", "the unknown word; in words.txt if lang.oov is unk")
    unk_phone: str = option("SPN", "phone: the pronunciation of the unknown word")
    unk_model: str = option(
        "none",
        "tokens: decoding graphs let the unknown word be spoken as an n-gram of the lexicon's "
        "phones (pieces, characters) has it, so that unknown words are found, with their phones; "
        "needs lang.oov unk",
        choices=("none", "tokens"),
    )
    unk_order: int = option(
        2, "tokens an n-gram of lang.unk_model has at most; graphs grow with it"
    )
    extra_words: list[str] = option(
        [], "words to recognise that no transcript has; phone: the lexicon must have them"
    )
    write_pt: bool = option(
        True, "write L.pt and L_disambig.pt, which k2.Fsa.from_dict reads; needs torch"
    )
