"""The graph of units that an audit is, each identified by all that decides its result."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from auditor.config import AuditConfig, SubjectConfig
from auditor.recipe import Recipe
from auditor.record import DatasetRecord
from auditor.variants.names import FLOAT

UnitKind = Literal["tune", "fit", "load", "variant", "probe"]


@dataclass(frozen=True)
class Unit:
    """One piece of work. `inputs` are identities of units that must be finished first; `spec` is JSON."""

    kind: UnitKind
    label: str
    spec: Mapping[str, Any]
    inputs: tuple[str, ...]
    identity: str
    subject: str | None = None
    probe: str | None = None


@dataclass(frozen=True)
class PlannedSubject:
    """A model that will be under audit and the unit that makes it."""

    id: str
    group: str
    config: SubjectConfig
    optimizer: str | None
    seed: int | None
    recipe: Recipe | None
    unit: str
    variant: str = FLOAT
    original: str | None = None  # the unit of the model as it is, where this is a variant of it
    watched: str | None = None  # the unit of the same training without some rows, at which it is looked on the way

    @property
    def base(self) -> str:
        """The unit that made the model, before anything was changed for deployment."""
        return self.original or self.unit

    @property
    def family(self) -> str | None:
        """What trains it along with others, for which it is compared with them; None for a loaded model."""
        return self.config.id if self.config.train else None


@dataclass(frozen=True)
class PlannedResult:
    """One probe on one subject: the unit that will answer, or why there is none."""

    subject: str
    probe: str
    version: int
    parameters: Mapping[str, Any]
    unit: str | None
    reason: str | None = None
    errored: bool = False


@dataclass(frozen=True)
class Plan:
    """All units in an order that respects their inputs."""

    config: AuditConfig
    data: DatasetRecord
    units: Mapping[str, Unit]
    subjects: tuple[PlannedSubject, ...]
    results: tuple[PlannedResult, ...]
    sha256: str
    notes: tuple[str, ...] = ()  # what could not be found out while planning, and will be met again by a unit

    def trainings(self) -> "Plan":
        """The part of this plan that makes the subjects and sees when each reaches its target: no variants."""
        subjects = tuple(s for s in self.subjects if s.original is None)
        wanted = [u for s in subjects for u in (s.unit, s.watched) if u is not None]
        for identity in wanted:
            wanted += [i for i in self.units[identity].inputs if i not in wanted]
        units = {i: u for i, u in self.units.items() if i in set(wanted)}
        return replace(self, units=units, subjects=subjects, results=())
