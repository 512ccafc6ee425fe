"""Numbers that change while a model is trained, and modules that look at them.

Rates of dropout and the like do most good when they are large at first and small later. A module
that has such rates is told, before each update, how many batches the training has used.
"""

from __future__ import annotations

import math

import torch
from torch import nn


class Schedule:
    """A piecewise linear function of the number of batches, constant outside its points.

    Args:
        points: (batches, value), batches ascending.
    """

    def __init__(self, *points: tuple[float, float]):
        self.points = points

    def __call__(self, batches: float) -> float:
        left = self.points[0]
        if batches <= left[0]:
            return left[1]
        for right in self.points[1:]:
            if batches < right[0]:
                share = (batches - left[0]) / (right[0] - left[0])
                return left[1] + share * (right[1] - left[1])
            left = right
        return left[1]

    def __repr__(self) -> str:
        return f"Schedule{self.points}"


class Scheduled(nn.Module):
    """A module with values that are numbers or schedules.

    Until `set_batches` is called, every schedule is at its end: right for evaluation and for
    training that goes on from good weights.
    """

    batches: float = math.inf
    stretch: float = 1.0  # how much longer than written the schedules are

    def now(self, value: float | Schedule) -> float:
        """The value at the present number of batches."""
        return value(self.batches / self.stretch) if isinstance(value, Schedule) else value

    def chance(self, probability: float | Schedule) -> bool:
        """True with the present probability, drawn from torch's generator of the CPU."""
        probability = self.now(probability)
        return probability > 0.0 and torch.rand(()).item() < probability


def set_batches(model: nn.Module, batches: float) -> None:
    """Tell every scheduled module inside `model` how many batches were used."""
    for module in model.modules():
        if isinstance(module, Scheduled):
            module.batches = batches
