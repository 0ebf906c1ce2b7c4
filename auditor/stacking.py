"""Which trainings are done at once: small networks that are alike, whose own seconds nobody is told."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from auditor.plan import Unit
from auditor.record import DatasetRecord
from auditor.training import optimizers

MOST = 32  # trainings in a stack: more gain nothing
PRODUCTS = 2**25  # multiplications of a layer by all rows of all networks, whose numbers still lie near the processor
LEAST = 4  # networks that would have to fit together
ROW_BYTES = 2**22  # of all training rows, which each network may need in a form of its own


def alike(unit: Unit, data: DatasetRecord) -> str | None:
    """Trainings that answer the same may stand in one stack; None for one that is done alone.

    That is decided by its recipe and data: the built-in `mlp` under an optimizer that moves each weight by its own
    gradient, on rows as they are or moved by `pgd`. Subjects are trained alone, and stacks have one optimizer, because
    seconds of training are compared between optimizers. Whatever stands beside it, a training gives the same weights
    to the bit (`training.stacked`), so that none of this is part of a unit's identity.
    """
    if unit.kind != "fit" or unit.subject is not None or most_at_once(unit, data) < LEAST:
        return None
    fit = unit.spec["fit"]
    recipe, change = fit["recipe"], fit["change"]
    if not _can(recipe) or fit.get("looks") or (change and not change["function"].startswith("auditor.")):
        return None
    names = ("optimizer", "kwargs", "epochs", "batch_size", "objective")
    return json.dumps([unit.spec["data"], fit["holdout"], [recipe[name] for name in names]], sort_keys=True)


def _can(recipe: Mapping[str, Any]) -> bool:  # JSON
    """Whether this way of training can be done for many networks at once."""
    if recipe["function"] or recipe["architecture"] != "mlp" or recipe["clip"] is not None or recipe["augment"]:
        return False
    spec = optimizers.resolve(recipe["optimizer"])
    own_way = spec.needs_closure or spec.train_eval or spec.full_batch or spec.matrices
    return spec.elementwise and not own_way and recipe["objective"]["name"] in ("standard", "pgd")


def most_at_once(unit: Unit, data: DatasetRecord) -> int:
    """How many networks like that of this training fit near the processor; 0 where it has no such shape."""
    recipe = unit.spec["fit"]["recipe"]
    hidden = recipe["kwargs"].get("hidden", (128,))
    if recipe["architecture"] != "mlp" or not _counts(hidden):
        return 0
    if 4 * data.rows["train"] * math.prod(data.shape) > ROW_BYTES:
        return 0
    sizes = [math.prod(data.shape), *hidden, len(data.classes)]
    weights = sum(a * b for a, b in pairwise(sizes))
    return int(min(MOST, PRODUCTS // (weights * recipe["batch_size"])))


def _counts(hidden: object) -> bool:
    return isinstance(hidden, Sequence) and all(isinstance(size, int) and size > 0 for size in hidden)
