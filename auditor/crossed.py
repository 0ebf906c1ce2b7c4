"""Means and paired differences over random seeds crossed with random rows, their intervals good at few seeds.

Model: y[s, r] = mean + seed[s] + row[r] + rest[s, r], all random. The same rows are asked of every seed, so
their luck does not average out over seeds: a t interval or a bootstrap over seeds alone answers for these
rows only, and covers the truth far less often than it says (benchmarks/coverage.py).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from auditor.distributions import normal_quantile, t_quantile, t_two_sided_p
from auditor.intervals import score_interval, unseen_interval
from auditor.spread import Floats, Spread, cells_of, linear, spread_of

EDGE_HALVINGS = 20


@dataclass(frozen=True)
class Estimate:
    """A mean or a difference with its interval: `value` +- t(df) `se`; that of a share keeps to its bounds.

    `df` is how many degrees of freedom that t must have for the interval's width; `n` counts the cells asked.
    `p_value`, where it was asked for, is two-sided and against zero.
    """

    value: float
    low: float
    high: float
    se: float
    df: float
    seeds: int
    n: int
    p_value: float | None = None


def crossed_mean(table: npt.ArrayLike, confidence: float = 0.95, bounds: tuple[float, float] | None = None) -> Estimate:
    """What would the mean be over other seeds and other rows? Table (seeds, rows), NaN where not asked.

    The value is the mean of the seeds' means. Its variance has two parts, from the mean squares of the
    two-way table: seeds and rest, MS_seed / (S R), with S - 1 degrees of freedom, and rows, (MS_row -
    MS_rest) / (S R), with R - 1. Half-width: sqrt(t(S - 1)^2 seeds + t(R - 1)^2 rows), never below nominal
    coverage for normal parts (Banerjee, Sankhya 22 (1960) 357-358); Satterthwaite's t is narrower and falls
    below nominal.

    With `bounds` (shares: (0, 1)) the interval is Wilson's at the effective sample size of that half-width
    (after Korn and Graubard, Survey Methodology 24 (1998) 193-201). The half-width is then taken with two
    imagined rows, one that never and one that always succeeds, so that success in all cells does not look
    like certainty.

    With one seed, only rows vary: the interval speaks of that one model. Rows not asked count by
    linearisation of the seeds' means. Blind spot: a failure of whole seeds so rare that no seed showed it.

    Raises:
        ValueError: no seed, a seed without an answer, values outside the bounds, or fewer than two rows and
        no bounds.
    """
    cells = cells_of(table)
    cells = cells[:, ~np.isnan(cells).all(axis=0)]
    value = float(np.mean(np.nanmean(cells, axis=1)))
    if bounds is None:
        return _around(value, spread_of(linear(cells)), cells, confidence)
    return _of_share(value, cells, confidence, bounds)


def crossed_difference(
    table_a: npt.ArrayLike, table_b: npt.ArrayLike, confidence: float = 0.95, bounds: tuple[float, float] | None = None
) -> Estimate:
    """How much larger is b's mean than a's, over other seeds and rows? Tables (seeds, rows), paired by both.

    `crossed_mean` of the differences, with a p-value against zero. With `bounds` of the values (shares: (0,
    1)), one imagined row that differs in every seed adds to the variance, so that hardly any change does not
    look like certainty. Differences that are all equal: a share of rows, at most `unseen_share(R)`, may
    differ otherwise.

    Raises:
        ValueError: the tables differ in shape, or as `crossed_mean`.
    """
    a, b = cells_of(table_a), cells_of(table_b)
    if a.shape != b.shape:
        raise ValueError(f"tables {a.shape} and {b.shape} are not paired")
    asked = ~(np.isnan(a).all(axis=0) & np.isnan(b).all(axis=0))
    difference = linear(b[:, asked]) - linear(a[:, asked])
    reach = 0.0 if bounds is None else bounds[1] - bounds[0]
    spread = spread_of(difference, imagined=reach)
    estimate = _around(float(difference.mean()), spread, difference, confidence, reach)
    n = int((~np.isnan(a) & ~np.isnan(b)).sum())
    p_value = spread.p_value(estimate.value) if spread.se else t_two_sided_p(estimate.value / estimate.se, math.inf)
    limit = reach or math.inf
    return replace(estimate, low=max(-limit, estimate.low), high=min(limit, estimate.high), n=n, p_value=p_value)


def value_mean(values: npt.ArrayLike, half_widths: npt.ArrayLike, confidence: float = 0.95) -> Estimate:
    """What is the mean over seeds of numbers (S,) that left no per-row values, only an interval each?

    Seeds vary by t(S - 1); rows by the mean squared half-width (S,) of the seeds' own intervals, as if the
    rows' luck were wholly shared between seeds. Conservative: that luck is partly counted twice. Half-widths
    are zero for numbers that have none.

    Raises:
        ValueError: no values, or one value without a half-width.
    """
    numbers, halves = np.asarray(values, np.float64).ravel(), np.asarray(half_widths, np.float64).ravel()
    if not len(numbers) or (len(numbers) == 1 and halves[0] == 0.0):
        raise ValueError("one value without an interval says nothing of its spread")
    z = normal_quantile(0.5 + confidence / 2.0)
    between = float(numbers.var(ddof=1)) / len(numbers) if len(numbers) > 1 else 0.0
    spread = Spread(between, float(np.mean(halves**2)) / (z * z), len(numbers) - 1, math.inf)
    value, half = float(numbers.mean()), spread.half(confidence)
    p_value = spread.p_value(value) if spread.se else None
    return Estimate(
        value, value - half, value + half, spread.se, spread.df(confidence), len(numbers), len(numbers), p_value
    )


@dataclass(frozen=True)
class Ratio:
    """A share of one mean in another, with its interval."""

    value: float
    low: float
    high: float


def crossed_ratio(
    of: npt.ArrayLike, without: npt.ArrayLike, other: npt.ArrayLike, confidence: float = 0.95, reach: float = 0.0
) -> Ratio | None:
    """What is (of - without) / (of - other) of the means, over other seeds and rows? Tables (seeds, rows), paired.

    The interval is Fieller's (J. Royal Stat. Soc. B 16 (1954) 175-185): the shares r for which the mean of (of -
    without) - r (of - other) is not told from zero by the half-width of `crossed_difference`. `reach` is the width of
    the values' range, 0 without one. None where of - other is not told from zero: every r would do.
    """
    x, w, y = (linear(cells_of(t)) for t in (of, without, other))
    part, whole = x - w, x - y

    def beyond(r: float) -> bool:
        """Is the mean of part - r whole told from zero?"""
        table = part - r * whole
        return abs(float(table.mean())) > spread_of(table, imagined=reach * (1.0 + abs(r))).half(confidence)

    if not abs(float(whole.mean())) > spread_of(whole, imagined=reach).half(confidence):
        return None
    value = float(part.mean()) / float(whole.mean())
    ends = [_edge(beyond, value, way) for way in (-1.0, 1.0)]
    return None if None in ends else Ratio(value, *(end for end in ends if end is not None))


def _edge(beyond: Callable[[float], bool], inside: float, way: float) -> float | None:
    """Where `beyond` begins on this side of a place where it does not; None where it never does."""
    step = next((s for s in (0.01 * 2.0**k for k in range(24)) if beyond(inside + way * s)), None)
    if step is None:
        return None
    low, high = 0.0, step
    for _ in range(EDGE_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if beyond(inside + way * middle) else (middle, high)
    return inside + way * high


def equivalent(estimate: Estimate, delta: float, alpha: float = 0.05) -> bool:
    """Is the difference shown to lie within +-delta? Two one-sided t tests, each at alpha.

    The same as: the interval of confidence 1 - 2 alpha lies within. Schuirmann, J. Pharmacokin. 15 (1987)
    657-680.
    """
    half = t_quantile(1.0 - alpha, estimate.df) * estimate.se
    return -delta < estimate.value - half and estimate.value + half < delta


def _of_share(value: float, cells: Floats, confidence: float, bounds: tuple[float, float]) -> Estimate:
    """Wilson's interval of a mean within bounds, at the effective sample size: see `crossed_mean`."""
    low, span = bounds[0], bounds[1] - bounds[0]
    share = (cells - low) / span
    if np.nanmin(share) < -1e-9 or np.nanmax(share) > 1 + 1e-9:
        raise ValueError(f"values from {np.nanmin(cells)} to {np.nanmax(cells)} do not lie within {bounds}")
    seeds, rows = share.shape
    padded = np.hstack([linear(share), np.broadcast_to([0.0, 1.0], (seeds, 2))])
    spread, middle, z = spread_of(padded), float(padded.mean()), normal_quantile(0.5 + confidence / 2.0)
    asked = int((~np.isnan(cells)).sum())
    effective = middle * (1.0 - middle) * (z / spread.half(confidence)) ** 2 * rows / (rows + 2)
    first, last = score_interval(min(1.0, max(0.0, (value - low) / span)), min(effective, asked), confidence)
    df = spread.df(confidence)
    return Estimate(value, low + span * first, low + span * last, span * spread.se, df, seeds, asked)


def _around(value: float, spread: Spread, cells: Floats, confidence: float, reach: float = 0.0) -> Estimate:
    """The interval around a mean without bounds, and one that is not a point where all cells are equal."""
    seeds, n = len(cells), int((~np.isnan(cells)).sum())
    half = spread.half(confidence)
    if np.nanmin(cells) < np.nanmax(cells):
        return Estimate(value, value - half, value + half, spread.se, spread.df(confidence), seeds, n)
    span = reach or max(1.0, 2.0 * abs(value))
    low, high = unseen_interval(value, cells.shape[1], confidence, (-span, span))
    se = (high - low) / (2.0 * normal_quantile(0.5 + confidence / 2.0))
    return Estimate(value, low, high, se, math.inf, seeds, n)
