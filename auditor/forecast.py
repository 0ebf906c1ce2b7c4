"""What a plan will cost and what it could detect, said before it runs."""

import json
import math
from collections import Counter, defaultdict
from itertools import pairwise

from auditor.ablations import parent_of
from auditor.choosing import unneeded
from auditor.detectable import detectable
from auditor.fairness import COARSE
from auditor.plan import Plan, Unit
from auditor.recipe import Tuned
from auditor.store import Store
from auditor.training.search import BESIDE, going_on

Sort = tuple[str, str | None, str | None, int | None]


def as_json(plan: Plan) -> str:
    """The units of a plan as JSON, for other programs."""
    units = [
        {
            "kind": u.kind,
            "label": u.label,
            "identity": u.identity,
            "inputs": list(u.inputs),
            "subject": u.subject,
            "probe": u.probe,
        }
        for u in plan.units.values()
    ]
    return json.dumps({"plan_sha256": plan.sha256, "units": units}, indent=2)


def text(plan: Plan, store: Store) -> str:
    """The plan in a few lines for people."""
    done = {u.identity for u in plan.units.values() if store.has(u.identity)}
    counts = Counter(u.kind for u in plan.units.values())
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    lines = [
        f"audit      {plan.config.name}, profile {plan.config.profile}, seed {plan.config.seed}",
        f"data       {plan.data.id}, {plan.data.rows['train']} training and {plan.data.rows['test']} test rows, "
        f"{len(plan.data.classes)} classes",
        f"subjects   {len(plan.subjects)}: {', '.join(dict.fromkeys(s.group for s in plan.subjects))}",
        f"units      {len(plan.units)} ({kinds}); {len(done)} finished, {len(plan.units) - len(done)} to do",
        f"cost       {_cost(plan, store, done)}",
        *(f"note       {note}" for note in plan.notes),
        *_left_out(plan),
        *_trials(plan),
        *detectable(plan, store),
        f"digest     {plan.sha256}",
    ]
    return "\n".join(lines)


def cost(plan: Plan, store: Store) -> str:
    """What the units of a plan that are not finished will cost, in a line."""
    return _cost(plan, store, {u.identity for u in plan.units.values() if store.has(u.identity)})


def _left_out(plan: Plan) -> list[str]:
    reasons: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for result in plan.results:
        if result.unit is None:
            reasons[result.probe, result.reason].append(result.subject)
    return [
        f"left out   {probe} on {len(subjects)} of {len(plan.subjects)} subjects: {reason}"
        for (probe, reason), subjects in reasons.items()
    ]


def _cost(plan: Plan, store: Store, done: set[str]) -> str:
    """CPU seconds by the mean of finished units of the same sort; honest about what is unknown.

    A trial for which its search had no use tells nothing of what one costs.
    """
    spent: dict[Sort, list[float]] = defaultdict(list)
    for identity in done:
        unit = plan.units[identity]
        if unit.kind != "fit" or not unneeded(store.read(identity)):
            spent[_sort(unit)].append(store.timing(identity).cpu_seconds)
    rest = [u for u in plan.units.values() if u.identity not in done]
    if not rest:
        return "nothing: all units are finished"
    known = [u for u in rest if _sort(u) in spent]
    seconds = sum(math.fsum(spent[_sort(u)]) / len(spent[_sort(u)]) for u in known)
    unknown = len(rest) - len(known)
    parts = (
        [f"about {seconds:.0f} CPU seconds for {len(known)} units, judged by finished ones of their kind"]
        if known
        else []
    )
    parts += [f"unknown for {unknown} units: none of their kind is finished in this store"] if unknown else []
    return "; ".join(parts)


def _sort(unit: Unit) -> Sort:
    """What costs about the same: a probe, or a training under one optimizer for as many epochs."""
    recipe = unit.spec["fit"]["recipe"] if unit.kind == "fit" else {}
    return unit.kind, unit.probe, recipe.get("optimizer"), recipe.get("epochs")


def _trials(plan: Plan) -> list[str]:
    """How many trials each search has, in a line for those that are alike."""
    alike: dict[str, list[str]] = defaultdict(list)
    for subject in plan.subjects:
        tuned = subject.recipe.learning_rate if subject.recipe else None
        if isinstance(tuned, Tuned) and subject.original is None and not tuned.of:
            alike[_search(tuned)].append(subject.group)
    lines = [f"tuning     {said}, for each of {', '.join(dict.fromkeys(groups))}" for said, groups in alike.items()]
    return lines + _no_verdicts(plan)


def _no_verdicts(plan: Plan) -> list[str]:
    """Which searches, as they are planned, will leave contrasts without a verdict."""
    firsts = [s for s in plan.subjects if s.seed == 0 and s.family and not s.original and not parent_of(s.group)]
    rates = {s.group: (s.family, s.recipe.learning_rate) for s in firsts if s.recipe and not s.recipe.function}
    searched = {family for family, rate in rates.values() if isinstance(rate, Tuned)}
    lines = []
    for group, (family, rate) in rates.items():
        apart = max(b / a for a, b in pairwise(rate.grid)) if isinstance(rate, Tuned) and len(rate.grid) > 1 else 0.0
        if apart > COARSE * (1.0 + 1e-9):
            lines.append(f"tuning     {group}: too few trials: rates a factor of {apart:.3g} apart allow no verdict")
        elif isinstance(rate, float) and family in searched:
            lines.append(f"tuning     {group}: not tuned as others are, so no verdict between them")
    return lines


def _search(tuned: Tuned) -> str:
    count, seeds = len(tuned.grid), f" with {tuned.seeds} seeds each" if tuned.seeds > 1 else ""
    full = f"{going_on(count)} of them in full, all for {tuned.short} of {tuned.epochs} epochs" if tuned.short else ""
    beyond = f"up to {tuned.extend} more beyond an edge" if tuned.extend else "none beyond an edge"
    beside = f"; in full, too, up to {BESIDE} beside the best" if tuned.short else ""
    return f"{count} trials{seeds} ({full or 'in full'}{beside}; {beyond})"
