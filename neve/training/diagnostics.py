"""Opt-in reports of activations and gradients: where a network saturates, explodes or dies.

Every `training.diagnostics` updates a table is added to diagnostics.jsonl, a line for each module
and parameter. Looking changes no result.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from neve.training.distributed import Group


class Diagnostics:
    """Watches `model` in every `every`-th update; with `every` 0 it does nothing.

    A line of diagnostics.jsonl has "step", "kind" and "name", and

    - of an "output" (of a module that has no others in it) and of the "gradient" of the loss with
      respect to it: rms, the largest absolute value, the share of values that are 0, and the share
      that are not finite;
    - of a "parameter": rms, gradient_rms, and change, the rms of what the update did to it as a
      share of rms.

    With several processes, those of the first one's batches.
    """

    def __init__(self, model: nn.Module, every: int, directory: Path, group: Group):
        self.model = model
        self.every = every if group.leader else 0
        self.path = Path(directory) / "diagnostics.jsonl"

    @contextlib.contextmanager
    def watch(self, step: int) -> Iterator[None]:
        """Context of update number `step`."""
        if not self.every or step % self.every:
            yield
            return
        rows: list[dict] = []
        handles = []
        for name, module in self.model.named_modules():
            if not any(True for _ in module.children()):
                handles.append(module.register_forward_hook(self.hook(name, rows)))
        before = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            rows += [self.parameter(name, p, before[name]) for name, p in self.parameters()]
            with open(self.path, "a") as file:
                file.writelines(json.dumps({"step": step, **row}) + "\n" for row in rows)

    def hook(self, name: str, rows: list[dict]):
        def look(module, inputs, output) -> None:
            if not isinstance(output, Tensor) or not output.is_floating_point():
                return
            rows.append({"kind": "output", "name": name, **figures(output)})
            if output.requires_grad:
                output.register_hook(
                    lambda grad: rows.append({"kind": "gradient", "name": name, **figures(grad)})
                )

        return look

    def parameters(self):
        return self.model.named_parameters()

    @staticmethod
    def parameter(name: str, p: Tensor, before: Tensor) -> dict:
        size = rms(before)
        return {
            "kind": "parameter",
            "name": name,
            "rms": size,
            "gradient_rms": None if p.grad is None else rms(p.grad),
            "change": rms(p.detach() - before) / max(size, 1e-30),
        }


def figures(x: Tensor) -> dict[str, float]:
    """See `Diagnostics`; of the finite values alone, but for the share of others."""
    x = x.detach().float()
    finite = torch.isfinite(x)
    x = x[finite]
    return {
        "rms": rms(x),
        "max": float(x.abs().max()) if x.numel() else 0.0,
        "zeros": float((x == 0).float().mean()) if x.numel() else 0.0,
        "not_finite": 1.0 - float(finite.float().mean()) if finite.numel() else 0.0,
    }


def rms(x: Tensor) -> float:
    """Root mean square; 0 of nothing."""
    return float(x.detach().float().square().mean().sqrt()) if x.numel() else 0.0
