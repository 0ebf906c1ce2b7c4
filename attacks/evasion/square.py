"""Square Attack: random search by patches on scores alone, in balls of three norms, for images and vectors."""

from bisect import bisect_left
from collections.abc import Callable

import torch

from .apgd import Model, Task
from .losses import margin
from .seekers import Seekers
from .square_edges import edge_trial, inner
from .square_masses import mass_trial
from .survivors import Attacked, drive, per_row, put_rows

Trial = Callable[[Seekers, torch.Tensor], torch.Tensor]  # lanes, share of the coordinates (n,) -> points (n, *shape)

_FIRST_SHARE = 0.8  # of the coordinates a patch covers
_FIRST_MASS = 0.3  # in L2 and L1, where a patch takes its change from another place
_HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries


def square(model: Model, task: Task, keys: torch.Tensor, *, queries: int, width: int) -> Attacked:
    """Which rows does a random search of so many queries break, using scores and no gradient.

    Andriushchenko et al. 2020: after the start point, a first pattern all over; then patches, kept where the
    margin does not grow. In Linf a patch goes to the edge of the ball, in L2 and L1 it is given the change that
    another place gives up. Every row draws its own patches from its own key (n,) of `keys`. The schedule of patch
    sizes is that of 10,000 queries rescaled to the budget. On vectors a patch is a random set of coordinates.
    One forward pass a query. Raises ValueError for inputs that are neither vectors nor (C, H, W). Blind where
    scores do not change with the input, as with labels.
    """
    if task.x.dim() not in (2, 4):
        raise ValueError(f"inputs of shape {tuple(task.x.shape[1:])}: the random search knows vectors and (C, H, W)")
    lower, upper, start = task.lower, task.upper, task.inside(task.start)
    trial = _trial(task)
    first = _FIRST_SHARE if task.norm.name == "linf" else _FIRST_MASS
    shares = torch.tensor(_shares(queries, first), device=start.device, dtype=start.dtype)

    def admit(rows: torch.Tensor) -> Seekers:
        return Seekers.of(rows, start, (task.x, lower, upper), task.y, keys)

    def advance(lanes: Seekers) -> torch.Tensor:
        return _advance(lanes, model, trial, shares)

    with torch.no_grad():
        return drive(admit, advance, start=start, steps=queries, width=width)


def _trial(task: Task) -> Trial:
    if task.norm.name == "linf":
        return lambda lanes, share: edge_trial(lanes, share, task.epsilon)
    power = 2 if task.norm.name == "l2" else 1
    return lambda lanes, share: mass_trial(lanes, share, task.epsilon, power)


def _shares(queries: int, first: float = _FIRST_SHARE) -> list[float]:
    """The share of coordinates that the patch of each query covers."""
    return [first / 2 ** bisect_left(_HALVED_AT, 10_000 * i / queries) for i in range(queries + 1)]


def _advance(lanes: Seekers, model: Model, trial: Trial, shares: torch.Tensor) -> torch.Tensor:
    """One query of every lane; says which have been broken so far (n,)."""
    point = lanes.best if lanes.ages == {0} else trial(lanes, shares[lanes.step])
    if 0 in lanes.ages:
        point = torch.where(per_row(lanes.step == 0, point), lanes.best, point)
    lead = margin(model(point), lanes.y).to(lanes.lead.dtype)
    taken = lead <= lanes.lead
    if lanes.x.dim() == 2:
        # ties are taken, for on a plateau the search must be able to drift, but only towards the edge
        taken &= (lead < lanes.lead) | ~inner(lanes.step)
    taken &= lanes.lead > 0
    put_rows(taken, (point.flatten(1), lanes.best.view(len(point), -1)))
    torch.where(taken, lead, lanes.lead, out=lanes.lead)
    lanes.step += 1
    return lanes.lead <= 0
