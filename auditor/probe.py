"""One question asked of a subject, and what lies on the table for it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from auditor.balls import NormName
from auditor.dataset import Array, Dataset, Domain, Labels
from auditor.errors import ModelError
from auditor.recipe import Fit, Recipe
from auditor.record import RANGES, Better, Caveat, Coordinate, DatasetRecord, Kind, Measurement, Unit
from auditor.seeds import Role, Seeds
from auditor.statistics import clopper_pearson, mean_interval
from auditor.subject import Access, Counted, Counts, Subject
from auditor.variants.names import FLOAT
from auditor.verification import Judge
from auditor.verification import Verified as Verified


@dataclass(frozen=True)
class Metric:
    """A number that a probe reports: its direction, what kind of number it is, and the names of its coordinates."""

    name: str
    title: str
    better: Better
    kind: Kind = "estimate"
    unit: Unit = "share"
    at: tuple[str, ...] = ()
    headline: bool = False


@dataclass(frozen=True)
class ThreatModel:
    """Who attacks: what they want, what they know and what they can do."""

    goal: str
    knowledge: str
    capability: str


@dataclass(frozen=True)
class Setting:
    """What is known when an audit is planned: the data's facts and the subject's recipe, where it has one."""

    data: DatasetRecord
    recipe: Recipe | None


@dataclass(frozen=True, eq=False)
class Samples:
    """Per-sample outcomes: identities, labels and predictions (N,), and named arrays (N, k), a column per `at`."""

    row: npt.NDArray[np.str_]
    label: Labels
    prediction: Labels
    columns: Mapping[str, npt.NDArray[Any]]  # bool or float


@dataclass(frozen=True, eq=False)
class Gallery:
    """At most eight exemplars: inputs (n, *shape), what they became, their labels, and the predictions after.

    `epsilon` is the radius within which they were changed, where there is one.
    """

    before: Array
    after: Array
    label: Labels
    prediction: Labels
    epsilon: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What a probe found."""

    measurements: tuple[Measurement, ...]
    samples: Samples | None = None
    caveats: tuple[Caveat, ...] = ()
    gallery: Gallery | None = None


@dataclass(frozen=True, kw_only=True)
class Probe(ABC):
    """One question asked of a subject. A frozen dataclass: its fields are its parameters, with JSON values.

    The docstring's first sentence is the question; the rest says formula, source and what a bad value means.
    Modules of probes import nothing heavy (torch, scikit-learn, ART) at the top: they are read to plan an audit.
    """

    id: ClassVar[str]
    version: ClassVar[int] = 1
    title: ClassVar[str]
    family: ClassVar[str]
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LABELS})
    needs_any: ClassVar[frozenset[Access]] = frozenset()  # at least one of these
    metrics: ClassVar[tuple[Metric, ...]]
    threat: ClassVar[ThreatModel | None] = None
    blind_spots: ClassVar[tuple[str, ...]] = ()
    references: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    undermines: ClassVar[frozenset[str]] = frozenset()  # flags of its caveats that cast doubt on every other result too
    of_variants: ClassVar[bool] = False  # asked of deployment variants alone, beside their original

    def fits(self, setting: Setting) -> dict[str, Fit]:  # noqa: ARG002  # a hook
        """Trainings this probe wants first, by a name of its own; none by default."""
        return {}

    def unasked(self, setting: Setting) -> str | None:  # noqa: ARG002  # a hook
        """Why there is nothing to ask in this setting, as a reason for skipping; None, the default, where there is."""
        return None

    @abstractmethod
    def run(self, case: "Case") -> Outcome:
        """Answer the question for the subject of this case."""

    def parameters(self) -> dict[str, Any]:  # JSON values
        """The parameters by name, as JSON values."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


def misfit(default: Any, value: Any) -> str | None:  # JSON values
    """Why a value cannot stand for a parameter with this default; None where it can."""
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "must be true or false"
    if isinstance(default, int):
        return None if isinstance(value, int) and not isinstance(value, bool) else "must be a whole number"
    if isinstance(default, float):
        return None if isinstance(value, int | float) and not isinstance(value, bool) else "must be a number"
    if isinstance(default, tuple):
        return None if isinstance(value, list | tuple) else "must be a list"
    return None


def _plain(value: Any) -> Any:  # JSON values in, JSON values out
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, eq=False)
class Case:
    """What lies on the table for one probe. It clips, re-predicts and counts, so that a probe cannot over-claim."""

    probe: Probe
    of: str
    inner: Subject
    data: Dataset
    seeds: Seeds
    recipe: Recipe | None = None
    fitted: Callable[[str], Subject] | None = None
    rate: Callable[[str], float | None] | None = None  # the learning rate of one of its fits, as it was found
    confidence: float = 0.95
    expected_accuracy: float | None = None  # what the subject's owner measured on the test rows
    variant: str = FLOAT
    unchanged: Callable[[], Subject] | None = None  # opens the model that the subject is a variant of
    counts: Counts = field(default_factory=Counts)
    times: dict[str, float] = field(default_factory=dict)  # what depends on the machine: it never enters the record
    file_bytes: int | None = None  # of the files that the subject was loaded from

    @cached_property
    def subject(self) -> Counted:
        """The model under audit, its passes counted."""
        return Counted(self.inner, self.counts)

    @property
    def domain(self) -> Domain:
        """Which values inputs may take."""
        return self.data.domain

    def model(self, name: str) -> Subject:
        """The model of one of this probe's fits, by the name the probe gave it; its passes are counted too."""
        if self.fitted is None:
            raise ModelError(f"{self.probe.id} asks for the fit {name!r}, and this case has none")
        return Counted(self.fitted(name), self.counts)

    def original(self) -> Subject:
        """The model as it was before it was made into this variant; its passes are counted too."""
        if self.unchanged is None:
            raise ModelError(f"{self.probe.id} asks for the original of {self.of}, which is no variant")
        return Counted(self.unchanged(), self.counts)

    def rng(self, role: Role = "attack", row: str = "") -> np.random.Generator:
        """This probe's own stream, the same whatever else the audit does."""
        return self.seeds.numpy(role, probe=self.probe.id, row=row)

    def rows(self, count: int) -> npt.NDArray[np.int64]:
        """Indices of at most `count` test rows, stratified by class, the same for every subject, seed and variant."""
        return stratified(self.data.y_test, count, Seeds(self.seeds.root).numpy("attack"))

    def verify(
        self, x: Array, y: Labels, changed: Array, epsilon: float, *, norm: NormName = "linf", goal: int | None = None
    ) -> Verified:
        """Judge changed inputs: bring them into the ball and the domain, re-predict, and say which broke.

        Shapes: x and changed (N, *shape), y (N,). `epsilon` is in units of the feature range, the ball that of `norm`,
        checked in float64; `violations` counts inputs that had left it (by over 1e-6 of range or radius) before they
        were brought back. Ties and outputs that are not numbers count as broken; with a `goal`, only an answer of that
        class does. Where the data has constraints, inputs are brought back to what these allow; one that still breaks
        them is judged as it was before the change.
        """
        return Judge(self.subject, self.domain, norm, epsilon, goal).judge(x, y, changed)

    def proportion(
        self, metric: str, outcomes: npt.NDArray[Any], *, column: str | None, at: Mapping[str, Coordinate] = {}
    ) -> Measurement:  # bool
        """A share of yes among outcomes (N,), with the exact Clopper-Pearson interval."""
        low, high = clopper_pearson(int(outcomes.sum()), len(outcomes), self.confidence)
        return self.number(metric, float(outcomes.mean()), low, high, n=len(outcomes), column=column, at=at)

    def mean(
        self,
        metric: str,
        contributions: npt.NDArray[np.floating],
        *,
        column: str | None,
        at: Mapping[str, Coordinate] = {},
    ) -> Measurement:
        """A mean of contributions (N,), with the t interval; contributions that are NaN stand for rows not asked.

        A share's interval lies within [0, 1], though contributions may not.
        """
        asked = contributions[~np.isnan(contributions)].astype(np.float64)
        value = float(asked.mean())
        ends = mean_interval(asked, self.confidence)
        if not all(map(math.isfinite, ends)):  # one value alone bounds nothing
            return self.number(metric, value, None, None, n=len(asked), column=column, at=at)
        least, most = RANGES.get(self._declared(metric).unit, ends)
        low, high = min(max(ends[0], least), value), max(min(ends[1], most), value)
        return self.number(metric, value, low, high, n=len(asked), column=column, at=at)

    def number(
        self,
        metric: str,
        value: float,
        low: float | None,
        high: float | None,
        *,
        n: int,
        column: str | None = None,
        at: Mapping[str, Coordinate] = {},
    ) -> Measurement:
        """Any number of this probe's declared metrics, with an interval found elsewhere."""
        declared = self._declared(metric)
        return Measurement(
            of=self.of,
            probe=self.probe.id,
            metric=metric,
            at=dict(at),
            value=value,
            low=low,
            high=high,
            confidence=self.confidence,
            n=n,
            better=declared.better,
            kind=declared.kind,
            column=column,
        )

    def _declared(self, metric: str) -> Metric:
        declared = next((m for m in self.probe.metrics if m.name == metric), None)
        assert declared is not None, f"{self.probe.id} declares no metric {metric!r}"
        return declared


def stratified(y: Labels, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """At most `count` indices into y, each class in proportion, sorted; drawn in an order fixed by the rng alone."""
    if count >= len(y):
        return np.arange(len(y))
    order = rng.permutation(len(y))
    rank = np.empty(len(y))
    for label in np.unique(y):
        members = order[y[order] == label]
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(order[np.argsort(rank[order], kind="stable")][:count])
