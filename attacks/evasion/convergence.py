"""Whether an attack by gradients had come to its end: one step against many, and twice the steps, where rows stand."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .bench import Bench, Rows, Standing
from .paths import beyond_gradients

if TYPE_CHECKING:
    from .ball import Ball

_TRIED = 64
_FEW = 3
_SHARE = 0.002  # of all rows
_DOUBLINGS = 3
_CHANCE = 0.1
_LEAST = 50  # steps: two are no fair test of one
_MOMENT = 950  # of the first random start on the margin, and how many starts towards a class lie before those here
_AGAIN = 500


@dataclass
class Convergence:
    """How many rows one step broke that many cannot, an entry an epsilon; and how the longer attacks fared.

    `broken` are the rows that ever longer attacks broke, the longest run an epsilon has; `steps` the most steps tried;
    `unended` how many the longest still broke where that was more than chance.
    """

    one_step: list[int] = field(default_factory=list)
    broken: int = 0
    steps: int = 0
    unended: int = 0


def lengthen(bench: Bench, standing: Standing, epsilon: float, probe: "Ball", ended: Convergence) -> None:
    """Attack with twice the steps, 50 at least, and with twice as many again while that breaks more than a few rows.

    The 64 rows that stand and lead least are tried; where more than 3 of them and 0.2 % of all rows fall, the attack
    had not ended, and every row that stands is attacked so. After Carlini et al. 2019, who ask that doubling the steps
    change nothing. Climbs towards the first of the wrong classes, and before on the plain lead of whichever is best: a
    winner that is a constant ahead of the others bends the slope of the ratio and the order of the classes. Costs, a
    row tried, four times the steps of one target.
    """
    steps, enough = max(probe.target_steps, probe.cull_steps), max(_FEW, _SHARE * len(standing.broken))
    fell = 0
    for doubling in range(1, _DOUBLINGS + 1):
        steps = max(_LEAST, 2 * steps)
        attacks = (
            bench.climb_margin(epsilon, steps, _MOMENT + doubling),
            bench.aim(epsilon, steps, 0, again=_AGAIN + doubling),
        )
        tried = np.zeros_like(standing.broken)
        tried[standing.in_order()[:_TRIED]] = True
        fell = sum(len(standing.strike(bench, epsilon, attack, among=tried)) for attack in attacks)
        ended.broken, ended.steps = ended.broken + fell, max(ended.steps, steps)
        if fell <= enough:
            return
        ended.broken += sum(len(standing.strike(bench, epsilon, attack)) for attack in attacks)
    ended.unended = max(ended.unended, fell)


def one_step(bench: Bench, epsilon: float, crossed: Rows) -> int:
    """How many of the rows that one step across the ball broke can no attack of many steps break.

    None but for masked gradients: that of a row itself is true there, and those beside it are not. Up to a tenth is
    chance, for few rows are tried.
    """
    beyond = beyond_gradients(bench, epsilon, crossed)
    return beyond if beyond > _CHANCE * len(crossed) else 0
