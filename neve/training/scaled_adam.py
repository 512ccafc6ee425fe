"""ScaledAdam (Yao et al., 2023, arXiv:2310.11230, section 3.5).

Each update is proportional to the root mean square of the parameter that it changes, so that the
relative change is the same for small and large parameters; and the scale of each parameter is
learned besides, by Adam on its logarithm. Gradients are clipped against a running median of their
norms instead of a fixed limit.

Parameters of one shape are stacked and updated together: there are a few dozen shapes among the
hundreds of tensors of an encoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor

from neve.training.sharded import is_sharded, local, spread_as

PER_ELEMENT = ("exp_avg", "exp_avg_sq")
PER_PARAMETER = ("scale_avg", "scale_avg_sq", "step")


class ScaledAdam(torch.optim.Optimizer):
    """See the module. For a parameter p with gradient g at its t-th step, and rms(p) = r:

        m, v   moving averages of g and g^2            n, w   of h = sum(g * p) and h^2
        p <- p - lr c (r m / (sqrt(v) + eps) + scale_rate p n / (sqrt(w) + eps))
        c = sqrt(1 - beta2^t) / (1 - beta1^t)

    Parameters with one element have no scale to learn: they get Adam's update with the rate
    lr * scale_rate, and stay within +-scalar_max.

    Args:
        params: parameters or groups of them, as for any optimizer.
        lr: learning rate; a relative change, 0.045 is usual.
        betas: decay rates of the moving averages.
        eps: added to square roots.
        scale_rate: learning rate of the scales as a share of `lr`.
        min_rms, max_rms: r is taken as at least and at most this; scales are kept in this range.
        scalar_max: bound of parameters with one element.
        clip_scale: gradients whose norm (each parameter's times its r) is more than this many times
            the median of the last `clip_history` norms are scaled down to that; 0: no clipping.
        clip_history: see `clip_scale`; there is no clipping before a tenth of it has been seen.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 0.045,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        scale_rate: float = 0.1,
        min_rms: float = 1e-5,
        max_rms: float = 3.0,
        scalar_max: float = 10.0,
        clip_scale: float = 2.0,
        clip_history: int = 100,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "scale_rate": scale_rate,
            "min_rms": min_rms,
            "max_rms": max_rms,
            "scalar_max": scalar_max,
            "clip_scale": clip_scale,
            "clip_history": clip_history,
        }
        super().__init__(params, defaults)
        self._stacks: list[list[_Stack]] | None = None

    def load_state_dict(self, state_dict: dict) -> None:
        super().load_state_dict(state_dict)
        self._stacks = None

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One update; parameters without a gradient stay as they are."""
        if closure is not None:
            raise ValueError("ScaledAdam takes no closure")
        if self._stacks is None:
            self._stacks = [self._make_stacks(group) for group in self.param_groups]
        for group, stacks in zip(self.param_groups, self._stacks, strict=True):
            active = [(stack, stack.rows()) for stack in stacks]
            active = [(stack, rows) for stack, rows in active if rows]
            if not active:
                continue
            sizes = [stack.rms(rows, group["min_rms"]) for stack, rows in active]
            clip = self._clip(group, active, sizes)
            for (stack, rows), rms in zip(active, sizes, strict=True):
                stack.update(rows, rms, clip, group)

    def clip_threshold(self) -> float:
        """The norm above which the first group's gradients are clipped; inf before it is known."""
        first = self.param_groups[0]["params"][0]
        return float(self.state[first].get("clip_threshold", math.inf))

    # -- stacks --------------------------------------------------------------------------------

    def _make_stacks(self, group: dict) -> list[_Stack]:
        shapes: dict[tuple, list[Tensor]] = {}
        for p in group["params"]:
            shapes.setdefault((p.shape, p.dtype, p.device), []).append(p)
        return [_Stack.of(parameters, self.state) for parameters in shapes.values()]

    def _clip(self, group: dict, active: list, sizes: list[Tensor]) -> Tensor | None:
        """The factor of this step's gradients, after taking their norm into the history.

        The history is kept with the group's first parameter.
        """
        if group["clip_scale"] <= 0:
            return None
        squares = []
        for (stack, rows), rms in zip(active, sizes, strict=True):
            norms = stack.norms([stack.parameters[i].grad for i in rows])
            share = group["scale_rate"] if stack.scalar else rms
            squares.append((norms.to(stack.dtype) * share).square().sum())
        norm = torch.stack([square.to(squares[0]) for square in squares]).sum().sqrt()
        state, history = self.state[group["params"][0]], group["clip_history"]
        if "norms" not in state:
            state["norms"] = norm.new_zeros(history)
            state["norms_seen"] = 0
            state["clip_threshold"] = norm.new_full((), math.inf)
        seen = state["norms_seen"]
        state["norms"][seen % history] = norm
        state["norms_seen"] += 1
        known = min(seen + 1, history)
        if known >= max(1, history // 10):
            torch.mul(
                state["norms"][:known].median(), group["clip_scale"], out=state["clip_threshold"]
            )
        return (state["clip_threshold"] / norm).clamp(max=1.0)


@dataclass
class _Stack:
    """Parameters of one shape, and their state in one tensor each: (n, *shape), or (n,).

    The optimizer's `state` of each parameter are views of these, so that a state dictionary looks
    as that of any optimizer. Of parameters that are spread over processes there is a part here;
    their sums are those of all parts.
    """

    parameters: list[Tensor]
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, parameters: list[Tensor], state: dict) -> _Stack:
        """With what `state` has of these parameters (after loading), else zeros."""
        tensors = {}
        for name in PER_ELEMENT + PER_PARAMETER:
            here = local(parameters[0])
            empty = here.new_zeros(() if name in PER_PARAMETER else here.shape)
            rows = [local(state[p].get(name, empty)).to(empty) for p in parameters]
            tensors[name] = torch.stack(rows)
            for p, row in zip(parameters, tensors[name].unbind(), strict=True):
                state[p][name] = row if name in PER_PARAMETER else spread_as(row, p)
        return cls(parameters, tensors)

    @property
    def scalar(self) -> bool:
        return self.parameters[0].numel() == 1

    @property
    def dtype(self) -> torch.dtype:
        return self.parameters[0].dtype

    def rows(self) -> list[int]:
        """Which of the parameters have a gradient."""
        return [i for i, p in enumerate(self.parameters) if p.grad is not None]

    def rms(self, rows: list[int], least: float) -> Tensor:
        """(n,) root mean squares of the parameters `rows`."""
        norms = self.norms([self.parameters[i] for i in rows])
        return (norms.to(self.dtype) * self.parameters[0].numel() ** -0.5).clamp(min=least)

    def norms(self, tensors: list[Tensor]) -> Tensor:
        """(n,) norms of tensors that are spread as the parameters are."""
        norms = torch.stack(torch._foreach_norm([local(tensor) for tensor in tensors]))
        return self.total(norms.square()).sqrt() if is_sharded(tensors[0]) else norms

    def total(self, sums: Tensor) -> Tensor:
        """Sums over this process's parts as those over all parts; changes `sums`."""
        if is_sharded(self.parameters[0]):
            torch.distributed.all_reduce(sums)
        return sums

    def update(self, rows: list[int], rms: Tensor, clip: Tensor | None, group: dict) -> None:
        whole = len(rows) == len(self.parameters)
        state = self.tensors
        if not whole:
            state = {name: tensor[rows] for name, tensor in self.tensors.items()}
        own = [local(self.parameters[i]) for i in rows]
        p = torch.stack(own)
        g = torch.stack([local(self.parameters[i].grad) for i in rows])
        if clip is not None:
            g.mul_(clip.to(g))
        p = self._moved(p, g, rms, state, group)
        torch._foreach_copy_(own, list(p.unbind()))
        if not whole:
            for name, tensor in state.items():
                self.tensors[name][rows] = tensor

    def _moved(self, p: Tensor, g: Tensor, rms: Tensor, state: dict, group: dict) -> Tensor:
        """Stacked parameters (n, *shape) after a step along stacked gradients; changes `state`."""
        beta1, beta2 = group["betas"]
        lr, eps = group["lr"], group["eps"]
        inner = tuple(range(1, p.ndim))
        column = (-1,) + (1,) * len(inner)

        def adam(average: Tensor, square: Tensor, gradient: Tensor) -> Tensor:
            average.lerp_(gradient, 1 - beta1)
            square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            return average / square.sqrt().add_(eps)

        step = state["step"].add_(1)
        correction = (1 - beta2**step).sqrt() / (1 - beta1**step)
        direction = adam(state["exp_avg"], state["exp_avg_sq"], g)
        if self.scalar:
            size = -lr * group["scale_rate"] * correction
            limit = group["scalar_max"]
            return p.addcmul_(direction, size.view(column)).clamp_(-limit, limit)
        inner_product = self.total((p * g).sum(inner) if inner else p * g)
        growth = adam(state["scale_avg"], state["scale_avg_sq"], inner_product)
        growth.mul_(correction).mul_(-lr * group["scale_rate"])
        growth = torch.maximum(growth, group["min_rms"] / rms - 1)
        growth = torch.minimum(growth, (group["max_rms"] / rms - 1).clamp(min=-lr))
        size = rms.clamp(max=group["max_rms"]) * correction * -lr
        return p.addcmul(p, growth.view(column)).addcmul_(direction, size.view(column))
