"""What a plan will cost and what it could detect, said before it runs."""

import json
import math
from collections import Counter, defaultdict

from auditor.plan import Plan, Unit
from auditor.statistics import minimum_detectable
from auditor.store import Store

SEED_SPREAD = 0.025  # an assumption, on the wide side: the built-in audit shows 0.006 to 0.010 (docs/statistics.md)


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
        *_detectable(plan),
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
    """CPU seconds by the mean of finished units of the same kind and probe; honest about what is unknown."""
    spent: dict[tuple[str, str | None], list[float]] = defaultdict(list)
    for identity in done:
        unit = plan.units[identity]
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


def _sort(unit: Unit) -> tuple[str, str | None]:
    return unit.kind, unit.probe


def _detectable(plan: Plan) -> list[str]:
    seeds = {
        s.config.id: s.config.train.seeds
        for s in plan.subjects
        if s.config.train and len(s.config.train.optimizers) > 1
    }
    lines = []
    for name, count in seeds.items():
        if count < 2:
            lines.append(f"contrasts  {name}: one seed allows no verdict; name at least two")
            continue
        least = minimum_detectable(SEED_SPREAD / math.sqrt(count), count - 1, plan.config.contrasts.alpha)
        lines.append(
            f"contrasts  {name}: {count} paired seeds detect about {least * 100:.1f} points with 80 % power, "
            f"if paired differences spread by {SEED_SPREAD * 100:g} points between seeds"
        )
    return lines
