"""Searches with a transducer: greedy, modified beam, a beam with several tokens in a frame, and one
along a graph, `fast_beam_search`, which gives lattices.

Each takes encoder outputs of a batch; the first three give `TokenPath`s, the best first. The model
has `predictor` (init_state, step) and `joiner` (project, project_predictor, join); predictors that
see only the last tokens (`context_size`) are asked once for each context, others once for each
history.
"""

from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Histories": ".histories",
        "HistoryScaled": ".history_scale",
        "TokenPath": ".paths",
        "beam_search": ".beam",
        "fast_beam_search": ".fast_beam",
        "greedy_search": ".greedy",
        "modified_beam_search": ".modified_beam",
    },
)
