"""The paired differences between groups: what was measured, what may be said of it, and a forest of all of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from auditor.policy import ContrastFinding, Verdict
from auditor.record import Contrast

from . import cells, charts, wording
from .charts import Axis, Effect, Effects, Point
from .material import Line, Material, Place, key
from .page import Cell, Chart, Chip, Column, Table

VERDICTS: Mapping[Verdict, Chip] = {
    "improved": Chip("improved", "pass", "▲"),
    "regressed": Chip("regressed", "fail", "▼"),
    "equivalent": Chip("equivalent", "none", "="),
    "inconclusive": Chip("inconclusive", "unsure", "?"),
}
LARGEST_FOREST = 40


@dataclass(frozen=True)
class Compared:
    """A contrast with its line and what may be said of it."""

    contrast: Contrast
    line: Line
    said: ContrastFinding | None


def compared(material: Material) -> tuple[Compared, ...]:
    """Every contrast of the record with the judgement's verdict on it, metric by metric."""
    said = {_name(f): f for f in material.findings.contrasts}
    places = [line for p in material.probes for m in p.metrics for line in material.lines(p, m)]
    order = {(line.qualified, key(line.at)): (index, line) for index, line in enumerate(places)}
    found = [(order[c.metric, key(c.at)], c) for c in material.record.contrasts if (c.metric, key(c.at)) in order]
    return tuple(Compared(c, line, said.get(_name(c))) for (_, line), c in sorted(found, key=lambda one: one[0][0]))


def _name(of: Contrast | ContrastFinding) -> tuple[str, Place, str, str]:
    return of.metric, key(of.at), of.a, of.b


def contrasts(material: Material) -> Table | None:
    """A row for each metric, place and pair."""
    columns = (
        Column("Metric"),
        Column("Pair", note="b − a"),
        Column("Difference", "number"),
        Column("Adjusted p", "number"),
        Column("Detectable", "number", "at least"),
        Column("Verdict"),
    )
    rows = tuple(_row(material, one) for one in compared(material))
    return Table("Paired contrasts between groups", columns, rows, tone="contrasts") if rows else None


def _row(material: Material, one: Compared) -> tuple[Cell, ...]:
    c, unit = one.contrast, one.line.metric.unit
    detectable = "–" if c.minimum_detectable is None else wording.difference(c.minimum_detectable, unit).lstrip("+")
    alike = {True: "equally accurate", False: "not equally accurate", None: "equal accuracy not shown"}[
        c.accuracy_equivalent
    ]
    chip = VERDICTS[one.said.verdict] if one.said else wording.STATES["not-assessed"]
    return (
        cells.label(one.line),
        Cell(_pair(material, c), note=f"{wording.count(c.pairs, 'pair')}, {alike}"),
        Cell(
            wording.difference(c.difference, unit),
            note=wording.signed_interval(c.low, c.high, unit),
            tone="number",
            exact=repr(c.difference),
        ),
        Cell(wording.p_value(c.adjusted_p), tone="number"),
        Cell(detectable, tone="number"),
        Cell("", chip=chip, note=_why(one), tone="reason"),
    )


def _why(one: Compared) -> str:
    """The judge's reason where a verdict is missing; elsewhere the row itself is the reason."""
    if one.said is None:
        return "not judged"
    return one.said.reason if one.said.verdict == "inconclusive" else ""


def _pair(material: Material, contrast: Contrast) -> str:
    names = {g.id: g.name for g in material.groups}
    return f"{names.get(contrast.b, contrast.b)} − {names.get(contrast.a, contrast.a)}"


def forest(material: Material) -> Chart | None:
    """All differences of shares in one drawing."""
    shares = [one for one in compared(material) if one.line.metric.unit != "number"]
    lines = list(dict.fromkeys(id(one.line) for one in shares))[:LARGEST_FOREST]
    if not lines:
        return None
    kept = [one for one in shares if id(one.line) in lines]
    labels = {
        id(one.line): ", ".join(t for t in (one.line.metric.title, wording.place(one.line.at)) if t) for one in kept
    }
    title = "Differences between groups, with their intervals"
    left = len({id(one.line) for one in shares}) - len(lines)
    more = f" The first {len(lines)} metrics are drawn; the table above shows all." if left else ""
    caption = (
        "b minus a, in percentage points. Filled green marks are improved, filled red ones regressed; open marks are "
        f"equivalent (grey) or inconclusive (amber). Whether more is better differs by metric.{more}"
    )
    pairs = _effects(material, kept, lines)
    svg = charts.forest(
        "forest",
        title,
        list(labels.values()),
        pairs,
        Axis("difference in percentage points", "difference", reference=0.0),
    )
    return Chart(title, caption, svg, _forest_table(material, title, kept))


def _effects(material: Material, kept: list[Compared], lines: list[int]) -> list[Effects]:
    """The differences pair by pair, each in the row of its line."""
    index = {g.id: g.index for g in material.groups}
    pairs = dict.fromkeys((one.contrast.a, one.contrast.b) for one in kept)
    found = []
    for a, b in pairs:
        of = {id(one.line): _effect(one) for one in kept if (one.contrast.a, one.contrast.b) == (a, b)}
        name = next(_pair(material, one.contrast) for one in kept if (one.contrast.a, one.contrast.b) == (a, b))
        found.append(Effects(name, index.get(b, 0), tuple(of.get(line) for line in lines)))
    return found


def _effect(one: Compared) -> Effect:
    tone = VERDICTS[one.said.verdict].tone if one.said else "none"
    return Effect(Point(one.contrast.difference, one.contrast.low, one.contrast.high), tone, tone in {"pass", "fail"})


def _forest_table(material: Material, title: str, kept: list[Compared]) -> Table:
    columns = (
        Column("Metric"),
        Column("Pair"),
        Column("Difference", "number"),
        Column("Interval", "number"),
        Column("Verdict"),
    )
    rows = tuple(
        (
            cells.label(one.line),
            Cell(_pair(material, one.contrast)),
            Cell(wording.difference(one.contrast.difference, "share"), tone="number"),
            Cell(wording.signed_interval(one.contrast.low, one.contrast.high, "share"), tone="number"),
            Cell(one.said.verdict if one.said else "not judged"),
        )
        for one in kept
    )
    return Table(title, columns, rows)
