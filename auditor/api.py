"""The Python API: audit a model that is already in memory."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from auditor import auditing
from auditor.config import Loaded, resolve
from auditor.dataset import Dataset
from auditor.documents import Document, Loc, Place
from auditor.errors import UnknownNameError
from auditor.record import Record
from auditor.store import Store
from auditor.subject import Outputs


def audit(
    model: Any,  # a torch module or a fitted scikit-learn classifier; neither is imported here
    data: Dataset | Mapping[str, np.ndarray],
    *,
    profile: str = "standard",
    name: str = "audit",
    seed: int = 0,
    outputs: Outputs = "logits",
    probes: Mapping[str, Any] | None = None,
    variants: Sequence[str] = (),
    policy: str | Path | None = None,
    out: str | Path | None = None,
    workers: int = 0,
    store: str | Path | None = None,
) -> Record:
    """What does an audit find in this model?

    `model` is a torch module (whose `outputs` are logits, probabilities or labels) or a fitted scikit-learn classifier.
    `data` is a Dataset, or a mapping with the npz keys: x_train, y_train, x_test, y_test, optional x_ood_NAME and
    groups_NAME; x is (N, features) or (N, C, H, W), y is (N,) integers. x_train are taken for the rows it
    was trained on.

    `probes` maps probe ids to parameters, or to "off", as in audit.yaml. `variants` are ways to deploy a torch module
    (int8, int4, bfloat16, pruned-N) that are audited beside it. `out` keeps the bundle with its reports; without it
    nothing is left on disk. `workers=0` works in this process, where nothing protects it from a model that crashes; any
    other number uses that many worker processes (the model must then be picklable, and the call stand under `if
    __name__ == "__main__":`). The model is not changed.

    Raises AuditorError for data or a model that cannot be audited. What failed inside is in the record, as `errored`.
    """
    dataset = _checked(model, data, seed=seed, outputs=outputs)
    load = {"format": "object", "path": type(model).__name__, "outputs": outputs}
    subject = {"load": load, "variants": list(variants)}
    loaded = _configuration(subject, dataset, profile=profile, name=name, seed=seed, probes=probes, policy=policy)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        place = auditing.Options(
            store=Path(store) if store else scratch / "store", out=Path(out) if out else scratch / "bundle"
        )
        return _run(loaded, dataset, model, replace(place, workers=workers or None, inline=workers == 0), bool(out))


def _run(loaded: Loaded, dataset: Dataset, model: Any, place: auditing.Options, reports: bool) -> Record:
    Store(place.store).write_dataset(dataset)
    options = replace(
        place,
        models={"model": model},
        formats=("html", "md") if reports else (),
        command=f"auditor.audit({type(model).__name__}, data, profile={loaded.config.profile!r})",
    )
    return auditing.run(loaded, options, data=dataset.facts()).facts.record


def _checked(model: Any, data: Dataset | Mapping[str, np.ndarray], *, seed: int, outputs: Outputs) -> Dataset:
    """The data, after a look at whether the model is a classifier for it."""
    from auditor.datasets import from_arrays
    from auditor.subjects import wrap
    from auditor.surroundings import own_copy, own_random_state

    if outputs not in get_args(Outputs):
        raise UnknownNameError("outputs", outputs, get_args(Outputs))
    dataset = data if isinstance(data, Dataset) else from_arrays(data)
    with own_random_state(seed):
        wrap(own_copy(model), dataset, outputs=outputs)
    return dataset


def _configuration(
    subject: Mapping[str, Any],
    dataset: Dataset,
    *,
    profile: str,
    name: str,
    seed: int,
    probes: Mapping[str, Any] | None,
    policy: str | Path | None,
) -> Loaded:
    values: dict[str, Any] = {
        "schema": "auditor/audit/1",
        "name": name,
        "seed": seed,
        "profile": profile,
        "data": {"source": "arrays", "description": dataset.description},
        "subjects": [{"id": "model", **subject}],
        "probes": dict(probes or {}),
        "policy": str(Path(policy).resolve()) if policy else None,
    }
    call = "the call of auditor.audit"
    places: dict[Loc, Place] = {("probes", probe): Place(call, 0) for probe in values["probes"]}
    return resolve(Document(call, values, places), "# made by auditor.audit\n", Path.cwd())
