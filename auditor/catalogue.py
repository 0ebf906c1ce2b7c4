"""What every installed probe says of itself, as it crosses files: read by reports and gates instead of the probes."""

import inspect
from typing import Literal

from pydantic import Field

from auditor.probe import Probe
from auditor.record import Better, Frozen, Kind, Unit


class MetricEntry(Frozen):
    """One metric of a probe."""

    name: str
    title: str
    better: Better
    kind: Kind
    unit: Unit
    at: tuple[str, ...] = ()
    headline: bool = False


class ThreatEntry(Frozen):
    """Who attacks."""

    goal: str
    knowledge: str
    capability: str


class ProbeEntry(Frozen):
    """One probe; `error` says why an installed one could not be read."""

    id: str
    version: int = 0
    title: str = ""
    family: str = ""
    question: str = ""
    method: str = ""
    needs: tuple[str, ...] = ()
    blind_spots: tuple[str, ...] = ()
    threat: ThreatEntry | None = None
    metrics: tuple[MetricEntry, ...] = ()
    references: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    undermines: tuple[str, ...] = ()
    source: str = "auditor"
    error: str | None = None


class Catalogue(Frozen):
    """All installed probes."""

    schema_: Literal["auditor/catalogue/1"] = Field("auditor/catalogue/1", alias="schema")
    version: str
    probes: tuple[ProbeEntry, ...]

    def probe(self, name: str) -> ProbeEntry | None:
        """The probe of this id."""
        return next((p for p in self.probes if p.id == name), None)

    def metric(self, qualified: str) -> MetricEntry | None:
        """The metric named `<probe id>.<metric>`."""
        name, _, metric = qualified.rpartition(".")
        entry = self.probe(name)
        return next((m for m in entry.metrics if m.name == metric), None) if entry else None

    def metric_names(self) -> list[str]:
        """Every `<probe id>.<metric>`."""
        return sorted(f"{p.id}.{m.name}" for p in self.probes for m in p.metrics)


def describe(probe: type[Probe], source: str = "auditor") -> ProbeEntry:
    """The catalogue entry of a probe class: the docstring's first paragraph is the question, the rest the method."""
    question, _, method = (inspect.getdoc(probe) or "").partition("\n\n")
    threat = probe.threat
    return ProbeEntry(
        id=probe.id,
        version=probe.version,
        title=probe.title,
        family=probe.family,
        source=source,
        question=" ".join(question.split()),
        method=method,
        needs=tuple(sorted(probe.needs)),
        blind_spots=probe.blind_spots,
        references=dict(probe.references),
        undermines=tuple(sorted(probe.undermines)),
        threat=ThreatEntry(goal=threat.goal, knowledge=threat.knowledge, capability=threat.capability)
        if threat
        else None,
        metrics=tuple(
            MetricEntry(
                name=m.name, title=m.title, better=m.better, kind=m.kind, unit=m.unit, at=m.at, headline=m.headline
            )
            for m in probe.metrics
        ),
    )
