"""The canvas charts are drawn on: matplotlib's SVG, made fit for a page that is light or dark.

Matplotlib draws with stand-in colours, which are then swapped for CSS variables, so that one drawing serves both.
Text stays text. The same input gives the same bytes.
"""

import html
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# How many characters stand beside each other in a legend, and how many a mark with its margins takes.
LEGEND, MARK = 80, 8
STAND_INS: Mapping[str, str] = {f"#01fe{i:02x}": f"var(--c{i})" for i in range(1, 9)} | {
    "#01fea0": "var(--ink)",
    "#01fea1": "var(--muted)",
    "#01fea2": "var(--line)",
    "#01fea3": "var(--pass)",
    "#01fea4": "var(--fail)",
    "#01fea5": "var(--unsure)",
    "#01fea6": "var(--none)",
    "#01fea7": "var(--paper)",
}
INK, MUTED, LINE, PASS, FAIL, UNSURE, NONE, PAPER = list(STAND_INS)[8:]
SETTINGS: Mapping[Any, Any] = {  # matplotlib's own keys and types
    "svg.fonttype": "none",
    "svg.hashsalt": "auditor",
    "text.parse_math": False,
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "lines.linewidth": 1.9,
    "lines.markersize": 5.5,
    "axes.unicode_minus": True,
}


class Canvas:
    """A figure being drawn, and after that its SVG."""

    def __init__(self, figure: "Figure", columns: int) -> None:
        self.figure = figure
        self.panels: tuple[Axes, ...] = tuple(figure.subplots(1, columns, squeeze=False)[0])
        self.svg = ""

    @property
    def axes(self) -> "Axes":
        """The first panel."""
        return self.panels[0]

    def described(self) -> str:
        """What is drawn, for those who cannot see it: the axes and the groups."""
        drawn = [axes.get_title(loc="left") or axes.get_ylabel() for axes in self.panels]
        names = self.axes.get_legend_handles_labels()[1]
        parts = [", ".join(" ".join(text.split()) for text in drawn if text), self.axes.get_xlabel()]
        told = " against ".join(part for part in parts if part)
        return told + (f"; for {', '.join(names)}" if names else "") + "."

    def legend(self) -> None:
        """Name the groups above the drawing, where there is more than one."""
        handles, labels = self.axes.get_legend_handles_labels()
        if len(labels) > 1:
            columns = max(1, min(len(labels), 4, LEGEND // (MARK + max(map(len, labels)))))
            self.figure.legend(handles, labels, loc="outside upper left", ncols=columns, borderaxespad=0.2)


@contextmanager
def drawing(ident: str, title: str, width: float, height: float, columns: int = 1) -> Iterator[Canvas]:
    """A canvas of this size in inches; its SVG is there when the block ends."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(dict(SETTINGS)):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        canvas = Canvas(figure, columns)
        yield canvas
        stream = io.BytesIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", transparent=True, metadata=metadata)
        canvas.svg = page_svg(stream.getvalue().decode(), ident, title, canvas.described())


def page_svg(drawn: str, ident: str, title: str, description: str) -> str:
    """A drawing made fit for the page: no prologue, no links, ids that occur once, colours that follow the page."""
    svg = drawn[drawn.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{ident}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{ident}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{ident}-\1)", svg)
    svg = re.sub(r"font-family: [^;\"]+;? ?", "", svg)
    svg = re.sub("#01fe[0-9a-f]{2}", lambda m: STAND_INS[m.group()], svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    view = re.search(r'viewBox="([^"]+)"', svg)
    assert view is not None, "matplotlib writes a viewBox"
    label = f'<title id="{ident}-title">{html.escape(title)}</title><desc>{html.escape(description)}</desc>'
    head = f'<svg class="chart" role="img" aria-labelledby="{ident}-title" viewBox="{view.group(1)}">{label}'
    return re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
