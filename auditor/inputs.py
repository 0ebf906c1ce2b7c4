"""What a unit starts from: the data and the models that earlier units left in the store."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from auditor.bundle import file_sha256
from auditor.dataset import Dataset
from auditor.errors import DivergedError, ModelError
from auditor.job import Job
from auditor.recipe import Recipe
from auditor.store import Store
from auditor.subject import Access, Outputs, Subject
from auditor.subjects.kept import MODEL, kept
from auditor.surroundings import own_copy


@lru_cache(maxsize=2)
def dataset(store: Store, sha256: str) -> Dataset:
    """A data set of the store; the last two stay open."""
    return store.dataset(sha256)


def subject(job: Job, identity: str, data: Dataset) -> Subject:
    """The model that a finished unit made."""
    store = Store(job.store)
    content = store.read(identity)
    if content["kind"] == "load":
        return loaded(job, content["spec"], data)
    if content["diverged_at"] is not None:
        raise DivergedError(f"its training diverged: the loss stopped being finite at step {content['diverged_at']}")
    recipe = Recipe.model_validate(content["recipe"])
    if recipe.function is not None:
        return _own(job, recipe.function, store.path(identity, MODEL), recipe.outputs, data)
    from auditor.subjects.weights import load_state
    from auditor.training.architectures import build

    module = build(recipe, data.facts())
    module.load_state_dict(load_state(store.path(identity, "model.safetensors")).state)
    return torch_subject(module, data)


def _own(job: Job, function: str, path: Path, outputs: Outputs, data: Dataset) -> Subject:
    """A model that the user's own training made."""
    from auditor.subjects import beside, wrap

    beside.find(function, job.directory, what="train.function")
    return wrap(kept(path), data, outputs=outputs)


def expected_accuracy(store: Store, identity: str) -> float | None:
    """What the owner of a loaded model measured on the test rows, where they said so."""
    said = store.read(identity)
    stated = said["spec"].get("load", {}).get("expected_accuracy") if said["kind"] == "load" else None
    return None if stated is None else float(stated)


def torch_subject(module: Any, data: Dataset) -> Subject:  # torch.nn.Module, not imported for an annotation
    """A network trained here, as a subject."""
    from auditor.subjects.torch_subject import TorchSubject

    return TorchSubject(module, classes=len(data.classes), shape=data.shape, extra_access=frozenset({Access.RECIPE}))


def loaded(job: Job, spec: Mapping[str, Any], data: Dataset) -> Subject:
    """A model that exists: from its file, or the object that was handed in."""
    from auditor.subjects import wrap
    from auditor.subjects.loading import load
    from auditor.subjects.spec import Load

    if "object" in spec:
        return wrap(own_copy(job.model), data, outputs=spec["outputs"])
    wanted = Load.model_validate(spec["load"])
    if wanted.address is None:
        path = job.directory / wanted.place
        planned = {path: spec["content"]} | {path.parent / name: sha for name, sha in spec.get("beside", {}).items()}
        if changed := next((p for p, sha in planned.items() if not p.is_file() or file_sha256(p) != sha), None):
            raise ModelError(f"{changed} was changed while it was audited; run the audit again")
    return load(wanted, data.facts(), job.directory)
