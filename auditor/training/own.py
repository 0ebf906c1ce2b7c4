"""A training that is the user's own: their function, called as it says it wants to be, and what it answered."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auditor.blocks import copied
from auditor.dataset import Dataset
from auditor.errors import ModelError
from auditor.recipe import Fit
from auditor.seeds import Seeds
from auditor.subject import Subject
from auditor.subjects import beside, wrap
from auditor.surroundings import own_random_state
from auditor.training.cost import Seconds, Stopwatch
from auditor.training.loop import parts

NAMES = ("optimizer", "seed", "epochs")
FORM = "fit(x, y, optimizer, seed, epochs) -> model"


@dataclass(frozen=True, eq=False)
class OwnFitted:
    """What a user's function answered: the model, as itself and as a subject, and what it cost."""

    model: Any  # a torch module or a fitted classifier
    subject: Subject
    seconds: Seconds


def fit_own(fit: Fit, data: Dataset, *, seeds: Seeds, directory: Path) -> OwnFitted:
    """Train by the user's function on the training rows, with the fit's change.

    The function is given float32 rows (N, *shape) and int64 labels (N,) of its own to keep, the optimizer's name, a
    seed below 2**31 and a number of epochs, by name where it names them so. The global generators are seeded for it
    and put back. Raises ModelError for what cannot be called or audited; what the function raises goes through.
    Blind spot: a function that takes chance from elsewhere gives another model every time.
    """
    recipe = fit.recipe
    assert recipe.function is not None, "the recipe names a function"
    function = beside.find(recipe.function, directory, what="train.function")
    rows, seed, clock = parts(fit, data, seeds), seeds.integer("init") % 2**31, Stopwatch()
    x, y = copied(rows.x), np.array(rows.y, np.int64)
    with own_random_state(seed), clock:
        model = called(function, recipe.function, x, y, optimizer=recipe.optimizer, seed=seed, epochs=recipe.epochs)
    if model is None:
        raise ModelError(f"{recipe.function} returned nothing; it must return the trained model: {FORM}")
    with own_random_state(seed):
        return OwnFitted(model, wrap(model, data, outputs=recipe.outputs), clock.seconds)


def called(function: Callable[..., object], name: str, x: np.ndarray, y: np.ndarray, **settings: object) -> object:
    """What the function answers. Raises ModelError for one that does not take what it would be given."""
    if not callable(function):
        raise ModelError(f"{name} is not a function but of type {type(function).__name__}: {FORM}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # written in C: it cannot be asked
        return function(x, y, **settings)
    in_order = tuple(settings[key] for key in NAMES)
    for args, kwargs in (((x, y), settings), ((x, y, *in_order), {})):
        try:
            signature.bind(*args, **kwargs)
        except TypeError:
            continue
        return function(*args, **kwargs)
    raise ModelError(f"{name}{signature} cannot be called as {FORM}: give it these five parameters")
