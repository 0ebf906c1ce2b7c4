"""The verb `doctor`: every subject of an audit looked at in seconds, without an attack, before anything is run."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from auditor import forecast
from auditor.auditing import Options, planned, prepared_data
from auditor.config import Loaded
from auditor.doctor.examining import Diagnosis, Examinee, all_examined
from auditor.errors import AuditorError, UnknownNameError
from auditor.plan import Plan
from auditor.record import DatasetRecord
from auditor.store import Store

CONFIG, PROBLEM = 2, 3


@dataclass(frozen=True)
class Checkup:
    """What a doctor says: of the data, of each subject, of the card, and of what an audit would do and cost.

    `plan` says why the audit cannot be planned, `cost` what it would cost where it can.
    """

    data: str
    subjects: tuple[Diagnosis, ...]
    card: tuple[str, ...]
    cost: str
    plan: str | None = None

    @property
    def exit_code(self) -> int:
        """2 for an audit that cannot be planned, 3 for a problem or a model that could not be examined, else 0."""
        if self.plan is not None:
            return CONFIG
        return PROBLEM if any(d.problems for d in self.subjects) else 0

    def as_json(self) -> dict[str, Any]:  # JSON values
        """The same as JSON values."""
        return asdict(self) | {"exit_code": self.exit_code}


def diagnose(
    loaded: Loaded, options: Options, only: tuple[str, ...] = (), watch: Callable[[str], None] = lambda _: None
) -> Checkup:
    """Examine the subjects of an audit whose ids match `only` (all by default).

    Raises AuditorError where configuration or data cannot be used; what is wrong with one subject is said of it, and
    the next is examined. `watch` is told whom it is about to examine.
    """
    store = Store(options.store)
    facts = prepared_data(loaded, store)
    chosen = _chosen([entry.id for entry in loaded.config.subjects], only)
    plan, refusal = _planned(loaded, options, facts)
    examinees = [
        Examinee(store.root, facts.sha256, loaded.directory, entry, arm, loaded.config.seed, _askable(plan, entry.id))
        for entry in loaded.config.subjects
        if entry.id in chosen
        for arm in (entry.train.arms if entry.train and entry.train.function else (None,))
    ]
    found = all_examined(examinees, loaded.config.unit_seconds, watch)
    subjects = tuple(_with_left_out(d, plan, p.entry.id) for p, d in zip(examinees, found, strict=True))
    cost = forecast.cost(plan, store) if plan else ""
    return Checkup(_data_line(facts), subjects, gaps(loaded, facts), cost, refusal)


def _chosen(known: list[str], only: tuple[str, ...]) -> list[str]:
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise UnknownNameError("subject", pattern, known, where="--only")
    return [name for name in known if not only or any(fnmatchcase(name, pattern) for pattern in only)]


def _planned(loaded: Loaded, options: Options, facts: DatasetRecord) -> tuple[Plan | None, str | None]:
    """The plan, or why there is none."""
    try:
        return planned(loaded, options, facts), None
    except AuditorError as error:
        return None, str(error)


def _askable(plan: Plan | None, entry: str) -> tuple[str, ...]:
    """Probes that are planned for an entry: whether its access is enough, the model says."""
    mine = {s.id for s in plan.subjects if s.config.id == entry} if plan else set()
    return tuple(dict.fromkeys(r.probe for r in plan.results if r.subject in mine and r.unit)) if plan else ()


def _with_left_out(found: Diagnosis, plan: Plan | None, entry: str) -> Diagnosis:
    """A diagnosis with the probes that the plan leaves out already."""
    mine = {s.id for s in plan.subjects if s.config.id == entry} if plan else set()
    reasons = {r.probe: r.reason or "" for r in plan.results if r.subject in mine and r.unit is None} if plan else {}
    return Diagnosis(found.subject, found.how, found.checks, {**found.left_out, **reasons})


def _data_line(facts: DatasetRecord) -> str:
    counts = facts.class_counts.get("test", ())
    balance = f", {min(counts)} to {max(counts)} test rows a class" if counts else ""
    missing = f", {sum(facts.missing.values())} empty cells" if facts.missing else ""
    return (
        f"{facts.id}: {facts.rows['train']} training and {facts.rows['test']} test rows of shape {facts.shape}, "
        f"{len(facts.classes)} classes{balance}, values {facts.range[0]:g} to {facts.range[1]:g}{missing}"
    )


def gaps(loaded: Loaded, facts: DatasetRecord) -> tuple[str, ...]:
    """What only people know and the audit file does not say yet, by key."""
    data, card = loaded.config.data, loaded.config.card
    said = {
        "data.licence": facts.licence != "not stated",
        "data.origin": data.origin,
        "data.collection": data.collection,
        "card.intended_use": card.intended_use,
        "card.out_of_scope": card.out_of_scope,
        "card.owners": card.owners,
        "card.contact": card.contact,
    }
    return tuple(key for key, value in said.items() if not value)


def grouped(left_out: dict[str, str]) -> dict[str, list[str]]:
    """Probes by the reason why they are left out."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for probe, reason in sorted(left_out.items()):
        by_reason[reason].append(probe)
    return dict(by_reason)
