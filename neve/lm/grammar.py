"""The grammar G: an ARPA model as an acceptor over the words of a lang directory."""

import contextlib
import logging
import os
import sys
import tempfile
from pathlib import Path

from neve.errors import NeveError
from neve.files import atomic_open
from neve.lang import SymbolTable
from neve.lm.arpa import BOS, EOS, UNK, ArpaLm
from neve.lm.arpa_file import read_arpa, write_arpa

log = logging.getLogger(__name__)

BACKOFF = "#0"  # the label of back-off arcs


def arpa_to_fst(
    arpa: str | os.PathLike,
    words: str | os.PathLike,
    out: str | os.PathLike,
    *,
    max_order: int = -1,
    model: ArpaLm | None = None,
) -> None:
    """Write the acceptor G of an ARPA model as OpenFst text, through kaldilm.

    Lines are `source target word-id word-id cost` and `state cost` for final states, with natural
    logarithms. Back-off arcs have the input label #0 and no output. N-grams with words that the
    symbol table `words` (words.txt) lacks are left out.

    Args:
        arpa: the model; it is checked first (`read_arpa`). May be compressed (.gz).
        words: words.txt, with <eps> as 0 and #0, <s>, </s>.
        out: the text file.
        max_order: use n-grams up to this order only; -1 for all.
        model: what is in `arpa`, if it has been read already.

    Raises NeveError if the model or the table is unusable, or they share no word.
    """
    import kaldilm

    model = model or read_arpa(arpa)
    table = SymbolTable.read(words)
    for symbol in (BACKOFF, BOS, EOS):
        if symbol not in table:
            raise NeveError(f"{words}: {symbol} is missing; run the lang stage again")
    spoken = set(model.words) - {BOS, EOS, UNK}
    missing = sorted(word for word in spoken if word not in table)
    if len(missing) == len(spoken):
        raise NeveError(
            f"{arpa}: none of its words is in {words}; were they normalised in the same way "
            "(section text)?"
        )
    if missing:
        log.warning(
            "%s: %d of %d words are not in %s, n-grams with them are left out: %s",
            arpa,
            len(missing),
            len(spoken),
            words,
            " ".join([*missing[:10], *(["..."] if len(missing) > 10 else [])]),
        )
    with tempfile.TemporaryDirectory() as scratch:
        source, messages = Path(arpa), Path(scratch) / "messages"
        if source.suffix == ".gz":
            source = Path(scratch) / "lm.arpa"
            write_arpa(model, source)
        try:
            with _stderr_to(messages):
                text = kaldilm.arpa2fst(
                    input_arpa=str(source),
                    disambig_symbol=BACKOFF,
                    read_symbol_table=str(words),
                    max_order=max_order,
                )
        except RuntimeError as error:
            said = messages.read_text(errors="replace").strip().splitlines()[-1:]
            raise NeveError(
                f"{arpa}: kaldilm cannot make a grammar of it: {error} {' '.join(said)}"
            ) from error
    with atomic_open(out) as stream:
        stream.write(text.strip() + "\n")


@contextlib.contextmanager
def _stderr_to(path: Path):
    """Send what this process writes to its standard error, also from C++, to a file."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(path, "wb") as stream:
            os.dup2(stream.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
