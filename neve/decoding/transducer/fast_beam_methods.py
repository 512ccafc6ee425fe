"""The methods of fast beam search: best path, words of sampled paths, those nearest to a reference.

On the graph of any tokens hypotheses are token sequences; on LG they are word sequences of the
graph. Those of the n-best list are ranked by the sum of all their paths in the lattice, as icefall
does where it decodes with LG.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neve.decoding.methods import Scales, TransducerMethod
from neve.decoding.oracle import needed
from neve.decoding.sampled_lists import best_candidates, sampled_paths, sequences_of
from neve.decoding.times import TokenSpan, words_of_spans
from neve.decoding.transducer.fast_beam import fast_beam_search, numbered, refuse_long_memory
from neve.decoding.transducer.paths import token_log_probs
from neve.decoding.transducer_lms import ListRescoring, ScoredHypothesis
from neve.errors import ConfigError
from neve.fsa import Fsa, FsaVec, Graph, shortest_path
from neve.graphs import load_graph, token_biasing, word_biasing
from neve.kernels.streams import Listed
from neve.kernels.structure import gather_ragged
from neve.lang import Lang
from neve.results import Hypothesis

CHUNK = 4096  # tokens whose log-probabilities are computed at once


class FoundPath(NamedTuple):
    """A path: arcs (T+1,) of the graph, of each frame and of the end; -1 for blank.

    said: ids of its words, or of its tokens where the graph has no words.
    """

    said: tuple[int, ...]
    arcs: np.ndarray
    score: float


class Found(NamedTuple):
    """What a search found of the utterances of a batch.

    outputs (N, T, D): the encoder's; scales: of the search; paths: of each utterance the best
    first, none where there is not even a partial one; partial: whose are. frame_arcs: of each
    lattice, how many arcs take a frame.
    """

    outputs: Tensor
    scales: Scales
    paths: list[list[FoundPath]]
    partial: list[bool]
    frame_arcs: list[int]


class ScoredLists(NamedTuple):
    """What a search found, and of each utterance the list with what language models say."""

    found: Found
    lists: list[list[ScoredHypothesis]]


class FastBeam(TransducerMethod):
    """The best path. See `neve.decoding.transducer.fast_beam_search`."""

    fuses = False  # no language models but that of the graph
    lists = False  # whether there are n-best lists
    graph_scales = ("word_score", "lm_scale")  # those that concern a graph LG

    @property
    def biasing(self):
        """What phrases are listed over: words of LG, else tokens."""
        return word_biasing if self.config.fast_beam_graph == "LG" else token_biasing

    def __init__(self, model, lang, graph, config, frame_seconds, lm=None):
        refuse_long_memory(model)
        super().__init__(model, lang, graph, config, frame_seconds, lm)
        for key in ("search_beam", "max_states", "max_contexts", "num_paths", "nbest_scale"):
            if not getattr(config, key) > 0:
                raise ConfigError(f"decoding.{key}={getattr(config, key)} must be positive")
        self.with_words = config.fast_beam_graph == "LG"
        if self.with_words:
            self.graph = _checked(graph, lang)
            self.scales = (*self.scales, *self.graph_scales)
        else:
            self.graph = any_tokens(lang.num_tokens)
        spoken = self.graph.aux_values > 0
        counts = np.concatenate(([0], np.cumsum(spoken)))
        self.said_splits = counts[self.graph.aux_splits].astype(np.int32)
        self.said_values = self.graph.aux_values[spoken]
        self._scored: tuple[tuple[float, float], Fsa] | None = None

    def scored_graph(self, scales: Scales) -> Fsa:
        """The graph with the scales that concern it."""
        heeded = self.graph_scales if self.with_words else ()
        key = tuple(
            getattr(scales, name) if name in heeded else plain
            for name, plain in (("lm_scale", 1.0), ("word_score", 0.0))
        )
        if self._scored is None or self._scored[0] != key:
            scores = key[0] * self.graph.scores + key[1] * np.diff(self.said_splits)
            scored = dataclasses.replace(self.graph, scores=scores.astype(np.float32))
            self._scored = key, numbered(Fsa.from_graph(scored, acceptor=True))
        return self._scored[1]

    def search(self, outputs, lengths, scales):
        return self.second_pass(self.first_pass(outputs, lengths, scales), scales)

    def first_pass(self, outputs, lengths, scales) -> Found:
        config, outputs = self.config, outputs.to(self.device)
        favoured = self.favoured(scales)
        lattices = fast_beam_search(
            self.model_with(scales),
            outputs,
            lengths,
            self.scored_graph(scales),
            beam=config.search_beam,
            max_states=config.max_states,
            max_contexts=config.max_contexts,
            blank_penalty=scales.blank_penalty,
            temperature=config.temperature,
            allow_partial=config.allow_partial,
            contexts=self.contexts,
            phrases=favoured and Listed(favoured.automaton, self.said_splits, self.said_values),
        )
        best = shortest_path(lattices)
        splits, arcs = best.arc_splits.tolist(), best.graph_arc.numpy()
        scores, lasts = best.scores.double().numpy(), self.graph.labels
        paths, partial = [], []
        for begin, end in zip(splits, splits[1:]):
            path = arcs[begin:end]
            partial.append(bool(end > begin and (path[-1] < 0 or lasts[path[-1]] != -1)))
            score = float(scores[begin:end].sum())
            paths.append([FoundPath(self.said(path), path, score)] if end > begin else [])
        if self.lists:
            paths = self._listed(lattices, paths)
        speaking = np.concatenate(([0], np.cumsum(lattices.labels.numpy() != -1)))
        sizes = np.diff(speaking[lattices.arc_splits.numpy()]).tolist()
        return Found(outputs, scales, paths, partial, sizes)

    def second_pass(self, found: Found, scales, texts=None):
        return self.hypotheses(found, [paths[:1] for paths in found.paths])

    def sizes(self, found: Found) -> list[tuple[int, int | None]]:
        return [
            (arcs, len(paths) if self.lists else None)
            for arcs, paths in zip(found.frame_arcs, found.paths)
        ]

    def said(self, arcs: np.ndarray) -> tuple[int, ...]:
        """The words of a path, or its tokens."""
        return tuple(gather_ragged(self.said_splits, self.said_values, arcs)[1].tolist())

    def text(self, said: tuple[int, ...]) -> str:
        """What a hypothesis of these words, or tokens, shows."""
        if not self.with_words:
            return self.lang.decode(list(said))
        names = (self.lang.words[word] for word in said)
        return " ".join(name for name in names if self.lang.is_written(name))

    def _listed(self, lattices: FsaVec, best: list[list[FoundPath]]) -> list[list[FoundPath]]:
        """The different sequences of sampled paths, and of the best, by the sum of their paths."""
        sampled = sampled_paths(lattices, self.config.num_paths, self.config.nbest_scale)
        src, dst, scores = (getattr(lattices, name).numpy() for name in ("src", "dst", "scores"))
        graph_arcs, firsts = lattices.graph_arc.numpy(), lattices.arc_splits.tolist()
        states, found = torch.diff(lattices.state_splits).tolist(), []
        for row, (begin, end) in enumerate(zip(firsts, firsts[1:])):
            if not best[row]:
                found.append([])
                continue
            own = graph_arcs[begin:end]
            said = gather_ragged(self.said_splits, self.said_values, own)
            sequences = sequences_of(said, sampled[row], best[row][0].said)
            rows = np.searchsorted(src[begin:end], np.arange(states[row] + 1))
            lattice = rows, dst[begin:end], scores[begin:end]
            listed = best_candidates(lattice, said, sequences, by_total=True)
            found.append([FoundPath(one.said, own[one.arcs], one.total) for one in listed])
        return found

    def hypotheses(self, found: Found, chosen: list[list[FoundPath]]) -> list[list[Hypothesis]]:
        """The hypotheses of paths, of each utterance."""
        rows, frames, tokens, contexts = [], [], [], []
        for row, paths in enumerate(chosen):
            for path in paths:
                said: tuple[int, ...] = (0,)
                for frame, token in self._tokens(path):
                    rows.append(row)
                    frames.append(frame)
                    tokens.append(token)
                    contexts.append(said)
                    said = (*said, token)[-self.contexts.size :]
        log_probs = iter(self._log_probs(found, rows, frames, tokens, contexts))
        result = []
        for partial, paths in zip(found.partial, chosen):
            made = []
            for path in paths:
                spans = [
                    TokenSpan(token, frame, frame + 1, next(log_probs))
                    for frame, token in self._tokens(path)
                ]
                made.append(self._hypothesis(path, spans, partial))
            result.append(made or [Hypothesis.nothing()])
        return result

    def _tokens(self, path: FoundPath) -> list[tuple[int, int]]:
        """(frame, token) of each token of a path."""
        labels = np.where(path.arcs >= 0, self.graph.labels[path.arcs], 0)
        frames = np.flatnonzero(labels > 0)
        return list(zip(frames.tolist(), labels[frames].tolist()))

    @torch.inference_mode()
    def _log_probs(self, found: Found, rows, frames, tokens, contexts) -> list[float]:
        """Of each token, as in `TokenPath`."""
        joiner, log_probs = self.model_with(found.scales).joiner, []
        for begin in range(0, len(rows), CHUNK):
            part = slice(begin, begin + CHUNK)
            heard = joiner.project(found.outputs[torch.tensor(rows[part]), frames[part]])
            logits = joiner.join(heard, self.contexts.outputs(contexts[part]))
            scores = token_log_probs(logits, found.scales.blank_penalty, self.config.temperature)
            own = scores[torch.arange(len(scores)), tokens[part]]
            emission = torch.logsumexp(scores[:, 1:], dim=-1)
            log_probs += (own - emission).clamp(max=0.0).tolist()
        return log_probs

    def _hypothesis(self, path: FoundPath, spans: list[TokenSpan], partial: bool) -> Hypothesis:
        if not self.with_words:
            return dataclasses.replace(self.spelled(spans, path.score), partial=partial)
        emitted = np.repeat(
            np.arange(len(path.arcs)), gather_lengths(self.said_splits, path.arcs)
        ).tolist()
        words = words_of_spans(
            [span for span in spans if self.lang.tokens[span.token] != self.lang.silence],
            len(path.arcs) - 1,
            [self.lang.words[word] for word in path.said],
            emitted,
            self.lang.pronunciations,
            self.frame_seconds,
            self.lang.free_word,
            self.lang.decode,
        )
        written = [word for word in words if self.lang.is_written(word.text)]
        return Hypothesis(written, float(path.score), partial)


class FastBeamNbest(FastBeam):
    """The sequences of sampled paths, by the sum of their paths in the lattice."""

    lists = True

    def second_pass(self, found, scales, texts=None):
        return self.hypotheses(found, [self.different(paths) for paths in found.paths])

    def different(self, paths: list[FoundPath]) -> list[FoundPath]:
        """The first of different texts, `decoding.nbest` at most."""
        first: dict[str, FoundPath] = {}
        for path in paths:
            if len(first) == self.config.nbest:
                break
            first.setdefault(self.text(path.said), path)
        return list(first.values())


class FastBeamNbestOracle(FastBeamNbest):
    """The n-best list by its word errors; of equals, by its scores."""

    def second_pass(self, found, scales, texts=None):
        from kaldialign import edit_distance

        chosen = []
        for paths, text in zip(found.paths, needed(texts, self.config.method)):
            reference = text.split()
            errors = [edit_distance(reference, self.text(path.said).split()) for path in paths]
            order = np.argsort([each["total"] for each in errors], kind="stable")
            chosen.append(self.different([paths[place] for place in order]))
        return self.hypotheses(found, chosen)


class FastBeamRescoring(ListRescoring, FastBeamNbest):
    """The list of `FastBeamNbest` in a new order, of all different sequences that were sampled.

    The states of the search know the last tokens only, and not what a language model has read, so
    that the models come after it. The scores of LG are those that it was made with.
    """

    heeds_length = False
    graph_scales = ("word_score",)  # the scale of language models is that of those which rescore

    def first_pass(self, outputs, lengths, scales) -> ScoredLists:
        found = FastBeam.first_pass(self, outputs, lengths, scales)
        rows = [
            [(path, [token for _, token in self._tokens(path)]) for path in paths]
            for paths in found.paths
        ]
        return ScoredLists(found, self.scored(rows, lambda path: self.text(path.said).split()))

    def second_pass(self, found: ScoredLists, scales, texts=None):
        rows = [
            [path._replace(score=score) for score, path in self.ranked(row, scales)]
            for row in found.lists
        ]
        return self.hypotheses(found.found, [self.different(paths) for paths in rows])

    def sizes(self, found: ScoredLists):
        return super().sizes(found.found)


def gather_lengths(splits: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The lengths of rows `index` of a ragged list; that of row -1 is 0."""
    return np.where(index >= 0, np.diff(splits)[index], 0)


def any_tokens(vocab_size: int) -> Graph:
    """The graph of all sequences of the tokens from 1, each of which is what an arc says."""
    tokens = np.array([*range(1, vocab_size), -1])
    zero = np.zeros_like(tokens)
    return Graph.from_arcs(2, zero, (tokens == -1) * 1, tokens, zero, tokens)


def _checked(graph: Graph | None, lang: Lang) -> Graph:
    """An LG over the tokens of the transducer; ConfigError if it is none."""
    if graph is None:
        raise ConfigError(
            "decoding.fast_beam_graph is LG, but there is no graph; make one with graph.kind LG "
            "(stage 5)"
        )
    remedy = f"make one with graph.kind LG and the lang directory {lang.directory} (stage 5)"
    if graph.num_states == 0 or (graph.labels == 0).any():
        raise ConfigError(
            f"decoding.fast_beam_graph LG: the graph has arcs for blanks, as an HLG has; {remedy}"
        )
    if graph.max_label >= lang.num_tokens:
        raise ConfigError(
            f"decoding.fast_beam_graph LG: the graph has token {graph.max_label}, the transducer "
            f"only {lang.num_tokens}; {remedy}"
        )
    if graph.aux_values.max(initial=0) > lang.words.max_id:
        raise ConfigError(
            f"decoding.fast_beam_graph LG: the graph has word {graph.aux_values.max()}, which "
            f"{lang.directory}/words.txt lacks; {remedy}"
        )
    return graph


def load_LG(path: str | os.PathLike, lang: Lang) -> Graph:
    """The graph of a directory that `neve graph` wrote with graph.kind LG, for `lang`.

    Raises NeveError if there is none, or if it was made with other tokens or words.
    """
    path = Path(path)
    graph = load_graph(path)
    for name in ("tokens.txt", "words.txt"):
        own = path.parent / name
        if own.exists() and own.read_bytes() != (lang.directory / name).read_bytes():
            raise ConfigError(
                f"decoding.fast_beam_graph LG: {own} is not {lang.directory / name}, so {path} is "
                f"of other {name[:-4]}; make it with that lang directory (graph.kind LG, stage 5)"
            )
    return graph
