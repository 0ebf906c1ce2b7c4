"""Rows under random search: the worst point of each so far, and where a window drawn for it lies."""

from dataclasses import dataclass

import torch

from .survivors import Lanes

PURPOSE = 1  # of the random search's draws


@dataclass
class Seekers(Lanes):
    """Rows in flight: `lead` is the margin (n,) at `best`; points and the ends of the box are (n, *shape)."""

    x: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    y: torch.Tensor
    key: torch.Tensor
    lead: torch.Tensor

    @classmethod
    def of(
        cls,
        rows: torch.Tensor,
        start: torch.Tensor,
        box: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        y: torch.Tensor,
        keys: torch.Tensor,
    ) -> "Seekers":
        """Lanes for these rows (n,): their start, clean points and box (N, *shape), labels and keys (N,) are given."""
        step = torch.zeros(len(rows), dtype=torch.int64, device=start.device)
        lead = torch.full((len(rows),), torch.inf, device=start.device, dtype=start.dtype)
        x, lower, upper = (t[rows] for t in box)
        return cls(rows.clone(), step, start[rows].contiguous(), x, lower, upper, y[rows], keys[rows], lead)


def window(draw: torch.Tensor, side: torch.Tensor, length: int) -> torch.Tensor:
    """How far each of `length` places lies behind the start of a run of `side` (n,) that was drawn (n,): (n, length).

    Places in the run have 0 to side - 1. Every start that fits is as likely as the others.
    """
    first = (draw * (length - side + 1)).floor()
    return torch.arange(length, device=draw.device, dtype=draw.dtype) - first.unsqueeze(1)


def within(offset: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
    """Which places (n, length) lie in a run of `side` (n,), of their offsets from its start."""
    return (offset >= 0) & (offset < side.unsqueeze(1))


def some(draw: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """A random set of coordinates (n, d) of draws (n, d): each with chance `share` (n,), and at least one."""
    return draw <= share.unsqueeze(1).maximum(draw.amin(1, keepdim=True))


def again(draw: torch.Tensor) -> torch.Tensor:
    """Second numbers in [0, 1) out of the last 12 of a draw's 24 bits, which `some` does not look at in a set."""
    return (draw * 4096).frac()
