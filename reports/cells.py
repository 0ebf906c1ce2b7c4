"""Cells that show a measured number: value, interval, what kind of number it is, and the state of the rules on it."""

from auditor.catalogue import MetricEntry
from auditor.record import Kind, Measurement

from . import wording
from .charts import Point
from .material import Group, Line, Material, Number
from .page import Cell, Chip, Column, Table


def kind(measurement: Measurement, metric: MetricEntry) -> Kind:
    """What kind of number this is: a group's mean of bounds is a bound as well."""
    return metric.kind if measurement.kind == "estimate" else measurement.kind


def value(measurement: Measurement, metric: MetricEntry) -> str:
    """A value as text, with the sign of its bound."""
    return wording.BOUNDS[kind(measurement, metric)] + wording.amount(measurement.value, metric.unit)


def spread(members: tuple[Measurement, ...], metric: MetricEntry) -> str:
    """The least and the greatest of several seeds, where no common number was recorded."""
    values = [m.value for m in members]
    return f"{wording.bare(min(values), metric.unit)}–{wording.amount(max(values), metric.unit)}"


def cell(number: Number | None, metric: MetricEntry, *, chip: Chip | None = None, tone: str = "") -> Cell:
    """One number of one group, or that there is none."""
    if number is None:
        return Cell("–", note="not measured", tone="absent", chip=chip)
    one = number.measurement
    if one is None:
        note = f"{wording.count(len(number.members), 'seed')}, least to greatest"
        return Cell(spread(number.members, metric), note=note, tone=f"number {tone}", chip=chip)
    note = (
        "exact count"
        if {one.low, one.high} <= {None, one.value} and kind(one, metric) == "exact"
        else wording.interval(one.low, one.high, metric.unit)
    )
    return Cell(value(one, metric), note=note, tone=f"number {tone}", chip=chip, exact=repr(one.value))


def point(number: Number | None) -> Point | None:
    """One number of one group as a point of a chart."""
    if number is None or number.measurement is None:
        return None
    one = number.measurement
    return Point(one.value, one.low, one.high)


def ruled(material: Material, line: Line, group: Group) -> Chip | None:
    """The worst state of the rules on this line and group."""
    found = material.findings_on(line, group)
    return wording.STATES[found[0].state] if found else None


def state(material: Material, line: Line, group: Group) -> Chip | None:
    """The worst state of the rules on this line and group; where none speaks, whether its evidence can be relied on."""
    found = ruled(material, line, group)
    if found:
        return found
    reliability = material.reliability(line.probe.id, group)
    return None if reliability == "reliable" else wording.RELIABILITY[reliability]


def label(line: Line) -> Cell:
    """The heading of a line: its metric, and where it was measured."""
    return Cell(line.metric.title, note=wording.place(line.at), head=True)


def lines_table(material: Material, caption: str, lines: tuple[Line, ...], note: str = "") -> Table:
    """A row for each line, a column for each group."""
    columns = (Column("Metric"), *(Column(g.name, "number") for g in material.groups))
    rows = tuple(
        (
            label(line),
            *(cell(material.number(line, g), line.metric, chip=ruled(material, line, g)) for g in material.groups),
        )
        for line in lines
    )
    return Table(caption, columns, rows, note)
