"""The report as one HTML file: no script, no outside request, the same bytes for the same bundle."""

from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from auditor.bundle import Facts
from auditor.policy import Findings

from .view import report


def render(facts: Facts, findings: Findings) -> bytes:
    """What did this audit find, for a person to read: report.html.

    The page holds its style and its drawings; a content security policy forbids it to load anything.
    """
    style = (files("auditor.reports.templates") / "style.css").read_text(encoding="utf-8")
    page = _environment().get_template("report.html.j2").render(report=report(facts, findings), style=Markup(style))  # noqa: S704  # our own file
    return page.encode()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("auditor.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
