"""How written text is brought into one form: the keys of the `text` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option


@dataclass
class TextConfig:
    case: str = option(
        "upper", "case of all words: changed to upper or lower, or kept", ("upper", "lower", "keep")
    )
    punctuation: str = option(
        "remove",
        "punctuation and symbols: removed (each ends a word, see text.keep) or kept",
        choices=("remove", "keep"),
    )
    keep: str = option(
        "'", "characters of punctuation that stay where they touch a letter or a digit"
    )
    unicode: str = option(
        "NFC",
        "Unicode normal form: NFC (composed), NFKC (also full-width and other compatibility "
        "forms to plain ones) or none",
        choices=("NFC", "NFKC", "none"),
    )
