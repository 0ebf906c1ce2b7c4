"""What only a person can state: attestations of framework items, by whom and when."""

from datetime import date
from typing import Literal

from pydantic import Field

from auditor.documents import parse
from auditor.record import Frozen


class Attestation(Frozen):
    """One item that somebody states for, such as GOVERN 2.1."""

    id: str
    statement: str = Field(min_length=10)
    by: str
    date: date


class Attestations(Frozen):
    """A file of attestations of the NIST AI RMF's subcategories."""

    schema_: Literal["auditor/attestations/1"] = Field(alias="schema")
    attestations: tuple[Attestation, ...] = ()

    def statements(self) -> dict[str, str]:
        """What is stated, by item id, with the name and day."""
        return {a.id: f"{a.statement} ({a.by}, {a.date.isoformat()})" for a in self.attestations}


def load_attestations(text: str, source: str) -> Attestations:
    """The attestations in a YAML text. Raises ConfigError with file and line, or for an item the framework has not."""
    from auditor import frameworks
    from auditor.errors import UnknownNameError

    read = parse(text, Attestations, source=source)
    known = [item.id for item in frameworks.load("nist-ai-rmf").items]
    for attestation in read.attestations:
        if attestation.id not in known:
            raise UnknownNameError("subcategory", attestation.id, known, where=source)
    return read
