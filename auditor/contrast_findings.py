"""What may be said of a paired difference: its verdict, the price of a defence, and what casts doubt on it."""

from collections.abc import Iterable

from auditor import repeats
from auditor.bundle import Facts
from auditor.contrast import Said, verdict
from auditor.evidence import Evidence
from auditor.fairness import unfair
from auditor.policy import ContrastFinding
from auditor.record import Contrast, Record, Unit, canonical_json
from auditor.uncompared import uncompared
from auditor.variants.names import FLOAT, MARK


def contrast_findings(facts: Facts, delta: float, alpha: float) -> tuple[ContrastFinding, ...]:
    """What may be said of every contrast, and why others that were asked for are not there."""
    now, catalogue = Evidence(facts), facts.catalogue
    units = {f"{p.id}.{m.name}": m.unit for p in catalogue.probes for m in p.metrics}
    headlines = [
        f"{p.id}.{m.name}" for p in catalogue.probes for m in p.metrics if m.headline and m.better != "neither"
    ]
    wanted = facts.config.get("contrasts") or {}
    made = (contrast_finding(c, now, delta, alpha, units.get(c.metric)) for c in facts.record.contrasts)
    return (*made, *uncompared(now, wanted.get("metrics") or headlines, wanted.get("reference")))


def contrast_finding(
    contrast: Contrast, now: Evidence, delta: float, alpha: float, unit: Unit | None = "share"
) -> ContrastFinding:
    """What may be said of b against a: a verdict where both results can be trusted, and both were tuned alike.

    `delta` is a margin of shares; a metric of another `unit` is never called equivalent by it.
    """
    within = contrast.delta if contrast.delta is not None else delta
    price = _price(contrast, now)
    said = verdict(contrast, 0.0 if unit == "number" else within, alpha, price=price)
    if variant := _variant(contrast, now):
        said = _of_variant(said, contrast, variant)
    doubts = [_doubt(contrast, group, now) for group in (contrast.a, contrast.b)]
    if not variant:
        record = now.observed.record
        doubts += [repeats.doubtful(group, record) for group in (contrast.a, contrast.b)]
        doubts += unfair(contrast.a, contrast.b, record)
        said = _beside(said, [repeats.aside(group, record) for group in (contrast.a, contrast.b)])
    if told := "; ".join(d for d in doubts if d):
        without = said.reason if said.verdict == "inconclusive" else f"without that it would be {said.verdict}"
        said = Said("inconclusive", f"{told}; {without}")
    return ContrastFinding(
        metric=contrast.metric, at=contrast.at, a=contrast.a, b=contrast.b, verdict=said.verdict, reason=said.reason
    )


def _beside(said: Said, told: Iterable[str | None]) -> Said:
    """What is said, with what is to be told beside it."""
    return Said(said.verdict, "; ".join([said.reason, *(t for t in told if t)]))


def _price(contrast: Contrast, now: Evidence) -> str | None:
    """What a defence or a variant costs in accuracy.

    Where two groups differ by what their trainings minimised, or by what was done to one model for deployment.
    """
    record = now.observed.record
    pair = (contrast.a, contrast.b)
    objectives = [_objectives(record, group) for group in (contrast.a, contrast.b)]
    other_aim = all(objectives) and objectives[0] != objectives[1]
    if contrast.metric == "accuracy.accuracy" or not (other_aim or _variant(contrast, now)):
        return None
    cost = next((c for c in record.contrasts if c.metric == "accuracy.accuracy" and (c.a, c.b) == pair), None)
    if cost is None:
        return None
    return f"the accuracies differ by {cost.difference:+.4g} [{cost.low:+.4g}, {cost.high:+.4g}]"


def _variant(contrast: Contrast, now: Evidence) -> str | None:
    """What group b is, where it is a variant of group a."""
    subjects = now.observed.record.subjects
    names = {s.variant for s in subjects if contrast.b in (s.group, s.id) and s.variant != FLOAT}
    return next((n for n in sorted(names) if contrast.b == contrast.a + MARK + n), None)


def _of_variant(said: Said, contrast: Contrast, variant: str) -> Said:
    """A verdict on a variant: it is no better for being useless, and a backdoor that it wakes is said."""
    if said.verdict == "improved" and not contrast.accuracy_equivalent and contrast.metric != "accuracy.accuracy":
        return Said("inconclusive", f"{said.reason}; it is not called better where equal accuracy is not shown")
    if said.verdict == "regressed" and contrast.metric == "backdoor.patch.attack_success":
        told = (
            f"the backdoor is stronger in {variant} than in the model as it was trained, and some are made to wake so"
        )
        return Said("regressed", f"{said.reason}; {told}: search the variant too")
    return said


def _objectives(record: Record, group: str) -> frozenset[str]:
    """What the trainings of a group minimised, as canonical texts; nothing where that is not declared."""
    recipes = [s.training.recipe if s.training else {} for s in record.subjects if s.group == group]
    stated = [r.get("objective") if not r.get("function") else None for r in recipes]
    return frozenset(canonical_json(o).decode() for o in stated if o) if all(stated) else frozenset()


def _doubt(contrast: Contrast, group: str, now: Evidence) -> str | None:
    """Why a group's results cannot carry a contrast: those of its metric, and those that show equal accuracy."""
    own = contrast.metric.rpartition(".")[0]
    meant = [t for t in now.targets if t.id == group]
    for probe in dict.fromkeys((own, *(("accuracy",) if contrast.accuracy_equivalent else ()))):
        for trust in (now.trust(probe, t) for t in meant if t.grouped or len(meant) == 1):
            if trust.reliability != "reliable":
                of = "" if probe == own else f"{probe} "
                return f"the {of}result of {group} is {trust.reliability} ({trust.evidence})"
    return None
