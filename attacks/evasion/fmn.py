"""Fast minimum-norm attack: how near is the nearest point that breaks a row, on `scores = f(u)`; torch only."""

from dataclasses import dataclass
from math import cos, pi

import torch

from .apgd import Model, Task
from .losses import lead_away, margin, towards
from .norms import Norm
from .survivors import Attacked, Lanes, drive, per_row, put_rows

_SHRINK = (0.05, 0.001)  # of the radius a step: at first, and at last
_STRIDE = (1.0, 0.01)  # of the radius
_AIMED = 0.3  # of the steps go to the row's target, until the first success
_WIDER = 2.0  # where the slope says nothing of how far it is
_HALVINGS = 10
_PATIENCE = 10  # steps without a notable gain, after which a row is left at its best
_NOTABLE = 0.99  # of the shortest move that was notable before
_TINY = 1e-30


@dataclass
class Shrinkers(Lanes):
    """Rows whose ball shrinks while they are broken and grows while they are not; points are (n, d)."""

    y: torch.Tensor
    target: torch.Tensor
    x: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    point: torch.Tensor
    radius: torch.Tensor
    length: torch.Tensor  # of the shortest move that broke the row so far; inf without one
    mark: torch.Tensor  # the length when it last fell notably
    idle: torch.Tensor  # steps since then

    @classmethod
    def of(cls, rows: torch.Tensor, task: Task, ends: tuple[torch.Tensor, torch.Tensor]) -> "Shrinkers":
        """The lanes of these rows (n,) of a task, whose ends (N, d) are given: from the clean row, without a radius."""
        x = task.x[rows].flatten(1)
        endless = torch.full((len(rows),), torch.inf, device=x.device, dtype=x.dtype)
        return cls(
            row=rows.clone(),
            step=torch.zeros(len(rows), device=x.device, dtype=torch.int64),
            best=x.clone(),
            y=task.y[rows],
            target=task.target[rows],
            x=x,
            lower=ends[0][rows],
            upper=ends[1][rows],
            point=x.clone(),
            radius=torch.zeros_like(endless),
            length=endless,
            mark=endless.clone(),
            idle=torch.zeros(len(rows), device=x.device, dtype=torch.int64),
        )

    @property
    def settled(self) -> torch.Tensor:
        """Which rows (n,) are broken, and not notably nearer for so long that more steps would be wasted."""
        return self.length.isfinite() & (self.idle >= _PATIENCE)


def fmn(model: Model, task: Task, *, steps: int, width: int) -> Attacked:
    """How near can each row be broken: the nearest broken point found, and whether there was one.

    Pintor et al. 2021: a row's ball shrinks by a share while its point is broken and grows while it is not; before
    the first success its radius is the distance at which a linear model would be broken. A step goes up the lead of
    the best other class, then onto the edge of ball and box. Shares and steps fall along a cosine. Ours: steps are
    shares of the radius, not of the range, so that neither norm nor size of the input matters; and at last the way back
    to the clean row is halved ten times. A row whose distance has not fallen by 1 % in ten steps is left at that.
    `task.epsilon` is the largest radius. Costs at most steps + 1 forward and backward passes a row, and ten forwards.
    Blind where the gradient is: a zero or wrong one leads nowhere.
    """
    shape, ends = task.x.shape[1:], (task.lower.flatten(1), task.upper.flatten(1))
    shrink, stride = (_falling(*pair, steps, task.x) for pair in (_SHRINK, _STRIDE))

    def advance(lanes: Shrinkers) -> torch.Tensor:
        lead, gradient, broken = _look(model, lanes, shape, round(_AIMED * steps))
        _judge(lanes, task.norm, broken)
        _resize(lanes, lead, broken, task, task.norm.dual(gradient), shrink[lanes.step])
        _move(lanes, gradient, task.norm, stride[lanes.step])
        lanes.step += 1
        return lanes.settled | (lanes.length.isfinite() & (lanes.step > steps))

    left = drive(lambda rows: Shrinkers.of(rows, task, ends), advance, start=task.x, steps=steps + 1, width=width)
    return Attacked(shortened(model, task.x, left.point, task.y, width=width), left.broken)


def shortened(
    model: Model, x: torch.Tensor, point: torch.Tensor, y: torch.Tensor, *, width: int, halvings: int = _HALVINGS
) -> torch.Tensor:
    """Points (n, *shape) drawn towards the clean rows x (n, *shape) as far as they stay broken.

    A bisection of the straight way between them, which may cross more borders than one: what it returns is broken, not
    the nearest such point. A point that is not broken stays where it is. Costs a forward pass a halving and row.
    """
    parts = [slice(at, at + width) for at in range(0, len(x), width)]
    with torch.no_grad():
        found = [_halved(model, x[part], point[part], y[part], halvings) for part in parts]
    return torch.cat(found) if found else point


def _halved(model: Model, x: torch.Tensor, point: torch.Tensor, y: torch.Tensor, halvings: int) -> torch.Tensor:
    high, width = point.new_ones(len(x)), 0.5
    best, move = point.clone(), point - x
    for _ in range(halvings):
        tried = x + per_row(high - width, x) * move
        broken = margin(model(tried), y) <= 0
        best = torch.where(per_row(broken, best), tried, best)
        high = torch.where(broken, high - width, high)
        width /= 2
    return best


def _falling(first: float, last: float, steps: int, like: torch.Tensor) -> torch.Tensor:
    """A value for each of steps + 1 steps, from first to last along half a cosine."""
    values = [last + (first - last) * (1 + cos(pi * i / max(steps, 1))) / 2 for i in range(steps + 1)]
    return torch.tensor(values, device=like.device, dtype=like.dtype)


def _look(
    model: Model, lanes: Shrinkers, shape: torch.Size, aimed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The lead (n,) still to be overcome, how it falls fastest (n, d), and which points are broken (n,)."""
    point = lanes.point.view(-1, *shape).detach().requires_grad_()
    scores = model(point)
    first = lanes.length.isinf() & (lanes.step < aimed)
    gain = torch.where(first, towards(scores, lanes.y, lanes.target), lead_away(scores, lanes.y, lanes.y))
    (gradient,) = torch.autograd.grad(gain.sum(), point)
    return -gain.detach(), gradient.flatten(1).nan_to_num(0, 0, 0).contiguous(), margin(scores.detach(), lanes.y) <= 0


def _judge(lanes: Shrinkers, norm: Norm, broken: torch.Tensor) -> None:
    """Keep the points that broke their row nearer than any before."""
    length = norm.distance(lanes.point - lanes.x)
    better = broken & (length < lanes.length) & ~lanes.settled  # whenever it is that the device is asked
    put_rows(better, (lanes.point, lanes.best))
    lanes.length = torch.where(better, length, lanes.length)
    nearer = lanes.length < _NOTABLE * lanes.mark
    lanes.mark = torch.where(nearer, lanes.length, lanes.mark)
    lanes.idle = torch.where(nearer, 0, lanes.idle + lanes.length.isfinite())


def _resize(
    lanes: Shrinkers, lead: torch.Tensor, broken: torch.Tensor, task: Task, steepness: torch.Tensor, share: torch.Tensor
) -> None:
    """The radius of each row's next ball."""
    length = task.norm.distance(lanes.point - lanes.x)
    foretold = (length + lead / steepness) * (1 + share)  # over the border, not onto it
    wider = (lanes.radius * _WIDER).clamp_min(task.epsilon * _SHRINK[1])
    unbroken = torch.where((steepness > _TINY) & foretold.isfinite(), foretold, wider)
    inside = torch.minimum(lanes.radius, lanes.length) * (1 - share)
    outside = torch.minimum(lanes.radius * (1 + share), lanes.length)
    found = torch.where(broken, inside, outside)
    lanes.radius = torch.where(lanes.length.isinf(), unbroken, found).clamp_max(task.epsilon)


def _move(lanes: Shrinkers, gradient: torch.Tensor, norm: Norm, share: torch.Tensor) -> None:
    """A step up the lead of the best other class, and onto the edge of ball and box."""
    radius = lanes.radius.unsqueeze(1)
    ahead = torch.addcmul(lanes.point, share.unsqueeze(1) * radius, _way(gradient, norm))
    lower, upper = lanes.lower, lanes.upper
    if norm.name == "linf":  # this norm's ball is in the ends
        lower, upper = torch.maximum(lower, lanes.x - radius), torch.minimum(upper, lanes.x + radius)
    lanes.point = norm.project_(ahead, lanes.x, lanes.radius, lower, upper)


def _way(gradient: torch.Tensor, norm: Norm) -> torch.Tensor:
    """The direction of a step (n, d): in L1 the gradient's own, which the projection then makes sparse."""
    if norm.name != "l1":
        return norm.direction_(gradient)
    return gradient / gradient.abs().amax(1, keepdim=True).clamp_min(_TINY)
