"""Graph operations against enumeration of all paths of random automata of up to six states."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from random_graphs import all_paths, arcs_of, cases, path_score, random_fsa

from neve.errors import NeveError
from neve.fsa import (
    Fsa,
    FsaVec,
    RaggedTensor,
    add_epsilon_self_loops,
    arc_sort,
    closure,
    compose,
    connect,
    determinize,
    expand_ragged_attributes,
    index_fsa,
    intersect,
    intersect_device,
    invert,
    remove_epsilon,
    remove_epsilon_and_add_self_loops,
    remove_epsilon_self_loops,
    replace_fsa,
    reverse,
    top_sort,
    union,
)
from neve.fsa.properties import (
    ACCESSIBLE,
    ARC_SORTED,
    ARC_SORTED_AND_DETERMINISTIC,
    COACCESSIBLE,
    EPSILON_FREE,
    NONEMPTY,
    TOPSORTED,
    TOPSORTED_AND_ACYCLIC,
    properties_to_str,
)


def emitted(fsa, arc):
    """What an arc emits, without zeros and -1."""
    value = fsa.aux_labels
    words = value[arc].tolist() if isinstance(value, RaggedTensor) else [int(value[arc])]
    return tuple(word for word in words if word > 0)


def language(fsa, longest=6, keep_epsilons=False, transducer=False):
    """{string (or pair of strings): scores of its paths of at most `longest` arcs, sorted}."""
    found = defaultdict(list)
    for path in all_paths(fsa, longest):
        labels = [int(fsa.labels[e]) for e in path[:-1]]
        key = tuple(x for x in labels if keep_epsilons or x != 0)
        if transducer:
            key = (key, sum((emitted(fsa, e) for e in path), ()))
        found[key].append(path_score(fsa, path))
    return {key: sorted(scores) for key, scores in found.items()}


def best(scores):
    return {key: values[-1] for key, values in scores.items()}


def test_sorting_arcs_changes_their_order_only():
    for rng, where in cases():
        fsas = [random_fsa(rng, acyclic=False, aux=True) for _ in range(2)]
        vec = FsaVec(fsas)
        result, arc_map = arc_sort(vec, ret_arc_map=True)
        for fsa, sorted_fsa in zip(fsas, result):
            arcs = arcs_of(sorted_fsa)
            keys = [(src, label & 0xFFFFFFFF, dst) for src, dst, label, _ in arcs]
            assert keys == sorted(keys), where
            assert sorted(arcs) == sorted(arcs_of(fsa)), where
        assert torch.equal(vec.aux_labels[arc_map.long()], result.aux_labels), where
        assert torch.equal(vec.scores[arc_map.long()], result.scores), where


def test_connect_keeps_paths_and_nothing_else():
    for rng, where in cases():
        fsa = random_fsa(rng, acyclic=False, aux=True, most_arcs=5)
        result = connect(fsa)
        assert language(result, 5, transducer=True) == language(fsa, 5, transducer=True), where
        useful = {e for path in all_paths(fsa, 8) for e in path}
        assert result.num_arcs == len(useful), where


def test_top_sort_keeps_paths_and_numbers_rise():
    for rng, where in cases():
        fsa = random_fsa(rng, aux=True)
        if fsa.num_states > 2:  # mix up the inner states
            number = torch.arange(fsa.num_states)
            inner = rng.permutation(np.arange(1, fsa.num_states - 1))
            number[1:-1] = torch.from_numpy(inner)
            src, dst = number[fsa.src.long()], number[fsa.dst.long()]
            order = torch.argsort(src, stable=True)
            columns = (src[order], dst[order], fsa.labels[order])
            mixed = Fsa._make(
                *(x.to(torch.int32) for x in columns),
                fsa.scores[order],
                fsa.state_splits,
                fsa.arc_splits,
                {"aux_labels": fsa.aux_labels[order]},
            )
        else:
            mixed = fsa
        result = top_sort(mixed)
        assert bool((result.src < result.dst).all()), where
        assert language(result, transducer=True) == language(fsa, transducer=True), where
        assert top_sort(FsaVec([mixed, fsa])).num_fsas == 2
    with pytest.raises(NeveError, match="cycle"):
        top_sort(Fsa.from_str("0 0 1\n0 1 -1\n1"))
    with pytest.raises(NeveError, match="cycle"):
        top_sort(Fsa.from_str("0 1 1\n1 2 1\n1 3 -1\n2 1 1\n3"))


@pytest.mark.parametrize("epsilons", [False, True])
def test_intersection_is_the_product_of_languages(epsilons):
    for rng, where in cases():
        a, b = (random_fsa(rng, most_states=5, most_arcs=7) for _ in range(2))
        a.weight = torch.arange(a.num_arcs, dtype=torch.float32)
        b.weight = torch.arange(b.num_arcs, dtype=torch.float32) * 10
        a.only_a = torch.arange(a.num_arcs, dtype=torch.int32)
        result, map_a, map_b = intersect(a, b, epsilons, ret_arc_maps=True)
        if epsilons:
            wanted = best(language(a)), best(language(b))
            wanted = {x: s + wanted[1][x] for x, s in wanted[0].items() if x in wanted[1]}
            assert best(language(result, 12)) == wanted, where
        else:
            left, right = (language(x, keep_epsilons=True) for x in (a, b))
            wanted = {
                x: sorted(s + t for s in left[x] for t in right[x]) for x in left if x in right
            }
            assert language(result, keep_epsilons=True) == wanted, where
            if wanted and bool((result.src < result.dst).all()):
                total = result.get_tot_scores(True, True)
                flat = [x for scores in wanted.values() for x in scores]
                np.testing.assert_allclose(total, np.logaddexp.reduce(flat), err_msg=where)
        for arc, (i, j) in enumerate(zip(map_a.tolist(), map_b.tolist())):
            parts = [(fsa, e) for fsa, e in ((a, i), (b, j)) if e >= 0]
            assert float(result.scores[arc]) == sum(float(f.scores[e]) for f, e in parts), where
            assert float(result.weight[arc]) == sum(float(f.weight[e]) for f, e in parts), where
            assert int(result.only_a[arc]) == max(i, 0), where


def test_intersect_device_takes_each_with_its_own():
    for rng, where in cases():
        a_fsas = [random_fsa(rng, most_states=5) for _ in range(2)]
        b_fsas = [random_fsa(rng, most_states=5) for _ in range(3)]
        which = torch.tensor([1, 0, 1], dtype=torch.int32)
        result = intersect_device(FsaVec(a_fsas), FsaVec(b_fsas), which)
        for i, j in enumerate(which.tolist()):
            alone = intersect(a_fsas[j], b_fsas[i], treat_epsilons_specially=False)
            assert language(result[i], keep_epsilons=True) == language(alone, keep_epsilons=True), (
                where
            )


def test_composition_is_that_of_relations():
    for rng, where in cases():
        a, b = (random_fsa(rng, most_states=4, most_arcs=6, aux=True) for _ in range(2))
        result = compose(a, b, inner_labels="inner")
        left, right = (best(language(x, transducer=True)) for x in (a, b))
        wanted = {}
        for (x, y), s in left.items():
            for (u, v), t in right.items():
                if y == u:
                    wanted[x, v] = max(wanted.get((x, v), -np.inf), s + t)
        assert best(language(result, 12, transducer=True)) == wanted, where
        acceptor = b.clone()
        del acceptor.aux_labels
        names = compose(a, acceptor)
        strings = {(x, y): s for (x, y), s in left.items()}
        accepted = best(language(acceptor))
        assert best(language(names, 12, transducer=True)) == {
            key: s + accepted[key[1]] for key, s in strings.items() if key[1] in accepted
        }, where


def test_gradients_reach_both_sides_of_a_composition():
    a = Fsa.from_str("0 1 1 3 0.5\n0 1 2 0 0.25\n1 2 -1 -1 0\n2", acceptor=False)
    b = Fsa.from_str("0 1 3 7 1\n0 1 3 8 2\n1 2 -1 -1 0\n2", acceptor=False)
    for fsa in (a, b):
        fsa.requires_grad_(True)
    compose(a, b).scores.sum().backward()
    assert a.grad.tolist() == [2, 1, 1]  # its epsilon moves alone, and then b has no end
    assert b.grad.tolist() == [1, 1, 1] or b.grad.tolist()[:2] == [1, 1]


def test_determinize_keeps_the_best_score_of_every_string():
    ended = 0
    for rng, where in cases():
        fsa = random_fsa(rng, aux=True, most_arcs=9)
        fsa.weight = torch.arange(fsa.num_arcs, dtype=torch.float32)
        result = determinize(fsa)
        ended += 1
        keys = list(zip(result.src.tolist(), result.labels.tolist()))
        assert len(keys) == len(set(keys)), where
        wanted = language(fsa, keep_epsilons=True)
        found = language(result, keep_epsilons=True)
        assert all(len(scores) == 1 for scores in found.values()), where
        assert best(found) == best(wanted), where
        # what a path emits and weighs is what one of the best paths of its string does
        ways = defaultdict(set)
        for path in all_paths(fsa):
            labels = tuple(int(fsa.labels[e]) for e in path[:-1])
            if path_score(fsa, path) == wanted[labels][-1]:
                words = sum((emitted(fsa, e) for e in path), ())
                ways[labels].add((words, sum(float(fsa.weight[e]) for e in path)))
        for path in all_paths(result):
            labels = tuple(int(result.labels[e]) for e in path[:-1])
            words = sum((emitted(result, e) for e in path), ())
            assert (words, sum(float(result.weight[e]) for e in path)) in ways[labels], where
    assert ended == 200


def test_an_automaton_without_a_deterministic_equivalent_is_an_error():
    # both loops read 1 for different scores, and either may end
    fsa = Fsa.from_str("0 1 1\n0 2 1\n1 1 1 -1\n1 3 2\n2 2 1 -2\n2 3 2\n3 4 -1\n4")
    with pytest.raises(NeveError, match="disambiguation symbols"):
        determinize(fsa, most_states=500)
    with pytest.raises(NeveError, match="weight_pushing_type"):
        determinize(fsa, "odd")


def test_epsilon_removal_and_loops():
    for rng, where in cases():
        fsa = random_fsa(rng, aux=True)
        result = remove_epsilon(fsa)
        assert not bool((result.labels == 0).any()), where
        assert best(language(result)) == best(language(fsa)), where
        looped = remove_epsilon_and_add_self_loops(fsa)
        assert looped.num_arcs == result.num_arcs + max(result.num_states - 1, 0), where
        assert language(remove_epsilon_self_loops(looped)) == language(result), where


def test_self_loops_come_first():
    for rng, where in cases():
        fsas = [random_fsa(rng, acyclic=False, aux=True) for _ in range(2)]
        vec = FsaVec(fsas)
        result, arc_map = add_epsilon_self_loops(vec, ret_arc_map=True)
        for fsa, looped in zip(fsas, result):
            arcs = [(*arc, x) for arc, x in zip(arcs_of(fsa), fsa.aux_labels.tolist())]
            wanted = []
            for state in range(max(fsa.num_states - 1, 0)):
                wanted.append((state, state, 0, 0.0, 0))
                wanted += [arc for arc in arcs if arc[0] == state]
            found = [(*a, x) for a, x in zip(arcs_of(looped), looped.aux_labels.tolist())]
            assert found == wanted, where
        assert arc_map[arc_map >= 0].tolist() == list(range(vec.num_arcs)), where
        plain = remove_epsilon_self_loops(result)
        kept = [a for fsa in fsas for a in arcs_of(fsa) if a[0] != a[1] or a[2] != 0]
        assert [a for one in plain for a in arcs_of(one)] == kept, where


def test_union_accepts_what_any_does():
    for rng, where in cases():
        fsas = [random_fsa(rng, aux=True) for _ in range(int(rng.integers(1, 4)))]
        if any(fsa.num_states == 0 for fsa in fsas):
            with pytest.raises(NeveError, match="is empty"):
                union(FsaVec(fsas))
            continue
        wanted = defaultdict(list)
        for fsa in fsas:
            for key, scores in language(fsa, transducer=True).items():
                wanted[key] += scores
        wanted = {key: sorted(scores) for key, scores in wanted.items()}
        assert language(union(FsaVec(fsas)), 7, transducer=True) == wanted, where


def test_closure_repeats():
    for rng, where in cases(300):
        # an accepted empty pair could be repeated for ever
        fsa = random_fsa(rng, labels=(1, 2), most_states=4, most_arcs=3, aux=True)
        once = best(language(fsa, transducer=True))
        if ((), ()) in once:
            continue
        wanted = {((), ()): 0.0}
        level = dict(wanted)
        for _ in range(2):
            following = {}
            for (x, y), s in level.items():
                for (u, v), t in once.items():
                    key = (x + u, y + v)
                    following[key] = max(following.get(key, -np.inf), s + t)
            level = following
            for key, s in level.items():
                wanted[key] = max(wanted.get(key, -np.inf), s)
        longest = 2 * fsa.num_states + 1
        found = best(language(closure(fsa), longest, transducer=True))
        assert all(found[key] >= s for key, s in wanted.items()), where
        # and nothing else: what is found is a sequence of what is accepted once
        for (x, y), s in found.items():
            split = best_split(x, y, once)
            # one label at a time takes two arcs each, and a path that long may not be in `found`
            assert s == split if 2 * len(x) + 1 <= longest else s <= split, where


def best_split(x, y, once, depth=8):
    """The best score of (x, y) as a sequence of at most `depth` pairs of `once`."""
    if depth == 0:
        return 0.0 if not x and not y else -np.inf
    options = [0.0] if not x and not y else [-np.inf]
    for (u, v), s in once.items():
        if x[: len(u)] == u and y[: len(v)] == v and (u or v):
            options.append(s + best_split(x[len(u) :], y[len(v) :], once, depth - 1))
    return max(options)


def test_reverse_reads_backwards():
    for rng, where in cases():
        fsa = random_fsa(rng, aux=True)
        wanted = {
            (x[::-1], y[::-1]): scores for (x, y), scores in language(fsa, transducer=True).items()
        }
        assert language(reverse(fsa), 8, transducer=True) == wanted, where


def test_inverting_and_expanding_keep_both_strings():
    for rng, where in cases():
        fsa = random_fsa(rng)
        rows = [
            [int(x) for x in rng.integers(1, 5, int(rng.integers(0, 4)))] + [-1] * (label == -1)
            for label in fsa.labels.tolist()
        ]
        fsa.aux_labels = RaggedTensor.from_list(rows)
        fsa.weight = torch.arange(fsa.num_arcs, dtype=torch.float32)
        wanted = language(fsa, transducer=True)
        expanded, arc_map = expand_ragged_attributes(fsa, ret_arc_map=True)
        assert language(expanded, 40, transducer=True) == wanted, where
        assert bool((expanded.aux_labels[expanded.labels == -1] == -1).all()), where
        kept = arc_map[arc_map >= 0]
        assert sorted(kept.tolist()) == list(range(fsa.num_arcs)), where
        assert float(expanded.weight.sum()) == float(fsa.weight.sum()), where
        swapped = {(y, x): scores for (x, y), scores in wanted.items()}
        assert language(invert(fsa), 40, transducer=True) == swapped, where
        assert language(invert(FsaVec([fsa, fsa]))[1], 40, transducer=True) == swapped, where
        assert language(invert(invert(fsa)), 40, transducer=True) == wanted, where
        assert language(fsa.clone().invert_(), 40, transducer=True) == swapped, where


def test_replacing_puts_languages_in():
    for rng, where in cases():
        index = random_fsa(rng, labels=(1, 2, 5), most_states=4, most_arcs=4)
        classes = [random_fsa(rng, labels=(7, 8), most_states=3, most_arcs=3) for _ in range(2)]
        used = {int(x) - 1 for x in index.labels if x in (1, 2)}
        if any(classes[i].num_states == 0 for i in used):
            with pytest.raises(NeveError, match="is empty"):
                replace_fsa(FsaVec(classes), index, 1)
            continue
        inner = [best(language(fsa)) for fsa in classes]
        wanted = {}
        for path in all_paths(index):
            level = {(): path_score(index, path)}
            for e in path[:-1]:
                label = int(index.labels[e])
                choices = inner[label - 1] if label in (1, 2) else {(label,): 0.0}
                level = joined(level, choices)
            for x, s in level.items():
                wanted[x] = max(wanted.get(x, -np.inf), s)
        result = replace_fsa(FsaVec(classes), index, 1)
        assert best(language(result, 20)) == wanted, where


def joined(level, choices):
    found = {}
    for x, s in level.items():
        for y, t in choices.items():
            found[x + y] = max(found.get(x + y, -np.inf), s + t)
    return found


def test_picking_automata():
    for rng, where in cases():
        fsas = [random_fsa(rng, aux=True) for _ in range(3)]
        picks = rng.integers(0, 3, int(rng.integers(0, 5)))
        result = index_fsa(FsaVec(fsas), torch.from_numpy(picks.astype(np.int32)))
        assert len(result) == len(picks)
        for fsa, pick in zip(result, picks):
            assert fsa.to_str() == fsas[pick].to_str(), where
    with pytest.raises(NeveError, match="indexes"):
        index_fsa(FsaVec(fsas), torch.tensor([3]))


def test_properties_say_what_is_true():
    for rng, where in cases():
        fsa = random_fsa(rng, acyclic=bool(rng.integers(2)))
        if rng.integers(2):
            fsa = arc_sort(fsa)
        arcs, p = arcs_of(fsa), fsa.properties
        keys = [(src, label & 0xFFFFFFFF) for src, _, label, _ in arcs]
        order = [(*key, arc[1]) for key, arc in zip(keys, arcs)]
        n = fsa.num_states
        facts = {
            NONEMPTY: n > 0,
            TOPSORTED: all(src <= dst for src, dst, *_ in arcs),
            TOPSORTED_AND_ACYCLIC: all(src < dst for src, dst, *_ in arcs),
            ARC_SORTED: order == sorted(order),
            ARC_SORTED_AND_DETERMINISTIC: keys == sorted(set(keys)),
            EPSILON_FREE: all(label != 0 for *_, label, _ in arcs),
            ACCESSIBLE: {0, *(a[1] for a in arcs if a[0] != a[1])} >= set(range(n)),
            COACCESSIBLE: {n - 1, *(a[0] for a in arcs if a[0] != a[1])} >= set(range(n)),
        }
        assert all(bool(p & flag) == true for flag, true in facts.items()), where
    assert properties_to_str(1 | 64) == "Valid|EpsilonFree"


def test_bad_arguments_are_named():
    plain = Fsa.from_str("0 1 1\n1 2 -1\n2")
    both = Fsa.from_str("0 1 1 5\n1 2 -1 -1\n2", acceptor=False)
    with pytest.raises(NeveError, match="a_fsa: int32 aux_labels"):
        compose(plain, plain)
    with pytest.raises(NeveError, match="aux_labels: an attribute that both"):
        intersect(both, both)
    with pytest.raises(NeveError, match="b_fsa: 3 automata for 2"):
        intersect(FsaVec([plain] * 2), FsaVec([plain] * 3))
    with pytest.raises(NeveError, match="b_to_a_map"):
        intersect_device(FsaVec([plain]), FsaVec([plain]), torch.tensor([1]))
    with pytest.raises(NeveError, match="closure: one automaton"):
        closure(FsaVec([plain]))
    with pytest.raises(NeveError, match="is not ragged"):
        expand_ragged_attributes(both, False, ["aux_labels"])


TWO = {
    "intersect": lambda a, b: intersect(a, b),
    "intersect as symbols": lambda a, b: intersect(a, b, False),
    "intersect_device": lambda a, b: intersect_device(
        FsaVec([a, b]), FsaVec([b, a]), torch.tensor([0, 0])
    ),
    "compose": lambda a, b: compose(with_outputs(a), b),
    "union": lambda a, b: union(FsaVec([a, b])),
    "replace_fsa": lambda a, b: replace_fsa(FsaVec([a]), b, 1),
    "determinize": lambda a, b: determinize(a),
    "remove_epsilon": lambda a, b: remove_epsilon(FsaVec([a, b])),
    "add_epsilon_self_loops": lambda a, b: add_epsilon_self_loops(FsaVec([a, b])),
    "remove_epsilon_self_loops": lambda a, b: remove_epsilon_self_loops(FsaVec([a, b])),
    "closure": lambda a, b: closure(a),
    "reverse": lambda a, b: reverse(a),
    "arc_sort": lambda a, b: arc_sort(FsaVec([a, b])),
    "connect": lambda a, b: connect(FsaVec([a, b])),
    "top_sort": lambda a, b: top_sort(FsaVec([a, b])),
    "invert": lambda a, b: invert(with_outputs(a)),
    "expand_ragged_attributes": lambda a, b: expand_ragged_attributes(with_lists(a)),
}


def with_outputs(fsa):
    fsa = fsa.clone()
    fsa.aux_labels = fsa.labels.clone()
    return fsa


def with_lists(fsa):
    fsa = fsa.clone()
    rows = [[-1] if label == -1 else [label] * 2 for label in fsa.labels.tolist()]
    fsa.aux_labels = RaggedTensor.from_list(rows)
    return fsa


@pytest.mark.parametrize("name", TWO)
def test_scores_and_attributes_are_sums_and_gradients_follow(name):
    """What autograd says of a result's scores gives them back, as they are sums of scores."""
    for rng, where in cases(40):
        a, b = (random_fsa(rng, most_states=4, most_arcs=6) for _ in range(2))
        if 0 in (a.num_states, b.num_states):
            continue
        leaves = []
        for fsa in (a, b):
            fsa.scores = fsa.scores.double().requires_grad_()
            fsa.weight = fsa.scores * 2
            leaves.append(fsa.scores)
        result = TWO[name](a, b)
        factors = torch.arange(1.0, result.num_arcs + 1, dtype=torch.float64)
        total = (result.scores * factors).sum()
        torch.testing.assert_close(result.weight, result.scores * 2, msg=where)
        if not total.requires_grad:
            assert result.num_arcs == 0, where
            continue
        grads = torch.autograd.grad(total, leaves, allow_unused=True)
        linear = sum((g * x).sum() for g, x in zip(grads, leaves) if g is not None)
        torch.testing.assert_close(linear, total, msg=where)
        assert all(g is None or bool((g >= 0).all()) for g in grads), where
