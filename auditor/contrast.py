"""How two groups of subjects differ in one number, paired by seed and row, and what may be said of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auditor.ablations import VARIANT, parent_of
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
from auditor.record import Better, Contrast, Coordinate, Matched
from auditor.statistics import holm, minimum_detectable

__all__ = [
    "Member",
    "NotComparableError",
    "Said",
    "adjusted",
    "contrast",
    "difference",
    "finish",
    "group_measurement",
    "matching",
    "shown_equivalent",
    "sort_of",
    "strictest",
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
    models, so neither a p-value nor a minimum detectable difference is given. The latter is that at `alpha`.

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
        minimum_detectable=minimum_detectable(found.se, found.df, alpha, estimated=True)
        if several and found.se
        else None,
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


def finish(
    contrasts: Sequence[Contrast],
    accuracy: Mapping[tuple[str, str], bool | None],
    matched: Callable[[Contrast], Contrast] = lambda one: one,
) -> tuple[Contrast, ...]:
    """The contrasts with whether accuracy is equal, what holds where it is not, and p-values as `adjusted`."""
    told = (c.model_copy(update={"accuracy_equivalent": accuracy.get((c.a, c.b))}) for c in contrasts)
    return adjusted([matched(c) for c in told])


def adjusted(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """The contrasts with p-values adjusted by Holm within one family.

    A family is one metric at its coordinates and one sort of question: how optimizers differ, what an ablation takes
    away, or what a variant does. So ablations and variants that explain a difference do not make it harder to show.
    Where the pairs that match decide, their p-value stands in the family for the contrast's own.
    """
    families: dict[object, list[int]] = {}
    for index, one in enumerate(contrasts):
        if one.p_value is not None:
            families.setdefault((one.metric, tuple(sorted(one.at.items())), sort_of(one.a, one.b)), []).append(index)
    own: dict[int, float] = {}
    judged: dict[int, float] = {}
    for members in families.values():
        own.update(zip(members, holm([_p(contrasts[i]) for i in members]), strict=True))
        judged.update(zip(members, holm([_judged_p(contrasts[i]) for i in members]), strict=True))
    return tuple(_with(one, own.get(i), judged.get(i)) for i, one in enumerate(contrasts))


def sort_of(a: str, b: str) -> str:
    """Which sort of question the contrast of two groups answers."""
    if VARIANT in b and b.rpartition(VARIANT)[0] == a:
        return "variant"
    return "ablation" if parent_of(b) == a else "optimizer"


def strictest(alpha: float, sort: str, pairs: Iterable[tuple[str, str]]) -> float:
    """The level of the first step of Holm's adjustment over the pairs of one sort: alpha / m."""
    return alpha / max(1, sum(sort_of(a, b) == sort for a, b in pairs))


def _p(contrast: Contrast) -> float:
    return 1.0 if contrast.p_value is None else contrast.p_value


def _judged_p(contrast: Contrast) -> float:
    decides = matching(contrast)
    return _p(contrast) if decides is None or decides.p_value is None else decides.p_value


def _with(contrast: Contrast, own: float | None, judged: float | None) -> Contrast:
    decides = matching(contrast)
    if decides is None:
        return contrast.model_copy(update={"adjusted_p": judged})
    matched = decides.model_copy(update={"adjusted_p": judged})
    return contrast.model_copy(update={"adjusted_p": own, "matched": matched})


def matching(contrast: Contrast) -> Matched | None:
    """The pairs that match in accuracy, which then decide in place of all; None where there are none."""
    found = contrast.matched
    return found if found and found.by == "subset" else None


def verdict(contrast: Contrast, delta: float, alpha: float, *, price: str | None = None) -> Said:
    """Did b improve on a, regress, or stay equivalent within +-delta; or can it not be said?

    Nothing is said of a single pair of seeds (but of one model and its variant, by the test over their rows), nor, of
    any metric but accuracy, where the accuracies are not shown to be equal: a model can be sturdy by being useless.
    Then the pairs that match in accuracy are judged instead, where there are enough of them. But where the groups
    differ by a declared objective, or by a variant, the change is judged with its `price`, the difference of the
    accuracies in words, beside it.
    """
    if (why := _unfit(contrast, priced=price is not None)) is not None:
        return Said("inconclusive", why)
    if price is None and not contrast.accuracy_equivalent and (matched := matching(contrast)):
        return _of_matching(contrast, matched, delta, alpha)
    said = _said(contrast, delta, alpha)
    if contrast.pairs < 2:
        said = Said(said.verdict, f"{said.reason}; of these two models alone, over their rows")
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
    alike = f"neither shown nor shown to be within ±{delta:g}" if delta else "which is not shown to be one"
    return Said("inconclusive", f"the difference is {interval}, {alike}{power}")


def _of_matching(contrast: Contrast, matched: Matched, delta: float, alpha: float) -> Said:
    """The verdict on the pairs that match in accuracy, in place of all."""
    found = matched.model_dump(include={"difference", "low", "high", "pairs", "p_value", "adjusted_p"})
    said = _said(contrast.model_copy(update=found | {"minimum_detectable": None}), delta, alpha)
    told = f"in the {matched.pairs} of {contrast.pairs} pairs whose accuracies on held-back rows match"
    return Said(said.verdict, f"{told}, {said.reason}")


def _unfit(contrast: Contrast, *, priced: bool) -> str | None:
    if contrast.pairs < 2 and contrast.p_value is None:
        return "a single pair of seeds says how two models differ, not how their groups do"
    if contrast.accuracy_equivalent or contrast.metric == "accuracy.accuracy" or priced or matching(contrast):
        return None
    known = "are not shown to be equal" if contrast.accuracy_equivalent is False else "were not compared"
    told = f"the accuracies of {contrast.a} and {contrast.b} {known}, so no other difference is judged"
    return f"{told}{_beside(contrast.matched)}"


def _beside(matched: Matched | None) -> str:
    """What a regression on accuracy says, without a verdict, and why it has none."""
    if matched is None:
        return ""
    interval = f"{matched.difference:+.4g} [{matched.low:+.4g}, {matched.high:+.4g}]"
    return f"; less what goes with accuracy from run to run it is {interval}, which may take off too little"


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
