"""Square Attack in the Linf ball: random search by patches on scores alone, for images and vectors."""

from bisect import bisect_left
from dataclasses import dataclass

import torch

from .apgd import Model, Task
from .draws import uniform
from .losses import margin
from .survivors import Attacked, Lanes, drive, per_row

_FIRST_SHARE = 0.8  # of the coordinates a patch covers
_HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries
_INNER = 3  # every third patch on vectors lies inside the ball: kernels and trees are not always worst at its edge
_PURPOSE = 1


@dataclass
class _Seekers(Lanes):
    x: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    y: torch.Tensor
    key: torch.Tensor
    lead: torch.Tensor


def square(model: Model, task: Task, keys: torch.Tensor, *, queries: int, width: int) -> Attacked:
    """Which rows does a random search of so many queries break, using scores and no gradient.

    Andriushchenko et al. 2020: after the start point, stripes; then patches set to the edge of the ball, kept
    where the margin does not grow. Every row draws its own patches from its own key (n,) of `keys`. The
    schedule of patch sizes is that of 10,000 queries rescaled to the budget. On vectors a patch is a random
    set of coordinates. Blind where scores do not change with the input, as with labels.
    """
    lower, upper = task.lower, task.upper
    start = task.start.maximum(lower).minimum(upper)
    shares = torch.tensor(_shares(queries), device=start.device)

    def admit(rows: torch.Tensor) -> _Seekers:
        none = torch.zeros(len(rows), dtype=torch.int64, device=start.device)
        lead = torch.full((len(rows),), torch.inf, device=start.device, dtype=start.dtype)
        return _Seekers(rows, none, start[rows], task.x[rows], lower[rows], upper[rows], task.y[rows], keys[rows], lead)

    def advance(lanes: _Seekers) -> torch.Tensor:
        trial = _trial(lanes, shares, task.epsilon)
        if bool((lanes.step == 0).any()):
            trial = torch.where(per_row(lanes.step == 0, trial), lanes.best, trial)
        lead = margin(model(trial), lanes.y)
        # ties are taken, for on a plateau the search must be able to drift, but only towards the edge
        taken = (lead < lanes.lead) | ((lead == lanes.lead) & ~_inner(lanes))
        lanes.best = torch.where(per_row(taken, trial), trial, lanes.best)
        lanes.lead = torch.where(taken, lead, lanes.lead)
        lanes.step = lanes.step + 1
        return lanes.lead <= 0

    with torch.no_grad():
        return drive(admit, advance, start=start, steps=queries, width=width)


def _shares(queries: int) -> list[float]:
    """The share of coordinates that the patch of each query covers."""
    return [_FIRST_SHARE / 2 ** bisect_left(_HALVED_AT, 10_000 * i / queries) for i in range(queries + 1)]


def _trial(lanes: _Seekers, shares: torch.Tensor, epsilon: float) -> torch.Tensor:
    share = shares[lanes.step]
    if lanes.x.dim() == 2:
        return _vector_trial(lanes, share, epsilon)
    if lanes.x.dim() == 4:
        return _image_trial(lanes, share)
    raise ValueError(f"inputs of shape {tuple(lanes.x.shape[1:])}: the random search knows vectors and (C, H, W)")


def _inner(lanes: _Seekers) -> torch.Tensor:
    return (lanes.step % _INNER == 0) & (lanes.step > 0) & (lanes.x.dim() == 2)


def _vector_trial(lanes: _Seekers, share: torch.Tensor, epsilon: float) -> torch.Tensor:
    size = lanes.x.shape[1]
    drawn = uniform(lanes.key, lanes.step, 2 * size, purpose=_PURPOSE)
    rank = drawn[:, :size].argsort(1).argsort(1)
    chosen = rank < (share * size).round().clamp_min(1).unsqueeze(1)
    within = torch.clamp(lanes.x + epsilon * (2 * drawn[:, size:] - 1), lanes.lower, lanes.upper)
    moved = torch.where(_inner(lanes).unsqueeze(1), within, _edge(lanes, drawn[:, size:]))
    return torch.where(chosen | (lanes.step <= 1).unsqueeze(1), moved, lanes.best)


def _image_trial(lanes: _Seekers, share: torch.Tensor) -> torch.Tensor:
    channels, height, width = lanes.x.shape[1:]
    drawn = uniform(lanes.key, lanes.step, 2 + channels + channels * width, purpose=_PURPOSE)
    side = (share * height * width).sqrt().round()
    inside = _span(drawn[:, 0], side, height).unsqueeze(2) & _span(drawn[:, 1], side, width).unsqueeze(1)
    patch = _edge(lanes, drawn[:, 2 : 2 + channels].view(-1, channels, 1, 1))
    trial = torch.where(inside.unsqueeze(1), patch, lanes.best)
    striped = lanes.step <= 1
    if not bool(striped.any()):
        return trial
    stripes = _edge(lanes, drawn[:, 2 + channels :].view(-1, channels, 1, width))
    return torch.where(per_row(striped, trial), stripes, trial)


def _span(draw: torch.Tensor, side: torch.Tensor, length: int) -> torch.Tensor:
    """Which of `length` places (n, length) lie in a run of `side` whose start was drawn."""
    side = side.clamp(1, max(length - 1, 1))
    first = (draw * (length - side + 1)).floor().unsqueeze(1)
    place = torch.arange(length, device=draw.device)
    return (place >= first) & (place < first + side.unsqueeze(1))


def _edge(lanes: _Seekers, draw: torch.Tensor) -> torch.Tensor:
    """Every coordinate at the lower or the upper end of what it may take, by coin flips."""
    return torch.where(draw < 0.5, lanes.lower, lanes.upper)
