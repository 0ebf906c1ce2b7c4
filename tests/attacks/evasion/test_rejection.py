"""A class by which a model refuses: both numbers against closed forms and linear programs, and two detectors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from auditor.attacks.evasion.l1 import L1
from auditor.attacks.evasion.l2 import L2
from auditor.attacks.evasion.linf import Linf
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError

KINDS = {"linf": Linf, "l2": L2, "l1": L1}
NORMS = pytest.mark.parametrize("norm", list(KINDS))
NAMES = ("low", "refused", "high")


def caught(run):
    """Robust accuracy by epsilon where what is refused counts as caught."""
    found = [m for m in run.outcome.measurements if m.metric == "robust_accuracy_with_reject"]
    return {float(m.at["epsilon"]): m.value for m in found}


def bands():
    """Low below 1/3 of the first feature, high above 2/3, refused between."""
    net = nn.Sequential(nn.Linear(2, 3))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[-3.0, 0], [0, 0], [3, 0]]))
        net[0].bias.copy_(torch.tensor([1.0, 0, -2]))
    return net


def points(labels=(0, 0, 2, 0)):
    x = np.array([[0.1, 0.5], [0.3, 0.5], [0.8, 0.5], [0.5, 0.5]], np.float32)
    y = np.array(labels)
    return Dataset("points", x, y, x, y, NAMES, Domain.unit((2,)))


@NORMS
@pytest.mark.parametrize("outputs", ["logits", "labels"])
def test_a_row_breaks_at_the_border_of_refusing_and_uncaught_only_at_the_border_beyond(
    norm, outputs, torch_subject, attack
):
    class Named(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot(bands()(x).argmax(1), 3).float()

    net = bands() if outputs == "logits" else Named()
    # distances: 0.233, 0.033, 0.133 to being refused; 0.567, 0.367, 0.467 to the class beyond; the last was refused
    subject, kind = torch_subject(net, points(), outputs), KINDS[norm]
    run = attack(subject, points(), 0.02, 0.15, 0.3, 0.4, 0.5, 0.6, kind=kind, reject="refused")
    assert run.clean == 0.75
    assert run.robust == {0.02: 0.75, 0.15: 0.25, 0.3: 0.0, 0.4: 0.0, 0.5: 0.0, 0.6: 0.0}
    assert caught(run) == {0.02: 0.75, 0.15: 0.75, 0.3: 0.75, 0.4: 0.5, 0.5: 0.25, 0.6: 0.0}
    without = attack(subject, points(), 0.02, 0.15, 0.3, kind=kind)
    assert without.robust == {0.02: 0.75, 0.15: 0.25, 0.3: 0.0}
    assert caught(without) == {}


def with_refusals(digits):
    return replace(digits, classes=(*digits.classes, "no digit"))


def guarded(linear):
    """The linear net with one more class, which wins where the others are all low."""
    net = nn.Sequential(nn.Linear(64, 11))
    with torch.no_grad():
        weight, bias = linear[0].weight, linear[0].bias
        net[0].weight.copy_(torch.cat([weight, weight.mean(0, keepdim=True)]))
        net[0].bias.copy_(torch.cat([bias, bias.mean()[None] + 3.0]))
    return net


def stands(net, x, y, epsilon):
    """Whether no class but its own and the last wins alone anywhere in ball and box: a linear program a class."""
    weight, bias = (p.detach().double().numpy() for p in net[0].parameters())
    ends = np.stack([np.maximum(x - epsilon, 0), np.minimum(x + epsilon, 1)], 1).astype(np.float64)
    for goal in set(range(10)) - {int(y)}:
        rest = [k for k in range(11) if k != goal]
        rows = np.concatenate(
            [weight[rest] - weight[goal], np.ones((10, 1))], 1
        )  # the last variable: by how much it wins
        found = linprog(
            np.r_[np.zeros(64), -1.0], A_ub=rows, b_ub=bias[goal] - bias[rest], bounds=[*ends, (None, None)]
        )
        if -found.fun > 1e-6:
            return False
    return True


@pytest.mark.slow
def test_a_linear_classifier_that_refuses_gets_the_exact_numbers_of_a_linear_program(
    linear, digits, torch_subject, attack
):
    data, net, epsilon = with_refusals(digits), guarded(linear), 0.08
    run = attack(torch_subject(net, data), data, epsilon, samples=60, targets=9, target_steps=40, reject="no digit")
    columns = run.outcome.samples.columns
    place = {row: i for i, row in enumerate(data.test_rows.tolist())}
    rows = [place[row] for row in run.outcome.samples.row.tolist()]
    exact = np.array([stands(net, data.x_test[i], data.y_test[i], epsilon) for i in rows]) & columns["clean"][:, 0]
    assert np.array_equal(columns["correct_or_caught"][:, 0], exact)
    assert run.robust[epsilon] + 0.1 < exact.mean() < columns["clean"].mean() - 0.1
    assert not run.doubts


@pytest.fixture(scope="module")
def detector(digits):
    """A net that was taught to refuse noise, and digits as an attack would leave them."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 11))
    x, y = torch.tensor(digits.x_train), torch.tensor(digits.y_train)
    optimizer = torch.optim.Adam(net.parameters(), 0.005)
    for _ in range(12):
        for rows in torch.randperm(len(x)).split(64):
            far = (x[rows] + 0.3 * torch.randn_like(x[rows]).sign()).clamp(0, 1)
            inputs, refused = torch.cat([x[rows], far, torch.rand(16, 64)]), torch.full((len(rows) + 16,), 10)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs), torch.cat([y[rows], refused])).backward()
            optimizer.step()
    return net.eval()


def test_a_detector_that_was_trained_is_measured_without_doubts_and_never_looks_weaker_than_it_is(
    detector, digits, torch_subject, attack
):
    data = with_refusals(digits)
    run = attack(torch_subject(detector, data), data, 0.02, 0.05, 0.1, samples=150, reject="no digit", save=True)
    found, columns = caught(run), run.outcome.samples.columns
    assert (columns["correct"] <= columns["correct_or_caught"]).all()
    assert run.robust[0.05] < found[0.05] < run.clean
    assert found[0.02] >= found[0.05] >= found[0.1]
    assert not run.doubts
    fell = np.isfinite(columns["broken_at"][:, 0]) & (columns["broken_at"][:, 0] > 0)
    answers = detector(torch.tensor(columns["adversarial"][fell])).argmax(1).numpy()
    assert (answers != run.outcome.samples.label[fell]).all()


@pytest.mark.slow
def test_batch_size_moves_nothing_and_the_same_seed_gives_the_same_rows(detector, digits, torch_subject, attack):
    data = with_refusals(digits)
    runs = [
        attack(torch_subject(detector, data), data, 0.05, samples=40, reject="no digit", batch_size=size)
        for size in (512, 512, 16)
    ]
    first, again, small = (run.outcome.samples.columns["correct_or_caught"] for run in runs)
    assert np.array_equal(first, again)
    assert np.array_equal(first, small)
    assert runs[0].outcome.measurements == runs[1].outcome.measurements


@pytest.mark.slow
def test_a_detector_without_a_slope_does_not_look_robust(mlp, digits, torch_subject, attack):
    class Step(nn.Module):
        """Refuses what has many grey pixels at odd depths, by a count that no gradient passes."""

        def forward(self, x):
            z = mlp(x)
            odd = ((16 * x - (16 * x).round()).abs() > 0.2).float().sum(1)
            return torch.cat([z, 1e4 * (odd.detach()[:, None] > 20).float() - 5e3], 1)

    data = with_refusals(digits)
    run = attack(torch_subject(Step(), data), data, 0.15, samples=60, reject="no digit", blind_queries=1000)
    assert run.clean > 0.9
    assert "zero_gradient" in run.doubts
    assert caught(run)[0.15] < 0.5


def test_what_cannot_be_meant_by_reject_is_refused(torch_subject, attack):
    subject = torch_subject(bands(), points())
    with pytest.raises(
        ConfigError, match=r"evasion\.linf: reject 'refuse' is no class; write off, or one of low, refused"
    ):
        attack(subject, points(), 0.1, reject="refuse")
    with pytest.raises(ConfigError, match="reject 'high': 1 test rows are of that class, so it is an answer like any"):
        attack(subject, points(), 0.1, reject="high")
    with pytest.raises(ConfigError, match="reject 'refused' is for any wrong answer; leave goal at any"):
        Linf(reject="refused", goal="low")
    with pytest.raises(ConfigError, match="leaves no other class"):
        Linf(reject="no").refusal(("yes", "no"))
    assert Linf(reject=False).refusal(NAMES) is None
    assert Linf(reject=1).refusal(("0", "1", "2")) == 1
