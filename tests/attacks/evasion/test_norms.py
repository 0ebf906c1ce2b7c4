"""Balls in three norms against references by bisection and linear programming; orders, lanes and the judge."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from auditor import balls
from auditor.attacks.evasion.apgd import Task, apgd
from auditor.attacks.evasion.losses import lead_away, towards, towards_ratio
from auditor.attacks.evasion.norms import BY_NAME, L1, L2
from auditor.attacks.evasion.sparse import sparse_apgd, weakest
from auditor.attacks.evasion.survivors import Lanes, drive
from auditor.attacks.evasion.targets import nearest_first
from auditor.dataset import Dataset, Domain
from auditor.probe import Case
from auditor.seeds import Seeds
from auditor.subject import Access, leads

NORMS = pytest.mark.parametrize("norm", ["linf", "l2", "l1"])


def nearest_by_bisection(norm, u, x, epsilon):
    """The point of ball and unit box that is nearest to u in Euclidean distance, in float64, a row at a time.

    In L2 the multiplier shrinks the move, in L1 it is taken off it; either way the length falls as it grows.
    """

    def at(multiplier):
        move = u - x
        shrunk = np.sign(move) * np.maximum(np.abs(move) - multiplier, 0)
        return np.clip(x + (move / (1 + multiplier) if norm == "l2" else shrunk), 0, 1)

    low, high = 0.0, 1e6
    if balls.distance(norm, (at(0.0) - x)[None])[0] <= epsilon:
        return at(0.0)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if balls.distance(norm, (at(middle) - x)[None])[0] > epsilon else (low, middle)
    return at(high)


def some_points(count=60, features=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, features, generator=generator, dtype=torch.float64)
    x[:, 0], x[:, 1] = 0, 1
    u = x + 2 * torch.randn(count, features, generator=generator, dtype=torch.float64)
    return x, u


@pytest.mark.parametrize("epsilon", [0.05, 0.7, 2.5, 30.0])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_projections_find_the_nearest_point_of_ball_and_box(norm, epsilon):
    x, u = some_points()
    exact = np.stack([nearest_by_bisection(norm, b, a, epsilon) for a, b in zip(x.numpy(), u.numpy(), strict=True)])
    kind = L2(rounds=100) if norm == "l2" else L1(close=1e-10)
    found = kind.project_(u.clone(), x, epsilon, torch.zeros_like(x), torch.ones_like(x))
    np.testing.assert_allclose(found.numpy(), exact, atol=1e-9)


@pytest.mark.parametrize("epsilon", [0.05, 0.7, 2.5])
def test_one_round_leaves_an_l2_projection_in_the_ball_and_near_its_edge(epsilon):
    x, u = some_points(features=400)
    found = L2().project_(u.clone(), x, epsilon, torch.zeros_like(x), torch.ones_like(x))
    length = balls.distance("l2", (found - x).numpy())
    assert length.max() <= epsilon + 1e-9
    assert length.min() >= 0.98 * epsilon
    assert ((found >= 0) & (found <= 1)).all()


@NORMS
def test_what_lies_in_ball_and_box_already_stays_where_it_is(norm):
    x = torch.full((1, 4), 0.5)
    u = torch.tensor([[0.55, 0.5, 0.45, 0.5]])
    found = BY_NAME[norm].project_(u.clone(), x, 0.2, x - 0.5, x + 0.5)
    torch.testing.assert_close(found, u, atol=1e-7, rtol=0)


@NORMS
def test_random_starts_are_spread_over_the_ball_and_never_leave_it(norm):
    drawn = torch.rand(500, 30, generator=torch.Generator().manual_seed(1))
    moves = BY_NAME[norm].spread(drawn, 0.6).double()
    length = balls.distance(norm, moves.numpy())
    assert length.max() <= 0.6 + 1e-6
    assert length.min() > 0.5
    assert moves.mean(0).abs().max() < 0.1


@NORMS
def test_the_dual_is_the_steepest_rise_within_a_unit_of_distance(norm):
    gradient = torch.tensor([[3.0, -4.0, 0.0]])
    assert BY_NAME[norm].dual(gradient).item() == pytest.approx({"linf": 7, "l2": 5, "l1": 4}[norm])
    step = BY_NAME[norm].direction_(gradient.clone())
    assert balls.distance(norm, step.numpy())[0] == pytest.approx(1)
    assert (step * gradient).sum().item() == pytest.approx({"linf": 7, "l2": 5, "l1": 4}[norm])


@NORMS
def test_gradients_that_are_zero_or_no_numbers_give_no_step(norm):
    gradient = torch.tensor([[0.0, 0.0], [torch.nan, torch.nan]])
    assert torch.equal(BY_NAME[norm].direction_(gradient), torch.zeros(2, 2))


def test_an_l2_step_keeps_its_length_where_the_squares_of_the_gradient_vanish():
    step = BY_NAME["l2"].direction_(torch.tensor([[3e-28, -4e-28]]))
    torch.testing.assert_close(step, torch.tensor([[0.6, -0.8]]))


@pytest.mark.parametrize("epsilon", [0.3, 1.4, 9.0])
def test_the_weakest_point_of_a_linear_function_is_that_of_the_linear_program(epsilon):
    x, gradient = some_points(count=20, seed=3)
    gradient = gradient - x
    found = weakest(x, gradient, epsilon, torch.zeros_like(x), torch.ones_like(x))
    for row, slope, point in zip(x.numpy(), gradient.numpy(), found.numpy(), strict=True):
        features = len(row)  # moves up and moves down, both at least 0
        program = linprog(
            np.concatenate([-slope, slope]),
            A_ub=np.ones((1, 2 * features)),
            b_ub=[epsilon],
            bounds=[*((0, 1 - a) for a in row), *((0, a) for a in row)],
        )
        assert slope @ (point - row) == pytest.approx(-program.fun, abs=1e-9)


def test_the_targeted_ratio_is_the_published_one_and_keeps_its_value_under_scale_and_offset():
    scores = torch.tensor([[5.0, 1, 3, 2, -1]])
    y, target = torch.tensor([0]), torch.tensor([2])
    # Croce and Hein 2020, equation 10: -(z_y - z_t) / (z_1 - (z_3 + z_4) / 2) = -(5 - 3) / (5 - (2 + 1) / 2)
    assert towards_ratio(scores, y, target).item() == pytest.approx(-2 / 3.5)
    assert towards_ratio(100 * scores + 7, y, target).item() == pytest.approx(-2 / 3.5, rel=1e-5)
    assert towards(scores, y, target).item() == -2
    assert lead_away(scores, y, target).item() == -2


@NORMS
def test_wrong_classes_come_in_the_order_of_their_distance_in_the_norm_of_the_attack(norm):
    weight = torch.tensor([[0.0, 0, 0], [3, 3, 3], [0, 4, 0], [0.1, 0, 0]])
    offset = torch.tensor([0.0, -6, -3, -0.5])
    x, y = torch.full((3, 3), 0.2), torch.zeros(3, dtype=torch.int64)

    def model(u):
        return u @ weight.T + offset

    lead = -(model(x)[0] - model(x)[0, 0])[1:]
    steep = {"linf": [9, 4, 0.1], "l2": [27**0.5, 4, 0.1], "l1": [3, 4, 0.1]}[norm]
    expected = (lead / torch.tensor(steep)).argsort() + 1
    by_score = torch.tensor([[3, 2, 1]] * 3)
    found = nearest_first(model, x, y, by_score, BY_NAME[norm], candidates=3, width=2)
    assert found.tolist() == [expected.tolist()] * 3
    assert nearest_first(model, x, y, by_score, BY_NAME[norm], candidates=1, width=9).tolist() == by_score.tolist()


def test_classes_whose_gradient_says_nothing_keep_the_order_of_their_scores():
    def model(u):
        return u.sum(1, keepdim=True) * 0 + torch.tensor([[3.0, 2, 1, 0]])

    ranking = torch.tensor([[1, 2, 3]])
    y = torch.zeros(1, dtype=torch.int64)
    assert nearest_first(model, torch.rand(1, 2), y, ranking, BY_NAME["linf"], candidates=3, width=8).tolist() == [
        [1, 2, 3]
    ]


def linear_task(norm, epsilon, still=None):
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(50, 2, 3, 2, generator=generator)
    y = torch.zeros(50, dtype=torch.int64)
    return Task(x, y, y + 1, x, torch.ones(2, 3, 2), epsilon, still, BY_NAME[norm])


@pytest.mark.parametrize(("norm", "epsilon"), [("l2", 0.4), ("l1", 0.9)])
@pytest.mark.parametrize("bound", [False, True])
def test_attacks_in_l2_and_l1_break_what_can_be_broken_and_stay_inside(norm, epsilon, bound):
    weight = torch.linspace(-1, 1, 12).view(2, 3, 2)
    still = torch.zeros(2, 3, 2, dtype=torch.bool)
    still[1, 2] = bound
    task = linear_task(norm, epsilon, still if bound else None)

    def model(u):
        lead = ((u - 0.5) * weight).sum((1, 2, 3)) + 0.5
        return torch.stack([lead, torch.zeros(len(u))], 1)

    attack = sparse_apgd if norm == "l1" else apgd
    found = attack(model, task, towards, steps=60, width=13)
    x, free = task.x.flatten(1).double(), (~still).flatten().double()
    room = torch.where(weight.flatten() < 0, 1 - x, x) * free
    slope = (weight.flatten().abs() * free).double().expand_as(x)
    fall = steepest_fall(norm, slope.numpy(), room.numpy(), epsilon)
    lead = model(task.x)[:, 0].double().numpy()
    clear = np.abs(lead - fall) > 1e-3
    assert np.array_equal(found.broken.numpy()[clear], (lead - fall <= 0)[clear])
    assert 0.1 < found.broken.float().mean() < 0.9
    move = (found.point - task.x).double().numpy()
    assert not balls.too_far(norm, move, epsilon).any()
    assert ((found.point >= 0) & (found.point <= 1)).all()
    assert (move.reshape(50, 12)[:, (~still).flatten().numpy() == 0] == 0).all()


def steepest_fall(norm, slope, room, epsilon):
    """How much a linear function can fall within ball and box, given its absolute slope and the room (n, d)."""
    if norm == "l1":
        order = np.argsort(-slope, axis=1)
        rooms = np.take_along_axis(room, order, 1)
        spent = np.cumsum(rooms, 1) - rooms
        return (np.take_along_axis(slope, order, 1) * np.clip(epsilon - spent, 0, rooms)).sum(1)
    low, high = np.zeros(len(slope)), np.full(len(slope), 1e6)
    for _ in range(200):
        middle = (low + high) / 2
        inside = (np.minimum(middle[:, None] * slope, room) ** 2).sum(1) <= epsilon**2
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return (slope * np.minimum(low[:, None] * slope, room)).sum(1)


@dataclass
class Countdown(Lanes):
    """Lanes that break when their own number is reached."""

    end: torch.Tensor


@pytest.mark.parametrize("width", [1, 3, 7, 50])
def test_every_lane_runs_its_own_course_whatever_leaves_and_joins_around_it(width):
    ends = torch.randint(1, 12, (40,), generator=torch.Generator().manual_seed(5))
    passed = torch.zeros(40, dtype=torch.int64)

    def admit(rows):
        return Countdown(rows.clone(), torch.zeros_like(rows), torch.zeros(len(rows), 2), ends[rows])

    def advance(lanes):
        assert {int(s) for s in lanes.step} <= lanes.ages
        passed[lanes.row] += 1
        lanes.step += 1
        lanes.best += 1
        return lanes.step >= lanes.end

    found = drive(admit, advance, start=torch.zeros(40, 2), steps=8, width=width)
    assert torch.equal(passed, ends.clamp_max(8))
    assert torch.equal(found.broken, ends <= 8)
    assert torch.equal(found.point, ends.clamp_max(8).float().unsqueeze(1).expand(40, 2))


class Sum:
    """Class 1 where the features sum to more than 1, class 2 where they are all but equal."""

    classes, shape, outputs = 3, (2,), "logits"
    access = frozenset({Access.LABELS, Access.LOGITS})

    def predict(self, x):
        lead = 10 * (x.sum(1) - 1)
        return np.stack([-lead, lead, np.full(len(x), 2.0)], 1).astype(np.float32)


def sum_case(domain=None):
    x = np.array([[0.2, 0.4], [0.3, 0.3], [0.7, 0.9]], np.float32)
    y = np.array([0, 0, 1])
    data = Dataset("d", x.copy(), y.copy(), x, y, ("low", "high", "near"), domain or Domain.unit((2,)))
    return Case(probe=None, of="s", inner=Sum(), data=data, seeds=Seeds(1))


@pytest.mark.parametrize(
    ("norm", "moved"), [("linf", [0.1, 0.1]), ("l2", [0.06, 0.08]), ("l1", [0.1 * 3 / 7, 0.1 * 4 / 7])]
)
def test_the_judge_shortens_a_move_to_the_ball_of_its_norm_and_counts_it(norm, moved):
    at = sum_case()
    x, y = at.data.x_test, at.data.y_test
    changed = x.copy()
    changed[0] += [0.3, 0.4]
    judged = at.verify(x, y, changed, 0.1, norm=norm)
    assert judged.violations == 1
    np.testing.assert_allclose(judged.x[0] - x[0], moved, atol=1e-6)
    np.testing.assert_allclose(judged.distance, [0.1, 0, 0], atol=1e-6)


def test_the_judge_measures_each_feature_by_its_range():
    at = sum_case(Domain(np.array([0, 0], np.float32), np.array([1, 10], np.float32)))
    x, y = at.data.x_test, at.data.y_test
    changed = x + np.array([[0.03, 0.4]], np.float32)
    assert at.verify(x, y, changed, 0.05, norm="l2").violations == 0
    np.testing.assert_allclose(at.verify(x, y, changed, 0.05, norm="l2").distance, 0.05, atol=1e-6)
    assert at.verify(x, y, changed, 0.05, norm="l1").violations == 3


@NORMS
def test_the_judge_rounds_into_the_ball_where_float32_is_coarse_beside_the_range(norm):
    rng, low, span = np.random.default_rng(0), 1000.0, 1.0  # neighbouring numbers are 6e-5 of the range apart
    x, y = (low + span * rng.random((200, 2))).astype(np.float32), np.zeros(200, np.int64)
    domain = Domain(np.full(2, low, np.float32), np.full(2, low + span, np.float32))
    data = Dataset("d", x, y, x, y, ("low", "high", "near"), domain)
    at = Case(probe=None, of="s", inner=Sum(), data=data, seeds=Seeds(1))
    judged = at.verify(x, y, x + rng.normal(size=x.shape), 0.1, norm=norm)
    assert judged.violations > 150
    assert judged.distance.max() <= 0.1
    assert np.median(judged.distance) > 0.0998


def test_only_the_goal_is_a_success_where_there_is_one_and_a_tie_is_none():
    at = sum_case()
    x, y = at.data.x_test, at.data.y_test
    changed = np.array([[0.45, 0.5], [0.6, 0.6], [0.4, 0.3]], np.float32)
    assert at.verify(x, y, changed, 0.5).broken.tolist() == [True, True, True]
    assert at.verify(x, y, changed, 0.5, goal=2).broken.tolist() == [True, False, False]
    assert at.verify(x, y, changed, 0.5, goal=1).broken.tolist() == [False, True, False]
    outputs = np.array([[1.0, 1, 0], [0, 1, 0], [np.nan, 1, 0]])
    assert leads(outputs, np.zeros(3, np.int64), 1).tolist() == [np.inf, -1.0, np.inf]


def test_every_pair_of_norms_orders_lengths_as_it_must():
    moves = np.random.default_rng(0).normal(size=(200, 3, 4))
    length = {name: balls.distance(name, moves) for name in ("linf", "l2", "l1")}
    for small, large in itertools.pairwise(("linf", "l2", "l1")):
        assert (length[small] <= length[large] + 1e-12).all()
    np.testing.assert_allclose(length["l2"], np.sqrt((moves**2).sum((1, 2))))
