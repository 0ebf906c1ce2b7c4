"""The NIST AI RMF table, subcategory by subcategory, and what the probes touch of the other vocabularies."""

from collections.abc import Iterator, Mapping

from auditor import frameworks
from auditor.attestations import load_attestations
from auditor.frameworks import CellState, Framework

from . import wording
from .material import Material, anchor
from .page import Cell, Chip, Column, FrameworkSection, Run, Table

STATES: Mapping[CellState, Chip] = {
    "measured": Chip("measured", "pass", "✓"),
    "partly supported": Chip("partly supported", "part", "◐"),
    "attested": Chip("attested", "waived", "✎"),
    "not assessed": Chip("not assessed", "none", "○"),
}


def framework_section(material: Material) -> FrameworkSection:
    """What this record supplies to each of the 72 subcategories."""
    rmf = frameworks.load("nist-ai-rmf")
    cells = frameworks.coverage(rmf, material.record, material.facts.catalogue, _stated(material))
    counts = tuple(
        Chip(f"{sum(c.state == state for c in cells)} {chip.text}", chip.tone, chip.icon)
        for state, chip in STATES.items()
    )
    return FrameworkSection(
        lead=(
            f"The {rmf.title} is voluntary, and its actions are no checklist: nothing says that a system complies. "
            f"A subcategory is measured only where a probe that maps to it has a completed, reliable result in this "
            f"record; partly supported where such a result is part of the evidence and a person must conclude. "
            f"All {wording.count(len(cells), 'subcategory', 'subcategories')} are listed, the empty ones too."
        ),
        counts=counts,
        functions=_functions(cells),
        source=_source(rmf),
        others=_others(material),
    )


def _functions(cells: tuple[frameworks.Cell, ...]) -> tuple[tuple[str, Table], ...]:
    names = dict.fromkeys(c.id.split()[0] for c in cells)
    return tuple(
        (_summary(name, of), _table(name, of)) for name in names if (of := [c for c in cells if c.id.startswith(name)])
    )


def _summary(name: str, cells: list[frameworks.Cell]) -> str:
    counted = [(sum(c.state == state for c in cells), chip.text) for state, chip in STATES.items()]
    return f"{name.capitalize()}: " + wording.listed(f"{n} {text}" for n, text in counted if n)


def _table(name: str, cells: list[frameworks.Cell]) -> Table:
    columns = (
        Column("Subcategory"),
        Column("State"),
        Column("Evidence in this record"),
        Column("Statement of the framework"),
    )
    rows = tuple(
        (
            Cell(c.id, head=True, tone="id"),
            Cell("", chip=STATES[c.state]),
            Cell("", links=_links(c.evidence), note=_sentence(c.reason)),
            Cell(c.statement, tone="statement"),
        )
        for c in cells
    )
    return Table(
        f"{name}, {wording.count(len(cells), 'subcategory', 'subcategories')}", columns, rows, tone="framework"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _links(probes: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((f"#{anchor(p)}", p) for p in probes)


def _source(rmf: Framework) -> str:
    return f"{rmf.title}, {rmf.version}, as of {rmf.as_of}. {rmf.status}".strip()


def _others(material: Material) -> Table | None:
    """Which items of the other vocabularies the probes of this audit speak of."""
    rows = tuple(row for name in frameworks.NAMES[1:] for row in _other(material, name))
    columns = (Column("Vocabulary"), Column("Item"), Column("Title"), Column("Evidence"))
    return Table("Other vocabularies, items with reliable evidence", columns, rows) if rows else None


def _stated(material: Material) -> dict[str, str]:
    """What people attest, from the file that was handed in."""
    text = material.facts.input_text("attestations.yaml")
    return load_attestations(text, "attestations.yaml").statements() if text else {}


def _other(material: Material, name: str) -> Iterator[tuple[Cell, ...]]:
    framework = frameworks.load(name)
    title = Cell(wording.FRAMEWORKS.get(name, name), head=True)
    for c in frameworks.coverage(framework, material.record, material.facts.catalogue):
        if c.evidence:
            yield title, Cell(c.id, tone="id"), Cell(c.statement), Cell("", links=_links(c.evidence))


def untested(material: Material) -> tuple[tuple[Run, ...], ...]:
    """Attack classes of NIST AI 100-2 that nothing in this record speaks of."""
    framework = frameworks.load("nist-aml")
    cells = frameworks.coverage(framework, material.record, material.facts.catalogue)
    return tuple((Run(c.id, code=True), Run(f" {c.statement}")) for c in cells if not c.evidence)
