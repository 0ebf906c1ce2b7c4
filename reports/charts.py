"""Charts: curves with bands, dots with whiskers, forests and scatters, each returned as SVG markup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .canvas import FAIL, MUTED, NONE, PAPER, PASS, STAND_INS, UNSURE, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scale = Literal["linear", "log"]
TONES: Mapping[str, str] = {"pass": PASS, "fail": FAIL, "unsure": UNSURE, "none": NONE}
MARKERS = "osD^vPX*"
MOST_MARKERS = 24
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
    """What an axis shows; shares run in percent."""

    label: str
    percent: bool = False
    scale: Scale = "linear"
    low: float | None = None
    high: float | None = None
    reference: float | None = None


@dataclass(frozen=True)
class Effect:
    """One row of a forest: a difference with its interval, its tone, and whether it is settled."""

    label: str
    point: Point
    tone: str


@dataclass(frozen=True)
class Spot:
    """One group of a scatter: two numbers with their intervals."""

    name: str
    index: int
    x: Point
    y: Point


def curves(ident: str, title: str, series: Sequence[Series], x: Axis, y: Axis, *, diagonal: bool = False) -> str:
    """Lines with bands: a number along a quantity, such as accuracy along epsilon."""
    with drawing(ident, title, 7.2, 3.7) as canvas:
        axes = canvas.axes
        if diagonal:
            axes.plot(*([f * (axis.low or 0.0), f] for f, axis in ((_factor(x), x), (_factor(y), y))), color=MUTED, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
        for one in series:
            _curve(axes, one, _factor(x), _factor(y))
        _frame(axes, x, y)
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
        xs, ys, color=colour, linestyle=DASHES[one.index % len(DASHES)], label=one.name,
        marker=MARKERS[one.index % len(MARKERS)] if len(kept) <= MOST_MARKERS else "",
    )


def dots(ident: str, title: str, labels: Sequence[str], series: Sequence[Series], x: Axis) -> str:
    """Dots with whiskers: one row for each label, one dot for each group in it."""
    step = 0.72 / max(len(series), 1)
    height = 0.9 + len(labels) * max(0.34, 0.17 * len(series) + 0.1)
    with drawing(ident, title, 7.2, height) as canvas:
        for place, one in enumerate(series):
            offset = (place - (len(series) - 1) / 2) * step
            for row, point in enumerate(one.points):
                if point is not None:
                    _whisker(canvas.axes, one, row + offset, point, _factor(x), named=row == _first(one.points))
        canvas.axes.set_yticks(range(len(labels)), labels)
        canvas.axes.set_ylim(len(labels) - 0.5, -0.5)
        canvas.axes.grid(visible=False, axis="y")
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
        [factor * point.value], [row], color=colour, linestyle="", marker=MARKERS[one.index % len(MARKERS)],
        label=one.name if named else None,
    )


def forest(ident: str, title: str, effects: Sequence[Effect], x: Axis) -> str:
    """Differences with intervals around a line of no difference."""
    factor = _factor(x)
    with drawing(ident, title, 7.2, 0.9 + 0.3 * len(effects)) as canvas:
        axes = canvas.axes
        for row, effect in enumerate(effects):
            colour, point = TONES[effect.tone], effect.point
            if point.low is not None and point.high is not None:
                axes.plot([factor * point.low, factor * point.high], [row, row], color=colour, linewidth=2)
            settled = effect.tone in {"pass", "fail"}
            axes.plot([factor * point.value], [row], color=colour, marker="D" if settled else "o", linestyle="",
                      markerfacecolor=colour if settled else PAPER, markersize=6)
        axes.set_yticks(range(len(effects)), [e.label for e in effects])
        axes.set_ylim(len(effects) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        _frame(axes, x, None)
    return canvas.svg


def scatter(ident: str, title: str, spots: Sequence[Spot], x: Axis, y: Axis) -> str:
    """Two numbers of each group against each other, each with its whiskers."""
    with drawing(ident, title, 7.2, 3.7) as canvas:
        for spot in spots:
            fx, fy = _factor(x), _factor(y)
            colour = _colour(spot.index)
            if spot.x.low is not None and spot.x.high is not None:
                canvas.axes.plot([fx * spot.x.low, fx * spot.x.high], [fy * spot.y.value] * 2, color=colour, alpha=0.6)
            if spot.y.low is not None and spot.y.high is not None:
                canvas.axes.plot([fx * spot.x.value] * 2, [fy * spot.y.low, fy * spot.y.high], color=colour, alpha=0.6)
            canvas.axes.plot([fx * spot.x.value], [fy * spot.y.value], color=colour, linestyle="", markersize=8,
                             marker=MARKERS[spot.index % len(MARKERS)], label=spot.name)
        _frame(canvas.axes, x, y)
        canvas.legend()
    return canvas.svg


def _factor(axis: Axis) -> int:
    return 100 if axis.percent else 1


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
    if axis.scale == "log" or axis.percent:
        sign = "\u202f%" if axis.percent else ""
        place.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}{sign}".replace("-", "−")))
        place.set_minor_formatter(NullFormatter())
