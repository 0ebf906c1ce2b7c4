"""What explains the gap between two optimizers: the share of it that goes with each thing taken away."""

from auditor.record import Explained

from . import cells, wording
from .material import Line, Material, key
from .page import Cell, Column, Table

NOTE = (
    "How much of the gap between two groups goes when one thing is taken away from one of them: 100 % makes it like "
    "the other, 0 % changes nothing, below 0 % widens the gap. Shares need not add up. Only gaps that are shown to be "
    "there have rows, and the accuracies of the three groups may differ: see the differences above."
)


def ablations(material: Material) -> Table | None:
    """A row for each metric, place, gap and ablation; nothing where no ablation explains any."""
    places = [line for p in material.probes for m in p.metrics for line in material.lines(p, m)]
    lines = {(line.qualified, key(line.at)): line for line in places}
    found = [(line, e) for e in material.record.explained if (line := lines.get((e.metric, key(e.at)))) is not None]
    columns = (Column("Metric"), Column("Gap"), Column("Taken away"), Column("Share of the gap", "number"))
    rows = tuple(_row(material, line, one) for line, one in found)
    return Table("What explains the gaps", columns, rows, NOTE) if rows else None


def _row(material: Material, line: Line, one: Explained) -> tuple[Cell, ...]:
    names = {g.id: g.name for g in material.groups}
    of, other, without = (names.get(group, group) for group in (one.of, one.other, one.ablation))
    return (
        cells.label(line),
        Cell(f"{of} − {other}", note=wording.count(one.pairs, "pair")),
        Cell(without),
        Cell(
            wording.amount(one.share, "share"),
            note=wording.interval(one.low, one.high, "share") + (f"; in doubt: {one.doubt}" if one.doubt else ""),
            tone="number",
            exact=repr(one.share),
        ),
    )
