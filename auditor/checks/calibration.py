"""The probe calibration: whether a confidence of 80 % is right 80 % of the time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from auditor.checks.reliability import (
    BinnedError,
    Bins,
    Floats,
    Temperature,
    binned_error,
    brier_scores,
    equal_mass,
    equal_width,
    fit_temperature,
    tempered,
)
from auditor.dataset import Array, Labels
from auditor.errors import ConfigError, UnitError
from auditor.probe import Case, Metric, Outcome, Probe, Samples
from auditor.record import Caveat, Measurement
from auditor.subject import Access, log_probabilities, predicted_labels, probabilities

Binning = Callable[[Floats, int], Bins]


@dataclass(frozen=True, kw_only=True)
class Calibration(Probe):
    """Can the subject's confidence be believed: is it right as often as it says?

    `ece` is the expected calibration error over `bins` of equal width (Naeini, Cooper and Hauskrecht 2015),
    `adaptive_ece` the same over bins of equally many rows, both of the top answer's confidence. `brier` is
    the mean squared distance of the probabilities from the truth (0 to 2), `nll` the mean negative
    log-likelihood. `temperature` is what logits should be divided by, fitted on one half of the rows (Guo et
    al. 2017); `scaled_nll` and `scaled_ece` are what that leaves on the other half. Above 1 it means
    overconfidence. Raises UnitError for a subject that gives labels only.
    """

    id: ClassVar[str] = "calibration"
    title: ClassVar[str] = "Calibration"
    family: ClassVar[str] = "performance"
    needs: ClassVar[frozenset[Access]] = frozenset()
    needs_any: ClassVar[frozenset[Access]] = frozenset({Access.PROBABILITIES, Access.LOGITS})
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("ece", "Expected calibration error", "lower", headline=True),
        Metric("adaptive_ece", "Expected calibration error, bins of equal rows", "lower"),
        Metric("brier", "Brier score", "lower", unit="number"),
        Metric("nll", "Negative log-likelihood", "lower", unit="number"),
        Metric("temperature", "Best temperature", "neither", unit="number"),
        Metric("scaled_nll", "Negative log-likelihood after temperature scaling", "lower", unit="number"),
        Metric("scaled_ece", "Expected calibration error after temperature scaling", "lower"),
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Binned errors are too high when rows are few, and hide gaps that cancel inside a bin.",
        "Only the top answer's confidence is binned: the other classes may be misjudged.",
        "Calibration on these rows need not hold for drifted ones.",
    )
    references: ClassVar[Mapping[str, tuple[str, ...]]] = {"nist-ai-rmf": ("MEASURE 2.3", "MEASURE 2.5")}

    bins: int = 15

    def __post_init__(self) -> None:
        if self.bins < 1:
            raise ConfigError(f"{self.id}: bins is {self.bins}; it must be at least 1")

    def run(self, case: Case) -> Outcome:
        """Predict every test row once, and compare confidence with truth."""
        if case.subject.outputs == "labels":
            raise UnitError("the subject gives labels only: there is no confidence to judge")
        outputs = case.subject.predict(case.data.x_test)
        readable = np.isfinite(outputs).all(axis=1)
        if not readable.any():
            raise UnitError(f"none of {len(outputs)} outputs is finite: there is no confidence to judge")
        stated = _stated(case, outputs[readable], np.flatnonzero(readable))
        errors = _Errors(self._error(case, stated, equal_width), self._error(case, stated, equal_mass))
        scaled = self._scaled(case, stated)
        contribution = _columns(len(outputs), stated, errors, scaled)
        samples = Samples(
            case.data.test_rows,
            case.data.y_test,
            predicted_labels(outputs),
            {"contribution": contribution, "score": _spread(len(outputs), stated.rows, stated.confidence)[:, None]},
        )
        return Outcome(
            _measure(case, contribution, errors, scaled), samples, _caveats(stated, errors, scaled, len(outputs))
        )

    def _error(self, case: Case, stated: "_Stated", binning: Binning) -> BinnedError:
        bins = binning(stated.confidence, self.bins)
        return binned_error(stated.confidence, stated.correct, bins, case.rng("bootstrap"), level=case.confidence)

    def _scaled(self, case: Case, stated: "_Stated") -> "_Scaled | None":
        """Temperature from one half of the rows, and what it leaves on the other."""
        fitted = np.isin(stated.rows, case.rows(len(case.data.y_test) // 2))
        if not fitted.any() or fitted.all():
            return None
        found = fit_temperature(stated.logs[fitted], stated.label[fitted], level=case.confidence)
        if found is None:
            return None
        kept = ~fitted
        logs = tempered(stated.logs[kept], 1 / found.value)
        after = _Stated(stated.rows[kept], stated.label[kept], logs, np.exp(logs), stated.correct[kept])
        return _Scaled(found, after, self._error(case, after, equal_width))


@dataclass(frozen=True, eq=False)
class _Stated:
    """What the subject states of the rows it answers: (log-)probabilities (n, K), and which are right."""

    rows: Labels
    label: Labels
    logs: Floats
    probabilities: Floats
    correct: npt.NDArray[np.bool_]

    @property
    def confidence(self) -> Floats:
        """Probability of the top answer (n,)."""
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def losses(self) -> Floats:
        """Negative log-likelihood of each row (n,)."""
        return np.asarray(-self.logs[np.arange(len(self.label)), self.label])


@dataclass(frozen=True)
class _Errors:
    wide: BinnedError
    adaptive: BinnedError


@dataclass(frozen=True, eq=False)
class _Scaled:
    """A temperature, and what it leaves on the rows it was not fitted on."""

    temperature: Temperature
    after: _Stated
    error: BinnedError


def _stated(case: Case, outputs: Array, rows: Labels) -> _Stated:
    label, kind = case.data.y_test[rows], case.subject.outputs
    correct = predicted_labels(outputs) == label
    return _Stated(rows, label, log_probabilities(outputs, kind), probabilities(outputs, kind), correct)


def _spread(count: int, rows: Labels, values: Floats) -> Floats:
    """Values of some rows among all (count,), NaN for rows that were not asked."""
    column = np.full(count, np.nan)
    column[rows] = values
    return column


def _columns(count: int, stated: _Stated, errors: _Errors, scaled: _Scaled | None) -> Floats:
    columns = [
        (stated.rows, errors.wide.contributions),
        (stated.rows, errors.adaptive.contributions),
        (stated.rows, brier_scores(stated.probabilities, stated.label)),
        (stated.rows, stated.losses),
    ]
    if scaled:
        columns += [(scaled.after.rows, scaled.after.losses), (scaled.after.rows, scaled.error.contributions)]
    return np.column_stack([_spread(count, rows, values) for rows, values in columns])


def _measure(case: Case, contribution: Floats, errors: _Errors, scaled: _Scaled | None) -> tuple[Measurement, ...]:
    def binned(metric: str, error: BinnedError, column: int) -> Measurement:
        return case.number(
            metric, error.value, error.low, error.high, n=len(error.contributions), column=f"contribution:{column}"
        )

    found = [
        binned("ece", errors.wide, 0),
        binned("adaptive_ece", errors.adaptive, 1),
        case.mean("brier", contribution[:, 2], column="contribution:2"),
        case.mean("nll", contribution[:, 3], column="contribution:3"),
    ]
    if scaled:
        t = scaled.temperature
        found += [
            case.number("temperature", t.value, t.low, t.high, n=len(contribution) - len(scaled.after.rows)),
            case.mean("scaled_nll", contribution[:, 4], column="contribution:4"),
            binned("scaled_ece", scaled.error, 5),
        ]
    return tuple(found)


def _caveats(stated: _Stated, errors: _Errors, scaled: _Scaled | None, count: int) -> tuple[Caveat, ...]:
    caveats = []
    missing, error = count - len(stated.rows), errors.wide
    if missing:
        caveats.append(
            Caveat(
                flag="non_finite",
                severity="suspicious",
                evidence=f"{missing} of {count} rows have outputs that are not finite and were left out",
            )
        )
    if np.ptp(stated.confidence) < 1e-6:
        caveats.append(
            Caveat(
                flag="constant_confidence",
                severity="suspicious",
                evidence=f"every row has confidence {stated.confidence[0]:.4g}: it ranks nothing",
            )
        )
    if error.value <= error.floor_high:
        caveats.append(
            Caveat(
                flag="within_noise",
                severity="info",
                evidence=f"ECE {error.value:.4f} on {len(stated.rows)} rows; a perfectly "
                f"calibrated subject would show {error.floor:.4f} on average, up to {error.floor_high:.4f}",
            )
        )
    if scaled is None:
        caveats.append(
            Caveat(
                flag="no_temperature",
                severity="info",
                evidence="no temperature is best on the fitting half: all rows right, or empty scores",
            )
        )
    return tuple(caveats)
