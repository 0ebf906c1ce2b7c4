"""The paired differences between groups: what was measured, what may be said of it, and a forest of all of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from auditor.policy import ContrastFinding, Verdict
from auditor.record import Contrast, Unit

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
# What the judge says of a difference, in shares, that a row has already in points.
DIFFERENCE = re.compile(r"^the difference is \S+ \[[^]]*\], ")
POWER = re.compile(r"; \d+ pairs find one of \S+ four times in five")
MARGIN = re.compile(r"±([\d.]+)")
LARGEST_FOREST = 40
ACCURACY = "accuracy.accuracy"


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
    """A row for each metric, place and pair of trainings or models."""
    rows = (
        *(_row(material, one) for one in compared(material) if not _deployed(one.contrast)),
        *_uncompared(material, deployed=False),
    )
    return _contrasts_table("Paired contrasts between groups", rows)


def deployed(material: Material) -> Table | None:
    """A row for each metric, place and variant, against the original it is made of."""
    rows = (
        *(_row(material, one) for one in compared(material) if _deployed(one.contrast)),
        *_uncompared(material, deployed=True),
    )
    return _contrasts_table("Deployment variants against their originals", rows)


def _deployed(pair: Contrast | ContrastFinding) -> bool:
    """Whether a variant is compared; no other id holds the sign."""
    return "@" in pair.a + pair.b


def _contrasts_table(caption: str, rows: tuple[tuple[Cell, ...], ...]) -> Table | None:
    columns = (
        Column("Metric"),
        Column("Pair", note="b − a"),
        Column("Difference", "number"),
        Column("Adjusted p", "number"),
        Column("Detectable", "number", "at least"),
        Column("Verdict"),
    )
    return Table(caption, columns, rows, tone="contrasts") if rows else None


def _uncompared(material: Material, *, deployed: bool) -> tuple[tuple[Cell, ...], ...]:
    """A row for each difference that was asked for and could not be made."""
    made = {_name(c) for c in material.record.contrasts}
    lines = {
        (line.qualified, key(line.at)): line
        for p in material.probes
        for m in p.metrics
        for line in material.lines(p, m)
    }
    found = [
        (lines.get((f.metric, key(f.at))), f)
        for f in material.findings.contrasts
        if _name(f) not in made and _deployed(f) == deployed and (not f.at or (f.metric, key(f.at)) in lines)
    ]
    none = Cell("–", tone="number")
    return tuple(
        (
            cells.label(line) if line else Cell(f.metric),  # of which nobody has a number
            Cell(_pair(material, f), note="not compared"),
            none,
            none,
            none,
            Cell("", chip=VERDICTS[f.verdict], note=f.reason, tone="reason"),
        )
        for line, f in found
    )


def _row(material: Material, one: Compared) -> tuple[Cell, ...]:
    c, unit = one.contrast, one.line.metric.unit
    detectable = "–" if c.minimum_detectable is None else wording.difference(c.minimum_detectable, unit).lstrip("+")
    alike = {True: "equally accurate", False: "not equally accurate", None: "equal accuracy not shown"}[
        c.accuracy_equivalent
    ]
    chip = VERDICTS[one.said.verdict] if one.said else wording.STATES["not-assessed"]
    return (
        cells.label(one.line),
        Cell(_pair(material, c), note=f"{wording.count(c.pairs, 'pair')}, {alike}{_matched(c, unit)}"),
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


def _matched(contrast: Contrast, unit: Unit) -> str:
    """What the difference is at equal accuracy, where the groups' accuracies are not equal."""
    m = contrast.matched
    if m is None:
        return ""
    found = f"{wording.difference(m.difference, unit)} ({wording.signed_interval(m.low, m.high, unit)})"
    if m.by == "subset":
        return f"; {found} in the {wording.count(m.pairs, 'pair')} that match in accuracy"
    return f"; {found} less what goes with accuracy from run to run, which may take off too little"


def _why(one: Compared) -> str:
    """The judge's reason where there is no verdict, or one at unequal accuracy; elsewhere the row is the reason.

    A verdict at unequal accuracy rests on pairs that match, or stands beside the price of a defence or a variant.
    """
    if one.said is None:
        return "not judged"
    unequal = not one.contrast.accuracy_equivalent and one.contrast.metric != ACCURACY
    if one.said.verdict != "inconclusive" and not unequal:
        return ""
    return _without_numbers(one.said.reason) if one.line.metric.unit != "number" else one.said.reason


def _without_numbers(reason: str) -> str:
    """A reason without the numbers that its row has already, and with its margin in the row's unit."""
    left = POWER.sub("", DIFFERENCE.sub("", reason))
    return MARGIN.sub(lambda found: f"±{100 * float(found[1]):g}{wording.THIN}pp", left)


def _pair(material: Material, contrast: Contrast | ContrastFinding) -> str:
    names = {g.id: g.name for g in material.groups}
    return f"{names.get(contrast.b, contrast.b)} − {names.get(contrast.a, contrast.a)}"


def forests(material: Material) -> list[Chart]:
    """All differences of shares: one drawing of trainings or models, one of variants against their originals."""
    shares = [one for one in compared(material) if one.line.metric.unit != "number"]
    drawn = (
        _forest(material, "forest", "Differences between groups", [s for s in shares if not _deployed(s.contrast)]),
        _forest(material, "forest-variants", "What variants change", [s for s in shares if _deployed(s.contrast)]),
    )
    return [chart for chart in drawn if chart is not None]


def _forest(material: Material, ident: str, title: str, shares: list[Compared]) -> Chart | None:
    lines = list(dict.fromkeys(id(one.line) for one in shares))[:LARGEST_FOREST]
    if not lines:
        return None
    kept = [one for one in shares if id(one.line) in lines]
    labels = {
        id(one.line): ", ".join(t for t in (one.line.metric.title, wording.place(one.line.at)) if t) for one in kept
    }
    title = f"{title}, with their intervals"
    left = len({id(one.line) for one in shares}) - len(lines)
    more = f" The first {len(lines)} metrics are drawn; the table above shows all." if left else ""
    caption = (
        "b minus a, in percentage points. Filled green marks are improved, filled red ones regressed; open marks are "
        "equivalent (grey) or inconclusive (amber). In every row they stand in the order of the names. Whether more is "
        f"better differs by metric.{more}"
    )
    pairs = _effects(material, kept, lines)
    svg = charts.forest(
        ident, title, list(labels.values()), pairs, Axis("difference in percentage points", "difference", reference=0.0)
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
