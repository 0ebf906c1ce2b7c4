"""The calibration probe against hand computations, scikit-learn, scipy and simulation."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import brier_score_loss, log_loss

from auditor.checks.calibration import Calibration
from auditor.checks.reliability import binned_error, equal_mass, equal_width, fit_temperature
from auditor.errors import ConfigError, UnitError
from auditor.subject import Access


def value(outcome, metric):
    return next(m for m in outcome.measurements if m.metric == metric)


def flags(outcome):
    return {c.flag: c.severity for c in outcome.caveats}


def drawn(rows, seed, scale=1.0, classes=4):
    """Logits whose softmax the labels are drawn from, and these logits times a scale."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(rows, classes))
    p = np.exp(log_softmax(logits, axis=1))
    label = (p.cumsum(1) > rng.random((rows, 1))).argmax(1)
    return logits * scale, label


def test_ten_answers_in_two_bins_give_the_error_computed_by_hand(calibration):
    confidence = np.array([0.9] * 6 + [0.6] * 4)
    right = np.array([1, 1, 1, 1, 1, 0, 0, 0, 1, 1], bool)
    label = np.where(right, 0, 1)
    found = calibration(np.stack([confidence, 1 - confidence], 1), label)
    expected = 0.6 * (0.9 - 5 / 6) + 0.4 * (0.6 - 0.5)
    assert value(found, "ece").value == pytest.approx(expected, abs=1e-7)
    assert value(found, "brier").value == pytest.approx(2 * brier_score_loss(label == 0, confidence), abs=1e-7)
    assert value(found, "nll").value == pytest.approx(log_loss(label == 0, confidence), abs=1e-6)


def test_the_error_over_many_rows_equals_a_plain_loop_over_bins(calibration):
    logits, label = drawn(800, 0, scale=2.0)
    p = np.exp(log_softmax(logits.astype(np.float32).astype(float), axis=1))
    confidence, right = p.max(1), p.argmax(1) == label
    total = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    adaptive = sum(
        len(rows) / 800 * abs(right[rows].mean() - confidence[rows].mean())
        for rows in np.array_split(np.argsort(confidence, kind="stable"), 15)
    )
    found = calibration(logits, label, "logits")
    assert value(found, "ece").value == pytest.approx(total, abs=1e-9)
    assert value(found, "adaptive_ece").value == pytest.approx(adaptive, abs=5e-3)
    assert value(found, "nll").value == pytest.approx(log_loss(label, p), abs=1e-6)


def test_every_value_is_the_mean_of_its_column(calibration):
    found = calibration(*drawn(500, 1, scale=1.5), "logits")
    for measured in found.measurements:
        if measured.metric == "temperature":
            continue
        column = found.samples.columns["contribution"][:, int(measured.column.split(":")[1])]
        assert np.nanmean(column) == pytest.approx(measured.value, abs=1e-12)
        assert (~np.isnan(column)).sum() == measured.n


def test_a_calibrated_subject_is_not_accused(calibration):
    found = calibration(*drawn(1000, 2), "logits")
    assert value(found, "ece").low == 0.0
    assert flags(found) == {"within_noise": "info"}
    temperature = value(found, "temperature")
    assert temperature.low < 1 < temperature.high


def test_an_overconfident_subject_is_caught_and_its_temperature_found(calibration):
    found = calibration(*drawn(1500, 3, scale=3.0), "logits")
    assert value(found, "ece").low > 0.05
    assert flags(found) == {}
    temperature = value(found, "temperature")
    assert temperature.low < 3 < temperature.high
    assert temperature.high - temperature.low < 1
    assert value(found, "scaled_ece").value < value(found, "ece").value / 2
    assert value(found, "scaled_nll").value < value(found, "nll").value


@pytest.mark.parametrize("scale", [0.2, 1.0, 8.0])
def test_the_temperature_is_the_one_that_scipy_finds(scale):
    logits, label = drawn(400, 4, scale=scale)
    logs = log_softmax(logits, axis=1)

    def loss(log_temperature):
        return -log_softmax(logs / np.exp(log_temperature), axis=1)[np.arange(400), label].mean()

    best = minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-10})
    assert fit_temperature(logs, label).value == pytest.approx(np.exp(best.x), rel=1e-5)


def test_rows_that_are_all_right_have_no_best_temperature(calibration):
    label = np.arange(60) % 3
    found = calibration(np.eye(3)[label] * 2.0, label, "logits")
    assert flags(found)["no_temperature"] == "info"
    assert "temperature" not in {m.metric for m in found.measurements}


@pytest.mark.parametrize(("shift", "least"), [(0.0, 0.9), (0.08, 0.85)])
def test_the_interval_covers_the_true_error(shift, least):
    rng, covered = np.random.default_rng(0), 0
    for _ in range(120):
        confidence = rng.beta(8, 0.6, 360) * 0.9 + 0.1
        correct = rng.random(360) < confidence - shift
        found = binned_error(confidence, correct, equal_width(confidence, 15), rng, draws=300)
        covered += found.low <= shift <= found.high
    assert covered / 120 >= least


def test_the_noise_floor_is_the_mean_error_of_calibrated_answers():
    rng = np.random.default_rng(1)
    confidence = rng.beta(3, 1, 400)
    bins = equal_width(confidence, 15)
    draws = [binned_error(confidence, rng.random(400) < confidence, bins, rng, draws=200) for _ in range(150)]
    assert draws[0].floor == pytest.approx(np.mean([d.value for d in draws]), rel=0.08)


def test_bins_are_closed_on_the_right_and_equal_in_rows():
    assert equal_width(np.array([0.0, 0.2, 0.200001, 0.4, 1.0]), 5).tolist() == [0, 0, 1, 1, 4]
    assert np.bincount(equal_mass(np.array([0.3, 0.1, 0.2, 0.9, 0.5, 0.6]), 3)).tolist() == [2, 2, 2]
    assert equal_mass(np.array([0.3, 0.1, 0.2, 0.9]), 2).tolist() == [1, 0, 0, 1]


def test_a_constant_confidence_is_doubted(calibration):
    label = np.arange(90) % 3
    assert flags(calibration(np.full((90, 3), 1 / 3), label))["constant_confidence"] == "suspicious"


def test_rows_without_a_number_are_left_out_and_said_to_be(calibration):
    logits, label = drawn(300, 5)
    logits[:7] = np.nan
    found = calibration(logits, label, "logits")
    assert value(found, "ece").n == 293
    assert flags(found)["non_finite"] == "suspicious"
    logits[:] = np.inf
    with pytest.raises(UnitError, match="none of 300 outputs is finite"):
        calibration(logits, label, "logits")


def test_labels_alone_give_no_calibration(calibration):
    assert Calibration.needs_any == {Access.PROBABILITIES, Access.LOGITS}
    label = np.arange(30) % 3
    with pytest.raises(UnitError, match="labels only"):
        calibration(np.eye(3)[label], label, "labels")


def test_no_bins_are_refused():
    with pytest.raises(ConfigError, match="bins is 0"):
        Calibration(bins=0)
