"""The choices of a search: what its finished trials come to, and which rates are tried next."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from auditor.job import Failure
from auditor.plan import Unit
from auditor.recipe import Later, Recipe
from auditor.store import Store
from auditor.training.search import Trial, outward, pooled, ranked

DIVERGED = "every trial of its learning-rate search diverged; name smaller rates in tune.grid"


def choice(store: Store, unit: Unit) -> dict[str, Any] | Failure:
    """What a tune unit says, as JSON: all trials so far, the best rates of its rung, and the one to try next.

    The unit's inputs are its trials, rate by rate and seed by seed, then the choice before it. No more rates lie beyond
    an edge than the search may add to its grid. The last choice of a search that found no rate is a failure.
    """
    epochs, seeds, count = unit.spec["epochs"], unit.spec["seeds"], unit.spec["rates"] * unit.spec["seeds"]
    said = [store.read(identity) for identity in unit.inputs[:count]]
    before = [Trial(**t) for identity in unit.inputs[count:] for t in store.read(identity)["trials"]]
    mine = [said[start : start + seeds] for start in range(0, count, seeds)]
    trials = before + [pooled(fits[0]["learning_rate"], epochs, fits) for fits in mine if not unneeded(fits[0])]
    best, beyond = ranked(trials, epochs), outward(trials, epochs)
    if unit.spec["final"] and not best:
        return Failure(DIVERGED)
    known = {t.learning_rate for t in trials}
    at_end = beyond not in known and len(known) >= unit.spec["most"]
    return {
        "kind": "tune",
        "learning_rate": best[0] if best else None,
        "ranked": best,
        "outward": None if at_end else beyond,
        "trials": [asdict(t) for t in trials],
        "edge_limited": beyond is not None,
        "seeds": seeds,
    }


def unneeded(said: Mapping[str, Any]) -> bool:
    """Whether a training was not run, because its search had no use for it."""
    return said.get("unneeded", False) is True


def rate_of(store: Store, unit: Unit, recipe: Recipe) -> float | None:
    """The learning rate of a training: its own, or what the search before it found; None where there is none to try."""
    rate = recipe.learning_rate
    if isinstance(rate, float):
        return rate
    said = store.read(unit.inputs[0])
    if not isinstance(rate, Later):
        return float(said["learning_rate"])
    if rate.rank is None:
        return None if said["outward"] is None else float(said["outward"])
    return float(said["ranked"][rate.rank]) if rate.rank < len(said["ranked"]) else None


def spent(store: Store, unit: Unit) -> dict[str, float]:
    """The seconds of the trials that this choice asked for, those that diverged included."""
    count = unit.spec["rates"] * unit.spec["seeds"]
    timings = [store.timing(identity) for identity in unit.inputs[:count]]
    return {
        "cpu_seconds": math.fsum(t.detail.get("cpu_seconds", t.cpu_seconds) for t in timings),
        "wall_seconds": math.fsum(t.detail.get("wall_seconds", t.wall_seconds) for t in timings),
    }
