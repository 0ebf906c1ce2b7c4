"""What may be said of a paired difference: its verdict, the price of a defence, and what casts doubt on it."""

from auditor.contrast import Said, verdict
from auditor.evidence import Evidence
from auditor.policy import ContrastFinding
from auditor.record import Contrast, Record, canonical_json


def contrast_finding(contrast: Contrast, now: Evidence, delta: float, alpha: float) -> ContrastFinding:
    """What may be said of b against a: a verdict where both results can be trusted."""
    within = contrast.delta if contrast.delta is not None else delta
    said = verdict(contrast, within, alpha, price=_price(contrast, now))
    doubts = [_doubt(contrast, group, now) for group in (contrast.a, contrast.b)]
    if said.verdict != "inconclusive" and any(doubts):
        said = Said("inconclusive", f"{'; '.join(d for d in doubts if d)}; without that it would be {said.verdict}")
    return ContrastFinding(
        metric=contrast.metric, at=contrast.at, a=contrast.a, b=contrast.b, verdict=said.verdict, reason=said.reason
    )


def _price(contrast: Contrast, now: Evidence) -> str | None:
    """What a defence costs in accuracy, where two groups differ by what their trainings minimised."""
    record = now.observed.record
    objectives = [_objectives(record, group) for group in (contrast.a, contrast.b)]
    if not all(objectives) or objectives[0] == objectives[1] or contrast.metric == "accuracy.accuracy":
        return None
    pair = (contrast.a, contrast.b)
    cost = next((c for c in record.contrasts if c.metric == "accuracy.accuracy" and (c.a, c.b) == pair), None)
    if cost is None:
        return None
    return f"the accuracies differ by {cost.difference:+.4g} [{cost.low:+.4g}, {cost.high:+.4g}]"


def _objectives(record: Record, group: str) -> frozenset[str]:
    """What the trainings of a group minimised, as canonical texts; nothing where that is not declared."""
    recipes = [s.training.recipe if s.training else {} for s in record.subjects if s.group == group]
    stated = [r.get("objective") if not r.get("function") else None for r in recipes]
    return frozenset(canonical_json(o).decode() for o in stated if o) if all(stated) else frozenset()


def _doubt(contrast: Contrast, group: str, now: Evidence) -> str | None:
    """Why a group's results cannot carry a contrast."""
    probe = contrast.metric.rpartition(".")[0]
    for trust in (now.trust(probe, t) for t in now.targets if t.id == group and t.grouped):
        if trust.reliability != "reliable":
            return f"the result of {group} is {trust.reliability} ({trust.evidence})"
    return None
