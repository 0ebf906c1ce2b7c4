"""Drawings from per-sample outcomes: the reliability diagram and the membership ROC."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.bundle import Arrays
from auditor.catalogue import ProbeEntry

from . import charts, wording
from .charts import Axis, Panel, Point, Series
from .material import Group, Material
from .page import Cell, Chart, Column, Table

MOST_GROUPS = 8
BINS = 10
FEWEST = 10
LOWEST_RATE = 1e-3
Floats = npt.NDArray[np.float64]
GRID: Floats = np.geomspace(LOWEST_RATE, 1, 61)
RATES: Floats = np.array([0.001, 0.01, 0.05, 0.1, 0.5])


def pooled(material: Material, probe: ProbeEntry, group: Group, names: tuple[str, ...]) -> Arrays | None:
    """The named arrays of a group's completed results, one after the other; None where one of them lacks any."""
    found = [
        arrays
        for result in material.results(probe.id, group)
        if result.outcome == "completed" and all(n in (arrays := material.facts.samples(result)) for n in names)
    ]
    return {name: np.concatenate([arrays[name] for arrays in found]) for name in names} if found else None


def reliability_diagram(material: Material, probe: ProbeEntry, ident: str) -> Chart | None:
    """How often the model was right among the answers it was so sure of."""
    names = ("label", "prediction", "score")
    binned = [(g, bins) for g in material.groups if (a := pooled(material, probe, g, names)) and (bins := _bins(a))]
    if not binned:
        return None
    series = tuple(
        Series(g.name, g.index, tuple(Point(b.right) for b in bins), tuple(b.sure for b in bins))
        for g, bins in binned[:MOST_GROUPS]
    )
    title = "Reliability diagram"
    caption = (
        f"Mean confidence and share of right answers in {BINS} bins of equal width, the answers of all seeds together; "
        f"bins with fewer than {FEWEST} are left out. Below the dotted line a model is surer than it is right."
    )
    svg = charts.curves(
        f"{ident}-reliability",
        title,
        (Panel(series, Axis("share of right answers", "share", low=0, high=1.02)),),
        Axis("mean confidence", "share", low=0, high=1.02),
        diagonal=True,
    )
    return Chart(title, caption, svg, _bins_table(title, binned))


@dataclass(frozen=True)
class Bin:
    """The answers of one range of confidence."""

    sure: float
    right: float
    rows: int


def _bins(arrays: Arrays) -> tuple[Bin, ...]:
    sure = np.asarray(arrays["score"], np.float64).reshape(len(arrays["label"]), -1)[:, 0]
    asked = np.isfinite(sure)
    sure, right = sure[asked], (arrays["label"] == arrays["prediction"])[asked]
    place = np.clip((sure * BINS).astype(int), 0, BINS - 1)
    chosen = [place == b for b in range(BINS)]
    return tuple(Bin(float(sure[c].mean()), float(right[c].mean()), int(c.sum())) for c in chosen if c.sum() >= FEWEST)


def _bins_table(title: str, binned: list[tuple[Group, tuple[Bin, ...]]]) -> Table:
    columns = (
        Column("Group"),
        Column("Answers", "number"),
        Column("Mean confidence", "number"),
        Column("Right", "number"),
    )
    rows = tuple(
        (
            Cell(g.name, head=True),
            Cell(wording.whole(b.rows), tone="number"),
            Cell(wording.amount(b.sure, "share"), tone="number"),
            Cell(wording.amount(b.right, "share"), tone="number"),
        )
        for g, bins in binned
        for b in bins
    )
    return Table(title, columns, rows)


def membership_roc(material: Material, probe: ProbeEntry, ident: str) -> Chart | None:
    """How many members an attacker finds for how many false alarms, on log scales, where privacy is lost or kept."""
    scored = [(g, each) for g in material.groups[:MOST_GROUPS] if (each := _scored(material, probe, g))]
    if not scored:
        return None
    series = tuple(
        Series(g.name, g.index, _band([roc(a, GRID) for a in each]), tuple(GRID.tolist())) for g, each in scored
    )
    title = "Members found by false alarms"
    caption = (
        "Both scales are logarithmic. Lines are means over a group's seeds, bands run from its least to its greatest. "
        "The dotted line is guessing; the further a curve lies above it on the left, the more training rows an "
        "attacker can name with few false alarms."
    )
    svg = charts.curves(
        f"{ident}-roc",
        title,
        (Panel(series, Axis("true-positive rate", scale="log", low=LOWEST_RATE, high=1.2)),),
        Axis("false-positive rate", scale="log", low=LOWEST_RATE, high=1.0),
        diagonal=True,
    )
    return Chart(title, caption, svg, _roc_table(title, scored))


def _scored(material: Material, probe: ProbeEntry, group: Group) -> list[Arrays]:
    """The samples of each member of the group that hold scores of training rows and of others."""
    done = (material.facts.samples(r) for r in material.results(probe.id, group) if r.outcome == "completed")
    return [arrays for arrays in done if "score" in arrays and 0 < _members(arrays).mean() < 1]


def _members(arrays: Arrays) -> npt.NDArray[np.bool_]:
    """Which rows were trained on: the probe marks their identities."""
    return np.char.startswith(arrays["row"], "member:")


def roc(arrays: Arrays, rates: Floats) -> Floats:
    """The true-positive rate at each false-positive rate, never interpolated upwards."""
    scores, member = np.asarray(arrays["score"], np.float64)[:, 0], _members(arrays)
    others, members = np.sort(scores[~member])[::-1], np.sort(scores[member])
    allowed = (rates * len(others) + 1e-9).astype(int)
    bar = np.where(allowed < len(others), others[np.minimum(allowed, len(others) - 1)], -np.inf)
    found = len(members) - np.searchsorted(members, bar, side="right")
    return np.asarray(found / len(members), np.float64)


def _band(curves: list[Floats]) -> tuple[Point | None, ...]:
    """The mean with the range over seeds; rates of zero have no place on a log scale."""
    stacked = np.stack(curves)
    return tuple(
        Point(mean, max(low, LOWEST_RATE / 10), high) if mean > 0 else None
        for mean, low, high in zip(
            stacked.mean(0).tolist(), stacked.min(0).tolist(), stacked.max(0).tolist(), strict=True
        )
    )


def _roc_table(title: str, scored: list[tuple[Group, list[Arrays]]]) -> Table:
    columns = (Column("False-positive rate"), *(Column(g.name, "number") for g, _ in scored))
    means = [np.mean([roc(a, RATES) for a in each], axis=0) for _, each in scored]
    rows = tuple(
        (
            Cell(wording.amount(float(rate), "share"), head=True),
            *(Cell(wording.amount(float(mean[i]), "share"), tone="number") for mean in means),
        )
        for i, rate in enumerate(RATES)
    )
    return Table(title, columns, rows, "Means over seeds, as drawn; the measured rates with their intervals are above.")
