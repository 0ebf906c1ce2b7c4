"""The units that train: one model or alike ones at once, each kept as a unit of its own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from auditor import inputs
from auditor.bundle import file_sha256
from auditor.choosing import rate_of
from auditor.clock import Clock
from auditor.dataset import Dataset
from auditor.job import Job
from auditor.recipe import Fit
from auditor.seeds import Seeds
from auditor.store import Store, put
from auditor.subject import Access

if TYPE_CHECKING:
    from auditor.training.estimating import Estimated
    from auditor.training.loop import Fitted


def run_fit(job: Job) -> None:
    """Train one model, or alike ones at once, and keep each with what its training said."""
    if job.beside:
        _fit_stack(job, Clock(share=1 / (1 + len(job.beside))))
        return
    wanted = Fit.model_validate(job.unit.spec["fit"])
    data = inputs.dataset(Store(job.store), job.unit.spec["data"])
    recipe = wanted.recipe
    way = _fit_own if recipe.function else _fit_estimator if recipe.estimator else _fit_here
    way(job, wanted, data, Clock())


def _fit_own(job: Job, wanted: Fit, data: Dataset, clock: Clock) -> None:
    """Train by the user's function; of how it did so nothing is known."""
    from auditor.subjects.kept import keep
    from auditor.training.own import fit_own
    from auditor.variants.applying import state_sha256

    store, unit, recipe = Store(job.store), job.unit, wanted.recipe
    assert recipe.function is not None
    fitted = fit_own(wanted, data, seeds=Seeds(unit.spec["root"], recipe.seed), directory=job.directory)
    clock.detail = {"cpu_seconds": fitted.seconds.cpu, "wall_seconds": fitted.seconds.wall}
    unknown = dict.fromkeys(("learning_rate", "steps", "flops", "holdout_loss", "diverged_at", "privacy", "clipped"))
    content: dict[str, Any] = {
        "kind": "fit",
        "recipe": recipe.model_dump(mode="json"),
        "data": data.sha256,
        "epochs": recipe.epochs,
        "curve": [],
        "access": sorted(fitted.subject.access | {Access.RECIPE}),
        "outputs": fitted.subject.outputs,
        **unknown,
    }
    with store.writing(unit.identity, replace=job.replace) as folder:
        content["sha256"] = keep(fitted.model, folder, recipe.function, content["recipe"])
        module = getattr(fitted.subject, "module", None)  # a classifier that is no network is known by its pickle
        content["weights_sha256"] = content["sha256"] if module is None else state_sha256(module)
        put(folder, content, clock.stop(unit))


def _fit_estimator(job: Job, wanted: Fit, data: Dataset, clock: Clock) -> None:
    """Train a classifier of scikit-learn; what it warned of stands beside what it gave."""
    from auditor.training.estimating import fit_estimator

    recipe, unit = wanted.recipe, job.unit
    rate = None if recipe.learning_rate is None else rate_of(Store(job.store), unit, recipe)
    if rate is None and recipe.learning_rate is not None:
        _leave_out(job, wanted, clock)
        return
    fitted = fit_estimator(wanted, data, seeds=Seeds(unit.spec["root"], recipe.seed), learning_rate=rate)
    _keep(job, wanted, fitted, data, clock, {"said": list(fitted.said)})


def _fit_here(job: Job, wanted: Fit, data: Dataset, clock: Clock) -> None:
    from auditor.training.looks import watched
    from auditor.training.loop import fit

    store, unit = Store(job.store), job.unit
    rate = rate_of(store, unit, wanted.recipe)
    if rate is None:
        _leave_out(job, wanted, clock)
        return
    seeds, start = Seeds(unit.spec["root"], wanted.recipe.seed), inputs.start(job, wanted.recipe)
    looks: dict[str, Any] = {}
    if wanted.looks:
        fitted, seen = watched(wanted, data, seeds=seeds, learning_rate=rate, start=start)
        looks = {"looks": list(seen)}
    else:
        fitted = fit(wanted, data, seeds=seeds, learning_rate=rate, start=start)
    _keep(job, wanted, fitted, data, clock, looks)


def _fit_stack(job: Job, clock: Clock) -> None:
    """Train alike models at once. Each is kept as if it had been alone, for that is what it is like."""
    from auditor.training.stacked import Member, fit_stacked

    store, data = Store(job.store), inputs.dataset(Store(job.store), job.unit.spec["data"])
    jobs, members = [], []
    for unit in (job.unit, *job.beside):
        own, wanted = replace(job, unit=unit, beside=()), Fit.model_validate(unit.spec["fit"])
        rate = rate_of(store, unit, wanted.recipe)
        if rate is None:
            _leave_out(own, wanted, clock)
        else:
            seeds = Seeds(unit.spec["root"], wanted.recipe.seed)
            members.append(Member(wanted, seeds, rate, inputs.start(own, wanted.recipe)))
            jobs.append(own)
    for own, member, fitted in zip(jobs, members, fit_stacked(members, data), strict=True):
        _keep(own, member.fit, fitted, data, clock, {})


def _keep(
    job: Job, wanted: Fit, fitted: "Fitted | Estimated", data: Dataset, clock: Clock, further: Mapping[str, Any]
) -> None:
    """Write a training into the store: what it said, and the weights where it has any."""
    from auditor.subjects.weights import save_state
    from auditor.variants.applying import state_sha256

    store, unit = Store(job.store), job.unit
    content: dict[str, Any] = {
        "kind": "fit",
        "recipe": wanted.recipe.model_dump(mode="json"),
        "data": data.sha256,
        "learning_rate": fitted.learning_rate,
        "epochs": fitted.epochs,
        "steps": fitted.steps,
        "flops": fitted.flops,
        "curve": list(fitted.curve),
        "holdout_loss": fitted.holdout_loss,
        "diverged_at": fitted.diverged_at,
        "privacy": fitted.privacy,
        "clipped": fitted.clipped,
        "optimizer_state_bytes": fitted.optimizer_state_bytes,
        **further,
    }
    clock.detail = {
        "cpu_seconds": fitted.seconds.cpu,
        "wall_seconds": fitted.seconds.wall,
        **({} if fitted.peak_bytes is None else {"training_peak_bytes": fitted.peak_bytes}),
    }
    with store.writing(unit.identity, replace=job.replace) as folder:
        if fitted.module is not None:
            subject = inputs.torch_subject(fitted.module, data)
            content |= {"access": sorted(subject.access), "outputs": subject.outputs}
            weights = folder / "model.safetensors"
            save_state(fitted.state, weights, {"recipe": content["recipe"] | {"learning_rate": fitted.learning_rate}})
            content |= {"sha256": file_sha256(weights), "weights_sha256": state_sha256(fitted.module)}
        put(folder, content, clock.stop(unit))


def _leave_out(job: Job, wanted: Fit, clock: Clock) -> None:
    """Say that a search has no use for a trial that could have been needed."""
    nothing = dict.fromkeys(("learning_rate", "holdout_loss", "diverged_at", "privacy", "clipped"))
    content: dict[str, Any] = {"kind": "fit", "recipe": wanted.recipe.model_dump(mode="json"), "unneeded": True}
    clock.detail = {"cpu_seconds": 0.0, "wall_seconds": 0.0}
    content |= nothing | {"epochs": 0, "steps": 0, "flops": 0, "curve": []}
    Store(job.store).write(job.unit.identity, content, clock.stop(job.unit), replace=job.replace)
