"""Family rnnt of backend cuda against that of cpu; `test_cuda.py` runs this file."""

import os

import pytest
import torch

from neve.fsa import (
    get_rnnt_prune_ranges,
    rnnt_loss,
    rnnt_loss_pruned,
    rnnt_loss_smoothed,
)
from neve.fsa.backends import use
from neve.fsa.backends.cpu import rnnt as cpu
from neve.fsa.backends.cuda import rnnt as cuda

DEVICE = os.environ["NEVE_TEST_DEVICE"]
TYPES = ("regular", "modified", "constrained")
TOLERANCE = {
    torch.float32: {"rtol": 2e-5, "atol": 2e-5},
    torch.float64: {"rtol": 1e-9, "atol": 1e-9},
}


def on_device(*values):
    return [x.to(DEVICE) if isinstance(x, torch.Tensor) else x for x in values]


def close(found, wanted, dtype, where):
    torch.testing.assert_close(
        found.cpu(), wanted, **TOLERANCE[dtype], equal_nan=True, msg=lambda said: f"{where}: {said}"
    )


def random_boundary(batch, num_symbols, frames, kind):
    rows = []
    for _ in range(batch):
        t1 = int(torch.randint(0, frames + 1, ()))
        t0 = int(torch.randint(0, t1 + 1, ()))
        most = num_symbols if kind == "regular" else min(num_symbols, t1 - t0)
        s1 = int(torch.randint(0, most + 1, ()))
        rows.append((int(torch.randint(0, s1 + 1, ())), t0, s1, t1))
    return torch.tensor(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["regular", "modified"])
def test_mutual_information(kind, dtype, seed):
    for case in range(3):
        batch, num_symbols, frames = 10, int(torch.randint(0, 5, ())), int(torch.randint(1, 5, ()))
        px = torch.randn(batch, num_symbols, frames + (kind == "regular"), dtype=dtype)
        py = torch.randn(batch, num_symbols + 1, frames, dtype=dtype)
        px[torch.rand(px.shape) < 0.05] = -torch.inf
        py[torch.rand(py.shape) < 0.05] = -torch.inf
        if case == 0:
            py[torch.rand(py.shape) < 0.05] = torch.nan
        boundary = random_boundary(batch, num_symbols, frames, kind)
        wanted = cpu.mutual_information(px, py, boundary, True)
        found = cuda.mutual_information(*on_device(px, py, boundary), True)
        for name, x, y in zip(("totals", "gx", "gy"), found, wanted):
            close(x, y, dtype, f"seed {seed}, case {case}, {name}")
        only, *none = cuda.mutual_information(*on_device(px, py, boundary), False)
        close(only, wanted[0], dtype, f"seed {seed}, case {case}, without gradients")
        assert none == [None, None]


def test_mutual_information_of_long_utterances_in_float32():
    px, py = torch.randn(1, 9, 71) - 5, torch.randn(1, 10, 70) - 5
    boundary = torch.tensor([[1, 3, 9, 68]])
    wanted = cpu.mutual_information(px, py, boundary, True)
    found = cuda.mutual_information(*on_device(px, py, boundary), True)
    torch.testing.assert_close(found[0].cpu(), wanted[0], rtol=1e-6, atol=0)
    for x, y in zip(found[1:], wanted[1:]):
        torch.testing.assert_close(x.cpu(), y, rtol=0, atol=3e-5)


def random_begins(batch, frames, width, num_symbols, kind):
    """Begins that rise by less than the width, or by at most one frame by frame, as ranges do."""
    most = max(1, width - 1) if kind == "regular" else 1
    steps = torch.randint(0, most + 1, (batch, frames))
    steps[:, 0] = torch.randint(0, 2, (batch,))
    return steps.cumsum(1).clamp(max=num_symbols + 1 - width)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", TYPES)
def test_pruned(kind, dtype, seed):
    for case in range(3):
        batch, num_symbols, frames = 10, int(torch.randint(0, 5, ())), int(torch.randint(1, 5, ()))
        width = int(torch.randint(1, num_symbols + 2, ()))
        classes = int(torch.randint(2, 20, ()))
        hat = case % 3 == 2
        blank = 0 if hat else int(torch.randint(0, classes, ()))
        delay = float(case % 2) * 0.3
        logits = torch.randn(batch, frames, width, classes, dtype=dtype)
        logits[torch.rand(logits.shape) < 0.03] = -torch.inf
        if case == 0:
            logits[torch.rand(logits.shape) < 0.01] = torch.nan
        symbols = torch.randint(0, classes, (batch, num_symbols))
        begins = random_begins(batch, frames, width, num_symbols, kind)
        boundary = random_boundary(batch, num_symbols, frames, kind)
        arguments = (logits, symbols, begins, blank, kind, boundary, delay, hat)
        wanted, saved = cpu.pruned(*arguments)
        found, saved_there = cuda.pruned(*on_device(*arguments))
        where = f"seed {seed}, case {case}"
        close(found, wanted, dtype, f"{where}, totals")
        grad = torch.randn(batch, dtype=dtype)
        wanted = cpu.pruned_gradient(saved, grad)
        close(
            cuda.pruned_gradient(saved_there, grad.to(DEVICE)), wanted, dtype, f"{where}, gradient"
        )


def test_rows_longer_than_a_block():
    logits = torch.randn(1, 2, 2, 5000) * 3
    logits[0, 0, 0, :4096] = -torch.inf
    symbols = torch.tensor([[4500]])
    begins, boundary = torch.zeros(1, 2, dtype=torch.long), torch.tensor([[0, 0, 1, 2]])
    arguments = (logits, symbols, begins, 4999, "regular", boundary, 0.0, False)
    (wanted, saved), (found, saved_there) = (
        cpu.pruned(*arguments),
        cuda.pruned(*on_device(*arguments)),
    )
    close(found, wanted, torch.float32, "totals")
    ones = torch.ones(1)
    found = cuda.pruned_gradient(saved_there, ones.to(DEVICE))
    close(found, cpu.pruned_gradient(saved, ones), torch.float32, "gradient")
    rows = torch.randn(3, 5000)
    for x, y in zip(cuda.exp_rows(rows.to(DEVICE)), cpu.exp_rows(rows)):
        close(x, y, torch.float32, "exp_rows")


@pytest.mark.parametrize("kind", TYPES)
def test_losses_and_their_gradients_through_the_front(kind):
    batch, frames, num_symbols, classes = 3, 5, 3, 5
    torch.manual_seed(1)
    tensors = [
        torch.randn(batch, num_symbols + 1, classes),
        torch.randn(batch, frames, classes),
        torch.randn(batch, frames, num_symbols + 1, classes),
    ]
    symbols = torch.randint(1, classes, (batch, num_symbols))
    boundary = torch.tensor([[0, 0, 3, 5], [0, 0, 2, 4], [0, 0, 0, 1]])

    def everything(device):
        lm, am, logits = (x.to(device).requires_grad_() for x in tensors)
        rest = symbols.to(device), boundary.to(device)
        simple, (gx, gy) = rnnt_loss_smoothed(
            lm, am, rest[0], 0, 0.2, 0.1, rest[1], kind, 0.1, "sum", True
        )
        ranges = get_rnnt_prune_ranges(gx, gy, rest[1], 3)
        at = ranges.unsqueeze(-1).expand(-1, -1, -1, classes)
        band = torch.gather(logits, 2, at)
        pruned = rnnt_loss_pruned(band, rest[0], ranges, 0, rest[1], kind, 0.1, "sum")
        full = rnnt_loss(logits, rest[0], 0, rest[1], kind, 0.0, "sum", use_hat_loss=True)
        (simple + pruned + full).backward()
        return simple, pruned, full, lm.grad, am.grad, logits.grad

    with use("cpu"):
        wanted = everything("cpu")
    with use("cuda"):
        found = everything(DEVICE)
    for x, y in zip(found, wanted):
        close(x.detach(), y.detach(), torch.float32, kind)
