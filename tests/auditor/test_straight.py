"""Steps without a gradient, carried by another's: answers stay as they are, slopes come through."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import auditor
from auditor.attacks.evasion.linf import Linf
from auditor.dataset import Dataset, Domain
from auditor.probe import Case
from auditor.seeds import Seeds
from auditor.straight import StraightThrough, straight_through
from auditor.subjects.torch_subject import TorchSubject


def levels(x: torch.Tensor) -> torch.Tensor:
    return (x * 4).round() / 4


def test_answers_are_the_steps_own_and_the_gradient_is_the_identitys() -> None:
    x = torch.linspace(0, 1, 11).requires_grad_()
    passed = straight_through(levels)(x)
    (slope,) = torch.autograd.grad((passed * torch.arange(11)).sum(), x)
    assert torch.equal(passed, levels(x.detach()))
    assert torch.equal(slope, torch.arange(11.0))


def test_with_a_like_the_gradient_is_its_own_at_the_input() -> None:
    x = torch.tensor([-1.0, 0.2, 2.0]).requires_grad_()
    passed = straight_through(lambda x: (x > 0).float(), like=torch.sigmoid)(x)
    (slope,) = torch.autograd.grad(passed.sum(), x)
    expected = torch.sigmoid(x.detach()) * (1 - torch.sigmoid(x.detach()))
    assert passed.tolist() == [0, 1, 1]
    torch.testing.assert_close(slope, expected)


def test_a_step_that_changes_nothing_or_works_in_place_leaves_its_input_alone() -> None:
    x = torch.rand(3, 4)
    kept = x.clone()
    assert torch.equal(straight_through(lambda x: x)(x.requires_grad_()), kept)
    assert torch.equal(straight_through(lambda x: x.clone().mul_(2))(x), 2 * kept)
    assert torch.equal(x, kept)


def test_a_step_that_changes_the_shape_needs_a_like() -> None:
    with pytest.raises(ValueError, match=r"from shape \(2, 4\) to \(2, 2\)"):
        straight_through(lambda x: x[:, ::2])(torch.rand(2, 4))
    x = torch.rand(2, 4).requires_grad_()
    halved = straight_through(lambda x: x[:, ::2].round(), like=lambda x: x[:, ::2])(x)
    (slope,) = torch.autograd.grad(halved.sum(), x)
    assert slope[0].tolist() == [1, 0, 1, 0]


def test_it_is_a_public_name_and_makes_a_module() -> None:
    assert auditor.straight_through is straight_through
    assert isinstance(straight_through(levels), StraightThrough)
    assert isinstance(straight_through(levels), nn.Module)


def trained(data: Dataset) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(torch.tensor(data.x_train)), torch.tensor(data.y_train)).backward()
        optimizer.step()
    return net.eval()


def rounded(grain: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: (x * grain).round() / grain


@pytest.mark.parametrize(("grain", "doubted"), [(16, {"misleading_gradient"}), (255, set())])
def test_an_audit_through_a_rounding_step_is_as_strong_as_one_without_it(grain: int, doubted: set[str]) -> None:
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 400)
    x = np.clip(draw.normal(0.42 + 0.16 * y[:, None], 0.2, (400, 20)), 0, 1).astype(np.float32)
    data = Dataset("toy", x[:200], y[:200], x[200:], y[200:], ("no", "yes"), Domain.unit((20,)))
    net = trained(data)

    class Rounded(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answers: torch.Tensor = net(rounded(grain)(x))
            return answers

    def asked(module: nn.Module) -> tuple[float, set[str]]:
        subject = TorchSubject(module, classes=2, shape=(20,))
        case = Case(Linf(epsilons=(0.1,)), "toy", subject, data, Seeds(3))
        found = case.probe.run(case)
        value = next(m.value for m in found.measurements if m.metric == "robust_accuracy")
        return value, {c.flag for c in found.caveats if c.severity != "info"}

    masked, doubts = asked(Rounded())
    carried, left = asked(nn.Sequential(straight_through(rounded(grain)), net))
    plain, _ = asked(net)
    assert "zero_gradient" in doubts
    assert left <= doubted
    assert carried <= masked + 1e-12
    assert abs(carried - plain) < 0.03
    assert 0.05 < plain < 0.9
