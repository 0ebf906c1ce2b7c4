"""The top of the report: the verdict with three plain lines, and the scorecard."""

from collections.abc import Mapping

from auditor.policy import Finding, State

from . import cells, wording
from .material import Group, Line, Material
from .page import Banner, Cell, Chip, Column, Fact, Table

VERDICTS: Mapping[str, Chip] = {
    "pass": Chip("PASS", "pass", "✓"),
    "fail": Chip("FAIL", "fail", "✕"),
    "inconclusive": Chip("INCONCLUSIVE", "unsure", "?"),
}
INCOMPLETE = Chip("INCOMPLETE", "unsure", "…")

# With more groups than this, each has a row and not a column.
WIDEST = 8


def banner(material: Material) -> Banner:
    """The verdict and the three lines for a reader in a hurry."""
    audit, findings = material.record.audit, material.findings
    policy = findings.policy
    chip = VERDICTS[findings.verdict] if audit.complete else INCOMPLETE
    alert = (
        ""
        if audit.complete
        else (
            "This audit was interrupted before it was finished. What is shown was measured; what is missing was not. "
            f"Judged as it stands: {VERDICTS[findings.verdict].text}. Run the same command again to finish it."
        )
    )
    facts = (
        Fact("Policy", str(policy.get("id", "not stated"))),
        Fact("Policy digest", str(policy.get("sha256", "not stated"))[:16], code=True),
        Fact("Judged as of", findings.as_of.isoformat()),
        Fact("Exit code", str(findings.exit_code)),
        Fact("Decided by", _decided(str(policy.get("fail_on", "not stated")))),
    )
    lines = tuple(line for line in (findings.summary, coverage_line(material), contrast_line(material)) if line)
    return Banner(chip, "Security and robustness audit", audit.name, lines, facts, alert)


def _decided(level: str) -> str:
    return "critical rules" if level == "critical" else f"rules of severity {level} and above"


def coverage_line(material: Material) -> str:
    """How much was audited, and how much of it gave a result."""
    record = material.record
    outcomes = {name: sum(r.outcome == name for r in record.results) for name in ("completed", "skipped", "errored")}
    models = wording.count(len(record.subjects), "model")
    groups = (
        f" in {wording.count(len(material.groups), 'group')}" if len(material.groups) < len(record.subjects) else ""
    )
    return (
        f"{models}{groups} on {record.dataset.id}, {wording.count(len(material.probes), 'probe')}: "
        f"{outcomes['completed']} results completed, {outcomes['skipped']} skipped, {outcomes['errored']} errored."
    )


def contrast_line(material: Material) -> str:
    """What the optimizer contrasts allow to be said, counted."""
    verdicts = [c.verdict for c in material.findings.contrasts]
    if not verdicts:
        return "No groups were compared with each other, so nothing is said of what the optimizer changed."
    parts = [
        f"{verdicts.count(v)} {v}" for v in ("regressed", "improved", "equivalent", "inconclusive") if v in verdicts
    ]
    return f"{wording.count(len(verdicts), 'contrast')} between groups: {wording.listed(parts)}."


def scorecard(material: Material) -> Table:
    """The headline numbers of every group with the bar they are held against."""
    columns = (Column("Question"), Column("Bar"), *(Column(g.name, "number") for g in material.groups))
    rows = [
        (
            cells.label(line),
            Cell(_bar(material, line), tone="bar"),
            *(_score(material, line, g) for g in material.groups),
        )
        for line in material.headlines
    ]
    rows += [_unmeasured(material, f) for f in material.findings.findings if _unplaced(material, f)]
    table = Table("Headline numbers, and the rules held against them", columns, tuple(rows), _legend(material))
    return _turned(table) if len(material.groups) > max(WIDEST, len(rows)) else table


def _turned(table: Table) -> Table:
    """The same cells with a row a group, so that many groups still fit a sheet of paper."""
    questions = tuple(
        Column(row[0].text, "number", "; ".join(part for part in (row[0].note, row[1].text) if part))
        for row in table.rows
    )
    rows = tuple(
        (Cell(column.text, head=True), *(row[k] for row in table.rows))
        for k, column in enumerate(table.columns)
        if k > 1
    )
    return Table(table.caption, (Column("Group"), *questions), rows, table.note)


def _score(material: Material, line: Line, group: Group) -> Cell:
    return cells.cell(material.number(line, group), line.metric, chip=cells.state(material, line, group))


def _bar(material: Material, line: Line) -> str:
    bars = dict.fromkeys(wording.threshold(f.threshold, line.metric.unit) for f in material.findings_on(line))
    return "; ".join(bars) or "no rule"


def _unplaced(material: Material, finding: Finding) -> bool:
    """Whether a finding speaks of something that was measured nowhere, so that no line shows it."""
    return not any(finding in material.findings_on(line) for line in material.headlines)


def _unmeasured(material: Material, finding: Finding) -> tuple[Cell, ...]:
    entry = material.facts.catalogue.metric(finding.metric)
    title = entry.title if entry else finding.metric
    bar = wording.threshold(finding.threshold, entry.unit if entry else "number")
    chip = wording.STATES[finding.state]
    return (
        Cell(title, note=wording.place(finding.at), head=True),
        Cell(bar, tone="bar"),
        *(
            Cell("–", note="not measured", tone="absent", chip=chip if _speaks(finding, g) else None)
            for g in material.groups
        ),
    )


def _speaks(finding: Finding, group: Group) -> bool:
    return finding.subject is None or finding.subject in group.ids


def _legend(material: Material) -> str:
    confidences = sorted({m.confidence for m in material.record.measurements})
    level = wording.listed(f"{100 * c:g}{wording.THIN}%" for c in confidences)
    parts = [f"Under each number stands its {level} interval." if level else "Nothing was measured."]
    kinds = {line.metric.kind for line in material.headlines}
    if "upper-bound" in kinds:
        parts.append("“≤” is an upper bound: a stronger attack may find more, so the true value is at most this.")
    if "lower-bound" in kinds:
        parts.append("“≥” is a lower bound: at least this much was shown, more may be true.")
    parts.append("Rules are held against the pessimistic end of the interval.")
    return " ".join(parts)


def state_counts(material: Material) -> tuple[Chip, ...]:
    """How many findings there are of each state."""
    states = [f.state for f in material.findings.findings]
    order: tuple[State, ...] = ("fail", "inconclusive", "not-assessed", "waived", "pass")
    return tuple(
        Chip(f"{states.count(s)} {wording.STATES[s].text}", wording.STATES[s].tone, wording.STATES[s].icon)
        for s in order
    )
