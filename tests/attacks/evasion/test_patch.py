"""The patch probe against closed forms on linear models, and its promises: one square, the range, no false doubts."""

import numpy as np
import pytest
import torch
from torch import nn

from auditor.attacks.evasion.patch import Patch
from auditor.attacks.evasion.patch_search import squares, tried
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError
from auditor.probe import Case
from auditor.seeds import Seeds

from .traps import Around, lying


def audit(subject, data, seed=3, **parameters):
    case = Case(Patch(**parameters), "toy", subject, data, Seeds(seed))
    outcome = case.probe.run(case)
    accuracy = {m.at["size"]: m.value for m in outcome.measurements if m.metric == "patch_accuracy"}
    return outcome, accuracy, {c.flag for c in outcome.caveats if c.severity != "info"}


@pytest.fixture(scope="module")
def halves():
    """Images of two classes, and a linear net that tells them apart."""
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(2, 6, 8)).astype(np.float32)
    y = generator.integers(0, 2, 400)
    far = (1 - 2 * y[:, None, None, None]) * generator.uniform(0, 0.4, (400, 1, 1, 1)) ** 2 / 0.4
    x = (0.5 + far * np.sign(weight) + generator.uniform(-0.1, 0.1, (400, 2, 6, 8))).astype(np.float32)
    net = nn.Sequential(nn.Flatten(), nn.Linear(96, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor(np.stack([weight.ravel(), 0 * weight.ravel()])))
        net[1].bias.copy_(torch.tensor([-0.5 * float(weight.sum()), 0.0]))
    return Dataset("halves", x[:200], y[:200], x[200:], y[200:], ("a", "b"), Domain.unit((2, 6, 8))), net


@pytest.mark.parametrize("size", [0.2, 0.34, 0.5])
def test_on_a_linear_model_patch_accuracy_is_exact_over_all_squares_tried(size, halves, torch_subject):
    data, net = halves
    side = max(1, round(size * 6))
    weight, bias = net[1].weight[0].detach().numpy().reshape(2, 6, 8), float(net[1].bias[0].detach())
    sign = np.where(data.y_test == 0, 1.0, -1.0)
    lead = sign * ((data.x_test * weight).sum((1, 2, 3)) + bias)
    # inside the square each pixel takes whichever end of the range lowers the lead
    lost = sign[:, None, None, None] * data.x_test * weight - np.minimum(sign[:, None, None, None] * weight, 0)
    stands = lead > 0
    downs = sorted({*range(0, 7 - side, max(1, side // 2)), 6 - side})
    acrosses = sorted({*range(0, 9 - side, max(1, side // 2)), 8 - side})
    for down in downs:
        for across in acrosses:
            stands &= lead > lost[:, :, down : down + side, across : across + side].sum((1, 2, 3))
    _, accuracy, doubts = audit(torch_subject(net, data), data, sizes=(size,), places=100, samples=200)
    assert accuracy[size] == pytest.approx(stands.mean(), abs=1e-9)
    assert 0.05 < stands.mean() < 0.95
    assert not doubts


def test_a_square_covers_its_pixels_and_no_more():
    inside = squares(torch.tensor([[0, 0], [2, 3]]), torch.Size([4, 5]), 2)
    assert inside.shape == (2, 1, 4, 5)
    assert inside[0, 0, :2, :2].all()
    assert inside[1, 0, 2:, 3:].all()
    assert inside.sum((1, 2, 3)).tolist() == [4, 4]


def test_the_square_that_holds_most_weight_comes_first():
    weight = torch.zeros(2, 3, 7, 7)
    weight[0, 1, 5:, 5:], weight[1, 2, 0:2, 3] = 1.0, 1.0
    corners = tried(weight, 2, 3)
    assert corners.shape == (2, 3, 2)
    assert corners[0, 0].tolist() == [5, 5]
    assert corners[1, 0].tolist() in ([0, 2], [0, 3])
    assert len(tried(weight, 7, 3)[0]) == 1


def test_only_one_square_of_an_image_changes_and_stays_in_range(convolution, images, torch_subject):
    outcome, accuracy, doubts = audit(torch_subject(convolution, images), images, sizes=(0.25, 0.5), samples=100)
    moved = outcome.gallery.after != outcome.gallery.before
    for image in moved[:, 0]:
        down, across = np.nonzero(image)
        assert np.ptp(down) < 4
        assert np.ptp(across) < 4
    assert outcome.gallery.after.min() >= 0
    assert outcome.gallery.after.max() <= 1
    assert accuracy[0.5] < accuracy[0.25] < outcome.measurements[0].value
    assert not doubts


def test_twice_the_same_and_whatever_the_batch(convolution, images, torch_subject):
    runs = [audit(torch_subject(convolution, images), images, samples=60, batch_size=size)[0] for size in (512, 512, 7)]
    assert runs[0].measurements == runs[1].measurements == runs[2].measurements


def test_a_model_that_leaves_torch_is_searched_at_random_and_that_is_said(convolution, images, torch_subject):
    class Leaving(nn.Module):
        def forward(self, x):
            return convolution(x).detach()

    _, accuracy, doubts = audit(torch_subject(Leaving(), images), images, sizes=(0.5,), samples=60)
    assert accuracy[0.5] < 0.6
    assert "no_gradient_path" in doubts


def test_a_masked_gradient_is_doubted(convolution, images, torch_subject):
    class Masked(nn.Module):
        def forward(self, x):
            return convolution(x) + 0 * x.sum()

    masked = Around(Masked(), lying(lambda g: g * 0))
    assert "zero_gradient" in audit(torch_subject(masked, images), images, samples=60)[2]


def test_sizes_that_are_no_shares_are_refused():
    with pytest.raises(ConfigError, match=r"sizes .*: give shares of the side"):
        Patch(sizes=(3.0,))
    with pytest.raises(ConfigError, match="places is 0"):
        Patch(places=0)
