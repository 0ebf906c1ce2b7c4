"""From what each subject's rows said to the numbers of a group."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from auditor.bundle import Arrays
from auditor.crossed import Estimate, crossed_mean, value_mean
from auditor.distributions import normal_quantile
from auditor.errors import AuditorError
from auditor.record import RANGES, Measurement, Unit

Floats = npt.NDArray[np.float64]


class NotComparableError(AuditorError):
    """Members whose rows or seeds cannot be joined, and why."""


@dataclass(frozen=True, eq=False)
class Member:
    """One subject of a group: its seed, and its contributions (n,) by row id (n,).

    A contribution is NaN where a row was not asked. A number that left no contributions has empty arrays, and
    its `measurement` speaks for it.
    """

    subject: str
    group: str
    seed: int
    rows: npt.NDArray[np.str_]
    values: Floats
    measurement: Measurement | None = None


def table(members: Sequence[Member]) -> Floats:
    """Contributions as (seeds, rows): members by seed, columns by row id.

    Raises:
        NotComparableError: no members, one seed twice, one row twice, or rows that are not in all members.
    """
    ordered = by_seed(members)
    first = set(ordered[0].rows.tolist())
    for member in ordered:
        rows = member.rows.tolist()
        if np.isnan(member.values).all():
            raise NotComparableError(f"not comparable: no row was asked of {member.subject}")
        if len(set(rows)) < len(rows):
            raise NotComparableError(f"not comparable: {member.subject} holds a row more than once")
        if set(rows) != first:
            raise NotComparableError(
                f"not comparable: {ordered[0].subject} and {member.subject} share {len(first & set(rows))} "
                f"of their {len(first)} and {len(rows)} rows; both must be asked the same"
            )
    if len(first) < 2:
        raise NotComparableError(f"not comparable: {ordered[0].subject} was asked one row, which shows no variation")
    return np.array([m.values[np.argsort(m.rows, kind="stable")] for m in ordered], np.float64)


def group_measurement(
    template: Measurement, members: Sequence[Member], confidence: float, unit: Unit | None = "share"
) -> Measurement:
    """What is this number for the group: its mean, with an interval over other seeds and other rows?

    From contributions by row, `crossed_mean` (a share's outcomes of yes and no as shares); where each seed was asked
    rows of its own, or left no contributions, `value_mean` of the seeds' numbers. `n` counts the answers of
    all seeds together. A number without any interval stays without when there is only one seed of it. The
    metric's `unit` says what the interval must lie within.

    Raises:
        NotComparableError: no members, one seed twice, one row twice, or a member with neither rows nor
        measurement.
    """
    ordered = by_seed(members)
    common = {
        "of": ordered[0].group,
        "kind": "estimate",
        "seeds": len(ordered),
        "confidence": confidence,
        "column": None,
    }
    if len(ordered) == 1 and not have_rows(ordered) and stated(ordered[0]).low is None:
        only = stated(ordered[0])
        return template.model_copy(update={**common, "value": only.value, "low": None, "high": None, "n": only.n})
    found = _group(ordered, confidence, bounds_of(ordered) if unit == "share" else None)
    least, most = RANGES.get(unit, (-np.inf, np.inf))
    low, high = min(max(found.low, least), found.value), max(min(found.high, most), found.value)
    return template.model_copy(update={**common, "value": found.value, "low": low, "high": high, "n": found.n})


def column(samples: Arrays, name: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Row identities and per-row contributions (float, NaN for rows not asked) that a measurement's `column` names."""
    if name is None or not samples:
        return np.array([], np.str_), np.array([], np.float64)
    array, _, index = name.partition(":")
    if array not in samples:
        raise AuditorError(f"a measurement names the column {name!r}, which its samples do not have")
    return samples["row"], samples[array][:, int(index)].astype(np.float64)


def by_seed(members: Sequence[Member]) -> list[Member]:
    """The members in the order of their seeds, none of them twice."""
    ordered = sorted(members, key=lambda m: m.seed)
    if not ordered:
        raise NotComparableError("not comparable: there are no members")
    for one, following in pairwise(ordered):
        if one.seed == following.seed:
            raise NotComparableError(
                f"not comparable: {one.subject} and {following.subject} have the same seed {one.seed}"
            )
    return ordered


def have_rows(members: Sequence[Member]) -> bool:
    """Whether every member left contributions by row."""
    return all(len(m.rows) for m in members)


def same_rows(members: Sequence[Member]) -> bool:
    """Whether all members were offered the same rows."""
    first = np.sort(members[0].rows)
    return all(np.array_equal(np.sort(m.rows), first) for m in members[1:])


def bounds_of(members: Sequence[Member]) -> tuple[float, float] | None:
    """(0, 1) where every answer is yes or no."""
    values = np.concatenate([m.values for m in members])
    return (0.0, 1.0) if np.isin(values[~np.isnan(values)], (0.0, 1.0)).all() else None


def stated(member: Member) -> Measurement:
    """The measurement that speaks for a member without rows."""
    if member.measurement is None:
        raise NotComparableError(f"not comparable: {member.subject} has neither rows nor a measurement")
    return member.measurement


def longer_arm(estimate: Estimate) -> float:
    """The longer arm of an interval."""
    return max(estimate.value - estimate.low, estimate.high - estimate.value)


def stated_half(member: Member, confidence: float) -> float:
    """The longer arm of a stated interval, at another confidence as if it were normal; 0 without one."""
    m = stated(member)
    arms = [abs(end - m.value) for end in (m.low, m.high) if end is not None]
    scale = normal_quantile(0.5 + confidence / 2.0) / normal_quantile(0.5 + m.confidence / 2.0)
    return max(arms, default=0.0) * scale


def _group(members: Sequence[Member], confidence: float, bounds: tuple[float, float] | None) -> Estimate:
    if not have_rows(members):
        halves = [stated_half(m, confidence) for m in members]
        found = value_mean([stated(m).value for m in members], halves, confidence)
        return replace(found, n=sum(stated(m).n for m in members))
    if same_rows(members):
        return crossed_mean(table(members), confidence, bounds)
    each = [crossed_mean(table([m]), confidence, bounds) for m in members]
    found = value_mean([e.value for e in each], [longer_arm(e) for e in each], confidence)
    low, high = bounds or (-np.inf, np.inf)
    return replace(found, low=max(low, found.low), high=min(high, found.high), n=sum(e.n for e in each))
