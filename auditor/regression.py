"""How much worse a metric became since the baseline, paired on the same rows (and seeds)."""

import math
from dataclasses import replace

import numpy as np

from auditor.bounds import Estimated
from auditor.contrast import difference
from auditor.evidence import Evidence, is_share
from auditor.groups import Member, NotComparableError, table
from auditor.record import Measurement, Result
from auditor.selector import Target
from auditor.statistics import mean_interval, paired_drop


class NoBaselineError(NotComparableError):
    """There is nothing to compare with: the rule was not assessed."""


def drop(now: Evidence, then: Evidence, target: Target, like: Measurement, confidence: float) -> Estimated:
    """How much worse than its baseline is this measurement? Positive is worse, whatever direction is better.

    One subject: Bonett and Price's interval of a paired difference of shares, or the t interval of the
    differences of other contributions. A group: the paired difference of groups, over the seeds that both
    have. Rows are joined by their content; the rows that were asked must be the same.

    Raises:
        NoBaselineError: the baseline holds no result of the probe on this target. NotComparableError: other
        data, probe version, parameters or rows, a baseline that cannot be relied on,
            or no outcomes per sample are stored.
    """
    before = _counterpart(then, target, like.probe)
    _check_conditions(now, then, target, before, like)
    new, old = now.members(target, like), then.members(before, like)
    pairs = _pairs(new, old)
    worse, better = (new, old) if like.better == "higher" else (old, new)
    if target.grouped:
        found = difference(worse, better, confidence)
        return _estimated(found.value, (found.low, found.high), found.n, found.seeds)
    return _single(*(pairs[0] if like.better == "higher" else pairs[0][::-1]), confidence)


def _counterpart(then: Evidence, target: Target, probe: str) -> Target:
    found = next((t for t in then.targets if t.id == target.id and t.grouped == target.grouped), None)
    if found is None:
        raise NoBaselineError(f"the baseline holds no {target.id}")
    if gaps := then.missing(probe, found):
        raise NoBaselineError(f"the baseline holds no completed result: {gaps}")
    return found


def _check_conditions(now: Evidence, then: Evidence, target: Target, before: Target, like: Measurement) -> None:
    if now.observed.record.dataset.sha256 != then.observed.record.dataset.sha256:
        raise NotComparableError("the baseline was measured on other data")
    if like.better == "neither":
        raise NotComparableError(f"{like.probe}.{like.metric} has no better direction")
    trust = then.trust(like.probe, before)
    if trust.reliability != "reliable":
        raise NotComparableError(f"the baseline's result is {trust.reliability}: {trust.evidence}")
    new, old = _result(now, target, like.probe), _result(then, before, like.probe)
    if new.version != old.version:
        raise NotComparableError(f"{like.probe} is version {new.version}, in the baseline {old.version}")
    names = sorted(new.parameters.keys() | old.parameters.keys())
    if differing := [name for name in names if new.parameters.get(name) != old.parameters.get(name)]:
        raise NotComparableError(f"{like.probe} ran with other parameters: {', '.join(differing)}")


def _result(evidence: Evidence, target: Target, probe: str) -> Result:
    found = evidence.result(probe, target.members[0].id)
    assert found is not None, "checked by the caller"
    return found


def _pairs(new: tuple[Member, ...], old: tuple[Member, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The contributions of each seed that both have, in one order of rows, those not asked left out."""
    before = {member.seed: member for member in old}
    return [_paired(member, before[member.seed]) for member in new if member.seed in before]


def _paired(new: Member, old: Member) -> tuple[np.ndarray, np.ndarray]:
    a, b = table([replace(new, seed=0), replace(old, subject="its baseline", seed=1)])
    asked = ~np.isnan(a)
    if not np.array_equal(asked, ~np.isnan(b)):
        raise NotComparableError(f"{new.subject} and its baseline were asked different rows")
    return a[asked], b[asked]


def _single(worse: np.ndarray, better: np.ndarray, confidence: float) -> Estimated:
    if is_share(better) and is_share(worse):
        found = paired_drop(better, worse, confidence)
        return _estimated(found.value, (found.low, found.high), len(better), None)
    differences = better - worse
    return _estimated(float(differences.mean()), mean_interval(differences, confidence), len(better), None)


def _estimated(value: float, ends: tuple[float, float], n: int, seeds: int | None) -> Estimated:
    low, high = (end if math.isfinite(end) else None for end in ends)  # one value alone bounds nothing
    return Estimated(value, low, high, n, seeds, "estimate")
