"""The random search in three norms against closed forms, exact trees, and its own promises."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.tree import DecisionTreeClassifier

from auditor.attacks.evasion.apgd import Task
from auditor.attacks.evasion.norms import BY_NAME
from auditor.attacks.evasion.seekers import some, window, within
from auditor.attacks.evasion.square import square
from auditor.attacks.evasion.square_masses import _peaks

DUAL = {"linf": 1, "l2": 2, "l1": torch.inf}
SHAPES = [(8,), (1, 5, 5), (3, 4, 6)]


def linear_task(norm, shape, epsilon, count=40):
    """Rows far from the ends of the box, a linear model, and the most a row's score can fall in the ball."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, *shape, generator=generator) * 0.2 + 0.4
    weight = torch.randn(*shape, generator=generator)
    y = torch.zeros(count, dtype=torch.int64)
    task = Task(x, y, y + 1, x, torch.ones(shape), epsilon, norm=BY_NAME[norm])
    return task, weight, epsilon * torch.linalg.vector_norm(weight.flatten(), ord=DUAL[norm])


def scores(weight, offset):
    """A model of the rows' scores against a constant, in float64 so that no sum depends on the batch."""

    def model(u):
        value = (u.double() * weight.double()).flatten(1).sum(1) + offset
        return torch.stack([value, torch.zeros_like(value)], 1)

    return model


@pytest.mark.parametrize(
    ("norm", "shape", "share"),
    [("linf", (8,), 1.0), ("linf", (1, 5, 5), 1.0), ("l2", (8,), 0.999), ("l2", (1, 5, 5), 0.98), ("l1", (8,), 0.999)],
)
def test_on_a_linear_model_the_search_comes_near_the_worst_point_of_the_ball(norm, shape, share):
    task, weight, most = linear_task(norm, shape, {"linf": 0.1, "l2": 0.2, "l1": 0.3}[norm])
    found = square(scores(weight, 100.0), task, torch.arange(40), queries=1500, width=40)
    fallen = ((task.x - found.point) * weight).flatten(1).sum(1) / most
    assert fallen.max() <= 1 + 1e-5
    assert fallen.min() >= share - 1e-5
    assert not found.broken.any()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_point_leaves_the_ball_the_box_or_what_may_move(norm, shape):
    epsilon = {"linf": 0.45, "l2": 1.2, "l1": 3.0}[norm]
    task, weight, _ = linear_task(norm, shape, epsilon)
    still = torch.zeros(shape, dtype=torch.bool)
    still.view(-1)[2] = True
    top = torch.full(shape, 0.8)
    task = Task(task.x, task.y, task.target, task.x, top, epsilon, still, BY_NAME[norm])
    found = square(scores(weight, 100.0), task, torch.arange(40), queries=300, width=40)
    move = found.point - task.x
    assert BY_NAME[norm].distance(move.flatten(1)).max() <= epsilon * (1 + 1e-6)
    assert found.point.min() >= 0
    assert (found.point <= top).all()
    assert (move[:, still] == 0).all()
    assert (move.flatten(1).abs().amax(1) > 0.1).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_fares_the_same_in_any_batch_and_twice(norm, shape):
    task, weight, most = linear_task(norm, shape, 0.1)
    offset = float(-(task.x * weight).flatten(1).sum(1).median() + 0.8 * most)
    runs = [square(scores(weight, offset), task, torch.arange(40), queries=120, width=w) for w in (40, 40, 7, 1)]
    for run in runs[1:]:
        assert torch.equal(run.point, runs[0].point)
        assert torch.equal(run.broken, runs[0].broken)
    assert 0.2 < runs[0].broken.float().mean() < 1


def test_a_query_is_one_forward_pass_of_one_row():
    task, weight, _ = linear_task("linf", (1, 5, 5), 0.1)
    seen = []

    def model(u):
        seen.append(len(u))
        return scores(weight, 100.0)(u)

    square(model, task, torch.arange(40), queries=30, width=16)
    assert sum(seen) == 40 * 30


def test_inputs_that_are_neither_vectors_nor_images_are_refused():
    task, weight, _ = linear_task("linf", (4, 4), 0.1)
    with pytest.raises(ValueError, match=r"shape \(4, 4\): the random search knows vectors and \(C, H, W\)"):
        square(scores(weight, 0.0), task, torch.arange(40), queries=3, width=40)


def test_windows_fit_and_lie_anywhere_evenly():
    draw = (torch.arange(600) + 0.5) / 600
    side = torch.full((600,), 3.0)
    inside = within(window(draw, side, 8), side)
    assert (inside.sum(1) == 3).all()
    assert torch.equal(inside.float().argmax(1).bincount(), torch.full((6,), 100))


def test_random_sets_have_the_asked_size_on_average_and_never_none():
    draw = torch.rand(4000, 50, generator=torch.Generator().manual_seed(0))
    for share in (0.5, 0.1, 0.001):
        size = some(draw, torch.full((4000,), share)).sum(1)
        assert size.min() >= 1
        assert float(size.float().mean()) == pytest.approx(max(50 * share, 1), rel=0.05, abs=0.06)


def test_two_peaks_are_those_of_the_paper_for_a_window_of_five():
    peaks = _peaks(torch.arange(5.0)[None], torch.arange(5.0)[None], torch.tensor([5.0]), torch.tensor([False]))[0]
    top, middle, low = 1 + 1 / 4 + 1 / 9, 1 / 4 + 1 / 9, 1 / 9  # rings around the centre of each half
    assert torch.allclose(peaks[1], torch.tensor([low, middle, top, middle, low]))
    assert torch.allclose(peaks[0], torch.tensor([low, middle, middle, middle, low]))
    assert torch.allclose(peaks[3], -torch.tensor([low, middle, top, middle, low]))
    turned = _peaks(torch.arange(5.0)[None], torch.arange(5.0)[None], torch.tensor([5.0]), torch.tensor([True]))[0]
    assert torch.equal(turned, peaks.T)


def reachable(tree, row, label, epsilon, node=0, box=None):
    """Can any point of the ball and the unit box reach a leaf whose class is not the label, or ties: leaf by leaf."""
    low, high = (np.maximum(row - epsilon, 0), np.minimum(row + epsilon, 1)) if box is None else box
    if tree.children_left[node] < 0:
        votes = tree.value[node, 0]
        return votes[label] <= np.delete(votes, label).max()
    feature, edge = tree.feature[node], np.float32(tree.threshold[node])
    if low[feature] <= edge:
        below = high.copy()
        below[feature] = min(high[feature], edge)
        if reachable(tree, row, label, epsilon, tree.children_left[node], (low, below)):
            return True
    if high[feature] > edge:
        above = low.copy()
        above[feature] = max(low[feature], np.nextafter(edge, np.float32(2)))
        return reachable(tree, row, label, epsilon, tree.children_right[node], (above, high))
    return False


def columns():
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.min(0)) / np.ptp(x, axis=0)).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(y))
    return x[order], y[order]


@pytest.mark.parametrize("least", [1, 5])
def test_on_a_single_tree_the_search_is_within_three_points_of_every_leaf(least):
    x, y = columns()
    tree = DecisionTreeClassifier(min_samples_leaf=least, random_state=0).fit(x[150:], y[150:])

    def model(u):
        return torch.as_tensor(tree.predict_proba(u.numpy()), dtype=torch.float32)

    rows, labels = torch.tensor(x[:150]), torch.tensor(y[:150])
    for epsilon in (0.05, 0.1):
        exact = np.array(
            [not reachable(tree.tree_, r, k, np.float32(epsilon)) for r, k in zip(x[:150], y[:150], strict=True)]
        )
        task = Task(rows, labels, 1 - labels, rows, torch.ones(30), epsilon)
        stands = ~square(model, task, torch.arange(150) * 7919, queries=2000, width=150).broken.numpy()
        assert (stands >= exact).all()
        assert stands.mean() <= exact.mean() + 0.03
        assert 0.1 < exact.mean() < 0.9
