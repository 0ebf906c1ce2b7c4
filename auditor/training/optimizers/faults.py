"""What of a third party's optimizer cannot be as it is declared: found before anything is built or trained."""

import math
from collections.abc import Iterator, Mapping

from auditor.training.optimizers.spec import Limit, OptimizerSpec


def faults(spec: OptimizerSpec, name: str) -> list[str]:
    """What of the specification behind the entry point `name` cannot be?

    Nothing is called or imported. Blind spot: whether it is true, which the conformance checks look into.
    """
    given: dict[str, object] = dict(vars(spec))  # a third party's values may be anything, whatever their types say
    return [*_of_names(given, name), *_of_rates(given), *_of_settings(given), *_of_needs(given)]


def _of_names(given: Mapping[str, object], name: str) -> Iterator[str]:
    if given["name"] != name:
        yield f"its name is {given['name']!r}, its entry point's {name!r}"
    aliases = given["aliases"]
    if not (isinstance(aliases, tuple) and all(isinstance(alias, str) for alias in aliases)):
        yield "the aliases are no tuple of names"
    if texts := [key for key in ("title", "source", "licence") if not isinstance(given[key], str)]:
        yield f"{texts[0]} is no text"
    if not callable(given["build"]):
        yield "build cannot be called"


def _of_rates(given: Mapping[str, object]) -> Iterator[str]:
    grid = given["grid"]
    rates = list(grid) if isinstance(grid, tuple) and all(map(_positive, grid)) else []
    if len(rates) < 2 or rates != sorted(set(rates)):
        yield "the grid is not two or more rising rates above 0"
    if not _positive(given["default"]):
        yield f"the default rate is {given['default']!r}, and no number above 0"


def _of_settings(given: Mapping[str, object]) -> Iterator[str]:
    settings, limits = given["settings"], given["limits"]
    if not (isinstance(settings, Mapping) and all(isinstance(k, str) and _number(v) for k, v in settings.items())):
        yield "the settings are not names with finite numbers or switches"
    elif not (isinstance(limits, Mapping) and all(isinstance(limit, Limit) for limit in limits.values())):
        yield "the limits are not names with a Limit each"
    elif wrong := next((k for k, limit in limits.items() if k not in settings or not limit.holds(settings[k])), None):
        yield f"the limit of {wrong!r} leaves out its default, or there is no such setting"


def _of_needs(given: Mapping[str, object]) -> Iterator[str]:
    passes, state = given["passes"], given["state"]
    if type(passes) is not int or passes < 1:
        yield f"passes is {passes!r}, and no whole number from 1"
    elif passes > 1 and not given["needs_closure"]:
        yield "it takes several gradients a step (passes) without a closure"
    if state is not None and not (type(state) is int and state >= 0):
        yield f"state is {state!r}, and neither None nor a whole number from 0"
    if given["elementwise"] and given["matrices"]:
        yield "element-wise and for matrices exclude each other"


def _number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
