"""The variance of a mean over random seeds crossed with random rows, in its two parts, and the t interval of both."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.distributions import t_quantile, t_two_sided_p

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """The variance of a mean in its two parts, each with the degrees of freedom it is known by."""

    seeds: float
    rows: float
    seeds_df: float
    rows_df: float

    @property
    def se(self) -> float:
        """The standard error: of both parts together."""
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


def cells_of(table: npt.ArrayLike) -> Floats:
    """A table of numbers (seeds, rows), checked. Raises ValueError for what is none, or a seed without an answer."""
    cells = np.atleast_2d(np.asarray(table, np.float64))
    if cells.ndim != 2 or not cells.size or np.isnan(cells).all(axis=1).any() or np.isinf(cells).any():
        raise ValueError("a table needs seeds x rows, finite or NaN, and at least one answer of every seed")
    return cells


def linear(cells: Floats) -> Floats:
    """Fill in rows not asked: each seed's mean plus its rows' pull on it, so that means and variances hold.

    z[s, r] = mean[s] + (R / asked[s]) (y[s, r] - mean[s]), and mean[s] where not asked; y itself where all
    were asked.
    """
    mean = np.nanmean(cells, axis=1, keepdims=True)
    weight = cells.shape[1] / (~np.isnan(cells)).sum(axis=1, keepdims=True)
    return np.asarray(mean + np.where(np.isnan(cells), 0.0, weight * (cells - mean)))


def spread_of(table: Floats, imagined: float = 0.0) -> Spread:
    """The parts of the variance of a table's mean; `imagined` is the value of one more row, in all seeds."""
    seeds, rows = table.shape
    extra = (imagined / rows) ** 2
    if rows == 1 and not extra:
        raise ValueError("one row says nothing of how rows vary")
    row_means, seed_means = table.mean(axis=0), table.mean(axis=1)
    ms_rows = seeds * float(row_means.var(ddof=1)) if rows > 1 else 0.0
    if seeds == 1:
        return Spread(0.0, ms_rows / rows + extra, 0.0, max(1, rows - 1))
    ms_seeds = rows * float(seed_means.var(ddof=1))
    rest = table - seed_means[:, None] - row_means[None, :] + table.mean()
    ms_rest = float((rest**2).sum()) / ((seeds - 1) * max(1, rows - 1))
    shared = max(0.0, ms_rows - ms_rest) / (seeds * rows) + extra
    if ms_seeds <= 1e-9 * ms_rest:
        ms_seeds = ms_rest  # seeds whose means are equal by luck while cells vary: what is left to go by
    return Spread(ms_seeds / (seeds * rows), shared, seeds - 1, max(1, rows - 1))
