"""Rows under attack: each leaves when it breaks, and a waiting row takes its place."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch

Indices = npt.NDArray[np.intp]

_CACHED = 50_000  # numbers: so much of each tensor that a step reads or writes stays in a core's own cache
_PATIENCE = 4  # steps on an accelerator between two looks at what broke: every look waits for the device


@dataclass
class Lanes:
    """The rows in flight, an entry a row in every tensor: which row, its next step, its worst point so far.

    No two tensors may share memory: they are changed in place. `ages` are the steps that any of the rows is at, known
    without asking the device; a few rows that already broke may be among them.
    """

    row: torch.Tensor
    step: torch.Tensor
    best: torch.Tensor
    ages: frozenset[int] = field(init=False, default=frozenset())

    def worst(self, lanes: torch.Tensor) -> torch.Tensor:
        """The worst points (k, d) of the lanes with these indices (k,)."""
        return self.best[lanes]

    def drop(self, index: Indices) -> None:
        """Forget the lanes with these indices (k,), ascending: lanes from the end take their places."""
        left = len(self.row) - len(index)
        holes = index[index < left]
        staying = np.ones(len(index), bool)
        staying[index[index >= left] - left] = False
        movers = np.flatnonzero(staying) + left
        to, of = (torch.as_tensor(places, device=self.row.device) for places in (holes, movers))
        for name in self.names():
            values = getattr(self, name)
            if len(holes):
                values[to] = values[of]
            setattr(self, name, values[:left])

    def join(self, other: Self) -> None:
        """Put the lanes of another behind these."""
        for name in self.names():
            setattr(self, name, torch.cat([getattr(self, name), getattr(other, name)]))

    def names(self) -> list[str]:
        """The tensors that belong to the lanes."""
        return [f.name for f in fields(self) if f.init]


@dataclass(frozen=True, eq=False)
class Attacked:
    """What an attack left: each row's worst point (n, *shape), and which it claims to have broken (n,)."""

    point: torch.Tensor
    broken: torch.Tensor


L = TypeVar("L", bound=Lanes)


def tiles(rows: torch.Tensor) -> list[slice]:
    """Slices of rows (n, d) that a step is done by: each fits a core's cache; on an accelerator all rows in one."""
    height = max(1, _CACHED // max(1, rows.shape[1])) if rows.device.type == "cpu" else max(1, len(rows))
    return [slice(at, at + height) for at in range(0, len(rows), height)]


def per_row(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Values (n,) shaped so that they meet every coordinate of their row in `like` (n, *shape)."""
    return value.view(-1, *[1] * (like.dim() - 1))


def put_rows(mask: torch.Tensor, *pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Write the rows of the mask (n,) from the first of each pair (n, d) into the second."""
    if mask.device.type == "cpu":  # half the memory traffic; an accelerator would have to be waited for
        rows = mask.nonzero()[:, 0]
        for of, to in pairs:
            if len(rows) == len(mask):
                to.copy_(of)
            elif len(rows):
                to.index_copy_(0, rows, of.index_select(0, rows))
    else:
        for of, to in pairs:
            torch.where(mask.unsqueeze(1), of, to, out=to)


class _Clock:
    """Which steps the rows in flight are at, and when they must be looked at, without asking the device."""

    def __init__(self, steps: int, patience: int) -> None:
        self.steps, self.patience = steps, patience
        self.now = 0
        self.begun: set[int] = set()

    def ages(self) -> frozenset[int]:
        return frozenset(self.now - moment for moment in self.begun)

    def admit(self) -> None:
        self.begun.add(self.now)

    def tick(self) -> bool:
        """One step is done: is it time to look."""
        self.now += 1
        ended = self.now - self.steps
        due = ended in self.begun or self.now % self.patience == 0
        self.begun.discard(ended)
        return due


def drive(
    admit: Callable[[torch.Tensor], L],
    advance: Callable[[L], torch.Tensor],
    *,
    start: torch.Tensor,
    steps: int,
    width: int,
) -> Attacked:
    """Run an attack on every row of `start` (n, *shape), at most `width` at a time.

    `admit` makes lanes for row indices; `advance` takes every lane one step, counts it, and says which have broken
    so far (n,): once broken, a lane must say so and keep its worst point. A row's fate depends on its own lane only, so
    the width changes the cost and not the result, but for the rounding of the model's own batched arithmetic. On an
    accelerator, which would have to be waited for, broken rows leave every fourth step.
    """
    point = start.clone()
    broken = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    waiting = torch.arange(len(start), device=start.device)
    clock = _Clock(steps, 1 if start.device.type == "cpu" else _PATIENCE)
    lanes, waiting = admit(waiting[:width]), waiting[width:]
    clock.admit()
    while len(lanes.row):
        lanes.ages = clock.ages()
        hit = advance(lanes)
        if not clock.tick():
            continue
        ended = np.flatnonzero((hit | (lanes.step >= steps)).cpu().numpy())  # the one wait for the device
        if not len(ended):
            continue
        gone = torch.as_tensor(ended, device=start.device)
        left = lanes.row[gone]
        point[left], broken[left] = lanes.worst(gone).view(-1, *start.shape[1:]), hit[gone]
        lanes.drop(ended)
        free = width - len(lanes.row)
        if len(waiting) and free * 4 >= width:  # small refills would cost more than the idle lanes
            lanes.join(admit(waiting[:free]))
            waiting = waiting[free:]
            clock.admit()
    return Attacked(point, broken)
