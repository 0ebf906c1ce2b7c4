"""How the rows of a batch are changed before a network sees them: mirrored, moved, noisy, partly covered, mixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from scipy.special import betaincinv
from torch.nn.functional import one_hot

from auditor.augmentation import Augmentation
from auditor.dataset import Domain
from auditor.training.objectives import movable


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows x (N, *shape) and their labels: y (N,), or shares of classes (N, classes) where rows were mixed."""

    x: torch.Tensor
    y: torch.Tensor


@dataclass(frozen=True, eq=False)
class Augmenter:
    """The declared parts, applied to each batch in their order; what comes out lies in the domain.

    All that is drawn comes from `stream`, in an order that depends on the batch's size alone: paired trainings see the
    same. `fill` (broadcast over rows) is what covers an image, `classes` how many there are.
    """

    parts: Sequence[Augmentation]
    low: torch.Tensor
    high: torch.Tensor
    span: torch.Tensor  # 0 for features that cannot move by noise
    fill: torch.Tensor
    classes: int
    stream: torch.Generator

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> Batch:
        """The batch as the network shall see it; the rows given are left alone."""
        batch = Batch(x, y)
        for part in self.parts:
            batch = self._one(part, batch)
        return batch if not self.parts else Batch(batch.x.clamp(self.low, self.high), batch.y)

    def _one(self, part: Augmentation, batch: Batch) -> Batch:
        x, y, n = batch.x, batch.y, len(batch.x)
        match part.name:
            case "flip":
                return Batch(flipped(x, self._uniform(n) < part.amount), y)
            case "shift":
                most = int(part.amount)
                return Batch(shifted(x, self._whole(-most, most, n), self._whole(-most, most, n), self.low), y)
            case "noise":
                noise = torch.randn(x.shape, generator=self.stream).to(x)
                return Batch(torch.addcmul(x, noise, self.span, value=part.amount), y)
            case "cutout":
                height, width = x.shape[-2:]
                rows, columns = self._whole(0, height - 1, n), self._whole(0, width - 1, n)
                return Batch(covered(x, rows, columns, int(part.amount), self.fill), y)
            case "mixup":
                weight = beta_quantile(part.amount, self._uniform(1, dtype=torch.float64))
                shares = y if y.ndim == 2 else one_hot(y, self.classes).to(x.dtype)
                return mixed(x, shares, torch.randperm(n, generator=self.stream), weight.to(x))
            case _:
                assert_never(part.name)

    def _uniform(self, n: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.rand(n, generator=self.stream, dtype=dtype)

    def _whole(self, low: int, high: int, n: int) -> torch.Tensor:
        return torch.randint(low, high + 1, (n,), generator=self.stream)


def augmenter(
    parts: Sequence[Augmentation], domain: Domain, fill: torch.Tensor, classes: int, stream: torch.Generator
) -> Augmenter:
    """The parts on data of this domain.

    Noise moves no feature that is constant or immutable, nor whole numbers and categories where it is below one.
    """
    noise = next((p.amount for p in parts if p.name == "noise"), 0.0)
    span = np.where(movable(domain, noise), domain.high - domain.low, 0).astype(np.float32)
    low, high = torch.tensor(domain.low), torch.tensor(domain.high)
    return Augmenter(parts, low, high, torch.from_numpy(span), fill.detach().clone(), classes, stream)


def flipped(x: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Images x (N, C, H, W), those of `which` (N,) mirrored left to right."""
    return torch.where(which.to(x.device)[:, None, None, None], x.flip(-1), x)


def shifted(x: torch.Tensor, down: torch.Tensor, right: torch.Tensor, empty: torch.Tensor) -> torch.Tensor:
    """Images x (N, C, H, W), each moved by its pixels down and right (N,); behind them is `empty` (C, H, W)."""
    height, width = x.shape[-2:]
    rows = torch.arange(height) - down[:, None]
    columns = torch.arange(width) - right[:, None]
    inside = _within(rows, height)[:, :, None] & _within(columns, width)[:, None, :]
    image = torch.arange(len(x))[:, None, None]
    from_rows, from_columns = rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]
    moved = x[image, :, from_rows, from_columns].permute(0, 3, 1, 2)
    return torch.where(inside[:, None].to(x.device), moved, empty)


def covered(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, side: int, fill: torch.Tensor) -> torch.Tensor:
    """Images x (N, C, H, W) with a square of this side around (row, column) (N,) of each replaced by `fill`.

    What of it would lie outside the image is cut off, as in the paper.
    """
    height, width = x.shape[-2:]
    down, right = (
        torch.arange(height) - (rows - side // 2)[:, None],
        torch.arange(width) - (columns - side // 2)[:, None],
    )
    square = _within(down, side)[:, :, None] & _within(right, side)[:, None, :]
    return torch.where(square[:, None].to(x.device), fill, x)


def mixed(x: torch.Tensor, shares: torch.Tensor, partner: torch.Tensor, weight: torch.Tensor) -> Batch:
    """Rows x (N, *shape) and shares of classes (N, classes): weight times themselves, the rest their partner (N,)."""
    partner = partner.to(x.device)
    return Batch(torch.lerp(x[partner], x, weight), torch.lerp(shares[partner], shares, weight))


def beta_quantile(alpha: float, uniform: torch.Tensor) -> torch.Tensor:
    """The values of Beta(alpha, alpha) below which it falls with these probabilities, in float64."""
    return torch.from_numpy(np.asarray(betaincinv(alpha, alpha, uniform.numpy()), np.float64))


def _within(index: torch.Tensor, size: int) -> torch.Tensor:
    return (index >= 0) & (index < size)
