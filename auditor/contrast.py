"""How two groups of subjects differ in one number, paired by seed and row, and what may be said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auditor.crossed import Estimate, crossed_difference, equivalent, value_mean
from auditor.groups import (
    Member,
    NotComparableError,
    bounds_of,
    by_seed,
    group_measurement,
    have_rows,
    longer_arm,
    same_rows,
    stated,
    stated_half,
    table,
)
from auditor.policy import Verdict
from auditor.record import Better, Contrast, Coordinate
from auditor.statistics import holm, minimum_detectable

__all__ = [
    "Member",
    "NotComparableError",
    "Said",
    "contrast",
    "difference",
    "finish",
    "group_measurement",
    "shown_equivalent",
    "table",
    "verdict",
]


@dataclass(frozen=True)
class Said:
    """What a contrast allows to be said, and why in one sentence."""

    verdict: Verdict
    reason: str


def contrast(
    metric: str,
    at: Mapping[str, Coordinate],
    a_members: Sequence[Member],
    b_members: Sequence[Member],
    *,
    alpha: float,
    delta: float,
    better: Better,
    confidence: float,
) -> Contrast:
    """How much larger is this metric in group b than in group a, paired by seed and row?

    Over the seeds that both have. A single pair has an interval over rows only: it speaks of those two
    models, so neither a p-value nor a minimum detectable difference is given.

    Raises:
        NotComparableError: no seed in common, or the rows of a pair differ.
    """
    a, b = _paired(a_members, b_members)
    found = difference(a, b, confidence)
    several = len(a) > 1
    return Contrast(
        metric=metric,
        at=dict(at),
        a=a[0].group,
        b=b[0].group,
        difference=found.value,
        low=found.low,
        high=found.high,
        confidence=confidence,
        pairs=len(a),
        p_value=found.p_value if several else None,
        minimum_detectable=minimum_detectable(found.se, found.df, alpha) if several and found.se else None,
        better=better,
        delta=delta,
    )


def difference(a_members: Sequence[Member], b_members: Sequence[Member], confidence: float) -> Estimate:
    """The paired difference b minus a as an estimate: see `contrast`."""
    a, b = _paired(a_members, b_members)
    if not have_rows([*a, *b]):
        return _difference_of_values(a, b, confidence)
    if same_rows([*a, *b]):
        return crossed_difference(table(a), table(b), confidence, bounds_of([*a, *b]))
    pairs = [table([_as_seed(x, 0), _as_seed(y, 1)]) for x, y in zip(a, b, strict=True)]
    found = [crossed_difference(pair[:1], pair[1:], confidence, bounds_of([*a, *b])) for pair in pairs]
    return value_mean([f.value for f in found], [longer_arm(f) for f in found], confidence)


def shown_equivalent(
    a_members: Sequence[Member], b_members: Sequence[Member], *, delta: float, alpha: float
) -> bool | None:
    """Is the groups' difference shown to lie within +-delta (two one-sided tests)? None for a single pair.

    Raises:
        NotComparableError: as `contrast`.
    """
    a, b = _paired(a_members, b_members)
    return None if len(a) < 2 else equivalent(difference(a, b, 1.0 - 2.0 * alpha), delta, alpha)


def finish(contrasts: Sequence[Contrast], accuracy: Mapping[tuple[str, str], bool | None]) -> tuple[Contrast, ...]:
    """The contrasts with p-values adjusted by Holm within one (metric, at), and whether accuracy is equal."""
    families: dict[object, list[int]] = {}
    for index, one in enumerate(contrasts):
        if one.p_value is not None:
            families.setdefault((one.metric, tuple(sorted(one.at.items()))), []).append(index)
    adjusted: dict[int, float] = {}
    for members in families.values():
        p_values = [p for i in members if (p := contrasts[i].p_value) is not None]
        adjusted.update(zip(members, holm(p_values), strict=True))
    return tuple(
        one.model_copy(update={"adjusted_p": adjusted.get(i), "accuracy_equivalent": accuracy.get((one.a, one.b))})
        for i, one in enumerate(contrasts)
    )


def verdict(contrast: Contrast, delta: float, alpha: float, *, price: str | None = None) -> Said:
    """Did b improve on a, regress, or stay equivalent within +-delta; or can it not be said?

    Nothing is said of a single pair of seeds, nor, of any metric but accuracy, where the accuracies are not
    shown to be equal: a model can be sturdy by being useless. But where the groups differ by a declared objective,
    a defence is judged with its `price`, the difference of the accuracies in words, beside it.
    """
    if (why := _unfit(contrast, priced=price is not None)) is not None:
        return Said("inconclusive", why)
    said = _said(contrast, delta, alpha)
    return Said(said.verdict, f"{said.reason}; {price}") if price and not contrast.accuracy_equivalent else said


def _said(contrast: Contrast, delta: float, alpha: float) -> Said:
    interval = f"{contrast.difference:+.4g} [{contrast.low:+.4g}, {contrast.high:+.4g}]"
    if -delta < contrast.low and contrast.high < delta:
        return Said("equivalent", f"the difference is {interval}, within ±{delta:g} as a whole")
    significant = contrast.adjusted_p is not None and contrast.adjusted_p < alpha
    if significant and (contrast.low > 0.0 or contrast.high < 0.0):
        if contrast.better == "neither":
            return Said("inconclusive", f"the difference is {interval}, and this metric has no better direction")
        rose = contrast.difference > 0.0
        word: Verdict = "improved" if rose == (contrast.better == "higher") else "regressed"
        return Said(word, f"the difference is {interval}, adjusted p {contrast.adjusted_p:.2g} below {alpha:g}")
    least = contrast.minimum_detectable
    power = "" if least is None else f"; {contrast.pairs} pairs find one of {least:.2g} four times in five"
    return Said("inconclusive", f"the difference is {interval}, neither shown nor shown to be within ±{delta:g}{power}")


def _unfit(contrast: Contrast, *, priced: bool) -> str | None:
    if contrast.pairs < 2:
        return "a single pair of seeds says how two models differ, not how their groups do"
    if contrast.accuracy_equivalent or contrast.metric == "accuracy.accuracy" or priced:
        return None
    known = "are not shown to be equal" if contrast.accuracy_equivalent is False else "were not compared"
    return f"the accuracies of {contrast.a} and {contrast.b} {known}, so no other difference is judged"


def _paired(a: Sequence[Member], b: Sequence[Member]) -> tuple[list[Member], list[Member]]:
    """Both sides by seed, over the seeds that both have."""
    left, right = by_seed(a), by_seed(b)
    common = {m.seed for m in left} & {m.seed for m in right}
    if not common:
        raise NotComparableError(f"not comparable: {left[0].group} and {right[0].group} have no seed in common")
    return [m for m in left if m.seed in common], [m for m in right if m.seed in common]


def _as_seed(member: Member, seed: int) -> Member:
    return Member(member.subject, member.group, seed, member.rows, member.values)


def _difference_of_values(a: Sequence[Member], b: Sequence[Member], confidence: float) -> Estimate:
    """The paired difference of stated numbers, their intervals combined as if the pairing spared nothing."""
    values = [stated(y).value - stated(x).value for x, y in zip(a, b, strict=True)]
    halves = [
        float(np.hypot(stated_half(x, confidence), stated_half(y, confidence))) for x, y in zip(a, b, strict=True)
    ]
    if len(values) == 1 and halves[0] == 0.0:
        raise NotComparableError(
            f"not comparable: one pair of {a[0].group} and {b[0].group}, and no interval of either"
        )
    return value_mean(values, halves, confidence)
