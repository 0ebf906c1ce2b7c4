"""Membership: the attack counted by hand, a model that remembers, one that cannot, what misleads it."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from auditor.attacks.privacy.loss_attack import accuracy_gap, membership_score, threshold_at, tied_share
from auditor.attacks.privacy.membership import Membership
from auditor.attacks.privacy.shift import shift_scores
from auditor.attacks.privacy.sides import choose_sides
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError, DataError, ModelError
from auditor.probe import Case
from auditor.recipe import Fit, Recipe
from auditor.seeds import Seeds
from auditor.statistics import auc
from auditor.subjects import wrap
from auditor.training.loop import fit


def dataset(x_train, x_test, y_train=None, y_test=None, classes=2) -> Dataset:
    arrays = [np.asarray(x, np.float32) for x in (x_train, x_test)]
    y = [
        np.arange(len(x)) % classes if given is None else np.asarray(given)
        for x, given in zip(arrays, (y_train, y_test), strict=True)
    ]
    both = np.concatenate(arrays)
    return Dataset(
        id="told",
        x_train=arrays[0],
        y_train=y[0],
        x_test=arrays[1],
        y_test=y[1],
        classes=tuple("abcdef"[:classes]),
        domain=Domain(both.min(axis=0), both.max(axis=0)),
    )


def told(members, others) -> Dataset:
    """Rows (confidence, class sign): `Teller` answers with just that confidence in the true class."""
    sides = []
    for confidence in (members, others):
        y = np.arange(len(confidence)) % 2
        sides.append(np.stack([confidence, 2 * y - 1], axis=1))
    return dataset(*sides)


class Teller(nn.Module):
    """Logits (-c, c) for a row of class 1 with confidence c, (c, -c) for class 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([-x[:, 0] * x[:, 1], x[:, 0] * x[:, 1]], dim=1)


class Rounding(Teller):
    """Gives labels alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).argmax(dim=1)


class Tiring(Teller):
    """Grows less sure with every row it has ever seen."""

    seen = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = super().forward(x) / (self.seen + torch.arange(len(x))[:, None])
        self.seen += len(x)
        return logits


class Broken(Teller):
    """Not a number for sure rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + torch.where(x[:, :1] > 2, torch.nan, 0.0)


def audited(data, model, outputs="logits", seeds=None, **fields):
    probe = Membership(**fields)
    return probe.run(Case(probe, "s", wrap(model, data, outputs), data, seeds or Seeds(2)))


def value(outcome, metric, **at):
    (found,) = [m for m in outcome.measurements if m.metric == metric and m.at == at]
    return found


def flags(outcome):
    return {(c.flag, c.severity) for c in outcome.caveats if c.severity != "info"}


def test_the_score_is_the_log_odds_of_the_true_label():
    p = np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]])
    y = np.array([0, 1])
    expected = [np.log(0.7 / 0.3), np.log(0.25 / 0.75)]
    assert membership_score(np.log(p) + 3, y, "logits").tolist() == pytest.approx(expected, abs=1e-12)
    assert membership_score(p, y, "probabilities").tolist() == pytest.approx(expected, abs=1e-12)


def test_the_score_ranks_as_the_loss_does_and_further():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(0, 3, (200, 5)), rng.integers(0, 5, 200)
    loss = -log_softmax(logits, axis=1)[np.arange(200), y]
    assert (np.argsort(membership_score(logits, y, "logits")) == np.argsort(-loss)).all()
    sure = membership_score(np.array([[50.0, 0.0], [60.0, 0.0]]), np.array([0, 0]), "logits")
    assert sure.tolist() == [50.0, 60.0]


def test_the_threshold_lets_no_more_non_members_pass_than_the_rate_says():
    ten = threshold_at(np.arange(1.0, 201.0), 0.05)
    assert (ten.value, ten.allowed, ten.used, ten.resolved) == (190.0, 10, 10, True)
    partly = threshold_at(np.array([5.0] * 4 + [3.0] * 10 + [1.0] * 86), 0.05)
    assert (partly.value, partly.allowed, partly.used, partly.resolved) == (3.0, 5, 4, True)


def test_ties_or_too_few_rows_leave_a_rate_unresolved():
    assert not threshold_at(np.ones(200), 0.05).resolved
    assert not threshold_at(np.arange(200.0), 0.01).resolved
    assert threshold_at(np.arange(300.0), 0.01).resolved


def test_tied_pairs_are_counted():
    a, b = np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0, 9.0, 9.0])
    assert tied_share(a, b) == (2 * 1 + 1 * 2) / 20


def test_the_gap_has_the_interval_of_newcombes_example():
    """56 of 70 against 48 of 80, method 10 of Newcombe 1998, table II (a): 0.2000 from 0.0524 to 0.3339."""
    gap = accuracy_gap(np.arange(70) < 56, np.arange(80) < 48, 0.95)
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert gap.contribution.mean() == pytest.approx(0.2, abs=1e-12)


def test_four_against_four_known_losses_give_the_auc_counted_by_hand():
    """4 beats all four, 3 beats 2.5, 1.5 and 0.5, 2 beats two and 1 beats one: 10 of 16 pairs."""
    outcome = audited(told([4, 3, 2, 1], [3.5, 2.5, 1.5, 0.5]), Teller())
    assert value(outcome, "auc").value == 10 / 16
    assert value(outcome, "gap").value == 0.0


def test_the_rate_of_members_found_is_counted_exactly():
    """Non-members 1 to 400; at 1 % the bar is 396, and 40 of 400 members lie above it."""
    members = np.where(np.arange(400) < 40, 396.5, 0.5) / 100
    outcome = audited(told(members, np.arange(1, 401) / 100), Teller())
    found = value(outcome, "tpr_at_fpr", fpr=0.01)
    assert (found.value, found.n) == (0.1, 400)
    assert (found.low, found.high) == pytest.approx((0.07239, 0.13370), abs=1e-4)
    assert value(outcome, "tpr_at_fpr", fpr=0.05).value == 0.1


def test_the_smallest_rate_needs_three_thousand_non_members():
    rng = np.random.default_rng(1)
    outcome = audited(told(rng.random(3000) + 1, rng.random(3000) + 1), Teller())
    assert value(outcome, "tpr_at_fpr", fpr=0.001).high < 0.01
    few = audited(told(rng.random(2990) + 1, rng.random(2990) + 1), Teller())
    assert [m for m in few.measurements if m.at == {"fpr": 0.001}] == []
    assert "it needs 3000 non-members, and there are 2990" in few.caveats[-1].evidence


def test_a_net_that_learned_random_labels_by_heart_is_caught():
    rng = np.random.default_rng(3)
    data = dataset(rng.random((400, 10)), rng.random((400, 10)), rng.integers(0, 2, 400), rng.integers(0, 2, 400))
    recipe = Recipe(architecture="mlp", optimizer="adamw", learning_rate=0.01, epochs=60)
    outcome = audited(data, fit(Fit(recipe=recipe), data, seeds=Seeds(2), learning_rate=0.01).trained)
    assert value(outcome, "auc").low > 0.7
    assert value(outcome, "gap").low > 0.3
    assert value(outcome, "tpr_at_fpr", fpr=0.05).low > 0.06
    assert flags(outcome) == set()


@pytest.mark.parametrize("seed", range(4))
def test_a_net_that_saw_no_row_is_not_accused(seed):
    rng = np.random.default_rng(seed)
    data = dataset(rng.random((400, 10)), rng.random((400, 10)))
    torch.manual_seed(seed)
    outcome = audited(data, nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2)))
    found = value(outcome, "auc")
    assert found.low <= 0.5 <= found.high
    assert value(outcome, "tpr_at_fpr", fpr=0.05).low < 0.05
    assert flags(outcome) == set()


def test_a_grown_tree_remembers_and_its_coarse_scores_are_told():
    """Random labels: members are right and sure, half the others sure and wrong: AUC is 1/2 + gap/2."""
    rng = np.random.default_rng(5)
    data = dataset(rng.random((400, 6)), rng.random((400, 6)), rng.integers(0, 2, 400), rng.integers(0, 2, 400))
    tree = DecisionTreeClassifier(random_state=0).fit(data.x_train, data.y_train)
    outcome = audited(data, tree)
    gap = value(outcome, "gap").value
    assert gap > 0.4
    assert value(outcome, "auc").value == pytest.approx(0.5 + gap / 2, abs=1e-12)
    assert flags(outcome) == {("coarse_scores", "suspicious")}
    assert [m for m in outcome.measurements if m.metric == "tpr_at_fpr"] == []


def test_labels_alone_give_the_gap_attack_and_cannot_pass_for_privacy():
    """80 % against 50 % right: AUC is one half plus half the gap."""
    members = np.where(np.arange(200) % 10 < 8, 1.0, -1.0)
    others = np.where(np.arange(200) % 10 < 5, 1.0, -1.0)
    outcome = audited(told(members, others), Rounding(), "labels")
    assert value(outcome, "gap").value == pytest.approx(0.3, abs=1e-12)
    assert value(outcome, "auc").value == pytest.approx(0.65, abs=1e-12)
    assert ("labels_only", "suspicious") in flags(outcome)
    assert {m.metric for m in outcome.measurements} == {"auc", "gap"}


def test_inputs_that_differ_by_themselves_are_told():
    rng = np.random.default_rng(6)
    data = dataset(rng.normal(0.0, 1, (300, 5)), rng.normal(0.6, 1, (300, 5)))
    outcome = audited(data, nn.Sequential(nn.Linear(5, 2)))
    assert flags(outcome) == {("membership_shift", "suspicious")}


def test_a_changed_spread_is_a_shift_too_and_one_distribution_is_none():
    rng = np.random.default_rng(7)
    wide = shift_scores(rng.uniform(0, 1, (300, 8)), rng.uniform(0.2, 0.8, (300, 8)), rng)
    assert auc(wide[:300], wide[300:]).low > 0.6
    flagged = 0
    for _ in range(200):
        scores = shift_scores(rng.random((100, 8)), rng.random((100, 8)), rng)
        flagged += auc(scores[:100], scores[100:], 0.999).low > 0.5
    assert flagged <= 4


def test_answers_that_depend_on_the_order_fail_the_null_control():
    confidence = np.full(300, 2.0)
    outcome = audited(told(confidence, confidence), Tiring())
    assert ("null_control_failed", "suspicious") in flags(outcome)


def test_members_and_non_members_have_equal_class_counts_the_same_for_every_seed():
    rng = np.random.default_rng(8)
    y_train, y_test = np.repeat([0, 1, 2], [100, 30, 5]), np.repeat([0, 1, 2], [20, 40, 10])
    data = dataset(rng.random((135, 2)), rng.random((70, 2)), y_train, y_test, classes=3)
    sides = choose_sides(data, 1000, Seeds(4), "privacy.membership")
    assert np.bincount(y_train[sides.members]).tolist() == np.bincount(y_test[sides.others]).tolist() == [20, 30, 5]
    assert len(choose_sides(data, 35, Seeds(4), "p").members) <= 35
    net = nn.Sequential(nn.Linear(2, 3))
    first, second = (audited(data, net, seeds=Seeds(4, index)) for index in (0, 2))
    assert (first.samples.row == second.samples.row).all()
    assert len(set(first.samples.row.tolist())) == 110


def test_the_mean_of_each_column_is_its_value_and_the_auc_is_scikit_learns():
    rng = np.random.default_rng(9)
    outcome = audited(told(rng.normal(1, 1, 400), rng.normal(0.5, 1, 400)), Teller())
    for m in outcome.measurements:
        array, index = m.column.split(":")
        column = outcome.samples.columns[array][:, int(index)].astype(np.float64)
        assert np.nanmean(column) == pytest.approx(m.value, abs=1e-9)
    scores = outcome.samples.columns["score"][:, 0]
    reference = roc_auc_score(np.repeat([1, 0], 400), scores)
    assert value(outcome, "auc").value == pytest.approx(reference, abs=1e-12)


def test_outputs_that_are_not_numbers_are_an_error():
    with pytest.raises(ModelError, match=r"s: outputs of \d+ of 8 rows are not numbers"):
        audited(told([4, 3, 2, 1], [3.5, 2.5, 1.5, 0.5]), Broken())


def test_classes_on_one_side_only_are_an_error():
    data = dataset(np.zeros((4, 2)), np.ones((4, 2)), [0, 0, 0, 0], [1, 1, 1, 1])
    with pytest.raises(DataError, match="no class has both training and test rows"):
        audited(data, nn.Linear(2, 2))


def test_rates_that_are_no_shares_are_refused():
    with pytest.raises(ConfigError, match=r"privacy\.membership: fprs \[1\.0\]"):
        Membership(fprs=(1.0,))
    with pytest.raises(ConfigError, match="samples is 1"):
        Membership(samples=1)
