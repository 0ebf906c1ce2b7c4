"""Which charts a probe's numbers call for: each built-in probe has its own, any other gets curves and dots."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from auditor.catalogue import MetricEntry, ProbeEntry

from . import cells, charts, wording
from .charts import Axis, Panel, Point, Series
from .confusion import confusion
from .distance_curve import distance_curve
from .from_samples import membership_roc, reliability_diagram
from .material import Line, Material
from .page import Chart, Table
from .view_sensitivity import by_rate

MOST_ROWS = 40
MOST_GROUPS = 8
MOST_PANELS = 2


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
    """The charts of one probe: its own, then what its metrics call for."""
    own = OWN.get(probe.id)
    found = list(own(material, probe)) if own else []
    done = {name for one in found for name in one.metrics}
    left = [m for m in probe.metrics if m.name not in done and len(material.lines(probe, m)) > 1]
    left = [m for m in left if _points(material, material.lines(probe, m))]
    together: dict[str, list[MetricEntry]] = {}
    for metric in left:
        if name := _numeric(material.lines(probe, metric)):
            together.setdefault(name, []).append(metric)
        else:
            found.append(drawn(metric, dots(material, probe, metric)))
    for metrics in together.values():
        found += [
            curves(material, probe, tuple(metrics[i : i + MOST_PANELS])) for i in range(0, len(metrics), MOST_PANELS)
        ]
    return tuple(found)


def _numeric(lines: tuple[Line, ...]) -> str:
    """The one coordinate of these lines, where it is a number."""
    names = {name for line in lines for name in line.at}
    return (
        next(iter(names))
        if len(names) == 1 and not any(isinstance(v, str) for line in lines for v in line.at.values())
        else ""
    )


def _points(material: Material, lines: tuple[Line, ...]) -> list[Point]:
    found = (cells.point(material.number(line, g)) for line in lines for g in material.groups)
    return [p for p in found if p is not None]


def _series(material: Material, lines: tuple[Line, ...], x: tuple[float, ...] = ()) -> list[Series]:
    return [
        Series(g.name, g.index, points, x)
        for g in material.groups[:MOST_GROUPS]
        if any(points := tuple(cells.point(material.number(line, g)) for line in lines))
    ]


def curves(material: Material, probe: ProbeEntry, metrics: tuple[MetricEntry, ...], start: str = "") -> Drawn:
    """Metrics along their numeric coordinate, a panel for each; the metric `start` gives the point at zero."""
    zero = material.lines(probe, _metric(probe, start))[:1] if start else ()
    by = [(*zero, *material.lines(probe, m)) for m in metrics]
    name = next(iter(by[0][-1].at))
    word = wording.AT_NAMES.get(name, name)
    title = f"{wording.listed(m.title for m in metrics)} by {word}"
    panels = tuple(_panel(material, metric, lines, name) for metric, lines in zip(metrics, by, strict=True))
    svg = charts.curves(f"{_ident(probe)}-{metrics[0].name}", title, panels, _along(name, by))
    table = cells.lines_table(material, title, tuple(line for lines in by for line in lines))
    shown = frozenset(m.name for m in metrics)
    return Drawn(shown, shown, Chart(title, _caption(material), svg, table))


def _along(name: str, by: list[tuple[Line, ...]]) -> Axis:
    """The axis of a coordinate, with a tick at each place measured where they stand apart."""
    at = sorted({float(line.at.get(name, 0.0)) for lines in by for line in lines})
    apart = all(b - a > 0.09 * (at[-1] - at[0]) for a, b in itertools.pairwise(at))
    ticks = tuple((x, wording.coordinate(name, x)) for x in at) if apart else ()
    return Axis(wording.AT_NAMES.get(name, name), "share" if name in wording.AT_SHARES else "number", ticks=ticks)


def _panel(material: Material, metric: MetricEntry, lines: tuple[Line, ...], name: str) -> Panel:
    low, high = _span(_points(material, lines)) if metric.unit == "share" else (None, None)
    x = tuple(float(line.at.get(name, 0.0)) for line in lines)
    return Panel(tuple(_series(material, lines, x)), Axis(metric.title, metric.unit, low=low, high=high))


def _span(points: list[Point]) -> tuple[float, float | None]:
    """Shares run from 0 to 1, unless all of them stay small."""
    high = max(p.value if p.high is None else p.high for p in points)
    return 0.0, (1.02 if high > 0.4 else None)


def dots(material: Material, probe: ProbeEntry, metric: MetricEntry, reference: float | None = None) -> Chart:
    """A metric at named places, with its intervals."""
    lines = material.lines(probe, metric)
    kept = lines[:MOST_ROWS]
    title = metric.title
    svg = charts.dots(
        f"{_ident(probe)}-{metric.name}",
        title,
        [_row(line) for line in kept],
        _series(material, kept),
        Axis(title, metric.unit, reference=reference),
    )
    more = f" The first {MOST_ROWS} of {len(lines)} rows are drawn." if len(lines) > MOST_ROWS else ""
    return Chart(title, _caption(material) + more, svg, cells.lines_table(material, title, lines))


def _row(line: Line) -> str:
    return ", ".join(wording.coordinate(name, line.at[name]) for name in sorted(line.at))


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
    found = []
    if _points(material, material.lines(probe, robust)):
        found.append(curves(material, probe, (robust,), start="clean_accuracy"))
    chart = distance_curve(material, probe, _ident(probe))
    return [*found, Drawn(frozenset(), frozenset(), chart)] if chart else found


def _ood(material: Material, probe: ProbeEntry) -> list[Drawn]:
    means = Drawn(frozenset({"mean_auroc"}), frozenset())  # in the table above, and the mean of what is drawn
    auroc = _metric(probe, "auroc")
    if not _points(material, material.lines(probe, auroc)):
        return []
    return [means, drawn(auroc, dots(material, probe, auroc, reference=0.5))]


def _accuracy(material: Material, probe: ProbeEntry) -> list[Drawn]:
    shown = frozenset({"confusion"})
    return [Drawn(shown, shown, grids=confusion(material, probe))]


def _calibration(material: Material, probe: ProbeEntry) -> list[Drawn]:
    chart = reliability_diagram(material, probe, _ident(probe))
    return [Drawn(frozenset(), frozenset(), chart)] if chart else []


def _learning_rates(material: Material, probe: ProbeEntry) -> list[Drawn]:
    chart = by_rate(material, probe, _ident(probe))
    both = frozenset({"accuracy", "robust_accuracy"})
    return [Drawn(both, both, chart)] if chart else []


def _membership(material: Material, probe: ProbeEntry) -> list[Drawn]:
    chart = membership_roc(material, probe, _ident(probe))
    return [Drawn(frozenset({"tpr_at_fpr"}), frozenset(), chart)] if chart else []


OWN: Mapping[str, Callable[[Material, ProbeEntry], list[Drawn]]] = {
    "accuracy": _accuracy,
    "calibration": _calibration,
    "evasion.l1": _evasion,
    "evasion.l2": _evasion,
    "evasion.learning_rates": _learning_rates,
    "evasion.linf": _evasion,
    "evasion.spatial": _evasion,
    "ood.scores": _ood,
    "privacy.membership": _membership,
}
