"""Frameworks as versioned data, and what a record supplies to each of their items."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from pydantic import Field

from auditor.catalogue import Catalogue
from auditor.errors import UnknownNameError
from auditor.record import Frozen, Record, Result

CellState = Literal["measured", "partly supported", "attested", "not assessed"]
NAMES = ("nist-ai-rmf", "nist-aml", "atlas", "owasp-ml", "eu-ai-act")


class Group(Frozen):
    """A heading of a framework: a function, a category, an article."""

    id: str
    statement: str
    parent: str = ""


class Item(Frozen):
    """One thing a framework asks for or warns of.

    `evidence`: M, a probe can measure it; P, a probe supplies a part and a person concludes; H, only a
    person can attest it. `by`: probes that name the item among their references, or else also the record of
    a complete audit as such, which supports in part and never measures.
    """

    id: str
    statement: str
    group: str = ""
    evidence: Literal["M", "P", "H"]
    by: Literal["probe", "record"] = "probe"
    supplies: str


class Framework(Frozen):
    """One framework as read on a day: provenance, status and items in their own order."""

    schema_: Literal["auditor/framework/1"] = Field(alias="schema")
    id: str
    title: str
    version: str
    as_of: str
    status: str
    source: dict[str, str]
    note: str = ""
    groups: tuple[Group, ...] = ()
    items: tuple[Item, ...]

    def item(self, name: str) -> Item | None:
        """The item of this id."""
        return next((i for i in self.items if i.id == name), None)


@dataclass(frozen=True)
class Cell:
    """What one record supplies to one item; `evidence` names the probes whose reliable results do."""

    id: str
    statement: str
    state: CellState
    evidence: tuple[str, ...]
    reason: str


def load(name: str) -> Framework:
    """The framework of this name. Raises UnknownNameError."""
    if name not in NAMES:
        raise UnknownNameError("framework", name, NAMES)
    text = (files("auditor.frameworks") / f"{name.replace('-', '_')}.json").read_bytes()
    return Framework.model_validate_json(text)


def coverage(
    framework: Framework, record: Record, catalogue: Catalogue, attestations: Mapping[str, str] | None = None
) -> tuple[Cell, ...]:
    """Which items of a framework does this record measure, support in part, or leave unassessed?

    One cell an item, in the framework's order. `attestations` maps item ids to what a person states. A cell
    is `measured` only where a probe that names the item has a completed, reliable result in the record; no
    state ever says that a system complies.

    Raises UnknownNameError for an attestation of an item that the framework has not. Blind spot: the
    mapping is what the probes declare; whether their numbers are enough for the item, a person judges.
    """
    stated, known = attestations or {}, [item.id for item in framework.items]
    if unknown := next((name for name in stated if name not in known), None):
        raise UnknownNameError(f"item of {framework.id}", unknown, known, where="attestations")
    tally = _Tally(record)
    return tuple(
        _cell(item, _naming(item, framework.id, catalogue), tally, stated.get(item.id)) for item in framework.items
    )


def _naming(item: Item, framework: str, catalogue: Catalogue) -> tuple[str, ...]:
    return tuple(sorted(p.id for p in catalogue.probes if item.id in p.references.get(framework, ())))


class _Tally:
    """The results of a record by probe."""

    def __init__(self, record: Record) -> None:
        self.complete = record.audit.complete
        self.by_probe: dict[str, list[Result]] = {}
        for result in record.results:
            self.by_probe.setdefault(result.probe, []).append(result)

    def sound(self, probes: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the probes that have a completed, reliable result."""
        return tuple(p for p in probes if any(_sound(r) for r in self.by_probe.get(p, ())))

    def count(self, probe: str) -> str:
        """How many results of a probe count, in words."""
        results = self.by_probe.get(probe, [])
        if not results:
            return f"{probe} did not run"
        good = sum(map(_sound, results))
        bad = next((r for r in results if not _sound(r)), None)
        because = f" ({_trouble(bad)})" if bad else ""
        return f"{probe}: {good} of {len(results)} results completed and reliable{because}"


def _sound(result: Result) -> bool:
    return (
        result.outcome == "completed"
        and result.reliability == "reliable"
        and all(caveat.severity == "info" for caveat in result.caveats)
    )


def _trouble(result: Result) -> str:
    if result.outcome != "completed":
        return f"{result.outcome}: {result.reason or 'no reason given'}"
    return result.reliability if result.reliability != "reliable" else "suspicious or invalid by its caveats"


def _cell(item: Item, naming: tuple[str, ...], tally: _Tally, statement: str | None) -> Cell:
    evidence = () if item.evidence == "H" else tally.sound(naming)
    counted = "; ".join(tally.count(probe) for probe in naming)
    state: CellState
    if item.evidence == "M" and evidence:
        state, reason = "measured", counted
    elif statement is not None:
        state, reason = "attested", statement
    elif evidence:
        state, reason = "partly supported", counted
    elif item.by == "record" and tally.complete and (reliable := tally.sound(tuple(sorted(tally.by_probe)))):
        state, evidence, reason = "partly supported", reliable, f"the record of this audit: {item.supplies}"
    else:
        state, reason = "not assessed", _missing(item, counted, tally)
    return Cell(item.id, item.statement, state, evidence, reason)


def _missing(item: Item, counted: str, tally: _Tally) -> str:
    if item.evidence == "H":
        return f"only a person can attest it. {item.supplies}"
    if item.by == "record":
        return "the audit holds no reliable result" if tally.complete else "the audit did not complete"
    return counted or "no installed probe supplies evidence for it"
