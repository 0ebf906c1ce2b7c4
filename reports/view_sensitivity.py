"""How much hangs on the learning rate: the loss of every trial, and accuracy and robust accuracy at every rate."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from auditor.ablations import parent_of
from auditor.catalogue import ProbeEntry
from auditor.record import Training
from auditor.variants.names import FLOAT

from . import cells, charts, wording
from .charts import Axis, Panel, Series
from .material import Group, Line, Material
from .page import Cell, Chart, Column, Table

MOST_GROUPS = 8
RATE = "Learning rate"
Trials = Sequence[Mapping[str, Any]]  # of any JSON values
Found = Sequence[tuple[Group, Trials]]


def trials(material: Material) -> Chart | None:
    """The loss on rows held back against the rate, of the trials that were trained in full, by optimizer."""
    found = [(g, t) for g in material.groups if (t := _full(g))]
    if not any(len(t) > 1 for _, t in found):
        return None
    series = tuple(_line(g, held) for g, held in found[:MOST_GROUPS])
    title = "Held-back loss by learning rate"
    panel = Panel(series, Axis("Loss on rows held back", scale="log" if _positive(found) else "linear"))
    svg = charts.curves("sensitivity-trials", title, [panel], Axis(RATE, scale="log"))
    return Chart(title, _said(found), svg, _table(title, found))


def _full(group: Group) -> Trials:
    """The finished trials of a group's search that were trained in full; none of ablations and variants."""
    searches = [m.training.tuning for m in group.members if m.variant == FLOAT and m.training and m.training.tuning]
    if not searches or parent_of(group.id) is not None:
        return []
    held = [t for t in searches[0].get("trials", ()) if t.get("loss") is not None]
    longest = max((t.get("epochs", 0) for t in held), default=0)
    return sorted((t for t in held if t.get("epochs", 0) == longest), key=lambda t: float(t["learning_rate"]))


def _line(group: Group, held: Trials) -> Series:
    points = tuple(charts.Point(float(t["loss"])) for t in held)
    return Series(group.name, group.index, points, tuple(float(t["learning_rate"]) for t in held))


def _positive(found: Found) -> bool:
    return all(t["loss"] > 0 for _, held in found for t in held)


def _said(found: Found) -> str:
    edge = [g.name for g, _ in found if any(_limited(m.training) for m in g.members)]
    told = "Each point is a trial trained in full; what diverged or was left behind earlier has none."
    if len(found) > MOST_GROUPS:
        told += f" The first {MOST_GROUPS} of {len(found)} groups are drawn."
    if edge:
        told += f" The search of {wording.listed(edge)} ended at its edge, so a better rate may lie beyond."
    return told


def _limited(training: Training | None) -> bool:
    return bool(training and training.tuning and training.tuning.get("edge_limited"))


def _table(title: str, found: Found) -> Table:
    rows = tuple(
        (
            Cell(g.name, head=True),
            Cell(f"{t['learning_rate']:.3g}", tone="number", exact=repr(t["learning_rate"])),
            Cell(f"{t['loss']:.3g}", tone="number", exact=repr(t["loss"])),
        )
        for g, held in found
        for t in held
    )
    return Table(title, (Column("Group"), Column(RATE, "number"), Column("Loss", "number")), rows)


def by_rate(material: Material, probe: ProbeEntry, ident: str) -> Chart | None:
    """Accuracy, and robust accuracy at the smallest epsilon, against the rate; None where fewer than two were tried."""
    named = {m.name: material.lines(probe, m) for m in probe.metrics}
    robust = named.get("robust_accuracy", ())
    least = min((float(line.at["epsilon"]) for line in robust), default=math.nan)
    first = tuple(line for line in robust if line.at["epsilon"] == least)
    accuracy = named.get("accuracy", ())
    if len({line.at["learning_rate"] for line in accuracy}) < 2:
        return None
    title = f"Accuracy and robust accuracy, ε {wording.coordinate('epsilon', least)}, by learning rate"
    panels = [_panel(material, lines) for lines in (accuracy, first)]
    svg = charts.curves(ident, title, panels, Axis(RATE, scale="log"))
    caption = (
        "How flat a curve is tells optimizers apart; where it lies does not, as their rates mean different things."
    )
    return Chart(title, caption, svg, cells.lines_table(material, title, (*accuracy, *robust)))


def _panel(material: Material, lines: tuple[Line, ...]) -> Panel:
    series = []
    for g in material.groups[:MOST_GROUPS]:
        mine = [(float(x.at["learning_rate"]), p) for x in lines if (p := cells.point(material.number(x, g)))]
        if mine:
            ordered = sorted(mine, key=lambda one: one[0])
            series.append(Series(g.name, g.index, tuple(p for _, p in ordered), tuple(x for x, _ in ordered)))
    return Panel(tuple(series), Axis(lines[0].metric.title, "share", low=0.0, high=1.02))
