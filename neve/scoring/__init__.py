"""Scoring: from decoding results to error rates, their analysis and the pages that show them.

`score` aligns references and hypotheses and writes recogs-*, errs-* and wer-summary-* (text and
JSON) and report.html; `write_results_md` gathers all experiments of a recipe into RESULTS.md;
`log_decoding` notes each decoding of a test set in an append-only log; `compare_systems` tests
whether two systems differ. Needs neither torch nor lhotse.
"""

from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ScoringConfig": ".config",
        "Counts": ".alignment",
        "align": ".alignment",
        "count_pairs": ".alignment",
        "split_words": ".alignment",
        "split_characters": ".alignment",
        "SplitScore": ".analysis",
        "Utterance": ".analysis",
        "score_results": ".analysis",
        "bootstrap_interval": ".bootstrap",
        "compare_systems": ".bootstrap",
        "Comparison": ".bootstrap",
        "calibration": ".calibration",
        "check_with_jiwer": ".agreement",
        "Summary": ".summary",
        "read_summary": ".summary",
        "score": ".scorer",
        "write_results_md": ".results_md",
        "write_sweep_page": ".sweep",
        "find_experiments": ".results_md",
        "log_decoding": ".decoding_log",
        "count_decodings": ".decoding_log",
    },
)
