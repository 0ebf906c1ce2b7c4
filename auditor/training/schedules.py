"""How the learning rate goes over a training, as a factor for every step."""

import math
from typing import Literal, assert_never

from auditor.recipe import Schedule

RISE = 0.3  # share of the steps in which one-cycle rises
START = 1 / 25  # where one-cycle starts
DROPS = (0.5, 0.75)  # shares of the steps after which `step` divides the rate
DROP = 0.1  # by which it multiplies each time


def factors(schedule: Schedule, steps: int, warmup: float = 0.0) -> list[float]:
    """The factor of the learning rate at each of so many steps; the highest is 1, the end of a decay is near 0.

    With t = step / steps: constant: 1. cosine: (1 + cos(pi t)) / 2 (Loshchilov and Hutter, SGDR, ICLR 2017).
    linear: 1 - t (Li et al., Budgeted training, ICLR 2020). step: a tenth after one half, a hundredth after three
    quarters (He et al., Deep residual learning, CVPR 2016, section 4.2). one-cycle: linear from 1/25 to 1 over the
    first 30 % of steps, then the cosine (Smith and Topin, 2018).

    `warmup` is the share of the steps, at least one, in which the rate first rises: at the k-th of r it is k / r
    (Goyal et al., Accurate, large minibatch SGD, 2017, section 2.2); the schedule then goes over the rest. One-cycle
    rises by itself, and that share replaces its 30 %.
    """
    if schedule == "one-cycle":
        return _one_cycle(steps, warmup or RISE)
    rise = min(steps, max(1, round(warmup * steps))) if warmup else 0
    rest = steps - rise
    return [(step + 1) / rise for step in range(rise)] + [_decay(schedule, step / rest) for step in range(rest)]


def _decay(schedule: Literal["constant", "cosine", "linear", "step"], share: float) -> float:
    """The factor when this share of the steps is behind."""
    match schedule:
        case "constant":
            return 1.0
        case "cosine":
            return _cosine(share)
        case "linear":
            return 1 - share
        case "step":
            return DROP ** sum(share >= drop for drop in DROPS)
        case _:
            assert_never(schedule)


def _one_cycle(steps: int, rise_share: float) -> list[float]:
    rise = max(1, round(rise_share * steps))
    up = [START + (1 - START) * step / rise for step in range(min(rise, steps))]
    return up + [_cosine(step / (steps - rise)) for step in range(steps - rise)]


def _cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2
