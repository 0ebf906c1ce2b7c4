"""What was audited, against which attackers, and what was not tested."""

from auditor.record import Result, SubjectRecord

from . import wording
from .material import Material, anchor
from .page import Cell, Column, Scope, Table
from .view_frameworks import untested

NO_ADVERSARY = "no adversary"


def scope(material: Material) -> Scope:
    """What was audited, against whom, and what was not tested."""
    gaps, left = _gaps(material), untested(material)
    note = (
        "Every probe of the catalogue ran on every model."
        if not gaps
        else ("No statement in this report, and no passed rule, speaks of what stands in this table.")
    )
    columns = (Column("Probe"), Column("State"), Column("Models"), Column("Reason"))
    return Scope(
        _subject(material),
        _threats(material),
        Table("Not run, skipped, errored or invalid", columns, gaps),
        note,
        left,
        f"{wording.count(len(left), 'attack class', 'attack classes')} of NIST AI 100-2 without reliable evidence here",
    )


def _subject(material: Material) -> str:
    record, data = material.record, material.record.dataset
    rows = wording.listed(f"{wording.whole(n)} {split} rows" for split, n in sorted(data.rows.items(), reverse=True))
    return (
        f"{wording.count(len(record.subjects), 'classifier')}{_origins(record.subjects)}, on the data set {data.id} "
        f"({rows}, {wording.count(len(data.classes), 'class', 'classes')}), with the profile {record.audit.profile}."
    )


def _origins(subjects: tuple[SubjectRecord, ...]) -> str:
    """How many were loaded, and how the others were trained."""
    loaded = sum(s.loaded is not None for s in subjects)
    made = [s for s in subjects if s.loaded is None and s.optimizer]
    told = [f", {loaded} loaded"] if 0 < loaded < len(subjects) else [", loaded"] if loaded else []
    if made:
        seeds = {s.seed for s in made if s.seed is not None}
        over = f" over {wording.count(len(seeds), 'seed')}" if seeds else ""
        count = f"{len(made)} " if loaded else ""
        told.append(
            f", {count}trained with {wording.listed(dict.fromkeys(s.optimizer for s in made if s.optimizer))}{over}"
        )
    return "".join(told)


def _threats(material: Material) -> Table:
    columns = (
        Column("Probe"),
        Column("Attacker's goal"),
        Column("Knowledge"),
        Column("Capability"),
        Column("Results", "number"),
    )
    rows = []
    for probe in material.probes:
        threat = probe.threat
        story = (threat.goal, threat.knowledge, threat.capability) if threat else (NO_ADVERSARY, "–", "–")
        done = sum(r.outcome == "completed" for r in material.results(probe.id))
        rows.append(
            (
                Cell(probe.title, head=True, href=f"#{anchor(probe.id)}"),
                *(Cell(text) for text in story),
                Cell(f"{done} of {len(material.results(probe.id))}", tone="number"),
            )
        )
    return Table("Threat models tested", columns, tuple(rows), tone="threats")


def _gaps(material: Material) -> tuple[tuple[Cell, ...], ...]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for result in material.record.results:
        if result.outcome != "completed":
            found.setdefault((result.probe, result.outcome, result.reason or "no reason given"), []).append(
                result.subject
            )
        elif result.reliability == "invalid":
            found.setdefault((result.probe, "invalid", _evidence(result)), []).append(result.subject)
    titles = {p.id: p.title for p in material.probes}
    rows = [
        (
            Cell(titles[probe], head=True),
            Cell(outcome, tone="word"),
            Cell(wording.listed(subjects, most=3)),
            Cell(reason),
        )
        for (probe, outcome, reason), subjects in sorted(found.items())
    ]
    rows += [
        (
            Cell(p.title or p.id, head=True),
            Cell("not run", tone="word"),
            Cell("all"),
            Cell(p.error or "not among the probes of this audit"),
        )
        for p in material.facts.catalogue.probes
        if p.id not in titles
    ]
    rows += [
        (Cell("every probe", head=True), Cell("errored", tone="word"), Cell(s.id), Cell(s.error))
        for s in material.record.subjects
        if s.error
    ]
    return tuple(rows)


def _evidence(result: Result) -> str:
    return " ".join(f"{c.flag}: {c.evidence}." for c in result.caveats if c.severity == "invalid") or "contradicted"
