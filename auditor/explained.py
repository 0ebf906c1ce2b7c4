"""What explains the gap between two optimizers: how much of it goes when one thing is taken away from one of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from auditor.ablations import VARIANT, parent_of
from auditor.crossed import crossed_ratio
from auditor.fairness import unfair
from auditor.groups import Member, NotComparableError, bounds_of, by_seed, have_rows, same_rows, stated, table
from auditor.record import Coordinate, Explained, Record
from auditor.repeats import doubtful

Pair = tuple[str, str]
Members = Callable[[str], Sequence[Member] | None]  # of a group, where all of it was measured


def gaps(pairs: Iterable[Pair]) -> dict[str, list[str]]:
    """For every ablation among the groups compared, those to which its parent has a gap: no variants of itself."""
    known = list(pairs)
    plain = [(a, b) for a, b in known if not any(parent_of(g) or VARIANT in g for g in (a, b))]
    found: dict[str, list[str]] = {}
    for parent, group in known:
        if parent_of(group) == parent:
            found[group] = [b if a == parent else a for a, b in plain if parent in (a, b)]
    return found


def shares(metric: str, members: Members, pairs: Iterable[Pair], confidence: float) -> Iterator[Explained]:
    """What goes of one metric's gaps with each ablation, wherever that can be said."""
    for one, others in gaps(pairs).items():
        for other in others:
            sides = [members(parent_of(one) or ""), members(one), members(other)]
            of, without, against = (s or () for s in sides)
            if of and without and against:
                with suppress(NotComparableError):
                    found = explained(metric, stated(of[0]).at, of, without, against, confidence)
                    yield from () if found is None else (found,)


def doubted(one: Explained, record: Record) -> Explained:
    """The share with what casts doubt on it: unreliable results, repeated models, or searches for a learning rate."""
    groups = (one.of, one.ablation, one.other)
    probe = one.metric.rpartition(".")[0]
    told = [said for group in groups for said in (_unreliable(probe, group, record), doubtful(group, record)) if said]
    told += unfair(one.of, one.other, record)
    told += [said for said in unfair(one.of, one.ablation, record) if said not in told]
    return one.model_copy(update={"doubt": "; ".join(told) or None})


def _unreliable(probe: str, group: str, record: Record) -> str | None:
    """The first result of a probe on a group that is not reliable."""
    ids = {s.id for s in record.subjects if s.group == group}
    found = (r for r in record.results if r.probe == probe and r.subject in ids and r.reliability != "reliable")
    one = next(found, None)
    return None if one is None else f"the {probe} result of {one.subject} is {one.reliability}"


def explained(
    metric: str,
    at: Mapping[str, Coordinate],
    of: Sequence[Member],
    ablated: Sequence[Member],
    other: Sequence[Member],
    confidence: float,
) -> Explained | None:
    """How much of the gap between `of` and `other` goes with what the ablation takes away from `of`?

    The share is (of - ablated) / (of - other), paired by seed and row: 1 where the ablation alone makes `of` like
    `other`, 0 where it changes nothing, below 0 where it widens the gap. Shares of several ablations need not add up
    to 1. Its interval is Fieller's, over other seeds and other rows. None where the gap itself is not shown.

    Raises:
        NotComparableError: fewer than two seeds in common, or numbers that left no answers to the same rows.
    """
    sides = [by_seed(members) for members in (of, ablated, other)]
    seeds = set.intersection(*({m.seed for m in side} for side in sides))
    x, w, y = ([m for m in side if m.seed in seeds] for side in sides)
    if len(seeds) < 2 or not have_rows([*x, *w, *y]) or not same_rows([*x, *w, *y]):
        raise NotComparableError(f"not comparable: {of[0].group}, {ablated[0].group} and {other[0].group} by row")
    reach = bounds_of([*x, *w, *y])
    width = 0.0 if reach is None else reach[1] - reach[0]
    found = crossed_ratio(table(x), table(w), table(y), confidence, width)
    if found is None:
        return None
    return Explained(
        metric=metric,
        at=dict(at),
        of=of[0].group,
        ablation=ablated[0].group,
        other=other[0].group,
        share=found.value,
        low=found.low,
        high=found.high,
        confidence=confidence,
        pairs=len(seeds),
    )
