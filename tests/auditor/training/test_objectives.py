"""Objectives: rows move where they should, losses are the papers', and the defence helps against the real attack."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.functional import cross_entropy, softmax

from auditor.attacks.evasion.linf import Linf
from auditor.constraints import Constraints
from auditor.dataset import Dataset, Domain
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.probe import Case
from auditor.recipe import Dp, Fit, Pgd, Recipe, Standard, Trades
from auditor.seeds import Seeds
from auditor.subjects.torch_subject import TorchSubject
from auditor.training.loop import fit, parts
from auditor.training.objectives import Ball, loss_of
from auditor.training.steps import chosen

EPSILON = 0.1


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load(DataConfig(source="digits"), tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (np.eye(3)[y] + 0.05 * rng.normal(size=(90, 3))).clip(0, 1).astype(np.float32)
    return Dataset("blobs", x[:60], y[:60], x[60:], y[60:], ("a", "b", "c"), Domain.unit((3,)))


@pytest.fixture
def uneven():
    """Four features: of ranges 1 and 10, one constant, one that nobody can change."""
    low, high = np.array([0, -5, 2, 0], np.float32), np.array([1, 5, 2, 1], np.float32)
    return Domain(low, high, constraints=Constraints(immutable=(3,)))


@pytest.fixture
def linear():
    net = nn.Linear(4, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, -0.2, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]]))
        net.bias.zero_()
    return net


ROWS = torch.tensor([[0.5, 0.0, 2.0, 0.5], [0.95, 4.9, 2.0, 1.0]])
LABELS = torch.tensor([0, 1])
WORST = torch.tensor([[0.4, 1.0, 2.0, 0.5], [1.0, 3.9, 2.0, 1.0]])  # at epsilon 0.1, by hand


def draws():
    return torch.Generator().manual_seed(0)


def trained(data, objective, *, seed=0, rate=0.1, holdout=None, **changes):
    given = {"architecture": "mlp", "optimizer": "sgd", "epochs": 3, "batch_size": 16, **changes}
    return fit(
        Fit(recipe=Recipe(objective=objective, **given), holdout=holdout),
        data,
        seeds=Seeds(7, seed),
        learning_rate=rate,
    )


def test_rows_climb_to_the_worst_corner_of_ball_and_domain_and_still_features_stay(uneven, linear):
    ball = Ball.of(uneven, EPSILON, 7, None)
    moved = ball.ascend(ROWS, ROWS.clone(), lambda x: cross_entropy(linear(x), LABELS, reduction="sum"))
    torch.testing.assert_close(moved, WORST)


def test_the_loss_of_pgd_is_the_cross_entropy_at_that_corner(uneven, linear):
    logits = WORST @ torch.tensor([1.0, -0.2, 3.0, 2.0])  # of class 0; class 1 has 0
    expected = (torch.log1p(torch.exp(-logits[0])) + torch.log1p(torch.exp(logits[1]))) / 2
    found = loss_of(Pgd(epsilon=EPSILON), uneven)(linear, ROWS, LABELS, draws())
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_a_random_start_lies_inside_the_ball_and_moves_no_still_feature(uneven, linear):
    ball = Ball.of(uneven, EPSILON, 1, 1e-6)
    seen = []

    def value(x):
        seen.append(x.detach().clone())
        return linear(x).sum()

    start = ROWS + ball.radius * torch.tensor([3.0, -3.0, 1.0, 1.0])
    ball.ascend(ROWS, start, value)
    torch.testing.assert_close(seen[0], torch.tensor([[0.6, -1.0, 2.0, 0.5], [1.0, 3.9, 2.0, 1.0]]))


def test_moving_rows_touches_no_gradient_of_a_parameter(uneven, linear):
    Ball.of(uneven, EPSILON, 3, None).ascend(ROWS, ROWS.clone(), lambda x: linear(x).sum())
    assert linear.weight.grad is None
    assert linear.bias.grad is None


def test_whole_numbers_and_categories_stay_where_the_ball_is_narrower_than_one(linear):
    domain = Domain.unit((4,))
    held = Domain(domain.low, domain.high, constraints=Constraints(integer=(0,), one_hot=((1, 2),)))
    assert Ball.of(held, 0.1, 1, None).radius.tolist() == pytest.approx([0, 0, 0, 0.1])


def test_the_loss_of_trades_is_cross_entropy_plus_beta_times_the_divergence_at_a_corner(linear):
    domain = Domain.unit((4,))
    x, y = torch.tensor([[0.5, 0.5, 0.5, 0.5]]), torch.tensor([0])
    weights = torch.tensor([1.0, -0.2, 3.0, 2.0])
    clean = softmax(linear(x).detach(), 1)[0].double()
    apart = []
    for sign in (1, -1):  # both corners are maxima of the divergence
        moved = softmax(linear(x + sign * EPSILON * weights.sign()).detach(), 1)[0].double()
        apart.append(float((clean * (clean / moved).log()).sum()))
    found = float(loss_of(Trades(epsilon=EPSILON, beta=6.0), domain)(linear, x, y, draws()).detach())
    expected = [float(-clean[0].log()) + 6 * a for a in apart]
    assert min(abs(found - e) for e in expected) < 1e-5


class Noting(nn.Module):
    """Says in which modes it was asked."""

    def __init__(self):
        super().__init__()
        self.net, self.modes = nn.Linear(4, 2), []

    def forward(self, x):
        self.modes.append(self.training)
        return self.net(x)


def test_pgd_moves_rows_in_training_mode_and_trades_in_evaluation_mode_as_their_papers_do():
    domain, net = Domain.unit((4,)), Noting()
    loss_of(Pgd(epsilon=0.1, steps=2), domain)(net.train(), ROWS[:, :4], LABELS, draws())
    assert net.modes == [True, True, True]
    net.modes.clear()
    loss_of(Trades(epsilon=0.1, steps=2), domain)(net.train(), ROWS[:, :4], LABELS, draws())
    assert net.modes == [False, False, False, True, True]
    assert net.training


@pytest.mark.parametrize("objective", [Pgd(), Trades(), Dp(noise_multiplier=1)], ids=lambda o: o.name)
def test_the_same_fit_gives_the_same_bits_and_another_seed_others(blobs, objective):
    first, again, other = (trained(blobs, objective, seed=s).state for s in (0, 0, 1))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["net.1.weight"], other["net.1.weight"])


@pytest.mark.parametrize("objective", [Pgd(), Dp(noise_multiplier=1)], ids=lambda o: o.name)
def test_paired_trainings_draw_the_same_whatever_the_optimizer(objective):
    def streams(optimizer):
        steps = chosen(
            Recipe(architecture="mlp", optimizer=optimizer, epochs=1, objective=objective),
            Domain.unit((3,)),
            60,
            Seeds(7, 3),
        )
        noise = steps.noise if isinstance(objective, Dp) else steps.craft
        return [rows.tolist() for rows in steps.epoch()], noise.initial_seed()

    assert streams("sgd") == streams("adamw")


def test_every_pass_of_pgd_is_counted_as_by_hand(blobs):
    found = trained(blobs, Pgd(steps=3), epochs=2, kwargs={"hidden": [5]})
    forward = 2 * (3 * 5 + 5 * 3)
    attack = 3 * 2 * forward  # of each step, forward and back to the inputs
    step = forward + forward + 2 * 5 * 3  # forward, back to the weights and to the hidden layer
    assert found.flops == 2 * 60 * (attack + step)


def test_the_held_back_loss_is_what_the_objective_minimises(blobs):
    robust, plain = (trained(blobs, o, holdout=0.25, epochs=4) for o in (Pgd(epsilon=0.3, steps=20), Standard()))
    held = parts(Fit(recipe=Recipe(architecture="mlp", optimizer="sgd", epochs=1), holdout=0.25), blobs, Seeds(7, 0))
    x, y = torch.tensor(held.x_holdout), torch.tensor(held.y_holdout)
    with torch.no_grad():
        clean = float(cross_entropy(robust.trained(x), y))
    worst = loss_of(Pgd(epsilon=0.3, steps=200), blobs.domain)(robust.trained, x, y, draws())
    assert robust.holdout_loss > 1.5 * clean
    assert robust.holdout_loss == pytest.approx(float(worst.detach()), rel=0.05)
    with torch.no_grad():
        assert plain.holdout_loss == pytest.approx(float(cross_entropy(plain.trained(x), y)), rel=1e-5)


def test_pgd_that_diverges_is_told_and_is_no_model(blobs):
    found = trained(blobs, Pgd(), rate=1e30, epochs=5)
    assert found.diverged_at is not None
    assert found.state == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("pgdd", "unknown objective 'pgdd'; did you mean 'pgd'?"),
        ({"name": "pgd", "epsilonn": 0.1}, "unknown key of the objective pgd 'epsilonn'; did you mean 'epsilon'?"),
        ({"name": "pgd", "eps": 0.1}, "unknown key of the objective pgd 'eps'; did you mean 'epsilon'?"),
        ({"name": "pgd", "beta": 6}, "unknown key of the objective pgd 'beta'; known: epsilon, name, step, steps"),
        ({"name": "pgd", "epsilon": 8}, "at most 1: write 8/255 for 8 grey levels"),
        ({"name": "pgd", "epsilon": 0}, "greater than 0"),
        ({"name": "pgd", "steps": 0}, "greater than or equal to 1"),
        ({"epsilon": 0.1}, "an objective is a name, or a mapping that has one"),
        (3, "an objective is a name, or a mapping that has one"),
        ("dp", "dp needs either noise_multiplier or the epsilon to spend, and not both"),
        ({"name": "dp", "epsilon": 8, "noise_multiplier": 1}, "either noise_multiplier or the epsilon to spend"),
        ({"name": "dp", "epsilon": math.inf}, "finite number"),
        ({"name": "dp", "epsilon": 1, "delta": 1}, "less than 1"),
    ],
)
def test_an_objective_that_makes_no_sense_is_refused_with_advice(given, said):
    with pytest.raises(ValidationError) as refused:
        Recipe(optimizer="sgd", epochs=1, objective=given)
    assert said in str(refused.value)


def test_an_objective_may_be_a_name_alone_or_a_fraction_and_survives_json():
    assert Recipe(optimizer="sgd", epochs=1, objective="trades").objective == Trades()
    recipe = Recipe(optimizer="sgd", epochs=1, objective={"name": "pgd", "epsilon": "8/255"})
    assert recipe.objective == Pgd(epsilon=8 / 255)
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def audited(data, objective, *, seed, optimizer, rate, samples):
    """Clean and robust accuracy by the probe evasion.linf itself."""
    found = trained(
        data, objective, seed=seed, optimizer=optimizer, rate=rate, epochs=20, batch_size=64, schedule="cosine"
    )
    subject = TorchSubject(found.trained, classes=len(data.classes), shape=data.shape)
    probe = Linf(epsilons=(EPSILON,), samples=samples, self_test=False)
    case = Case(probe=probe, of="m", inner=subject, data=data, seeds=Seeds(7, seed))
    return {m.metric: m.value for m in probe.run(case).measurements}


def test_both_defences_raise_robust_accuracy_by_more_than_ten_points(digits):
    standard, pgd, trades = (
        audited(digits, o, seed=0, optimizer="sgd", rate=0.16, samples=200)
        for o in (Standard(), Pgd(epsilon=EPSILON), Trades(epsilon=EPSILON))
    )
    for defended in (pgd, trades):
        assert defended["robust_accuracy"] > standard["robust_accuracy"] + 0.1
        assert defended["clean_accuracy"] > 0.93


@pytest.mark.slow
def test_a_sample_of_defences_holds_for_every_seed_and_optimizer(digits):
    for optimizer, rate in (("sgd", 0.16), ("adamw", 0.016)):
        for seed in range(3):
            standard, pgd = (
                audited(digits, o, seed=seed, optimizer=optimizer, rate=rate, samples=360)
                for o in (Standard(), Pgd(epsilon=EPSILON))
            )
            assert pgd["robust_accuracy"] > standard["robust_accuracy"] + 0.1
