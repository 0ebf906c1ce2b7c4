"""Which wrong class is nearest: the order in which an attack aims at them."""

import torch

from .apgd import Model
from .norms import Norm


def nearest_first(
    model: Model, u: torch.Tensor, y: torch.Tensor, ranking: torch.Tensor, norm: Norm, *, candidates: int, width: int
) -> torch.Tensor:
    """In which order should wrong classes be aimed at: rankings (n, K - 1), the nearest first.

    The MALT rule (Melamed, Yehudai and Shamir 2024): the distance to a class is taken as that of a linear model, the
    lead of the true class over it divided by the steepness of that lead, in the dual of the attack's norm. Only the
    first `candidates` of `ranking` (n, K - 1), which is by score, are sorted anew; ties and gradients that are zero or
    no numbers keep its order. `u` (n, *shape), `y` (n,). Costs a row one forward and `candidates` backward passes.
    """
    rows = [slice(at, at + width) for at in range(0, len(u), width)]
    head = ranking[:, :candidates]
    distance = [_distances(model, u[part], y[part], head[part], norm) for part in rows]
    order = torch.cat(distance).argsort(dim=1, stable=True) if rows else torch.zeros_like(head)
    return torch.cat([head.gather(1, order), ranking[:, candidates:]], 1)


def _distances(model: Model, u: torch.Tensor, y: torch.Tensor, classes: torch.Tensor, norm: Norm) -> torch.Tensor:
    """How far a linear model would put each of these classes (n, c); inf where the gradient says nothing."""
    point = u.detach().requires_grad_()
    scores = model(point)
    leads = scores.gather(1, y.unsqueeze(1)) - scores.gather(1, classes)
    found = []
    for lead in leads.unbind(1):
        (gradient,) = torch.autograd.grad(lead.sum(), point, retain_graph=True)
        steepness = norm.dual(gradient.flatten(1))
        away = lead.detach() / steepness
        found.append(torch.where((steepness > 0) & away.isfinite(), away, torch.inf))
    return torch.stack(found, 1)
