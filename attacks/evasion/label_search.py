"""The search by labels alone on a bench: starts from test rows that are answered otherwise."""

from dataclasses import dataclass

import torch

from .bench import Bench
from .rays import Surroundings, rays, starts
from .survivors import per_row

_POOL = 1000  # test rows to look for starts among
_POWERS = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}


@dataclass(frozen=True, eq=False)
class Found:
    """The nearest unit point found for each row (n, *shape), and its distance (n,).

    Where none was found it is the clean point, at distance infinity.
    """

    point: torch.Tensor
    radius: torch.Tensor


def nearest(
    bench: Bench, rows: torch.Tensor, radii: tuple[float, ...], *, queries: int, lent: Found | None = None
) -> Found:
    """How near are wrong answers to these rows (n,) of a bench, in the bench's norm, by labels alone.

    Costs a query for each row of a pool of test rows, and at most `queries` a row; a row brought within the least of
    the `radii` (ascending) is left at that. What the data's constraints do not let move within the largest stays as
    it is. Wrong answers that another attack has `lent`, if any, are started from first.
    """
    unit, labels = bench.unit[rows], bench.labels[rows]
    away, known = elsewhere(bench, unit, labels, starts(queries, unit[0].numel()))
    if lent is not None:
        reached = lent.radius < torch.inf
        first = torch.where(per_row(reached, unit), lent.point, away[0])
        away, known = torch.cat([first[None], away[:-1]]), torch.cat([(reached | known[0])[None], known[:-1]])
    still = bench.still(radii[-1])
    around = Surroundings(unit, labels, away, known, bench.view.top, radii[0], still, bench.norm)
    found = rays(lambda u: _answers(bench, u), around, bench.keys[rows], queries=queries, width=bench.width)
    return Found(found.point, found.radius)


def _answers(bench: Bench, u: torch.Tensor) -> torch.Tensor:
    """The label (n,) of unit points, -1 where it cannot be read."""
    scores = bench.view.scores(u)
    return torch.where(scores.isnan().any(1), -1, scores.argmax(1))


def elsewhere(bench: Bench, unit: torch.Tensor, labels: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """For unit points (n, *shape) the test rows nearest to each that are answered wrongly for it, and if they are.

    At most `count` of them, the nearest first: (k, n, *shape) and (k, n).
    """
    case = bench.case
    pool = bench.view.unit(case.data.x_test[case.rows(_POOL)])
    parts = range(0, len(pool), bench.width)
    answers = torch.cat([_answers(bench, pool[at : at + bench.width]) for at in parts])
    distance = torch.cdist(unit.flatten(1), pool.flatten(1), p=_POWERS[bench.norm.name])
    distance = distance.masked_fill(answers == labels.unsqueeze(1), torch.inf)
    least = distance.sort(dim=1, stable=True)
    places, far = least.indices[:, :count].T, least.values[:, :count].T
    return pool[places], far < torch.inf
