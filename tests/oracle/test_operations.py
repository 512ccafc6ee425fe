"""Operations that give automata another shape, against the real k2: arcs, maps and gradients."""

import itertools

import numpy as np
import pytest
import torch
from oracle_graphs import connected, graph, language, ragged_aux, rows, uneven, with_attributes

import neve.fsa as fsa
from neve.fsa.backends.k2.travel import from_fsa, to_fsa

GRADIENT, TOTAL = 2e-4, 1e-3
AUX = pytest.mark.parametrize("aux", ["plain", "ragged"])


def arrays(fsas):
    return torch.stack((fsas.src, fsas.dst, fsas.labels), dim=1)


def compare(comparison, ours, theirs, *names):
    """Arcs and attributes, one by one."""
    comparison.same("states", ours.state_splits, theirs.state_splits)
    comparison.same("arcs", arrays(ours), arrays(theirs))
    comparison.close("scores", ours.scores, theirs.scores, 1e-5)
    for name in names:
        one, other = getattr(ours, name), getattr(theirs, name)
        if isinstance(other, fsa.RaggedTensor):
            comparison.same(name, one.tolist(), other.tolist())
        else:
            comparison.close(name, one, other, 1e-5)


def compare_renumbered(comparison, ours, theirs):
    """One automaton with states numbered anew: `cost`, all different, tells which arc is which."""
    comparison.same("states", ours.num_states, theirs.num_states)
    (arcs, _), (others, _) = (rows(x, "aux_labels", "cost", states=False) for x in (ours, theirs))
    comparison.same("arcs", arcs, others)
    order = [torch.argsort(x.cost) for x in (ours, theirs)]
    pairs = {
        pair
        for name in ("src", "dst")
        for pair in zip(*(getattr(x, name)[i].tolist() for x, i in zip((ours, theirs), order)))
    }
    comparison.same("one to one", *(len({x[i] for x in pairs}) == len(pairs) for i in (0, 1)))
    comparison.same("one to one", len({x[0] for x in pairs}), len(pairs))


def differentiated(comparison, function, sides, *plain, best=False, **options):
    """(our result, k2's) of a function of automata; gradients are compared."""
    arguments = [from_fsa(x) for x in sides] + list(plain)
    theirs = comparison.call(
        "differentiated", function=function, arguments=arguments, options=options, best=best
    )
    for one in sides:
        one.requires_grad_(True)
    found = getattr(fsa, function)(
        *sides, *(torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in plain), **options
    )
    first = found[0] if isinstance(found, tuple) else found
    if best:
        totals = fsa.top_sort(first).get_tot_scores(use_double_scores=True, log_semiring=False)
        total = totals[torch.isfinite(totals)].sum()
    else:
        total = (first.scores**2).sum() / 2
    leaves = [x.scores for x in sides]
    grads = torch.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else []
    for one, leaf, other in zip(grads or [None] * len(leaves), leaves, theirs["grads"]):
        comparison.close(
            "d scores", torch.zeros_like(leaf) if one is None else one, other, GRADIENT
        )
    value = theirs["value"]
    if not isinstance(found, tuple):
        return found, to_fsa(value)
    return found, (to_fsa(value[0]), *value[1:])


@AUX
@pytest.mark.parametrize("function", ["arc_sort", "add_epsilon_self_loops"])
def test_with_arc_map(comparison, function, aux):
    for rng in comparison.cases():
        sides = [with_attributes(rng, graph(rng, acyclic=False), aux)]
        (found, arc_map), (theirs, wanted) = differentiated(
            comparison, function, sides, ret_arc_map=True
        )
        compare(comparison, found, theirs, "aux_labels", "cost")
        comparison.same("arc map", arc_map, wanted)


@AUX
@pytest.mark.parametrize("function", ["reverse", "remove_epsilon_self_loops"])
def test_same_arcs(comparison, function, aux):
    for rng in comparison.cases():
        one = with_attributes(rng, graph(rng, acyclic=rng.random() < 0.5), aux)
        found, theirs = differentiated(comparison, function, [one])
        if function == "reverse":
            without_ends(found, theirs)
        compare(comparison, found, theirs, "aux_labels", "cost")


def test_closure(comparison):
    """1.23.4 has no closure of ragged attributes."""
    for rng in comparison.cases():
        one = with_attributes(rng, graph(rng, acyclic=rng.random() < 0.5))
        found, theirs = differentiated(comparison, "closure", [one])
        without_ends(found, theirs)
        compare(comparison, found, theirs, "aux_labels", "cost")


def without_ends(*sides):
    """k2 leaves the aux_labels of arcs that are final no more at -1; here they become 0."""
    for side in sides:
        if isinstance(side.aux_labels, torch.Tensor):
            side.aux_labels = side.aux_labels.clamp(min=0)


@AUX
def test_connect(comparison, aux):
    """Without cycles: 1.23.4 does not see that a cycle which nothing enters is out of reach."""
    for rng in comparison.cases():
        one = with_attributes(rng, graph(rng), aux)
        found, theirs = differentiated(comparison, "connect", [one])
        compare_renumbered(comparison, found, theirs)


@AUX
def test_top_sort(comparison, aux):
    for rng in comparison.cases():
        one = with_attributes(rng, renumbered(rng, connected(rng)), aux)
        found, theirs = differentiated(comparison, "top_sort", [one])
        comparison.same("sorted", bool((found.src < found.dst).all()), True)
        compare_renumbered(comparison, found, theirs)


def renumbered(rng, one):
    """States but the first and the last in another order."""
    number = np.arange(one.num_states)
    number[1:-1] = rng.permutation(number[1:-1])
    order = np.argsort(number[one.src.numpy()], kind="stable")
    table = np.stack(
        (number[one.src.numpy()], number[one.dst.numpy()], one.labels.numpy()), axis=1
    )[order].astype(np.int32)
    bits = one.scores.numpy()[order].view(np.int32)
    return fsa.Fsa(torch.from_numpy(np.column_stack((table, bits))), num_states=one.num_states)


@AUX
def test_union(comparison, aux):
    for rng in comparison.cases():
        many = fsa.FsaVec(
            [
                with_attributes(rng, graph(rng, acyclic=False), aux)
                for _ in range(rng.integers(1, 4))
            ]
        )
        found, theirs = differentiated(comparison, "union", [many])
        compare(comparison, found, theirs, "aux_labels", "cost")


@AUX
def test_invert(comparison, aux):
    for rng in comparison.cases():
        one = with_attributes(rng, graph(rng, acyclic=False), aux)
        found, theirs = differentiated(comparison, "invert", [one])
        compare(comparison, found, theirs, "aux_labels", "cost")


def test_expand_ragged_attributes(comparison):
    for rng in comparison.cases():
        one = with_attributes(rng, graph(rng, acyclic=False), "ragged")
        found, theirs = differentiated(comparison, "expand_ragged_attributes", [one])
        compare(comparison, found, theirs, "aux_labels", "cost")


def test_index_fsa(comparison):
    for rng in comparison.cases():
        count = int(rng.integers(1, 5))
        many = fsa.FsaVec([with_attributes(rng, graph(rng)) for _ in range(count)])
        index = rng.integers(0, count, rng.integers(1, 6)).astype(np.int32)
        found, theirs = differentiated(comparison, "index_fsa", [many], index)
        compare(comparison, found, theirs, "aux_labels", "cost")


def test_replace_fsa(comparison):
    for rng in comparison.cases():
        many = fsa.FsaVec([graph(rng) for _ in range(rng.integers(1, 4))])
        index = graph(rng, labels=(1, 2, 10, 11, 12))
        found, theirs = differentiated(comparison, "replace_fsa", [many, index], 10)
        compare(comparison, found, theirs)


# Products


def products(comparison, ours, theirs, *names):
    """What two products accept: states are numbered differently, epsilons are interleaved."""
    comparison.same("empty", ours.num_arcs == 0, theirs.num_arcs == 0)
    if not ours.num_arcs:
        return
    for name in names:
        mine, others = language(ours, name), language(theirs, name)
        comparison.same("strings", sorted(mine), sorted(others))
        comparison.close(
            "scores", [mine[x][0] for x in sorted(mine)], [others[x][0] for x in sorted(mine)], 1e-4
        )
        comparison.same(
            f"{name} of best paths", *({k: v[1] for k, v in x.items()} for x in (mine, others))
        )
    totals = [
        fsa.top_sort(fsa.connect(fsa.FsaVec([x]))).get_tot_scores(True, True)
        for x in (ours, theirs)
    ]
    comparison.close("log totals", *totals, TOTAL)


@pytest.mark.parametrize("treat_epsilons_specially", [True, False])
def test_intersect(comparison, treat_epsilons_specially):
    for rng in comparison.cases():
        a, b = (fsa.arc_sort(graph(rng, most_arcs=8)) for _ in range(2))
        a = with_attributes(rng, a)
        options = {"treat_epsilons_specially": treat_epsilons_specially}
        found, theirs = differentiated(comparison, "intersect", [a, b], best=True, **options)
        products(comparison, found, theirs, "aux_labels")


def test_intersect_device(comparison):
    for rng in comparison.cases():
        count, several = rng.integers(1, 4, 2).tolist()
        a = fsa.FsaVec([with_attributes(rng, graph(rng)) for _ in range(several)])
        b = fsa.FsaVec([with_attributes(rng, graph(rng), "") for _ in range(count)])
        index = np.sort(rng.integers(0, several, count)).astype(np.int32)
        (found, *maps), (theirs, *wanted) = differentiated(
            comparison, "intersect_device", [a, b], index, ret_arc_maps=True
        )
        comparison.same("states", found.state_splits, theirs.state_splits)
        comparison.same("number of arcs", found.arc_splits, theirs.arc_splits)
        pairs = [sorted(zip(*(x.tolist() for x in side))) for side in (maps, wanted)]
        comparison.same("pairs of arcs", *pairs)
        order = [np.lexsort([np.asarray(x) for x in side]) for side in (maps, wanted)]
        for name in ("scores", "cost", "aux_labels", "labels"):
            values = [getattr(x, name).detach().numpy()[i] for x, i in zip((found, theirs), order)]
            comparison.close(name, *values, 1e-5)


@pytest.mark.parametrize("treat_epsilons_specially", [True, False])
def test_compose(comparison, treat_epsilons_specially):
    for rng in comparison.cases():
        a = with_attributes(rng, graph(rng, most_arcs=8))
        b = with_attributes(rng, fsa.arc_sort(graph(rng, most_arcs=8, labels=(0, 1, 2, 3))))
        if not treat_epsilons_specially:
            a = fsa.invert(fsa.arc_sort(fsa.invert(a)))
        found, theirs = differentiated(
            comparison, "compose", [a, b], best=True,
            treat_epsilons_specially=treat_epsilons_specially, inner_labels="inner",
        )  # fmt: skip
        products(comparison, found, theirs, "aux_labels", "inner")


# Equivalent automata


def equivalent(comparison, function, one, gradient=True):
    if gradient:
        found, theirs = differentiated(comparison, function, [one], best=True)
    else:
        theirs = to_fsa(comparison.call(function, arguments=[from_fsa(one)]))
        found = getattr(fsa, function)(one)
    mine, others = (language(x, "aux_labels") for x in (found, theirs))
    comparison.same("strings", sorted(mine), sorted(others))
    comparison.close(
        "scores", [mine[x][0] for x in sorted(mine)], [others[x][0] for x in sorted(mine)], 1e-4
    )
    comparison.same("aux_labels", *({k: v[1] for k, v in x.items()} for x in (mine, others)))
    return found, theirs


@AUX
def test_remove_epsilon(comparison, aux):
    for rng in comparison.cases():
        one = with_attributes(rng, graph(rng), aux)
        found, _ = equivalent(comparison, "remove_epsilon", one)
        comparison.same("epsilons", bool((found.labels == 0).any()), False)


@AUX
def test_determinize(comparison, aux):
    for rng in comparison.cases():
        one = with_attributes(rng, connected(rng, most_arcs=14), aux)
        # 1.23.4 refuses scores that require a gradient
        found, theirs = equivalent(comparison, "determinize", one, gradient=False)
        comparison.same("number of states", found.num_states, theirs.num_states)
        comparison.same("number of arcs", found.num_arcs, theirs.num_arcs)


@pytest.mark.parametrize("function", ["remove_epsilon", "remove_epsilon_and_add_self_loops"])
def test_with_cycles(comparison, function):
    """All short strings have the same scores; epsilon cycles do not gain."""
    strings = [list(x) for n in range(4) for x in itertools.product((1, 2), repeat=n)]
    for rng in comparison.cases():
        one = graph(rng, acyclic=False)
        one.scores = -one.scores.abs() - 0.01
        theirs = to_fsa(comparison.call(function, arguments=[from_fsa(one)]))
        found = getattr(fsa, function)(one)
        totals = []
        for side in (found, theirs):
            side = fsa.remove_epsilon_self_loops(side)
            comparison.same("epsilons", bool((side.labels == 0).any()), False)
            several = fsa.FsaVec([side])
            accepted = fsa.intersect_device(
                several, fsa.linear_fsa(strings), torch.zeros(len(strings), dtype=torch.int32)
            )
            totals.append(fsa.top_sort(accepted).get_tot_scores(True, False))
        comparison.close("scores", *totals, 1e-4)


# Made from sequences


def sequences(rng, lowest=0):
    return [rng.integers(1, 9, rng.integers(lowest, 7)).tolist() for _ in range(rng.integers(1, 5))]


CHAINS = {
    "linear_fsa": lambda rng: [sequences(rng)],
    "trivial_graph": lambda rng: [int(rng.integers(1, 20))],
    "ctc_topo": lambda rng: [int(rng.integers(1, 12)), bool(rng.random() < 0.5)],
    "ctc_graph": lambda rng: [sequences(rng), bool(rng.random() < 0.5)],
    "levenshtein_graph": lambda rng: [sequences(rng), float(rng.choice([-0.501, -0.6]))],
}
ATTRIBUTES = {"linear_fsa": (), "levenshtein_graph": ("aux_labels",)}


@pytest.mark.parametrize("function", sorted(CHAINS))
def test_made(comparison, function):
    for rng in comparison.cases(most=200):
        arguments = CHAINS[function](rng)
        theirs = to_fsa(comparison.call(function, arguments=arguments))
        found = getattr(fsa, function)(*arguments)
        compare(comparison, found, theirs, *ATTRIBUTES.get(function, ("aux_labels",)))


def test_linear_fst(comparison):
    for rng in comparison.cases(most=200):
        labels = sequences(rng, lowest=1)
        aux = [rng.integers(0, 9, len(row)).tolist() for row in labels]
        found = fsa.linear_fst(labels, aux)
        theirs = comparison.call("linear_fst", arguments=[labels, aux])
        compare(comparison, found, to_fsa(theirs), "aux_labels")
        theirs = to_fsa(comparison.call("linear_fst_with_self_loops", arguments=[theirs]))
        compare(comparison, fsa.linear_fst_with_self_loops(found), theirs)


def test_levenshtein_alignment(comparison):
    """Edits; which of several best alignments is found is not specified."""
    for rng in comparison.cases():
        refs, hyps = sequences(rng), sequences(rng)
        refs, hyps = ([*x, *[[]] * 4][:4] for x in (refs, hyps))
        theirs = comparison.call("levenshtein_distances", refs=refs, hyps=hyps)
        graphs = [fsa.levenshtein_graph(x) for x in (refs, hyps)]
        found = fsa.levenshtein_alignment(*graphs, torch.arange(4, dtype=torch.int32))
        comparison.close("edits", -found.get_tot_scores(False, False), theirs, 1e-5)


# Text and files


@pytest.mark.parametrize(
    "aux, openfst", [("", False), ("", True), ("plain", False), ("plain", True), ("ragged", False)]
)
def test_text(comparison, aux, openfst):
    for rng in comparison.cases():
        one = graph(rng, acyclic=False)
        names = ("aux_labels",) if aux else ()
        if aux == "ragged":
            one = ragged_aux(rng, one)
        elif aux:
            one = with_attributes(rng, one)
            del one.cost
        options = {"openfst": openfst}
        options.update(ragged_label_names=["aux_labels"] if aux == "ragged" else [])
        options.update(num_aux_labels=int(aux == "plain"))
        ours = fsa.to_str(one, openfst=openfst)
        theirs = comparison.call("to_str", arguments=[from_fsa(one), openfst])
        # what the other wrote
        text = ours.replace("[ ", "[").replace(" ]", "]")  # 1.23.4 does not read what it writes
        read = to_fsa(comparison.call("from_text", text=text, options=options))
        compare(
            comparison, fsa.Fsa.from_str(theirs, **options), one if not openfst else read, *names
        )
        compare(comparison, fsa.Fsa.from_str(ours, **options), read, *names)


@AUX
def test_files(comparison, aux, tmp_path):
    for rng in comparison.cases(most=100):
        many = fsa.FsaVec([with_attributes(rng, graph(rng), aux) for _ in range(2)])
        one = many if rng.random() < 0.5 else many[0]
        path = str(tmp_path / "graph.pt")
        comparison.call("save", fsa=from_fsa(one), path=path)
        compare(comparison, fsa.load_fsa(path), one, "aux_labels", "cost")
        fsa.save_graph_dict(one.as_dict(), path)
        theirs = to_fsa(comparison.call("load", path=path))
        compare(comparison, one, theirs, "aux_labels", "cost")


def test_prune_on_arc_post(comparison):
    for rng in comparison.cases():
        one = fsa.FsaVec([with_attributes(rng, uneven(rng, graph(rng))) for _ in range(2)])
        threshold = float(rng.uniform(0.02, 0.5))
        found, theirs = differentiated(comparison, "prune_on_arc_post", [one], threshold, True)
        compare(comparison, found, theirs, "aux_labels", "cost")
