"""What one unit does, wherever it runs: read its inputs from the store, work, and put its result back whole."""

import os
import re
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from auditor import inputs, plugins
from auditor.bundle import UnitTiming, file_sha256
from auditor.claims import check_claims
from auditor.dataset import Dataset
from auditor.errors import AuditorError
from auditor.job import Failure, Job
from auditor.plan import Unit
from auditor.probe import Case, Outcome, Probe
from auditor.recipe import Fit, Recipe
from auditor.record import reliability
from auditor.seeds import Seeds
from auditor.store import Store, put
from auditor.subject import Access, Subject
from auditor.surroundings import importable, one_thread, own_random_state, settings_restored

ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")


@dataclass
class Clock:
    """Time spent on a unit; `detail` holds what the unit measured of itself."""

    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=time.process_time)
    detail: dict[str, float] = field(default_factory=dict)

    def stop(self, unit: Unit) -> UnitTiming:
        """The cost so far."""
        return UnitTiming(
            unit=unit.identity,
            kind=unit.kind,
            label=unit.label,
            subject=unit.subject,
            probe=unit.probe,
            detail=self.detail,
            wall_seconds=time.perf_counter() - self.wall,
            cpu_seconds=time.process_time() - self.cpu,
            peak_bytes=peak_bytes(),
        )


def peak_bytes() -> int | None:
    """The most memory this process has held; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def execute(job: Job) -> Failure | None:
    """Do one unit. What goes wrong is returned, so that it can be said and the rest of the audit goes on."""
    try:
        with one_thread(), own_random_state(_global_seed(job.unit)), settings_restored(), importable(job.directory):
            WORK[job.unit.kind](job)
    except AuditorError as error:
        return Failure(_said(str(error), job))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # law 8: a failing unit never ends an audit
        return Failure(_said(f"{type(error).__name__}: {error}", job)[:500], traceback.format_exc())
    return None


def _global_seed(unit: Unit) -> int:
    seeds = Seeds(unit.spec.get("root", 0), unit.spec.get("seed", 0))
    return seeds.integer("attack", probe=unit.probe or "", row="global")


def _said(message: str, job: Job) -> str:
    """An error as one line without what differs from machine to machine: a record of the same audit is the same."""
    for folder in {str(job.directory), str(job.store), str(job.store.resolve())} - {".", "/"}:
        message = message.replace(folder + os.sep, "")
    return " ".join(ADDRESS.sub("0x...", message).split())


def run_fit(job: Job) -> None:
    """Train one model and keep it with what the training said."""
    wanted = Fit.model_validate(job.unit.spec["fit"])
    data = inputs.dataset(Store(job.store), job.unit.spec["data"])
    (_fit_own if wanted.recipe.function else _fit_here)(job, wanted, data, Clock())


def _fit_own(job: Job, wanted: Fit, data: Dataset, clock: Clock) -> None:
    """Train by the user's function; of how it did so nothing is known."""
    from auditor.subjects.kept import keep
    from auditor.training.own import fit_own

    store, unit, recipe = Store(job.store), job.unit, wanted.recipe
    assert recipe.function is not None
    fitted = fit_own(wanted, data, seeds=Seeds(unit.spec["root"], recipe.seed), directory=job.directory)
    clock.detail = {"cpu_seconds": fitted.seconds.cpu, "wall_seconds": fitted.seconds.wall}
    unknown = dict.fromkeys(("learning_rate", "steps", "flops", "holdout_loss", "diverged_at", "privacy"))
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
        put(folder, content, clock.stop(unit))


def _fit_here(job: Job, wanted: Fit, data: Dataset, clock: Clock) -> None:
    from auditor.subjects.weights import save_state
    from auditor.training.loop import fit

    store, unit = Store(job.store), job.unit
    rate = wanted.recipe.learning_rate
    if not isinstance(rate, float):
        rate = float(store.read(unit.inputs[0])["learning_rate"])
    fitted = fit(wanted, data, seeds=Seeds(unit.spec["root"], wanted.recipe.seed), learning_rate=rate)
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
    }
    clock.detail = {
        "cpu_seconds": fitted.seconds.cpu,
        "wall_seconds": fitted.seconds.wall,
        "optimizer_state_bytes": fitted.optimizer_state_bytes,
    }
    with store.writing(unit.identity, replace=job.replace) as folder:
        if fitted.module is not None:
            subject = inputs.torch_subject(fitted.module, data)
            content |= {"access": sorted(subject.access), "outputs": subject.outputs}
            weights = folder / "model.safetensors"
            save_state(fitted.state, weights, {"recipe": content["recipe"] | {"learning_rate": fitted.learning_rate}})
            content["sha256"] = file_sha256(weights)
        put(folder, content, clock.stop(unit))


def run_load(job: Job) -> None:
    """Load a model that exists, see that it answers, and say what can be got at."""
    clock = Clock()
    store, unit = Store(job.store), job.unit
    data = inputs.dataset(store, unit.spec["data"])
    subject = inputs.loaded(job, unit.spec, data)
    subject.predict(data.x_test[:2])
    content = {
        "kind": "load",
        "spec": dict(unit.spec),
        "access": sorted(subject.access),
        "outputs": subject.outputs,
        "sha256": unit.spec.get("content"),
    }
    store.write(unit.identity, content, clock.stop(unit), replace=job.replace)


def run_probe(job: Job) -> None:
    """Ask one probe about one subject."""
    clock = Clock()
    store, unit = Store(job.store), job.unit
    spec = unit.spec
    data = inputs.dataset(store, spec["data"])
    probe: Probe = plugins.load("auditor.probes", spec["probe"])(
        **{k: _tuple(v) for k, v in spec["parameters"].items()}
    )
    subject = inputs.subject(job, spec["model"], data)
    if lacking := missing_access(probe, subject):
        content: dict[str, Any] = {
            "kind": "probe",
            "outcome": "skipped",
            "reason": lacking,
            "measurements": [],
            "caveats": [],
            "counts": {},
        }
        store.write(unit.identity, content, clock.stop(unit), replace=job.replace)
        return
    case = Case(
        probe=probe,
        of=spec["subject"],
        inner=subject,
        data=data,
        seeds=Seeds(spec["root"], spec["seed"]),
        confidence=spec["confidence"],
        expected_accuracy=inputs.expected_accuracy(store, spec["model"]),
        recipe=Recipe.model_validate(spec["recipe"]) if spec["recipe"] else None,
        fitted=lambda name: inputs.subject(job, spec["fits"][name], data),
    )
    outcome = probe.run(case)
    check_claims(outcome, case)
    with store.writing(unit.identity, replace=job.replace) as folder:
        content = _outcome_content(outcome, case) | _arrays(outcome, folder, gallery=spec["gallery"])
        put(folder, content, clock.stop(unit))


def missing_access(probe: Probe, subject: Subject) -> str | None:
    """Which access a probe cannot do without and this subject does not give, as a reason for skipping."""
    lacking: list[str] = sorted(probe.needs - subject.access - {Access.RECIPE})
    any_of = probe.needs_any
    if any_of and not any_of & subject.access:
        lacking.append(" or ".join(sorted(any_of)))
    return (
        f"needs access: {', '.join(lacking)}; this subject gives {', '.join(sorted(subject.access))}"
        if lacking
        else None
    )


def _outcome_content(outcome: Outcome, case: Case) -> dict[str, Any]:
    return {
        "kind": "probe",
        "outcome": "completed",
        "reason": None,
        "reliability": reliability(outcome.caveats),
        "measurements": [m.model_dump(mode="json") for m in outcome.measurements],
        "caveats": [c.model_dump(mode="json") for c in outcome.caveats],
        "counts": {"forwards": case.counts.forwards, "backwards": case.counts.backwards},
    }


def _arrays(outcome: Outcome, folder: Path, *, gallery: bool) -> dict[str, bool]:
    if outcome.samples is not None:
        s = outcome.samples
        np.savez_compressed(
            folder / "samples.npz",
            allow_pickle=False,
            row=s.row,
            label=s.label,
            prediction=s.prediction,
            **dict(s.columns),
        )
    if gallery and outcome.gallery is not None:
        g = outcome.gallery
        np.savez_compressed(
            folder / "gallery.npz",
            allow_pickle=False,
            before=g.before[:8],
            after=g.after[:8],
            label=g.label[:8],
            prediction=g.prediction[:8],
            **({} if g.epsilon is None else {"epsilon": np.array([g.epsilon])}),
        )
    return {"samples": outcome.samples is not None, "gallery": gallery and outcome.gallery is not None}


def _tuple(value: Any) -> Any:  # JSON values
    return tuple(_tuple(v) for v in value) if isinstance(value, list) else value


WORK = {"fit": run_fit, "load": run_load, "probe": run_probe}
