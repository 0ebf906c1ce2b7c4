"""The one selector: which measurements and which subjects a rule, waiver, comparison or chart speaks of."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction

from auditor.policy import Where
from auditor.record import Coordinate, Record, SubjectRecord

RELATIVE = 1e-9


@dataclass(frozen=True)
class Target:
    """What a rule judges as one: a group, whose members differ by seed alone, or one subject without seed."""

    id: str
    members: tuple[SubjectRecord, ...]
    grouped: bool


def coordinate(value: float | str) -> Coordinate:
    """Which number, or else which text, a coordinate is: 8/255, "0.1" and 1e-3 are numbers, "msp" is text."""
    try:
        number = float(Fraction(value) if isinstance(value, str) and "/" in value else value)
    except (ValueError, ZeroDivisionError, OverflowError):
        return value
    return number if math.isfinite(number) else value


def matches_at(named: Mapping[str, float | str], measured: Mapping[str, float | str]) -> bool:
    """Whether measured coordinates are the named ones: every named key must match, the others are free.

    Numbers compare at 1e-9 relative, so that 8/255 is the float that a probe computed from it.
    """
    return all(key in measured and _same(value, measured[key]) for key, value in named.items())


def _same(named: Coordinate, measured: Coordinate) -> bool:
    a, b = coordinate(named), coordinate(measured)
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return math.isclose(a, b, rel_tol=RELATIVE)


def targets(record: Record) -> tuple[Target, ...]:
    """What rules judge in a record, in its order: groups of seeded subjects, and subjects without seed."""
    found: dict[tuple[str, bool], list[SubjectRecord]] = {}
    for subject in record.subjects:
        key = (subject.id, False) if subject.seed is None else (subject.group, True)
        found.setdefault(key, []).append(subject)
    return tuple(Target(name, tuple(members), grouped) for (name, grouped), members in found.items())


def matches_subject(where: Where, target: Target) -> bool:
    """Whether these globs speak of this target: all that are given must match.

    `subject` matches the target's own id, or else must match every member: a rule that names one seed of a
    group matches nothing, because groups are judged whole. No optimizer matches no glob. `*` also crosses
    `/`.
    """
    return all(
        (
            where.subject is None or fnmatchcase(target.id, where.subject) or _all(target, "id", where.subject),
            _all(target, "optimizer", where.optimizer),
            _all(target, "variant", where.variant),
            _all(target, "group", where.group),
        )
    )


def _all(target: Target, attribute: str, glob: str | None) -> bool:
    values = [getattr(member, attribute) for member in target.members]
    return glob is None or all(value is not None and fnmatchcase(value, glob) for value in values)
