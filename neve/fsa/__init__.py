"""The automata engine, with k2's data model and semantics, on torch tensors.

An `Fsa` (or `FsaVec`, several of them) has arcs, scores, labels and attributes that follow the
arcs. `intersect_dense_pruned` makes lattices of dense scores and a graph, `shortest_path` and
`get_tot_scores` read them; `one_best` goes from scores to best paths without a lattice.
"""

from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "DenseFsaVec": ".dense",
        "Fsa": ".fsa",
        "FsaVec": ".fsa",
        "Graph": "neve.kernels.graph",
        "Path": "neve.kernels.search",
        "RaggedTensor": ".ragged",
        "SymbolTable": ".symbols",
        "arc_sort": ".operations",
        "cat": ".helpers",
        "compose_arc_maps": ".helpers",
        "compose_determinize_minimize": ".openfst",
        "connect": ".operations",
        "create_sparse": ".helpers",
        "ctc_graph": ".topologies",
        "ctc_topo": ".topologies",
        "get_aux_labels": ".helpers",
        "get_lattice": ".helpers",
        "graph_from_openfst_text": ".text",
        "intersect_dense_pruned": ".lattice",
        "invert": ".operations",
        "linear_fsa": ".topologies",
        "load_fsa": ".fsa",
        "load_graph_dict": ".dictionary",
        "one_best": ".decode",
        "one_best_decoding": ".helpers",
        "read_text": ".text",
        "remove_epsilon": ".operations",
        "save_graph_dict": ".dictionary",
        "shortest_path": ".paths",
        "swoosh_l": ".swoosh",
        "swoosh_l_forward": ".swoosh",
        "swoosh_l_forward_and_deriv": ".swoosh",
        "swoosh_r": ".swoosh",
        "swoosh_r_forward": ".swoosh",
        "swoosh_r_forward_and_deriv": ".swoosh",
        "to_dot": ".draw",
        "to_str": ".helpers",
        "to_str_simple": ".helpers",
        "to_tensor": ".helpers",
        "trivial_graph": ".topologies",
    },
)
