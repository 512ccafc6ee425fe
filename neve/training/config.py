"""How a model is trained, whatever it is: the keys of the `training` section."""

from __future__ import annotations

from dataclasses import dataclass

from neve.config import option
from neve.errors import ConfigError


@dataclass
class TrainingConfig:
    seed: int = option(0, "seed of initial weights, order of batches, augmentation and dropout")
    init: str = option(
        "",
        "weights to begin with, an averaged.pt or epoch-N.pt (its moving average where it has one);"
        " empty: random ones",
    )
    init_partial: bool = option(
        False,
        "whether training.init may lack weights of the model, which stay random, or have others,"
        " which are left",
    )
    epochs: int = option(30, "passes over the training data")
    optimizer: str = option(
        "adamw",
        "adamw, or scaled_adam: changes relative to each parameter's size, clipping against a"
        " running median; made for Zipformer, with a learning_rate of about 0.045 and eden",
        choices=("adamw", "scaled_adam"),
    )
    learning_rate: float = option(1e-3, "peak learning rate, for updates on reference_batch data")
    reference_batch: float = option(
        0.0,
        "data of an update (for speech: seconds of audio) that learning_rate is given for; updates"
        " on more or less (processes x max_duration x accumulate) change it by rate_scaling."
        " 0: one batch of one process, so that only processes and accumulate change it",
    )
    rate_scaling: str = option(
        "sqrt",
        "how the learning rate follows the data of an update",
        choices=("sqrt", "linear", "none"),
    )
    schedule: str = option(
        "cosine",
        "how the learning rate falls after the warm-up; eden looks at eden_* alone, the others at"
        " warmup and final_rate",
        choices=("cosine", "linear", "constant", "eden"),
    )
    warmup: float = option(0.1, "share of the whole training in which the rate rises linearly")
    final_rate: float = option(0.01, "learning rate at the end as a share of the peak")
    eden_batches: float = option(
        7500.0, "eden: batches of reference_batch after which the rate begins to fall"
    )
    eden_epochs: float = option(3.5, "eden: epochs after which the rate begins to fall")
    eden_warmup: float = option(500.0, "eden: batches in which the rate rises linearly")
    eden_start: float = option(0.5, "eden: share of the rate at the first batch")
    weight_decay: float = option(
        0.01, "AdamW: decoupled weight decay of matrices (not biases and norms)"
    )
    betas: list[float] = option([0.9, 0.98], "the optimizer's two decay rates")
    scale_rate: float = option(
        0.1, "ScaledAdam: learning rate of the parameters' scales as a share of the whole"
    )
    clip_norm: float = option(
        5.0, "AdamW: gradients of a larger norm are scaled down to it; 0 turns it off"
    )
    clip_scale: float = option(
        2.0,
        "ScaledAdam: gradients are scaled down to this many times the median of the last"
        " clip_history norms; 0 turns it off",
    )
    clip_history: int = option(100, "ScaledAdam: norms of which the median is taken")
    accumulate: int = option(
        1, "batches whose gradients make one update: as large a batch in a part of the memory"
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
    save_minutes: float = option(
        15.0, "minutes between two checkpoints within an epoch; 0: none by time"
    )
    save_batches: int = option(
        0, "batches of one process between two checkpoints within an epoch; 0: none by number"
    )
    validate_every: int = option(1, "epochs between two validations; the last is always validated")
    precision: str = option(
        "auto",
        "arithmetic of the forward pass; bf16 halves its time where the device has it, is slow "
        "elsewhere; auto takes it where the device has it; fp16 is for GPUs without bf16, with a"
        " scale of the loss that is found by itself",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    compile: bool = option(
        False, "whether the model is compiled (torch.compile): minutes at the start, faster steps"
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU where there is one")
    threads: int = option(0, "processor threads of torch; 0 leaves it to OMP_NUM_THREADS")
    parallel: str = option(
        "ddp",
        "what several processes share: ddp, each has the whole model; fsdp, each keeps a part of"
        " weights, gradients, optimizer and average, for models too large for one device",
        choices=("ddp", "fsdp"),
    )
    restarts: int = option(
        3, "with several processes: times that all are started again after one of them was lost"
    )
    on_nonfinite: str = option(
        "stop",
        "what a loss or gradient that is not finite does: stop the training, or skip the batch",
        choices=("stop", "skip"),
    )
    max_nonfinite: int = option(
        10, "batches that may be skipped before the training stops all the same"
    )
    diagnostics: int = option(
        0, "updates between two reports of activations and gradients of each module; 0: none"
    )
    log_every: float = option(10.0, "seconds between two progress lines")


def check_training(config: TrainingConfig) -> None:
    """ConfigError for values that cannot be."""
    if config.keep_checkpoints and config.keep_checkpoints < config.average_last:
        raise ConfigError(
            f"training.keep_checkpoints={config.keep_checkpoints} keeps fewer epochs than "
            f"training.average_last={config.average_last} averages"
        )
    for name in ("epochs", "accumulate", "validate_every", "clip_history"):
        if getattr(config, name) < 1:
            raise ConfigError(f"training.{name}={getattr(config, name)} must be at least 1")
    if config.parallel == "fsdp" and config.diagnostics:
        raise ConfigError("training.diagnostics needs whole parameters: training.parallel ddp")
    if len(config.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in config.betas):
        raise ConfigError(f"training.betas={config.betas} must be two numbers, 0 to below 1")
