"""The findings: what needs attention as cards, in the judge's order, and what passed as a table."""

from collections.abc import Mapping

from auditor.policy import Finding, Level
from auditor.record import Unit

from . import wording
from .material import Material, key
from .page import Cell, Chip, Column, FindingCard, FindingsSection, Table
from .view_verdict import state_counts

SEVERITIES: Mapping[Level, Chip] = {
    "critical": Chip("critical", "level-4", "●"),
    "high": Chip("high", "level-3", "●"),
    "medium": Chip("medium", "level-2", "●"),
    "low": Chip("low", "level-1", "●"),
}
MODELS = (Column("Model"), Column("Measured", "number"), Column("Why"), Column("Fingerprint"))


def findings_section(material: Material) -> FindingsSection:
    """All findings of the judgement."""
    found = material.findings.findings
    open_ones = [f for f in found if f.state != "pass"]
    passed = [f for f in found if f.state == "pass"]
    return FindingsSection(
        lead=_lead(material),
        counts=state_counts(material),
        cards=_cards(material, open_ones),
        passed=_passed(material, passed) if passed else None,
        notes=material.findings.notes,
    )


def _lead(material: Material) -> str:
    policy = material.findings.policy
    name, level = policy.get("id", "not stated"), 100 * float(policy.get("confidence", 0.95))
    return (
        f"Each finding is one rule of the policy {name} held against a number at {level:g}{wording.THIN}% confidence. "
        "A rule without evidence never passes."
    )


def _cards(material: Material, found: list[Finding]) -> tuple[FindingCard, ...]:
    """A card for each rule, state and place, with a row for each model it speaks of."""
    alike: dict[tuple[object, ...], list[Finding]] = {}
    for one in found:
        alike.setdefault((one.rule, one.state, one.severity, key(one.at), one.metric), []).append(one)
    return tuple(_card(material, tuple(group), index) for index, group in enumerate(alike.values(), 1))


def _card(material: Material, group: tuple[Finding, ...], index: int) -> FindingCard:
    first = group[0]
    unit = _unit(material, first)
    level = SEVERITIES[first.severity]
    weight = (
        "shown, does not decide the verdict"
        if not first.counts
        else "accepted"
        if first.state == "waived"
        else ("counts towards the verdict")
    )
    return FindingCard(
        anchor=f"finding-{index}",
        chip=wording.STATES[first.state],
        severity=Chip(f"{level.text}, {weight}", level.tone, level.icon),
        title=first.title or _title(material, first),
        rule=first.rule,
        where=", ".join(t for t in (_title(material, first), wording.place(first.at)) if t),
        bar=wording.threshold(first.threshold, unit),
        models=Table(
            f"{first.rule}, {wording.STATES[first.state].text}", MODELS, tuple(_model(f, unit) for f in group)
        ),
        references=wording.references(first.references),
    )


def _model(finding: Finding, unit: Unit) -> tuple[Cell, ...]:
    why = " ".join(_sentence(t) for t in (finding.reason, finding.settle or "", _waiver(finding)) if t)
    measured = "not measured" if finding.value is None else wording.amount(finding.value, unit)
    span = wording.interval(finding.low, finding.high, unit) if finding.low is not None else ""
    return (
        Cell(finding.subject or "no model matched", head=True),
        Cell(measured, note=span, tone="number", exact="" if finding.value is None else repr(finding.value)),
        Cell(why, tone="reason"),
        Cell(finding.fingerprint[:16], tone="digest"),
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _unit(material: Material, finding: Finding) -> Unit:
    entry = material.facts.catalogue.metric(finding.metric)
    return entry.unit if entry else "number"


def _title(material: Material, finding: Finding) -> str:
    entry = material.facts.catalogue.metric(finding.metric)
    return entry.title if entry else finding.metric


def _measured(finding: Finding, unit: Unit) -> str:
    if finding.value is None:
        return "not measured"
    span = f" ({wording.interval(finding.low, finding.high, unit)})" if finding.low is not None else ""
    return wording.amount(finding.value, unit) + span


def _waiver(finding: Finding) -> str:
    return f"Waived by {finding.waiver}" if finding.waiver else ""


def _passed(material: Material, passed: list[Finding]) -> Table:
    columns = (
        Column("Rule"),
        Column("Metric"),
        Column("Model"),
        Column("Measured", "number"),
        Column("Bar"),
        Column("Severity"),
    )
    rows = tuple(
        (
            Cell(f.rule, head=True),
            Cell(f.title or _title(material, f), note=wording.place(f.at)),
            Cell(f.subject or "all"),
            Cell(_measured(f, _unit(material, f)), tone="number", exact="" if f.value is None else repr(f.value)),
            Cell(wording.threshold(f.threshold, _unit(material, f)), tone="bar"),
            Cell(f.severity),
        )
        for f in passed
    )
    return Table("Rules that passed", columns, rows)
