"""The comparison of optimizers: security beside accuracy beside cost, and what the paired differences allow to be said."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auditor.policy import ContrastFinding, Verdict
from auditor.record import Contrast
from auditor.statistics import mean_interval

from . import cells, charts, wording
from .charts import Axis, Effect, Point, Spot
from .material import Group, Line, Material, Place, key
from .page import Cell, Chart, Chip, Column, Optimizers, Table

VERDICTS: Mapping[Verdict, Chip] = {
    "improved": Chip("improved", "pass", "▲"),
    "regressed": Chip("regressed", "fail", "▼"),
    "equivalent": Chip("equivalent", "none", "="),
    "inconclusive": Chip("inconclusive", "unsure", "?"),
}
LARGEST_FOREST = 40


@dataclass(frozen=True)
class Cost:
    """What training one group took: the mean over its members with the t interval, and where they ran."""

    cpu: Point | None
    runs: int


def optimizers_section(material: Material) -> Optimizers:
    """Everything that compares groups with each other."""
    if len(material.groups) < 2:
        return Optimizers("One group of models was audited, so there is nothing to compare.", None, _costs(material), None, (), "")
    drawn = [chart for chart in (_forest(material), _pareto(material)) if chart]
    return Optimizers(_lead(material), _heat(material), _costs(material), _contrasts(material), tuple(drawn), _note(material))


def _lead(material: Material) -> str:
    pairs = {c.pairs for c in material.record.contrasts}
    if not pairs:
        return "The groups stand side by side below. No paired contrasts were computed, so a difference may be chance."
    return (
        f"Groups are compared on the same rows, splits and initialisations, in {wording.count(min(pairs), 'pair')} of seeds. "
        "A difference is called improved or regressed only where its adjusted p-value is below alpha, its interval excludes "
        "zero, and the two groups were shown to be equally accurate."
    )


def _note(material: Material) -> str:
    if not material.record.contrasts:
        return ""
    return (
        "Differences are b minus a. p-values are adjusted by Holm over the pairs of one metric. The minimum detectable "
        "difference is what these seeds and rows would find four times in five: an inconclusive row with a large one says "
        "that the audit was too small, not that the optimizers are alike."
    )


def _heat(material: Material) -> Table:
    lines = material.headlines
    columns = (Column("Group"), *(Column(line.metric.title, "number", wording.place(line.at)) for line in lines))
    shades = {id(line): _shades(material, line) for line in lines}
    rows = tuple(
        (Cell(g.name, head=True, tone=f"swatch-{g.index % 8 + 1}"),
         *(cells.cell(material.number(line, g), line.metric, tone=shades[id(line)].get(g.id, "")) for line in lines))
        for g in material.groups
    )
    note = "The darker a cell, the better its column's value; a column whose intervals all overlap is not shaded."
    return Table("Groups by headline metric", columns, rows, note, tone="heat")


def _shades(material: Material, line: Line) -> dict[str, str]:
    """A shade from 1 (worst) to 5 (best) for each group; none where direction or difference is unknown."""
    points = {g.id: cells.point(material.number(line, g)) for g in material.groups}
    known = {name: p for name, p in points.items() if p is not None}
    if line.metric.better == "neither" or len(known) < 2 or _overlap(list(known.values())):
        return {}
    sign = 1 if line.metric.better == "higher" else -1
    scores = {name: sign * p.value for name, p in known.items()}
    least, most = min(scores.values()), max(scores.values())
    return {name: f"shade-{1 + round(4 * (score - least) / (most - least))}" for name, score in scores.items()}


def _overlap(points: Sequence[Point]) -> bool:
    lows = [p.value if p.low is None else p.low for p in points]
    highs = [p.value if p.high is None else p.high for p in points]
    return max(lows) <= min(highs) or len({p.value for p in points}) == 1


def cost(material: Material, group: Group) -> Cost:
    """The CPU seconds of training one member of a group."""
    ids = {m.id for m in group.members}
    spent: dict[str, float] = {}
    for unit in material.facts.timings.units:
        if unit.kind == "fit" and unit.probe is None and unit.subject in ids:
            spent[str(unit.subject)] = unit.cpu_seconds
    if not spent:
        return Cost(None, 0)
    values = np.array([spent[name] for name in sorted(spent)])
    low, high = mean_interval(values, bounds=(0.0, math.inf))
    known = len(values) > 1 and math.isfinite(high)
    return Cost(Point(float(values.mean()), *((low, high) if known else (None, None))), len(values))


def _costs(material: Material) -> Table | None:
    groups = [g for g in material.groups if any(m.training for m in g.members)]
    if not groups:
        return None
    columns = (
        Column("Group"), Column("CPU time", "number", "a model"), Column("Operations", "number", "floating point"),
        Column("Learning rate", "number"), Column("Epochs", "number"), Column("Steps", "number"),
        Column("To target", "number", "steps"), Column("Tuning", "number", "trials"),
    )
    note = "Times depend on the machine and are no part of the record; operations and steps do not and are."
    return Table("Cost of training", columns, tuple(_cost_row(material, g) for g in groups), note)


def _cost_row(material: Material, group: Group) -> tuple[Cell, ...]:
    trained = [m.training for m in group.members if m.training]
    rates = sorted({t.learning_rate for t in trained})
    targets = sorted(t.steps_to_target for t in trained if t.steps_to_target is not None)
    trials = max((len(t.tuning.get("trials", ())) if t.tuning else 0 for t in trained), default=0)
    return (
        Cell(group.name, head=True, tone=f"swatch-{group.index % 8 + 1}"), _time(cost(material, group)),
        Cell(_range([t.flops for t in trained]), tone="number"), Cell(wording.listed(f"{r:.3g}" for r in rates), tone="number"),
        Cell(_range([t.epochs for t in trained]), tone="number"), Cell(_range([t.steps for t in trained]), tone="number"),
        Cell(_range(targets) if targets else "–", tone="number",
             note="" if len(targets) in {0, len(trained)} else f"{len(trained) - len(targets)} never reached it"),
        Cell(wording.whole(trials) if trials else "not tuned", tone="number"),
    )


def _time(spent: Cost) -> Cell:
    if spent.cpu is None:
        return Cell("–", note="not timed", tone="absent")
    span = "one run, no interval" if spent.cpu.low is None or spent.cpu.high is None else (
        f"{wording.seconds(spent.cpu.low)} to {wording.seconds(spent.cpu.high)}"
    )
    return Cell(wording.seconds(spent.cpu.value), note=span, tone="number", exact=repr(spent.cpu.value))


def _range(values: Sequence[int]) -> str:
    least, most = (wording.scaled(min(values)), wording.scaled(max(values)))
    return least if least == most else f"{least}–{most}"


@dataclass(frozen=True)
class Compared:
    """A contrast with its line and what may be said of it."""

    contrast: Contrast
    line: Line
    said: ContrastFinding | None


def compared(material: Material) -> tuple[Compared, ...]:
    """Every contrast of the record, joined with the judgement's verdict on it."""
    said = {_name(f): f for f in material.findings.contrasts}
    lines = {(line.qualified, key(line.at)): line for p in material.probes for m in p.metrics for line in material.lines(p, m)}
    found = ((c, lines.get((c.metric, key(c.at)))) for c in material.record.contrasts)
    return tuple(Compared(c, line, said.get(_name(c))) for c, line in found if line)


def _name(of: Contrast | ContrastFinding) -> tuple[str, Place, str, str]:
    return of.metric, key(of.at), of.a, of.b


def _contrasts(material: Material) -> Table | None:
    if not material.record.contrasts:
        return None
    columns = (
        Column("Metric"), Column("b − a"), Column("Difference", "number"), Column("Pairs", "number"),
        Column("Adjusted p", "number"), Column("Minimum detectable", "number"), Column("Equally accurate"), Column("Verdict"), Column("Why"),
    )
    rows = tuple(_contrast_row(material, one) for one in compared(material))
    return Table("Paired contrasts between groups", columns, rows)


def _contrast_row(material: Material, one: Compared) -> tuple[Cell, ...]:
    c, unit = one.contrast, one.line.metric.unit
    detectable = "–" if c.minimum_detectable is None else wording.difference(c.minimum_detectable, unit).lstrip("+")
    alike = {True: "yes", False: "no", None: "not shown"}[c.accuracy_equivalent]
    chip = VERDICTS[one.said.verdict] if one.said else wording.STATES["not-assessed"]
    return (
        cells.label(one.line), Cell(_pair(material, c)),
        Cell(wording.difference(c.difference, unit), note=wording.signed_interval(c.low, c.high, unit), tone="number",
             exact=repr(c.difference)),
        Cell(str(c.pairs), tone="number"), Cell(wording.p_value(c.adjusted_p), tone="number"), Cell(detectable, tone="number"),
        Cell(alike), Cell("", chip=chip), Cell(one.said.reason if one.said else "not judged", tone="reason"),
    )


def _pair(material: Material, contrast: Contrast) -> str:
    names = {g.id: g.name for g in material.groups}
    return f"{names.get(contrast.b, contrast.b)} − {names.get(contrast.a, contrast.a)}"


def _forest(material: Material) -> Chart | None:
    shares = [one for one in compared(material) if one.line.metric.unit == "share"][:LARGEST_FOREST]
    if not shares:
        return None
    effects = [
        Effect(_effect_label(material, one), Point(one.contrast.difference, one.contrast.low, one.contrast.high), _tone(one))
        for one in shares
    ]
    title = "Differences between groups, with their intervals"
    caption = (
        "Each row is one metric and one pair, b minus a, in percentage points. Filled diamonds are improved (green) or "
        "regressed (red); open circles are equivalent or inconclusive. Whether more is better differs by metric."
    )
    columns = (Column("Metric and pair"), Column("Difference", "number"), Column("Interval", "number"), Column("Verdict"))
    rows = tuple(
        (Cell(e.label, head=True), Cell(wording.difference(one.contrast.difference, "share"), tone="number"),
         Cell(wording.signed_interval(one.contrast.low, one.contrast.high, "share"), tone="number"),
         Cell(one.said.verdict if one.said else "not judged"))
        for e, one in zip(effects, shares, strict=True)
    )
    x = Axis("difference in percentage points", percent=True, reference=0.0)
    return Chart(title, caption, charts.forest("forest", title, effects, x), Table(title, columns, rows))


def _effect_label(material: Material, one: Compared) -> str:
    at = wording.place(one.contrast.at)
    return f"{one.line.metric.title}{', ' + at if at else ''}: {_pair(material, one.contrast)}"


def _tone(one: Compared) -> str:
    return VERDICTS[one.said.verdict].tone if one.said else "none"


def safety_line(material: Material) -> Line | None:
    """The number that stands for security where only one can be shown: robust accuracy under the largest attack."""
    for family in ("evasion", "performance", ""):
        lines = [line for line in material.headlines if line.probe.family == family or not family]
        wanted = [line for line in lines if line.metric.better == "higher"]
        if wanted:
            return max(wanted, key=lambda line: _strength(line.at))
    return None


def _strength(at: Mapping[str, float | str]) -> float:
    return max((v for v in at.values() if not isinstance(v, str)), default=0.0)


def _pareto(material: Material) -> Chart | None:
    line = safety_line(material)
    if line is None:
        return None
    spots = [
        Spot(g.name, g.index, x, y) for g in material.groups
        if (x := cost(material, g).cpu) and (y := cells.point(material.number(line, g)))
    ]
    if len(spots) < 2:
        return None
    name = f"{line.metric.title}{', ' + wording.place(line.at) if line.at else ''}"
    title = f"{name}, against the cost of training"
    columns = (Column("Group"), Column("Training, CPU time", "number"), Column(name, "number"))
    rows = tuple(
        (Cell(s.name, head=True), Cell(wording.seconds(s.x.value), tone="number"),
         Cell(wording.amount(s.y.value, line.metric.unit), note=wording.interval(s.y.low, s.y.high, line.metric.unit), tone="number"))
        for s in spots
    )
    caption = "Up and to the left is better: more of the metric for less training. Whiskers are intervals over seeds."
    axes = Axis("CPU seconds of training", low=0.0), Axis(name, percent=line.metric.unit == "share")
    return Chart(title, caption, charts.scatter("pareto", title, spots, *axes), Table(title, columns, rows))
