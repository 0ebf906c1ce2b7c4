"""A case clips, re-predicts and counts, so that a probe cannot over-claim."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, t
from torch import nn

from auditor.dataset import Array, Dataset, Domain
from auditor.errors import ModelError
from auditor.probe import Case, Metric, Outcome, Probe, stratified
from auditor.seeds import Seeds
from auditor.subject import Access, Outputs, margins, predicted_labels, probabilities
from auditor.subjects.torch_subject import TorchSubject


@dataclass(frozen=True, kw_only=True)
class Nothing(Probe):
    """Is anything there?"""

    id: ClassVar[str] = "nothing"
    title: ClassVar[str] = "Nothing"
    family: ClassVar[str] = "none"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("score", "Score", "higher", unit="number", kind="exact"),)

    def run(self, case: Case) -> Outcome:
        return Outcome(())


@dataclass
class Threshold:
    """Class 1 where the first feature is above one half, with a margin of twice the distance; logits on request."""

    classes: int = 2
    shape: tuple[int, ...] = (2,)
    outputs: Outputs = "logits"
    access: frozenset[Access] = frozenset({Access.LABELS})
    seen: list[Array] = field(default_factory=list)

    def predict(self, x: Array) -> Array:
        self.seen.append(x)
        lead = x[:, 0] - 0.5
        return np.stack([-lead, lead], axis=1)


def case(subject: object | None = None, domain: Domain | None = None) -> Case:
    x = np.array([[0.3, 0.5], [0.45, 0.5], [0.6, 0.5], [0.9, 0.5]], np.float32)
    y = np.array([0, 0, 1, 1])
    data = Dataset("d", x.copy(), y.copy(), x, y, ("low", "high"), domain or Domain.unit((2,)))
    return Case(probe=Nothing(), of="s", inner=subject or Threshold(), data=data, seeds=Seeds(1))  # type: ignore[arg-type]


def test_what_leaves_the_ball_is_clipped_counted_and_judged_where_it_was_allowed_to_be() -> None:
    at = case()
    x, y = at.data.x_test, at.data.y_test
    changed = x.copy()
    changed[0, 0] += 0.4  # over the budget: clipped to 0.4, still right
    changed[1, 0] += 0.1  # within: 0.55, broken
    judged = at.verify(x, y, changed, 0.1)
    assert judged.violations == 1
    assert judged.broken.tolist() == [False, True, False, False]
    assert judged.prediction.tolist() == [0, 1, 1, 1]
    np.testing.assert_allclose(judged.distance, [0.1, 0.1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(judged.x[0], [0.4, 0.5], atol=1e-6)


def test_rounding_within_a_millionth_of_the_range_is_no_violation() -> None:
    at = case()
    changed = (at.data.x_test.astype(np.float64) + 0.1 + 5e-7).astype(np.float32)
    assert at.verify(at.data.x_test, at.data.y_test, changed, 0.1).violations == 0
    changed = (at.data.x_test.astype(np.float64) - 0.1 - 5e-6).astype(np.float32)
    assert at.verify(at.data.x_test, at.data.y_test, changed, 0.1).violations == 4


def test_what_leaves_the_domain_is_a_violation_though_it_is_in_the_ball() -> None:
    at = case()
    judged = at.verify(at.data.x_test, at.data.y_test, at.data.x_test + np.array([[0.2, 0]], np.float32), 0.3)
    assert judged.violations == 1
    assert judged.x[3, 0] == 1
    assert judged.distance[3] == pytest.approx(0.1, abs=1e-6)


def test_a_change_that_is_no_number_is_a_violation_and_the_row_stays_as_it_was() -> None:
    at = case()
    changed = at.data.x_test.copy()
    changed[2] = np.nan
    judged = at.verify(at.data.x_test, at.data.y_test, changed, 0.1)
    assert judged.violations == 1
    assert judged.x[2].tolist() == at.data.x_test[2].tolist()
    assert not judged.broken.any()


def test_epsilon_is_in_units_of_each_features_range() -> None:
    domain = Domain(np.array([0, 0], np.float32), np.array([1, 10], np.float32))
    at = case(domain=domain)
    moved = at.data.x_test + np.array([[0, 0.9]], np.float32)
    judged = at.verify(at.data.x_test, at.data.y_test, moved, 0.1)
    assert judged.violations == 0
    np.testing.assert_allclose(judged.distance, 0.09, atol=1e-6)
    assert (
        at.verify(at.data.x_test, at.data.y_test, at.data.x_test + np.array([[0.2, 0]], np.float32), 0.1).violations
        == 4
    )


def test_ties_and_answers_that_are_no_numbers_count_as_broken() -> None:
    at = case()
    changed = at.data.x_test.copy()
    changed[1, 0] = 0.5
    assert at.verify(at.data.x_test, at.data.y_test, changed, 0.1).broken.tolist() == [False, True, False, False]

    class Silent(Threshold):
        def predict(self, x: Array) -> Array:
            return np.full((len(x), 2), np.nan, np.float32)

    judged = case(Silent()).verify(at.data.x_test, at.data.y_test, at.data.x_test, 0.1)
    assert judged.broken.all()
    assert judged.prediction.tolist() == [-1, -1, -1, -1]


def test_margins_and_labels_of_outputs_that_are_not_finite() -> None:
    outputs = np.array([[1, 0, np.nan], [np.inf, 0, 0], [-np.inf, 0, 1], [2, 2, 1]])
    assert predicted_labels(outputs).tolist() == [-1, 0, 2, 0]
    assert margins(outputs, np.array([0, 0, 2, 0])).tolist() == [-np.inf, np.inf, 1, 0]


def test_probabilities_are_the_softmax_of_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 30, (5, 4))
    expected = torch.softmax(torch.tensor(logits), dim=1).numpy()
    np.testing.assert_allclose(probabilities(logits, "logits"), expected, rtol=1e-10, atol=1e-300)


def test_logits_that_are_infinite_have_no_probabilities_and_warn_nobody() -> None:
    told = probabilities(np.array([[np.inf, 0.0], [np.inf, np.inf], [-np.inf, 0.0]]), "logits")
    assert np.isnan(told[:2]).all()
    assert told[2].tolist() == [0.0, 1.0]


def test_every_pass_is_counted_forward_and_backward() -> None:
    subject = TorchSubject(nn.Linear(2, 2), classes=2, shape=(2,))
    at = case(subject)
    at.subject.predict(at.data.x_test)
    x = torch.tensor(at.data.x_test, requires_grad=True)
    at.subject.logits(x).sum().backward()
    with torch.no_grad():
        at.subject.logits(x)
    assert (at.counts.forwards, at.counts.backwards) == (12, 4)


def test_a_proportion_has_the_exact_interval() -> None:
    found = case().proportion("score", np.array([True] * 7 + [False] * 3), column=None)
    expected = binomtest(7, 10).proportion_ci(0.95, "exact")
    assert (found.value, found.n, found.kind, found.better) == (0.7, 10, "exact", "higher")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_mean_leaves_out_rows_that_were_not_asked() -> None:
    values = np.array([1.0, np.nan, 2.0, 4.0, np.nan])
    found = case().mean("score", values, column=None)
    half = t.ppf(0.975, 2) * np.std([1, 2, 4], ddof=1) / np.sqrt(3)
    assert (found.value, found.n) == (pytest.approx(7 / 3), 3)
    assert (found.low, found.high) == pytest.approx((7 / 3 - half, 7 / 3 + half))


def test_a_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        case().number("score", float("nan"), None, None, n=1)


def test_a_probe_cannot_report_a_metric_it_did_not_declare() -> None:
    with pytest.raises(AssertionError, match="nothing declares no metric 'other'"):
        case().number("other", 1, None, None, n=1)


def test_a_probe_gets_no_model_that_it_did_not_ask_for() -> None:
    with pytest.raises(ModelError, match="asks for the fit 'x'"):
        case().model("x")


def test_a_stratified_draw_keeps_proportions_and_is_nested() -> None:
    y = np.array([0] * 60 + [1] * 30 + [2] * 10)
    drawn = {k: stratified(y, k, np.random.default_rng(4)) for k in (10, 20, 50)}
    assert np.bincount(y[drawn[10]]).tolist() == [6, 3, 1]
    assert np.bincount(y[drawn[50]]).tolist() == [30, 15, 5]
    assert set(drawn[10]) <= set(drawn[20]) <= set(drawn[50])
    assert stratified(y, 1000, np.random.default_rng(4)).tolist() == list(range(100))


def test_rows_to_attack_are_the_same_for_every_seed() -> None:
    first = case()
    other = Case(probe=first.probe, of="t", inner=first.inner, data=first.data, seeds=Seeds(1, 4))
    assert first.rows(2).tolist() == other.rows(2).tolist()
    assert first.rng().random() != other.rng().random()
