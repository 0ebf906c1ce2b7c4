"""What a report is made from: the facts and findings of one audit, indexed by group, probe and metric."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from auditor.bundle import Facts
from auditor.catalogue import MetricEntry, ProbeEntry
from auditor.policy import Finding, Findings
from auditor.record import Coordinate, Measurement, Record, Reliability, Result, SubjectRecord
from auditor.selector import matches_at, targets

from .wording import FAMILIES, WORST

Place = tuple[tuple[str, Coordinate], ...]
RANK: Mapping[Reliability, int] = {"reliable": 0, "suspicious": 1, "invalid": 2}


@dataclass(frozen=True)
class Group:
    """The subjects that differ by seed alone; a loaded model is a group of its own. `index` picks its colour."""

    id: str
    name: str
    index: int
    members: tuple[SubjectRecord, ...]

    @property
    def ids(self) -> frozenset[str]:
        """The group's own id and those of its members."""
        return frozenset({self.id, *(m.id for m in self.members)})


@dataclass(frozen=True)
class Number:
    """What is known of one metric at one place for one group: the group's own measurement, or its members' ones."""

    measurement: Measurement | None
    members: tuple[Measurement, ...]


@dataclass(frozen=True)
class Line:
    """One metric at one place: a row of the scorecard."""

    probe: ProbeEntry
    metric: MetricEntry
    at: Mapping[str, Coordinate]

    @property
    def qualified(self) -> str:
        """The metric's full name."""
        return f"{self.probe.id}.{self.metric.name}"


@dataclass(frozen=True, eq=False)
class Material:
    """The facts and the findings, with the look-ups that every section needs."""

    facts: Facts
    findings: Findings

    @property
    def record(self) -> Record:
        """The record of this audit."""
        return self.facts.record

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Every group of the record, in its order, named as shortly as stays unambiguous."""
        found = targets(self.record)
        names = _short_names([t.id for t in found])
        return tuple(
            Group(t.id, names[t.id], index, tuple(sorted(t.members, key=lambda s: (s.seed or 0, s.id))))
            for index, t in enumerate(found)
        )

    @cached_property
    def probes(self) -> tuple[ProbeEntry, ...]:
        """The probes with results, family by family; one that the catalogue does not know gets a bare entry."""
        ids = dict.fromkeys([*(r.probe for r in self.record.results), *(m.probe for m in self.record.measurements)])
        order = list(FAMILIES)
        found = [self._entry(probe) for probe in ids]
        return tuple(sorted(found, key=lambda p: order.index(p.family) if p.family in order else len(order)))

    def _entry(self, probe: str) -> ProbeEntry:
        known = self.facts.catalogue.probe(probe) or ProbeEntry(id=probe, title=probe)
        missing = {m.metric: m for m in self.record.measurements if m.probe == probe}
        for metric in known.metrics:
            missing.pop(metric.name, None)
        extra = tuple(
            MetricEntry(
                name=m.metric,
                title=m.metric.replace("_", " "),
                better=m.better,
                kind=m.kind,
                unit="number",
                at=tuple(sorted(m.at)),
            )
            for m in missing.values()
        )
        return known.model_copy(update={"metrics": (*known.metrics, *extra), "title": known.title or probe})

    @cached_property
    def _numbers(self) -> dict[tuple[str, str, Place], dict[str, Measurement]]:
        found: dict[tuple[str, str, Place], dict[str, Measurement]] = {}
        for m in self.record.measurements:
            found.setdefault((m.probe, m.metric, key(m.at)), {})[m.of] = m
        return found

    def lines(self, probe: ProbeEntry, metric: MetricEntry) -> tuple[Line, ...]:
        """Every place this metric was measured at: numbers ascending, texts in the record's order."""
        places = (at for p, name, at in self._numbers if (p, name) == (probe.id, metric.name))
        return tuple(Line(probe, metric, dict(at)) for at in sorted(places, key=numbers))

    def number(self, line: Line, group: Group) -> Number | None:
        """What is known of this line for this group; None where nothing was measured."""
        by = self._numbers.get((line.probe.id, line.metric.name, key(line.at)), {})
        members = tuple(by[m.id] for m in group.members if m.id in by)
        own = by.get(group.id) or (members[0] if len(group.members) == 1 and members else None)
        return Number(own, members) if own or members else None

    def results(self, probe: str, group: Group | None = None) -> tuple[Result, ...]:
        """The results of a probe, on one group or on all."""
        ids = group.ids if group else None
        return tuple(r for r in self.record.results if r.probe == probe and (ids is None or r.subject in ids))

    def reliability(self, probe: str, group: Group | None = None) -> Reliability:
        """The worst reliability among completed results."""
        done = (r.reliability for r in self.results(probe, group) if r.outcome == "completed")
        return max(done, key=RANK.__getitem__, default="reliable")

    def findings_on(self, line: Line, group: Group | None = None) -> tuple[Finding, ...]:
        """The findings that speak of this line, worst first."""
        ids = group.ids if group else None
        return tuple(
            sorted(
                (
                    f
                    for f in self.findings.findings
                    if f.metric == line.qualified and matches_at(f.at, line.at) and (ids is None or f.subject in ids)
                ),
                key=lambda f: WORST[f.state],
            )
        )

    @cached_property
    def headlines(self) -> tuple[Line, ...]:
        """The lines a reader sees first: the probes' headline metrics, and whatever a rule speaks of."""
        return tuple(line for probe in self.probes for line in self._probe_headlines(probe))

    @cached_property
    def representatives(self) -> tuple[Line, ...]:
        """One headline a metric: where a rule speaks of it, else where it was pressed hardest."""
        found: dict[str, Line] = {}
        for line in self.headlines:
            held = found.get(line.qualified)
            if held is None or self.findings_on(line) or not self.findings_on(held):
                found[line.qualified] = line
        return tuple(found.values())

    def _probe_headlines(self, probe: ProbeEntry) -> Iterable[Line]:
        declared = any(m.headline for m in probe.metrics)
        for index, metric in enumerate(probe.metrics):
            lines = self.lines(probe, metric)
            ruled = [line for line in lines if self.findings_on(line)]
            wanted = metric.headline or (not declared and index == 0)
            yield from (lines if wanted and len(lines) <= 4 else ruled or (lines[-1:] if wanted else ()))


def key(at: Mapping[str, Coordinate]) -> Place:
    """A place as something to look up by."""
    return tuple(sorted(at.items()))


def numbers(at: Place) -> tuple[float, ...]:
    """How places are ordered; texts stay as they come."""
    return tuple(v for _, v in at if not isinstance(v, str))


def anchor(probe: str) -> str:
    """The place of a probe's section on the page."""
    return "probe-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in probe)


def _short_names(groups: list[str]) -> dict[str, str]:
    """Group ids without the parts that all of them share in front: `mlp/sgd` is `sgd` where every model is an mlp."""
    first = {g.partition("/")[0] for g in groups}
    short = {g: g.partition("/")[2] for g in groups}
    unambiguous = len(first) == 1 and all(short.values()) and len(groups) > 1
    return short if unambiguous else {g: g for g in groups}
