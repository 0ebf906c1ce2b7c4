"""What one unit does, wherever it runs: read its inputs from the store, work, and put its result back whole."""

import os
import re
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from auditor import inputs, plugins
from auditor.claims import check_claims
from auditor.clock import Clock
from auditor.errors import AuditorError
from auditor.fitting import run_fit
from auditor.job import Failure, Job
from auditor.plan import Unit
from auditor.probe import Case, Outcome, Probe
from auditor.recipe import Recipe
from auditor.record import reliability
from auditor.seeds import Seeds
from auditor.store import Store, put
from auditor.subject import Access, Subject
from auditor.surroundings import importable, one_thread, own_random_state, settings_restored

ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")


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


def run_variant(job: Job) -> None:
    """Make a variant of a model, see that it runs, and say what can be got at; or why the model has none."""
    from auditor.variants.applying import NoVariantError, state_sha256

    clock = Clock()
    store, unit = Store(job.store), job.unit
    data = inputs.dataset(store, unit.spec["data"])
    content: dict[str, Any] = {"kind": "variant", "model": unit.spec["model"], "variant": unit.spec["variant"]}
    content |= {"root": unit.spec["root"], "diverged_at": None, "unfit": None}
    original = inputs.subject(job, unit.spec["model"], data)
    try:
        made = inputs.variant(original, unit.spec["variant"], data, unit.spec["root"])
    except NoVariantError as error:
        content |= {"access": [], "sha256": None, "unfit": str(error)}
    else:
        made.predict(data.x_test[:2])
        content |= {"access": sorted(made.access), "outputs": made.outputs, "sha256": state_sha256(made.module)}
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
    why = inputs.unfit(store, spec["model"])
    subject = None if why else inputs.subject(job, spec["model"], data)
    if subject is None or (lacking := missing_access(probe, subject)):
        nothing: dict[str, Any] = {"measurements": [], "caveats": [], "counts": {}}
        content = {"kind": "probe", "outcome": "skipped", "reason": why or lacking, **nothing}
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
        variant=spec["variant"],
        times=clock.detail,
        file_bytes=inputs.file_bytes(job, spec["model"]),
        fitted=lambda name: inputs.subject(job, spec["fits"][name], data, spec["variant"]),
        rate=lambda name: inputs.learning_rate(store, spec["fits"][name]),
        unchanged=(lambda: inputs.subject(job, spec["original"], data)) if spec["original"] else None,
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


WORK = {"fit": run_fit, "load": run_load, "variant": run_variant, "probe": run_probe}
