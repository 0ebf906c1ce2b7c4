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

Floats = npt.NDArray[np.float64]


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
    cells = _cells(table)
    cells = cells[:, ~np.isnan(cells).all(axis=0)]
    value = float(np.mean(np.nanmean(cells, axis=1)))
    if bounds is None:
        return _around(value, _spread(_linear(cells)), cells, confidence)
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
    a, b = _cells(table_a), _cells(table_b)
    if a.shape != b.shape:
        raise ValueError(f"tables {a.shape} and {b.shape} are not paired")
    asked = ~(np.isnan(a).all(axis=0) & np.isnan(b).all(axis=0))
    difference = _linear(b[:, asked]) - _linear(a[:, asked])
    reach = 0.0 if bounds is None else bounds[1] - bounds[0]
    spread = _spread(difference, imagined=reach)
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
    spread = _Spread(between, float(np.mean(halves**2)) / (z * z), len(numbers) - 1, math.inf)
    value, half = float(numbers.mean()), spread.half(confidence)
    p_value = spread.p_value(value) if spread.se else None
    return Estimate(
        value, value - half, value + half, spread.se, spread.df(confidence), len(numbers), len(numbers), p_value
    )


def equivalent(estimate: Estimate, delta: float, alpha: float = 0.05) -> bool:
    """Is the difference shown to lie within +-delta? Two one-sided t tests, each at alpha.

    The same as: the interval of confidence 1 - 2 alpha lies within. Schuirmann, J. Pharmacokin. 15 (1987)
    657-680.
    """
    half = t_quantile(1.0 - alpha, estimate.df) * estimate.se
    return -delta < estimate.value - half and estimate.value + half < delta


@dataclass(frozen=True)
class _Spread:
    """The variance of a mean in its two parts, each with the degrees of freedom it is known by."""

    seeds: float
    rows: float
    seeds_df: float
    rows_df: float

    @property
    def se(self) -> float:
        return math.sqrt(self.seeds + self.rows)

    def half(self, confidence: float) -> float:
        """Banerjee's half-width."""
        p = 0.5 + confidence / 2.0
        wide = t_quantile(p, self.seeds_df) ** 2 * self.seeds if self.seeds else 0.0
        return math.sqrt(wide + (t_quantile(p, self.rows_df) ** 2 * self.rows if self.rows else 0.0))

    def df(self, confidence: float) -> float:
        """The degrees of freedom whose t times the standard error is the half-width."""
        parts = self._parts
        if not parts or min(parts) == max(parts):
            return parts[0] if parts else math.inf
        p, wanted = 0.5 + confidence / 2.0, self.half(confidence) / self.se
        # In 1/df the t quantile is nearly a straight line, and rises.
        return _inverse(
            _falling_zero(lambda u: wanted - t_quantile(p, _inverse(u)), 1.0 / max(parts), 1.0 / min(parts))
        )

    def p_value(self, value: float) -> float:
        """One minus the confidence whose half-width just reaches from the value to zero (false position)."""
        parts = self._parts
        if value == 0.0:
            return 1.0
        near, far = (t_two_sided_p(value / self.se, df) for df in (max(parts), min(parts)))
        if far < 1e-12 or near == far:
            return far  # 1 - p is too coarse to invert there, and the fewest degrees of freedom are cautious
        goal = math.log(abs(value))
        return math.exp(
            _falling_zero(
                lambda u: math.log(self.half(-math.expm1(u))) - goal, math.log(max(near, 1e-13)), math.log(far)
            )
        )

    @property
    def _parts(self) -> list[float]:
        return [df for df, part in ((self.seeds_df, self.seeds), (self.rows_df, self.rows)) if part]


def _inverse(u: float) -> float:
    return 1.0 / u if u else math.inf


def _falling_zero(of: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero within low..high, or the end nearer to it (false position)."""
    at_low, at_high = of(low), of(high)
    while high - low > 1e-12 and at_low > 1e-10 and at_high < -1e-10:
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        found = of(middle)
        if abs(found) < 1e-10:
            return middle
        if found > 0.0:
            low, at_low, at_high = middle, found, at_high / 2.0
        else:
            high, at_high, at_low = middle, found, at_low / 2.0
    return low if abs(at_low) < abs(at_high) else high


def _cells(table: npt.ArrayLike) -> Floats:
    cells = np.atleast_2d(np.asarray(table, np.float64))
    if cells.ndim != 2 or not cells.size or np.isnan(cells).all(axis=1).any() or np.isinf(cells).any():
        raise ValueError("a table needs seeds x rows, finite or NaN, and at least one answer of every seed")
    return cells


def _linear(cells: Floats) -> Floats:
    """Fill in rows not asked: each seed's mean plus its rows' pull on it, so that means and variances hold.

    z[s, r] = mean[s] + (R / asked[s]) (y[s, r] - mean[s]), and mean[s] where not asked; y itself where all
    were asked.
    """
    mean = np.nanmean(cells, axis=1, keepdims=True)
    weight = cells.shape[1] / (~np.isnan(cells)).sum(axis=1, keepdims=True)
    return np.asarray(mean + np.where(np.isnan(cells), 0.0, weight * (cells - mean)))


def _spread(table: Floats, imagined: float = 0.0) -> _Spread:
    """The parts of the variance of a table's mean; `imagined` is the value of one more row, in all seeds."""
    seeds, rows = table.shape
    extra = (imagined / rows) ** 2
    if rows == 1 and not extra:
        raise ValueError("one row says nothing of how rows vary")
    row_means, seed_means = table.mean(axis=0), table.mean(axis=1)
    ms_rows = seeds * float(row_means.var(ddof=1)) if rows > 1 else 0.0
    if seeds == 1:
        return _Spread(0.0, ms_rows / rows + extra, 0.0, max(1, rows - 1))
    ms_seeds = rows * float(seed_means.var(ddof=1))
    rest = table - seed_means[:, None] - row_means[None, :] + table.mean()
    ms_rest = float((rest**2).sum()) / ((seeds - 1) * max(1, rows - 1))
    shared = max(0.0, ms_rows - ms_rest) / (seeds * rows) + extra
    if max(ms_seeds, shared * seeds * rows) <= 1e-9 * ms_rest:
        ms_seeds = ms_rest  # all means equal by luck while cells vary: their variance is what is left to go by
    return _Spread(ms_seeds / (seeds * rows), shared, seeds - 1, max(1, rows - 1))


def _of_share(value: float, cells: Floats, confidence: float, bounds: tuple[float, float]) -> Estimate:
    """Wilson's interval of a mean within bounds, at the effective sample size: see `crossed_mean`."""
    low, span = bounds[0], bounds[1] - bounds[0]
    share = (cells - low) / span
    if np.nanmin(share) < -1e-9 or np.nanmax(share) > 1 + 1e-9:
        raise ValueError(f"values from {np.nanmin(cells)} to {np.nanmax(cells)} do not lie within {bounds}")
    seeds, rows = share.shape
    padded = np.hstack([_linear(share), np.broadcast_to([0.0, 1.0], (seeds, 2))])
    spread, middle, z = _spread(padded), float(padded.mean()), normal_quantile(0.5 + confidence / 2.0)
    asked = int((~np.isnan(cells)).sum())
    effective = middle * (1.0 - middle) * (z / spread.half(confidence)) ** 2 * rows / (rows + 2)
    first, last = score_interval(min(1.0, max(0.0, (value - low) / span)), min(effective, asked), confidence)
    df = spread.df(confidence)
    return Estimate(value, low + span * first, low + span * last, span * spread.se, df, seeds, asked)


def _around(value: float, spread: _Spread, cells: Floats, confidence: float, reach: float = 0.0) -> Estimate:
    """The interval around a mean without bounds, and one that is not a point where all cells are equal."""
    seeds, n = len(cells), int((~np.isnan(cells)).sum())
    half = spread.half(confidence)
    if np.nanmin(cells) < np.nanmax(cells):
        return Estimate(value, value - half, value + half, spread.se, spread.df(confidence), seeds, n)
    span = reach or max(1.0, 2.0 * abs(value))
    low, high = unseen_interval(value, cells.shape[1], confidence, (-span, span))
    se = (high - low) / (2.0 * normal_quantile(0.5 + confidence / 2.0))
    return Estimate(value, low, high, se, math.inf, seeds, n)
