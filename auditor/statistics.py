"""Intervals, exact paired tests and power: every number of an audit says how far it can be trusted.

numpy and the standard library only, so that a finished audit is judged again in a moment and where scipy is
absent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.crossed import Estimate, crossed_difference, crossed_mean, equivalent
from auditor.distributions import beta_quantile, beta_share, normal_quantile, t_quantile, t_two_sided_p
from auditor.intervals import (
    clopper_pearson,
    mean_interval,
    score_interval,
    tail_probability,
    unseen_interval,
    unseen_share,
    wilson,
)

__all__ = [
    "Auc",
    "Estimate",
    "PairedDrop",
    "auc",
    "beta_quantile",
    "clopper_pearson",
    "crossed_difference",
    "crossed_mean",
    "equivalent",
    "holm",
    "mcnemar_exact",
    "mean_interval",
    "minimum_detectable",
    "normal_quantile",
    "paired_drop",
    "samples_to_settle",
    "score_interval",
    "sign_flip_p",
    "t_quantile",
    "t_two_sided_p",
    "unseen_interval",
    "unseen_share",
    "wilson",
]

Floats = npt.NDArray[np.float64]
FEW_INVERSIONS = 10  # rows in a wrong order, below which their variance says too little


@dataclass(frozen=True, eq=False)
class Auc:
    """How often a positive scores above a negative, with its interval.

    `positive` (n1,) and `negative` (n0,) are each row's contribution: their mean over all n1 + n0 rows is
    `value`, and the variance of that mean is DeLong's (up to n/(n - 1)), so they serve as per-sample columns.
    """

    value: float
    low: float
    high: float
    positive: Floats
    negative: Floats


@dataclass(frozen=True)
class PairedDrop:
    """How much smaller a share became on the same rows, with its interval and the rows that changed."""

    value: float
    low: float
    high: float
    lost: int
    gained: int
    p_value: float


def auc(positive: npt.ArrayLike, negative: npt.ArrayLike, confidence: float = 0.95) -> Auc:
    """How often does a positive (n1,) score above a negative (n0,), ties counting half?

    The interval's variance is that of DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845, found
    through ranks in O(n log n); the interval is symmetric in the log odds, so that it stays in (0, 1). Where
    no contribution varies (value 0 or 1, or scores all equal) the smaller group's rows, each paired with
    another row, are independent trials, all with the same answer, and `unseen_interval` of them is the
    interval; for 0 and 1 that is Clopper-Pearson. Where fewer than ten rows have any part in a wrong order, their
    variance says too little, and the interval is at least Wilson's for a share of the smaller group's rows.

    Raises:
        ValueError: one of the groups is empty, or a score is not finite.
    """
    pos, neg = np.asarray(positive, np.float64).ravel(), np.asarray(negative, np.float64).ravel()
    if not len(pos) or not len(neg) or not (np.isfinite(pos).all() and np.isfinite(neg).all()):
        raise ValueError("an AUC needs finite scores of at least one positive and one negative")
    above, below = _share_below(pos, neg), 1.0 - _share_below(neg, pos)
    value = float(above.mean())
    low, high = _auc_interval(value, above, below, confidence)
    total = len(pos) + len(neg)
    return Auc(
        value,
        low,
        high,
        positive=value + total / len(pos) * (above - value),
        negative=value + total / len(neg) * (below - value),
    )


def mcnemar_exact(b: int, c: int) -> float:
    """How surprising are b changes one way and c the other, were both ways equally likely? Two-sided, exact.

    min(1, 2 P(Binomial(b + c, 1/2) <= min(b, c))); 1 when nothing changed. McNemar, Psychometrika 12 (1947)
    153-157.
    """
    smaller = min(b, c)
    if smaller < 0:
        raise ValueError("counts of changes cannot be negative")
    if b == c:
        return 1.0
    # P(X <= k) of a Binomial(n, 1/2) is I_(1/2)(n - k, k + 1).
    return min(1.0, 2.0 * beta_share(b + c - smaller, smaller + 1.0, 0.5))


def sign_flip_p(differences: npt.ArrayLike) -> float:
    """How surprising is the mean of these paired differences, if each could as well have had the other sign?

    Two-sided and exact over all 2^k flips; with k pairs it cannot be below 2^(1 - k).

    Raises:
        ValueError: no differences, or more than 20 (over a million flips: use a t interval).
    """
    values = np.asarray(differences, np.float64).ravel()
    if not 1 <= len(values) <= 20:
        raise ValueError(f"the exact sign-flip test takes 1 to 20 differences, not {len(values)}")
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    slack = 1e-12 * float(np.abs(values).sum())  # sums that are equal on paper differ by rounding
    return float(np.mean(np.abs(sums) >= abs(float(values.sum())) - slack))


def paired_drop(baseline: npt.ArrayLike, new: npt.ArrayLike, confidence: float = 0.95) -> PairedDrop:
    """How much did a share drop, baseline minus new, on the same rows (N,) of yes and no?

    Positive means that it became less.     Interval of Bonett and Price, J. Educ. Behav. Stat. 37 (2012)
    479-488: one imagined row is lost and one gained, so that it is honest for few or no changes. The p-value
    is McNemar's exact one.

    Raises:
        ValueError: the arrays are empty or differ in length.
    """
    before, after = np.asarray(baseline, bool).ravel(), np.asarray(new, bool).ravel()
    n = len(before)
    if not n or n != len(after):
        raise ValueError("a paired drop needs the same rows, at least one, in both")
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    p_lost, p_gained = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    centre = p_lost - p_gained
    z = normal_quantile(1.0 - tail_probability(confidence))
    half = z * math.sqrt(max(0.0, p_lost + p_gained - centre * centre) / (n + 2))
    return PairedDrop(
        (lost - gained) / n,
        max(-1.0, centre - half),
        min(1.0, centre + half),
        lost,
        gained,
        mcnemar_exact(lost, gained),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Which p-values hold when several are asked at once? Holm's adjusted p-values, in the order given.

    The chance of any false alarm stays below alpha whatever the dependence. Holm, Scand. J. Stat. 6 (1979)
    65-70.
    """
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def minimum_detectable(
    se: float, df: float, alpha: float = 0.05, power: float = 0.8, *, estimated: bool = False
) -> float:
    """Which true difference would be found with this power: se (t(1 - alpha/2, df) + t(power, df)).

    A standard error that was itself `estimated` with these degrees of freedom is too small on average, by sqrt(2 /
    df) gamma((df + 1) / 2) / gamma(df / 2) for normal parts; it is then divided by that. Of one test: Holm's
    adjustment over several asks for more.
    """
    bias = 1.0
    if estimated and math.isfinite(df):
        bias = math.sqrt(2.0 / df) * math.exp(math.lgamma((df + 1.0) / 2.0) - math.lgamma(df / 2.0))
    return se / bias * (t_quantile(1.0 - alpha / 2.0, df) + t_quantile(power, df))


def samples_to_settle(value: float, threshold: float, n: int, half_width: float) -> int | None:
    """How many samples would bring the interval off the threshold, if the value stays?

    The width shrinks as 1/sqrt(n). None when value and threshold are equal: no number would; n itself when
    the interval is off the threshold already.
    """
    distance = abs(value - threshold)
    if distance == 0.0:
        return None
    return n if half_width < distance else math.floor(n * (half_width / distance) ** 2) + 1


def _share_below(scores: Floats, others: Floats) -> Floats:
    """For each score the share of the others below it, ties counting half."""
    ordered = np.sort(others)
    ranks = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    return np.asarray(ranks / (2.0 * len(others)), np.float64)


def _auc_interval(value: float, above: Floats, below: Floats, confidence: float) -> tuple[float, float]:
    smaller = min(len(above), len(below))
    if above.min() == above.max() and below.min() == below.max():
        return unseen_interval(value, smaller, confidence, (0.0, 1.0))
    if smaller == 1:
        return 0.0, 1.0
    variance = float(above.var(ddof=1)) / len(above) + float(below.var(ddof=1)) / len(below)
    half = normal_quantile(1.0 - tail_probability(confidence)) * math.sqrt(variance) / (value * (1.0 - value))
    centre = math.log(value / (1.0 - value))
    low, high = _logistic(centre - half), _logistic(centre + half)
    if min(_inverted(above, below), _inverted(1.0 - above, 1.0 - below)) >= FEW_INVERSIONS:
        return low, high
    floor = score_interval(value, smaller, confidence)  # the variance of so few rows is itself a guess
    return min(low, floor[0]), max(high, floor[1])


def _inverted(above: Floats, below: Floats) -> int:
    """How many rows have any part in a wrong order: the fewer of the two sides."""
    return min(int((above < 1.0).sum()), int((below < 1.0).sum()))


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x > 0.0 else math.exp(x) / (1.0 + math.exp(x))
