"""What all findings together say: what counts, the verdict with its exit code, and one plain sentence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from auditor.policy import LEVELS, Finding, Policy
from auditor.record import Record
from auditor.waivers import Judged

Name = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """The verdict of a judgement and the exit code that says it."""

    name: Name
    exit_code: int


def counting(judged: Sequence[Judged], policy: Policy) -> list[Finding]:
    """The findings with what counts; under `subjects: any` only the best targets' findings count."""
    if policy.subjects != "any":
        return [j.finding for j in judged]
    of: dict[str, list[Finding]] = {}
    for one in judged:
        if one.target is not None:
            of.setdefault(one.target.id, []).append(one.finding)
    standing = {name: _standing(findings) for name, findings in of.items()}
    best = min(standing.values(), default=0)
    return [
        f if f.subject is None or standing[f.subject] == best else f.model_copy(update={"counts": False})
        for f in (j.finding for j in judged)
    ]


def _standing(findings: Sequence[Finding]) -> int:
    """0 for a target that keeps every rule that counts, 1 for one undecided, 2 for one that fails.

    3 where nothing that counts was kept or broken: such a target says nothing, and must not stand in for
    another.
    """
    worst = max((weight(f) for f in findings), default=0)
    kept = any(f.counts and f.state in ("pass", "waived") for f in findings)
    return worst if worst or kept else 3


def weight(finding: Finding) -> int:
    """What a finding does to the verdict: 2 fails it, 1 leaves it undecided, 0 nothing."""
    if not finding.counts or finding.state in ("pass", "waived"):
        return 0
    if finding.state == "not-assessed":
        return {"fail": 2, "report": 1, "ignore": 0}[finding.on_not_assessed]
    return 2 if finding.state == "fail" else 1


def order(finding: Finding) -> tuple[int, int, int]:
    """Where a finding stands: what decides the verdict first, kept rules last, each by severity."""
    settled = {"waived": 1, "pass": 2}.get(finding.state, 0)
    return -weight(finding), settled, -LEVELS.index(finding.severity)


def verdict_of(findings: Sequence[Finding], record: Record) -> Verdict:
    """Does the record keep its policy? Errors, an unfinished audit and no evidence are never a pass."""
    worst = max((weight(f) for f in findings), default=1)
    assessed = any(f.state != "not-assessed" for f in findings)
    if worst < 2 and (errored(record) or not assessed or not record.audit.complete):
        worst = max(worst, 1)
    names: tuple[Name, ...] = ("pass", "inconclusive", "fail")
    return Verdict(names[worst], 4 if not record.audit.complete else (0, 3, 1)[worst])


def errored(record: Record) -> int:
    """How many subjects and results of a record ended in an error."""
    return sum(s.error is not None for s in record.subjects) + sum(r.outcome == "errored" for r in record.results)


def summarise(findings: Sequence[Finding], policy: Policy, record: Record) -> str:
    """One plain sentence: how many rules failed, could not be decided or passed, and which."""
    total = f"{len(policy.rules)} rule{'s' if len(policy.rules) != 1 else ''}"
    failed = [f for f in findings if weight(f) == 2 and f.state == "fail"]
    absent = [f for f in findings if weight(f) == 2 and f.state != "fail"]
    open_ = [f for f in findings if weight(f) == 1]
    parts = [
        f"{_rules(failed)} of {total} failed: {_names(failed)}" if failed else "",
        f"{_rules(absent)} of {total} had to be assessed and could not be: {_names(absent)}" if absent else "",
        f"{_rules(open_)} of {total} could not be decided: {_names(open_)}" if open_ else "",
    ]
    if not any(parts):
        parts = [_kept(findings, policy, total)]
    if count := errored(record):
        what = "ended in an error" if record.audit.complete else "did not run to the end"
        parts.append(f"{count} part{'s' if count > 1 else ''} of the audit {what}")
    if not record.audit.complete:
        parts.append("the audit did not complete")
    return "; ".join(p for p in parts if p) + "."


def _kept(findings: Sequence[Finding], policy: Policy, total: str) -> str:
    if all(f.state == "not-assessed" for f in findings):
        return f"None of {total} could be assessed"
    shown = [f for f in findings if f.state not in ("pass", "waived")]
    waived = [f for f in findings if f.state == "waived"]
    tail = f", {_rules(waived)} by a waiver" if waived else ""
    if not shown:
        return f"All {total} passed{tail}" if len(policy.rules) > 1 else f"The one rule passed{tail}"
    count = _rules(shown)
    missed = f"{count} of {total} did not pass and {'was' if count == 1 else 'were'} not counted: {_names(shown)}"
    return f"No rule that counts failed (fail_on: {policy.fail_on}){tail}; {missed}"


def _rules(findings: Iterable[Finding]) -> int:
    return len({f.rule for f in findings})


def _names(findings: Sequence[Finding]) -> str:
    """`EVA-1 (mlp/adamw, mlp/sgd), ACC-1 (mlp/sgd)`."""
    of: dict[str, dict[str, None]] = {}
    for f in findings:
        of.setdefault(f.rule, {}).update({f.subject or "no subject": None})
    return ", ".join(f"{rule} ({', '.join(subjects)})" for rule, subjects in of.items())
