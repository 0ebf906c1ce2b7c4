"""What a unit starts from: the data and the models that earlier units left in the store."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.bundle import file_sha256
from auditor.dataset import Dataset
from auditor.errors import DivergedError, ModelError
from auditor.job import Job
from auditor.recipe import Recipe
from auditor.store import Store
from auditor.subject import Access, Outputs, Subject
from auditor.subjects.kept import MODEL, kept
from auditor.surroundings import own_copy
from auditor.variants.names import FLOAT, variant_of

if TYPE_CHECKING:
    from auditor.subjects.torch_subject import TorchSubject


@lru_cache(maxsize=2)
def dataset(store: Store, sha256: str) -> Dataset:
    """A data set of the store; the last two stay open."""
    return store.dataset(sha256)


def subject(job: Job, identity: str, data: Dataset, as_variant: str = FLOAT) -> Subject:
    """The model that a finished unit made, or a variant of it."""
    if as_variant != FLOAT:
        return variant(subject(job, identity, data), as_variant, data, job.unit.spec["root"])
    store = Store(job.store)
    content = store.read(identity)
    if content["kind"] == "variant":
        return subject(job, content["model"], data, content["variant"])
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


def start(job: Job, recipe: Recipe) -> Mapping[str, Any] | None:  # of torch.Tensor, not imported for an annotation
    """The weights from which a recipe starts, where it does. Raises ModelError for a file that was changed."""
    if recipe.start is None:
        return None
    from auditor.subjects.loading import read_weights

    path = job.directory / recipe.start.path
    if not path.is_file() or file_sha256(path) != recipe.start.sha256:
        raise ModelError(f"{path} was changed while it was audited; run the audit again")
    return read_weights(path)


def variant(original: Subject, name: str, data: Dataset, root: int) -> "TorchSubject":
    """A model as it would be deployed; its inputs are calibrated on training rows."""
    from auditor.variants.applying import applied

    return applied(original, variant_of(name), data, root)


def unfit(store: Store, identity: str) -> str | None:
    """Why a model has no such variant; None where it has, and of a model as it is."""
    why = store.read(identity).get("unfit")
    return None if why is None else str(why)


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


def learning_rate(store: Store, identity: str) -> float | None:
    """The learning rate of a training that is finished, as it was named or found; None where it has none."""
    rate = store.read(identity)["learning_rate"]
    return None if rate is None else float(rate)


def file_bytes(job: Job, identity: str) -> int | None:
    """The size of a loaded model's files; None of a model that has none, or is a variant of what they hold."""
    from auditor.subjects.spec import Load

    said = Store(job.store).read(identity)
    spec = said["spec"] if said["kind"] == "load" else {}
    wanted = Load.model_validate(spec["load"]) if "load" in spec else None
    if wanted is None or wanted.address is not None:
        return None
    path = job.directory / wanted.place
    files: tuple[Path, ...] = (path, *(path.parent / name for name in spec.get("beside", {})))
    return sum(int(file.stat().st_size) for file in files)


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
