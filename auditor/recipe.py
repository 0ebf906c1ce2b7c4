"""How a model is made: a recipe, a fit of it on a split, and a declared change of the data."""

from typing import Any, Literal

from pydantic import Field

from auditor.record import Frozen

Schedule = Literal["constant", "cosine", "one-cycle"]


class Tuned(Frozen):
    """A learning rate to be found: one fit a trial, by loss on a validation part of the training rows.

    Identified by this specification, so the identity of what uses it is known before anything runs.
    """

    grid: tuple[float, ...]
    epochs: int
    validation: float = 0.2


class Recipe(Frozen):
    """Everything that decides a training but the data: the same recipe on the same data gives the same weights."""

    architecture: str
    optimizer: str
    learning_rate: float | Tuned
    epochs: int
    batch_size: int = 64
    schedule: Schedule = "cosine"
    objective: Literal["standard"] = "standard"
    settings: dict[str, float | bool] = Field(default_factory=dict)  # of the optimizer
    kwargs: dict[str, Any] = Field(default_factory=dict)  # of the architecture
    seed: int = 0


class Change(Frozen):
    """A declared change of the training data.

    `function` is "module:callable" of (x, y, context, **parameters) -> (x, y). The context is a
    `ChangeContext`. A change must depend on nothing but its arguments.
    """

    function: str
    parameters: dict[str, Any] = Field(default_factory=dict)  # any JSON value


class Fit(Frozen):
    """One training to do: a recipe on the training rows, with an optional change.

    `holdout` keeps that share of the rows back for validation.
    """

    recipe: Recipe
    change: Change | None = None
    holdout: float | None = None
