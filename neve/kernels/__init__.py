"""Array code that knows no torch: numpy arrays in and out, compiled by numba on first use.

`Graph` is a weighted automaton as plain arrays. Its operations (arc sort, connect, epsilon removal,
composition with a CTC topology), the token-passing beam search over dense scores, and paths and
totals of acyclic graphs work on it. `warm_up` compiles everything once; the result is kept on disk.
"""

from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Graph": ".graph",
        "Lattice": ".search",
        "Path": ".best_path",
        "align_ctc": ".ctc_prefix",
        "arc_order": ".structure",
        "arc_sort": ".structure",
        "biased_lattice_search": ".biased_search",
        "biased_one_best": ".biased_search",
        "compose_ctc": ".ctc",
        "connect": ".structure",
        "gather_ragged": ".structure",
        "lattice_search": ".search",
        "minimize": ".minimize",
        "one_best": ".best_path",
        "prefix_beam_search": ".ctc_prefix",
        "remove_epsilon": ".epsilon",
        "select_arcs": ".structure",
        "warm_up": ".warm_up",
    },
)
