"""What the finished units of an audit say: each model's measurements, and the groups whose members they are."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from auditor.bundle import Arrays
from auditor.contrast import Member
from auditor.groups import column
from auditor.job import Failure
from auditor.plan import Plan, PlannedResult, PlannedSubject
from auditor.record import Coordinate, Measurement
from auditor.store import Store

Key = tuple[str, str, tuple[tuple[str, float | str], ...]]


@dataclass
class Measured:
    """One audit's plan over its store, without what failed."""

    plan: Plan
    store: Store
    failures: Mapping[str, Failure]

    def finished(self, unit: str | None) -> dict[str, Any] | None:
        """What a unit said; None where it did not finish or what is there of it is older than its failure."""
        usable = unit is not None and unit not in self.failures and self.store.has(unit)
        return self.store.read(unit) if usable and unit is not None else None

    def weights(self, subject: PlannedSubject) -> str | None:
        """The digest of a subject's weights, or else of its file; None where it has neither."""
        said = self.finished(subject.unit)
        found = said.get("weights_sha256", said.get("sha256")) if said else None
        return None if found is None else str(found)

    def of(self, planned: PlannedResult) -> list[Measurement]:
        """The measurements of one probe on one subject."""
        said = self.finished(planned.unit)
        return [Measurement.model_validate(m) for m in said["measurements"]] if said else []

    @cached_property
    def groups(self) -> dict[str, list[PlannedSubject]]:
        """The subjects that have a seed, by their group."""
        groups: dict[str, list[PlannedSubject]] = defaultdict(list)
        for subject in self.plan.subjects:
            if subject.seed is not None:
                groups[subject.group].append(subject)
        return dict(groups)

    @cached_property
    def by_key(self) -> dict[Key, dict[str, Measurement]]:
        """Measurements by what they measure, then by subject."""
        found: dict[Key, dict[str, Measurement]] = defaultdict(dict)
        for planned in self.plan.results:
            for m in self.of(planned):
                found[m.probe, m.metric, tuple(sorted(m.at.items()))][m.of] = m
        return dict(found)

    @cached_property
    def samples(self) -> dict[tuple[str, str], Arrays]:
        """What was seen row by row, by probe and subject."""
        loaded: dict[tuple[str, str], Arrays] = {}
        for planned in self.plan.results:
            said = self.finished(planned.unit)
            if said and said.get("samples") and planned.unit:
                with np.load(self.store.path(planned.unit, "samples.npz"), allow_pickle=False) as archive:
                    loaded[planned.probe, planned.subject] = {name: archive[name] for name in archive.files}
        return loaded

    @cached_property
    def sides(self) -> dict[str, list[PlannedSubject]]:
        """What may be compared: the groups, and single models beside their variants."""
        return self.groups | {s.id: [s] for s in self.plan.subjects if s.seed is None}

    def members(self, group: str, measured: Mapping[str, Measurement]) -> list[Member] | None:
        """One member a subject of the group; None unless every subject of it was measured."""
        members = []
        for subject in self.sides.get(group, ()):
            m = measured.get(subject.id)
            if m is None:
                return None
            rows, values = column(self.samples.get((m.probe, subject.id), {}), m.column)
            members.append(Member(subject.id, group, subject.seed or 0, rows, values, m))
        return members or None

    def at(self, qualified: str, at: Mapping[str, Coordinate], group: str) -> list[Member] | None:
        """The members of a group on `probe.metric` at its coordinates; None unless every subject of it was measured."""
        probe, _, metric = qualified.rpartition(".")
        return self.members(group, self.by_key.get((probe, metric, tuple(sorted(at.items()))), {}))
