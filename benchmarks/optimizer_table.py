"""Which optimizers of pytorch_optimizer can be used, what each needs, where its rates lie: writes the shipped table.

Run: OMP_NUM_THREADS=1 python benchmarks/optimizer_table.py [NAME ...]; with names, only those rows are made anew.
"""

import inspect
import json
import math
import re
import sys
import warnings
from importlib.metadata import metadata, version
from pathlib import Path
from typing import Any

import pytorch_optimizer
import torch

from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.errors import AuditorError
from auditor.recipe import Fit, Recipe
from auditor.seeds import Seeds
from auditor.training import conditions, loop, optimizers
from auditor.training.conformance import Slope, conformance, kept
from auditor.training.optimizers import extra
from auditor.training.optimizers.driver import StepDriver
from auditor.training.optimizers.spec import OptimizerSpec
from auditor.training.references import quadratic

APART = {"lr", "maximize", "foreach", "capturable", "differentiable", "fused", "kwargs", "self", "params"}
NON_COMMERCIAL = {"fromage": "CC-BY-NC-SA-4.0", "nero": "CC-BY-NC-SA-4.0"}
OWN = "Auditor's own optimizer of this name is used"
REFUSED = {
    "a2grad": "it has no learning rate to tune",
    "adahessian": "it needs second derivatives, which the loop does not keep",
    "adalomo": "it steps inside the backward pass, and takes a model in place of parameters",
    "adammini": "it takes a model in place of parameters",
    "alig": "its rate follows from the loss itself; there is none to tune",
    "bsam": "it has to be told the number of rows",
    "demo": "it trains by several processes",
    "distributedmuon": "it trains by several processes",
    "fadam": "it fails on float64, in which optimizers are checked",
    "lomo": "it steps inside the backward pass, and takes a model in place of parameters",
    "lorarite": "it is for low-rank adapters",
    "magma": "it is a wrapper of another optimizer",
    "ranger21": "it has to be told the number of steps, since it brings its own schedule",
    "spectralsphere": "it takes matrices alone and has no update for the rest",
    "sara": "it trains a small part of a finished network, by a mask",
    "schedulefreeradam": "schedule-free optimizers come from their authors' package: schedule-free-adamw",
    "sophiah": "it needs second derivatives, which the loop does not keep",
}
EPOCHS, WIDTH = 5, 32
digits = load(DataConfig(source="digits"), Path())


def papers() -> dict[str, str]:
    """Titles of the papers, by name, from the package's own description."""
    rows = re.findall(r"^\| ([\w.& -]+?)\s*\|\s*\*(.+?)\*\s*\|", metadata("pytorch_optimizer").get_payload(), re.M)
    return {re.sub(r"[^a-z0-9]", "", name.lower()): title for name, title in rows}


def signature(name: str) -> dict[str, Any]:
    """Settings with their defaults, which of them are whole numbers, and which stand for one tuple."""
    settings: dict[str, float | bool] = {}
    whole, tuples = [], {}
    for key, parameter in inspect.signature(pytorch_optimizer.load_optimizer(name).__init__).parameters.items():
        value = parameter.default
        if key in APART or value is parameter.empty:
            continue
        if isinstance(value, tuple) and all(_number(v) for v in value):
            parts = [f"beta{k}" if key == "betas" else f"{key}{k}" for k in range(1, len(value) + 1)]
            tuples[key], settings = parts, settings | dict(zip(parts, map(float, value), strict=True))
        elif isinstance(value, bool) or _number(value):
            settings[key] = value if isinstance(value, bool) else float(value)
            whole += [key] if type(value) is int else []
    return {"settings": settings, "whole": whole, "tuples": tuples}


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0  # no member of an enumeration


def decay(settings: dict[str, float | bool]) -> str:
    if "weight_decay" not in settings:
        return "none"
    return {True: "decoupled", False: "l2", None: "unstated"}[settings.get("weight_decouple")]


def row(name: str) -> dict[str, Any]:
    """All that the table says of a usable optimizer. Raises whatever it raises on a small problem."""
    kind = pytorch_optimizer.load_optimizer(name)
    said = signature(name)
    about = (inspect.getdoc(kind) or name).split("\n")[0].rstrip(".")
    made: dict[str, Any] = {
        "title": f"{kind.__name__}: {about}",
        "default": float(inspect.signature(kind.__init__).parameters["lr"].default),
        "grid": [],
        **said,
        "source": papers().get(name, f"see {kind.__name__} in the documentation of pytorch_optimizer"),
        "licence": NON_COMMERCIAL.get(name, "Apache-2.0"),
        "decay": decay(said["settings"]),
    }
    made |= {"train_eval": True} if callable(getattr(kind, "eval", None)) else {}
    made |= {"schedule": "own"} if name.startswith("schedulefree") else {}
    made |= needs(name, made)
    spec = spec_of(name, made)
    tensors = kept(spec)
    made["state"] = int(tensors) if tensors == int(tensors) else None
    made["default"], made["grid"] = rates(spec_of(name, made))
    return made


def needs(name: str, made: dict[str, Any]) -> dict[str, Any]:
    """A closure, or groups of matrices and others, where it does not go without."""
    errors = []
    for more in ({}, {"needs_closure": True}, {"matrices": True}, {"matrices": True, "needs_closure": True}):
        try:
            module = Slope((quadratic(0),))
            driver = StepDriver(spec_of(name, made | more), module, made["default"], made["settings"])
            for _ in range(3):
                driver.step(module.backward)
        except Exception as error:  # noqa: BLE001  # whatever it is, the next way is tried
            errors.append(error)
            continue
        return more | ({"passes": driver.passes // 3} if more.get("needs_closure") else {})
    raise errors[0]


def spec_of(name: str, made: dict[str, Any]) -> OptimizerSpec:
    """The specification of a row, which the table holds from then on."""
    table = json.loads(extra.TABLE.read_text())
    table["refused"].pop(name, None)
    table["usable"][name] = made
    write(table)
    return extra.spec(name)


def write(table: dict[str, Any]) -> None:
    table["version"] = version("pytorch_optimizer")
    extra.TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    extra.table.cache_clear()


def loss(spec: OptimizerSpec, rate: float) -> float:
    """Held-back loss on digits after a short training; infinite where it diverges."""
    recipe = Recipe(architecture="mlp", kwargs={"hidden": [WIDTH]}, optimizer=spec.name, epochs=EPOCHS)
    found = loop.fit(Fit(recipe=recipe, holdout=0.2), digits, seeds=Seeds(0, -1), learning_rate=rate).holdout_loss
    return math.inf if found is None else found


def rates(spec: OptimizerSpec) -> tuple[float, list[float]]:
    """The best rate by steps of a factor of four from the package's default, and four around it."""
    start = spec.default if spec.default > 0 else 1e-3
    seen = {k: loss(spec, start * 4.0**k) for k in (-1, 0, 1)}
    while (best := min(seen, key=lambda k: seen[k])) in (min(seen), max(seen)) and len(seen) < 10:
        further = best - 1 if best == min(seen) else best + 1
        seen[further] = loss(spec, start * 4.0**further)
    upward = seen.get(best + 1, math.inf) < seen.get(best - 1, math.inf)
    powers = range(best - 1, best + 3) if upward else range(best - 2, best + 2)
    print(f"  {spec.name}: " + "  ".join(f"{start * 4.0**k:.1e}: {v:.3f}" for k, v in sorted(seen.items())), flush=True)
    return _short(start * 4.0**best), [_short(start * 4.0**k) for k in powers]


def _short(rate: float) -> float:
    return float(f"{rate:.2g}")


def survey(names: list[str]) -> None:
    """Make the rows of these names, or of all."""
    taken = own_names()
    for name in names or sorted(pytorch_optimizer.get_supported_optimizers()):
        why = OWN if name in taken else REFUSED.get(name)
        if why is None:
            try:
                spec_of(name, tried(name))
                continue
            except Exception as error:  # noqa: BLE001  # whatever it is, it is the reason
                why = f"{type(error).__name__}: {error}".split("\n")[0][:160]
                print(f"  {name}: {why}", flush=True)
        table = json.loads(extra.TABLE.read_text())
        table["usable"].pop(name, None)
        table["refused"][name] = why
        write(table)


def own_names() -> set[str]:
    return {name for spec in optimizers.every() for name in (spec.name, *spec.aliases)}


def tried(name: str) -> dict[str, Any]:
    """Its row, with the checks that it does not stand. Raises AuditorError where two runs differ."""
    torch.default_generator.manual_seed(0)
    with conditions.repeatable():
        made = row(name)
    found = conformance(spec_of(name, made))
    made["fails"] = [check.name for check in found.failed]
    if "repeatable" in made["fails"]:
        raise AuditorError("two runs from the same seed differ")
    return made


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    survey(sys.argv[1:])
