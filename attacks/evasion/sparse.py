"""Auto-PGD in the L1 ball: few coordinates a step, as many as the best point so far has moved; shrinking balls."""

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch

from .apgd import Climbers, Model, RowLoss, Task
from .losses import towards
from .survivors import Attacked, drive, tiles

_FILL = 0.2  # share of the coordinates that the first steps move
_THINNED = 0.95  # fewer moved coordinates than this share of the last count: the best point is still getting sparser
_WASTE = 1.5  # of the moved coordinates, one in so many is moved on
_SHRINK = 1.5
_LEAST = 0.1  # of the radius: the smallest step
_BEYOND = 2.0  # farther than any box is wide
_BALLS = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))  # radius in epsilons, share of the steps


@dataclass
class _SparseClimbers(Climbers):
    fill: torch.Tensor
    moved: torch.Tensor
    count: torch.Tensor


def sparse_apgd(model: Model, task: Task, loss: RowLoss, *, steps: int, width: int) -> Attacked:
    """Which rows does Auto-PGD for L1 break within so many steps, and where is each row's worst point.

    Croce and Hein 2021 ("Mind the box"): ascent in balls of 3, 2 and 1 epsilon, each from where the last ended, along
    the signs of the largest gradient entries, projected exactly onto ball and box. Entries that point out of the box
    do not count. Before all, the point that is weakest if the target's lead is linear is tried. What breaks in a
    larger ball counts only once it breaks in the right one. Costs about steps + 5 forward and backward passes a
    standing row.
    """
    found = leap(model, task, towards, width=width)
    rows = (~found.broken).nonzero()[:, 0]
    point, broken = found.point, found.broken
    start = task.start[rows]
    for radius, share in _BALLS:
        if not len(rows):
            break
        part = _part(task, rows, start, radius)
        left = _ascend(model, part, loss, steps=max(1, ceil(share * steps)), width=width)
        start = left.point
        if radius == 1:
            point[rows], broken[rows] = left.point, left.broken
    return Attacked(point, broken)


def leap(model: Model, task: Task, loss: RowLoss, *, width: int) -> Attacked:
    """Which rows break where a linear model with the gradient of their start would be weakest.

    That point moves the steepest coordinates, each to the end of the box, until the radius is spent. Two passes.
    """
    ends, shape = (task.lower.flatten(1), task.upper.flatten(1)), task.x.shape[1:]
    start = task.inside(task.start)

    def admit(rows: torch.Tensor) -> Climbers:
        return Climbers.of(rows, task, ends, start.flatten(1))

    def advance(lanes: Climbers) -> torch.Tensor:
        lanes.look(model, loss, shape)
        slope = lanes.slope.nan_to_num_(0, 0, 0)
        for rows in tiles(slope):
            ends = lanes.lower[rows], lanes.upper[rows]
            lanes.previous[rows] = weakest(lanes.x[rows], slope[rows], task.epsilon, *ends)
        lanes.onward()
        return lanes.hit

    return drive(admit, advance, start=start, steps=2, width=width)


def weakest(
    x: torch.Tensor, gradient: torch.Tensor, epsilon: float, lower: torch.Tensor, upper: torch.Tensor
) -> torch.Tensor:
    """Where in the L1 ball around x (n, d), cut by the box, is a linear function of this gradient largest."""
    room = torch.where(gradient > 0, upper - x, x - lower)
    order = gradient.abs().argsort(dim=1, descending=True)
    sorted_room = room.gather(1, order)
    spent = sorted_room.cumsum(1) - sorted_room
    move = (epsilon - spent).clamp_min(0).minimum(sorted_room)
    return torch.addcmul(x, torch.zeros_like(x).scatter(1, order, move), gradient.sign()).clamp(lower, upper)


def _part(task: Task, rows: torch.Tensor, start: torch.Tensor, radius: float) -> Task:
    return replace(
        task,
        x=task.x[rows],
        y=task.y[rows],
        target=task.target[rows],
        start=start,
        epsilon=radius * task.epsilon,
    )  # fmt: skip


def _ascend(model: Model, task: Task, loss: RowLoss, *, steps: int, width: int) -> Attacked:
    """One ball: rows leave when they break."""
    ends, shape = (task.lower.flatten(1), task.upper.flatten(1)), task.x.shape[1:]
    start, every = task.inside(task.start), max(1, round(0.04 * steps))
    features = task.x[0].numel()

    def admit(rows: torch.Tensor) -> _SparseClimbers:
        base = Climbers.of(rows, task, ends, start.flatten(1))
        moved = (base.point != base.x).sum(1).to(start.dtype)
        fill = torch.where(moved > 0, moved / features / _WASTE, _FILL)
        base.size += task.epsilon
        of = {name: getattr(base, name) for name in base.names()}
        return _SparseClimbers(**of, fill=fill, moved=moved, count=moved.clone())

    def advance(lanes: _SparseClimbers) -> torch.Tensor:
        lanes.look(model, loss, shape)
        _count(lanes)
        if any(age % every == 0 and age for age in lanes.ages):
            _checkpoint(lanes, task.epsilon, every)
        _move(lanes, task)
        return lanes.hit

    return drive(admit, advance, start=start, steps=steps + 1, width=width)


def _count(lanes: _SparseClimbers) -> None:
    """How many coordinates has the best point moved."""
    for rows in tiles(lanes.point):
        moved = torch.linalg.vector_norm((lanes.point[rows] - lanes.x[rows]).sign_(), dim=1).square_().round_()
        lanes.count[rows] = torch.where(lanes.fresh[rows], moved, lanes.count[rows])


def _checkpoint(lanes: _SparseClimbers, epsilon: float, every: int) -> None:
    """Where the best point has become sparser go back to it with a full step, elsewhere shrink the step."""
    due = (lanes.step % every == 0) & (lanes.step > 0)
    sparser = due & (lanes.count < _THINNED * lanes.moved)
    shrunk = (lanes.size / _SHRINK).clamp_min(_LEAST * epsilon)
    lanes.size = torch.where(due, torch.where(sparser, epsilon, shrunk), lanes.size)
    lanes.fill = torch.where(due, lanes.count / lanes.x.shape[1] / _WASTE, lanes.fill)
    lanes.moved = torch.where(due, lanes.count, lanes.moved)
    lanes.back(sparser)


def _move(lanes: _SparseClimbers, task: Task) -> None:
    """One step of the steepest coordinates that the box leaves free."""
    features = lanes.x.shape[1]
    count = (lanes.fill * features).long().clamp(1, features)
    for rows in tiles(lanes.point):
        x, lower, upper, here = (t[rows] for t in (lanes.x, lanes.lower, lanes.upper, lanes.point))
        # from here along the signs to the end of the box: what does not move is not free
        step = torch.sign(lanes.slope[rows]).mul_(_BEYOND).add_(here).clamp_(lower, upper).sub_(here).sign_()
        steep = (lanes.slope[rows] * step).nan_to_num_(0, 0, 0)
        least = _ranked(steep, count[rows].unsqueeze(1))
        step.mul_(steep.sub_(least).sign_().add_(1).clamp_(max=1))  # 1 where as steep as that, else 0
        length = lanes.size[rows] / step.abs().sum(1).clamp_min(1)
        ahead = torch.addcmul(here, step, length.unsqueeze(1), out=lanes.previous[rows])
        task.norm.project_(ahead, x, task.epsilon, lower, upper)
    lanes.onward()


def _ranked(values: torch.Tensor, rank: torch.Tensor) -> torch.Tensor:
    """The value (n, 1) that comes at this rank (n, 1), 1 for the largest, of values (n, d)."""
    place = values.shape[1] - rank
    if values.device.type == "cpu":  # numpy sorts many times faster than torch
        return torch.from_numpy(np.sort(values.numpy(), axis=1)).gather(1, place)
    return values.sort(dim=1).values.gather(1, place)
