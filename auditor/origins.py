"""Where subjects come from: trained under optimizers here, made by the user's own training, or loaded."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from auditor import plugins
from auditor.config import Loaded, OptimizerConfig, SubjectConfig, TrainConfig, TuneConfig
from auditor.documents import Loc
from auditor.errors import ConfigError, ModelError, UnknownNameError
from auditor.plan import PlannedSubject
from auditor.planning import Planner
from auditor.recipe import Fit, Recipe, Tuned
from auditor.sources import version_of
from auditor.subjects.beside import modules_in
from auditor.subjects.spec import Load
from auditor.training.optimizers import check_settings, resolve

# What reads and runs a format, beside the libraries of every unit's environment: another version may answer otherwise.
RUN_BY: Mapping[str, tuple[str, ...]] = {
    "onnx": ("onnxruntime", "onnx"),
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
    "sklearn": ("skops", "xgboost", "lightgbm"),
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(_[A-Za-z0-9.-]+)*")


def planned(planner: Planner, entry: SubjectConfig, loaded: Loaded) -> list[PlannedSubject]:
    """The subjects of one entry of the configuration. Raises ConfigError or UnknownNameError with the place."""
    place: Loc = ("subjects", loaded.config.subjects.index(entry))
    if entry.train is None:
        return [_existing(planner, entry, loaded, place)]
    made = []
    for number, arm in enumerate(entry.train.arms):
        recipe = _recipe(entry.train, arm, loaded, (*place, "train"), number)
        for seed in range(entry.train.seeds):
            subject = f"{entry.id}/{recipe.optimizer}/{seed}"
            seeded = recipe.model_copy(update={"seed": seed})
            unit = planner.fit(Fit(recipe=seeded), f"train {subject}", subject)
            group = f"{entry.id}/{recipe.optimizer}"
            made.append(PlannedSubject(subject, group, entry, recipe.optimizer, seed, seeded, unit))
    if doubled := [s.id for s in made if [m.id for m in made].count(s.id) > 1]:
        where = loaded.document.place(place)
        raise ConfigError(f"{where}: {doubled[0].rpartition('/')[0]} is named twice")
    return made


def _recipe(train: TrainConfig, arm: OptimizerConfig, loaded: Loaded, place: Loc, number: int) -> Recipe:
    """The recipe of one arm."""
    at = loaded.document.place((*place, "optimizers", number))
    if train.function is not None:
        return _own_recipe(train, train.function, arm.name, at)
    check_architecture(train.architecture, loaded.document.place((*place, "architecture")))
    spec = resolve(arm.name, where=at)
    check_settings(spec, arm.settings, where=at)
    rate: float | Tuned = arm.learning_rate or spec.default
    if arm.learning_rate is None and train.tune != "off":
        tune = train.tune if isinstance(train.tune, TuneConfig) else TuneConfig()
        rate = Tuned(grid=tune.grid or spec.grid, epochs=train.epochs, validation=tune.validation)
    return Recipe(
        architecture=train.architecture,
        kwargs=train.kwargs,
        optimizer=spec.name,
        settings=arm.settings,
        learning_rate=rate,
        epochs=train.epochs,
        batch_size=train.batch_size,
        schedule=train.schedule,
        objective=train.objective,
    )


def _own_recipe(train: TrainConfig, function: str, optimizer: str, where: str) -> Recipe:
    """A recipe whose optimizer is a word that the user's function understands."""
    if ":" not in function:
        raise ConfigError(f'{where}: train.function {function!r} is not of the form "module:callable"')
    if not NAME.fullmatch(optimizer):
        raise ConfigError(
            f"{where}: the optimizer {optimizer!r} becomes part of file names: use letters, digits, . - and single _"
        )
    return Recipe(function=function, optimizer=optimizer, epochs=train.epochs, outputs=train.outputs)


def check_architecture(name: str, where: str) -> None:
    """Raise UnknownNameError for an architecture that is neither built in nor "module:callable"."""
    if ":" not in name and name not in plugins.names("auditor.architectures"):
        raise UnknownNameError("architecture", name, plugins.names("auditor.architectures"), where=where)


def _existing(planner: Planner, entry: SubjectConfig, loaded: Loaded, place: Loc) -> PlannedSubject:
    """A loaded model, with the recipe and the place in a group that its owner states."""
    assert entry.load is not None
    where = loaded.document.place((*place, "load"))
    unit = planner.add("load", f"load {entry.id}", _identity(planner, entry.load, where), subject=entry.id)
    recipe, stated = None, entry.retraining
    if stated is not None:
        at = (*place, "recipe")
        recipe = _recipe(stated, stated.arms[0], loaded, at, 0).model_copy(update={"seed": entry.seed or 0})
        planner.code_of(Fit(recipe=recipe))  # what is not there is said before anything runs
    group = entry.group or (entry.optimizer if entry.seed is not None else None) or entry.id
    optimizer = entry.optimizer or (recipe.optimizer if recipe else None)
    return PlannedSubject(entry.id, group, entry, optimizer, entry.seed, recipe, unit)


def _identity(planner: Planner, load: Load, where: str) -> dict[str, Any]:  # any JSON value
    """What decides how a loaded model answers."""
    if load.format == "object":
        # what an object answers cannot be told by its name: each is an input of its own, never taken for an earlier one
        return {"object": load.path, "outputs": load.outputs, "handed_in": uuid4().hex}
    spec: dict[str, Any] = {"load": load.model_dump(mode="json")}
    if load.address is not None:
        return spec | {"content": _answers(planner, load)}
    path = planner.directory / load.place
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ConfigError(f"{where}: load.path: {path} {what}; name the model's file")
    found: dict[str, Any] = {"content": _content(path), "factory": planner.codes.named(load.factory)}
    if packages := RUN_BY.get(load.format):
        found["versions"] = {name: version_of(name) for name in packages}
    if load.format == "onnx":
        from auditor.subjects.onnx.files import files_beside

        found["beside"] = {name: _content(p) for name, p in files_beside(path).items() if p.is_file()}
    if load.trust == "pickle":  # reading it may import what lies beside the audit file
        found["imports"] = {name: planner.codes.of(name) for name in modules_in(planner.directory)}
    return spec | found


def _answers(planner: Planner, load: Load) -> str:
    """What an endpoint says of itself and answers to a few rows: all that can be known of what is behind it.

    One that cannot be asked is an input of its own, whose unit will say why.
    """
    from auditor.subjects.endpoint.opening import fingerprint

    try:
        return fingerprint(load, planner.probing_rows)
    except ModelError as error:
        planner.notes.append(str(error))
        return f"unreachable {uuid4().hex}"


def _content(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
