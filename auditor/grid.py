"""A table in the terminal: a column a subject where that fits the screen, else a line a subject."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

# A row's name may be folded, but not below this many characters.
NARROWEST = 16


@dataclass(frozen=True)
class Row:
    """What a row is about (one text for each of its first columns), and a cell for each subject; "" where none."""

    names: tuple[str, ...]
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """What is known of several subjects: which of two layouts lets every number stay in one piece?

    Wide: a row a question, a column a subject. Where the cells do not fit beside each other: each question as a
    heading, below it a line a subject. The second line of a cell (a verdict, an interval) is then a column of its own.
    Texts are rich markup.
    """

    title: str
    names: tuple[str, ...]
    subjects: tuple[str, ...]
    rows: tuple[Row, ...]
    right: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The layout that fits the width at hand."""
        yield self._wide() if self._needs(console) <= options.max_width else self._tall()

    def _needs(self, console: Console) -> int:
        """Columns of characters that the wide layout takes with no cell broken, borders counted."""
        firsts = [[row.names[k] for row in self.rows] for k in range(len(self.names))]
        names = [min(NARROWEST, _width(console, texts)) for texts in firsts]
        cells = [_width(console, [row.cells[k] for row in self.rows]) for k in range(len(self.subjects))]
        # A subject's name may be folded where it has blanks or is little longer than its cells.
        heads = [min(max(cell, NARROWEST), _width(console, [s])) for s, cell in zip(self.subjects, cells, strict=True)]
        widths = [max(cell, head) for cell, head in zip(cells, heads, strict=True)]
        return sum(names) + sum(widths) + 3 * (len(names) + len(widths)) + 1

    def _wide(self) -> Table:
        table = Table(title=self.title, title_justify="left")
        for name in self.names:
            table.add_column(name, overflow="fold")
        for subject in self.subjects:
            table.add_column(subject, justify="right" if self.right else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row.names, *row.cells)
        return table

    def _tall(self) -> Table:
        table = Table(title=self.title, title_justify="left", show_header=False, show_lines=False)
        table.add_column("", overflow="fold", ratio=None)
        table.add_column("", justify="right" if self.right else "left", no_wrap=True)
        beside = any("\n" in cell for row in self.rows for cell in row.cells)
        if beside:
            table.add_column("", no_wrap=True)
        for row in self.rows:
            heading = " ".join(name.replace("\n", ", ") for name in row.names if name)
            table.add_row(f"[bold]{heading}[/]")
            for subject, cell in zip(self.subjects, row.cells, strict=True):
                if cell:
                    first, _, rest = cell.partition("\n")
                    table.add_row(f"  {subject}", first, *([rest.replace("\n", ", ")] if beside else []))
            table.add_section()
        return table


def _width(console: Console, texts: Sequence[str]) -> int:
    """The longest line of some texts."""
    return max((Measurement.get(console, console.options, Text.from_markup(t)).maximum for t in texts), default=0)
