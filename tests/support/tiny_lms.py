"""Language models for tests: a directory as `neve train-lm` writes it, and ARPA files."""

import math

import torch

from neve.lm.units import Units
from neve.models.lm import build_lm
from neve.models.lm_config import LmModelConfig
from neve.tasks.lm import write_model
from neve.tasks.lm_config import NeuralLmConfig


def neural_lm(lang, out, unit="tokens", bias=None, kind="lstm"):
    """A directory as `neve train-lm` writes it, with random weights.

    bias {unit: log-odds}: all that it says, whatever came before.
    """
    torch.manual_seed(0)
    units = Units(lang, unit)
    shape = LmModelConfig(kind=kind, dim=8, layers=1, heads=2, tied=False)
    model = build_lm(shape, units.size, units.boundary)
    for parameter in model.output.parameters() if bias else ():
        parameter.data.zero_()
    for name, value in (bias or {}).items():
        model.output.bias.data[units.names.index(name)] = value
    out.mkdir()
    torch.save({"model": model.state_dict()}, out / "weights.pt")
    write_model(out, out / "weights.pt", NeuralLmConfig(unit=unit, model=shape), units)
    return out


def unigram_arpa(path, probabilities):
    """An ARPA file of single words with their probabilities, </s> among them."""
    lines = [f"{math.log10(value)}\t{name}" for name, value in probabilities.items()]
    path.write_text(
        f"\\data\\\nngram 1={len(lines) + 1}\n\n\\1-grams:\n-99\t<s>\n"
        + "\n".join(lines)
        + "\n\n\\end\\\n"
    )
    return path
