"""The verb `judge`: a record held against a policy gives findings, a verdict and an exit code."""

from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from fnmatch import fnmatchcase

from auditor.bounds import Decision, Direction, Estimated, decide, doubt
from auditor.bundle import Facts, Observed
from auditor.catalogue import Catalogue, MetricEntry
from auditor.contrast_findings import contrast_findings
from auditor.errors import ConfigError, UnknownNameError
from auditor.evidence import Evidence, at_confidence
from auditor.groups import NotComparableError
from auditor.policy import LEVELS, Finding, Findings, Policy, Rule, State, Waivers
from auditor.record import Coordinate, Measurement, digest
from auditor.regression import NoBaselineError, drop
from auditor.selector import Target, coordinate, matches_subject
from auditor.verdict import counting, order, summarise, verdict_of
from auditor.waivers import Judged, apply_waivers, check_waivers


@dataclass(frozen=True)
class Bench:
    """What lies before the judge: policy, catalogue, and the evidence of record and baseline."""

    policy: Policy
    catalogue: Catalogue
    now: Evidence
    then: Evidence | None


@dataclass(frozen=True)
class Ruling:
    """What a rule says of one target, and the number that decided it, where one may be relied on."""

    state: State
    reason: str
    number: Estimated | None = None
    settle: str | None = None


def judge(
    facts: Facts,
    policy: Policy,
    *,
    policy_sha256: str,
    waivers: Waivers | None,
    baseline: Observed | None,
    as_of: date,
    contrast_delta: float = 0.02,
    alpha: float = 0.05,
) -> Findings:
    """Does this record keep this policy, on this day?

    Each rule meets each target (a group of seeded subjects, or one subject without seed) and each set of coordinates
    that it matches: a finding, `not-assessed` without evidence. `subjects: any`: one target must meet every rule.
    Exit code: 4 when the audit did not complete; 1 when a finding that counts failed, or was not
    assessed and had to be; 3 when one is undecided, anything errored or nothing at all was assessed; else 0.

    Raises UnknownNameError for a metric that no probe has, ConfigError for coordinates that a metric has not, a rule
    against its direction, or a waiver without limits.
    """
    check_policy(policy, facts.catalogue)
    accepted = waivers or Waivers(schema="auditor/waivers/1")
    check_waivers(accepted)
    bench = Bench(policy, facts.catalogue, Evidence(facts), Evidence(baseline) if baseline else None)
    judged = [found for rule in policy.rules for found in _meet(rule, bench)]
    waived = apply_waivers(judged, accepted, as_of)
    findings = tuple(sorted(counting(waived.judged, policy), key=order))
    verdict = verdict_of(findings, facts.record)
    return Findings(
        as_of=as_of,
        facts_sha256=facts.sha256,
        verdict=verdict.name,
        exit_code=verdict.exit_code,
        findings=findings,
        policy=policy.model_dump(include={"id", "confidence", "fail_on", "subjects"}) | {"sha256": policy_sha256},
        summary=summarise(findings, policy, facts.record),
        notes=waived.notes,
        contrasts=contrast_findings(facts, contrast_delta, alpha),
    )


def check_policy(policy: Policy, catalogue: Catalogue) -> None:
    """Can every rule be asked of these probes? Raises UnknownNameError or ConfigError, naming the rule.

    A metric of a probe that is installed and cannot be read is let through: its findings will be
    `not-assessed`.
    """
    ids = [rule.id for rule in policy.rules]
    if doubled := next((i for i in ids if ids.count(i) > 1), None):
        raise ConfigError(f"policy {policy.id!r}: rule {doubled!r} stands twice; give each its own id")
    for rule in policy.rules:
        where = f"policy {policy.id!r}, rule {rule.id!r}"
        entry = catalogue.metric(rule.metric)
        if entry is not None:
            _check_rule(rule, entry, where)
        elif not _unreadable(rule.metric, catalogue):
            raise UnknownNameError("metric", rule.metric, catalogue.metric_names(), where=where)


def _unreadable(metric: str, catalogue: Catalogue) -> str | None:
    entry = catalogue.probe(metric.rpartition(".")[0])
    return entry.error if entry else None


def _check_rule(rule: Rule, entry: MetricEntry, where: str) -> None:
    for key in rule.at:
        if key not in entry.at:
            near = get_close_matches(key, entry.at, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "it has: " + (", ".join(entry.at) or "none")
            raise ConfigError(f"{where}: {rule.metric} has no coordinate {key!r}; {hint}")
    wrong = {"higher": rule.at_most, "lower": rule.at_least, "neither": None}[entry.better]
    if wrong is not None:
        right = "at_least" if entry.better == "higher" else "at_most"
        raise ConfigError(f"{where}: {rule.metric} is better when {entry.better}; its threshold is written as {right}")
    if rule.regression and entry.better == "neither":
        raise ConfigError(f"{where}: {rule.metric} has no better direction, so it cannot regress")


def _meet(rule: Rule, bench: Bench) -> list[Judged]:
    scope = bench.policy.subjects
    found = [
        t
        for t in bench.now.targets
        if matches_subject(rule.where, t) and (scope in ("all", "any") or _in_scope(t, scope))
    ]
    if not found:
        ruling = Ruling("not-assessed", "no subject of this record matches the rule and the policy's scope")
        return [Judged(_finding(rule, bench, ruling, None, _asked(rule)), None)]
    return [Judged(finding, target) for target in found for finding in _on_target(rule, target, bench)]


def _in_scope(target: Target, glob: str) -> bool:
    return fnmatchcase(target.id, glob) or all(fnmatchcase(m.group, glob) for m in target.members)


def _on_target(rule: Rule, target: Target, bench: Bench) -> list[Finding]:
    probe = rule.metric.rpartition(".")[0]
    matches = bench.now.of_target(target, rule.metric, rule.at)
    gaps = bench.now.missing(probe, target)
    if not matches or gaps:
        reason = _unmeasured(rule, probe, target, bench, gaps)
        places = [m.at for m in matches] or [_asked(rule)]
        return [_finding(rule, bench, Ruling("not-assessed", reason), target.id, at) for at in places]
    return [_finding(rule, bench, _rule(rule, target, m, bench), target.id, m.at) for m in matches]


def _unmeasured(rule: Rule, probe: str, target: Target, bench: Bench, gaps: str | None) -> str:
    if error := _unreadable(rule.metric, bench.catalogue):
        return f"{probe} could not be read: {error}"
    if gaps:
        return gaps
    others = bench.now.of_target(target, rule.metric, {})
    places = ", ".join(_coordinates(m.at) for m in others)
    return f"{rule.metric} was not measured at {_coordinates(rule.at) or 'all'}; measured: {places or 'nowhere'}"


def _asked(rule: Rule) -> dict[str, Coordinate]:
    return {key: coordinate(value) for key, value in rule.at.items()}


def _coordinates(at: dict[str, Coordinate]) -> str:
    return " ".join(f"{key}={_text(value)}" for key, value in sorted(at.items()))


def _text(value: Coordinate) -> str:
    number = coordinate(value)
    return number if isinstance(number, str) else f"{number:.9g}"


def _rule(rule: Rule, target: Target, m: Measurement, bench: Bench) -> Ruling:
    """The ruling on one measurement, after asking whether it may be relied on at all."""
    if m.seeds is not None and m.seeds < len(target.members):
        return Ruling(
            "not-assessed", f"only {m.seeds} of {len(target.members)} members have it: {_without(target, m, bench)}"
        )
    trust = bench.now.trust(m.probe, target)
    if trust.reliability == "invalid":
        return Ruling("inconclusive", f"the result is invalid: {trust.evidence}")
    try:
        number = _number(rule, target, m, bench)
    except NoBaselineError as error:
        return Ruling("not-assessed", str(error))
    except NotComparableError as error:
        why = str(error).removeprefix("not comparable: ")
        return (
            Ruling("inconclusive", f"not comparable: {why}")
            if rule.regression
            else Ruling("inconclusive", why, _stored(m))
        )
    direction, threshold = bar(rule)
    decision = decide(number, direction, threshold)
    if trust.reliability == "suspicious":
        decision = doubt(decision, number, direction, trust.evidence)
    return _ruling(decision, number, rule)


def _ruling(decision: Decision, number: Estimated, rule: Rule) -> Ruling:
    what = "the drop since the baseline: " if rule.regression else ""
    alone = "; one seed says nothing of other trainings" if number.seeds == 1 else ""
    return Ruling(decision.state, f"{what}{decision.reason}{alone}", number, decision.settle)


def _without(target: Target, m: Measurement, bench: Bench) -> str:
    lacking = [s.id for s in target.members if bench.now.of_member(s.id, m) is None]
    return f"none for {', '.join(lacking)}" if lacking else "the others are not named in the record"


def _stored(m: Measurement) -> Estimated:
    return Estimated(m.value, m.low, m.high, m.n, m.seeds, m.kind)


def _number(rule: Rule, target: Target, m: Measurement, bench: Bench) -> Estimated:
    if rule.regression is None:
        entry = bench.catalogue.metric(rule.metric)
        kind = entry.kind if entry else m.kind  # a group's measurement is an estimate of a bound, and still that bound
        return at_confidence(bench.now, target, m, kind, entry.unit if entry else None, bench.policy.confidence)
    if bench.then is None:
        raise NoBaselineError("the audit has no baseline to compare with")
    return drop(bench.now, bench.then, target, m, bench.policy.confidence)


def bar(rule: Rule) -> tuple[Direction, float]:
    """What a rule's number is held against; a regression is a drop of at most so much."""
    if rule.at_least is not None:
        return "at_least", rule.at_least
    threshold = rule.at_most if rule.regression is None else rule.regression.max_drop
    assert threshold is not None, "a rule has exactly one bar"
    return "at_most", threshold


def _finding(rule: Rule, bench: Bench, ruling: Ruling, subject: str | None, at: dict[str, Coordinate]) -> Finding:
    entry = bench.catalogue.probe(rule.metric.rpartition(".")[0])
    metric = bench.catalogue.metric(rule.metric)
    number = ruling.number
    return Finding(
        rule=rule.id,
        title=rule.title or (metric.title if metric else ""),
        metric=rule.metric,
        subject=subject,
        at=at,
        state=ruling.state,
        severity=rule.severity,
        counts=LEVELS.index(rule.severity) >= LEVELS.index(bench.policy.fail_on),
        value=number.value if number else None,
        low=number.low if number else None,
        high=number.high if number else None,
        threshold={_direction(rule): bar(rule)[1]},
        reason=ruling.reason,
        settle=ruling.settle,
        on_not_assessed=rule.on_not_assessed,
        fingerprint=_fingerprint(rule, subject, at),
        references={**(entry.references if entry else {}), **({"policy": rule.supports} if rule.supports else {})},
    )


def _direction(rule: Rule) -> str:
    return "max_drop" if rule.regression else bar(rule)[0]


def _fingerprint(rule: Rule, subject: str | None, at: dict[str, Coordinate]) -> str:
    """What stays the same between two judgements of the same question: no values, times or paths."""
    places = {key: _text(value) for key, value in at.items()}
    return digest({"metric": rule.metric, "at": places, "subject": subject, "direction": _direction(rule)})
