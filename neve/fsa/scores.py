"""Totals of automata."""

from neve.fsa.paths import forward_scores, tot_scores

__all__ = ["forward_scores", "tot_scores"]
