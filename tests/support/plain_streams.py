"""Section 16 of the engine's specification in plain Python: dictionaries from state to score."""

import math

import numpy as np


class PlainStream:
    """One stream. A state is (context as a tuple of symbols, graph state)."""

    def __init__(self, num_states, arcs, config):
        """arcs: (src, dst, label, score) in the order of the graph."""
        self.config, self.final, self.arcs = config, num_states - 1, arcs
        self.states = {((0,) * config.decoder_history_len, 0): 0.0} if num_states else {}
        self.frames = []  # (states before, [(src, dst, arc or -1, score)])

    def contexts(self):
        return sorted({context for context, _ in self.states})

    def advance(self, log_probs):
        """log_probs: {context: float32 scores of symbols}."""
        config = self.config
        best = max(self.states.values(), default=0)
        found = []
        for state in sorted(self.states):
            context, place = state
            if place == self.final:
                continue
            row = log_probs[context]
            found.append((state, state, -1, row[0]))
            for arc, (src, dst, label, graph_score) in enumerate(self.arcs):
                graph_score = np.float32(graph_score)
                if src != place:
                    continue
                score = graph_score + row[max(label, 0)]
                judged = graph_score if label == -1 else score
                if label != 0 and self.states[state] + float(judged) < best - config.beam:
                    continue
                follows = (*context, label)[1:] if label > 0 else context
                found.append((state, (follows, dst), arc, score))
        totals = {}
        for src, dst, _, score in found:
            totals[dst] = max(totals.get(dst, -math.inf), self.states[src] + float(score))
        top = max(totals.values(), default=0)
        kept = [s for s in sorted(totals) if totals[s] >= top - config.beam]
        kept = sorted(kept, key=lambda s: -totals[s])[: config.max_states]
        of_contexts = {}
        for context, place in sorted(kept):
            total = totals[context, place]
            of_contexts[context] = max(of_contexts.get(context, -math.inf), total)
        ranked = sorted(of_contexts, key=lambda c: -of_contexts[c])[: config.max_contexts]
        self.frames.append((sorted(self.states), found))
        self.states = {s: totals[s] for s in sorted(kept) if s[0] in ranked}

    def lattice(self, num_frames, allow_partial):
        """(number of states, [(src, dst, label, score, arc)])."""
        if num_frames == 0 or self.final < 0:
            return 0, []
        frames = [*self.frames, (sorted(self.states), [])]
        arcs, first = [], 0
        for number, (states, found) in enumerate(frames[:num_frames]):
            before = {state: first + i for i, state in enumerate(states)}
            first += len(states)
            after = {state: first + i for i, state in enumerate(frames[number + 1][0])}
            found = [arc for arc in found if arc[1] in after]
            if number == num_frames - 1:
                ends = [x for x in found if x[2] >= 0 and self.arcs[x[2]][2] == -1]
                ends = found if allow_partial and not ends else ends
                arcs += [(before[src], first, -1, 0.0, arc) for src, _, arc, _ in ends]
                continue
            for src, dst, arc, score in found:
                label = self.arcs[arc][2] if arc >= 0 else 0
                label, arc = (0, -1) if label == -1 else (label, arc)
                arcs.append((before[src], after[dst], label, float(score), arc))
        return first + 1, arcs
