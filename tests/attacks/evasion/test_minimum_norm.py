"""Minimum norm against closed forms: how near linear models are broken, the median, its interval, the curve."""

from math import comb

import numpy as np
import pytest
import torch
from torch import nn

from auditor.attacks.evasion.apgd import Task
from auditor.attacks.evasion.fmn import fmn, shortened
from auditor.attacks.evasion.l1 import L1
from auditor.attacks.evasion.l2 import L2
from auditor.attacks.evasion.linf import Linf
from auditor.attacks.evasion.minimum_norm import Nearest, median_interval
from auditor.attacks.evasion.norms import BY_NAME
from auditor.balls import distance
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError

from .closed_forms import steepest_fall

KINDS = {"linf": Linf, "l2": L2, "l1": L1}
EPSILONS = {"linf": (0.02, 0.08, 0.2), "l2": (0.2, 0.4, 0.8), "l1": (0.5, 1.0, 2.0)}
NORMS = pytest.mark.parametrize("norm", list(KINDS))


def wide(weight, bias):
    """A linear classifier of points in the middle of a box so wide that it never binds."""
    net = nn.Sequential(nn.Linear(weight.shape[1], weight.shape[0]))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(weight))
        net[0].bias.copy_(torch.tensor(bias))
    return net


@NORMS
def test_a_linear_model_is_broken_at_its_lead_over_the_dual_norm_of_its_weights(norm):
    draw = np.random.default_rng(0)
    weight, bias = draw.normal(size=(6, 20)).astype(np.float32), draw.normal(size=6).astype(np.float32)
    x = torch.tensor(draw.uniform(40, 60, size=(50, 20)).astype(np.float32))
    net = wide(weight, bias)
    scores = net(x).detach().double().numpy()
    y = scores.argmax(1)
    steep = {
        "linf": lambda w: np.abs(w).sum(-1),
        "l2": lambda w: np.sqrt((w**2).sum(-1)),
        "l1": lambda w: np.abs(w).max(-1),
    }
    away = (scores[np.arange(50), y][:, None] - scores) / np.maximum(steep[norm](weight[y][:, None] - weight), 1e-9)
    away[np.arange(50), y] = np.inf
    kept = away.min(1) < 30
    labels, target = torch.tensor(y), torch.tensor(away.argmin(1))
    task = Task(x, labels, target, x, torch.full((20,), 100.0), 2000.0, None, BY_NAME[norm])
    left = fmn(net, task, steps=60, width=16)
    found = distance(norm, (left.point - x).detach().double().numpy())
    assert kept.sum() > 15
    assert left.broken[torch.tensor(kept)].all()
    np.testing.assert_allclose(found[kept], away.min(1)[kept], rtol=0.01)


@NORMS
def test_a_rows_distance_does_not_depend_on_how_many_are_attacked_at_once(norm, hardened, digits):
    x, y = torch.tensor(digits.x_test[:40]), torch.tensor(digits.y_test[:40])
    target = (y + 1) % 10
    task = Task(x, y, target, x, torch.ones(64), BY_NAME[norm].whole(64), None, BY_NAME[norm])
    found = [BY_NAME[norm].distance(fmn(hardened, task, steps=30, width=w).point - x) for w in (40, 7, 1)]
    again = fmn(hardened, task, steps=30, width=40)
    assert torch.equal(BY_NAME[norm].distance(again.point - x), found[0])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-3, atol=1e-5)


def test_a_row_that_comes_no_nearer_is_left_at_that_and_is_as_near():
    draw = np.random.default_rng(1)
    weight = draw.normal(size=(2, 20)).astype(np.float32)
    net, x = wide(weight, np.zeros(2, np.float32)), torch.tensor(draw.uniform(40, 60, (50, 20)).astype(np.float32))
    lead = (net(x)[:, 0] - net(x)[:, 1]).detach().double().numpy()
    y = torch.tensor((lead < 0).astype(np.int64))
    away = np.abs(lead) / np.abs(weight[0] - weight[1]).sum()
    asked = []

    def counted(points):
        asked.append(len(points))
        return net(points)

    task = Task(x, y, 1 - y, x, torch.full((20,), 100.0), 2000.0, None, BY_NAME["linf"])
    left = fmn(counted, task, steps=300, width=50)
    found = distance("linf", (left.point - x).detach().double().numpy())
    np.testing.assert_allclose(found, away, rtol=0.01)
    assert sum(asked) < 50 * 300 / 4


def test_the_way_back_is_halved_until_the_border(linear, digits):
    x, y = torch.tensor(digits.x_test[:30]), torch.tensor(digits.y_test[:30])
    ok = linear(x).argmax(1) == y
    x, y = x[ok], y[ok]
    wrong = linear(1 - x).argmax(1) != y
    x, y = x[wrong], y[wrong]
    scores, ends = (linear(p).detach().double() for p in (x, 1 - x))
    own, far = scores.gather(1, y[:, None]), ends.gather(1, y[:, None])
    fall = (own - scores) / ((own - scores) - (far - ends))  # where on the way each other class draws level
    fall = fall.scatter(1, y[:, None], torch.inf)
    border = fall.masked_fill(fall < 0, torch.inf).amin(1)
    back = shortened(linear, x, 1 - x, y, width=8, halvings=16)
    share = ((back - x).flatten(1).abs().sum(1) / (1 - 2 * x).abs().sum(1)).double()
    assert len(x) > 10
    torch.testing.assert_close(share, border, rtol=1e-3, atol=1e-3)


@NORMS
def test_the_median_is_that_of_the_closed_form_in_ball_and_box_and_the_curve_agrees_with_it(
    norm, linear, digits, torch_subject, attack
):
    parameters = {"kind": KINDS[norm], "samples": 60, "minimum_norm": 200}
    run = attack(torch_subject(linear, digits), digits, *EPSILONS[norm], **parameters)
    far = run.outcome.samples.columns["distance"][:, 0]
    weight, bias = (p.detach().double().numpy() for p in linear[0].parameters())
    place = {row: i for i, row in enumerate(digits.test_rows.tolist())}
    rows = [place[row] for row in run.outcome.samples.row.tolist()]
    exact = np.array([nearest(norm, weight, bias, digits, i) for i in rows])
    np.testing.assert_allclose(far, exact, rtol=0.01, atol=1e-4)
    median = next(m for m in run.outcome.measurements if m.metric == "median_distance")
    assert median.value == pytest.approx(float(np.median(far)), abs=1e-12)
    assert median.low < float(np.median(exact)) < median.high
    for column, epsilon in enumerate(EPSILONS[norm]):
        rounded = epsilon * (1 + 1e-6)
        assert np.array_equal(run.outcome.samples.columns["correct"][:, column], far > rounded)
    assert not run.doubts


def nearest(norm, weight, bias, data, i):
    """How far a linear model's nearest wrong answer is in ball and box, by bisection."""
    x, y = data.x_test[i].astype(np.float64), int(data.y_test[i])
    lead = weight[y] @ x + bias[y] - weight @ x - bias
    if np.delete(lead, y).min() <= 0:
        return 0.0
    best = {"linf": 1.0, "l2": 8.0, "l1": 64.0}[norm]
    for other in set(range(len(bias))) - {y}:
        slope, low, high = weight[y] - weight[other], 0.0, best
        if steepest_fall(norm, slope, x, high) < lead[other]:
            continue
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if steepest_fall(norm, slope, x, middle) >= lead[other] else (middle, high)
        best = high
    return best


def test_of_many_rows_only_so_many_are_asked_and_those_wrong_from_the_start_are_at_no_distance(
    mlp, digits, torch_subject, attack
):
    run = attack(torch_subject(mlp, digits), digits, 0.05, samples=200, minimum_norm=20, minimum_norm_rows=50)
    far = run.outcome.samples.columns["distance"][:, 0]
    clean = run.outcome.samples.columns["clean"][:, 0]
    asked = ~np.isnan(far)
    assert asked.sum() == 50
    assert np.array_equal(far[asked] == 0, ~clean[asked])
    assert next(m for m in run.outcome.measurements if m.metric == "median_distance").n == 50


def test_it_is_off_unless_asked_for(mlp, digits, torch_subject, attack):
    run = attack(torch_subject(mlp, digits), digits, 0.05, samples=50)
    assert "distance" not in run.outcome.samples.columns
    assert not [m for m in run.outcome.measurements if m.metric == "median_distance"]
    with pytest.raises(ConfigError, match="minimum_norm_rows is 0"):
        Linf(minimum_norm=3, minimum_norm_rows=0)
    with pytest.raises(ConfigError, match="minimum_norm is -1"):
        Linf(minimum_norm=-1)


def test_a_subject_that_only_names_classes_has_distances_from_the_search_by_labels(mlp, digits, torch_subject, attack):
    class Named(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot(mlp(x).argmax(1), 10).float()

    subject = torch_subject(Named(), digits, "labels")
    run = attack(subject, digits, 0.1, samples=40, label_queries=300, minimum_norm=50)
    seen = attack(torch_subject(mlp, digits), digits, 0.1, samples=40, minimum_norm=50)
    far, near = (r.outcome.samples.columns["distance"][:, 0] for r in (run, seen))
    assert np.isfinite(far).all()
    assert (far >= near - 1e-6).mean() > 0.9
    assert np.median(far) < 3 * np.median(near)


def test_where_nothing_breaks_there_is_no_median_and_it_is_said(digits, torch_subject, attack):
    class Constant(nn.Module):
        def forward(self, x):
            return torch.tensor([1.0, 0.0]) + 0 * x[:, :2]

    data = Dataset("one", *([digits.x_test[:40], np.zeros(40, np.int64)] * 2), ("a", "b"), Domain.unit((64,)))
    run = attack(torch_subject(Constant(), data), data, 0.1, minimum_norm=20)
    assert not [m for m in run.outcome.measurements if m.metric == "median_distance"]
    assert "median_beyond_reach" in run.flags
    assert np.isinf(run.outcome.samples.columns["distance"]).all()


def test_rows_that_only_minimum_norm_broke_count_as_broken_and_are_said(digits, hardened, torch_subject, attack):
    weak = {"samples": 300, "cull_steps": 1, "targets": 0, "queries": 0, "self_test": False}
    without = attack(torch_subject(hardened, digits), digits, 0.15, **weak)
    beside = attack(torch_subject(hardened, digits), digits, 0.15, minimum_norm=50, minimum_norm_rows=300, **weak)
    gained = round(300 * (without.robust[0.15] - beside.robust[0.15]))
    assert gained > 3
    assert "minimum_norm_beats_fixed" in beside.doubts
    assert "minimum_norm_beats_fixed" not in without.flags
    evidence = next(c.evidence for c in beside.outcome.caveats if c.flag == "minimum_norm_beats_fixed")
    assert f"broke {gained} of 300 rows" in evidence


def test_where_nothing_stands_distances_are_those_of_the_attack_drawn_in_at_a_small_part_of_the_cost(
    mlp, digits, torch_subject, attack
):
    """None is nearer than what a search from the clean rows finds, nor farther than the radius that broke it."""
    ask = {"samples": 200, "minimum_norm_rows": 200}
    searched = attack(torch_subject(mlp, digits), digits, 0.01, 0.3, minimum_norm=100, **ask)
    drawn = attack(torch_subject(mlp, digits), digits, 0.3, minimum_norm=100, **ask)
    plain = attack(torch_subject(mlp, digits), digits, 0.3, **ask)
    far, near = (r.outcome.samples.columns["distance"][:, 0] for r in (drawn, searched))
    assert drawn.robust[0.3] <= 0.01
    assert "distance_not_searched" in drawn.flags
    assert "distance_not_searched" not in searched.flags
    assert (far[near > 0] <= 0.3 + 1e-6).all()
    assert (far >= 0.97 * near).all()
    assert np.median(far) < 2 * np.median(near)
    assert drawn.counts.forwards - plain.counts.forwards < 14 * 200
    assert drawn.counts.backwards == plain.counts.backwards


def test_a_few_rows_more_are_no_reason_for_doubt():
    few = Nearest(np.zeros((1000, 2), np.float32), np.full(1000, 0.1), [1, 3])
    assert few.caveats() == []
    some = Nearest(np.zeros((1000, 2), np.float32), np.full(1000, 0.1), [1, 4])
    assert [c.flag for c in some.caveats()] == ["minimum_norm_beats_fixed"]


@pytest.mark.parametrize("count", [6, 10, 25, 200])
def test_the_interval_of_a_median_is_that_of_the_binomial(count):
    values = np.arange(1, count + 1, dtype=np.float64)
    low, high = median_interval(values, 0.95)
    inside = sum(comb(count, k) for k in range(int(low), int(high))) / 2**count
    tighter = sum(comb(count, k) for k in range(int(low) + 1, int(high) - 1)) / 2**count
    assert low + high == count + 1
    assert tighter < 0.95 <= inside


def test_five_rows_say_nothing_of_a_median():
    assert median_interval(np.arange(5.0), 0.95) == (0.0, np.inf)
