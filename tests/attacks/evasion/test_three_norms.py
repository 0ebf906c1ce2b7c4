"""The probes of three norms against closed forms: linear models in ball and box, goals, saved inputs, odd cases."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from auditor.attacks.evasion.l1 import L1
from auditor.attacks.evasion.l2 import L2
from auditor.attacks.evasion.linf import Linf
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError

from .closed_forms import steepest_fall

KINDS = {"linf": Linf, "l2": L2, "l1": L1}
EPSILONS = {"linf": (0.02, 0.05, 0.1), "l2": (0.2, 0.4, 0.8), "l1": (0.5, 1.0, 2.0)}
NORMS = pytest.mark.parametrize("norm", list(KINDS))
CHECKER = Path(__file__).parents[3] / "benchmarks" / "check_adversarials.py"


def exact(norm: str, net: nn.Module, data: Dataset, epsilon: float) -> np.ndarray:
    """Per test row: does a linear classifier stay right wherever the row may go."""
    weight, bias = (p.detach().double().numpy() for p in net[0].parameters())
    robust = np.ones(len(data.y_test), bool)
    for i, (x, y) in enumerate(zip(data.x_test.astype(np.float64), data.y_test, strict=True)):
        for other in set(range(len(bias))) - {int(y)}:
            slope = weight[y] - weight[other]
            robust[i] &= slope @ x + bias[y] - bias[other] > steepest_fall(norm, slope, x, epsilon)
    return robust


@NORMS
def test_a_linear_classifier_gets_its_exact_robust_accuracy_in_ball_and_box(
    norm, linear, digits, torch_subject, attack
):
    run = attack(
        torch_subject(linear, digits),
        digits,
        *EPSILONS[norm],
        kind=KINDS[norm],
        samples=360,
        targets=9,
        target_steps=40,
    )
    for column, epsilon in enumerate(EPSILONS[norm]):
        found = run.outcome.samples.columns["correct"][:, column]
        assert np.array_equal(found, exact(norm, linear, digits, epsilon))
        assert run.robust[epsilon] == pytest.approx(found.mean(), abs=1e-12)
    assert run.robust[EPSILONS[norm][2]] < 0.6 < 0.8 < run.robust[EPSILONS[norm][0]]
    assert not run.doubts


@NORMS
def test_a_ball_that_holds_the_whole_range_leaves_nothing_standing_of_a_model_that_can_be_broken(
    norm, mlp, digits, torch_subject, attack
):
    whole = {"linf": 1.0, "l2": 8.0, "l1": 64.0}[norm]
    run = attack(torch_subject(mlp, digits), digits, whole, kind=KINDS[norm], samples=100)
    assert run.robust[whole] == 0.0
    assert not run.doubts


@pytest.mark.slow
@NORMS
def test_the_batch_size_moves_nothing_and_the_same_seed_gives_the_same_bits(
    norm, hardened, digits, torch_subject, attack
):
    epsilon = {"linf": 0.15, "l2": 0.8, "l1": 2.0}[norm]
    subject = torch_subject(hardened, digits)
    runs = [
        attack(subject, digits, epsilon, kind=KINDS[norm], samples=120, batch_size=size, save=True)
        for size in (512, 512, 64, 1)
    ]
    first, again, *others = (run.outcome.samples.columns for run in runs)
    assert np.array_equal(first["adversarial"], again["adversarial"])
    assert runs[0].outcome.measurements == runs[1].outcome.measurements
    assert 0.1 < first["correct"].mean() < 0.9
    for other in others:
        assert abs(first["correct"].mean() - other["correct"].mean()) <= 0.001


@NORMS
def test_training_on_attacks_helps_and_labels_or_scores_alone_are_never_found_weaker_than_gradients(
    norm, hardened, mlp, digits, torch_subject, attack
):
    epsilon = {"linf": 0.15, "l2": 0.8, "l1": 2.0}[norm]
    plain = attack(torch_subject(mlp, digits), digits, epsilon, kind=KINDS[norm], samples=100)
    hard = attack(torch_subject(hardened, digits), digits, epsilon, kind=KINDS[norm], samples=100)
    if norm != "l1":  # the training moved rows in Linf, and promises nothing where few features change much
        assert hard.robust[epsilon] > plain.robust[epsilon]

    class Blind(nn.Module):
        def forward(self, x):
            return hardened(x.detach())

    blind = attack(torch_subject(Blind(), digits), digits, epsilon, kind=KINDS[norm], samples=100)
    assert blind.counts.backwards == 0
    assert hard.robust[epsilon] - 0.01 <= blind.robust[epsilon] < blind.clean


def three_points(labels=(0, 1, 2)):
    x = np.array([[0.1, 0.5], [0.5, 0.5], [0.9, 0.5]], np.float32)
    y = np.array(labels)
    return Dataset("three", x, y, x, y, ("low", "mid", "high"), Domain.unit((2,)))


def three_bands():
    """Class 0 below 1/3 of the first feature, class 2 above 2/3, class 1 between."""
    net = nn.Sequential(nn.Linear(2, 3))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[-3.0, 0], [0, 0], [3, 0]]))
        net[0].bias.copy_(torch.tensor([1.0, 0, -2]))
    return net


@NORMS
def test_a_goal_is_reached_where_it_is_near_enough_and_no_other_class_counts(norm, torch_subject, attack):
    subject, data = torch_subject(three_bands(), three_points()), three_points()
    any_answer = attack(subject, data, 0.2, 0.25, 0.5, kind=KINDS[norm])
    assert any_answer.robust == {0.2: 2 / 3, 0.25: 0.0, 0.5: 0.0}
    run = attack(subject, data, 0.2, 0.25, 0.5, 0.6, kind=KINDS[norm], goal="high")
    assert run.robust == {}
    assert run.resisted == {0.2: 0.5, 0.25: 0.5, 0.5: 0.5, 0.6: 0.0}
    found = next(m for m in run.outcome.measurements if m.metric == "targeted_robust_accuracy")
    assert (found.n, found.kind, found.better) == (2, "upper-bound", "higher")


def test_a_row_that_is_answered_as_the_goal_from_the_start_has_not_resisted(torch_subject, attack):
    data = three_points((1, 1, 2))
    run = attack(torch_subject(three_bands(), data), data, 0.01, goal="low")
    assert run.resisted == {0.01: 2 / 3}
    assert run.clean == 2 / 3


def test_a_goal_that_is_no_class_or_leaves_no_rows_is_refused(torch_subject, attack):
    data = three_points()
    subject = torch_subject(three_bands(), data)
    with pytest.raises(
        ConfigError, match=r"evasion\.linf: goal 'hgih' is no class; write any, or one of low, mid, high"
    ):
        attack(subject, data, 0.1, goal="hgih")
    with pytest.raises(ConfigError, match="every row that could be attacked is of that class"):
        attack(subject, three_points((1, 1, 1)), 0.1, goal="mid")


@NORMS
def test_one_row_is_attacked_like_many(norm, torch_subject, attack):
    data = Dataset("one", *(three_points().x_test[1:2], np.array([1])) * 2, ("low", "mid", "high"), Domain.unit((2,)))
    run = attack(torch_subject(three_bands(), data), data, 0.1, 0.2, kind=KINDS[norm])
    assert run.robust == {0.1: 1.0, 0.2: 0.0}
    assert run.outcome.measurements[1].n == 1


@NORMS
def test_where_no_row_is_right_nothing_stands_and_nothing_is_attacked(norm, torch_subject, attack):
    data = three_points((1, 2, 0))
    run = attack(torch_subject(three_bands(), data), data, 0.1, kind=KINDS[norm])
    assert (run.clean, run.robust) == (0.0, {0.1: 0.0})
    assert run.counts.backwards == 0


@NORMS
def test_labels_of_one_class_are_attacked_all_the_same(norm, torch_subject, attack):
    data = three_points((1, 1, 1))
    run = attack(torch_subject(three_bands(), data), data, 0.1, 0.2, kind=KINDS[norm])
    assert run.robust == {0.1: 1 / 3, 0.2: 0.0}


@NORMS
def test_ties_and_scores_that_are_no_numbers_off_the_data_are_broken(norm, torch_subject, attack):
    class Torn(nn.Module):
        def __init__(self, beyond):
            super().__init__()
            self.net, self.beyond = three_bands(), beyond

        def forward(self, x):
            on = (x[:, 1:] - 0.5).abs() < 1e-3
            return torch.where(on, self.net(x), torch.full((), self.beyond))

    data = three_points()
    for beyond in (torch.nan, 4.0):
        run = attack(torch_subject(Torn(beyond), data), data, 0.05, kind=KINDS[norm])
        assert run.clean == 1.0
        assert run.robust == {0.05: 0.0}


@pytest.mark.parametrize("kind", [L2, L1])
@pytest.mark.parametrize("text", [0, -0.5, "0", "inf", "nan", float("inf"), "far", "1/0"])
def test_a_radius_that_is_no_distance_is_refused(kind, text):
    with pytest.raises(ConfigError, match=rf"{kind.id}: epsilon .* (must be above 0|is no number)"):
        kind(epsilons=(text,))


def test_radii_above_one_are_distances_in_l2_and_l1_and_epsilons_are_fractions_everywhere():
    assert L2(epsilons=("128/255", 2, "2")).radii == (128 / 255, 2.0)
    assert L1().radii == (12.0,)
    assert L2().radii == (0.5,)


def checker():
    spec = importlib.util.spec_from_file_location("check_adversarials", CHECKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.check


@NORMS
def test_every_saved_input_passes_a_checker_that_knows_nothing_of_us(norm, mlp, digits, torch_subject, attack):
    subject = torch_subject(mlp, digits)
    run = attack(subject, digits, *EPSILONS[norm], kind=KINDS[norm], samples=80, save=True)
    samples = {"row": run.outcome.samples.row, "label": run.outcome.samples.label, **run.outcome.samples.columns}
    assert samples["adversarial"].shape == (80, 64)
    assert checker()(samples, digits.x_test, digits.y_test, subject.predict, norm) == []
    for column, epsilon in enumerate(EPSILONS[norm]):
        assert np.array_equal(samples["broken_at"][:, 0] <= epsilon, ~samples["correct"][:, column])
    stands = np.isinf(samples["broken_at"][:, 0])
    clean = dict(zip(digits.test_rows.tolist(), digits.x_test, strict=True))
    for row, after in zip(samples["row"][stands], samples["adversarial"][stands], strict=True):
        assert np.array_equal(clean[row], after)


def test_the_checker_finds_inputs_that_moved_too_far_left_the_range_or_are_right(mlp, digits, torch_subject, attack):
    subject = torch_subject(mlp, digits)
    run = attack(subject, digits, 0.1, samples=80, save=True)
    samples = {"row": run.outcome.samples.row, "label": run.outcome.samples.label, **run.outcome.samples.columns}
    fell = np.flatnonzero(samples["broken_at"][:, 0] == 0.1)[:3]
    clean = dict(zip(digits.test_rows.tolist(), digits.x_test, strict=True))
    samples["adversarial"] = samples["adversarial"].copy()
    samples["adversarial"][fell[0]] = clean[samples["row"][fell[0]]]
    samples["adversarial"][fell[1], 0] += 0.11
    samples["adversarial"][fell[2], 0] = -0.05
    found = checker()(samples, digits.x_test, digits.y_test, subject.predict, "linf")
    assert f"{samples['row'][fell[0]]}: claimed to be broken and classified rightly" in found
    assert f"{samples['row'][fell[1]]}: moved farther than the epsilon it claims" in found
    assert f"{samples['row'][fell[2]]}: outside the range" in found


def test_nothing_is_saved_unless_asked_for(mlp, digits, torch_subject, attack):
    assert set(attack(torch_subject(mlp, digits), digits, 0.1, samples=20).outcome.samples.columns) == {
        "correct",
        "clean",
    }
