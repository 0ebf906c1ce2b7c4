"""One attack a kind of access: gradients where there are any, scores where not, labels where no more."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from .bench import Bench, Mask, Rows, Standing

if TYPE_CHECKING:
    from .linf import Linf

_NOISE_DRAWS = 5
_FEW = 3  # rows that a weaker attack may break first by luck
_LOOKED_AT = 24
_LONG_STEPS = 100
_LONG_TARGETS = 9


@dataclass
class Gains:
    """How many rows the cross-checks broke that the main attack had left, an entry an epsilon."""

    noise: list[int] = field(default_factory=list)
    black_box: list[int] = field(default_factory=list)


def by_gradients(bench: Bench, standing: Standing, epsilon: float, probe: "Linf", gains: Gains) -> None:
    """Cross-entropy from where the last epsilon ended, then runner-up classes, noise, random search."""
    first = bool(torch.equal(standing.point, bench.unit))
    standing.strike(bench, epsilon, bench.climb(epsilon, probe.cull_steps, None if first else standing.point))
    for rank in range(min(probe.targets, bench.ranking.shape[1])):
        standing.strike(bench, epsilon, bench.aim(epsilon, probe.target_steps, rank))
    if probe.self_test:
        gains.noise.append(_beyond_gradients(bench, epsilon, shake(bench, standing, epsilon)))
    if probe.queries:
        found = standing.strike(bench, epsilon, bench.search(epsilon, probe.queries))
        gains.black_box.append(_beyond_gradients(bench, epsilon, found))


def by_scores(bench: Bench, standing: Standing, epsilon: float, probe: "Linf", gains: Gains) -> None:
    """Random search from where the last epsilon ended, then noise."""
    found = standing.strike(bench, epsilon, bench.search(epsilon, probe.blind_queries, standing.point))
    if probe.self_test:
        shaken = shake(bench, standing, epsilon)
        # on plateaus fresh noise honestly finds rows that a local search left; it must not find more than the search
        gains.noise.append(len(shaken) if len(shaken) > len(found) else 0)


def by_labels(bench: Bench, standing: Standing, epsilon: float, nearest: torch.Tensor) -> None:
    """The nearest points found by a decision-based search, drawn into the ball, then noise."""
    rows = np.flatnonzero(~standing.broken)
    unit = bench.unit[rows]
    inside = nearest[rows].maximum(unit - epsilon).minimum(unit + epsilon)
    standing.judge(bench, epsilon, rows, bench.view.inputs(inside))
    shake(bench, standing, epsilon)


def shake(bench: Bench, standing: Standing, epsilon: float) -> Rows:
    """Which of the standing rows does plain noise break."""
    before = standing.broken.copy()
    for moment in range(_NOISE_DRAWS):
        rows = np.flatnonzero(~standing.broken)
        index = torch.as_tensor(rows, device=bench.unit.device)
        standing.judge(bench, epsilon, rows, bench.view.inputs(bench.corner(index, epsilon, moment)))
    return np.flatnonzero(standing.broken & ~before)


@dataclass(frozen=True, eq=False)
class FullRange:
    """What an attack with the whole range to move in did: rows it tried, and rows left standing (n,)."""

    tried: Mask
    left: Mask
    violations: int


def full_range(bench: Bench, clean: Standing, steps: int, queries: int | None) -> FullRange:
    """What stands when at most 64 rows may move anywhere in the range: with any attack that works, nothing.

    Steps of gradients, on cross-entropy and then towards the runner-up; or queries, where there are no
    gradients. Starts are the clean rows: a random point of so large a ball is noise, and breaks a row without
    any attack. Constraints of the data bind neither the attack nor its judge here: it is the attack that is tested.
    """
    bench = replace(bench, bound=False)
    rows = np.flatnonzero(~clean.broken)
    tried = np.zeros_like(clean.broken)
    tried[rows[:: max(1, len(rows) // 64)][:64]] = True
    trial = Standing.before(bench, ~tried, clean.prediction)
    if queries is not None:
        trial.strike(bench, 1.0, bench.search(1.0, queries))
        left = torch.arange(
            len(tried), device=bench.unit.device
        )  # kernels are flat at the corners, where search begins
        trial.strike(bench, 1.0, bench.search(1.0, queries, bench.random_start(left, 1.0)))
    else:
        trial.strike(bench, 1.0, bench.climb(1.0, steps, bench.unit))
        trial.strike(bench, 1.0, bench.aim(1.0, steps, 0, bench.unit))
    return FullRange(tried, ~(trial.broken | trial.refused), trial.violations)


def _beyond_gradients(bench: Bench, epsilon: float, rows: Rows) -> int:
    """How many of these rows, broken without gradients, withstand a long attack that uses them.

    A short attack leaves rows that a longer one breaks: that is thrift, not masking. Of many rows the first
    are tried and stand for the rest.
    """
    if len(rows) <= _FEW:
        return 0
    tried = left = torch.as_tensor(rows[:_LOOKED_AT], device=bench.unit.device)
    left = left[~bench.climb(epsilon, _LONG_STEPS, None)(left).broken]
    for rank in range(min(_LONG_TARGETS, bench.ranking.shape[1])):
        if len(left):
            left = left[~bench.aim(epsilon, _LONG_STEPS, rank)(left).broken]
    return round(len(rows) * len(left) / len(tried))
