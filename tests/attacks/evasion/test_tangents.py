"""Search along slopes read off scores: exact on linear models in three norms, modest elsewhere."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from auditor.attacks.evasion.apgd import Task
from auditor.attacks.evasion.l1 import L1
from auditor.attacks.evasion.l2 import L2
from auditor.attacks.evasion.linf import Linf
from auditor.attacks.evasion.norms import BY_NAME
from auditor.attacks.evasion.tangents import tangents
from auditor.subjects.sklearn_subject import SklearnSubject

KINDS = {"linf": Linf, "l2": L2, "l1": L1}
EPSILONS = {"linf": 0.08, "l2": 0.5, "l1": 1.5}


def plane(count, size, classes, seed=0):
    """Rows in the box, some coordinates at its ends, and a linear model in float64 with its weights."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(count, size, generator=generator) * 1.4 - 0.2).clamp(0, 1)
    weight = torch.randn(classes, size, generator=generator).double()

    def model(u):
        return (u.double().unsqueeze(1) * weight).sum(2)

    return x, model(x).argmax(1), weight, model


def others(y, classes):
    return torch.stack([torch.tensor([k for k in range(classes) if k != int(own)]) for own in y])


def least_lead(x, y, weight, offset, epsilon, norm):
    """The least lead (n,) in ball and box of a linear model: by sorting in L1, by halving in L2, at ends in Linf."""
    slope, rows, own = weight.numpy(), x.double().numpy(), y.numpy()
    found = np.full(len(rows), np.inf)
    for other in range(len(slope)):
        gap = slope[own] - slope[other]
        lead = (gap * (rows + steepest(gap, rows, epsilon, norm))).sum(1) + offset[own] - offset[other]
        found = np.where(own == other, found, np.minimum(found, lead))
    return torch.tensor(found)


def steepest(slope, x, epsilon, norm):
    room = np.where(slope > 0, x, 1 - x)
    if norm == "linf":
        return -np.sign(slope) * np.minimum(epsilon, room)
    if norm == "l2":
        low, high = np.zeros((len(x), 1)), np.full((len(x), 1), 1e3)
        for _ in range(80):
            middle = (low + high) / 2
            far = np.linalg.norm(np.minimum(middle * np.abs(slope), room), axis=1, keepdims=True) > epsilon
            low, high = np.where(far, low, middle), np.where(far, middle, high)
        return -np.sign(slope) * np.minimum(low * np.abs(slope), room)
    move, left = np.zeros_like(x), np.full(len(x), float(epsilon))
    for place in np.argsort(-np.abs(slope), axis=1).T:
        rows = np.arange(len(x))
        move[rows, place] = np.minimum(left, room[rows, place])
        left -= move[rows, place]
    return -np.sign(slope) * move


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize(("size", "classes"), [(1, 2), (2, 3), (9, 4), (30, 2)])
def test_one_round_finds_the_worst_point_of_a_linear_model(norm, size, classes):
    x, y, weight, model = plane(40, size, classes)
    exact = least_lead(x, y, weight, np.zeros(classes), 0.3, norm)
    task = Task(x, y, y, x, torch.ones(size), 0.3, norm=BY_NAME[norm])
    found = tangents(model, task, others(y, classes), torch.arange(40), queries=2 * 64 + classes + 4, width=40)
    scores = model(found.point)
    own = scores.gather(1, y.unsqueeze(1)).squeeze(1)
    lead = own - scores.scatter(1, y.unsqueeze(1), -torch.inf).amax(1)
    stands = ~found.broken
    assert torch.allclose(lead[stands], exact[stands], atol=2e-3)
    assert (exact[found.broken] <= 2e-3).all()
    assert BY_NAME[norm].distance(found.point - x).max() <= 0.3 * (1 + 1e-5)
    assert found.point.min() >= 0
    assert found.point.max() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_row_fares_the_same_in_any_batch_and_twice(norm):
    x, _, _, model = plane(40, 9, 4)

    def bent(u):
        return model(torch.sin(3 * u.double()))

    y = bent(x).argmax(1)
    epsilon = {"linf": 0.06, "l2": 0.12, "l1": 0.2}[norm]
    task = Task(x, y, y, x, torch.ones(9), epsilon, norm=BY_NAME[norm])
    runs = [tangents(bent, task, others(y, 4), torch.arange(40) * 7919, queries=300, width=w) for w in (40, 40, 7, 1)]
    for run in runs[1:]:
        assert torch.equal(run.point, runs[0].point)
        assert torch.equal(run.broken, runs[0].broken)
    assert 0.1 < runs[0].broken.float().mean() < 1


def test_no_more_queries_than_asked_for_and_few_where_there_is_no_slope():
    x, _, _, model = plane(40, 9, 4)
    for flat, most in ((False, 200), (True, 2 * 16 + 8)):
        seen = []

        def counted(u, flat=flat, seen=seen):
            seen.append(len(u))
            return model(u).sign() * 5 if flat else model(u) + 1e3 * torch.eye(4)[0]

        own = counted(x).argmax(1)
        seen.clear()
        task = Task(x, own, own, x, torch.ones(9), 1e-4)
        tangents(counted, task, others(own, 4), torch.arange(40), queries=200, width=16)
        assert sum(seen) <= 40 * most


def test_what_cannot_move_stays():
    x, y, _, model = plane(40, 9, 4)
    still = torch.zeros(9, dtype=torch.bool)
    still[[1, 5]] = True
    task = Task(x, y, y, x, torch.ones(9), 0.2, still)
    found = tangents(model, task, others(y, 4), torch.arange(40), queries=200, width=40)
    assert torch.equal(found.point[:, still], x[:, still])


def test_answers_that_are_no_numbers_count_as_broken_in_one_row_too():
    x, y, weight, model = plane(40, 9, 4)
    row = least_lead(x, y, weight, np.zeros(4), 0.02, "linf").argmax()
    x, y = x[row : row + 1], y[row : row + 1]
    first = model(x)[0, y]

    def gone(u):
        scores = model(u)
        return scores.masked_fill(scores[:, y] < first - 0.01, torch.nan)

    task = Task(x, y, y, x, torch.ones(9), 0.02)
    assert not tangents(model, task, others(y, 4), torch.arange(1), queries=200, width=1).broken.any()
    assert tangents(gone, task, others(y, 4), torch.arange(1), queries=200, width=1).broken.all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("make", [lambda: LogisticRegression(max_iter=500), lambda: LinearSVC(random_state=0)])
def test_robust_accuracy_of_linear_estimators_is_exact_within_one_point(make, norm, digits, attack):
    model = make().fit(digits.x_train, digits.y_train)
    x, y, epsilon = torch.tensor(digits.x_test), torch.tensor(digits.y_test), EPSILONS[norm]
    lead = least_lead(x, y, torch.tensor(model.coef_).double(), model.intercept_, epsilon, norm)
    exact = float((lead > 0).double().mean())
    run = attack(
        SklearnSubject(model, classes=10, shape=digits.shape), digits, epsilon, kind=KINDS[norm], samples=360,
        blind_queries=400, self_test=False,
    )  # fmt: skip
    assert exact - 1e-9 <= run.robust[epsilon] <= exact + 0.01
    assert 0.1 < exact < 0.9
