"""Losses beside CTC and RNN-T, one in each file, as functions of tensors.

`FurtherLosses` puts those together that the `loss` section gives a weight; `check_losses` says what
cannot go together.
"""

from neve.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Denominator": ".mmi",
        "Forward": ".further",
        "FurtherLosses": ".further",
        "Lattice": ".lattice",
        "Teacher": ".teacher",
        "attention_losses": ".attention",
        "check_losses": ".checks",
        "consistency_losses": ".consistency",
        "expected_errors": ".mwer",
        "frame_distillation": ".distillation",
        "lattice_distillation": ".distillation",
        "mmi_losses": ".mmi",
        "smoothing_losses": ".smoothing",
    },
)
