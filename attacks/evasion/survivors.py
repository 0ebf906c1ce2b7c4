"""Rows under attack: each leaves the step it breaks, and a waiting row takes its place."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self, TypeVar

import torch


@dataclass
class Lanes:
    """The rows in flight, an entry a row in every field: which row, its next step, its worst point so far."""

    row: torch.Tensor
    step: torch.Tensor
    best: torch.Tensor

    def keep(self, mask: torch.Tensor) -> Self:
        """The lanes where the mask (n,) is true."""
        return type(self)(*(getattr(self, f.name)[mask] for f in fields(self)))

    def join(self, other: Self) -> Self:
        """These lanes followed by others."""
        return type(self)(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


@dataclass(frozen=True, eq=False)
class Attacked:
    """What an attack left: each row's worst point (n, *shape), and which it claims to have broken (n,)."""

    point: torch.Tensor
    broken: torch.Tensor


L = TypeVar("L", bound=Lanes)


def per_row(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Values (n,) shaped so that they meet every coordinate of their row in `like` (n, *shape)."""
    return value.view(-1, *[1] * (like.dim() - 1))


def drive(
    admit: Callable[[torch.Tensor], L],
    advance: Callable[[L], torch.Tensor],
    *,
    start: torch.Tensor,
    steps: int,
    width: int,
) -> Attacked:
    """Run an attack on every row of `start` (n, *shape), at most `width` at a time.

    `admit` makes lanes for row indices; `advance` takes every lane one step, counts it, and says which broke
    (n,). A row's fate depends on its own lane only, so the width changes the cost and not the result, but for
    the rounding of the model's own batched arithmetic.
    """
    point = start.clone()
    broken = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    waiting = torch.arange(len(start), device=start.device)
    lanes = admit(waiting[:width])
    waiting = waiting[width:]
    while len(lanes.row):
        hit = advance(lanes)
        done = hit | (lanes.step >= steps)
        if not bool(done.any()):
            continue
        left = lanes.row[done]
        point[left], broken[left] = lanes.best[done], hit[done]
        lanes = lanes.keep(~done)
        free = width - len(lanes.row)
        if len(waiting) and free * 4 >= width:  # small refills would cost more than the idle lanes
            lanes = lanes.join(admit(waiting[:free]))
            waiting = waiting[free:]
    return Attacked(point, broken)
