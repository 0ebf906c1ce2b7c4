"""Findings that somebody accepts: until a day, within a bound, and never in silence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from auditor.errors import ConfigError
from auditor.policy import LEVELS, Bound, Finding, Waiver, Waivers
from auditor.selector import Target, matches_at, matches_subject

LONGEST = timedelta(days=180)
NOTICE = timedelta(days=14)


@dataclass(frozen=True)
class Judged:
    """A finding and whom it speaks of; no target when the rule met no subject."""

    finding: Finding
    target: Target | None


@dataclass(frozen=True)
class Waived:
    """The findings after waivers, in their order, and what there is to say about the waivers."""

    judged: tuple[Judged, ...]
    notes: tuple[str, ...]


def check_waivers(waivers: Waivers) -> None:
    """Is every waiver limited in time and value? Raises ConfigError naming the waiver and what to do."""
    seen: set[str] = set()
    for waiver in waivers.waivers:
        if waiver.id in seen:
            raise ConfigError(f"waiver {waiver.id!r} stands twice; give each its own id")
        seen.add(waiver.id)
        if waiver.expires < waiver.created:
            raise ConfigError(f"waiver {waiver.id!r} expires {waiver.expires}, before it was created; mend the dates")
        if waiver.expires - waiver.created > LONGEST:
            latest = waiver.created + LONGEST
            raise ConfigError(
                f"waiver {waiver.id!r} runs {(waiver.expires - waiver.created).days} days, at most "
                f"{LONGEST.days} are allowed; let it expire by {latest} and renew it then"
            )
        if waiver.while_.at_least is None and waiver.while_.at_most is None:
            raise ConfigError(f"waiver {waiver.id!r} has no bound; write `while: {{at_least: ...}}` or at_most")


def apply_waivers(judged: Sequence[Judged], waivers: Waivers, as_of: date) -> Waived:
    """Which findings are waived on this day, and which waivers ended, end soon, are unused or do not hold?

    A waiver speaks of the findings of its rule whose coordinates and target its `at` and `where` match, and
    that did not pass. The first one that holds waives a finding, which keeps its numbers.
    """
    notes: list[str] = []
    current = list(judged)
    for waiver in waivers.waivers:
        places = [i for i, j in enumerate(current) if _speaks_of(waiver, j)]
        refused = {i: why for i in places if (why := _refusal(waiver, current[i].finding, as_of))}
        for i in places:
            if i not in refused:
                current[i] = replace(current[i], finding=_waive(waiver, current[i].finding))
        notes += _notes(waiver, places, list(refused.values()), as_of)
    return Waived(tuple(current), tuple(notes))


def _speaks_of(waiver: Waiver, judged: Judged) -> bool:
    finding, target = judged.finding, judged.target
    return (
        finding.rule == waiver.rule
        and finding.state not in ("pass", "waived")
        and target is not None
        and matches_at(waiver.at, finding.at)
        and matches_subject(waiver.where, target)
    )


def _refusal(waiver: Waiver, finding: Finding, as_of: date) -> str | None:
    of = f"{finding.rule} on {finding.subject}"
    if as_of > waiver.expires:
        return f"expired on {waiver.expires}: {of} is back"
    if as_of < waiver.created:
        return f"begins on {waiver.created}: {of} is not waived yet"
    if LEVELS.index(finding.severity) >= LEVELS.index("high") and _person(waiver.owner) == _person(waiver.approved_by):
        return f"is approved by its owner, which {finding.severity} severity does not allow: {of} is not waived"
    if finding.value is None:
        return f"holds for a measured value, and there is none: {of} is not waived"
    side = "at_least" if "at_least" in finding.threshold else "at_most"
    if getattr(waiver.while_, side) is None:
        return f"bounds the good side alone; write `while: {{{side}: ...}}`: {of} is not waived"
    if not _within(finding.value, waiver.while_):
        return f"holds {_bound(waiver.while_)}, measured is {finding.value:.4g}: {of} is not waived"
    return None


def _person(name: str) -> str:
    return " ".join(name.split()).casefold()


def _within(value: float, bound: Bound) -> bool:
    low_enough = bound.at_most is None or value <= bound.at_most
    return low_enough and (bound.at_least is None or value >= bound.at_least)


def _bound(bound: Bound) -> str:
    parts = [f"at least {bound.at_least:.4g}"] if bound.at_least is not None else []
    parts += [f"at most {bound.at_most:.4g}"] if bound.at_most is not None else []
    return "while " + " and ".join(parts)


def _waive(waiver: Waiver, finding: Finding) -> Finding:
    reason = (
        f"{waiver.reason} until {waiver.expires}, {_bound(waiver.while_)} (owner {waiver.owner}, approved by "
        f"{waiver.approved_by}): {waiver.statement} Without the waiver: {finding.state}, {finding.reason}"
    )
    return finding.model_copy(update={"state": "waived", "waiver": waiver.id, "reason": reason, "settle": None})


def _notes(waiver: Waiver, places: Sequence[int], refused: Sequence[str], as_of: date) -> list[str]:
    if not places:
        return [f"waiver {waiver.id} is unused: no open finding of rule {waiver.rule} matches it; remove it"]
    notes = [f"waiver {waiver.id} {why}" for why in refused]
    left = waiver.expires - as_of
    if len(refused) < len(places) and left <= NOTICE:
        days = f"{left.days} day{'' if left.days == 1 else 's'}"
        notes.append(f"waiver {waiver.id} expires on {waiver.expires}, in {days}")
    return notes
