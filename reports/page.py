"""The pieces a report is laid out from: cells, tables, charts and sections, all strings that are ready to print."""

from dataclasses import dataclass

Tone = str  # CSS classes, chosen in the view


@dataclass(frozen=True)
class Chip:
    """A short state with its icon, so that colour is never the only sign."""

    text: str
    tone: Tone
    icon: str


@dataclass(frozen=True)
class Cell:
    """One cell of a table: `exact` is the machine-readable value behind a rounded text."""

    text: str
    note: str = ""
    tone: Tone = ""
    chip: Chip | None = None
    exact: str = ""
    href: str = ""
    head: bool = False
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Column:
    """A column's heading; `tone` says how its cells are set, such as "number"."""

    text: str
    tone: Tone = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells under a caption; `note` says how to read it."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Chart:
    """A drawing (SVG markup made by `charts`), what it shows in words, and the numbers it was drawn from."""

    title: str
    caption: str
    svg: str
    table: Table


@dataclass(frozen=True)
class Run:
    """A stretch of text, as words or as code."""

    text: str
    code: bool = False


@dataclass(frozen=True)
class Fact:
    """A name and what is known about it."""

    name: str
    text: str
    code: bool = False


@dataclass(frozen=True)
class Link:
    """An entry of the contents: an anchor on this page."""

    href: str
    text: str
    children: tuple["Link", ...] = ()


@dataclass(frozen=True)
class Picture:
    """One exemplar: images as data URIs, with what they show."""

    before: str
    change: str
    after: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Banner:
    """The verdict and the three lines that a reader in a hurry needs."""

    chip: Chip
    kicker: str
    title: str
    lines: tuple[str, ...]
    facts: tuple[Fact, ...]
    alert: str = ""


@dataclass(frozen=True)
class Scope:
    """What was audited, against whom, and what was not tested."""

    subject: str
    threats: Table
    gaps: Table
    gap_note: str
    untested: tuple[tuple[Run, ...], ...]
    untested_title: str


@dataclass(frozen=True)
class FindingCard:
    """Findings of one rule that need a reader's attention, with a row for each model."""

    anchor: str
    chip: Chip
    severity: Chip
    title: str
    rule: str
    where: str
    bar: str
    models: Table
    references: tuple[Fact, ...]


@dataclass(frozen=True)
class FindingsSection:
    """The findings: those to act on as cards, those that passed as a table."""

    lead: str
    counts: tuple[Chip, ...]
    cards: tuple[FindingCard, ...]
    passed: Table | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Optimizers:
    """Security, accuracy and cost of each optimizer, and what the differences between them allow to be said."""

    lead: str
    heat: Table | None
    cost: Table | None
    contrasts: Table | None
    charts: tuple[Chart, ...]
    note: str
    ablations: Table | None = None
    beside: Table | None = None
    use: Table | None = None
    variants: Table | None = None


@dataclass(frozen=True)
class ProbeSection:
    """Everything about one probe."""

    anchor: str
    title: str
    family: str
    chips: tuple[Chip, ...]
    question: tuple[Run, ...]
    method: tuple[tuple[Run, ...], ...]
    facts: tuple[Fact, ...]
    tables: tuple[Table, ...]
    folded: tuple[Table, ...]
    charts: tuple[Chart, ...]
    grids: tuple[Table, ...]
    caveats: Table | None
    pictures: tuple[Picture, ...]
    picture_note: str
    exemplars: Table | None
    blind_spots: tuple[str, ...]


@dataclass(frozen=True)
class FrameworkSection:
    """The NIST AI RMF Core, subcategory by subcategory, and the other vocabularies."""

    lead: str
    counts: tuple[Chip, ...]
    functions: tuple[tuple[str, Table], ...]
    source: str
    others: Table | None


@dataclass(frozen=True)
class Cards:
    """The model card and the dataset card."""

    model: tuple[Fact, ...]
    recipes: Table
    dataset: tuple[Fact, ...]
    balance: Table


@dataclass(frozen=True)
class Appendix:
    """How to get the same numbers again, how they were computed, and the digests of what they rest on."""

    steps: tuple[Fact, ...]
    digests: tuple[Fact, ...]
    methods: tuple[Fact, ...]
    provenance: Table | None
    files: Table
    glossary: tuple[Fact, ...]


@dataclass(frozen=True)
class Report:
    """The whole report, ready for a template."""

    language: str
    title: str
    contents: tuple[Link, ...]
    banner: Banner
    scope: Scope
    scorecard: Table
    findings: FindingsSection
    optimizers: Optimizers
    probes: tuple[ProbeSection, ...]
    framework: FrameworkSection
    cards: Cards
    appendix: Appendix
    colophon: str
