"""The nearest wrong answer by labels alone: which corner of the box to go towards, and how far."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, log2

import torch

from .draws import mix, uniform
from .norms import LINF, Norm
from .places import orders
from .survivors import Lanes, drive

Answers = Callable[[torch.Tensor], torch.Tensor]  # points (n, *shape) -> labels (n,)

_PURPOSE = 4
_COINS = 1 << 18  # a moment of draws that no cycle reaches
_GAIN = 0.02  # share by which half of the coordinates, turned round, must bring the radius down to be worth it
_FINER = 0.7  # that share at each halving of the blocks
_CALMER = 0.5  # and at each round over all blocks
_LEAST_GAIN = 0.001
_STRIDE = 4.0  # how much bolder the radius goes down at each step, as long as that succeeds
_BOLDEST = 0.5
_TINY = 1e-30
_BEFORE_ANEW = 5  # queries a coordinate after which one start has mostly found what it will
_LEAST_QUERIES = 300  # of a start


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest wrongly answered point found of each row (n, *shape), its distance (n,), and queries spent (n,).

    A row for which none was found is its clean point, at distance infinity.
    """

    point: torch.Tensor
    radius: torch.Tensor
    queries: torch.Tensor


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Rows to search around: `x` (n, *shape) and `y` (n,); `top` and `still` (*shape) as in a Task.

    `away` (k, n, *shape) are k points of the box for each row that are known to be answered wrongly, the nearest
    first, where `known` (k, n) says so; others are not looked at. A row brought within `enough` is left at that.
    """

    x: torch.Tensor
    y: torch.Tensor
    away: torch.Tensor
    known: torch.Tensor
    top: torch.Tensor
    enough: float
    still: torch.Tensor | None = None
    norm: Norm = LINF


@dataclass
class _Rays(Lanes):
    """Rows in flight. `aim` (n, d) is the point of the box each goes towards, `radius` how far it must go.

    A row whose radius is `closing` in knows it to lie between `floor` and `radius`; the others try what comes next:
    `turn` counts the blocks of coordinates that have been turned round, and the corner before them.
    """

    x: torch.Tensor
    y: torch.Tensor
    key: torch.Tensor
    aim: torch.Tensor
    corner: torch.Tensor
    radius: torch.Tensor
    found: torch.Tensor
    closing: torch.Tensor
    floor: torch.Tensor
    stride: torch.Tensor
    turn: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Plan:
    """The blocks of one round: where each begins and ends among the places, and the gain asked of it (t,).

    `order` (k, d) holds orders of the coordinates, one of which a row follows for a round; `low` and `high` are the
    ends of the box, (d,), and `still` says what cannot move.
    """

    begin: torch.Tensor
    length: torch.Tensor
    gain: torch.Tensor
    order: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    still: torch.Tensor | None
    norm: Norm


def rays(answers: Answers, around: Surroundings, keys: torch.Tensor, *, queries: int, width: int) -> Nearest:
    """How near is a wrong answer to each row, as far as so many queries of its label alone can tell.

    After RayS (Chen and Gu 2020): in Linf the nearest wrong answer often lies towards a corner of the box, and whether
    a corner brings it nearer takes one query at a little less than the present radius; only then is the radius
    searched for. The first corner is that towards a known wrong answer; next ones turn round halves, quarters, ...
    of the coordinates, of places near one another in images, at random in vectors. Ours: the share that a turn must
    gain shrinks with the blocks and from round to round; the radius goes down in growing strides before it is halved
    in; in L2 and L1, where few coordinates may move far, every second round puts blocks back instead of turning them;
    and where queries suffice the search starts again, towards another known wrong answer. Every row has its own random
    numbers, from its key (n,) of `keys`. The radius is an upper bound of the distance to the nearest wrong answer.
    Blind where wrong answers fill slices that no path to a corner crosses.
    """
    plan, count = _plan(around), starts(queries, around.x[0].numel())
    point, radius, spent = around.x.clone(), torch.full_like(around.x.flatten(1)[:, 0], torch.inf), 0 * around.y
    for start in range(count):
        rows = (radius > around.enough).nonzero()[:, 0]
        own = keys[rows] if start == 0 else mix(keys[rows] + start)
        share = queries // count + (queries % count if start == 0 else 0)
        found = _search(answers, _of(around, rows, start), plan, own, share, width)
        nearer = found.radius < radius[rows]
        point[rows[nearer]], radius[rows[nearer]] = found.point[nearer], found.radius[nearer]
        spent[rows] += found.queries
    return Nearest(point, radius, spent)


def starts(queries: int, size: int) -> int:
    """From how many starts so many queries search best, of a row of this size: measured on nets and tables."""
    return max(1, queries // max(_BEFORE_ANEW * size, _LEAST_QUERIES))


def _of(around: Surroundings, rows: torch.Tensor, start: int) -> Surroundings:
    """Some rows (m,), and of their known wrong answers the one to start from."""
    away, known = around.x[rows].unsqueeze(0), torch.zeros_like(rows, dtype=torch.bool).unsqueeze(0)
    if start < len(around.away):
        away, known = around.away[start : start + 1, rows], around.known[start : start + 1, rows]
    return replace(around, x=around.x[rows], y=around.y[rows], away=away, known=known)


def _search(
    answers: Answers, around: Surroundings, plan: _Plan, keys: torch.Tensor, queries: int, width: int
) -> Nearest:
    """What one start finds."""
    spent = torch.zeros(len(around.x), dtype=torch.int64, device=around.x.device)

    def admit(rows: torch.Tensor) -> _Rays:
        return _rays(rows, around, keys, plan)

    def advance(lanes: _Rays) -> torch.Tensor:
        _advance(lanes, answers, plan, around)
        spent[lanes.row] = lanes.step
        return lanes.found & (lanes.radius <= around.enough)

    with torch.no_grad():
        left = drive(admit, advance, start=around.x, steps=queries, width=width)
    distance = around.norm.distance((left.point - around.x).flatten(1))
    return Nearest(left.point, torch.where((distance > 0) | left.broken, distance, torch.inf), spent)


def _plan(around: Surroundings) -> _Plan:
    size, device, dtype = around.x[0].numel(), around.x.device, around.x.dtype
    blocks = []
    for level in range(1, max(1, ceil(log2(size))) + 1):
        count, asked = min(2**level, size), max(_GAIN * _FINER ** (level - 1), _LEAST_GAIN)
        # before each level nothing is turned round: the radius of the corner that stands is looked at more closely
        blocks += [(0.0, 0.0, asked)] + [(i / count, (i + 1) / count, asked) for i in range(count)]
    ends = torch.tensor([[ceil(round(share * size, 6)) for share in block[:2]] for block in blocks], device=device)
    gain = torch.tensor([block[2] for block in blocks], device=device, dtype=dtype)
    high = around.top.flatten()
    still = None if around.still is None else around.still.flatten()
    order = orders(tuple(around.x.shape[1:])).to(device)
    return _Plan(ends[:, 0], ends[:, 1] - ends[:, 0], gain, order, torch.zeros_like(high), high, still, around.norm)


def _rays(rows: torch.Tensor, around: Surroundings, keys: torch.Tensor, plan: _Plan) -> _Rays:
    x, away = around.x[rows].flatten(1), around.away[0, rows].flatten(1)
    away = torch.where(around.known[0, rows].unsqueeze(1), away, x)
    coins = uniform(keys[rows], torch.full_like(rows, _COINS), x.shape[1], purpose=_PURPOSE) < 0.5
    corner = _fixed(torch.where((away > x) | ((away == x) & coins), plan.high, plan.low), x, plan)
    fixed = _fixed(away, x, plan)
    known = around.known[0, rows] & (fixed == away).all(1)  # a wrong answer that cannot be gone to is none
    zeros = torch.zeros(len(rows), dtype=x.dtype, device=x.device)
    return _Rays(
        row=rows.clone(),
        step=torch.zeros_like(rows),
        best=torch.where(known.unsqueeze(1), away, x),
        x=x,
        y=around.y[rows],
        key=keys[rows],
        aim=torch.where(known.unsqueeze(1), away, corner),
        corner=corner,
        radius=plan.norm.distance(torch.where(known.unsqueeze(1), away, corner) - x),
        found=known,
        closing=known.clone(),
        floor=zeros,
        stride=zeros + 1,
        turn=-known.long(),
    )


def _fixed(point: torch.Tensor, x: torch.Tensor, plan: _Plan) -> torch.Tensor:
    """Points (n, d) with what cannot move put back."""
    return point if plan.still is None else torch.where(plan.still, x, point)


def _advance(lanes: _Rays, answers: Answers, plan: _Plan, around: Surroundings) -> None:
    """One query of every lane."""
    turn = lanes.turn.clamp_min(0) % len(plan.gain)
    cycle = lanes.turn.clamp_min(0) // len(plan.gain)
    gain = (plan.gain[turn] * _CALMER**cycle).clamp_min(_LEAST_GAIN)
    trial = _corner(lanes, plan, turn, cycle)
    asked = _asked(lanes, gain)
    point = _towards(trial, lanes.x, asked, plan.norm)
    wrong = answers(point.view(-1, *around.x.shape[1:])) != lanes.y
    wrong &= ~(lanes.found & (lanes.radius <= around.enough))
    _learn(lanes, trial, point, wrong, plan.norm.distance(point - lanes.x), asked)
    _go_on(lanes, gain)


def _corner(lanes: _Rays, plan: _Plan, turn: torch.Tensor, cycle: torch.Tensor) -> torch.Tensor:
    """The point of the box (n, d) that each lane goes towards in this query."""
    size = lanes.x.shape[1]
    draw = uniform(lanes.key, cycle, 2, purpose=_PURPOSE)
    place = plan.order[(draw[:, 0] * len(plan.order)).long()]
    shift = (draw[:, 1] * size).long() * (cycle > 0)  # the first round is in order
    behind = place - ((plan.begin[turn] + shift) % size).to(place.dtype).unsqueeze(1)
    length = plan.length[turn].to(place.dtype).unsqueeze(1)
    block = ((behind >= 0) & (behind < length)) | (behind < length - size)
    turned = _fixed(torch.where(lanes.aim > lanes.x, plan.low, plan.high), lanes.x, plan)
    if plan.norm.name != "linf":
        turned = torch.where((cycle % 2 == 1).unsqueeze(1), lanes.x, turned)
    trial = torch.where(block & ~lanes.closing.unsqueeze(1), turned, lanes.aim)
    first = (lanes.turn == 0) & ~lanes.closing
    return torch.where(first.unsqueeze(1), lanes.corner, trial)


def _asked(lanes: _Rays, gain: torch.Tensor) -> torch.Tensor:
    """The radius (n,) to query at."""
    bolder = lanes.radius * (1 - (gain * lanes.stride).clamp_max(_BOLDEST))
    close = torch.where(lanes.floor > 0, (lanes.floor + lanes.radius) / 2, bolder)
    better = torch.where(lanes.found, lanes.radius * (1 - gain), torch.inf)  # until found: the corner itself
    return torch.where(lanes.closing, close, better)


def _towards(aim: torch.Tensor, x: torch.Tensor, radius: torch.Tensor, norm: Norm) -> torch.Tensor:
    """The points (n, d) at this distance (n,) on the way from x to where the aim is (n, d), or there if it is nearer.

    In Linf every coordinate goes at the same pace and stops where it arrives, in other norms the way is straight.
    """
    radius = radius.unsqueeze(1)
    if norm.name == "linf":
        return torch.clamp(aim, x - radius, x + radius)
    far = norm.distance(aim - x).clamp_min(_TINY).unsqueeze(1)
    return torch.lerp(x, aim, (radius / far).clamp_max(1))


def _learn(
    lanes: _Rays,
    trial: torch.Tensor,
    point: torch.Tensor,
    wrong: torch.Tensor,
    reach: torch.Tensor,
    asked: torch.Tensor,
) -> None:
    """Where the answer was wrong (n,) the row has a nearer point; where it was not, a radius was too small."""
    torch.where(wrong.unsqueeze(1), point, lanes.best, out=lanes.best)
    torch.where(wrong.unsqueeze(1), trial, lanes.aim, out=lanes.aim)
    lanes.radius = torch.where(wrong, reach, lanes.radius)
    lanes.floor = torch.where(lanes.closing & ~wrong, asked, lanes.floor)
    lanes.stride = torch.where(wrong, lanes.stride * _STRIDE, lanes.stride)
    lanes.found |= wrong
    lanes.closing |= wrong


def _go_on(lanes: _Rays, gain: torch.Tensor) -> None:
    """A radius known well enough is left, and the next turn comes."""
    lanes.closing &= lanes.radius - lanes.floor > gain * lanes.radius
    lanes.floor = torch.where(lanes.closing, lanes.floor, 0)
    lanes.stride = torch.where(lanes.closing, lanes.stride, 1)
    lanes.turn += ~lanes.closing
    lanes.step += 1
