"""What words are made of: symbol tables, lexicons, tokenizers and the lang directory.

`build_lang` turns transcripts and, for phones, a lexicon into a directory in icefall's format;
`Lang.load` reads it and maps text to token ids and back. The lexicon as a transducer is plain
arrays (`make_lexicon_fst`). No torch here, except for the moment in which L.pt is written.
"""

from neve.lang.config import LangConfig
from neve.lazy import lazy_exports

_getattr, __dir__, _lazy = lazy_exports(
    __name__,
    {
        "Coverage": ".coverage",
        "Lang": ".lang",
        "LexiconEntry": ".lexicon",
        "LexiconFst": ".lexicon_fst",
        "SymbolTable": ".symbols",
        "UnknownWordError": ".lang",
        "build_lang": ".build",
        "make_lexicon_fst": ".lexicon_fst",
        "normal_lexicon": ".build",
        "read_lexicon": ".lexicon",
        "read_transcripts": ".transcripts",
        "write_lexicon": ".lexicon",
    },
)
__getattr__ = _getattr
__all__ = ["LangConfig", *_lazy]
