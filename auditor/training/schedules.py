"""How the learning rate goes over a training, as a factor for every step."""

import math
from typing import assert_never

from auditor.recipe import Schedule

WARM_UP = 0.3  # share of the steps in which one-cycle rises
START = 1 / 25  # where one-cycle starts


def factors(schedule: Schedule, steps: int) -> list[float]:
    """The factor of the learning rate at each of so many steps; the highest is 1, the end of a decay is near 0.

    constant: 1. cosine: (1 + cos(pi t)) / 2 with t = step / steps (Loshchilov and Hutter, SGDR, ICLR 2017).
    one-cycle: linear from 1/25 to 1 over the first 30 % of steps, then the cosine (Smith and Topin, 2018).
    """
    match schedule:
        case "constant":
            return [1.0] * steps
        case "cosine":
            return [_cosine(step / steps) for step in range(steps)]
        case "one-cycle":
            rise = max(1, round(WARM_UP * steps))
            up = [START + (1 - START) * step / rise for step in range(min(rise, steps))]
            return up + [_cosine(step / (steps - rise)) for step in range(steps - rise)]
        case _:
            assert_never(schedule)


def _cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2
