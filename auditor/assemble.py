"""The record of an audit: a projection of its plan over the store, with estimates of groups and contrasts."""

import platform
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from auditor.bundle import Arrays, Timings
from auditor.catalogue import Catalogue
from auditor.contrast import Member, NotComparableError, contrast, finish, group_measurement, shown_equivalent
from auditor.errors import AuditorError
from auditor.job import Failure
from auditor.plan import Plan, PlannedResult, PlannedSubject
from auditor.recipe import Recipe
from auditor.record import (
    AuditRecord,
    Caveat,
    Contrast,
    Measurement,
    Record,
    Result,
    SubjectRecord,
    Training,
    reliability,
)
from auditor.sources import environment
from auditor.store import Store
from auditor.subject import Access
from auditor.subjects.spec import Load

Key = tuple[str, str, tuple[tuple[str, float | str], ...]]


@dataclass
class Assembly:
    """One audit's plan, store and failures, read into a record."""

    plan: Plan
    store: Store
    failures: Mapping[str, Failure]
    catalogue: Catalogue
    files: dict[str, Path] = field(default_factory=dict)  # samples and galleries by their name in the bundle

    def record(self) -> Record:
        """Everything that was seen; `complete` unless some unit neither finished nor failed."""
        plan, config = self.plan, self.plan.config
        complete = all(self.store.has(u) or u in self.failures for u in plan.units)
        results = tuple(self._result(r) for r in plan.results)
        single = [m for r in plan.results for m in self._measurements(r)]
        return Record(
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
            measurements=(*single, *self._group_measurements()),
            contrasts=self._contrasts(),
        )

    def _finished(self, unit: str | None) -> dict[str, Any] | None:
        usable = unit is not None and unit not in self.failures and self.store.has(unit)
        return self.store.read(unit) if usable and unit is not None else None

    def _subject(self, subject: PlannedSubject) -> SubjectRecord:
        said = self._finished(subject.unit)
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
            access=_access(subject, said) if said else (),
            sha256=said.get("sha256") if said else None,
            error=error,
            training=self._training(subject, said) if said and said["kind"] == "fit" else None,
            loaded=_loaded(load, subject.recipe) if load else None,
        )

    def _training(self, subject: PlannedSubject, said: Mapping[str, Any]) -> Training:
        assert subject.recipe is not None
        searches = self.plan.units[subject.unit].inputs
        tuning = self._finished(searches[0]) if searches else None
        return Training(
            learning_rate=said["learning_rate"],
            epochs=said["epochs"],
            steps=said["steps"],
            flops=said["flops"],
            curve=tuple(said["curve"]),
            recipe=subject.recipe.model_dump(mode="json", exclude={"seed"}),
            privacy=said.get("privacy"),
            tuning={k: tuning[k] for k in ("trials", "edge_limited")} if tuning else None,
        )

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
        said = self._finished(planned.unit)
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
            said = self._finished(planned.unit) if entry and entry.undermines else None
            for caveat in map(Caveat.model_validate, said["caveats"] if said else ()):
                if entry and caveat.flag in entry.undermines and caveat.severity != "info":
                    found[planned.subject].append((planned.probe, caveat))
        return found

    def _file(self, planned: PlannedResult, kind: str) -> str:
        assert planned.unit is not None
        name = f"{kind}/{planned.subject.replace('/', '__')}__{planned.probe}.npz"
        self.files[name] = self.store.path(planned.unit, f"{kind}.npz")
        return name

    def _measurements(self, planned: PlannedResult) -> list[Measurement]:
        said = self._finished(planned.unit)
        return [Measurement.model_validate(m) for m in said["measurements"]] if said else []

    @cached_property
    def _groups(self) -> dict[str, list[PlannedSubject]]:
        groups: dict[str, list[PlannedSubject]] = defaultdict(list)
        for subject in self.plan.subjects:
            if subject.seed is not None:
                groups[subject.group].append(subject)
        return dict(groups)

    @cached_property
    def _by_key(self) -> dict[Key, dict[str, Measurement]]:
        """Measurements by what they measure, then by subject."""
        found: dict[Key, dict[str, Measurement]] = defaultdict(dict)
        for planned in self.plan.results:
            for m in self._measurements(planned):
                found[m.probe, m.metric, tuple(sorted(m.at.items()))][m.of] = m
        return dict(found)

    @cached_property
    def _samples(self) -> dict[tuple[str, str], Arrays]:
        loaded: dict[tuple[str, str], Arrays] = {}
        for planned in self.plan.results:
            said = self._finished(planned.unit)
            if said and said.get("samples") and planned.unit:
                with np.load(self.store.path(planned.unit, "samples.npz"), allow_pickle=False) as archive:
                    loaded[planned.probe, planned.subject] = {name: archive[name] for name in archive.files}
        return loaded

    def _members(self, group: str, measured: Mapping[str, Measurement]) -> list[Member] | None:
        """One member a subject of the group; None unless every subject of it was measured."""
        members = []
        for subject in self._groups.get(group, ()):
            m = measured.get(subject.id)
            if m is None:
                return None
            assert subject.seed is not None
            rows, values = column(self._samples.get((m.probe, subject.id), {}), m.column)
            members.append(
                Member(subject=subject.id, group=group, seed=subject.seed, rows=rows, values=values, measurement=m)
            )
        return members or None

    def _group_measurements(self) -> list[Measurement]:
        found = []
        for measured in self._by_key.values():
            for group in self._groups:
                if members := self._members(group, measured):
                    with suppress(NotComparableError):  # no number for the group, so that nothing can pass by it
                        m = measured[members[0].subject]
                        metric = self.catalogue.metric(f"{m.probe}.{m.metric}")
                        unit = metric.unit if metric else None
                        found.append(group_measurement(m, members, self.plan.config.confidence, unit))
        return found

    def _pairs(self) -> list[tuple[str, str]]:
        """Which groups are compared: each with the reference, or with the first of its family.

        A family is what one configuration trains; all groups of loaded models are one.
        """
        reference = self.plan.config.contrasts.reference
        family = {group: s[0].config.id if s[0].config.train else None for group, s in self._groups.items()}
        firsts: dict[str | None, str] = {}
        for group, name in family.items():
            firsts.setdefault(name, group)
        return [(a, group) for group, name in family.items() if (a := reference or firsts[name]) != group]

    def _contrasts(self) -> tuple[Contrast, ...]:
        settings = self.plan.config.contrasts
        metrics = settings.metrics or tuple(
            f"{p.id}.{m.name}" for p in self.catalogue.probes for m in p.metrics if m.headline and m.better != "neither"
        )
        made = [c for name in metrics for a, b in self._pairs() for c in self._contrasts_of(name, a, b)]
        return finish(made, {pair: self._equal_accuracy(*pair) for pair in self._pairs()})

    def _equal_accuracy(self, a: str, b: str) -> bool | None:
        """Whether two groups' accuracies are shown to be equal; None where they were not both measured."""
        measured = self._by_key.get(("accuracy", "accuracy", ()), {})
        ours, theirs = self._members(a, measured), self._members(b, measured)
        settings = self.plan.config.contrasts
        if not (ours and theirs):
            return None
        try:
            return shown_equivalent(ours, theirs, delta=settings.delta, alpha=settings.alpha)
        except NotComparableError:
            return None

    def _contrasts_of(self, qualified: str, a: str, b: str) -> list[Contrast]:
        settings = self.plan.config.contrasts
        found = []
        for (probe, metric, _), measured in self._by_key.items():
            if f"{probe}.{metric}" != qualified:
                continue
            ours, theirs = self._members(a, measured), self._members(b, measured)
            if ours and theirs:
                template = measured[ours[0].subject]
                with suppress(NotComparableError):  # groups asked different rows have no paired difference
                    found.append(
                        contrast(
                            qualified,
                            template.at,
                            ours,
                            theirs,
                            alpha=settings.alpha,
                            delta=settings.delta,
                            better=template.better,
                            confidence=self.plan.config.confidence,
                        )
                    )
        return found

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
    return said | ({"recipe": recipe.model_dump(mode="json", exclude={"seed"})} if recipe else {})


def column(samples: Arrays, name: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Row identities and per-row contributions (float, NaN for rows not asked) that a measurement's `column` names."""
    if name is None or not samples:
        return np.array([], np.str_), np.array([], np.float64)
    array, _, index = name.partition(":")
    if array not in samples:
        raise AuditorError(f"a measurement names the column {name!r}, which its samples do not have")
    return samples["row"], samples[array][:, int(index)].astype(np.float64)
