"""The optimizer that `training.optimizer` names."""

from __future__ import annotations

import torch
from torch import nn

from neve.training.config import TrainingConfig
from neve.training.scaled_adam import ScaledAdam


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101; no decay of vectors) or ScaledAdam."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if config.optimizer == "scaled_adam":
        return ScaledAdam(
            parameters,
            lr=config.learning_rate,
            betas=tuple(config.betas),
            scale_rate=config.scale_rate,
            clip_scale=config.clip_scale,
            clip_history=config.clip_history,
        )
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=tuple(config.betas),
        fused=True,
    )
