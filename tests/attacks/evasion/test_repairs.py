"""The parts of the repairs against closed forms: estimated slopes, agreement, votes and planted points."""

import numpy as np
import pytest
import torch
from torch import nn

from auditor.attacks.evasion.bench import Bench, Standing
from auditor.attacks.evasion.estimate import Estimate, slopes
from auditor.attacks.evasion.linf import Linf
from auditor.attacks.evasion.planted import plant
from auditor.attacks.evasion.repairs import Repaired, repair
from auditor.attacks.evasion.slopes import Slope, followed, slope_at
from auditor.attacks.evasion.voting import Voting
from auditor.probe import Case
from auditor.seeds import Seeds
from auditor.subject import Access, Counts

from .traps import Around, lying, rounded


def bench(subject, data, epsilon=0.1, rows=64):
    case = Case(Linf(epsilons=(epsilon,)), "toy", subject, data, Seeds(3))
    return Bench.of(case, np.arange(rows), subject.predict(data.x_test[:rows]), 512)


def asked(subject, data, epsilon=0.1):
    on = bench(subject, data, epsilon)
    return slope_at(on, torch.arange(64), on.unit, epsilon)


def test_as_many_pairs_as_there_are_directions_give_the_exact_slope_of_a_linear_model():
    weight = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points, coins = torch.full((3, 8), 0.5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    found = slopes(lambda u: u @ weight, points, coins, torch.ones(8, dtype=torch.float64), reach=0.1, pairs=8)
    assert torch.allclose(found, coins @ weight.T, atol=1e-12)


def test_a_coordinate_without_range_has_no_estimated_slope():
    weight = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    top = torch.tensor([0.0, 1, 1, 1, 1, 1, 1, 1])
    found = slopes(lambda u: u @ weight, torch.zeros(2, 8), torch.ones(2, 5), top, reach=0.1, pairs=64)
    assert (found[:, 0] == 0).all()


def test_estimates_see_over_a_step_and_do_not_depend_on_the_batch(mlp, digits, torch_subject):
    stepped = bench(torch_subject(Around(mlp, rounded(5)), digits), digits)
    view = Estimate.over(stepped.view, 0.25, 64)
    true = torch.autograd.functional.vjp(lambda u: mlp(u), stepped.unit, torch.ones(64, 10))[1]
    slopes_of = [
        torch.autograd.functional.vjp(view.differentiable, stepped.unit[:n], torch.ones(n, 10))[1] for n in (64, 1)
    ]
    cosine = nn.functional.cosine_similarity(true, slopes_of[0])
    assert cosine.median() > 0.7
    assert torch.allclose(slopes_of[0][:1], slopes_of[1], atol=1e-4)


def test_an_honest_gradient_foretells_the_scores(mlp, digits, torch_subject):
    found = asked(torch_subject(mlp, digits), digits)
    assert found.agreement > 0.99
    assert (found.zero, found.unreadable, found.differing, found.doubtful) == (0, 0, 0, False)


@pytest.mark.parametrize(
    ("change", "cosine"), [(torch.neg, -1.0), (lambda g: g * (torch.arange(64) % 2), 0.71), (lambda g: 7 * g, 1.0)]
)
def test_agreement_is_the_cosine_of_what_is_foretold(change, cosine, linear, digits, torch_subject):
    found = asked(torch_subject(Around(linear, lying(change)), digits), digits)
    assert found.agreement == pytest.approx(cosine, abs=0.12)


def test_a_gradient_that_lies_at_some_rows_only_is_given_away_by_their_share(linear, digits, torch_subject):
    lies = (digits.y_test[:64] == 3) | (digits.y_test[:64] == 8)

    class Partly(nn.Module):
        def forward(self, x):
            marked = (x[:, None] == torch.tensor(digits.x_test[:64])[lies]).all(2).any(1, keepdim=True)
            return linear(torch.where(marked, lying(torch.neg)(x), x))

    found = asked(torch_subject(Partly(), digits), digits)
    assert found.agreement > 0.99
    assert found.astray == pytest.approx(lies.mean())
    assert found.doubtful


@pytest.mark.parametrize(("rows", "astray"), [(2, 0.0), (3, 3 / 64)])
def test_two_rows_astray_are_chance_and_three_are_not(rows, astray, linear, digits, torch_subject):
    marks = torch.tensor(digits.x_test[:rows])

    class Partly(nn.Module):
        def forward(self, x):
            return linear(torch.where((x[:, None] == marks).all(2).any(1, keepdim=True), lying(torch.neg)(x), x))

    assert asked(torch_subject(Partly(), digits), digits).astray == pytest.approx(astray)


@pytest.mark.parametrize(
    ("change", "unfelt"),
    [
        (lying(lambda g: g * (torch.arange(64) % 10 != 4)), 6 / 64),
        (lambda x: torch.where(torch.arange(64) % 10 == 4, (x * 16).round() / 16, x), 6 / 64),
        (lambda x: x * (torch.arange(64) % 10 != 4), 0.0),  # not used at all: nothing is hidden
        (lambda x: x.clamp(0.05, 0.95), 0.0),  # a wall at the edge, which one in the ball may leave behind
    ],
)
def test_features_without_a_gradient_that_move_the_scores_are_counted(change, unfelt, linear, digits, torch_subject):
    on = bench(torch_subject(Around(linear, change), digits), digits)
    found = followed(on, torch.arange(64), 0.1, Slope())
    assert found.unfelt == pytest.approx(unfelt)
    assert found.doubtful == (unfelt > 0)


def test_a_vote_is_that_of_the_likeliest_class_and_counts_its_passes(digits, torch_subject):
    class Wavering(nn.Module):
        def forward(self, x):
            seven = torch.rand(len(x)) < 0.8
            return 5 * nn.functional.one_hot(torch.where(seven, 7, 3), 10).float() + 0 * x[:, :1]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        counts = Counts()
        voting = Voting(torch_subject(Wavering(), digits), counts)
        votes = voting.predict(digits.x_test[:40])
        mean = voting.logits(torch.tensor(digits.x_test, requires_grad=True))
        mean.sum().backward()
    assert (votes.argmax(1) == 7).all()
    assert votes.sum(1) == pytest.approx(np.ones(40), abs=1e-5)
    assert votes[:, 7].mean() == pytest.approx(0.8, abs=0.05)
    likely = float(torch.softmax(torch.tensor([5.0] + 9 * [0.0]), 0)[0])
    assert mean[:, 7].mean().item() == pytest.approx(0.8 * likely + 0.2 * (1 - likely) / 9, abs=0.03)
    assert (counts.forwards, counts.backwards) == (24 * 40 + 7 * 360, 7 * 360)
    assert (voting.outputs, Access.LOGITS in voting.access) == ("probabilities", False)


@pytest.mark.parametrize("known", [Slope(agreement=0.1), None])
def test_what_one_epsilon_shows_of_the_gradients_the_next_does_not_take_back(known, mlp, digits, torch_subject):
    on = bench(torch_subject(mlp, digits), digits)
    standing = Standing.before(on, np.zeros(64, bool), on.y)
    repaired = Repaired(Slope(dead=0.9), random=False, clean=torch.arange(64), asked=True, stalled=known)
    repair(on, standing, 0.1, Linf(epsilons=(0.1,), blind_queries=20), repaired)
    assert repaired.tried == 64
    assert repaired.stalled.agreement == (pytest.approx(1, abs=0.05) if known is None else 0.1)


@pytest.mark.parametrize("epsilon", [0.03, 0.2])
def test_every_planted_point_of_a_linear_model_is_found_and_noise_finds_fewer(epsilon, linear, digits, torch_subject):
    found = plant(bench(torch_subject(linear, digits), digits, epsilon), torch.arange(64), epsilon, 20)
    assert found.rows > 56
    assert found.found == found.rows
    assert found.by_noise < found.rows


def test_no_planted_point_is_found_where_the_gradient_is_zero(linear, digits, torch_subject):
    masked = bench(torch_subject(Around(linear, lying(torch.zeros_like)), digits), digits)
    found = plant(masked, torch.arange(64), 0.1, 20)
    assert found.rows > 56
    assert found.found == 0


def test_nothing_can_be_planted_in_scores_that_never_move(digits, torch_subject):
    still = bench(torch_subject(Around(nn.Linear(64, 10), after=lambda z: z * 0), digits), digits)
    assert plant(still, torch.arange(64), 0.1, 20).rows == 0
