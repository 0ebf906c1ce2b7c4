"""The findings: what needs attention as cards, in the judge's order, and what passed as a table."""

from collections.abc import Mapping

from auditor.policy import Finding, Level

from . import wording
from .material import Material
from .page import Cell, Chip, Column, Fact, FindingCard, FindingsSection, Table
from .view_verdict import state_counts

SEVERITIES: Mapping[Level, Chip] = {
    "critical": Chip("critical", "level-4", "●"),
    "high": Chip("high", "level-3", "●"),
    "medium": Chip("medium", "level-2", "●"),
    "low": Chip("low", "level-1", "●"),
}


def findings_section(material: Material) -> FindingsSection:
    """All findings of the judgement."""
    found = material.findings.findings
    open_ones = [f for f in found if f.state != "pass"]
    passed = [f for f in found if f.state == "pass"]
    return FindingsSection(
        lead=_lead(material), counts=state_counts(material),
        cards=tuple(_card(material, f, index) for index, f in enumerate(open_ones, 1)),
        passed=_passed(material, passed) if passed else None, notes=material.findings.notes,
    )


def _lead(material: Material) -> str:
    policy = material.findings.policy
    return (
        f"Each finding is one rule of the policy {policy.get('id', 'not stated')} held against one number at "
        f"{100 * float(policy.get('confidence', 0.95)):g}{wording.THIN}% confidence. A rule without evidence never passes."
    )


def _card(material: Material, finding: Finding, index: int) -> FindingCard:
    unit = _unit(material, finding)
    level = SEVERITIES[finding.severity]
    weight = "shown, does not decide the verdict" if not finding.counts else "accepted" if finding.state == "waived" else (
        "counts towards the verdict"
    )
    return FindingCard(
        anchor=f"finding-{index}", chip=wording.STATES[finding.state],
        severity=Chip(f"{level.text}, {weight}", level.tone, level.icon),
        title=finding.title or _title(material, finding), rule=finding.rule, where=_where(finding),
        measured=_measured(finding, unit), bar=wording.threshold(finding.threshold, unit), reason=finding.reason,
        settle=finding.settle or "", waiver=_waiver(finding), references=wording.references(finding.references),
        fingerprint=finding.fingerprint[:16],
    )


def _unit(material: Material, finding: Finding) -> wording.Unit:
    entry = material.facts.catalogue.metric(finding.metric)
    return entry.unit if entry else "number"


def _title(material: Material, finding: Finding) -> str:
    entry = material.facts.catalogue.metric(finding.metric)
    return entry.title if entry else finding.metric


def _where(finding: Finding) -> str:
    return ", ".join(part for part in (finding.subject or "", wording.place(finding.at)) if part) or "no model matched"


def _measured(finding: Finding, unit: wording.Unit) -> str:
    if finding.value is None:
        return "not measured"
    span = f" ({wording.interval(finding.low, finding.high, unit)})" if finding.low is not None else ""
    return wording.amount(finding.value, unit) + span


def _waiver(finding: Finding) -> tuple[Fact, ...]:
    return (Fact("Waived by", finding.waiver, code=True),) if finding.waiver else ()


def _passed(material: Material, passed: list[Finding]) -> Table:
    columns = (Column("Rule"), Column("Metric"), Column("Model"), Column("Measured", "number"), Column("Bar"), Column("Severity"))
    rows = tuple(
        (
            Cell(f.rule, head=True), Cell(f.title or _title(material, f), note=wording.place(f.at)), Cell(f.subject or "all"),
            Cell(_measured(f, _unit(material, f)), tone="number", exact="" if f.value is None else repr(f.value)),
            Cell(wording.threshold(f.threshold, _unit(material, f)), tone="bar"), Cell(f.severity),
        )
        for f in passed
    )
    return Table("Rules that passed", columns, rows)
