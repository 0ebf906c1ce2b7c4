"""The subject of a first audit.yaml: a model file, how it opens, and what it takes and answers.

Formats that open without a user's code are opened and asked; the factory of a state dict is only read.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from auditor.dataset import Dataset
from auditor.errors import ConfigError, ModelError
from auditor.scaffold.choosing import Ask, chosen
from auditor.scaffold.data import SeenData
from auditor.scaffold.factories import Factory, factories_in
from auditor.sources import Codes
from auditor.subject import Outputs, Subject
from auditor.subjects.sniffing import ModelKind, formats_of, kind_of
from auditor.subjects.spec import Format, Load

ASKED = 256  # test rows
TELL_THEMSELVES = ("sklearn", "xgboost", "lightgbm")  # formats whose outputs need no declaration


@dataclass(frozen=True)
class SeenModel:
    """The id of the subject, its `load` as settings, what was guessed, and what it answered, in words."""

    id: str
    settings: dict[str, Any]  # YAML values
    guesses: tuple[str, ...]
    answered: str = "nothing yet: making its module runs your code, which is left to the audit"


def look(folder: Path, path: Path, factory: str | None, seen: SeenData, ask: Ask | None) -> SeenModel:
    """What an audit file in this folder says of a model file. Raises ConfigError or ModelError, with what to do."""
    wanted = _format(path)
    relative = os.path.relpath(path.resolve(), folder.resolve())
    settings: dict[str, Any] = {"format": wanted, "path": relative}
    if factory is not None and wanted != "state-dict":
        raise ConfigError(f"--factory: {path.name} is opened as {wanted}, which needs none; remove it")
    if wanted != "state-dict":
        return _opened(_id(path), settings, folder, seen)
    made = _factory(folder, path, factory, ask)
    settings |= {"factory": made.reference, "outputs": made.outputs}
    said = [f"factory: {made.reference}", f"outputs: {made.outputs}"]
    if seen.stored is not None:
        settings["input_range"] = _whole(seen.stored)
        said.append(f"the model takes values as stored, {seen.stored[0]:g} to {seen.stored[1]:g}")
    return SeenModel(_id(path), settings, tuple(said))


def _format(path: Path) -> Format:
    if not path.is_file():
        raise ConfigError(f"--model: {path} does not exist")
    kind = kind_of(path)
    if kind is ModelKind.PICKLE:
        raise ConfigError(
            f"--model: {path.name} is a pickle, which runs code on loading; save it with skops.io.dump, or write "
            f"`load: {{format: sklearn, path: {path.name}, trust: pickle}}` into an audit.yaml of your own"
        )
    if kind is ModelKind.LFS_POINTER:
        raise ConfigError(f"--model: {path.name} is {kind.value}, not the model; run `git lfs pull`")
    if kind is None or not formats_of(kind):
        what = "no model that is known, or was cut short" if kind is None else f"{kind.value}, no model"
        raise ConfigError(f"--model: {path.name} is {what}; save or fetch it again")
    return formats_of(kind)[0]


def _id(path: Path) -> str:
    """A file's name as the id of a subject."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", path.stem).strip("-.") or "model"


def _factory(folder: Path, path: Path, named: str | None, ask: Ask | None) -> Factory:
    """The factory that was named, else the one that is beside the audit file."""
    found = factories_in(folder) if folder.is_dir() else []
    if named is not None:
        return _known(folder, named, found)
    quiet = [f for f in found if not f.works] or found
    ready = [f for f in quiet if not f.needs]
    if not ready and ask is None:
        raise ConfigError(_no_factory(path, quiet))
    reference = chosen("factory", [f.reference for f in ready], "--factory", ask)
    if reference is None:
        raise ConfigError(_no_factory(path, quiet))
    return _known(folder, reference, found)


def _known(folder: Path, reference: str, found: Sequence[Factory]) -> Factory:
    """A factory that was read, else one of a module that is at least there. Raises ConfigError where it is not."""
    Codes(folder).named(reference)
    return next((f for f in found if f.reference == reference), Factory(reference, (), "logits", works=False))


def _no_factory(path: Path, found: Sequence[Factory]) -> str:
    if found:
        needy = ", ".join(f"{f.reference} needs {', '.join(f.needs)}" for f in found)
        return (
            f"--model: {path.name} holds weights, and what makes their module needs arguments ({needy}): give them "
            "defaults, or name it with --factory and put them under load.kwargs in audit.yaml"
        )
    return (
        f"--model: {path.name} holds weights; name what makes their module with --factory module:callable (a .py file "
        "beside audit.yaml)"
    )


def _opened(name: str, settings: dict[str, Any], folder: Path, seen: SeenData) -> SeenModel:
    """A model with what the model itself tells: the outputs it gives, and the preparation it wants."""
    wanted, data = settings["format"], seen.data
    tried: list[ModelError] = []
    for outputs in get_args(Outputs):
        declared = {} if wanted in TELL_THEMSELVES else {"outputs": outputs}
        try:
            subject = _load({**settings, **declared}, folder, data)
        except ModelError as error:
            tried.append(error)
            continue
        found = {**settings, **declared, **_prepared(subject, seen)}
        said = [f"{key}: {_short(value)}" for key, value in found.items() if key not in ("format", "path")]
        right = _right(_load(found, folder, data), data)
        return SeenModel(name, found, tuple(said), f"right on {right:.1%} of {min(ASKED, len(data.y_test))} test rows")
    raise tried[0]


def _load(settings: dict[str, Any], folder: Path, data: Dataset) -> Subject:
    from auditor.subjects.loading import load

    return load(Load.model_validate(settings), data.facts(), folder)


def _prepared(subject: Subject, seen: SeenData) -> dict[str, Any]:
    """`input_range`, `normalisation` or `classes` where others than the defaults make far more rows right."""
    from auditor.checks.examination import Asked
    from auditor.checks.feeding import best
    from auditor.checks.plausibility import believed_order

    data = seen.data
    asked = Asked.of(subject, data, _rows(data))
    found = best(asked, stored=seen.stored)
    settings = _whole(found.feeding.settings) if found else {}
    order = believed_order(asked.y, found.labels if found else asked.labels, len(data.classes))
    return settings if order is None else {**settings, "classes": [data.classes[k] for k in order]}


def _whole(value: Any) -> Any:  # YAML values
    """The same with whole numbers as such."""
    if isinstance(value, Mapping):
        return {key: _whole(v) for key, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_whole(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _right(subject: Subject, data: Dataset) -> float:
    from auditor.checks.examination import Asked

    return Asked.of(subject, data, _rows(data)).accuracy


def _rows(data: Dataset) -> Any:  # indices, numpy not imported for an annotation
    from auditor.probe import stratified
    from auditor.seeds import Seeds

    return stratified(data.y_test, ASKED, Seeds(0).numpy("attack"))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
