"""Where two groups are not equally accurate: their difference among runs that match, or beside a regression."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor.ablations import VARIANT
from auditor.contrast import Member, NotComparableError, contrast, shown_equivalent
from auditor.distributions import t_quantile
from auditor.groups import bounds_of, by_seed, have_rows
from auditor.plan import PlannedSubject
from auditor.record import Contrast, Coordinate, Matched
from auditor.spread import Floats, linear, spread_of

LEAST_PAIRS = 3
ACCURACY = "accuracy.accuracy"

Members = Callable[[str, Mapping[str, Coordinate], str], Sequence[Member] | None]


@dataclass(frozen=True)
class Runs:
    """The trainings of an audit: what was measured of a group, and what a unit says, if it is finished."""

    groups: Mapping[str, Sequence[PlannedSubject]]
    members: Members  # of a metric, at these coordinates, in a group
    finished: Callable[[str | None], Mapping[str, Any] | None]
    alpha: float

    def matched(self, one: Contrast) -> Contrast:
        """The contrast with what can be said of it at equal accuracy, where its groups' accuracies are not equal.

        Nothing for a contrast that is judged without equal accuracy: of accuracy itself, of a variant, or of trainings
        that minimise different things; nor for one of two models, which have no runs.
        """
        if one.accuracy_equivalent is not False or one.pairs < 2 or not self._alike(one):
            return one
        sides = [self.members(one.metric, one.at, group) for group in (one.a, one.b)]
        clean = [self.members(ACCURACY, {}, group) for group in (one.a, one.b)]
        if not all(sides) or not all(clean):
            return one
        (a, b), (clean_a, clean_b) = ([list(side or ()) for side in both] for both in (sides, clean))
        kept = matched_seeds(self._held_back(one.a), self._held_back(one.b), one.delta or 0.0)
        try:
            found = _subset(one, kept, (a, b), (clean_a, clean_b), self.alpha) if kept else None
            found = found or regression(a, b, clean_a, clean_b, one.confidence)
        except NotComparableError:
            return one
        return one.model_copy(update={"matched": found})

    def _alike(self, one: Contrast) -> bool:
        aims = [{s.recipe.objective if s.recipe else None for s in self.groups.get(g, ())} for g in (one.a, one.b)]
        return one.metric != ACCURACY and VARIANT not in one.b and aims[0] == aims[1]

    def _held_back(self, group: str) -> dict[int, float]:
        """By seed, the last accuracy on held-back rows of the same training without them, where it was watched."""
        said = {s.seed: self.finished(s.watched) for s in self.groups.get(group, ()) if s.seed is not None}
        looks = {seed: one["looks"] for seed, one in said.items() if one and one.get("looks")}
        return {seed: float(seen[-1]["accuracy"]) for seed, seen in looks.items()}


def matched_seeds(a: Mapping[int, float], b: Mapping[int, float], within: float) -> frozenset[int]:
    """Which seeds made runs of both groups whose accuracies on held-back rows differ by at most `within`?

    Nothing but rows held back from training chooses, so that the test rows' luck has no part in it. Empty where
    fewer than three seeds are left.
    """
    found = frozenset(seed for seed in a.keys() & b.keys() if abs(a[seed] - b[seed]) <= within)
    return found if len(found) >= LEAST_PAIRS else frozenset()


def regression(
    a: Sequence[Member], b: Sequence[Member], clean_a: Sequence[Member], clean_b: Sequence[Member], confidence: float
) -> Matched | None:
    """How much larger is a metric in b than in a, beside what goes with accuracy from run to run?

    Analysis of covariance: metric = group + slope x accuracy, over all runs of both groups; the slope is that within
    the groups. The adjusted difference is that of the metric's means less slope times that of the accuracies' means.
    Its variance: the residuals', (2 / S + gap^2 / sum of squares of accuracy within groups), with 2 S - 3 degrees of
    freedom, and that of rows, as in `crossed_difference`.

    None where it would be guessed: fewer than three seeds, accuracies that do not vary within the groups, no accuracy
    that runs of both groups reach, or numbers without answers by row. Blind spot: accuracy is measured on few rows,
    so its slope is found too flat and too little is taken off (docs/statistics.md); no verdict rests on it.
    """
    sides = [by_seed(m) for m in (a, b, clean_a, clean_b)]
    seeds = set.intersection(*({m.seed for m in side} for side in sides))
    kept = [[m for m in side if m.seed in seeds] for side in sides]
    if len(seeds) < LEAST_PAIRS or not all(have_rows(side) for side in kept):
        return None
    bounds = bounds_of([*kept[0], *kept[1]])
    return _adjusted(_over_all_rows(kept), confidence, 0.0 if bounds is None else bounds[1] - bounds[0])


def _over_all_rows(sides: Sequence[Sequence[Member]]) -> list[Floats]:
    """Each side as (seeds, rows), over the rows that any of them was asked; means are kept (see `linear`)."""
    rows = np.unique(np.concatenate([m.rows for side in sides for m in side]))
    tables = []
    for side in sides:
        cells = np.full((len(side), len(rows)), np.nan)
        for line, member in zip(cells, side, strict=True):
            line[np.searchsorted(rows, member.rows)] = member.values
        if np.isnan(cells).all(axis=1).any():
            raise NotComparableError(f"not comparable: no row was asked of a subject of {side[0].group}")
        tables.append(linear(cells))
    return tables


def _adjusted(tables: Sequence[Floats], confidence: float, reach: float) -> Matched | None:
    a, b, clean_a, clean_b = tables
    seeds, rows = a.shape
    y, x = np.stack([a.mean(axis=1), b.mean(axis=1)]), np.stack([clean_a.mean(axis=1), clean_b.mean(axis=1)])
    within_y, within_x = (v - v.mean(axis=1, keepdims=True) for v in (y, x))
    squares, gap = float((within_x**2).sum()), float(x[1].mean() - x[0].mean())
    if squares <= 1e-12 or x.min(axis=1).max() > x.max(axis=1).min():
        return None
    slope = float((within_x * within_y).sum()) / squares
    residual = float(((within_y - slope * within_x) ** 2).sum()) / (2 * seeds - 3)
    by_rows = spread_of(b - a - slope * (clean_b - clean_a), imagined=reach)
    p = 0.5 + confidence / 2.0
    of_seeds = t_quantile(p, 2 * seeds - 3) ** 2 * residual * (2.0 / seeds + gap * gap / squares)
    half = math.sqrt(of_seeds + t_quantile(p, max(1, rows - 1)) ** 2 * by_rows.rows)
    value = float(y[1].mean() - y[0].mean()) - slope * gap
    return Matched(
        by="regression", difference=value, low=value - half, high=value + half, pairs=int(seeds), slope=slope
    )


def _subset(
    one: Contrast,
    kept: frozenset[int],
    sides: tuple[Sequence[Member], Sequence[Member]],
    clean: tuple[Sequence[Member], Sequence[Member]],
    alpha: float,
) -> Matched | None:
    """The contrast over the pairs that match; None where these are not shown to be equally accurate on test rows."""
    delta = one.delta or 0.0
    a, b, clean_a, clean_b = ([m for m in side if m.seed in kept] for side in (*sides, *clean))
    if not shown_equivalent(clean_a, clean_b, delta=delta, alpha=alpha):
        return None
    again = contrast(one.metric, one.at, a, b, alpha=alpha, delta=delta, better=one.better, confidence=one.confidence)
    return Matched(
        by="subset",
        difference=again.difference,
        low=again.low,
        high=again.high,
        pairs=again.pairs,
        p_value=again.p_value,
    )
