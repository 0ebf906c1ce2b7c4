"""Why groups that stand to be compared are not: a training that diverged, a result that is missing, other rows."""

from collections.abc import Iterator, Sequence

from auditor.contrast import difference
from auditor.errors import AuditorError
from auditor.evidence import Evidence
from auditor.pairs import pairs
from auditor.policy import ContrastFinding
from auditor.record import Contrast, Measurement, SubjectRecord
from auditor.selector import Target
from auditor.variants.names import FLOAT

CLEAN = "accuracy.accuracy"

Place = tuple[tuple[str, float | str], ...]


def uncompared(now: Evidence, metrics: Sequence[str], reference: str | None) -> tuple[ContrastFinding, ...]:
    """Which differences were asked for and could not be made, pair by pair, and why?

    A group is compared whole or not at all: the seeds that are left after some failed are those that went well. Not
    among them are metrics of which no subject of a side was asked, and metrics that no subject of a pair has: where no
    subject of either side is there, one finding, of accuracy, speaks for all metrics.
    """
    record = now.observed.record
    made = {(c.metric, _place(c), c.a, c.b) for c in record.contrasts}
    known = {t.id: t for t in now.targets}
    found: list[ContrastFinding] = []
    for a, b in (p for p in pairs(record.subjects, reference) if known.keys() >= set(p)):
        sides = [known[group] for group in (a, b)]
        if metrics and (why := _nothing_there(sides)):
            metric = CLEAN if CLEAN in metrics else metrics[0]
            reason = f"not compared: {why}"
            found.append(ContrastFinding(metric=metric, at={}, a=a, b=b, verdict="inconclusive", reason=reason))
        for like in _places(now, metrics, sides):
            name = f"{like.probe}.{like.metric}"
            if (name, _place(like), a, b) not in made and (why := _why(now, like, sides)):
                reason = f"not compared: {why}"
                found.append(ContrastFinding(metric=name, at=like.at, a=a, b=b, verdict="inconclusive", reason=reason))
    return tuple(found)


def _nothing_there(sides: Sequence[Target]) -> str | None:
    """Why no number of a pair can be there, as no subject of either side is; None where one is, and of a variant."""
    if any(m.error is None for side in sides for m in side.members) or sides[1].members[0].variant != FLOAT:
        return None
    return "; ".join(
        f"{side.members[0].id}: {side.members[0].error}"
        + (f", and {len(side.members) - 1} more of {side.id}" if len(side.members) > 1 else "")
        for side in sides
    )


def _place(of: Contrast | Measurement) -> Place:
    return tuple(sorted(of.at.items()))


def _places(now: Evidence, metrics: Sequence[str], sides: Sequence[Target]) -> Iterator[Measurement]:
    """One measurement of any subject of the pair for each metric and place, in the order of the metrics."""
    ids = {m.id for side in sides for m in side.members}
    seen: dict[tuple[str, Place], Measurement] = {}
    for m in now.observed.record.measurements:
        if m.of in ids and m.seeds is None:
            seen.setdefault((f"{m.probe}.{m.metric}", _place(m)), m)
    for metric in metrics:
        yield from (m for (name, _), m in seen.items() if name == metric)


def _why(now: Evidence, like: Measurement, sides: Sequence[Target]) -> str | None:
    """Why there is no difference of this number; None where one side was not asked for it at all."""
    told: list[str] = []
    for side in sides:
        without = [m for m in side.members if now.of_member(m.id, like) is None]
        if len(without) == len(side.members) and all(_unasked(now, like.probe, m) for m in without):
            return None
        told += [f"{m.id}: {_lacking(now, like.probe, m)}" for m in without[:1]]
        told += [f"and {len(without) - 1} more of {side.id}"] if len(without) > 1 else []
    return "; ".join(told) or _other_rows(now, like, sides)


def _unasked(now: Evidence, probe: str, subject: SubjectRecord) -> bool:
    """Whether a probe has nothing to ask of a subject that is there."""
    result = now.result(probe, subject.id)
    return subject.error is None and (result is None or result.outcome == "skipped")


def _lacking(now: Evidence, probe: str, subject: SubjectRecord) -> str:
    result = now.result(probe, subject.id)
    if subject.error:
        return subject.error
    if result is None or result.outcome == "completed":
        return f"{probe} gave no such number"
    return f"{probe} {result.outcome} ({result.reason or 'no reason given'})"


def _other_rows(now: Evidence, like: Measurement, sides: Sequence[Target]) -> str:
    """What does not fit where every subject of both sides has the number."""
    try:
        a, b = (now.members(side, like) for side in sides)
        difference(a, b, like.confidence)
    except (AuditorError, ValueError) as error:
        return str(error).removeprefix("not comparable: ")
    return "their rows or seeds do not match"
