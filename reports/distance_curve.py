"""How many rows are still right as the distance grows that an adversary may move them: drawn from the samples."""

import numpy as np
import numpy.typing as npt

from auditor.bundle import Arrays
from auditor.catalogue import ProbeEntry

from . import charts, wording
from .charts import Axis, Panel, Point, Series
from .material import Group, Material
from .page import Cell, Chart, Column, Table

MOST_GROUPS = 8
POINTS = 81
SHOWN = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # of the largest distance, in the table
Floats = npt.NDArray[np.float64]


def distance_curve(material: Material, probe: ProbeEntry, ident: str) -> Chart | None:
    """The share of rows that nothing broke at or below each distance, a curve a group; None without distances."""
    asked = [(g, each) for g in material.groups[:MOST_GROUPS] if (each := _distances(material, probe, g))]
    farthest = max((float(d[np.isfinite(d)].max(initial=0.0)) for _, each in asked for d in each), default=0.0)
    if farthest <= 0:
        return None
    grid: Floats = np.linspace(0, farthest, POINTS)
    series = tuple(Series(g.name, g.index, _band(each, grid), tuple(grid.tolist())) for g, each in asked)
    title = "Rows still right by distance"
    caption = (
        "The share of rows that nothing broke at or below each distance, of those that minimum norm was asked of. The "
        "truth lies at or below the curve. Lines are means over a group's seeds, bands run from least to greatest."
    )
    svg = charts.curves(
        f"{ident}-distance",
        title,
        (Panel(series, Axis("share still right", "share", low=0, high=1.02)),),
        Axis("distance", "number", low=0),
    )
    return Chart(title, caption, svg, _table(title, asked, farthest))


def still_right(distances: Floats, grid: Floats) -> Floats:
    """The share of rows whose distance (n,) is above each of the grid's (m,)."""
    return np.asarray((distances[:, None] > grid).mean(axis=0), np.float64)


def _distances(material: Material, probe: ProbeEntry, group: Group) -> list[Floats]:
    """The distances of the rows asked, of each member of the group that has any."""
    done = (material.facts.samples(r) for r in material.results(probe.id, group) if r.outcome == "completed")
    found = [_asked(arrays) for arrays in done if "distance" in arrays]
    return [distances for distances in found if len(distances)]


def _asked(arrays: Arrays) -> Floats:
    distances = np.asarray(arrays["distance"], np.float64)[:, 0]
    return distances[~np.isnan(distances)]


def _band(each: list[Floats], grid: Floats) -> tuple[Point, ...]:
    stacked = np.stack([still_right(distances, grid) for distances in each])
    ends = zip(stacked.mean(0).tolist(), stacked.min(0).tolist(), stacked.max(0).tolist(), strict=True)
    return tuple(Point(mean, low, high) for mean, low, high in ends)


def _table(title: str, asked: list[tuple[Group, list[Floats]]], farthest: float) -> Table:
    places: Floats = farthest * np.array(SHOWN)
    columns = (Column("Distance"), *(Column(g.name, "number") for g, _ in asked))
    means = [np.mean([still_right(d, places) for d in each], axis=0) for _, each in asked]
    rows = tuple(
        (
            Cell(wording.amount(float(place), "number"), head=True),
            *(Cell(wording.amount(float(mean[i]), "share"), tone="number") for mean in means),
        )
        for i, place in enumerate(places)
    )
    return Table(title, columns, rows, "Means over seeds, as drawn.")
