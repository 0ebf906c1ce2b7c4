"""One attack a kind of access: gradients where there are any, scores where not, labels where no more."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch

from .bench import Bench, Mask, Rows, Standing
from .label_search import nearest

if TYPE_CHECKING:
    from .ball import Ball

_NOISE_DRAWS = 5
_FEW = 3  # rows that a weaker attack may break first by luck
_LOOKED_AT = 24
_LONG_STEPS = 100
_LONG_TARGETS = 9
_MARGIN_START = 900  # a moment of its own for the random start
_MORE_CANDIDATES = 4  # classes beyond those aimed at, whose distance is found too
_SCOUTED = 2  # classes that every row is led towards before the weakest are chosen
_SCOUTING = 300  # counts as a start of its own
_WEAK = 1 / 4  # of the rows that stand
_WEAKEST = 1 / 8
_LEAST = 32  # rows: fewer are not worth choosing among
_BY_SLOPES = 0.5  # of the queries by scores
_BY_ANSWERS = 0.5
_MOST_ANSWERS = 4000  # queries a row by answers alone, however many rows still fall
_NOTABLE = 0.01  # of all rows
_AT_ONCE = 1 << 24  # coordinates of rows led towards several classes in one batch


@dataclass
class Gains:
    """How many rows the cross-checks broke that the main attack had left, an entry an epsilon.

    `crossed` are the rows that one step broke at the last; `unended` counts, an entry an epsilon, the rows that the
    longest search by answers still broke where that was more than a few.
    """

    noise: list[int] = field(default_factory=list)
    black_box: list[int] = field(default_factory=list)
    unended: list[int] = field(default_factory=list)
    crossed: Rows = field(default_factory=lambda: np.zeros(0, np.int64))


def by_gradients(bench: Bench, standing: Standing, epsilon: float, probe: "Ball", gains: Gains) -> Bench:
    """One step, cross-entropy from where the last epsilon ended, then class by class, noise, random search.

    Returns the bench with the order of the classes, which is found once.
    """
    first = bool(torch.equal(standing.point, bench.unit))
    gains.crossed = standing.strike(bench, epsilon, bench.cross(epsilon))
    standing.strike(bench, epsilon, bench.climb(epsilon, probe.cull_steps, None if first else standing.point))
    if probe.margin_steps:
        standing.strike(bench, epsilon, bench.climb_margin(epsilon, probe.margin_steps, _MARGIN_START))
    bench = _ordered(bench, standing, probe)
    _class_by_class(bench, standing, epsilon, probe)
    if probe.self_test:
        gains.noise.append(beyond_gradients(bench, epsilon, shake(bench, standing, epsilon)))
    if probe.queries:
        found = _search(bench, standing, epsilon, probe)
        gains.black_box.append(beyond_gradients(bench, epsilon, found))
    return bench


def _ordered(bench: Bench, standing: Standing, probe: "Ball") -> Bench:
    """The bench with the nearest wrong classes first, where their order can matter."""
    rows = np.flatnonzero(~standing.broken)
    if bench.aimed or not len(rows) or not probe.targets or bench.classes <= 2:
        return bench
    candidates = min(bench.classes - 1, probe.targets + probe.extra_targets + _MORE_CANDIDATES)
    return bench.nearest_first(torch.as_tensor(rows, device=bench.unit.device), candidates)


def _class_by_class(bench: Bench, standing: Standing, epsilon: float, probe: "Ball") -> None:
    """Aim at the nearest classes: in few steps at every row, in many where the lead those steps left is smallest."""
    wrong = bench.classes - 1
    for rank in range(min(_SCOUTED, wrong) if probe.scout_steps else 0):
        standing.strike(bench, epsilon, bench.aim(epsilon, probe.scout_steps, rank, again=_SCOUTING))

    def nearest(among: Mask) -> None:
        for again in range(1 + probe.restarts):
            _aim(bench, standing, epsilon, probe.target_steps, range(min(probe.targets, wrong)), among, again)

    def further(among: Mask) -> None:
        ranks = range(probe.targets, min(probe.targets + probe.extra_targets, wrong))
        _aim(bench, standing, epsilon, probe.extra_steps, ranks, among)

    press(standing, _WEAK if probe.scout_steps else 1.0, nearest)
    press(standing, _WEAKEST if probe.scout_steps else _WEAK, further)


def _aim(
    bench: Bench, standing: Standing, epsilon: float, steps: int, ranks: range, among: Mask, again: int = 0
) -> None:
    """Aim at these classes: one after the other where rows are many, for some will fall to the first; else at once."""
    count = int((among & ~standing.broken).sum())
    if count <= bench.width and 0 < count * len(ranks) * bench.unit[0].numel() <= _AT_ONCE:
        standing.strike(bench, epsilon, bench.aim_at_each(epsilon, steps, ranks, again=again), among)
        return
    for rank in ranks:
        standing.strike(bench, epsilon, bench.aim(epsilon, steps, rank, again=again), among)


def press(standing: Standing, share: float, attack: Callable[[Mask], None]) -> int:
    """Attack the share of the standing rows with the smallest leads, and the next such share where that is too few.

    What a long attack breaks, a short one has brought near to breaking. Where rows break in the half of a share
    that leads more, that does not hold here, and the attack goes on to the rows that lead more still. Returns how
    many broke.
    """
    rows = standing.in_order()
    size = max(ceil(len(rows) * share), _LEAST)
    for at in range(0, len(rows), size):
        part = rows[at : at + size]
        among = np.zeros_like(standing.broken)
        among[part] = True
        attack(among)
        if not standing.broken[part[size // 2 :]].any():
            break
    return int(standing.broken[rows].sum())


def _search(bench: Bench, standing: Standing, epsilon: float, probe: "Ball") -> Rows:
    """Random search: from the clean rows, then from the worst points of the weakest, twice as long while rows fall.

    Returns what broke.
    """
    before = standing.broken.copy()
    fell = len(standing.strike(bench, epsilon, bench.search(epsilon, probe.queries)))
    queries, share = probe.queries, 1.0

    def seek(among: Mask) -> None:
        standing.strike(bench, epsilon, bench.search(epsilon, queries, standing.point), among)

    if probe.weak_queries:
        queries, share = probe.weak_queries, _WEAKEST
        fell += press(standing, share, seek)
    while fell and 2 * queries <= probe.more_queries:
        queries *= 2
        fell = press(standing, share, seek)
    return np.flatnonzero(standing.broken & ~before)


def by_scores(bench: Bench, standing: Standing, epsilon: float, probe: "Ball", gains: Gains) -> None:
    """From where the last epsilon ended: along slopes read off scores, at random, by the answers alone; then noise."""
    felt = ceil(probe.blind_queries * _BY_SLOPES)
    found = standing.strike(bench, epsilon, bench.feel(epsilon, felt, standing.point))
    found = np.union1d(
        found, standing.strike(bench, epsilon, bench.search(epsilon, probe.blind_queries, standing.point))
    )
    queries = ceil(probe.blind_queries * _BY_ANSWERS)
    found = np.union1d(found, _by_answers_to_the_end(bench, standing, epsilon, queries, gains))
    if probe.self_test:
        shaken = shake(bench, standing, epsilon)
        # on plateaus fresh noise honestly finds rows that a local search left; it must not find more than the search
        gains.noise.append(len(shaken) if len(shaken) > len(found) else 0)


def _by_answers_to_the_end(bench: Bench, standing: Standing, epsilon: float, queries: int, gains: Gains) -> Rows:
    """Search by answers, and with twice the queries for as long as more than a few rows fall; returns what broke.

    Scores that are rounded, or as good as, mislead the searches that read them, and nothing in the scores says so.
    """
    enough = max(_FEW, _NOTABLE * len(standing.broken))
    found = fell = _by_answers(bench, standing, epsilon, queries)
    while len(fell) > enough and 2 * queries <= _MOST_ANSWERS:
        queries *= 2
        fell = _by_answers(bench, standing, epsilon, queries)
        found = np.union1d(found, fell)
    gains.unended.append(len(fell) if len(fell) > enough else 0)
    return found


def _by_answers(bench: Bench, standing: Standing, epsilon: float, queries: int) -> Rows:
    """Search for the nearest wrong answer, as scores on plateaus (neighbours, trees) tell less; returns what broke."""
    rows = np.flatnonzero(~standing.broken)
    if not len(rows):
        return rows
    found = nearest(bench, torch.as_tensor(rows, device=bench.unit.device), (epsilon,), queries=queries)
    reached = (found.radius <= epsilon).cpu().numpy()
    return standing.judge(bench, epsilon, rows[reached], bench.view.inputs(found.point[reached]))


def by_labels(bench: Bench, standing: Standing, epsilon: float, points: torch.Tensor) -> None:
    """The nearest points found by a decision-based search, drawn into the ball, then noise."""
    rows = np.flatnonzero(~standing.broken)
    index = torch.as_tensor(rows, device=bench.unit.device)
    inside = bench.task(index, bench.unit[index], epsilon).inside(points[index])
    standing.judge(bench, epsilon, rows, bench.view.inputs(inside))
    shake(bench, standing, epsilon)


def shake(bench: Bench, standing: Standing, epsilon: float) -> Rows:
    """Which of the standing rows does plain noise break."""
    before = standing.broken.copy()
    for moment in range(_NOISE_DRAWS):
        rows = np.flatnonzero(~standing.broken)
        index = torch.as_tensor(rows, device=bench.unit.device)
        standing.judge(bench, epsilon, rows, bench.view.inputs(bench.corner(index, epsilon, moment)))
    return np.flatnonzero(standing.broken & ~before)


@dataclass(frozen=True, eq=False)
class FullRange:
    """What an attack with the whole range to move in did: rows it tried, and rows left standing (n,)."""

    tried: Mask
    left: Mask
    violations: int


def full_range(bench: Bench, clean: Standing, steps: int, queries: int | None) -> FullRange:
    """What stands when at most 64 rows may move anywhere in the range: with any attack that works, nothing.

    Steps of gradients, on cross-entropy and then towards the runner-up; or queries, where there are no
    gradients. Starts are the clean rows: a random point of so large a ball is noise, and breaks a row without
    any attack. Constraints of the data bind neither the attack nor its judge here: it is the attack that is tested.
    """
    bench, whole = replace(bench, bound=False), bench.whole
    rows = np.flatnonzero(~clean.broken)
    tried = np.zeros_like(clean.broken)
    tried[rows[:: max(1, len(rows) // 64)][:64]] = True
    trial = Standing.before(bench, ~tried, clean.prediction)
    if queries is not None:
        trial.strike(bench, whole, bench.search(whole, queries))
        left = torch.arange(
            len(tried), device=bench.unit.device
        )  # kernels are flat at the corners, where search begins
        trial.strike(bench, whole, bench.search(whole, queries, bench.random_start(left, whole)))
    else:
        trial.strike(bench, whole, bench.climb(whole, steps, bench.unit))
        trial.strike(bench, whole, bench.aim(whole, steps, 0, bench.unit))
    return FullRange(tried, ~(trial.broken | trial.refused), trial.violations)


def beyond_gradients(bench: Bench, epsilon: float, rows: Rows) -> int:
    """How many of these rows, broken without gradients, withstand a long attack that uses them.

    A short attack leaves rows that a longer one breaks: that is thrift, not masking. Of many rows the first
    are tried and stand for the rest.
    """
    if len(rows) <= _FEW:
        return 0
    tried = left = torch.as_tensor(rows[:_LOOKED_AT], device=bench.unit.device)
    left = left[~bench.climb(epsilon, _LONG_STEPS, None)(left).broken]
    for rank in range(min(_LONG_TARGETS, bench.ranking.shape[1])):
        if len(left):
            left = left[~bench.aim(epsilon, _LONG_STEPS, rank)(left).broken]
    return round(len(rows) * len(left) / len(tried))
