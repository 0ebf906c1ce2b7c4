"""Which differences the planned seeds could find, said before they are trained."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from auditor import plugins
from auditor.contrast import Member, NotComparableError, sort_of, strictest, table
from auditor.distributions import normal_quantile
from auditor.groups import bounds_of, by_seed, column, have_rows, same_rows, stated, stated_half
from auditor.measured import Measured
from auditor.pairs import pairs
from auditor.plan import Plan, PlannedSubject
from auditor.spread import Spread, linear, spread_of
from auditor.statistics import minimum_detectable
from auditor.store import Store

SEED_SPREAD = 0.025  # an assumption, on the wide side: the built-in audit shows 0.006 to 0.010 (docs/statistics.md)
ROW_SHARE = 0.05  # likewise: of rows that one group gets right and the other wrong in every seed; seen: 0.01 to 0.05


@dataclass(frozen=True)
class Seen:
    """The variance of a paired difference: between seeds (of one), and by the rows that all seeds share.

    That between seeds was estimated with so many degrees of freedom; infinitely many where it is assumed.
    """

    seeds: float
    rows: float
    rows_df: float
    known: float

    def least(self, count: int, alpha: float) -> float:
        """Which true difference would `count` pairs of seeds find with 80 % power? More seeds make no more rows.

        With as many seeds as were seen of one pair it is what a record says of it, `Contrast.minimum_detectable`.
        """
        spread = Spread(self.seeds / count, self.rows, count - 1, self.rows_df)
        found = minimum_detectable(spread.se, spread.df(1.0 - alpha), alpha)
        one = Spread(self.seeds / (self.known + 1.0), self.rows, self.known, self.rows_df).df(1.0 - alpha)
        return found * minimum_detectable(1.0, one, estimated=True) / minimum_detectable(1.0, one)


def detectable(plan: Plan, store: Store) -> list[str]:
    """What differences the planned seeds could find: by the spread of finished runs, or by one that is assumed.

    At the strictest step of Holm's adjustment over all pairs of the plan that answer the same sort of question, which
    the first find has to pass.
    """
    seeds = {
        s.config.id: s.config.train.seeds
        for s in plan.subjects
        if s.config.train and (len(s.config.train.optimizers) > 1 or s.config.train.ablations)
    }
    return [f"contrasts  {name}: {_said(plan, store, name, count)}" for name, count in seeds.items()]


def _said(plan: Plan, store: Store, name: str, count: int) -> str:
    if count < 2:
        return "one seed allows no verdict; name at least two"
    entry = next(s.config for s in plan.subjects if s.config.id == name)
    sort = "optimizer" if entry.train and len(entry.train.optimizers) > 1 else "ablation"
    compared = pairs(plan.subjects, plan.config.contrasts.reference)
    family = sum(sort_of(*pair) == sort for pair in compared)
    alpha = strictest(plan.config.contrasts.alpha, sort, compared)
    known = seen_spreads(plan, store, name)
    assumed = Seen(SEED_SPREAD**2, ROW_SHARE / plan.data.rows["test"], math.inf, math.inf)
    points = ", ".join(f"{100 * one.least(count, alpha):.1f} points of {m}" for m, one in known.items())
    holm = f" in each of {family} comparisons by Holm" if family > 1 else ""
    by = (
        "by the spread of finished runs"
        if known
        else f"if paired differences spread by {SEED_SPREAD * 100:g} points between seeds and groups differ on "
        f"{ROW_SHARE:.0%} of the {plan.data.rows['test']} test rows whatever the seed"
    )
    return (
        f"{count} paired seeds detect about {points or f'{100 * assumed.least(count, alpha):.1f} points'} with 80 % "
        f"power{holm}, {by}"
    )


def seen_spreads(plan: Plan, store: Store, name: str) -> dict[str, Seen]:
    """How far paired differences spread, by metric, in what this plan finds finished.

    Pooled over the pairs of groups of one entry of the configuration; of several places (epsilons), the widest between
    seeds. Of shares alone. Pairs of which fewer than two seeds are finished tell nothing.
    """
    ours = [s for s in plan.subjects if s.config.id == name and s.original is None]
    measured, found = Measured(plan, store, {}), dict[str, Seen]()
    chosen = pairs(ours, plan.config.contrasts.reference)
    for metric, members in _finished(measured, ours):
        spreads = [one for a, b in chosen if (one := _spread(members.get(a, ()), members.get(b, ()))) is not None]
        if spreads and (metric not in found or _pooled(spreads).seeds > found[metric].seeds):
            found[metric] = _pooled(spreads)
    return found


def _finished(
    measured: Measured, subjects: Sequence[PlannedSubject]
) -> Iterator[tuple[str, Mapping[str, Sequence[Member]]]]:
    """For every metric that is compared, place by place: what is finished, by group."""
    compared = {r.probe: _compared(measured.plan, r.probe) for r in measured.plan.results if r.unit is not None}
    for (probe, metric, _), of in measured.by_key.items():
        if f"{probe}.{metric}" not in compared.get(probe, ()):
            continue
        members: dict[str, list[Member]] = defaultdict(list)
        for s in subjects:
            if s.id in of:
                rows, values = column(measured.samples.get((probe, s.id), {}), of[s.id].column)
                members[s.group].append(Member(s.id, s.group, s.seed or 0, rows, values, of[s.id]))
        yield f"{probe}.{metric}", members


def _spread(a: Sequence[Member], b: Sequence[Member]) -> Seen | None:
    """The variance of b minus a over the seeds that both have, as `contrast` finds it."""
    common = {m.seed for m in a} & {m.seed for m in b}
    if len(common) < 2:
        return None
    left, right = ([m for m in by_seed(side) if m.seed in common] for side in (a, b))
    count, z = len(common), normal_quantile(0.975)
    if have_rows([*left, *right]) and same_rows([*left, *right]):
        with suppress(NotComparableError):
            reach = 1.0 if bounds_of([*left, *right]) else 0.0
            found = spread_of(linear(table(right)) - linear(table(left)), imagined=reach)
            return Seen(found.seeds * count, found.rows, found.rows_df, count - 1)
    values = [stated(y).value - stated(x).value for x, y in zip(left, right, strict=True)]
    mean = math.fsum(values) / count
    rows = [(stated_half(x, 0.95) ** 2 + stated_half(y, 0.95) ** 2) / z**2 for x, y in zip(left, right, strict=True)]
    between = math.fsum((v - mean) ** 2 for v in values) / (count - 1)
    return Seen(between, math.fsum(rows) / count, math.inf, count - 1)


def _pooled(spreads: Sequence[Seen]) -> Seen:
    """The mean variances; known no better than that of one pair, for pairs share their reference."""
    n = len(spreads)
    return Seen(
        math.fsum(s.seeds for s in spreads) / n,
        math.fsum(s.rows for s in spreads) / n,
        min(s.rows_df for s in spreads),
        min(s.known for s in spreads),
    )


def _compared(plan: Plan, probe: str) -> set[str]:
    """The shares on which groups are compared that a probe measures."""
    named, metrics = plan.config.contrasts.metrics or (), plugins.load("auditor.probes", probe).metrics
    shares = [m for m in metrics if m.unit == "share" and m.better != "neither"]
    return {q for m in shares if (q := f"{probe}.{m.name}") in named or (not named and m.headline)}
