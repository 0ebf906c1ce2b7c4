"""Auto-PGD in the Linf and L2 balls: gradient ascent with momentum that halves its own step, on `scores = f(u)`."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import torch

from .losses import margin
from .norms import LINF, Norm
from .survivors import Attacked, Lanes, drive, put_rows, tiles

Model = Callable[[torch.Tensor], torch.Tensor]
RowLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # scores, y, target -> (n,)

_MOMENTUM = 0.75
_RISING = 0.75  # share of a window's steps that must raise the loss, or the step is halved


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
    norm: Norm = LINF

    @property
    def lower(self) -> torch.Tensor:
        """Least value each coordinate may take (n, *shape), the others left alone."""
        return self._end(-self.epsilon)

    @property
    def upper(self) -> torch.Tensor:
        """Largest value each coordinate may take (n, *shape), the others left alone."""
        return self._end(self.epsilon)

    def _end(self, way: float) -> torch.Tensor:
        moved = self.x + way if self.still is None else torch.where(self.still, self.x, self.x + way)
        return moved.clamp_min(0).minimum(self.top)

    def inside(self, u: torch.Tensor) -> torch.Tensor:
        """Points u (n, *shape) brought into ball and box."""
        flat = [t.flatten(1) for t in (self.x, self.lower, self.upper)]
        return self.norm.project_(u.flatten(1).clone(), flat[0], self.epsilon, *flat[1:]).view_as(u)


@dataclass
class Climbers(Lanes):
    """Rows on their way up: points are (n, d), `hit` says which have been broken.

    `slope` is the gradient at the last point looked at. Where that point is the best so far (`fresh`) it is not copied:
    it is read off `previous`, and written to `best` only once a worse point has followed.
    """

    y: torch.Tensor
    target: torch.Tensor
    x: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    point: torch.Tensor
    previous: torch.Tensor
    slope: torch.Tensor
    best_gradient: torch.Tensor
    size: torch.Tensor
    loss: torch.Tensor
    best_loss: torch.Tensor
    window_loss: torch.Tensor
    rises: torch.Tensor
    halved: torch.Tensor
    hit: torch.Tensor
    fresh: torch.Tensor

    @classmethod
    def of(
        cls, rows: torch.Tensor, task: Task, ends: tuple[torch.Tensor, torch.Tensor], start: torch.Tensor
    ) -> "Climbers":
        """The lanes of these rows (n,) of a task, whose ends and start (N, d) are given."""
        first, count = start[rows], len(rows)
        lowest = torch.full((count,), -torch.inf, device=start.device, dtype=start.dtype)
        zeros = torch.zeros(count, device=start.device, dtype=torch.int64)
        return cls(
            row=rows.clone(),
            step=zeros,
            best=first,
            y=task.y[rows],
            target=task.target[rows],
            x=task.x[rows].flatten(1),
            lower=ends[0][rows],
            upper=ends[1][rows],
            point=first.clone(),
            previous=first.clone(),
            slope=torch.zeros_like(first),
            best_gradient=torch.zeros_like(first),
            size=torch.zeros_like(lowest),
            loss=-lowest,
            best_loss=lowest,
            window_loss=lowest.clone(),
            rises=zeros.clone(),
            halved=zeros.bool(),
            hit=zeros.bool(),
            fresh=zeros.bool(),
        )

    def worst(self, lanes: torch.Tensor) -> torch.Tensor:
        """The best points (k, d) of the lanes with these indices (k,), after a step."""
        return torch.where(self.fresh[lanes].unsqueeze(1), self.previous[lanes], self.best[lanes])

    def look(self, model: Model, loss: RowLoss, shape: torch.Size) -> None:
        """Where does each row stand: its loss, whether it is broken, and its slope."""
        point = self.point.view(-1, *shape).detach().requires_grad_()
        scores = model(point)
        value = loss(scores, self.y, self.target)
        (gradient,) = torch.autograd.grad(value.sum(), point)
        better = self._judge(value.detach(), margin(scores.detach(), self.y) <= 0)
        put_rows(self.fresh & ~better, (self.previous, self.best), (self.slope, self.best_gradient))
        self.slope, self.fresh = gradient.flatten(1).contiguous(), better

    def _judge(self, loss: torch.Tensor, broken: torch.Tensor) -> torch.Tensor:
        """Count what rose; returns which rows (n,) are at their best point so far."""
        self.rises += loss > self.loss
        better = ((loss > self.best_loss) | broken) & ~self.hit
        self.hit |= broken
        self.loss = loss
        torch.where(better, loss, self.best_loss, out=self.best_loss)
        return better

    def back(self, which: torch.Tensor) -> None:
        """Return some rows (n,) to their best point and its slope, without momentum."""
        put_rows(which & ~self.fresh, (self.best, self.point), (self.best_gradient, self.slope))
        put_rows(which, (self.point, self.previous))

    def onward(self) -> None:
        """The step is done: what was written over `previous` is the point, and the point the previous one."""
        self.point, self.previous = self.previous, self.point
        self.step += 1


def apgd(model: Model, task: Task, loss: RowLoss, *, steps: int, width: int) -> Attacked:
    """Which rows does Auto-PGD break within so many steps, and where is each row's worst point.

    Croce and Hein 2020, algorithm 1: a first step of 2 epsilon, momentum 0.75, and checkpoints at which a row
    whose loss rose too rarely, or whose best loss stands still, returns to its best point with half the step.
    A row leaves the moment its margin reaches zero. Costs steps + 1 forward and backward passes a standing
    row. Blind where the gradient is: a zero or wrong gradient leaves the start point. Norms: Linf and L2.
    """
    shape, windows = task.x.shape[1:], _windows(steps)
    lengths = torch.tensor(windows, device=task.x.device)
    ends = task.lower.flatten(1), task.upper.flatten(1)
    start = task.inside(task.start)

    def admit(rows: torch.Tensor) -> Climbers:
        lanes = Climbers.of(rows, task, ends, start.flatten(1))
        lanes.size += 2 * task.epsilon
        return lanes

    def advance(lanes: Climbers) -> torch.Tensor:
        lanes.look(model, loss, shape)
        if any(windows[age] for age in lanes.ages):
            _checkpoint(lanes, lengths)
        _move(lanes, task)
        return lanes.hit

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


def _checkpoint(lanes: Climbers, windows: torch.Tensor) -> None:
    """Halve the step of rows that climb too slowly, and return them to their best point."""
    window = windows[lanes.step]
    due = window > 0
    stuck = ~lanes.halved & (lanes.best_loss <= lanes.window_loss)
    halve = due & ((lanes.rises < _RISING * window) | stuck)
    lanes.size = torch.where(halve, lanes.size / 2, lanes.size)
    lanes.halved = torch.where(due, halve, lanes.halved)
    lanes.window_loss = torch.where(due, lanes.best_loss, lanes.window_loss)
    lanes.rises = torch.where(due, 0, lanes.rises)
    lanes.back(halve)


def _move(lanes: Climbers, task: Task) -> None:
    """One step with momentum.

    To here + share (ahead - here) + (1 - share) (here - previous), where a row's first step has a share of 1.
    """
    share = torch.where(lanes.step == 0, 1.0, _MOMENTUM).to(lanes.point.dtype) if 0 in lanes.ages else None
    for rows in tiles(lanes.point):
        x, lower, upper, here = (t[rows] for t in (lanes.x, lanes.lower, lanes.upper, lanes.point))
        way = task.norm.direction_(lanes.slope[rows].clone())
        ahead = torch.addcmul(here, way, lanes.size[rows].unsqueeze(1), out=way)
        task.norm.project_(ahead, x, task.epsilon, lower, upper)
        onward = lanes.previous[rows].lerp_(here, 2.0)
        onward.lerp_(ahead, _MOMENTUM if share is None else share[rows].unsqueeze(1))
        task.norm.contain_(onward, x, task.epsilon, lower, upper)
    lanes.onward()
