"""What a record holds on one target: its measurements, how far they can be trusted, their samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from auditor.bounds import Estimated
from auditor.bundle import Arrays, Observed
from auditor.groups import Member, NotComparableError, group_measurement
from auditor.record import Caveat, Coordinate, Kind, Measurement, Reliability, Result, SubjectRecord, Unit
from auditor.selector import Target, matches_at, targets
from auditor.statistics import clopper_pearson

RANK: Mapping[str, int] = {"reliable": 0, "info": 0, "suspicious": 1, "invalid": 2}


@dataclass(frozen=True)
class Trust:
    """How far one probe's results on a target can be trusted: the worst over its members, with caveats."""

    reliability: Reliability
    evidence: str


@dataclass(frozen=True)
class Evidence:
    """What one record holds, found by who and what."""

    observed: Observed

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """What rules judge in this record."""
        return targets(self.observed.record)

    @cached_property
    def _results(self) -> dict[tuple[str, str], Result]:
        return {(r.probe, r.subject): r for r in self.observed.record.results}

    @cached_property
    def _measurements(self) -> dict[tuple[str, str], list[Measurement]]:
        found: dict[tuple[str, str], list[Measurement]] = {}
        for m in self.observed.record.measurements:
            found.setdefault((m.of, f"{m.probe}.{m.metric}"), []).append(m)
        return found

    @cached_property
    def _loaded(self) -> dict[str, Arrays]:
        return {}

    def result(self, probe: str, subject: str) -> Result | None:
        """The result of this probe on this subject."""
        return self._results.get((probe, subject))

    def of_target(self, target: Target, metric: str, at: Mapping[str, Coordinate]) -> tuple[Measurement, ...]:
        """The target's own measurements of `<probe>.<metric>` at these coordinates."""
        own = self._measurements.get((target.id, metric), ())
        return tuple(m for m in own if (m.seeds is not None) == target.grouped and matches_at(at, m.at))

    def of_member(self, subject: str, like: Measurement) -> Measurement | None:
        """A subject's own measurement at the same coordinates."""
        own = self._measurements.get((subject, f"{like.probe}.{like.metric}"), ())
        near = [m for m in own if m.seeds is None and m.at.keys() == like.at.keys() and matches_at(like.at, m.at)]
        exact = (m for m in near if m.at == like.at)  # the classes "1" and "01" are one number and two classes
        return next(exact, near[0] if near else None)

    def missing(self, probe: str, target: Target) -> str | None:
        """Which members have no completed result of this probe, and why; None when all have one."""
        gaps = [f"{m.id}: {reason}" for m in target.members if (reason := self._gap(probe, m))]
        return "; ".join(gaps) or None

    def _gap(self, probe: str, subject: SubjectRecord) -> str | None:
        result = self.result(probe, subject.id)
        if result is None:
            return f"errored ({subject.error})" if subject.error else f"{probe} did not run"
        return None if result.outcome == "completed" else f"{result.outcome} ({result.reason or 'no reason given'})"

    def trust(self, probe: str, target: Target) -> Trust:
        """The worst reliability over the members' results, with the caveats that say why."""
        worst: Reliability = "reliable"
        quotes: list[str] = []
        for member in target.members:
            result = self.result(probe, member.id)
            grave = [c for c in result.caveats if c.severity != "info"] if result else []
            for level in (result.reliability if result else "reliable", *(_severity(c) for c in grave)):
                worst = level if RANK[level] > RANK[worst] else worst
            quotes += [f"{member.id}: {c.flag}: {c.evidence}" for c in grave]
        return Trust(worst, "; ".join(quotes) or "no caveat says why")

    def members(self, target: Target, like: Measurement) -> tuple[Member, ...]:
        """The per-sample contributions of every member to this measurement. Raises NotComparableError."""
        return tuple(self._member(subject, like) for subject in target.members)

    def _member(self, subject: SubjectRecord, like: Measurement) -> Member:
        own = self.of_member(subject.id, like)
        result = self.result(like.probe, subject.id)
        if own is None or own.column is None or result is None:
            raise NotComparableError(f"{subject.id} stores no outcomes per sample for {like.probe}.{like.metric}")
        arrays = self._samples(result)
        name, _, column = own.column.rpartition(":")
        columns = (
            np.asarray(arrays[name], np.float64).reshape(len(arrays["row"]), -1)
            if {"row", name} <= arrays.keys()
            else None
        )
        if columns is None or not column.isdigit() or int(column) >= columns.shape[1]:
            raise NotComparableError(f"the samples of {like.probe} on {subject.id} lack {own.column!r}")
        return Member(
            subject=subject.id,
            group=subject.group,
            seed=subject.seed if subject.seed is not None else 0,
            rows=arrays["row"],
            values=columns[:, int(column)],
            measurement=own,
        )

    def _samples(self, result: Result) -> Arrays:
        if result.samples is None or not (self.observed.root / result.samples).is_file():
            raise NotComparableError(f"no samples of {result.probe} on {result.subject} are stored")
        if result.samples not in self._loaded:
            self._loaded[result.samples] = self.observed.samples(result)
        return self._loaded[result.samples]


def _severity(caveat: Caveat) -> Reliability:
    return "reliable" if caveat.severity == "info" else caveat.severity


def at_confidence(
    evidence: Evidence, target: Target, m: Measurement, kind: Kind, unit: Unit | None, confidence: float
) -> Estimated:
    """The number with an interval at a policy's confidence.

    The stored interval where it has that confidence. Else it is found again from the outcomes per sample,
    where they are stored: for a group by the crossed interval, cut to [0, 1] where the metric's unit is a share,
    for one subject's share by Clopper-Pearson.
    Else the stored one if it is the wider: what holds at 99 % holds at 95 %. Raises NotComparableError
    where nothing of this is possible.
    """
    if not np.isclose(m.confidence, confidence, rtol=1e-9, atol=0.0) and m.low is not None:
        try:
            return _again(evidence, target, m, kind, unit, confidence)
        except NotComparableError:
            if m.confidence < confidence:
                raise
    return Estimated(m.value, m.low, m.high, m.n, m.seeds, kind)


def _again(
    evidence: Evidence, target: Target, m: Measurement, kind: Kind, unit: Unit | None, confidence: float
) -> Estimated:
    why = f"the interval is stored at {m.confidence:.4g}, the policy asks for {confidence:.4g}"
    try:
        members = evidence.members(target, m)
    except NotComparableError as error:
        raise NotComparableError(f"{why}, and {error}") from None
    if target.grouped:
        again = group_measurement(m, members, confidence, unit)
        return Estimated(again.value, again.low, again.high, again.n, again.seeds, kind)
    asked = members[0].values[~np.isnan(members[0].values)]
    if not is_share(asked):
        raise NotComparableError(f"{why}, and only an interval of a share of yes and no can be found again")
    low, high = clopper_pearson(int(asked.sum()), len(asked), confidence)
    return Estimated(m.value, low, high, m.n, None, kind)


def is_share(values: npt.NDArray[np.float64]) -> bool:
    """Whether these contributions are outcomes of yes and no."""
    return bool(np.isin(values, (0.0, 1.0)).all())
