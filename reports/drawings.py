"""Which charts a probe's numbers call for: each built-in probe has its own, any other gets curves and dots."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from auditor.catalogue import MetricEntry, ProbeEntry

from . import cells, charts, wording
from .charts import Axis, Point, Series
from .from_samples import confusion, membership_roc, reliability_diagram
from .material import Line, Material
from .page import Chart, Table

MOST_ROWS = 40
MOST_GROUPS = 8


@dataclass(frozen=True)
class Drawn:
    """A chart, or grids in its stead: the metrics it stands for, and those whose numbers it shows in full."""

    metrics: frozenset[str]
    shows: frozenset[str]
    chart: Chart | None = None
    grids: tuple[Table, ...] = ()


def drawn(metric: MetricEntry, chart: Chart) -> Drawn:
    """A chart of one metric whose table holds all of its numbers."""
    only = frozenset({metric.name})
    return Drawn(only, only, chart)


def drawings(material: Material, probe: ProbeEntry) -> tuple[Drawn, ...]:
    """The charts of one probe, in the order of its metrics."""
    own = OWN.get(probe.id)
    found = list(own(material, probe)) if own else []
    done = {name for one in found for name in one.metrics}
    for metric in probe.metrics:
        if metric.name not in done and (one := general(material, probe, metric)):
            found.append(one)
    return tuple(found)


def general(material: Material, probe: ProbeEntry, metric: MetricEntry) -> Drawn | None:
    """Curves along a coordinate that is a number, dots along texts; nothing where there is one place only."""
    lines = material.lines(probe, metric)
    if len(lines) < 2 or not any(_points(material, lines)):
        return None
    numeric = len(lines[0].at) == 1 and all(not isinstance(v, str) for line in lines for v in line.at.values())
    chart = curves(material, probe, (metric,)) if numeric else dots(material, probe, metric)
    return drawn(metric, chart)


def _points(material: Material, lines: tuple[Line, ...]) -> list[Point]:
    found = (cells.point(material.number(line, g)) for line in lines for g in material.groups)
    return [p for p in found if p is not None]


def _series(material: Material, lines: tuple[Line, ...], x: tuple[float, ...] = ()) -> list[Series]:
    return [
        Series(g.name, g.index, points, x) for g in material.groups[:MOST_GROUPS]
        if any(points := tuple(cells.point(material.number(line, g)) for line in lines))
    ]


def curves(material: Material, probe: ProbeEntry, metrics: tuple[MetricEntry, ...], start: str = "") -> Chart:
    """A metric along its numeric coordinate; the metric `start` gives the point at zero."""
    metric = metrics[0]
    lines = material.lines(probe, metric)
    name = next(iter(lines[0].at))
    zero = material.lines(probe, _metric(probe, start)) if start else ()
    lines = (*zero[:1], *lines)
    x = tuple(float(line.at.get(name, 0.0)) for line in lines)
    percent = metric.unit == "share"
    shares = name in wording.AT_SHARES
    title = f"{metric.title} by {wording.AT_NAMES.get(name, name)}"
    low, high = _span(material, lines, percent)
    svg = charts.curves(
        f"{_ident(probe)}-{metric.name}", title, _series(material, lines, x),
        Axis(f"{wording.AT_NAMES.get(name, name)}{' (share)' if shares else ''}", percent=shares),
        Axis(metric.title, percent=percent, low=low, high=high),
    )
    return Chart(title, _caption(material), svg, cells.lines_table(material, title, lines))


def _span(material: Material, lines: tuple[Line, ...], percent: bool) -> tuple[float | None, float | None]:
    """Shares run from 0 to 1, unless some are negative or all of them stay small."""
    if not percent:
        return None, None
    points = _points(material, lines)
    low = min(p.value if p.low is None else p.low for p in points)
    high = max(p.value if p.high is None else p.high for p in points)
    return (None if low < 0 else 0.0), (1.02 if high > 0.4 else None)


def dots(material: Material, probe: ProbeEntry, metric: MetricEntry, reference: float | None = None) -> Chart:
    """A metric at named places, with its intervals."""
    lines = material.lines(probe, metric)
    kept = lines[:MOST_ROWS]
    title = metric.title
    percent = metric.unit == "share"
    svg = charts.dots(
        f"{_ident(probe)}-{metric.name}", title, [_row(line) for line in kept], _series(material, kept),
        Axis(title, percent=percent, reference=reference),
    )
    more = f" The first {MOST_ROWS} of {len(lines)} rows are drawn." if len(lines) > MOST_ROWS else ""
    return Chart(title, _caption(material) + more, svg, cells.lines_table(material, title, lines))


def _row(line: Line) -> str:
    return ", ".join(wording.coordinate(name, line.at[name]) for name in sorted(line.at, reverse=True))


def _caption(material: Material) -> str:
    shown = material.groups[:MOST_GROUPS]
    left = len(material.groups) - len(shown)
    seeded = any(len(g.members) > 1 for g in shown)
    parts = ["Bands and whiskers are intervals" + (" over seeds and rows." if seeded else ".")]
    if left:
        parts.append(f"The first {MOST_GROUPS} groups are drawn; the table shows all {len(material.groups)}.")
    return " ".join(parts)


def _metric(probe: ProbeEntry, name: str) -> MetricEntry:
    found = next((m for m in probe.metrics if m.name == name), None)
    return found or MetricEntry(name=name, title=name, better="neither", kind="estimate", unit="number")


def _ident(probe: ProbeEntry) -> str:
    return "chart-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in probe.id)


def _evasion(material: Material, probe: ProbeEntry) -> list[Drawn]:
    robust = _metric(probe, "robust_accuracy")
    if not material.lines(probe, robust):
        return []
    return [drawn(robust, curves(material, probe, (robust,), start="clean_accuracy"))]


def _ood(material: Material, probe: ProbeEntry) -> list[Drawn]:
    wanted = [m for m in probe.metrics if m.name in {"auroc", "mean_auroc"} and len(material.lines(probe, m)) > 1]
    return [drawn(m, dots(material, probe, m, reference=0.5)) for m in wanted]


def _accuracy(material: Material, probe: ProbeEntry) -> list[Drawn]:
    shown = frozenset({"confusion"})
    return [Drawn(shown, shown, grids=confusion(material, probe))]


def _calibration(material: Material, probe: ProbeEntry) -> list[Drawn]:
    chart = reliability_diagram(material, probe, _ident(probe))
    return [Drawn(frozenset(), frozenset(), chart)] if chart else []


def _membership(material: Material, probe: ProbeEntry) -> list[Drawn]:
    chart = membership_roc(material, probe, _ident(probe))
    return [Drawn(frozenset({"tpr_at_fpr"}), frozenset(), chart)] if chart else []


OWN: Mapping[str, Callable[[Material, ProbeEntry], list[Drawn]]] = {
    "accuracy": _accuracy, "calibration": _calibration, "evasion.linf": _evasion, "ood.scores": _ood,
    "privacy.membership": _membership,
}
