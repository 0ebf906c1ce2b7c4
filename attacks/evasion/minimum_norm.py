"""How far each row is from being broken: the nearest points found, verified, and what they say of the other attacks."""

from dataclasses import dataclass, field
from math import exp, inf, isfinite, lgamma, log
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from auditor.balls import distance
from auditor.dataset import Array
from auditor.probe import Case
from auditor.record import Caveat, Measurement

from . import sanity
from .bench import Bench, Mask, Standing
from .fmn import fmn, shortened
from .survivors import per_row

if TYPE_CHECKING:
    from .ball import Ball

Distances = npt.NDArray[np.float64]

_STEPS_A_TARGET = 16  # at least: so many bring most rows within 1 % of where they end
_MOST_TARGETS = 4
_MORE_CANDIDATES = 4  # classes beyond those aimed at, whose distance is estimated too
_STRETCH = 1.01  # of a move that rounding made too short
_FEW = 3
_NOTABLE = 0.002  # of the rows


@dataclass(eq=False)
class Nearest:
    """The nearest inputs that break each row: `changed` (n, *shape) as judged, and how far they are (n,).

    A distance is 0 for rows broken without a change, inf where none was found, NaN for rows that were not asked.
    `gains` counts, an entry an epsilon, the rows that broke nearer than that and stood until then. `searched` says
    whether they were searched for, or are what another attack found, drawn towards the clean rows.
    """

    changed: Array
    distance: Distances
    gains: list[int] = field(default_factory=list)
    searched: bool = True

    def carry(self, bench: Bench, standing: Standing, epsilon: float) -> None:
        """Break at this radius the rows that were broken nearer."""
        rows = np.flatnonzero(~standing.broken & (self.distance <= epsilon))
        self.gains.append(len(standing.judge(bench, epsilon, rows, self.changed[rows].astype(np.float64))))

    def least(self, bench: Bench, standing: Standing) -> Distances:
        """The distances (n,), or those of what other attacks broke the rows with, where they are less."""
        domain = bench.case.domain
        found = distance(bench.norm.name, domain.to_unit(standing.changed) - domain.to_unit(bench.x))
        return np.minimum(self.distance, np.where(standing.broken, found, inf))

    def caveats(self) -> list[Caveat]:
        """Did minimum norm break rows that the attacks at a fixed radius had left, and is there a median at all."""
        asked = int((~np.isnan(self.distance)).sum())
        never, most = int((self.distance == inf).sum()), max(self.gains, default=0)
        caveats = []
        if most > max(_FEW, _NOTABLE * len(self.distance)):
            told = f"minimum norm broke {most} of {asked} rows that the attacks at a fixed radius had left: they are "
            told += "counted, but the rows it was not asked, and what both left, may stand for want of a better attack"
            caveats.append(Caveat(flag="minimum_norm_beats_fixed", severity="suspicious", evidence=told))
        if 2 * never >= asked > 0:
            told = f"minimum norm broke {asked - never} of {asked} rows: where half never break there is no median"
            caveats.append(Caveat(flag="median_beyond_reach", severity="info", evidence=told))
        if not self.searched:
            told = (
                "next to nothing stands at the least epsilon: distances are those of the inputs that broke the rows, "
            )
            told += "drawn towards the clean ones; a search would find nearer ones"
            caveats.append(Caveat(flag="distance_not_searched", severity="info", evidence=told))
        return caveats


def found_by_labels(bench: Bench, standing: Standing, wrong: Mask, point: torch.Tensor) -> Nearest:
    """The nearest points (n, *shape) that a search by labels found, the clean row where it found none, judged.

    `wrong` (n,) are the rows that were broken before any attack.
    """
    far = np.where(wrong, 0.0, inf)
    changed, rows = bench.x.copy(), np.flatnonzero(~wrong)
    if len(rows):
        index = torch.as_tensor(rows, device=bench.unit.device)
        changed[rows], far[rows] = _verified(bench, standing, rows, point[index])
    return Nearest(changed, far)


def not_asked(bench: Bench) -> Nearest:
    """No distance of any row."""
    return Nearest(bench.x, np.full(len(bench.x), np.nan))


def nearest_broken(bench: Bench, standing: Standing, wrong: Mask, probe: "Ball") -> Nearest:
    """How near can at most `minimum_norm_rows` rows, spread over all, be broken: by FMN towards the nearest classes.

    The steps are shared out among up to four classes, in the order of the MALT rule: the best other class is often not
    the nearest. Where next to nothing stands, the points that broke the rows are drawn towards the clean ones instead:
    it costs a tenth. Every point is judged by the case, without a radius, and its distance is that of the input it
    judged. `wrong` (n,) are the rows that were broken before any attack.
    """
    spread = np.linspace(0, len(bench.x) - 1, min(probe.minimum_norm_rows, len(bench.x))).round().astype(np.int64)
    far = np.full(len(bench.x), np.nan)
    far[spread] = np.where(wrong[spread], 0.0, inf)
    changed, searched = bench.x.copy(), not sanity.little_stands(standing.broken)
    rows = np.flatnonzero(far == inf)
    if len(rows):
        index = torch.as_tensor(rows, device=bench.unit.device)
        point = _search(bench, index, probe.minimum_norm) if searched else _drawn(bench, standing, index)
        changed[rows], far[rows] = _verified(bench, standing, rows, point)
    return Nearest(changed, far, searched=searched)


def _drawn(bench: Bench, standing: Standing, rows: torch.Tensor) -> torch.Tensor:
    """The worst points (n, *shape) of these rows (n,) so far, drawn towards the clean ones while they stay broken."""
    of = bench.unit[rows], standing.point[rows]
    return shortened(bench.view.scores, *of, bench.labels[rows], width=bench.width)


def _search(bench: Bench, rows: torch.Tensor, steps: int) -> torch.Tensor:
    """The nearest points (n, *shape) that FMN found for these rows (n,); the clean row where it found none."""
    runs = min(max(1, steps // _STEPS_A_TARGET), _MOST_TARGETS, bench.classes - 1)
    bench = bench.nearest_first(rows, min(bench.classes - 1, runs + _MORE_CANDIDATES))
    unit = bench.unit[rows]
    best, far = unit, torch.full_like(unit.flatten(1)[:, 0], inf)
    for rank in range(runs):
        task = bench.task(rows, unit, bench.whole, rank)
        found = fmn(bench.view.differentiable, task, steps=steps // runs, width=bench.width)
        length = torch.where(found.broken, bench.norm.distance((found.point - unit).flatten(1)), inf)
        best = torch.where(per_row(length < far, best), found.point, best)
        far = torch.minimum(far, length)
    return best


def _verified(
    bench: Bench, standing: Standing, rows: npt.NDArray[np.int64], point: torch.Tensor
) -> tuple[Array, Distances]:
    """The points (n, *shape) as inputs that the case found broken, and their distances (n,); inf where it did not."""
    changed, far = bench.x[rows].copy(), np.full(len(rows), inf)
    unit = bench.unit[torch.as_tensor(rows, device=bench.unit.device)]
    for stretch in (1.0, _STRETCH):
        left = np.flatnonzero((far == inf) & (point != unit).flatten(1).any(1).cpu().numpy())
        if not len(left):
            break
        moved = (unit + stretch * (point - unit)).clamp_min(0).minimum(bench.view.top)[left]
        x: Any = bench.view.inputs(moved)  # float64 is kept
        seen = bench.case.verify(
            bench.x[rows[left]], bench.y[rows[left]], x, bench.whole, norm=bench.norm.name, goal=bench.view.goal
        )
        standing.violations += seen.violations
        won = left[seen.broken]
        changed[won], far[won] = seen.x[seen.broken], seen.distance[seen.broken]
    return changed, far


def median_distance(case: Case, far: Distances, whole: float) -> tuple[Measurement, ...]:
    """The median of the distances (n,) of the rows asked, with its interval; none where half were never broken.

    `whole` is the distance that spans the range: no row that can be broken is farther from it.
    """
    asked = np.sort(far[~np.isnan(far)])
    if not len(asked) or not isfinite(asked[len(asked) // 2]):
        return ()
    value = float(asked[(len(asked) - 1) // 2] + asked[len(asked) // 2]) / 2
    low, high = (min(end, whole) for end in median_interval(asked, case.confidence))
    return (case.number("median_distance", value, low, high, n=len(asked)),)


def median_interval(values: Distances, confidence: float = 0.95) -> tuple[float, float]:
    """Between which of these sorted values (n,) does the median of their population lie; inf where they do not say.

    By order statistics: the k-th least and the k-th greatest, for the largest k at which the chance that fewer than k
    of n rows lie below the median, Binomial(n, 1/2), is at most half of what confidence leaves. It holds for any
    distribution, ties included. With fewer than six values nothing is left out, at 95 %: 0 and inf.
    """
    count, tail, below = len(values), (1 - confidence) / 2, 0.0
    for k in range(count):
        below += exp(lgamma(count + 1) - lgamma(k + 1) - lgamma(count - k + 1) - count * log(2))
        if below > tail:
            break
    return (float(values[k - 1]), float(values[count - k])) if k else (0.0, inf)
