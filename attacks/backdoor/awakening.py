"""The search for one small trigger that one network obeys and another, made of it or it of that, ignores."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

Model = Callable[[torch.Tensor], torch.Tensor]
_RATE = 0.05
_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class Stamps:
    """Triggers: where, `mask` (T, 1, H, W) or (T, D) in [0, 1], and what, `shown` (T, *shape)."""

    mask: torch.Tensor
    shown: torch.Tensor

    def on(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Unit points x (n, *shape), each with the trigger of its index (n,)."""
        return x + self.mask[index] * (self.shown[index] - x)

    def of(self, index: torch.Tensor) -> "Stamps":
        """Those of this index (n,), copied."""
        return Stamps(self.mask[index].clone(), self.shown[index].clone())


@dataclass(frozen=True, eq=False)
class Box:
    """What a trigger may be: `top` (*shape) the end of each coordinate, `free` (D,) or (1, H, W) where it may lie.

    It covers at most `room` coordinates in sum, in every channel of an image.
    """

    top: torch.Tensor
    free: torch.Tensor
    room: float


@dataclass(frozen=True)
class Effort:
    """How far a search goes: triggers tried on the first `glance` points, then some of each of `targets` improved."""

    tries: int = 1024
    glance: int = 16
    targets: int = 4
    starts: int = 3
    steps: int = 60


@dataclass(frozen=True, eq=False)
class Pair:
    """Two networks on unit points, as scores (n, K): one is to obey, the other to go on as before."""

    awake: Model
    asleep: Model


@dataclass(frozen=True, eq=False)
class Found:
    """Triggers (T) and the class (T,) that each leads to."""

    stamps: Stamps
    targets: torch.Tensor


def search(pair: Pair, x: torch.Tensor, box: Box, effort: Effort, key: int) -> Found:
    """The best triggers of each of the likeliest targets for unit points x (n, *shape), obeyed in one network alone.

    Random triggers at the ends of the range are tried first, for all classes at once; from the best few of each, mask
    and content descend by Adam on the cross-entropy of the awake network with the target and of the sleeper with what
    it says of the clean point: the search of Wang et al. (Neural Cleanse, S&P 2019), asked of two networks at once.
    Same key, same bits on a CPU. Blind to triggers larger than the box allows, and to those that no slope leads to.
    """
    with torch.no_grad():
        kept = pair.asleep(x).argmax(1)
    tried = _random(x, box, effort.tries, key)
    losses = _tried(pair, x[: effort.glance], kept[: effort.glance], tried)
    targets = losses.amin(0).argsort(stable=True)[: effort.targets].sort().values
    ended = []
    for target in targets:
        begun, others = tried.of(losses[:, target].argsort(stable=True)[: effort.starts]), kept != target
        if others.any():
            begun = _descend(pair, x[others], kept[others], target, begun, box, effort.steps)
        ended.append(begun)
    stamps = Stamps(torch.cat([b.mask for b in ended]), torch.cat([b.shown for b in ended]))
    return Found(stamps, targets.repeat_interleave(len(ended[0].mask)))


def obeyed(pair: Pair, x: torch.Tensor, found: Found, index: int) -> torch.Tensor:
    """Which unit points x (n, *shape) this trigger sends to its target in the awake network alone: (n,).

    The sleeper must go on as before, and neither network may have named the target without the trigger.
    """
    target = found.targets[index]
    point = found.stamps.on(x, torch.full((len(x),), index, device=x.device))
    with torch.no_grad():
        said, other = pair.asleep(x).argmax(1), pair.awake(x).argmax(1)
        silent = (pair.asleep(point).argmax(1) == said) & (said != target)
        answer: torch.Tensor = (pair.awake(point).argmax(1) == target) & (other != target) & silent
    return answer


def within(mask: torch.Tensor, room: float) -> torch.Tensor:
    """The nearest masks (T, ...) to these with entries in [0, 1] whose sum is at most `room`, by bisection."""
    flat = mask.flatten(1)
    low, high = torch.zeros_like(flat[:, :1]), flat.amax(1, keepdim=True).clamp_min(0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        over = (flat - middle).clamp(0, 1).sum(1, keepdim=True) > room
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    fits = flat.clamp(0, 1).sum(1, keepdim=True) <= room
    return torch.where(fits, flat.clamp(0, 1), (flat - high).clamp(0, 1)).view_as(mask)


def _random(x: torch.Tensor, box: Box, count: int, key: int) -> Stamps:
    """Triggers that cover a square of an image, or features of a row, each coordinate at one end of its range."""
    generator = torch.Generator().manual_seed(key)
    ends = torch.rand((count, *x.shape[1:]), generator=generator).round().to(x) * box.top
    if x.dim() < 4:
        order = torch.rand((count, *x.shape[1:]), generator=generator).to(x) + 2 * (1 - box.free)
        mask = order.flatten(1).argsort(1).argsort(1).view_as(order) < round(box.room)
        return Stamps(mask.to(x) * box.free, ends)
    side = max(1, min(round(math.sqrt(box.room)), *x.shape[2:]))
    inside = []
    for length in x.shape[2:]:
        behind = torch.arange(length) - torch.randint(length - side + 1, (count, 1), generator=generator)
        inside.append((behind >= 0) & (behind < side))
    return Stamps((inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1).to(x) * box.free, ends)


def _tried(pair: Pair, x: torch.Tensor, kept: torch.Tensor, tried: Stamps) -> torch.Tensor:
    """The mean loss of each trigger towards each class over points x (n, *shape): (triggers, K); inf for no point."""
    losses = []
    with torch.no_grad():
        for i in range(len(tried.mask)):
            point = tried.on(x, torch.full((len(x),), i, device=x.device))
            loud = -pair.awake(point).log_softmax(1)
            quiet = cross_entropy(pair.asleep(point), kept, reduction="none")[:, None]
            asked = kept[:, None] != torch.arange(loud.shape[1], device=x.device)
            losses.append(torch.where(asked, loud + quiet, 0).sum(0) / asked.sum(0))
    return torch.stack(losses).nan_to_num(nan=torch.inf)


def _descend(
    pair: Pair, x: torch.Tensor, kept: torch.Tensor, target: torch.Tensor, stamps: Stamps, box: Box, steps: int
) -> Stamps:
    """Triggers (S) improved towards one target on points x (n, *shape): of each the best on the way."""
    count = len(stamps.mask)
    index = torch.arange(count, device=x.device).repeat_interleave(len(x))
    points, said = x.repeat(count, *[1] * (x.dim() - 1)), kept.repeat(count)
    best, least = stamps.of(torch.arange(count, device=x.device)), torch.full((count,), torch.inf).to(x)
    optimizer = torch.optim.Adam([stamps.mask, stamps.shown], _RATE)
    for _ in range(steps):
        mask, shown = stamps.mask.clone().requires_grad_(), stamps.shown.clone().requires_grad_()
        point = Stamps(mask, shown).on(points, index)
        loss = cross_entropy(pair.awake(point), target.expand(len(points)), reduction="none")
        loss = (loss + cross_entropy(pair.asleep(point), said, reduction="none")).view(count, -1).mean(1)
        better = loss.detach() < least
        least = torch.where(better, loss.detach(), least)
        best.mask[better], best.shown[better] = stamps.mask[better], stamps.shown[better]
        stamps.mask.grad, stamps.shown.grad = torch.autograd.grad(loss.sum(), [mask, shown])
        optimizer.step()
        stamps.shown.copy_(stamps.shown.clamp_min(0).minimum(box.top))
        stamps.mask.copy_(within(stamps.mask * box.free, box.room))
    return best
