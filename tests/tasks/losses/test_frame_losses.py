"""Losses of frame posteriors against their formulas: consistency, smoothing, distillation."""

import math

import pytest
import torch

from neve.tasks.losses import (
    consistency_losses,
    frame_distillation,
    lattice_distillation,
    smoothing_losses,
)
from neve.tasks.losses.distillation import collapsed


def posteriors(*shape, seed=0):
    torch.manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64).log_softmax(-1)


def kl(p, q):
    """KL of two lists of log-probabilities."""
    return sum(math.exp(a) * (a - b) for a, b in zip(p.tolist(), q.tolist()))


def test_consistency_is_half_of_both_divergences():
    log_probs, lengths = posteriors(4, 5, 3), torch.tensor([5, 2, 5, 2])
    found = consistency_losses(log_probs, lengths)
    for row, length in ((0, 5), (1, 2)):
        first, second = log_probs[row], log_probs[row + 2]
        wanted = sum(kl(first[t], second[t]) + kl(second[t], first[t]) for t in range(length)) / 2
        assert float(found[row]) == pytest.approx(wanted)
    same = torch.cat([log_probs[:2], log_probs[:2]])
    assert consistency_losses(same, lengths).abs().max() < 1e-12


def test_consistency_holds_the_target_fixed():
    """The gradient of each view is that of half the divergence from the other one."""
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    consistency_losses(logits.log_softmax(-1), torch.tensor([3, 3])).sum().backward()
    with torch.no_grad():
        p = logits.softmax(-1)
        wanted = 0.5 * torch.stack([p[0] - p[1], p[1] - p[0]])
    assert torch.allclose(logits.grad, wanted)


def test_smoothing_is_the_divergence_from_the_uniform_distribution():
    log_probs, lengths = posteriors(2, 4, 5), torch.tensor([4, 3])
    found = smoothing_losses(log_probs, lengths)
    uniform = torch.full((5,), -math.log(5))
    for row, length in enumerate(lengths.tolist()):
        wanted = sum(kl(uniform, log_probs[row, t]) for t in range(length))
        assert float(found[row]) == pytest.approx(wanted)
    flat = torch.full((1, 3, 5), -math.log(5))
    assert float(smoothing_losses(flat, torch.tensor([3]))) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_frame_distillation_is_the_divergence_from_the_softened_teacher(temperature):
    student, teacher = torch.randn(2, 4, 5), torch.randn(2, 4, 5)
    student.requires_grad_()
    lengths = torch.tensor([4, 1])
    found = frame_distillation(student, teacher, lengths, temperature)
    for row, length in enumerate(lengths.tolist()):
        pairs = zip(
            (teacher[row, :length] / temperature).log_softmax(-1),
            (student[row, :length] / temperature).log_softmax(-1).detach(),
        )
        wanted = temperature**2 * sum(kl(p, q) for p, q in pairs)
        assert float(found[row].detach()) == pytest.approx(wanted, rel=1e-4)
    found.sum().backward()
    with torch.no_grad():
        wanted = (student / temperature).softmax(-1) - (teacher / temperature).softmax(-1)
    assert torch.allclose(student.grad[0], temperature * wanted[0], atol=1e-5)
    assert student.grad[1, 1:].abs().max() == 0.0


def test_log_probabilities_are_as_good_as_logits():
    student, teacher, lengths = torch.randn(1, 3, 4), torch.randn(1, 3, 4), torch.tensor([3])
    plain = frame_distillation(student, teacher, lengths, 2.0)
    normalised = frame_distillation(student.log_softmax(-1), teacher.log_softmax(-1), lengths, 2.0)
    assert torch.allclose(plain, normalised, atol=1e-5)


def test_collapsing_keeps_blank_the_next_symbol_and_the_rest():
    log_probs = posteriors(2, 5)
    found = collapsed(log_probs, torch.tensor([3, 0])).exp()
    p = log_probs.exp()
    assert torch.allclose(found[0], torch.stack([p[0, 0], p[0, 3], p[0, 1] + p[0, 2] + p[0, 4]]))
    assert torch.allclose(found[1], torch.stack([p[1, 0], 0 * p[1, 0], p[1, 1:].sum()]))


@pytest.mark.parametrize("collapse", [True, False])
def test_lattice_distillation_counts_the_places_of_the_lattice(collapse):
    torch.manual_seed(1)
    shape = (2, 3, 2, 5)
    student = torch.randn(shape, requires_grad=True)
    teacher = torch.randn(shape)
    symbols = torch.tensor([[1, 4, 2], [3, 0, 0]])
    first = torch.tensor([[0, 1, 2], [0, 0, 0]])
    ranges = first.unsqueeze(-1) + torch.arange(2)
    boundary = torch.tensor([[0, 0, 3, 3], [0, 0, 1, 2]])
    found = lattice_distillation(student, teacher, symbols, ranges, boundary, collapse=collapse)
    for row in range(2):
        count, frames = boundary[row, 2:].tolist()
        wanted = 0.0
        for t in range(frames):
            values = []
            for r in range(2):
                place = int(ranges[row, t, r])
                if place > count:
                    continue
                p, q = (x[row, t, r].detach().log_softmax(-1) for x in (teacher, student))
                if collapse:
                    said = int(symbols[row, place]) if place < count else 0
                    groups = [[0], [said] * (said > 0), sorted({1, 2, 3, 4} - {said})]
                    p, q = (
                        torch.stack([x[group].exp().sum().log() for group in groups if group])
                        for x in (p, q)
                    )
                values.append(kl(p, q))
            wanted += sum(values) / len(values)
        assert float(found[row].detach()) == pytest.approx(wanted, rel=1e-4)
    found.sum().backward()
    assert student.grad.isfinite().all() and student.grad[0].abs().sum() > 0
    assert student.grad[1, 2].abs().max() == 0.0  # beyond the frames of the second


def test_a_student_like_its_teacher_has_nothing_to_learn():
    logits = torch.randn(1, 2, 2, 5)
    symbols, ranges = torch.tensor([[1, 2]]), torch.tensor([[[0, 1], [1, 2]]])
    boundary = torch.tensor([[0, 0, 2, 2]])
    found = lattice_distillation(logits, logits.clone(), symbols, ranges, boundary)
    assert float(found) == pytest.approx(0.0, abs=1e-6)
