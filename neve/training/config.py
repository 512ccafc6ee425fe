"""How a model is trained, whatever it is: the keys of the `training` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option


@dataclass
class TrainingConfig:
    seed: int = option(0, "seed of initial weights, order of batches, augmentation and dropout")
    epochs: int = option(30, "passes over the training data")
    learning_rate: float = option(1e-3, "peak learning rate of AdamW")
    warmup: float = option(0.1, "share of the whole training in which the rate rises linearly")
    schedule: str = option(
        "cosine",
        "how the learning rate falls after the warm-up",
        choices=("cosine", "linear", "constant"),
    )
    final_rate: float = option(0.01, "learning rate at the end as a share of the peak")
    weight_decay: float = option(0.01, "decoupled weight decay of matrices (not biases and norms)")
    betas: list[float] = option([0.9, 0.98], "AdamW's two decay rates")
    clip_norm: float = option(
        5.0, "gradients of a larger norm are scaled down to it; 0 turns it off"
    )
    ema_decay: float = option(
        0.999, "decay of the exponential moving average of the weights; 0 turns it off"
    )
    average_last: int = option(
        1, "epochs whose weights are averaged at the end (their moving averages where there are)"
    )
    keep_checkpoints: int = option(
        5, "newest epochs kept; older checkpoints are removed. At least average_last; 0 keeps all"
    )
    validate_every: int = option(1, "epochs between two validations; the last is always validated")
    precision: str = option(
        "auto",
        "arithmetic of the forward pass; bf16 halves its time where the device has it, is slow "
        "elsewhere; auto takes it where the device has it",
        choices=("auto", "fp32", "bf16"),
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU where there is one")
    threads: int = option(0, "processor threads of torch; 0 leaves it to OMP_NUM_THREADS")
    on_nonfinite: str = option(
        "stop",
        "what a loss or gradient that is not finite does: stop the training, or skip the batch",
        choices=("stop", "skip"),
    )
    max_nonfinite: int = option(
        10, "batches that may be skipped before the training stops all the same"
    )
    log_every: float = option(10.0, "seconds between two progress lines")
