"""The record of an audit: a projection of its plan over the store, with estimates of groups and contrasts."""

import platform
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from auditor.bundle import Timings
from auditor.catalogue import Catalogue
from auditor.comparison import Comparison
from auditor.explained import doubted
from auditor.job import Failure
from auditor.measured import Measured
from auditor.plan import Plan, PlannedResult, PlannedSubject
from auditor.recipe import Recipe
from auditor.record import AuditRecord, Caveat, Record, Result, SubjectRecord, Training, reliability
from auditor.sources import environment
from auditor.store import Store
from auditor.subject import Access
from auditor.subjects.spec import Load
from auditor.targets import Target, reached, targets


@dataclass
class Assembly:
    """One audit's plan, store and failures, read into a record."""

    plan: Plan
    store: Store
    failures: Mapping[str, Failure]
    catalogue: Catalogue
    files: dict[str, Path] = field(default_factory=dict)  # samples and galleries by their name in the bundle

    @cached_property
    def _measured(self) -> Measured:
        return Measured(self.plan, self.store, self.failures)

    @cached_property
    def _comparison(self) -> Comparison:
        return Comparison(self._measured, self.catalogue)

    def record(self) -> Record:
        """Everything that was seen; `complete` unless some unit neither finished nor failed."""
        plan, config = self.plan, self.plan.config
        complete = all(self.store.has(u) or u in self.failures for u in plan.units)
        results = tuple(self._result(r) for r in plan.results)
        single = [m for r in plan.results for m in self._measured.of(r)]
        record = Record(
            audit=AuditRecord(
                name=config.name,
                seed=config.seed,
                profile=Path(config.profile).name,
                plan_sha256=plan.sha256,
                complete=complete,
            ),
            dataset=plan.data,
            subjects=tuple(self._subject(s) for s in plan.subjects),
            results=results,
            measurements=(*single, *self._comparison.group_measurements()),
            contrasts=self._comparison.contrasts(),
        )
        explained = tuple(doubted(one, record) for one in self._comparison.explained())
        return record.model_copy(update={"explained": explained})

    def _subject(self, subject: PlannedSubject) -> SubjectRecord:
        said, made = self._measured.finished(subject.unit), self._measured.finished(subject.base)
        failure = self.failures.get(subject.unit)
        error = failure.reason if failure else None if said else "not made: the audit was interrupted"
        if said and said.get("diverged_at") is not None:
            error = f"its training diverged at step {said['diverged_at']}"
        load = subject.config.load
        return SubjectRecord(
            id=subject.id,
            group=subject.group,
            config=subject.config.id,
            optimizer=subject.optimizer,
            seed=subject.seed,
            variant=subject.variant,
            access=_access(subject, said) if said else (),
            sha256=said.get("sha256") if said else None,
            weights_sha256=self._measured.weights(subject),
            error=error,
            training=self._training(subject, made) if made and made["kind"] == "fit" else None,
            loaded=_loaded(load, subject.recipe) if load else None,
        )

    def _training(self, subject: PlannedSubject, said: Mapping[str, Any]) -> Training:
        assert subject.recipe is not None
        searches = self.plan.units[subject.base].inputs
        tuning = self._measured.finished(searches[0]) if searches else None
        return Training(
            learning_rate=said["learning_rate"],
            epochs=said["epochs"],
            steps=said["steps"],
            flops=said["flops"],
            curve=tuple(said["curve"]),
            recipe=subject.recipe.stated(),
            privacy=said.get("privacy"),
            clipped=said.get("clipped"),
            optimizer_state_bytes=said.get("optimizer_state_bytes"),
            said=tuple(said.get("said", ())),
            tuning={k: tuning[k] for k in ("trials", "edge_limited", "seeds")} if tuning else None,
            **self._to_target(subject),
        )

    def _to_target(self, subject: PlannedSubject) -> dict[str, Any]:
        """When the watched training of a subject reached the target of its section, where it has one."""
        target, said = self._targets.get(subject.config.id), self._measured.finished(subject.watched)
        told = reached(said, target) if target and said else None
        return {"steps_to_target": told["steps"], "target": told} if told else {}

    @cached_property
    def _targets(self) -> dict[str, Target]:
        return targets(self.plan, self._measured.finished)

    def _result(self, planned: PlannedResult) -> Result:
        base = {
            "probe": planned.probe,
            "version": planned.version,
            "subject": planned.subject,
            "parameters": dict(planned.parameters),
        }
        if planned.unit is None:
            return Result(outcome="errored" if planned.errored else "skipped", reason=planned.reason, **base)
        if failure := self.failures.get(planned.unit):
            return Result(outcome="errored", reason=failure.reason, **base)
        said = self._measured.finished(planned.unit)
        if said is None:
            return Result(outcome="errored", reason="not run: the audit was interrupted", **base)
        if said["outcome"] == "skipped":
            return Result(outcome="skipped", reason=said["reason"], **base)
        caveats = (*(Caveat.model_validate(c) for c in said["caveats"]), *self._undermining(planned))
        return Result(
            outcome="completed",
            reliability=reliability(caveats),
            caveats=caveats,
            counts=said["counts"],
            samples=self._file(planned, "samples") if said["samples"] else None,
            gallery=self._file(planned, "gallery") if said["gallery"] else None,
            **base,
        )

    def _undermining(self, planned: PlannedResult) -> tuple[Caveat, ...]:
        """What other probes found of this subject that casts doubt on this result as well."""
        return tuple(
            Caveat(flag=c.flag, severity=c.severity, evidence=f"found by {probe}: {c.evidence}")
            for probe, c in self._doubts[planned.subject]
            if probe != planned.probe
        )

    @cached_property
    def _doubts(self) -> dict[str, list[tuple[str, Caveat]]]:
        """By subject: caveats that say that the model under audit is not the one that is meant, and who found them."""
        found: dict[str, list[tuple[str, Caveat]]] = defaultdict(list)
        for planned in self.plan.results:
            entry = self.catalogue.probe(planned.probe)
            said = self._measured.finished(planned.unit) if entry and entry.undermines else None
            for caveat in map(Caveat.model_validate, said["caveats"] if said else ()):
                if entry and caveat.flag in entry.undermines and caveat.severity != "info":
                    found[planned.subject].append((planned.probe, caveat))
        return found

    def _file(self, planned: PlannedResult, kind: str) -> str:
        assert planned.unit is not None
        name = f"{kind}/{planned.subject.replace('/', '__')}__{planned.probe}.npz"
        self.files[name] = self.store.path(planned.unit, f"{kind}.npz")
        return name

    def timings(self, provenance: Mapping[str, Any]) -> Timings:
        """What each finished unit cost when it ran, and on what."""
        units = tuple(self.store.timing(u) for u in self.plan.units if u not in self.failures and self.store.has(u))
        machine = {"system": platform.platform(), "processor": platform.machine(), "python": platform.python_version()}
        return Timings(units=units, provenance={**machine, **environment(), **provenance})


def _access(subject: PlannedSubject, said: Mapping[str, Any]) -> tuple[str, ...]:
    """What a model gives, and the recipe that stands beside it."""
    return tuple(sorted({*said.get("access", ()), *([Access.RECIPE] if subject.recipe else [])}))


def _loaded(load: Load, recipe: Recipe | None) -> dict[str, Any]:  # any JSON value
    """How a model was loaded, with files by their name alone, and the recipe stated for it."""
    said = load.model_dump(mode="json", exclude_defaults=True) | {"format": load.format, "outputs": load.outputs}
    if load.path is not None and load.address is None:
        said["path"] = Path(load.path).name
    return said | ({"recipe": recipe.stated()} if recipe else {})
