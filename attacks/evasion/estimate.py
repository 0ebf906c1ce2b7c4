"""Gradients read off scores at nearby points: for models that give none, or whose own lead astray."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .draws import mix, uniform
from .view import View

Scores = Callable[[torch.Tensor], torch.Tensor]

_PURPOSE = 6
_STRIDE = 0x9E3779B1  # odd, so that no two of a row's pairs share a direction


@dataclass(frozen=True, eq=False)
class Estimate(View):
    """A view whose gradients are estimated: `pairs` pairs of points, each coordinate up to `reach` away.

    Everything else is as in the view it is made of, so any attack by gradients can be run on it.
    """

    inner: View
    reach: float
    pairs: int

    @classmethod
    def over(cls, view: View, reach: float, pairs: int) -> "Estimate":
        """The estimating view of the same subject."""
        return cls(**vars(view), inner=view, reach=reach, pairs=pairs)

    def scores(self, u: torch.Tensor) -> torch.Tensor:
        """Scores (n, K), without a gradient, as the view it is made of gives them."""
        return self.inner.scores(u)

    def differentiable(self, u: torch.Tensor) -> torch.Tensor:
        """Scores (n, K) whose gradient is an estimate.

        Antithetic finite differences along orthogonal random signs (evolution strategies: Wierstra et al. 2014; used on
        masked gradients: Uesato et al. 2018). A coordinate's slope is the sum over pairs of the scores' difference
        times the coordinate's, over the sum of the latter's squares: at a wall a coordinate moves one way only.
        Averages over steps and ripples smaller than the reach. Costs 1 forward, and 2 a pair when differentiated.
        Poor where coordinates are many more than pairs.
        """
        scores: torch.Tensor = _Estimated.apply(u, self)  # type: ignore[no-untyped-call]  # torch's own
        return scores


class _Estimated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: torch.Tensor, view: Estimate) -> torch.Tensor:  # torch's own context
        ctx.view = view
        ctx.save_for_backward(u)
        return view.scores(u.detach())

    @staticmethod
    def backward(ctx: Any, *weights: torch.Tensor) -> tuple[torch.Tensor, None]:  # torch's own context
        (u,) = ctx.saved_tensors
        return slopes(ctx.view.scores, u, weights[0], ctx.view.top, reach=ctx.view.reach, pairs=ctx.view.pairs), None


def slopes(
    scores: Scores, u: torch.Tensor, weights: torch.Tensor, top: torch.Tensor, *, reach: float, pairs: int
) -> torch.Tensor:
    """The estimated gradient (n, *shape) at points u of the scores (n, K) summed with these weights (n, K)."""
    keys = _content(u)
    rise, length = torch.zeros_like(u), torch.zeros_like(u)
    for pair in range(pairs):
        step = reach * direction(keys, pair, u[0].numel()).view_as(u).to(u.dtype)
        above, below = (u + step).clamp_min(0).minimum(top), (u - step).clamp_min(0).minimum(top)
        both = scores(torch.cat([above, below])).nan_to_num()
        gain = ((both[: len(u)] - both[len(u) :]) * weights).sum(1)
        moved = above - below
        rise += gain.view(-1, *[1] * (u.dim() - 1)) * moved
        length += moved.square()
    return rise / length.clamp_min(1e-12)


def direction(keys: torch.Tensor, pair: int, size: int) -> torch.Tensor:
    """The signs (n, size) of a row's direction: of its own Hadamard matrix, so its directions are all but orthogonal.

    A row's matrix is Walsh's, whose entry (i, j) is the parity of i & j, with columns turned round by its own coin.
    """
    order = 1 << max(size - 1, 1).bit_length()
    index = (mix(keys) + pair * _STRIDE) & (order - 1)
    parity = index.unsqueeze(1) & torch.arange(size, dtype=torch.int64, device=keys.device)
    for half in (32, 16, 8, 4, 2, 1):
        parity = parity ^ (parity >> half)
    coins = uniform(keys, torch.zeros_like(keys), size, purpose=_PURPOSE) < 0.5
    return torch.where((parity & 1).bool() ^ coins, -1.0, 1.0)


def _content(u: torch.Tensor) -> torch.Tensor:
    """A key (n,) made of a point's own bits: its directions are the same whatever batch it is in."""
    bits = u.detach().float().flatten(1).contiguous().view(torch.int32).to(torch.int64)
    places = mix(torch.arange(1, bits.shape[1] + 1, dtype=torch.int64, device=u.device))
    return mix((mix(bits + places)).sum(1))
