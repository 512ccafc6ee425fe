"""The automata engine, with k2's data model and semantics, on torch tensors.

An `Fsa` (or `FsaVec`, several of them) has arcs, scores, labels and attributes that follow the
arcs. `intersect_dense_pruned` makes lattices of dense scores and a graph, `shortest_path` and
`get_tot_scores` read them; `one_best` goes from scores to best paths without a lattice.
"""

from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Graph": "neve.kernels.graph",
        "Path": "neve.kernels.search",
        "one_best": ".decode",
    },
)
