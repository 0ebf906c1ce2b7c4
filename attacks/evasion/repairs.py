"""What is done, and said, about a subject that an attack by gradients cannot read as it is."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.probe import Case
from auditor.record import Caveat

from . import sanity
from .bench import Bench, Mask, Standing
from .estimate import Estimate
from .slopes import Slope, followed, slope_at
from .voting import DRAWS, VOTES, Voting

if TYPE_CHECKING:
    from .ball import Ball

_PAIRS = 32
_STEPS = 20
_TARGETS = 2
_SHOWN = 128
_MOSTLY_DEAD = 0.5  # share of coordinates without a slope at rows that have one: a wall may lie before them


@dataclass
class Repaired:
    """What was found and done where gradients were of no use: rows tried without them, and rows that fell.

    `clean` are the rows that were right before any attack. Whether the scores follow their gradients there is `asked`
    once, and only where rows stand: what all fell to was no illusion.
    """

    slope: Slope
    random: bool
    clean: torch.Tensor
    asked: bool = False
    tried: int = 0
    broken: int = 0
    stalled: Slope | None = None


@dataclass(frozen=True, eq=False)
class Steadied:
    """The case to attack, whether its subject is random and votes, and what its answers say of it."""

    case: Case
    random: bool
    caveats: list[Caveat]


def steadied(case: Case) -> Steadied:
    """The case as it is, or, where the subject answers the same input in different ways, with its vote."""
    x = case.domain.clip(case.data.x_test[case.rows(_SHOWN)])
    caveats = sanity.steadiness_caveats(case.subject.predict, x)
    if not any(c.flag == "stochastic" for c in caveats):
        return Steadied(case, False, caveats)
    told = (
        f"judged by the vote of {VOTES} answers, gradients averaged over {DRAWS}: the numbers are those of the vote, "
    )
    said = Caveat(flag="averaged", severity="info", evidence=told + "a single answer is wrong more often")
    return Steadied(replace(case, inner=Voting(case.inner, case.counts)), True, [*caveats, said])


def repair(bench: Bench, standing: Standing, epsilon: float, probe: "Ball", repaired: Repaired) -> None:
    """Where gradients may have led the attack astray, attack the rows that stand once more without them.

    They may when they are missing or lie at clean rows, or where the attack ended; or when most coordinates have none.
    Of a random subject, whose every answer is another, the last two are not asked.
    """
    rows = torch.as_tensor(np.flatnonzero(~standing.broken), device=bench.unit.device)
    if not len(rows):
        return
    _ask(bench, epsilon, repaired)
    if not repaired.slope.doubtful:
        if repaired.random:
            return
        end = slope_at(bench, rows, standing.point, epsilon)
        if not end.doubtful and repaired.slope.dead <= _MOSTLY_DEAD:
            return
        if end.doubtful or repaired.stalled is None:  # what one epsilon has shown, the next does not take back
            repaired.stalled = end
    repaired.tried += len(rows)
    repaired.broken += without_gradients(bench, standing, epsilon, probe.blind_queries)


def _ask(bench: Bench, epsilon: float, repaired: Repaired) -> None:
    if not (repaired.asked or repaired.random):
        repaired.slope = followed(bench, repaired.clean, epsilon, repaired.slope)
        repaired.asked = True


def without_gradients(bench: Bench, standing: Standing, epsilon: float, queries: int) -> int:
    """How many rows break along slopes estimated from scores, and under a long random search from where that ended.

    Straight-through in effect, whatever step kills or bends the gradient: the estimate spans the ball. Costs, a row
    that stands, the queries and 4100 forward passes.
    """
    before = standing.broken.copy()
    reach = bench.norm.share(epsilon, bench.unit[0].numel())  # over steps as wide as the ball, and over ripples
    blind = replace(bench, view=Estimate.over(bench.view, reach, _PAIRS))
    standing.strike(bench, epsilon, blind.climb(epsilon, _STEPS, None))
    for rank in range(min(_TARGETS, bench.ranking.shape[1])):
        standing.strike(bench, epsilon, blind.aim(epsilon, _STEPS, rank))
    standing.strike(bench, epsilon, bench.search(epsilon, queries, standing.point))
    return int((standing.broken & ~before).sum())


def repair_caveats(repaired: Repaired, broken: Mask, *, searched: bool) -> list[Caveat]:
    """What the repairs did, and whether the number rests on one family of attacks alone."""
    caveats = sanity.misled_caveats(repaired.stalled, "standing") if repaired.stalled else []
    if repaired.tried:
        told = (
            f"gradients are missing, dead or in doubt: {repaired.tried} rows that stood were attacked by random search "
        )
        told += f"and along slopes estimated from scores, and {repaired.broken} broke"
        caveats.append(Caveat(flag="estimated_gradients", severity="info", evidence=told))
    if repaired.slope.doubtful or not searched:
        kind = "search by scores" if repaired.slope.doubtful else "gradients"
        told = f"what stands ({int((~broken).sum())} rows) withstood attacks by {kind} alone"
        caveats.append(Caveat(flag="one_family", severity="info", evidence=told))
    return caveats
