"""Auto-PGD in the Linf ball: gradient ascent with momentum that halves its own step, on `scores = f(u)`."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import torch

from .losses import margin
from .survivors import Attacked, Lanes, drive, per_row

Model = Callable[[torch.Tensor], torch.Tensor]
RowLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # scores, y, target -> (n,)

_MOMENTUM = 0.75
_RISING = 0.75  # share of a window's steps that must raise the loss, or the step is halved


@dataclass
class _Climbers(Lanes):
    y: torch.Tensor
    target: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    point: torch.Tensor
    previous: torch.Tensor
    best_gradient: torch.Tensor
    size: torch.Tensor
    loss: torch.Tensor
    best_loss: torch.Tensor
    window_loss: torch.Tensor
    rises: torch.Tensor
    halved: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Look:
    loss: torch.Tensor
    gradient: torch.Tensor
    broken: torch.Tensor


@dataclass(frozen=True, eq=False)
class Task:
    """Rows to attack in unit coordinates; points never leave the ball or the box.

    `x` and `start` are (n, *shape), `y` and `target` (n,), `top` (*shape) the upper end of each coordinate
    (the lower is 0), `epsilon` the radius of the ball, `still` (*shape) where a coordinate cannot move at all.
    """

    x: torch.Tensor
    y: torch.Tensor
    target: torch.Tensor
    start: torch.Tensor
    top: torch.Tensor
    epsilon: float
    still: torch.Tensor | None = None

    @property
    def lower(self) -> torch.Tensor:
        """Least value each coordinate may take (n, *shape)."""
        return self._end(-self.epsilon)

    @property
    def upper(self) -> torch.Tensor:
        """Largest value each coordinate may take (n, *shape)."""
        return self._end(self.epsilon)

    def _end(self, way: float) -> torch.Tensor:
        moved = self.x + way if self.still is None else torch.where(self.still, self.x, self.x + way)
        return moved.clamp_min(0).minimum(self.top)


def apgd(model: Model, task: Task, loss: RowLoss, *, steps: int, width: int) -> Attacked:
    """Which rows does Auto-PGD break within so many steps, and where is each row's worst point.

    Croce and Hein 2020, algorithm 1: a first step of 2 epsilon, momentum 0.75, and checkpoints at which a row
    whose loss rose too rarely, or whose best loss stands still, returns to its best point with half the step.
    A row leaves the moment its margin reaches zero. Costs steps + 1 forward and backward passes a standing
    row. Blind where the gradient is: a zero or wrong gradient leaves the start point.
    """
    lower, upper = task.lower, task.upper
    start = task.start.maximum(lower).minimum(upper)
    windows = torch.tensor(_windows(steps), device=start.device)

    def admit(rows: torch.Tensor) -> _Climbers:
        return _climbers(rows, task, lower[rows], upper[rows], start[rows])

    def advance(lanes: _Climbers) -> torch.Tensor:
        seen = _look(model, loss, lanes)
        _remember(lanes, seen)
        gradient = _checkpoint(lanes, seen.gradient, windows)
        _move(lanes, gradient)
        return seen.broken

    return drive(admit, advance, start=start, steps=steps + 1, width=width)


def _windows(steps: int) -> list[int]:
    """For each step, the length of the window that ends there; 0 where none does."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    lengths = [0] * (steps + 1)
    for before, after in pairwise(min(ceil(round(share * steps, 6)), steps) for share in shares):
        if after > before:
            lengths[after] = after - before
    return lengths


def _climbers(
    rows: torch.Tensor, task: Task, lower: torch.Tensor, upper: torch.Tensor, start: torch.Tensor
) -> _Climbers:
    count, device, dtype = len(rows), start.device, start.dtype
    lowest = torch.full((count,), -torch.inf, device=device, dtype=dtype)
    zeros = torch.zeros(count, device=device, dtype=torch.int64)
    return _Climbers(
        row=rows,
        step=zeros,
        best=start,
        y=task.y[rows],
        target=task.target[rows],
        lower=lower,
        upper=upper,
        point=start,
        previous=start,
        best_gradient=torch.zeros_like(start),
        size=torch.full_like(lowest, 2 * task.epsilon),
        loss=-lowest,
        best_loss=lowest,
        window_loss=lowest,
        rises=zeros,
        halved=zeros.bool(),
    )


def _look(model: Model, loss: RowLoss, lanes: _Climbers) -> _Look:
    point = lanes.point.detach().requires_grad_()
    scores = model(point)
    value = loss(scores, lanes.y, lanes.target)
    (gradient,) = torch.autograd.grad(value.sum(), point)
    # a row whose gradient is not a number stays where it is
    return _Look(value.detach(), gradient.sign().nan_to_num(), margin(scores.detach(), lanes.y) <= 0)


def _remember(lanes: _Climbers, seen: _Look) -> None:
    lanes.rises = lanes.rises + (seen.loss > lanes.loss)
    lanes.loss = seen.loss
    better = (seen.loss > lanes.best_loss) | seen.broken
    lanes.best_loss = torch.where(better, seen.loss, lanes.best_loss)
    wide = per_row(better, lanes.point)
    lanes.best = torch.where(wide, lanes.point, lanes.best)
    lanes.best_gradient = torch.where(wide, seen.gradient, lanes.best_gradient)


def _checkpoint(lanes: _Climbers, gradient: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    """Halve the step of rows that climb too slowly, and return them to their best point."""
    window = windows[lanes.step]
    due = window > 0
    stuck = ~lanes.halved & (lanes.best_loss <= lanes.window_loss)
    halve = due & ((lanes.rises < _RISING * window) | stuck)
    lanes.size = torch.where(halve, lanes.size / 2, lanes.size)
    lanes.halved = torch.where(due, halve, lanes.halved)
    lanes.window_loss = torch.where(due, lanes.best_loss, lanes.window_loss)
    lanes.rises = torch.where(due, 0, lanes.rises)
    if not bool(halve.any()):  # most steps: three passes over all points are saved
        return gradient
    wide = per_row(halve, gradient)
    lanes.point = torch.where(wide, lanes.best, lanes.point)
    lanes.previous = torch.where(wide, lanes.best, lanes.previous)
    return torch.where(wide, lanes.best_gradient, gradient)


def _move(lanes: _Climbers, gradient: torch.Tensor) -> None:
    here = lanes.point
    ahead = torch.clamp(torch.addcmul(here, per_row(lanes.size, here), gradient), lanes.lower, lanes.upper)
    share = torch.where(lanes.step == 0, 1.0, _MOMENTUM).to(here.dtype)
    onward = torch.lerp(here - lanes.previous, ahead - here, per_row(share, here))
    lanes.point = torch.clamp(here + onward, lanes.lower, lanes.upper)
    lanes.previous = here
    lanes.step = lanes.step + 1
