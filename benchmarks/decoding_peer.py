"""The other side of benchmarks/decoding.py: methods in functions of the real k2.

It runs in k2's own interpreter, with one thread. Reads orders as JSON lines: {"task": ...,
arguments}; answers each with {"seconds": wall, "cpu", "words": of each utterance (tokens for a
transducer), "arcs": of all lattices those that take a frame}. The task `load` keeps a graph,
log-probabilities, and for rescoring a G; `load-transducer` what a joiner needs.
"""

import json
import sys
import time

import k2
import numpy as np
import torch

KEPT = {}


def load(graph, posteriors, G="", backoff=0):
    """HLG.pt; an .npz with lp (N, T, C), lengths (N,), texts of word ids; G.fst.txt or nothing."""
    KEPT["graph"] = k2.Fsa.from_dict(torch.load(graph))
    KEPT["graph"].lm_scores = KEPT["graph"].scores.clone()
    file = np.load(posteriors)
    KEPT["lp"], lengths = torch.from_numpy(file["lp"]), file["lengths"]
    rows = [[i, 0, int(n)] for i, n in enumerate(lengths)]
    KEPT["segments"] = torch.tensor(rows, dtype=torch.int32)
    ends = np.cumsum(file["text_lengths"])
    flat = file["text_words"].tolist()
    KEPT["texts"] = [flat[b - n : b] for b, n in zip(ends, file["text_lengths"])]
    if G:
        with open(G) as stream:
            G = k2.Fsa.from_openfst(stream.read(), acceptor=False)
        del G.aux_labels
        labels = G.labels.clone()
        labels[labels == backoff] = 0
        G.labels = labels
        G = k2.add_epsilon_self_loops(k2.arc_sort(G))
        KEPT["G"] = k2.create_fsa_vec([k2.arc_sort(G)])
    return [], []


def lattices(search_beam, output_beam, num_paths=0, lm_scale=0.0):
    dense = k2.DenseFsaVec(KEPT["lp"], KEPT["segments"])
    return k2.intersect_dense_pruned(KEPT["graph"], dense, search_beam, output_beam, 30, 10000)


def one_best(found):
    return words_of(k2.shortest_path(found, use_double_scores=True))


def words_of(paths):
    """The words of linear automata."""
    labels, arcs = paths.aux_labels, paths.arcs.shape()
    ends = arcs.row_splits(2)[arcs.row_splits(1).long()].long()
    if isinstance(labels, torch.Tensor):
        flat, ends = labels.tolist(), ends.tolist()
    else:
        labels = labels.remove_axis(1) if labels.num_axes == 3 else labels
        flat, ends = labels.values.tolist(), labels.shape.row_splits(1)[ends].tolist()
    return [[x for x in flat[a:b] if x > 0] for a, b in zip(ends, ends[1:])]


def depth(found):
    arcs = found.arcs.shape()
    ends = arcs.row_splits(2)[arcs.row_splits(1).long()].long()
    taking = torch.nn.functional.pad((found.labels != -1).long().cumsum(0), (1, 0))
    return taking[ends].diff().tolist()


def best_path(**options):
    """Method 1best."""
    found = lattices(**options)
    return one_best(found), found


def listed(found, num_paths):
    """Word sequences of sampled paths, whose utterance each is, their best paths in the lattice."""
    paths = k2.Nbest.from_lattice(found, num_paths, use_double_scores=True, nbest_scale=0.5)
    words, rows = words_of(paths.fsa), paths.shape.row_ids(1).int()
    spoken = k2.arc_sort(k2.invert(found))
    looped = k2.add_epsilon_self_loops(k2.linear_fsa(words))
    both = k2.intersect_device(spoken, looped, rows, sorted_match_a=True)
    best = k2.shortest_path(k2.top_sort(k2.connect(both)), use_double_scores=True)
    return words, rows, best


def first_of(words, rows, goodness):
    """Of each utterance the word sequence with the most of something."""
    best = {}
    for place, row in enumerate(rows.tolist()):
        if row not in best or goodness[place] > goodness[best[row]]:
            best[row] = place
    return [words[best[row]] for row in range(len(KEPT["segments"]))]


def nbest(**options):
    """Method nbest: the words of sampled paths, by their best path in the whole lattice."""
    found = lattices(**options)
    words, rows, best = listed(found, options["num_paths"])
    return first_of(words, rows, best.get_tot_scores(True, False)), found


def nbest_oracle(**options):
    """Method nbest-oracle, by the alignment of k2's Levenshtein graphs; of equals, as nbest."""
    found = lattices(**options)
    words, rows, best = listed(found, options["num_paths"])
    refs, hyps = k2.levenshtein_graph(KEPT["texts"]), k2.levenshtein_graph(words)
    aligned = k2.levenshtein_alignment(refs, hyps, rows, sorted_match_ref=True)
    wrong, scores = aligned.get_tot_scores(False, False), best.get_tot_scores(True, False)
    goodness = list(zip(wrong.round().tolist(), scores.tolist()))
    return first_of(words, rows, goodness), found


def whole_lattice_rescoring(**options):
    """Method whole-lattice-rescoring: the lattice without its LM's scores, intersected with G."""
    found = lattices(**options)
    bare = found.clone() if hasattr(found, "clone") else found
    bare.scores = (found.scores - found.lm_scores) / options["lm_scale"]
    del bare.lm_scores
    spoken = k2.invert(bare)  # its arcs without a word are what G can back off with
    count = spoken.shape[0]
    both = k2.intersect_device(
        KEPT["G"], spoken, torch.zeros(count, dtype=torch.int32), sorted_match_a=True
    )
    both = k2.top_sort(k2.connect(both))
    return one_best(k2.invert(both)), found


def load_transducer(joiner):
    """An .npz with heard (N, T, J) and unknown (N, T, V) of the encoder, lengths (N,), said (C, J)
    by contexts of two symbols, weight (V, J), bias (V,)."""
    file = np.load(joiner)
    KEPT["joiner"] = {name: torch.from_numpy(file[name]) for name in file.files}
    return [], []


@torch.no_grad()
def fast_beam(search_beam, max_states, max_contexts, blank_penalty, history_scale, batches):
    """Method fast-beam: the best path of the lattice of RnntDecodingStreams, in batches."""
    kept, found = KEPT["joiner"], []
    vocab_size, lengths = len(kept["bias"]), kept["lengths"]
    config = k2.RnntDecodingConfig(
        vocab_size=vocab_size, decoder_history_len=2, beam=search_beam,
        max_contexts=max_contexts, max_states=max_states,
    )  # fmt: skip
    graph, begin, words = k2.trivial_graph(vocab_size - 1), 0, []
    for size in batches:  # how many utterances each has
        rows = slice(begin, begin + size)
        begin += size
        heard, unknown = kept["heard"][rows], kept["unknown"][rows]
        streams = [k2.RnntDecodingStream(graph) for _ in range(size)]
        decoding = k2.RnntDecodingStreams(streams, config)
        for frame in range(int(lengths[rows].max())):
            shape, contexts = decoding.get_contexts()
            of_row, contexts = shape.row_ids(1).long(), contexts.long()
            said = kept["said"][contexts[:, 0] * vocab_size + contexts[:, 1]]
            hidden = torch.tanh(heard[of_row, frame] + said)
            logits = torch.addmm(kept["bias"], hidden, kept["weight"].t())
            if history_scale != 1:
                known = torch.log_softmax(logits, -1)
                logits = history_scale * known + (1 - history_scale) * unknown[of_row, frame]
            logits[:, 0] -= blank_penalty
            decoding.advance(torch.log_softmax(logits, -1))
        decoding.terminate_and_flush_to_streams()
        lattices = decoding.format_output(lengths[rows].tolist())
        words += one_best(lattices)
        found.append(lattices)
    return words, found


TASKS = {
    "load": load,
    "load-transducer": load_transducer,
    "fast-beam": fast_beam,
    "1best": best_path,
    "nbest": nbest,
    "nbest-oracle": nbest_oracle,
    "whole-lattice-rescoring": whole_lattice_rescoring,
}


def main():
    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        task = order.pop("task")
        begin = time.perf_counter(), time.process_time()
        words, found = TASKS[task](**order)
        seconds, cpu = time.perf_counter() - begin[0], time.process_time() - begin[1]
        answer = {"seconds": seconds, "cpu": cpu, "words": words}
        found = found if isinstance(found, list) else [found]
        answer["arcs"] = sum(sum(depth(lattices)) for lattices in found)
        print(json.dumps(answer), flush=True)


main()
