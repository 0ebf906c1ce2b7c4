"""The random search's proposals in the Linf ball: a patch goes to the edge of what it may take."""

import torch

from .draws import uniform
from .seekers import PURPOSE, Seekers, again, some, window, within
from .survivors import per_row

_INNER = 3  # every third patch on vectors lies inside the ball: kernels and trees are not always worst at its edge
_FAR = 4  # radii that carry any point of the ball beyond its other edge


def edge_trial(lanes: Seekers, share: torch.Tensor, epsilon: float) -> torch.Tensor:
    """The next point to try (n, *shape): a patch of `share` (n,) of the coordinates by coin flips, stripes at first."""
    if lanes.x.dim() == 2:
        return _vector(lanes, share, epsilon)
    trial = _patch(lanes, share, epsilon)
    if 1 in lanes.ages:
        return torch.where(per_row(lanes.step == 1, trial), _stripes(lanes), trial)
    return trial


def inner(step: torch.Tensor) -> torch.Tensor:
    """At which steps (n,) is the patch of a vector set inside the ball."""
    return (step % _INNER == 0) & (step > 0)


def _vector(lanes: Seekers, share: torch.Tensor, epsilon: float) -> torch.Tensor:
    draw = uniform(lanes.key, lanes.step, lanes.x.shape[1], purpose=PURPOSE)
    second = again(draw)
    moved = torch.where(second < 0.5, lanes.lower, lanes.upper)
    if any(age % _INNER == 0 for age in lanes.ages):
        inside = torch.clamp(lanes.x + epsilon * (2 * second - 1).to(lanes.x.dtype), lanes.lower, lanes.upper)
        moved = torch.where(inner(lanes.step).unsqueeze(1), inside, moved)
    chosen = some(draw, torch.where(lanes.step <= 1, 1.0, share))
    return torch.where(chosen, moved, lanes.best)


def _patch(lanes: Seekers, share: torch.Tensor, epsilon: float) -> torch.Tensor:
    channels, height, width = lanes.x.shape[1:]
    draw = uniform(lanes.key, lanes.step, 2 + channels, purpose=PURPOSE).to(lanes.x.dtype)
    side = (share * height * width).sqrt().round()
    down = _run(draw[:, 0], side, height)
    across = _run(draw[:, 1], side, width).to(lanes.x.dtype)
    push = torch.where(draw[:, 2:] < 0.5, -_FAR * epsilon, _FAR * epsilon).to(lanes.x.dtype)
    rows = push.unsqueeze(2) * down.unsqueeze(1)
    trial = torch.addcmul(lanes.best, rows.unsqueeze(3), across.view(-1, 1, 1, width))
    return torch.clamp(trial, lanes.lower, lanes.upper, out=trial)


def _run(draw: torch.Tensor, side: torch.Tensor, length: int) -> torch.Tensor:
    side = side.clamp(1, max(length - 1, 1))
    return within(window(draw, side, length), side)


def _stripes(lanes: Seekers) -> torch.Tensor:
    channels, _, width = lanes.x.shape[1:]
    draw = uniform(lanes.key, lanes.step, 2 + channels + channels * width, purpose=PURPOSE)
    coins = draw[:, 2 + channels :].view(-1, channels, 1, width)
    return torch.where(coins < 0.5, lanes.lower, lanes.upper)
