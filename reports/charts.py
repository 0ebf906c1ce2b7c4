"""Charts: curves with bands, dots with whiskers, forests and scatters, each returned as SVG markup."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auditor.record import Unit

from .canvas import FAIL, MUTED, NONE, PAPER, PASS, STAND_INS, UNSURE, drawing
from .wording import SIGNS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scale = Literal["linear", "log"]
TONES: Mapping[str, str] = {"pass": PASS, "fail": FAIL, "unsure": UNSURE, "none": NONE}
MARKERS = "osD^vPX*"
MOST_MARKERS = 24
WIDTH = 7.2  # inches
LABEL = 36  # characters of a row's label before it breaks
DASHES = ("-", (0, (6, 2)), (0, (2, 2)), (0, (6, 2, 2, 2)))


@dataclass(frozen=True)
class Point:
    """A number with its interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """One group's line, or its dots: a point for each x; None where nothing was measured. `index` picks the colour."""

    name: str
    index: int
    points: tuple[Point | None, ...]
    x: tuple[float, ...] = ()


@dataclass(frozen=True)
class Axis:
    """What an axis shows; shares run in percent, their differences in percentage points."""

    label: str
    unit: Unit = "number"
    scale: Scale = "linear"
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    ticks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Panel:
    """The lines that share one set of axes."""

    series: tuple[Series, ...]
    y: Axis


@dataclass(frozen=True)
class Effect:
    """A difference with its interval, its tone, and whether it is settled."""

    point: Point
    tone: str
    settled: bool


@dataclass(frozen=True)
class Effects:
    """The differences of one pair, a place for each row of the forest; `index` picks the marker."""

    name: str
    index: int
    effects: tuple[Effect | None, ...]


@dataclass(frozen=True)
class Spot:
    """One group of a scatter: two numbers with their intervals."""

    name: str
    index: int
    x: Point
    y: Point


def curves(ident: str, title: str, panels: Sequence[Panel], x: Axis, *, diagonal: bool = False) -> str:
    """Lines with bands: numbers along a quantity, such as accuracy along epsilon, a panel for each."""
    with drawing(ident, title, WIDTH, 3.7 if len(panels) < 3 else 3.2, columns=len(panels)) as canvas:
        for axes, panel in zip(canvas.panels, panels, strict=True):
            if diagonal:
                ends = [[_factor(axis) * (axis.low or 0.0), _factor(axis)] for axis in (x, panel.y)]
                axes.plot(*ends, color=MUTED, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
            for one in panel.series:
                _curve(axes, one, _factor(x), _factor(panel.y))
            _frame(axes, x, panel.y)
            if len(panels) > 1:
                axes.set_ylabel("")
                axes.set_title(textwrap.fill(panel.y.label, 66 // len(panels)), loc="left")
        canvas.legend()
    return canvas.svg


def _curve(axes: "Axes", one: Series, across: int, factor: int) -> None:
    kept = [(across * at, p) for at, p in zip(one.x, one.points, strict=True) if p is not None]
    xs, ys = [at for at, _ in kept], [factor * p.value for _, p in kept]
    band = [(at, factor * p.low, factor * p.high) for at, p in kept if p.low is not None and p.high is not None]
    colour = _colour(one.index)
    if band:
        at, low, high = zip(*band, strict=True)
        axes.fill_between(at, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(
        xs,
        ys,
        color=colour,
        linestyle=DASHES[one.index % len(DASHES)],
        label=one.name,
        marker=MARKERS[one.index % len(MARKERS)] if len(kept) <= MOST_MARKERS else "",
    )


def dots(ident: str, title: str, labels: Sequence[str], series: Sequence[Series], x: Axis) -> str:
    """Dots with whiskers: one row for each label, one dot for each group in it."""
    step = 0.72 / max(len(series), 1)
    with drawing(ident, title, WIDTH, _height(labels, series)) as canvas:
        for place, one in enumerate(series):
            offset = (place - (len(series) - 1) / 2) * step
            for row, point in enumerate(one.points):
                if point is not None:
                    _whisker(canvas.axes, one, row + offset, point, _factor(x), named=row == _first(one.points))
        _rows(canvas.axes, labels)
        _frame(canvas.axes, x, None)
        canvas.legend()
    return canvas.svg


def _first(points: Sequence[Point | None]) -> int:
    return next((i for i, p in enumerate(points) if p is not None), -1)


def _whisker(axes: "Axes", one: Series, row: float, point: Point, factor: int, *, named: bool) -> None:
    colour = _colour(one.index)
    if point.low is not None and point.high is not None:
        axes.plot([factor * point.low, factor * point.high], [row, row], color=colour, linewidth=1.6, alpha=0.75)
    axes.plot(
        [factor * point.value],
        [row],
        color=colour,
        linestyle="",
        marker=MARKERS[one.index % len(MARKERS)],
        label=one.name if named else None,
    )


def forest(ident: str, title: str, labels: Sequence[str], pairs: Sequence[Effects], x: Axis) -> str:
    """Differences with intervals around a line of no difference: a row for each label, a dot for each pair in it."""
    factor, step = _factor(x), 0.6 / max(len(pairs), 1)
    with drawing(ident, title, WIDTH, _height(labels, pairs)) as canvas:
        axes = canvas.axes
        for place, pair in enumerate(pairs):
            marker, offset = MARKERS[pair.index % len(MARKERS)], (place - (len(pairs) - 1) / 2) * step
            axes.plot([], [], color=MUTED, marker=marker, linestyle="", label=pair.name)
            for row, effect in enumerate(pair.effects):
                if effect is not None:
                    _effect(axes, effect, row + offset, marker, factor)
        _rows(axes, labels)
        _frame(axes, x, None)
        canvas.legend()
    return canvas.svg


def _effect(axes: "Axes", effect: Effect, row: float, marker: str, factor: int) -> None:
    colour, point = TONES[effect.tone], effect.point
    if point.low is not None and point.high is not None:
        axes.plot([factor * point.low, factor * point.high], [row, row], color=colour, linewidth=2)
    fill = colour if effect.settled else PAPER
    axes.plot(
        [factor * point.value], [row], color=colour, marker=marker, linestyle="", markerfacecolor=fill, markersize=6
    )


def _height(labels: Sequence[str], series: Sequence[object]) -> float:
    return 0.9 + len(labels) * max(0.36, 0.17 * len(series) + 0.1)


def _rows(axes: "Axes", labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [textwrap.fill(label, LABEL) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def scatter(ident: str, title: str, spots: Sequence[Spot], x: Axis, y: Axis) -> str:
    """Two numbers of each group against each other, each with its whiskers."""
    with drawing(ident, title, WIDTH, 3.7) as canvas:
        for spot in spots:
            fx, fy = _factor(x), _factor(y)
            colour = _colour(spot.index)
            if spot.x.low is not None and spot.x.high is not None:
                canvas.axes.plot([fx * spot.x.low, fx * spot.x.high], [fy * spot.y.value] * 2, color=colour, alpha=0.6)
            if spot.y.low is not None and spot.y.high is not None:
                canvas.axes.plot([fx * spot.x.value] * 2, [fy * spot.y.low, fy * spot.y.high], color=colour, alpha=0.6)
            canvas.axes.plot(
                [fx * spot.x.value],
                [fy * spot.y.value],
                color=colour,
                linestyle="",
                markersize=8,
                marker=MARKERS[spot.index % len(MARKERS)],
                label=spot.name,
            )
        _frame(canvas.axes, x, y)
        canvas.legend()
    return canvas.svg


def _factor(axis: Axis) -> int:
    return 1 if axis.unit == "number" else 100


def _colour(index: int) -> str:
    return list(STAND_INS)[index % 8]


def _frame(axes: "Axes", x: Axis, y: Axis | None) -> None:
    axes.set_xlabel(x.label)
    axes.set_xscale(x.scale)
    factor = _factor(x)
    if x.reference is not None:
        axes.axvline(factor * x.reference, color=MUTED, linewidth=1.1, linestyle=(0, (2, 3)))
    axes.set_xlim(*(None if end is None else factor * end for end in (x.low, x.high)))
    _ticks(axes, "x", x)
    if y is not None:
        factor = _factor(y)
        axes.set_ylabel(y.label)
        axes.set_yscale(y.scale)
        axes.set_ylim(*(None if end is None else factor * end for end in (y.low, y.high)))
        _ticks(axes, "y", y)


def _ticks(axes: "Axes", which: str, axis: Axis) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    place = axes.xaxis if which == "x" else axes.yaxis
    if axis.ticks:
        place.set_ticks([_factor(axis) * at for at, _ in axis.ticks], labels=[text for _, text in axis.ticks])
        return
    if axis.scale == "log" or axis.unit != "number":
        sign = SIGNS[axis.unit]
        place.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}{sign}".replace("-", "−")))
        place.set_minor_formatter(NullFormatter())
