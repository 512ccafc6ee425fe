"""Family ctc of backend cuda against sums over all alignments; `test_cuda.py` runs this file."""

import itertools
import os

import pytest
import torch

from neve.fsa.backends.cpu import ctc as cpu
from neve.fsa.backends.cuda.ctc import ctc

DEVICE = os.environ["NEVE_TEST_DEVICE"]


def collapsed(path, blank):
    return tuple(c for c, _ in itertools.groupby(path) if c != blank)


def by_enumeration(log_probs, target, blank, modified):
    """-log of the sum over the labels of all frames that collapse to the target; (T, C) scores.

    A modified alignment may divide a run of one token anywhere, so that each is counted as often as
    it can be divided into the target's tokens.
    """
    frames, classes = log_probs.shape
    scores = []
    for path in itertools.product(range(classes), repeat=frames):
        score = log_probs[range(frames), path].sum() if frames else log_probs.new_zeros(())
        scores += [score] * ways(path, target, blank, modified)
    return -torch.stack(scores).logsumexp(0) if scores else log_probs.new_tensor(torch.inf)


def ways(path, target, blank, modified):
    if not modified:
        return int(collapsed(path, blank) == target)
    count = 0
    borders = [i for i in range(1, len(path)) if path[i] == path[i - 1] != blank]
    for split in itertools.product((False, True), repeat=len(borders)):
        divided = {i for i, yes in zip(borders, split) if yes}
        found = [
            c
            for i, c in enumerate(path)
            if c != blank and (i == 0 or path[i - 1] != c or i in divided)
        ]
        count += tuple(found) == target
    return count


@pytest.mark.parametrize("modified", [False, True])
def test_equals_enumeration(modified, seed):
    for case in range(10):
        batch, frames, classes = 10, int(torch.randint(1, 5, ())), int(torch.randint(2, 4, ()))
        blank = int(torch.randint(0, classes, ()))
        log_probs = torch.randn(batch, frames, classes, dtype=torch.float64)
        log_probs[torch.rand(log_probs.shape) < 0.03] = -torch.inf
        lengths = torch.randint(0, frames + 1, (batch,))
        max_target = int(torch.randint(0, 4, ()))
        target_lengths = torch.randint(0, max_target + 1, (batch,))
        targets = torch.randint(0, classes - 1, (batch, max_target))
        targets += targets >= blank
        leaf = log_probs.clone().requires_grad_()
        losses = []
        for n in range(batch):
            target = tuple(targets[n, : target_lengths[n]].tolist())
            losses.append(by_enumeration(leaf[n, : lengths[n]], target, blank, modified))
        wanted = torch.stack(losses)
        (wanted[wanted < torch.inf].sum() + leaf[:, :, :0].sum()).backward()
        arguments = [x.to(DEVICE) for x in (log_probs, lengths, targets, target_lengths)]
        found, grad = ctc(*arguments, blank, modified, True)
        where = f"seed {seed}, case {case}"
        torch.testing.assert_close(found.cpu(), wanted.detach(), rtol=1e-9, atol=1e-9, msg=where)
        torch.testing.assert_close(
            grad.cpu(), leaf.grad.nan_to_num(), atol=1e-9, rtol=1e-9, msg=where
        )
        assert ctc(*arguments, blank, modified, False)[1] is None


def test_longer_targets_equal_torch(seed):
    log_probs = torch.randn(4, 30, 6).log_softmax(-1)
    targets = torch.randint(1, 6, (4, 9))
    lengths, target_lengths = torch.tensor([30, 21, 3, 20]), torch.tensor([9, 7, 8, 0])
    leaf = log_probs.double().requires_grad_()
    wanted = torch.nn.functional.ctc_loss(
        leaf.transpose(0, 1), targets, lengths, target_lengths, reduction="none", zero_infinity=True
    )
    # torch takes log_probs to come from log_softmax: its gradient is that of the logits
    wanted.sum().backward()
    arguments = [x.to(DEVICE) for x in (log_probs, lengths, targets, target_lengths)]
    found, grad = (x.cpu() for x in ctc(*arguments, 0, False, True))
    assert found[2] == torch.inf and not grad[2].any()
    alive = torch.tensor([0, 1, 3])
    torch.testing.assert_close(found[alive], wanted.detach()[alive].float(), rtol=1e-6, atol=0)
    through = grad - log_probs.exp() * grad.sum(-1, keepdim=True)
    torch.testing.assert_close(through, leaf.grad.float(), rtol=0, atol=1e-5, msg=f"seed {seed}")


@pytest.mark.parametrize("modified", [False, True])
def test_delay_penalty_equals_cpu(modified, seed):
    log_probs = torch.randn(10, 8, 4, dtype=torch.float64)
    lengths, target_lengths = torch.randint(0, 9, (10,)), torch.randint(0, 4, (10,))
    arguments = (log_probs, lengths, torch.randint(1, 4, (10, 3)), target_lengths)
    wanted, wanted_grad = cpu.ctc(*arguments, 0, modified, True, 0.3)
    found, grad = ctc(*(x.to(DEVICE) for x in arguments), 0, modified, True, 0.3)
    torch.testing.assert_close(found.cpu(), wanted, rtol=1e-9, atol=1e-9, msg=f"seed {seed}")
    torch.testing.assert_close(grad.cpu(), wanted_grad, rtol=1e-9, atol=1e-9, msg=f"seed {seed}")


def test_nan_is_seen():
    log_probs = torch.zeros(1, 3, 2)
    log_probs[0, 1] = torch.nan
    arguments = (log_probs, torch.tensor([3]), torch.tensor([[1]]), torch.tensor([1]))
    losses, grad = ctc(*(x.to(DEVICE) for x in arguments), 0, False, True)
    assert losses.isnan().all() and not grad.any()
