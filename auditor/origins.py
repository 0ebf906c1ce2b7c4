"""Where subjects come from: trained under optimizers here, made by the user's own training, or loaded."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from auditor.arms import arms
from auditor.config import Loaded, SubjectConfig
from auditor.documents import Loc
from auditor.errors import ConfigError, ModelError
from auditor.plan import PlannedSubject
from auditor.planning import Planner
from auditor.recipe import Fit, Recipe
from auditor.sources import version_of
from auditor.subjects.beside import modules_in
from auditor.subjects.spec import Load
from auditor.train_section import TrainConfig
from auditor.variants.names import MARK

# What reads and runs a format, beside the libraries of every unit's environment: another version may answer otherwise.
RUN_BY: Mapping[str, tuple[str, ...]] = {
    "onnx": ("onnxruntime", "onnx"),
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
    "sklearn": ("skops", "xgboost", "lightgbm"),
}


def planned(planner: Planner, entry: SubjectConfig, loaded: Loaded) -> list[PlannedSubject]:
    """The subjects of one entry of the configuration, each with its variants behind it.

    Raises ConfigError or UnknownNameError with the place.
    """
    models = _as_they_are(planner, entry, loaded)
    return [s for m in models for s in (m, *(_variant(planner, m, name) for name in entry.variants))]


def _variant(planner: Planner, model: PlannedSubject, name: str) -> PlannedSubject:
    """A model as it would be deployed."""
    ending = MARK + name
    subject = model.id + ending
    unit = planner.add(
        "variant", f"make {subject}", {"model": model.unit, "variant": name}, (model.unit,), subject=subject
    )
    return replace(model, id=subject, group=model.group + ending, unit=unit, variant=name, original=model.unit)


def _as_they_are(planner: Planner, entry: SubjectConfig, loaded: Loaded) -> list[PlannedSubject]:
    place: Loc = ("subjects", loaded.config.subjects.index(entry))
    if entry.train is None:
        return [_existing(planner, entry, loaded, place)]
    made = []
    for arm in arms(planner, entry.train, loaded, (*place, "train")):
        group = f"{entry.id}/{arm.name}"
        for seed in range(entry.train.seeds):
            seeded, subject = arm.recipe.model_copy(update={"seed": seed}), f"{group}/{seed}"
            unit = planner.fit(Fit(recipe=seeded), f"train {subject}", subject)
            looks = _watched(planner, entry.train, seeded, subject)
            made.append(PlannedSubject(subject, group, entry, arm.recipe.optimizer, seed, seeded, unit, watched=looks))
    return made


def _watched(planner: Planner, train: TrainConfig, recipe: Recipe, subject: str) -> str | None:
    """The same training, looked at on the way on rows that it does not see, where a target is named.

    A training of its own, so that the subject has learnt from every row, as whoever asks for its members assumes.
    """
    if train.looked is None:
        return None
    return planner.fit(Fit(recipe=recipe, holdout=train.validation, looks=train.looked.looks), f"watch {subject}")


def _existing(planner: Planner, entry: SubjectConfig, loaded: Loaded, place: Loc) -> PlannedSubject:
    """A loaded model, with the recipe and the place in a group that its owner states."""
    assert entry.load is not None
    where = loaded.document.place((*place, "load"))
    unit = planner.add("load", f"load {entry.id}", _identity(planner, entry.load, where), subject=entry.id)
    recipe, stated = None, entry.retraining
    if stated is not None:
        at = (*place, "recipe")
        (arm,) = arms(planner, stated, loaded, at)
        recipe = arm.recipe.model_copy(update={"seed": entry.seed or 0})
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
