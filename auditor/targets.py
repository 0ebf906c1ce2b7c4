"""When a training reaches a target: the target, the first look at which it is met, and the median over seeds."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from auditor.intervals import clopper_pearson

if TYPE_CHECKING:
    from auditor.plan import Plan

Look = Mapping[str, float]


@dataclass(frozen=True)
class Target:
    """An accuracy to reach at least, or a loss to reach at most, on rows held back; `automatic` where we chose it."""

    metric: Literal["accuracy", "loss"]
    value: float
    automatic: bool = False


@dataclass(frozen=True)
class Reach:
    """Over the seeds of a group: the median (infinite where half never reach it), and the share that does."""

    median: float
    share: float
    low: float
    high: float


def automatic(finals: Sequence[float], rows: int) -> Target:
    """The target that a reference sets: the median of its seeds' last accuracies minus one standard error.

    The error is that over seeds, s / sqrt(k); of a single seed, that of a share of the `rows` held back.
    """
    middle, k = median(finals), len(finals)
    mean = math.fsum(finals) / k
    spread = math.fsum((value - mean) ** 2 for value in finals) / (k - 1) if k > 1 else 0.0
    error = math.sqrt(spread / k) if k > 1 else math.sqrt(middle * (1.0 - middle) / rows)
    return Target("accuracy", max(0.0, middle - error), automatic=True)


def targets(plan: "Plan", finished: Callable[[str | None], dict[str, Any] | None]) -> dict[str, Target]:
    """The target of each entry of the configuration that has one; `finished` is what a unit says, if it is finished.

    `auto` is what the reference of the contrasts reaches, where it is of that entry, or else its first group.
    """
    found = {}
    for entry in plan.config.subjects:
        wanted = entry.train.looked if entry.train else None
        ours = [s for s in plan.subjects if s.config.id == entry.id and s.original is None]
        if wanted is None or entry.train is None or not ours:
            continue
        groups = {s.group for s in ours}
        named = plan.config.contrasts.reference
        reference = named if named in groups else ours[0].group
        said = [finished(s.watched) for s in ours if s.group == reference]
        finals = [s["looks"][-1]["accuracy"] for s in said if s and s["diverged_at"] is None]
        if wanted.accuracy is not None:
            found[entry.id] = Target("accuracy", wanted.accuracy)
        elif wanted.loss is not None:
            found[entry.id] = Target("loss", wanted.loss)
        elif finals:
            found[entry.id] = automatic(finals, round(entry.train.validation * plan.data.rows["train"]))
    return found


def first(looks: Sequence[Look], target: Target) -> Look | None:
    """The first look that meets the target; None where none does."""
    met = (k for k in looks if (k["accuracy"] >= target.value if target.metric == "accuracy" else _low(k, target)))
    return next(met, None)


def _low(look: Look, target: Target) -> bool:
    return look["loss"] <= target.value


def reached(said: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """What a record says of a watched training (the content of its unit) and a target, as JSON.

    Steps, samples and operations until then; null, with `reached` false, where it never was or where the training
    diverged. Operations are those of a step times the steps.
    """
    look = first(said["looks"], target) if said["diverged_at"] is None else None
    steps = None if look is None else int(look["steps"])
    told: dict[str, Any] = {**asdict(target), "reached": look is not None, "steps": steps, "samples": None}
    told |= {"flops": None, "of_steps": said["steps"]}
    if look is not None and steps is not None:
        told |= {"samples": int(look["samples"]), "flops": said["flops"] * steps // said["steps"]}
    return told


def over_seeds(steps: Sequence[float | None], confidence: float = 0.95) -> Reach:
    """The median over seeds, None counting as infinity, and the share that reached with its exact interval."""
    met = sum(s is not None for s in steps)
    ordered = sorted(math.inf if s is None else float(s) for s in steps)
    return Reach(median(ordered), met / len(ordered), *clopper_pearson(met, len(ordered), confidence))
