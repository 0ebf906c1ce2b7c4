"""Bad input to the probes of three norms: the right answer, or a refusal that says what to do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import auditor
from auditor.attacks.evasion.l1 import L1
from auditor.attacks.evasion.l2 import L2
from auditor.attacks.evasion.linf import Linf
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError

KINDS = {"linf": Linf, "l2": L2, "l1": L1}
NORMS = pytest.mark.parametrize("norm", list(KINDS))
WHOLE = {"linf": "1", "l2": "1.41421", "l1": "2"}
CUT = 0.5  # a row of two features is of the class "high" where the first is above it


def half(spread: float = 10.0) -> nn.Module:
    """Two logits that part the first feature at the cut."""
    last = nn.Linear(2, 2)
    with torch.no_grad():
        last.weight.copy_(torch.tensor([[-spread, 0], [spread, 0]]))
        last.bias.copy_(torch.tensor([spread, -spread]) * CUT)
    return nn.Sequential(last)


def points(*first: float, labels: tuple[int, ...] = ()) -> Dataset:
    """Rows of two features, of which the first says the class: low or high."""
    x = np.array([[value, 0.5] for value in first], np.float32)
    y = np.array(labels or [int(value > CUT) for value in first], np.int64)
    return Dataset("points", x, y, x, y, ("low", "high"), Domain.unit((2,)))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (8, "epsilon 8 is outside (0, 1]: a share of each feature's range; write 8/255 for 8 grey levels"),
        (1.5, "epsilon 1.5 is outside (0, 1]: a share of each feature's range; write 1.5/255 for 1.5 grey levels"),
        (0, "epsilon 0 is outside (0, 1]: a share of each feature's range"),
        (-0.1, "epsilon -0.1 is outside (0, 1]: a share of each feature's range"),
        (float("nan"), "epsilon nan is outside (0, 1]: a share of each feature's range"),
        ("8/0", "epsilon '8/0' is no number; write 0.1 or 8/255"),
        ("eight", "epsilon 'eight' is no number; write 0.1 or 8/255"),
        (True, "epsilon True is no number; write 0.1 or 8/255"),
        (None, "epsilon None is no number; write 0.1 or 8/255"),
        ([0.1], r"epsilon [0.1] is no number; write 0.1 or 8/255"),
    ],
)
def test_an_epsilon_that_is_none_is_refused_and_what_was_meant_is_guessed_only_where_it_can_be(value, told):
    with pytest.raises(ConfigError) as refused:
        Linf(epsilons=(value,))
    assert str(refused.value) == f"evasion.linf: {told}"


def test_epsilons_are_asked_in_order_and_once(torch_subject, attack):
    data = points(0.2, 0.45, 0.7, 0.9)
    run = attack(torch_subject(half(), data), data, 0.25, "1/10", 0.25, 0.1)
    assert run.robust == {0.1: 0.75, 0.25: 0.5}
    assert run.outcome.samples.columns["correct"].shape == (4, 2)


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 1.0), ("l2", 1.5), ("l2", 1e6), ("l1", 2.0), ("l1", 12.0)])
def test_at_an_epsilon_as_large_as_the_range_or_larger_nothing_stands_and_it_is_said(
    norm, epsilon, torch_subject, attack
):
    data = points(*np.linspace(0.02, 0.98, 40).tolist())
    run = attack(torch_subject(half(), data), data, epsilon, kind=KINDS[norm])
    assert run.robust == {epsilon: 0.0}
    assert run.doubts == set()
    said = next(c for c in run.outcome.caveats if c.flag == "whole_range")
    assert said.severity == "info"
    assert said.evidence.startswith(
        f"at epsilon {epsilon:g} the ball holds the whole range ({WHOLE[norm]} for 2 features)"
    )


@NORMS
def test_an_epsilon_short_of_the_whole_range_is_not_called_whole(norm, torch_subject, attack):
    data = points(0.2, 0.9)
    assert "whole_range" not in attack(torch_subject(half(), data), data, 0.99, kind=KINDS[norm]).flags


@NORMS
def test_two_classes_get_their_exact_robust_accuracy(norm, torch_subject, attack):
    data = points(0.2, 0.45, 0.7, 0.9)
    run = attack(torch_subject(half(), data), data, 0.1, 0.25, 0.35, kind=KINDS[norm])
    assert run.robust == {0.1: 0.75, 0.25: 0.5, 0.35: 0.25}


@NORMS
def test_a_goal_among_two_classes_is_attacked_from_the_other_alone(norm, torch_subject, attack):
    data = points(0.2, 0.45, 0.7, 0.9)
    run = attack(torch_subject(half(), data), data, 0.1, 0.35, kind=KINDS[norm], goal="high")
    assert run.resisted == {0.1: 0.5, 0.35: 0.0}
    assert next(m.n for m in run.outcome.measurements if m.metric == "targeted_robust_accuracy") == 2


@NORMS
def test_more_samples_than_rows_asks_every_row_once(norm, torch_subject, attack):
    data = points(0.2, 0.45, 0.7, 0.9)
    run = attack(torch_subject(half(), data), data, 0.1, kind=KINDS[norm], samples=10**6, save=True)
    assert run.outcome.samples.columns["adversarial"].shape == (4, 2)


def single_logit(x: np.ndarray) -> nn.Module:
    return nn.Sequential(nn.Linear(x.shape[1], 1))


def test_one_logit_for_two_classes_is_refused_with_how_to_make_two(digits):
    x, y = digits.x_train[:200], (digits.y_train[:200] > 4).astype(np.int64)
    data = {"x_train": x, "y_train": y, "x_test": x[:50], "y_test": y[:50]}
    with pytest.raises(auditor.AuditorError, match=r"expected \(1, 2\): .*two columns"):
        auditor.audit(single_logit(x), data, profile="quick")


@NORMS
@pytest.mark.parametrize("outputs", ["logits", "labels"])
def test_outputs_that_tie_everywhere_stand_nowhere(norm, outputs, torch_subject, attack):
    class Tied(nn.Module):
        def forward(self, x):
            return x.new_zeros(len(x), 2) if outputs == "logits" else torch.zeros(len(x), dtype=torch.int64)

    data = points(0.2, 0.45, 0.7, 0.9)
    run = attack(torch_subject(Tied(), data, outputs), data, 0.1, kind=KINDS[norm])
    if outputs == "logits":
        assert run.robust == {0.1: 0.0}
    else:
        assert run.robust == {0.1: 0.5}  # one answer for all: those of its class are right, and cannot be moved
        assert "labels_only" in run.doubts


@NORMS
def test_a_constant_that_no_attack_can_move_is_never_reliable_with_labels_alone(norm, torch_subject, attack):
    class Low(nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), dtype=torch.int64)

    data = points(*[0.2] * 30)
    assert attack(torch_subject(Low(), data, "labels"), data, 0.1, kind=KINDS[norm]).doubts >= {"labels_only"}


def test_answers_that_are_numbers_nowhere_stand_nowhere(torch_subject, attack):
    class Lost(nn.Module):
        def forward(self, x):
            return x @ torch.full((2, 2), torch.nan)

    data = points(0.2, 0.45, 0.7, 0.9)
    run = attack(torch_subject(Lost(), data), data, 0.1)
    assert run.robust == {0.1: 0.0}
    assert "non_finite" in run.doubts


def test_a_feature_that_is_constant_is_left_alone(torch_subject, attack):
    data = points(0.2, 0.45, 0.7, 0.9)
    domain = Domain(np.array([0, 0.5], np.float32), np.array([1, 0.5], np.float32))
    data = Dataset("flat", data.x_train, data.y_train, data.x_test, data.y_test, data.classes, domain)
    run = attack(torch_subject(half(), data), data, 0.1, 0.25, save=True)
    assert run.robust == {0.1: 0.75, 0.25: 0.5}
    assert (run.outcome.samples.columns["adversarial"][:, 1] == 0.5).all()


@NORMS
def test_rows_that_lie_a_little_outside_their_range_are_attacked_from_its_edge(
    norm, digits, mlp, torch_subject, attack
):
    """A range is checked to 1e-4 of itself; what lies between counts neither as a change nor as a change of mind."""
    x = np.where(digits.x_test == 0, np.float32(-5e-5), digits.x_test)
    outside = replace(digits, x_test=x)
    epsilon = {"linf": 0.05, "l2": 0.3, "l1": 1.0}[norm]
    run = attack(torch_subject(mlp, digits), outside, epsilon, kind=KINDS[norm], samples=100)
    inside = attack(torch_subject(mlp, digits), digits, epsilon, kind=KINDS[norm], samples=100)
    assert run.doubts == set()
    assert abs(run.robust[epsilon] - inside.robust[epsilon]) <= 0.011


def test_epsilons_that_are_no_list_are_refused():
    with pytest.raises(ConfigError, match=r"evasion\.l2: epsilons is '12'; write a list, such as \[12\]"):
        L2(epsilons="12")
    with pytest.raises(ConfigError, match=r"evasion\.linf: epsilons is 0\.1; write a list, such as \[0\.1\]"):
        Linf(epsilons=0.1)
