"""The search for a learning rate: which rates are tried and for how long, which go on, and where a grid ends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Method = Literal["auto", "grid", "halving"]
SHORT = 4  # the first rung trains for this fraction of the epochs
KEPT = 3  # of which this fraction goes on
LEAST = 2  # but never fewer
BESIDE = 2  # rates beside the best that may have been left behind by halving, and are then trained in full after all
HALVING_FROM = 5  # rates: below that, halving spares less than a third of the search, and looks at less
STEP = 4.0  # between two rates of a grid that has one


@dataclass(frozen=True)
class Trial:
    """What one learning rate came to in a search: mean held-back loss over its seeds, or where the first diverged."""

    learning_rate: float
    epochs: int
    loss: float | None
    diverged_at: int | None
    flops: int | None


def short_epochs(method: Method, rates: int, epochs: int) -> int | None:
    """How long does the first rung of a search train? None where all rates are trained in full.

    `auto` halves from five rates and eight epochs on. With n rates, E epochs and k = max(2, n / 3) that go on, halving
    costs n E / 4 + k E against n E: 75 % for four rates, 65 % for five, 58 % for six or nine; and E more for each rate
    beside the best that was left behind (see `outward`).
    """
    halved = method == "halving" or (method == "auto" and rates >= HALVING_FROM and epochs >= 2 * SHORT)
    return math.ceil(epochs / SHORT) if halved and rates > LEAST and epochs > 1 else None


def going_on(rates: int) -> int:
    """How many rates of the first rung are trained in full: the best third, and at least two."""
    return min(rates, max(LEAST, math.ceil(rates / KEPT)))


def spaced(grid: Sequence[float], trials: int) -> tuple[float, ...]:
    """As many rates as there are trials, from the least to the greatest of a grid in equal ratios.

    A grid that has so many stays as it is. Of a single rate the others lie around it, a factor of four apart.
    """
    rates = tuple(sorted(grid))
    if len(rates) == trials:
        return rates
    if len(rates) == 1:
        return tuple(rounded(rates[0] * STEP ** (i - (trials - 1) // 2)) for i in range(trials))
    ratio = math.log(rates[-1] / rates[0]) / max(1, trials - 1)
    inner = (rounded(rates[0] * math.exp(ratio * i)) for i in range(1, trials - 1))
    return (rates[0], *inner, rates[-1])[:trials]


def rounded(rate: float) -> float:
    """A rate to three digits, as people write it."""
    return float(f"{rate:.3g}")


def pooled(rate: float, epochs: int, fits: Sequence[dict[str, Any]]) -> Trial:
    """One trial from what its trainings said, one a seed: a rate under which one diverged has failed."""
    stops = [int(said["diverged_at"]) for said in fits if said["diverged_at"] is not None]
    loss = None if stops else math.fsum(float(said["holdout_loss"]) for said in fits) / len(fits)
    counted = [said["flops"] for said in fits]  # of an estimator's they are not known
    flops = None if None in counted else sum(map(int, counted))
    return Trial(rate, epochs, loss, min(stops) if stops else None, flops)


def ranked(trials: Sequence[Trial], epochs: int) -> list[float]:
    """The rates of one rung, best first and the smaller of equals first; what diverged is not among them."""
    usable = [(t.loss, t.learning_rate) for t in trials if t.epochs == epochs and t.loss is not None]
    return [rate for _, rate in sorted(usable)]


def further(short: int | None, extend: int) -> int:
    """How many rates may a search try after its own: beside the best, where it halves, and beyond an edge."""
    return extend + (0 if short is None else BESIDE)


def outward(trials: Sequence[Trial], epochs: int) -> float | None:
    """Which rate should be tried next around the best? None where it lies between two that are known to be worse.

    A short training favours large rates, so one that a first rung left behind, unless it diverged there, is not known
    to be worse: first those beside the best are trained in full, the smaller before the larger. Then, at an edge, comes
    the rate beyond, in the ratio of the two rates there. Where all diverged, the next smaller one, or one below all.
    """
    rates, best = sorted({t.learning_rate for t in trials}), ranked(trials, epochs)
    known = {t.learning_rate for t in trials if t.epochs == epochs or t.loss is None}
    if len(rates) < 2:
        return None
    if not best:
        failed = min((t.learning_rate for t in trials if t.epochs == epochs), default=math.inf)
        smaller = [rate for rate in rates if rate < failed and rate not in known]
        return smaller[-1] if smaller else rounded(rates[0] ** 2 / rates[1])
    place = rates.index(best[0])
    left_behind = [rate for rate in rates[max(0, place - 1) : place + 2] if rate not in known]
    if left_behind:
        return left_behind[0]
    if place == 0:
        return rounded(rates[0] ** 2 / rates[1])
    return rounded(rates[-1] ** 2 / rates[-2]) if place == len(rates) - 1 else None
