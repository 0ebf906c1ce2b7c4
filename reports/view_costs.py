"""What training each group took: time, operations, steps and tuning, beside the security it bought."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from auditor.bundle import UnitTiming
from auditor.statistics import mean_interval
from auditor.targets import over_seeds
from auditor.variants.names import FLOAT

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
    spent = {str(u.subject): u.detail.get("cpu_seconds", u.cpu_seconds) for u in fits(material, group)}  # no imports
    if not spent:
        return Cost(None, 0)
    values = np.array([spent[name] for name in sorted(spent)])
    low, high = mean_interval(values, bounds=(0.0, math.inf))
    known = len(values) > 1 and math.isfinite(high)
    return Cost(Point(float(values.mean()), *((low, high) if known else (None, None))), len(values))


def fits(material: Material, group: Group) -> list[UnitTiming]:
    """The trainings of a group's members."""
    ids = {m.id for m in group.members}
    return [u for u in material.facts.timings.units if u.kind == "fit" and u.probe is None and u.subject in ids]


def tuning_seconds(material: Material, group: Group) -> float | None:
    """The CPU seconds of all trials of the searches that this group asked for first."""
    ids = {m.id for m in group.members}
    searches = [u for u in material.facts.timings.units if u.kind == "tune" and u.subject in ids]
    spent = [u.detail["cpu_seconds"] for u in searches if "cpu_seconds" in u.detail]
    return sum(spent) if spent else None


def probing_seconds(material: Material, group: Group) -> float | None:
    """CPU seconds of the trainings that probes asked for on behalf of this group first, poisoned ones and such."""
    endings = tuple(f" for {m.id}" for m in group.members)
    asked = [u for u in material.facts.timings.units if u.kind == "fit" and not u.subject and u.label.endswith(endings)]
    return sum(u.detail.get("cpu_seconds", u.cpu_seconds) for u in asked) if asked else None


def _searched(trials: int, seconds: float | None) -> Cell:
    if not trials:
        return Cell("not tuned", tone="number")
    return Cell(wording.whole(trials), note="" if seconds is None else wording.seconds(seconds), tone="number")


def _asked(seconds: float | None) -> Cell:
    return Cell("–" if seconds is None else wording.seconds(seconds), tone="number")


def trained_as_they_are(group: Group) -> bool:
    """Whether these models were trained here; a variant is made of one, and cost nothing of its own."""
    return any(m.training and m.variant == FLOAT for m in group.members)


def costs(material: Material) -> Table | None:
    """A row for each group that was trained here."""
    groups = [g for g in material.groups if trained_as_they_are(g)]
    if not groups:
        return None
    columns = (
        Column("Group"),
        Column("CPU time", "number", "a model"),
        Column("Operations", "number", "floating point"),
        Column("Learning rate", "number"),
        Column("Epochs", "number"),
        Column("Steps", "number"),
        Column("To target", "number", "median steps"),
        Column("Tuning", "number", "trials"),
        Column("For probes", "number", "CPU time of their trainings"),
        Column("Optimizer state", "number"),
        Column("Peak memory", "number", "weights, state, one gradient"),
    )
    note = "Times depend on the machine and are no part of the record; operations and steps do not and are."
    return Table("Cost of training", columns, tuple(_cost_row(material, g) for g in groups), note)


def _cost_row(material: Material, group: Group) -> tuple[Cell, ...]:
    trained = [m.training for m in group.members if m.training]
    rates = sorted({t.learning_rate for t in trained if t.learning_rate is not None})
    trials = max((len(t.tuning.get("trials", ())) if t.tuning else 0 for t in trained), default=0)
    return (
        Cell(group.name, head=True, tone=f"swatch-{group.index % 8 + 1}"),
        _time(cost(material, group)),
        Cell(_range([t.flops for t in trained if t.flops is not None]), tone="number"),
        Cell(wording.listed(f"{r:.3g}" for r in rates) or UNKNOWN, tone="number"),
        Cell(_range([t.epochs for t in trained]), tone="number"),
        Cell(_range([t.steps for t in trained if t.steps is not None]), tone="number"),
        to_target(material, group),
        _searched(trials, tuning_seconds(material, group)),
        _asked(probing_seconds(material, group)),
        _bytes([t.optimizer_state_bytes for t in trained if t.optimizer_state_bytes is not None]),
        _bytes([u.detail["training_peak_bytes"] for u in fits(material, group) if "training_peak_bytes" in u.detail]),
    )


def to_target(material: Material, group: Group) -> Cell:
    """The median steps to the target over the seeds, with operations and time, and how many reached it."""
    told = [m.training for m in group.members if m.training and (m.training.target or m.training.steps_to_target)]
    if not told:
        return Cell("–", tone="number")
    reach = over_seeds([t.steps_to_target for t in told])
    met = sum(t.steps_to_target is not None for t in told)
    share = f"{met} of {len(told)} seeds, {wording.interval(reach.low, reach.high, 'share')}"
    if not math.isfinite(reach.median):
        return Cell("never", note=f"reached by {share}", tone="number")
    flops = [t.target["flops"] for t in told if t.target]
    parts = [f"{wording.scaled(_median(flops))} operations"] if flops else []
    spent, steps = cost(material, group).cpu, sum(t.steps or 0 for t in told) / len(told)
    if spent and steps:
        parts.append(wording.seconds(spent.value * reach.median / steps))
    return Cell(wording.whole(int(reach.median)), note="; ".join([*parts, f"reached by {share}"]), tone="number told")


def _median(values: Iterable[int | None]) -> float:
    """The median of operations until the target, where the median seed reached it."""
    return median(sorted(math.inf if v is None else float(v) for v in values))


def _bytes(values: Sequence[float]) -> Cell:
    if not values:
        return Cell(UNKNOWN, tone="number")
    return Cell("–".join(wording.sized(v, "B") for v in dict.fromkeys((min(values), max(values)))), tone="number")


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


@dataclass(frozen=True)
class Effort:
    """A way to say what training took: its chart's name, its words, and the number of a group.

    What is `counted` and the same for all groups is not worth a chart.
    """

    ident: str
    of: str
    heading: str
    axis: str
    number: Callable[[Material, Group], Point | None]
    said: Callable[[float], str]
    counted: bool = False


def operations(material: Material, group: Group) -> Point | None:  # noqa: ARG001  # as `Effort.number` has it
    """The mean operations of training one member."""
    counts = [m.training.flops for m in group.members if m.training and m.training.flops is not None]
    return Point(sum(counts) / len(counts)) if counts else None


EFFORTS = (
    Effort(
        "pareto",
        "the cost of training",
        "Training, CPU time",
        "CPU seconds of training",
        lambda material, group: cost(material, group).cpu,
        wording.seconds,
    ),
    Effort(
        "pareto-operations",
        "the operations of training",
        "Training, operations",
        "Floating-point operations of training",
        operations,
        wording.scaled,
        counted=True,
    ),
)


def paretos(material: Material) -> list[Chart]:
    """Security against cost, where at least two groups have both and differ in it."""
    line = safety_line(material)
    return [] if line is None else [chart for effort in EFFORTS if (chart := _pareto(material, line, effort))]


def _pareto(material: Material, line: Line, effort: Effort) -> Chart | None:
    spots = [
        Spot(g.name, g.index, x, y)
        for g in material.groups
        if trained_as_they_are(g) and (x := effort.number(material, g)) and (y := cells.point(material.number(line, g)))
    ]
    if len(spots) < 2 or (effort.counted and len({s.x.value for s in spots}) == 1):
        return None
    name = f"{line.metric.title}{', ' + wording.place(line.at) if line.at else ''}"
    title = f"{name}, against {effort.of}"
    columns = (Column("Group"), Column(effort.heading, "number"), Column(name, "number"))
    rows = tuple(
        (
            Cell(s.name, head=True),
            Cell(effort.said(s.x.value), tone="number"),
            Cell(
                wording.amount(s.y.value, line.metric.unit),
                note=wording.interval(s.y.low, s.y.high, line.metric.unit),
                tone="number",
            ),
        )
        for s in spots
    )
    caption = "Up and to the left is better: more of the metric for less training. Whiskers are intervals over seeds."
    axes = Axis(effort.axis, low=0.0), Axis(name, line.metric.unit)
    return Chart(title, caption, charts.scatter(effort.ident, title, spots, *axes), Table(title, columns, rows))
