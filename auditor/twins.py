"""How one model and a variant of it differ: these two models are what is asked about, and their rows the sample."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from auditor.distributions import t_two_sided_p
from auditor.evidence import is_share
from auditor.groups import Member, NotComparableError, table
from auditor.record import Better, Contrast, Coordinate
from auditor.statistics import mean_interval, paired_drop

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Gap:
    """A difference over rows with its interval and p-value."""

    value: float
    low: float
    high: float
    p_value: float


def twin_contrast(
    metric: str,
    at: Mapping[str, Coordinate],
    model: Member,
    variant: Member,
    *,
    delta: float,
    better: Better,
    confidence: float,
) -> Contrast:
    """How much larger is this metric in a variant than in the model it is made of, paired by row?

    It speaks of these two models alone, not of other trainings: no seeds vary. See `gap`.

    Raises:
        NotComparableError: the two were asked different rows, or left no outcomes per row.
    """
    found = gap(*_paired(model, variant), confidence)
    return Contrast(
        metric=metric,
        at=dict(at),
        a=model.group,
        b=variant.group,
        difference=found.value,
        low=found.low,
        high=found.high,
        confidence=confidence,
        pairs=1,
        p_value=found.p_value,
        better=better,
        delta=delta,
    )


def twins_equivalent(model: Member, variant: Member, *, delta: float, alpha: float) -> bool:
    """Is their difference shown to lie within +-delta (two one-sided tests)?

    Raises:
        NotComparableError: as `twin_contrast`.
    """
    found = gap(*_paired(model, variant), 1.0 - 2.0 * alpha)
    return -delta < found.low and found.high < delta


def gap(before: Floats, after: Floats, confidence: float) -> Gap:
    """The mean of after - before over the same rows (n,).

    Of yes and no: Bonett and Price's interval, McNemar's exact test. Of other contributions: the paired t interval and
    test.
    """
    if is_share(before) and is_share(after):
        found = paired_drop(after, before, confidence)
        return Gap(found.value, found.low, found.high, found.p_value)
    differences = after - before
    value = float(differences.mean())
    low, high = mean_interval(differences, confidence, (-1.0, 1.0) if np.abs(differences).max() <= 1.0 else None)
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    p_value = t_two_sided_p(value / error, len(differences) - 1) if error else float(value == 0.0)
    return Gap(value, low, high, p_value)


def _paired(model: Member, variant: Member) -> tuple[Floats, Floats]:
    """The contributions of both in one order of rows, those not asked left out."""
    if not len(model.rows) or not len(variant.rows):
        raise NotComparableError(f"not comparable: {model.subject} or {variant.subject} left no outcomes per row")
    before, after = table([replace(model, seed=0), replace(variant, seed=1)])
    asked = ~np.isnan(before)
    if not np.array_equal(asked, ~np.isnan(after)):
        raise NotComparableError(f"not comparable: {model.subject} and {variant.subject} were asked different rows")
    if asked.sum() < 2:
        raise NotComparableError(f"not comparable: {model.subject} was asked one row, which shows no variation")
    return before[asked], after[asked]
