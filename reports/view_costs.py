"""What training each group took: time, operations, steps and tuning, beside the security it bought."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auditor.statistics import mean_interval

from . import cells, charts, wording
from .charts import Axis, Point, Spot
from .material import Group, Line, Material
from .page import Cell, Chart, Column, Table

UNKNOWN = "not known"  # what only the user's own training could say


@dataclass(frozen=True)
class Cost:
    """What training one group took: the mean over its members with the t interval, and where they ran."""

    cpu: Point | None
    runs: int


def cost(material: Material, group: Group) -> Cost:
    """The CPU seconds of training one member of a group."""
    ids = {m.id for m in group.members}
    spent: dict[str, float] = {}
    for unit in material.facts.timings.units:
        if unit.kind == "fit" and unit.probe is None and unit.subject in ids:
            spent[str(unit.subject)] = unit.detail.get("cpu_seconds", unit.cpu_seconds)  # without imports and saving
    if not spent:
        return Cost(None, 0)
    values = np.array([spent[name] for name in sorted(spent)])
    low, high = mean_interval(values, bounds=(0.0, math.inf))
    known = len(values) > 1 and math.isfinite(high)
    return Cost(Point(float(values.mean()), *((low, high) if known else (None, None))), len(values))


def costs(material: Material) -> Table | None:
    """A row for each group that was trained here."""
    groups = [g for g in material.groups if any(m.training for m in g.members)]
    if not groups:
        return None
    columns = (
        Column("Group"),
        Column("CPU time", "number", "a model"),
        Column("Operations", "number", "floating point"),
        Column("Learning rate", "number"),
        Column("Epochs", "number"),
        Column("Steps", "number"),
        Column("To target", "number", "steps"),
        Column("Tuning", "number", "trials"),
    )
    note = "Times depend on the machine and are no part of the record; operations and steps do not and are."
    return Table("Cost of training", columns, tuple(_cost_row(material, g) for g in groups), note)


def _cost_row(material: Material, group: Group) -> tuple[Cell, ...]:
    trained = [m.training for m in group.members if m.training]
    rates = sorted({t.learning_rate for t in trained if t.learning_rate is not None})
    targets = sorted(t.steps_to_target for t in trained if t.steps_to_target is not None)
    trials = max((len(t.tuning.get("trials", ())) if t.tuning else 0 for t in trained), default=0)
    return (
        Cell(group.name, head=True, tone=f"swatch-{group.index % 8 + 1}"),
        _time(cost(material, group)),
        Cell(_range([t.flops for t in trained if t.flops is not None]), tone="number"),
        Cell(wording.listed(f"{r:.3g}" for r in rates) or UNKNOWN, tone="number"),
        Cell(_range([t.epochs for t in trained]), tone="number"),
        Cell(_range([t.steps for t in trained if t.steps is not None]), tone="number"),
        Cell(
            _range(targets) if targets else "–",
            tone="number",
            note="" if len(targets) in {0, len(trained)} else f"{len(trained) - len(targets)} never reached it",
        ),
        Cell(wording.whole(trials) if trials else "not tuned", tone="number"),
    )


def _time(spent: Cost) -> Cell:
    if spent.cpu is None:
        return Cell("–", note="not timed", tone="absent")
    span = (
        "one run, no interval"
        if spent.cpu.low is None or spent.cpu.high is None
        else (f"{wording.seconds(spent.cpu.low)} to {wording.seconds(spent.cpu.high)}")
    )
    return Cell(wording.seconds(spent.cpu.value), note=span, tone="number", exact=repr(spent.cpu.value))


def _range(values: Sequence[int]) -> str:
    if not values:
        return UNKNOWN
    least, most = (wording.scaled(min(values)), wording.scaled(max(values)))
    return least if least == most else f"{least}–{most}"


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


def pareto(material: Material) -> Chart | None:
    """Security against cost, where at least two groups have both."""
    line = safety_line(material)
    if line is None:
        return None
    spots = [
        Spot(g.name, g.index, x, y)
        for g in material.groups
        if (x := cost(material, g).cpu) and (y := cells.point(material.number(line, g)))
    ]
    if len(spots) < 2:
        return None
    name = f"{line.metric.title}{', ' + wording.place(line.at) if line.at else ''}"
    title = f"{name}, against the cost of training"
    columns = (Column("Group"), Column("Training, CPU time", "number"), Column(name, "number"))
    rows = tuple(
        (
            Cell(s.name, head=True),
            Cell(wording.seconds(s.x.value), tone="number"),
            Cell(
                wording.amount(s.y.value, line.metric.unit),
                note=wording.interval(s.y.low, s.y.high, line.metric.unit),
                tone="number",
            ),
        )
        for s in spots
    )
    caption = "Up and to the left is better: more of the metric for less training. Whiskers are intervals over seeds."
    axes = Axis("CPU seconds of training", low=0.0), Axis(name, line.metric.unit)
    return Chart(title, caption, charts.scatter("pareto", title, spots, *axes), Table(title, columns, rows))
