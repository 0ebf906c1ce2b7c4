"""Muon: matrices made orthogonal, and torch's own where that can be compared."""

import pytest
import torch

from auditor.training.optimizers.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(6, 6), (3, 8), (8, 3), (1, 5)])
def test_singular_values_come_near_one(shape):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_the_size_of_a_matrix_does_not_matter_and_a_zero_one_stays():
    matrix = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(orthogonal(matrix), orthogonal(1000 * matrix))
    assert torch.equal(orthogonal(torch.zeros(3, 2)), torch.zeros(3, 2))


SETTINGS = {"momentum": 0.95, "nesterov": True, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8}


def steps(build, start, gradients):
    weight = torch.nn.Parameter(start.clone())
    optimizer = build(weight)
    for gradient in gradients:
        weight.grad = gradient.reshape(weight.shape).clone()
        optimizer.step()
    return weight.detach()


@pytest.fixture(scope="module")
def gradients():
    stream = torch.Generator().manual_seed(1)
    return [torch.randn(4, 6, generator=stream) for _ in range(4)]


def ours(weight):
    return Muon([{"params": [weight], "matrix": True}], 0.02, **SETTINGS)


def test_it_moves_as_torchs_own_does_but_for_its_bfloat16(gradients):
    start = torch.zeros(4, 6)
    theirs = steps(
        lambda w: torch.optim.Muon([w], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"), start, gradients
    )
    found = steps(ours, start, gradients)
    assert float((found - theirs).norm() / theirs.norm()) < 0.02


def test_a_kernel_moves_as_its_flattened_matrix(gradients):
    flat = steps(ours, torch.zeros(4, 6), gradients)
    kernel = steps(ours, torch.zeros(4, 3, 2, 1), gradients)
    assert torch.equal(kernel.flatten(1), flat)


def test_what_is_no_matrix_moves_by_adamw(gradients):
    start = torch.ones(24)
    found = steps(lambda w: Muon([{"params": [w], "matrix": False}], 0.02, **SETTINGS), start, gradients)
    theirs = steps(
        lambda w: torch.optim.AdamW([w], lr=0.02, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1), start, gradients
    )
    torch.testing.assert_close(found, theirs, rtol=1e-5, atol=1e-6)
