"""The best known robust accuracy of a masked model: an attack by one who knows what the mask hides."""

from dataclasses import dataclass

import torch
from torch import nn

_STEPS = 60
_PASSES = 3


@dataclass(frozen=True, eq=False)
class Insider:
    """Attacks `model` in the Linf ball and the unit box by the gradients of `guide`, and then coordinate by coordinate.

    `draws` answers of a random model are averaged to steer, and outvoted to judge.
    """

    model: nn.Module
    guide: nn.Module
    epsilon: float
    draws: int = 1

    def robust(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Which rows (n,) of vectors x (n, D) with labels y stand."""
        standing = ~self.judged(x, y)
        for target in range(4):
            if standing.any():
                rows = torch.arange(len(x))[standing]
                standing[rows] = self._stands(x[rows], y[rows], target)
        return standing

    def judged(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Which rows (n,) are answered wrongly, by the vote where the model is random; ties are wrong."""
        if self.draws == 1:
            return self._lead(x, y) <= 0
        with torch.no_grad():
            votes = sum(nn.functional.one_hot(self._answer(x).argmax(1), 10) for _ in range(self.draws))
        return _lead(votes.float(), y) <= 0

    def _answer(self, x: torch.Tensor) -> torch.Tensor:
        z = self.model(x)
        return nn.functional.one_hot(z, 10).float() if z.dim() == 1 else z

    def _lead(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.stack([_lead(self._answer(x), y) for _ in range(self.draws)]).mean(0)

    def _stands(self, x: torch.Tensor, y: torch.Tensor, target: int) -> torch.Tensor:
        low, high = (x - self.epsilon).clamp_min(0), (x + self.epsilon).clamp_max(1)
        point, standing = x.clone(), torch.ones(len(x), dtype=torch.bool)
        other = _others(self.guide(x), y)[:, target]
        best, least = x.clone(), torch.full((len(x),), torch.inf)
        for step in range(_STEPS):
            size = 2 * self.epsilon * (1 - step / _STEPS)
            point = (point + size * self._slope(point, y, other).sign()).maximum(low).minimum(high).detach()
            lead = self._lead(point, y)
            best, least = torch.where((lead < least)[:, None], point, best), lead.minimum(least)
            hit = standing & (lead <= 0)
            if hit.any():
                standing[hit] = ~self.judged(point[hit], y[hit])
        return self._coordinates(best, y, low, high, standing)

    def _slope(self, point: torch.Tensor, y: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        point = point.detach().requires_grad_()
        z = torch.stack([self.guide(point) for _ in range(min(self.draws, 8))]).mean(0)
        rise = z.gather(1, other[:, None]) - z.gather(1, y[:, None])
        return torch.autograd.grad(rise.sum(), point)[0]

    def _coordinates(
        self, point: torch.Tensor, y: torch.Tensor, low: torch.Tensor, high: torch.Tensor, standing: torch.Tensor
    ) -> torch.Tensor:
        """Each coordinate of the rows that stand put to either end and kept where the true class leads by less."""
        rows = torch.arange(len(y))[standing]
        if not len(rows) or self.draws > 1:
            return standing
        here, lead = point[rows], self._lead(point[rows], y[rows])
        for place in [p for _ in range(_PASSES) for p in range(here.shape[1])]:
            for end in (low, high):
                trial = here.clone()
                trial[:, place] = end[rows, place]
                seen = self._lead(trial, y[rows])
                here, lead = torch.where((seen <= lead)[:, None], trial, here), seen.minimum(lead)
        standing[rows] = lead > 0
        return standing


def _lead(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    own = z.gather(1, y[:, None])[:, 0]
    lead = own - z.scatter(1, y[:, None], -torch.inf).amax(1)
    return lead.where(z.isfinite().all(1), torch.tensor(-torch.inf))


def _others(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return z.scatter(1, y[:, None], -torch.inf).argsort(1, descending=True)
