"""The report in short, as Markdown for a forge: verdict, scorecard, curves, findings, differences, gaps."""

import re
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from auditor.bundle import Facts
from auditor.policy import Findings

from .page import Cell, Chart, Column, ProbeSection, Report
from .view import report
from .wording import FAMILIES

SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|#"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": " "})


def render(facts: Facts, findings: Findings) -> bytes:
    """What did this audit find, in short, where Markdown is shown: report.md."""
    said = report(facts, findings)
    page = _environment().get_template("report.md.j2").render(report=said, curves=curves(said))
    lines = "\n".join(line.rstrip() for line in page.splitlines())
    return (re.sub(r"\n{3,}", "\n\n", lines) + "\n").encode()


def curves(said: Report) -> tuple[tuple[ProbeSection, tuple[Chart, ...]], ...]:
    """What a forge cannot draw of the attacks on inputs: each probe with the numbers of its curves."""
    attacks = (p for p in said.probes if p.family == FAMILIES["evasion"] and p.charts)
    return tuple((p, p.charts) for p in attacks)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("auditor.reports", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # Markdown, escaped by the filter `md`
    )
    environment.filters |= {"md": escape, "cell": cell, "align": align}
    return environment


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return text.translate(SPECIAL)


def cell(of: Cell) -> str:
    """A table cell: value, note and state in one line."""
    chip = f"{of.chip.icon} {of.chip.text}".strip() if of.chip else ""
    links = ", ".join(text for _, text in of.links)
    text = f"**{escape(of.text)}**" if of.head and of.text else escape(of.text)
    parts = [text, escape(links), escape(of.note), escape(chip)] if text or links else [escape(chip), escape(of.note)]
    return "<br>".join(part for part in parts if part)


def align(column: Column) -> str:
    """The dashes that align a column."""
    return "---:" if "number" in column.tone else "---"
