"""Search by scores along slopes: where would a linear picture of all scores be worst in the ball; ask there."""

from dataclasses import dataclass, replace

import torch

from .apgd import Model, Task
from .estimate import direction
from .losses import margin
from .norms import L2, Norm
from .survivors import Attacked, Lanes, drive, put_rows

_FAR = 1e3  # radii, so far along a slope that what is nearest to there in the ball is the end of the slope
_L2_ROUNDS = 20
_SHORTER = (0.5, 0.2, 0.05)  # of the way to the end of the best slope, where scores are not linear
_ROUNDS = 3  # at least, where the queries do not allow for as many as there are coordinates
_WORTHWHILE = 0.02  # of the lead, that a round must take off it for another to follow
_TINY = 1e-30
_MOST_NUMBERS = 1 << 25  # of slopes at a time


@dataclass
class _Climbers(Lanes):
    """Rows in flight: points (n, d), the classes aimed at (n, t) and how far the true one leads at `best`."""

    x: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    y: torch.Tensor
    targets: torch.Tensor
    key: torch.Tensor
    lead: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Ask:
    """How rows are asked: `scores` of points (n, d), pairs a round, how far each coordinate goes, and how often."""

    scores: Model
    norm: Norm
    epsilon: float
    pairs: int
    reach: float
    rounds: int


def tangents(
    model: Model, task: Task, targets: torch.Tensor, keys: torch.Tensor, *, queries: int, width: int
) -> Attacked:
    """Which rows break where their scores, drawn as linear functions of the input, say that they are worst.

    A round reads the slope of every score at a row's worst point so far off antithetic pairs of points, along
    orthogonal signs a ball's share away; finds, for each of the classes `targets` (n, t), the point of ball and box at
    which the linear picture is worst; and asks there and on the way to the best of them (Frank and Wolfe 1956, with
    slopes as in Wierstra et al. 2014). With as many pairs as coordinates, one round is exact on linear models, in all
    three norms. A row that a round brought next to nothing leaves: its scores have no slope to go by. At most
    `queries` forward passes a row. Blind on plateaus, and poor where coordinates are many more than queries.
    """
    shape, count = task.x.shape, targets.shape[1]
    start, lower, upper, x = (t.flatten(1) for t in (task.inside(task.start), task.lower, task.upper, task.x))
    pairs, rounds = _share_out(queries, x.shape[1], count)
    norm = L2(_L2_ROUNDS) if task.norm.name == "l2" else task.norm
    reach = task.norm.share(task.epsilon, x.shape[1])
    ask = _Ask(lambda u: model(u.view(-1, *shape[1:])), norm, task.epsilon, pairs, reach, rounds)

    def admit(rows: torch.Tensor) -> _Climbers:
        lead = torch.full((len(rows),), torch.inf, device=x.device, dtype=x.dtype)
        ends = x[rows], lower[rows], upper[rows]
        step = torch.zeros_like(rows)
        return _Climbers(rows.clone(), step, start[rows], *ends, task.y[rows], targets[rows], keys[rows], lead)

    def advance(lanes: _Climbers) -> torch.Tensor:
        return _advance(lanes, ask)

    width = max(1, min(width, _MOST_NUMBERS // (x.shape[1] * (count + 1))))
    with torch.no_grad():
        left = drive(admit, advance, start=start, steps=rounds, width=width)
    return replace(left, point=left.point.view(shape))


def _share_out(queries: int, size: int, targets: int) -> tuple[int, int]:
    """Pairs of points a round, and rounds, of so many queries: as many pairs as coordinates if that can be paid."""
    every, ends = 1 << max(size - 1, 1).bit_length(), 1 + targets + len(_SHORTER)
    pairs = min(every, max((queries - ends) // 2, 1) if 2 * every + ends <= queries else queries // (2 * _ROUNDS))
    pairs = max(pairs, 1)
    return pairs, max(queries // (2 * pairs + ends), 1)


def _advance(lanes: _Climbers, ask: _Ask) -> torch.Tensor:
    """One round of every lane; says which have been broken so far (n,)."""
    if 0 in lanes.ages:
        lanes.lead = torch.where(lanes.step == 0, _lead(ask.scores(lanes.best), lanes), lanes.lead)
    before = lanes.lead.clone()
    rise = _rises(lanes, ask)
    ends, origin = _ends(lanes, rise, ask), lanes.best.clone()
    leads = torch.stack([_take(lanes, end, ask) for end in ends.unbind(1)], 1)
    nearest = leads.argmin(1).view(-1, 1, 1).expand(-1, 1, ends.shape[2])
    way = ends.gather(1, nearest).squeeze(1)
    for share in _SHORTER:
        _take(lanes, torch.lerp(origin, way, share), ask)
    lanes.step += 1
    poor = lanes.lead > before - _WORTHWHILE * before.abs()
    lanes.step = torch.where(poor, ask.rounds, lanes.step)
    return lanes.lead <= 0


def _rises(lanes: _Climbers, ask: _Ask) -> torch.Tensor:
    """How fast each class aimed at gains on the true one, coordinate by coordinate: (n, t, d)."""
    u, size = lanes.best, lanes.best.shape[1]
    rise = u.new_zeros(len(u), lanes.targets.shape[1], size)
    length = torch.zeros_like(u)
    free = (lanes.upper > lanes.lower).to(u.dtype)
    for pair in range(ask.pairs):
        step = ask.reach * direction(lanes.key + lanes.step, pair, size).to(u.dtype) * free
        above, below = (u + step).clamp(0, 1), (u - step).clamp(0, 1)
        both = ask.scores(torch.cat([above, below])).nan_to_num()
        gap = both[: len(u)] - both[len(u) :]
        gain = gap.gather(1, lanes.targets) - gap.gather(1, lanes.y.unsqueeze(1))
        moved = above - below
        rise.addcmul_(gain.unsqueeze(2).to(u.dtype), moved.unsqueeze(1))
        length.addcmul_(moved, moved)
    return rise / length.clamp_min(1e-12).unsqueeze(1)


def _ends(lanes: _Climbers, rise: torch.Tensor, ask: _Ask) -> torch.Tensor:
    """For each class aimed at, the point (n, t, d) of ball and box at which it gains most."""
    n, t, d = rise.shape
    x, lower, upper = (v.unsqueeze(1).expand(n, t, d).reshape(-1, d) for v in (lanes.x, lanes.lower, lanes.upper))
    slope = rise.reshape(-1, d)
    far = x + _FAR * slope / slope.abs().amax(1, keepdim=True).clamp_min(_TINY)
    return ask.norm.project_(far, x, ask.epsilon, lower, upper).view(n, t, d)


def _take(lanes: _Climbers, point: torch.Tensor, ask: _Ask) -> torch.Tensor:
    """Ask at a point (n, d), and go there where that is worse for the row; returns the lead there (n,)."""
    lead = _lead(ask.scores(point), lanes)
    better = (lead < lanes.lead) & (lanes.lead > 0)
    put_rows(better, (point, lanes.best))
    lanes.lead = torch.where(better, lead, lanes.lead)
    return lead


def _lead(scores: torch.Tensor, lanes: _Climbers) -> torch.Tensor:
    return margin(scores, lanes.y).to(lanes.lead.dtype)
