"""A second opinion: do WER and CER agree with jiwer's, which computes them by other code?"""

from __future__ import annotations

from collections.abc import Iterable

from neve.errors import NeveError, named

from .alignment import split_characters
from .analysis import SplitScore


def check_with_jiwer(score: SplitScore, cer_spaces: bool = True) -> str | None:
    """Compare errors and rates of `score` with jiwer's, for the whole set and each utterance.

    Substitutions, deletions and insertions may be split differently where several alignments have
    as few errors, so their sum is what is compared. Returns a line that says what was compared, or
    None where jiwer is not installed. Raises NeveError on a difference, naming utterances.
    """
    try:
        import jiwer
    except ImportError:
        return None
    from importlib.metadata import version

    texts = [(u.ref, u.hyp) for u in score.utterances]
    characters = [tuple(split_characters(t, cer_spaces) for t in pair) for pair in texts]
    by_words = jiwer.process_words([r for r, _ in texts], [h for _, h in texts])
    by_characters = jiwer.process_characters([r for r, _ in characters], [h for _, h in characters])
    for name, theirs, ours, rate in (
        ("WER", by_words, [u.words for u in score.utterances], score.words.rate),
        ("CER", by_characters, [u.characters for u in score.utterances], score.characters.rate),
    ):
        errors = [_errors(chunks) for chunks in theirs.alignments]
        wrong = [
            u.id
            for u, mine, other in zip(score.utterances, ours, errors, strict=True)
            if mine.errors != other
        ]
        their_rate = theirs.wer if name == "WER" else theirs.cer
        if wrong or abs(their_rate - rate) > 1e-12:
            raise NeveError(
                f"{score.split}: {name} is {100 * rate:.4f} % here and {100 * their_rate:.4f} % by "
                f"jiwer; utterances that differ: {named(wrong, 5) or 'none'}. One of the two is "
                "wrong: please report it (--scoring.check false leaves this check out)"
            )
    return (
        f"jiwer {version('jiwer')} agrees: WER {100 * score.words.rate:.2f} %, "
        f"CER {100 * score.characters.rate:.2f} %, {len(texts)} utterances"
    )


def _errors(chunks: Iterable) -> int:
    """Errors in one of jiwer's alignments."""
    return sum(
        max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx)
        for c in chunks
        if c.type != "equal"
    )
