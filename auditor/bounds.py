"""What an interval says of a threshold: the pessimistic end decides, and a doubtful result cannot pass."""

from dataclasses import dataclass, replace
from typing import Literal

from auditor.record import Kind
from auditor.statistics import samples_to_settle

HOPELESS = 1000  # so many times the samples there are is no advice

Direction = Literal["at_least", "at_most"]


@dataclass(frozen=True)
class Estimated:
    """A number with its interval; `seeds` is None for one subject, `kind` is what the metric declares."""

    value: float
    low: float | None
    high: float | None
    n: int
    seeds: int | None
    kind: Kind


@dataclass(frozen=True)
class Decision:
    """What an interval allows to be said of a threshold; `settle`: how much more evidence would decide."""

    state: Literal["pass", "fail", "inconclusive"]
    reason: str
    settle: str | None = None


def decide(number: Estimated, direction: Direction, threshold: float) -> Decision:
    """Does this number keep its threshold, whatever end of its interval is true?

    `at_least` passes when low >= threshold and fails when high < threshold; `at_most` passes when high <=
    threshold and fails when low > threshold; else it is inconclusive. A number without interval decides
    only if it is exact.

    A rule speaks of the metric as it was measured: an attack's result is an upper bound on robustness and a
    lower bound on leakage, so its pass says that this attack stayed within the bar, never that no attack
    can cross it.
    """
    low, high = _ends(number)
    if low is None or high is None:
        return Decision(
            "inconclusive", f"{number.value:.4g} has no interval and is not exact: nothing can be decided by it"
        )
    ends = f"[{low:.4g}, {high:.4g}]"
    if direction == "at_least":
        kept, broken = low >= threshold, high < threshold
    else:
        kept, broken = high <= threshold, low > threshold
    bar = f"{direction.replace('_', ' ')} {threshold:.4g}"
    if kept:
        return Decision("pass", f"{ends} is {bar} as a whole{_reach(number.kind, direction)}")
    if broken:
        return Decision("fail", f"no value in {ends} is {bar}")
    return Decision("inconclusive", f"{threshold:.4g} lies within {ends}", _settle(number, threshold, low, high))


def _ends(number: Estimated) -> tuple[float | None, float | None]:
    if number.low is None and number.high is None and number.kind == "exact":
        return number.value, number.value
    return number.low, number.high


def flatters(kind: Kind, direction: Direction) -> bool:
    """Whether the truth can only be worse: an upper bound of what should be high, or the reverse."""
    return (kind, direction) in {("upper-bound", "at_least"), ("lower-bound", "at_most")}


def _reach(kind: Kind, direction: Direction) -> str:
    return "; a stronger attack may find worse" if flatters(kind, direction) else ""


def _settle(number: Estimated, threshold: float, low: float, high: float) -> str:
    seeded = number.seeds is not None and number.seeds > 1
    have, unit = (number.seeds, "seed") if seeded and number.seeds is not None else (number.n, "sample")
    half = number.value - low if number.value > threshold else high - number.value
    total = samples_to_settle(number.value, threshold, have, half)
    if total is None:
        return f"no number of {unit}s would settle it while the value stays on the threshold"
    if total > HOPELESS * have:
        return f"over {HOPELESS} times as many {unit}s would be needed: the value lies almost on the threshold"
    more = max(1, total - have)
    return f"about {more} more {unit}{'s' if more > 1 else ''} would settle it, if the value stays"


def doubt(decision: Decision, number: Estimated, direction: Direction, evidence: str) -> Decision:
    """What is a decision worth when the result is suspicious? No pass is, and a failure may stand.

    A failure stands unless the metric bounds the truth from its bad side only (a certificate that falls
    short): then the truth may well keep the threshold.
    """
    opposite: Direction = "at_most" if direction == "at_least" else "at_least"
    if decision.state == "fail" and not flatters(number.kind, opposite):
        return replace(decision, reason=f"{decision.reason}; suspicious ({evidence}), but the failure stands")
    reason = f"the result is suspicious ({evidence}), so it cannot {decision.state}: {decision.reason}"
    if decision.state == "inconclusive":
        reason = f"{decision.reason}; the result is suspicious as well ({evidence})"
    return Decision("inconclusive", reason)
