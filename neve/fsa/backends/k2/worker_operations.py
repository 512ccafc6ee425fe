"""What is asked of the real k2, one function each; see worker.py.

A part of the program worker.py: it needs numpy, torch and k2, and nothing of neve.
"""

import sys

import numpy as np
import torch

if __package__:
    from neve.fsa.backends.k2.worker_values import (
        dict_of,
        from_k2,
        fsa_of,
        grads_of,
        k2,
        leaf,
        ragged_of,
        to_k2,
    )
else:
    from worker_values import dict_of, from_k2, fsa_of, grads_of, k2, leaf, ragged_of, to_k2

# RNN-T


def mutual_information(px, py, boundary, want_grads=True):
    px, py = leaf(px), leaf(py)
    totals, grads = k2().mutual_information_recursion(
        px, py, torch.from_numpy(boundary), return_grad=True
    )
    return {"totals": from_k2(totals), "grads": from_k2(grads) if want_grads else None}


def rnnt_smoothed(lm, am, symbols, blank, scales, rnnt_type, boundary, delay_penalty):
    """Losses with the occupation probabilities and gradients; scales None: the simple loss."""
    lm, am = leaf(lm), leaf(am)
    arguments = {
        "boundary": torch.from_numpy(boundary),
        "rnnt_type": rnnt_type,
        "delay_penalty": delay_penalty,
        "reduction": "none",
        "return_grad": True,
    }
    if scales is None:
        loss, (gx, gy) = k2().rnnt_loss_simple(
            lm, am, torch.from_numpy(symbols), blank, **arguments
        )
    else:
        arguments.update(lm_only_scale=scales[0], am_only_scale=scales[1])
        loss, (gx, gy) = k2().rnnt_loss_smoothed(
            lm, am, torch.from_numpy(symbols), blank, **arguments
        )
    grads = grads_of(loss.sum(), lm, am)
    return {"loss": from_k2(loss), "gx": from_k2(gx), "gy": from_k2(gy), "grads": grads}


def rnnt_ranges(gx, gy, boundary, s_range):
    arrays = (torch.from_numpy(x) for x in (gx, gy, boundary))
    return from_k2(k2().get_rnnt_prune_ranges(*arrays, s_range))


def rnnt_pruned(logits, symbols, ranges, blank, rnnt_type, boundary, delay_penalty):
    """Losses and gradient; ranges None: those of the full joiner."""
    logits = leaf(logits)
    arguments = {
        "boundary": torch.from_numpy(boundary),
        "rnnt_type": rnnt_type,
        "delay_penalty": delay_penalty,
        "reduction": "none",
    }
    symbols = torch.from_numpy(symbols)
    if ranges is None:
        loss = k2().rnnt_loss(logits, symbols, blank, **arguments)
    else:
        loss = k2().rnnt_loss_pruned(logits, symbols, torch.from_numpy(ranges), blank, **arguments)
    return {"loss": from_k2(loss), "grad": grads_of(loss.sum(), logits)[0]}


# Dense scores


def dense_of(log_probs, segments, allow_truncate=0):
    segments = torch.from_numpy(np.ascontiguousarray(segments, np.int32))
    return k2().DenseFsaVec(log_probs, segments, allow_truncate=allow_truncate)


def falling(lengths):
    """(order of non-increasing lengths, which k2 wants, and its inverse)."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    return order, np.argsort(order, kind="stable")


def ctc_loss(log_probs, lengths, targets, modified=False, output_beam=10.0, delay_penalty=0.0):
    """Losses (N,) and gradient (N, T, C) over the graphs of `targets`, lists of tokens."""
    order, back = falling(lengths)
    log_probs = leaf(log_probs)
    segments = np.stack((order, np.zeros_like(order), np.asarray(lengths)[order]), axis=1)
    graph = k2().ctc_graph([targets[i] for i in order], modified=modified)
    loss = k2().ctc_loss(
        graph,
        dense_of(log_probs, segments),
        output_beam=output_beam,
        delay_penalty=delay_penalty,
        reduction="none",
    )
    return {"loss": from_k2(loss)[back], "grad": grads_of(loss.sum(), log_probs)[0]}


def marked(graph):
    """The graph with the number of each arc as an attribute: -1 where an arc comes from none."""
    graph.from_arc = torch.arange(graph.num_arcs, dtype=torch.int32)
    graph.from_arc_filler = -1
    return graph


def with_gradients(lattice, graph, log_probs, backward):
    """The lattice, and what the sum of its log totals gives the graph's and dense scores."""
    result = {"lattice": dict_of(lattice)}
    if backward:
        totals = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
        result["totals"] = from_k2(totals)
        finite = totals[torch.isfinite(totals)]
        if len(finite):
            result["grads"] = grads_of(finite.sum(), graph.scores, log_probs)
        else:
            result["grads"] = [np.zeros(x.shape, np.float32) for x in (graph.scores, log_probs)]
    return result


def intersect_dense_pruned(
    graph, log_probs, segments, search_beam, output_beam, min_active, max_active, backward=False
):
    """The lattice, its attributes from_arc and frame; with `backward` also totals and gradients."""
    graph, log_probs = marked(fsa_of(graph)), leaf(log_probs)
    graph.requires_grad_(backward)
    beams = (search_beam, output_beam, min_active, max_active)
    dense = dense_of(log_probs, segments)
    lattice = k2().intersect_dense_pruned(graph, dense, *beams, frame_idx_name="frame")
    return with_gradients(lattice, graph, log_probs, backward)


def intersect_dense(
    graphs, log_probs, segments, output_beam, max_states=15000000, max_arcs=2**30, backward=False
):
    """One graph for each segment, in any order of lengths (k2 wants them not to rise)."""
    graphs, log_probs = marked(fsa_of(graphs)), leaf(log_probs)
    graphs.requires_grad_(backward)
    order, back = falling(segments[:, 2])
    lattice = k2().intersect_dense(
        k2().index_fsa(graphs, torch.from_numpy(order.astype(np.int32))),
        dense_of(log_probs, segments[order]),
        output_beam,
        max_states,
        max_arcs,
        frame_idx_name="frame",
    )
    lattice = k2().index_fsa(lattice, torch.from_numpy(back.astype(np.int32)))
    return with_gradients(lattice, graphs, log_probs, backward)


def intersect_dense_online(
    graph, chunks, num_streams, search_beam, output_beam, min_active, max_active
):
    """The lattices after each of `chunks`, (streams, frames, C) log-probabilities."""
    graph = fsa_of(graph)
    if graph.arcs.num_axes() == 2:
        graph = k2().create_fsa_vec([graph])
    intersecter = k2().OnlineDenseIntersecter(
        graph, num_streams, search_beam, output_beam, min_active, max_active
    )
    states = [None] * num_streams
    lattices = []
    for chunk in chunks:
        frames = chunk.shape[1]
        segments = [[stream, 0, frames] for stream in range(num_streams)]
        lattice, states = intersecter.decode(dense_of(torch.from_numpy(chunk), segments), states)
        lattices.append(dict_of(lattice))
    return lattices


# Scores and paths


def state_scores(fsa, direction, log_semiring, use_double_scores, grad=None):
    """Forward or backward scores; with `grad` (states,) also the gradient of the arcs' scores."""
    fsa = fsa_of(fsa).requires_grad_(True)
    scores = getattr(fsa, f"get_{direction}_scores")(use_double_scores, log_semiring)
    result = {"scores": from_k2(scores)}
    if grad is not None:
        weight = torch.from_numpy(np.asarray(grad)).to(scores.dtype)
        use = torch.isfinite(scores)
        result["grad"] = grads_of((scores[use] * weight[use]).sum(), fsa.scores)[0]
    return result


def tot_scores(fsa, log_semiring, use_double_scores):
    fsa = fsa_of(fsa).requires_grad_(True)
    totals = fsa.get_tot_scores(use_double_scores, log_semiring)
    return {"totals": from_k2(totals), "grad": grads_of(totals.sum(), fsa.scores)[0]}


def arc_post(fsa, log_semiring, use_double_scores, grad=None):
    fsa = fsa_of(fsa).requires_grad_(True)
    post = fsa.get_arc_post(use_double_scores, log_semiring)
    result = {"post": from_k2(post)}
    if grad is not None:
        weight = torch.from_numpy(np.asarray(grad)).to(post.dtype)
        use = torch.isfinite(post)
        result["grad"] = grads_of((post[use] * weight[use]).sum(), fsa.scores)[0]
    return result


def random_paths(fsa, use_double_scores, num_paths):
    return k2().random_paths(fsa_of(fsa), use_double_scores, num_paths).tolist()


def nbest(lattice, num_paths, nbest_scale):
    """Paths of different words: "fsa", "splits" (paths of each lattice), "totals" (scores)."""
    found = k2().Nbest.from_lattice(
        fsa_of(lattice), num_paths, use_double_scores=True, nbest_scale=nbest_scale
    )
    totals = found.total_scores()
    return {
        "fsa": dict_of(found.fsa),
        "splits": found.shape.row_splits(1).numpy().astype(np.int64),
        "totals": from_k2(totals.values),
    }


def mwer_loss(lattice, ref_texts, nbest_scale, num_paths, temperature):
    lattice = fsa_of(lattice)
    scores = lattice.scores.detach().clone().requires_grad_(True)
    lattice.scores = scores + 0  # k2 scales the scores in place
    loss = k2().mwer_loss(
        lattice,
        ref_texts,
        nbest_scale=nbest_scale,
        num_paths=num_paths,
        temperature=temperature,
        use_double_scores=True,
        reduction="sum",
    )
    return {"loss": from_k2(loss), "grad": grads_of(loss, scores)[0]}


# Transducer decoding streams


def rnnt_streams(graphs, vocab_size, num_history, beam, max_states, max_contexts, log_probs, table):
    """Decodes; row (stream, context) of `log_probs` (frames, contexts, V) is `table`'s for it.

    `table` (V, ...) is unused where every context has its own row. Returns the contexts of each
    frame, and the lattice.
    """
    config = k2().RnntDecodingConfig(
        vocab_size=vocab_size,
        decoder_history_len=num_history,
        beam=beam,
        max_contexts=max_contexts,
        max_states=max_states,
    )
    streams = [k2().RnntDecodingStream(fsa_of(graph)) for graph in graphs]
    together = k2().RnntDecodingStreams(streams, config)
    seen = []
    for frame in log_probs:
        shape, contexts = together.get_contexts()
        rows = np.repeat(np.arange(len(graphs)), np.diff(shape.row_splits(1).numpy()))
        # a row of scores for each context that is a function of its symbols, on both sides
        scores = frame[rows] + table[contexts.numpy()].sum(axis=1)
        seen.append([from_k2(shape.row_splits(1)), from_k2(contexts)])
        # of no rows, NumPy's array would have strides of 0, which k2 refuses
        together.advance(torch.empty(scores.shape).copy_(torch.from_numpy(scores)))
    together.terminate_and_flush_to_streams()
    lattice = together.format_output([len(log_probs)] * len(graphs), allow_partial=True)
    return {"contexts": seen, "lattice": dict_of(lattice)}


# Functions of k2 that take and return automata, ragged arrays, tensors and plain values


def plain(function):
    def operation(arguments, options=None):
        return from_k2(getattr(k2(), function)(*to_k2(arguments), **to_options(options)))

    return operation


def to_options(options):
    return {name: to_k2(value) for name, value in (options or {}).items()}


def differentiated(function, arguments, options=None, best=False):
    """What a function of k2 returns, and gradients of the scores of its automata.

    They are of half the squares of the result's scores, or with `best` of its best paths' totals.
    """
    arguments = to_k2(arguments)
    leaves = [x.requires_grad_(True).scores for x in arguments if isinstance(x, k2().Fsa)]
    found = getattr(k2(), function)(*arguments, **to_options(options))
    first = found[0] if isinstance(found, tuple) else found
    if best:
        fsas = first if first.arcs.num_axes() == 3 else k2().create_fsa_vec([first])
        totals = k2().top_sort(fsas).get_tot_scores(use_double_scores=True, log_semiring=False)
        total = totals[torch.isfinite(totals)].sum()
    else:
        total = (first.scores**2).sum() / 2
    grads = [np.zeros(x.shape, np.float32) for x in leaves]
    if total.requires_grad:
        grads = grads_of(total, *leaves)
    return {"value": from_k2(found), "grads": grads}


def from_text(text, options):
    return dict_of(k2().Fsa.from_str(text, **options))


def save(fsa, path):
    """The file of an automaton's dictionary."""
    torch.save(fsa_of(fsa).as_dict(), path)


def load(path):
    return dict_of(k2().Fsa.from_dict(torch.load(path)))


def levenshtein_distances(refs, hyps):
    """(N,) edits between lists of symbols."""
    graphs = [k2().levenshtein_graph(side) for side in (refs, hyps)]
    index = torch.arange(len(refs), dtype=torch.int32)
    alignment = k2().levenshtein_alignment(*graphs, hyp_to_ref_map=index)
    return from_k2(-alignment.get_tot_scores(use_double_scores=False, log_semiring=False))


def ragged(values, method, arguments=()):
    """A method of RaggedTensor, or of k2 with the ragged tensor first."""
    found = getattr(ragged_of(values), method)(*to_k2(list(arguments)))
    if isinstance(found, (list, tuple)):
        return [from_k2(item) for item in found if item is not None]
    return from_k2(found)


def ragged_gradient(values, method, arguments=()):
    """Gradient of half the squares of what a method returns, with respect to the values."""
    source = ragged_of(values).requires_grad_(True)
    found = getattr(source, method)(*to_k2(list(arguments)))
    found = found if isinstance(found, torch.Tensor) else found.values
    ((found**2).sum() / 2).backward()
    return source.grad.numpy()


def ragged_function(function, arguments):
    """A function of k2.ragged."""
    return from_k2(getattr(k2().ragged, function)(*to_k2(arguments)))


def joint_mutual_information(px, py, boundary):
    """Totals (terms, B) and gradients of their sums with respect to each of px and py."""
    px, py = ([leaf(x) for x in side] for side in (px, py))
    totals = k2().joint_mutual_information_recursion(px, py, torch.from_numpy(boundary))
    grads = grads_of(sum(x.sum() for x in totals), *px, *py)
    return {"totals": torch.stack(list(totals)).detach().numpy(), "grads": grads}


def about():
    """What runs here."""
    return {
        "k2": getattr(k2(), "__version__", getattr(k2(), "__dev_version__", "unknown")),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "executable": sys.executable,
    }


def set_threads(count):
    torch.set_num_threads(count)


PLAIN = """
    add_epsilon_self_loops arc_sort closure compose connect ctc_graph ctc_topo determinize
    expand_ragged_attributes index_add index_fsa index_select intersect intersect_device invert
    levenshtein_alignment levenshtein_graph linear_fsa linear_fsa_with_self_loops linear_fst
    linear_fst_with_self_loops prune_on_arc_post remove_epsilon remove_epsilon_and_add_self_loops
    remove_epsilon_self_loops replace_fsa reverse shortest_path top_sort trivial_graph union
    do_rnnt_pruning get_rnnt_logprobs get_rnnt_logprobs_joint get_rnnt_logprobs_pruned
    get_rnnt_logprobs_smoothed swoosh_l swoosh_r to_str
""".split()
OPERATIONS = {name: plain(name) for name in PLAIN}
OPERATIONS.update(
    (function.__name__, function)
    for function in (
        about, arc_post, ctc_loss, differentiated, from_text, intersect_dense,
        intersect_dense_online, intersect_dense_pruned,
        joint_mutual_information, levenshtein_distances, load, mutual_information, mwer_loss, nbest,
        ragged, ragged_function, ragged_gradient, random_paths, rnnt_pruned, rnnt_ranges,
        rnnt_smoothed, rnnt_streams, save, set_threads, state_scores, tot_scores,
    )
)  # fmt: skip
