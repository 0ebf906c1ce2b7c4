"""Whether a probe's outcome claims only what it declared: a number in another's name must not reach the record."""

import math

import numpy as np

from auditor.errors import UnitError
from auditor.probe import Case, Metric, Outcome, Samples
from auditor.record import Measurement

SLACK = 1e-6  # rounding between a probe's arithmetic and the mean of what it left


def check_claims(outcome: Outcome, case: Case) -> None:
    """Raise UnitError for the first measurement not of this case, not as declared, or not what its samples say."""
    seen: set[object] = set()
    for m in outcome.measurements:
        place = f"{m.probe}.{m.metric}" + "".join(f" {k}={v}" for k, v in sorted(m.at.items()))
        declared = next((d for d in case.probe.metrics if d.name == m.metric), None)
        if declared is None or (m.of, m.probe) != (case.of, case.probe.id):
            raise UnitError(f"{case.probe.id} measured {place} of {m.of}, which is not its to measure")
        if wrong := _unlike(m, declared, case) or _misplaced(m) or _not_in_samples(m, outcome.samples):
            raise UnitError(f"{place}: {wrong}")
        key = (m.metric, tuple(sorted(m.at.items())))
        if key in seen:
            raise UnitError(f"{place} was measured twice")
        seen.add(key)


def _unlike(m: Measurement, declared: Metric, case: Case) -> str | None:
    if (m.better, m.kind) != (declared.better, declared.kind):
        return f"it is declared {declared.kind}, better {declared.better}, and came as {m.kind}, better {m.better}"
    if extra := sorted(set(m.at) - set(declared.at)):
        return f"the metric declares no coordinate {extra[0]!r}"
    if m.confidence != case.confidence:
        return f"its interval is at {m.confidence:g}, the audit asks for {case.confidence:g}"
    if declared.unit == "share" and not -SLACK <= m.value <= 1 + SLACK:
        return f"{m.value:g} is no share"
    return None


def _misplaced(m: Measurement) -> str | None:
    low, high = (m.value if end is None else end for end in (m.low, m.high))
    if m.n < 1 or low > m.value + SLACK * abs(m.value) or high < m.value - SLACK * abs(m.value):
        return f"{m.value:g} of {m.n} samples does not lie in its interval [{low:g}, {high:g}]"
    return None


def _not_in_samples(m: Measurement, samples: Samples | None) -> str | None:
    if m.column is None:
        return None
    name, _, index = m.column.partition(":")
    array = samples.columns.get(name) if samples else None
    if array is None or not index.isdigit() or array.ndim != 2 or int(index) >= array.shape[1]:
        return f"it names the column {m.column!r}, which its samples do not have"
    column = np.asarray(array[:, int(index)], np.float64)
    asked = column[~np.isnan(column)]
    mean = float(asked.mean()) if len(asked) else math.nan
    if not math.isclose(mean, m.value, rel_tol=SLACK, abs_tol=SLACK):
        return f"it is {m.value:g}, and the mean of its samples is {mean:g}"
    return None
