"""What an optimizer is here: its names, settings and rates, what it needs of a loop, what it costs, whose it is."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from auditor.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    import torch

Settings = Mapping[str, float | bool]
Params = Iterable["torch.nn.Parameter"] | Iterable[dict[str, Any]]  # groups are torch's own dictionaries
Build = Callable[[Any, float, Settings], "torch.optim.Optimizer"]  # called with Params
Decay = Literal["l2", "decoupled", "none", "unstated"]


@dataclass(frozen=True)
class Limit:
    """Which numbers a setting may be: from `least`, or above it where `open`, to below `below`; whole ones perhaps."""

    least: float = 0.0
    below: float = math.inf
    open: bool = False
    whole: bool = False

    def holds(self, value: float) -> bool:
        """Is it one of them?"""
        over = value > self.least if self.open else value >= self.least
        return math.isfinite(value) and over and value < self.below and not (self.whole and value != int(value))

    def __str__(self) -> str:
        low = f"above {self.least:g}" if self.open else f"{self.least:g} or more"
        below = f", below {self.below:g}" if math.isfinite(self.below) else ""
        return f"{'a whole number, ' if self.whole else ''}{low}{below}"


SHARE = Limit(below=1)  # of an exponential mean, or of a momentum that is kept
COUNT = Limit(least=1, whole=True)


@dataclass(frozen=True)
class OptimizerSpec:
    """One optimizer under one name.

    `grid` holds the learning rates that tuning tries, `settings` the other settings with their defaults, `source` the
    paper. `limits` says which numbers a setting may be, where that is not any from 0.
    `build(params, learning_rate, settings)` makes it; only then is torch imported. What it needs:

    - `needs_closure`: `step(closure)` works out losses and gradients itself, at about `passes` points a step.
    - `train_eval`: the weights to be evaluated are others than those being trained; it has `train()` and `eval()`.
    - `elementwise`: each weight moves by its own gradient alone, so that networks can be trained stacked.
    - `matrices`: it is for hidden matrices. `build` is then given two groups, {"params", "matrix": True} and the rest
      with False: see `driver.routed`.
    - `full_batch`: every step sees all rows, whatever the batch size.
    - `schedule`: "own" where the recipe's schedule would spoil what the optimizer does itself; the rate stays constant.

    `state` is tensors of a weight's size that are kept (None: it depends on shapes or steps). `provider` is whose code
    runs, under `licence`; `extra` what has to be installed for it. `decay` says what `weight_decay` means.
    """

    name: str
    title: str
    grid: tuple[float, ...]
    default: float
    settings: Settings
    source: str
    build: Build
    aliases: tuple[str, ...] = ()
    provider: str = "plugin"
    licence: str = "unstated"
    extra: str | None = None
    decay: Decay = "unstated"
    needs_closure: bool = False
    passes: int = 1
    train_eval: bool = False
    elementwise: bool = False
    matrices: bool = False
    full_batch: bool = False
    schedule: Literal["recipe", "own"] = "recipe"
    state: int | None = None
    limits: Mapping[str, Limit] = field(default_factory=dict)

    def line(self) -> str:
        """Its settings and rates in one line, as a message names them."""
        settings = ", ".join(f"{k} {_said(v)}" for k, v in self.settings.items()) or "no settings"
        return f"{self.name} ({self.title}): {settings}; rates {' '.join(f'{r:g}' for r in self.grid)}"


def _said(value: float) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def check_settings(spec: OptimizerSpec, given: Settings, *, where: str = "") -> dict[str, float | bool]:
    """All settings of an optimizer, those given over its defaults.

    Raises UnknownNameError for a setting it does not have, ConfigError for a value of the wrong kind, below zero or
    outside its limits.
    """
    place = where + ": " if where else ""
    for name, value in given.items():
        if name not in spec.settings:
            raise UnknownNameError(f"setting of {spec.name}", name, spec.settings, where=where, about=spec.line())
        if isinstance(spec.settings[name], bool) != isinstance(value, bool):
            kind = "true or false" if isinstance(spec.settings[name], bool) else "a number"
            raise ConfigError(f"{place}{spec.name}: {name} is {value!r}; it must be {kind}")
        if not math.isfinite(value) or value < 0:
            raise ConfigError(f"{place}{spec.name}: {name} is {value!r}; it must be finite and not negative")
        if name in spec.limits and not spec.limits[name].holds(value):
            raise ConfigError(f"{place}{spec.name}: {name} is {value:g}; it must be {spec.limits[name]}")
    return {**spec.settings, **given}


def check_objective(spec: OptimizerSpec, objective: str, *, where: str = "") -> None:
    """Raise ConfigError for an optimizer under which the objective `dp` would promise what it does not keep."""
    if objective == "dp" and spec.needs_closure:
        raise ConfigError(
            f"{where + ': ' if where else ''}dp: {spec.name} takes the gradient at about {spec.passes} points a step, "
            "and the guarantee counts one: take an optimizer of one pass, such as sgd or adam"
        )


def check(spec: OptimizerSpec, given: Settings, objective: str, licences: Iterable[str], *, where: str = "") -> None:
    """Raise what can be known to be wrong before a training starts: settings, objective, licence, what is installed."""
    check_settings(spec, given, where=where)
    check_objective(spec, objective, where=where)
    check_licence(spec, licences, where=where)
    check_installed(spec, where=where)


def check_installed(spec: OptimizerSpec, *, where: str = "") -> None:
    """Raise ConfigError with what to install for an optimizer whose package is not there."""
    if spec.extra is not None and find_spec(spec.provider) is None:
        place = where + ": " if where else ""
        raise ConfigError(
            f'{place}the optimizer {spec.name} needs the package {spec.provider}: pip install "auditor[{spec.extra}]"'
        )


def check_licence(spec: OptimizerSpec, allowed: Iterable[str], *, where: str = "") -> None:
    """Raise ConfigError for code that may not be used commercially, unless its licence is allowed by name."""
    names = {name.lower() for name in allowed}
    if non_commercial(spec.licence) and spec.licence.lower() not in names:
        raise ConfigError(
            f"{where + ': ' if where else ''}{spec.name} comes under {spec.licence}, which forbids commercial use: "
            f"take another, or allow it by name: train.allow_licences: [{spec.licence}]"
        )


def non_commercial(licence: str) -> bool:
    """Does a licence, by its name, forbid commercial use? Such as CC-BY-NC-4.0 and PolyForm-Noncommercial-1.0.0."""
    words = re.split(r"[^a-z]+", licence.lower())
    return "nc" in words or "noncommercial" in "".join(words)
