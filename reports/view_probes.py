"""A section for each probe: what it asked and how, what it found, what may mislead, and what it cannot see."""

import re

from auditor.catalogue import MetricEntry, ProbeEntry
from auditor.record import Result

from . import cells, wording
from .drawings import drawings
from .exemplars import exemplars
from .material import Line, Material, anchor
from .page import Cell, Chip, Column, Fact, ProbeSection, Run, Table

LONGEST_TABLE = 12
LONGEST_FOLDED = 400


def probe_section(material: Material, probe: ProbeEntry) -> ProbeSection:
    """Everything about one probe."""
    charts = drawings(material, probe)
    shown, folded = _tables(material, probe, {name for drawn in charts for name in drawn.shows})
    pictures = exemplars(material, probe)
    return ProbeSection(
        anchor=anchor(probe.id),
        title=probe.title,
        family=wording.FAMILIES.get(probe.family, probe.family),
        chips=_chips(material, probe),
        question=prose(probe.question),
        method=_method(probe),
        facts=_facts(material, probe),
        tables=shown,
        folded=folded,
        charts=tuple(drawn.chart for drawn in charts if drawn.chart),
        caveats=_caveats(material, probe),
        pictures=pictures.pictures,
        picture_note=pictures.note,
        exemplars=pictures.table,
        blind_spots=probe.blind_spots,
        grids=tuple(grid for drawn in charts for grid in drawn.grids),
    )


def prose(text: str) -> tuple[Run, ...]:
    """Text of a docstring as runs of words and of code."""
    parts = re.split(r"`+([^`]+)`+", " ".join(text.split()))
    return tuple(Run(part, code=bool(index % 2)) for index, part in enumerate(parts) if part)


def _method(probe: ProbeEntry) -> tuple[tuple[Run, ...], ...]:
    paragraphs = [
        p for p in probe.method.split("\n\n") if p.strip() and not re.match(r"\s*(Raises|Args|Returns|Yields):", p)
    ]
    return tuple(prose(p) for p in paragraphs)


def _chips(material: Material, probe: ProbeEntry) -> tuple[Chip, ...]:
    results = material.results(probe.id)
    words = {"completed": ("pass", "✓"), "skipped": ("none", "○"), "errored": ("fail", "✕")}
    counted = {name: sum(r.outcome == name for r in results) for name in words}
    chips = [Chip(f"{n} {name}", *words[name]) for name, n in counted.items() if n]
    if counted["completed"]:
        worst = material.reliability(probe.id)
        share = sum(r.reliability == worst for r in results if r.outcome == "completed")
        chip = wording.RELIABILITY[worst]
        chips.append(chip if worst == "reliable" else Chip(f"{share} {chip.text}", chip.tone, chip.icon))
    return tuple(chips)


def _facts(material: Material, probe: ProbeEntry) -> tuple[Fact, ...]:
    results = material.results(probe.id)
    facts = [Fact("Probe", f"{probe.id}, version {probe.version}, from {probe.source}", code=True)]
    if probe.threat:
        facts += [
            Fact("Attacker's goal", probe.threat.goal),
            Fact("Attacker knows", probe.threat.knowledge),
            Fact("Attacker can", probe.threat.capability),
        ]
    facts += [Fact(name, text) for name, text in _parameters(results)]
    for name in sorted({n for r in results for n in r.counts}):
        spent = sum(r.counts.get(name, 0) for r in results)
        facts.append(Fact(f"{name.capitalize()}, all models", f"{wording.scaled(spent)} samples" if spent else "none"))
    return (*facts, *wording.references(probe.references))


def _parameters(results: tuple[Result, ...]) -> list[tuple[str, str]]:
    found: dict[str, set[str]] = {}
    for result in results:
        for name, value in result.parameters.items():
            found.setdefault(name, set()).add(_parameter(value))
    return [(name.replace("_", " ").capitalize(), "; ".join(sorted(values))) for name, values in sorted(found.items())]


def _parameter(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_parameter(v) for v in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else "not set" if value is None else str(value)


def _tables(material: Material, probe: ProbeEntry, drawn: set[str]) -> tuple[tuple[Table, ...], tuple[Table, ...]]:
    """The results: short metrics in one table, each long one folded; what a chart's own table shows is left out."""
    short: list[Line] = []
    folded = []
    for metric in probe.metrics:
        lines = material.lines(probe, metric)
        if len(lines) > LONGEST_TABLE and metric.name not in drawn:
            folded.append(_long(material, metric, lines))
        elif metric.name not in drawn or (metric.headline and len(lines) <= LONGEST_TABLE):
            short += lines
    signs = {f"“{sign.strip()}” is {wording.KINDS[m.kind]}" for m in probe.metrics if (sign := wording.BOUNDS[m.kind])}
    note = "; ".join(sorted(signs))
    tables = (
        (cells.lines_table(material, f"Results of {probe.title}", tuple(short), f"{note}." if note else ""),)
        if short
        else ()
    )
    return tables, tuple(folded)


def _long(material: Material, metric: MetricEntry, lines: tuple[Line, ...]) -> Table:
    more = len(lines) - LONGEST_FOLDED
    note = f"The first {LONGEST_FOLDED} of {len(lines)} rows; the record holds all." if more > 0 else ""
    return cells.lines_table(material, metric.title, lines[:LONGEST_FOLDED], note)


def _caveats(material: Material, probe: ProbeEntry) -> Table | None:
    """What may mislead, the same caveat of several models in one row."""
    found: dict[tuple[int, str], list[tuple[str, str]]] = {}
    order = ("invalid", "suspicious", "info")
    for result in material.results(probe.id):
        for caveat in result.caveats:
            found.setdefault((order.index(caveat.severity), caveat.flag), []).append((result.subject, caveat.evidence))
    if not found:
        return None
    columns = (Column("Caveat"), Column("Severity"), Column("Models"), Column("Evidence"))
    rows = tuple(_caveat_row(order[rank], flag, told) for (rank, flag), told in sorted(found.items()))
    return Table(f"Caveats of {probe.title}", columns, rows)


def _caveat_row(severity: str, flag: str, told: list[tuple[str, str]]) -> tuple[Cell, ...]:
    chip = next(chip for name, chip in wording.CAVEATS.items() if name == severity)
    evidence = list(dict.fromkeys(text for _, text in told))
    more = f" (and {len(evidence) - 1} more like it)" if len(evidence) > 1 else ""
    models = wording.listed(dict.fromkeys(name for name, _ in told), most=3)
    return Cell(flag.replace("_", " "), head=True), Cell("", chip=chip), Cell(models), Cell(evidence[0] + more)
