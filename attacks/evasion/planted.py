"""The binarisation self-test: a weak point is planted beside each row, and the attack must find one."""

from dataclasses import dataclass

import torch

from .apgd import Task, apgd
from .bench import Bench
from .draws import uniform
from .losses import towards
from .sparse import sparse_apgd

_PURPOSE = 7
_INNER = 64  # points that must stay on the row's side of the planted boundary
_SHRUNK = 0.95  # of the radius: they lie inside it
_GAP = 0.9  # where between the outermost of them and the planted point the boundary runs
_LEAST_GAP = 1e-4  # of the spread along the readout: nearer, and no linear readout parts them


@dataclass(frozen=True)
class Planted:
    """What became of the planted points: rows that had one, and how many the attack and plain noise found."""

    rows: int = 0
    found: int = 0
    by_noise: int = 0


def plant(bench: Bench, rows: torch.Tensor, epsilon: float, steps: int) -> Planted:
    """Does this attack find, on this very subject, weak points that are known to exist.

    Zimmermann, Brendel, Tramer and Carlini 2022: beside each row a corner of the ball is declared adversarial by a
    linear readout, fitted for that row, that puts it on one side and the row with 64 points well inside the ball on the
    other. The subject is used as it is up to its scores, which the readout takes for features (the paper takes the
    last hidden layer); an attack whose gradients are masked in the subject is masked here too. Rows whose points no
    readout parts are left out. Blind to what happens behind the scores, and to defences that act on few rows.
    """
    readout = _readouts(bench, rows, epsilon)
    kept = readout.parted.nonzero()[:, 0]
    if not len(kept):
        return Planted()
    rows, readout = rows[kept], readout.of(kept)
    found = _search(bench, rows, readout, epsilon, steps)
    noise = torch.stack([_lead(bench, readout, bench.corner(rows, epsilon, 100 + m)) > 0 for m in range(steps)]).any(0)
    return Planted(len(rows), int(found.sum()), int(noise.sum()))


@dataclass(frozen=True, eq=False)
class _Readout:
    """A linear readout a row: direction (n, K), threshold (n,), and whether it parts the row's points (n,)."""

    direction: torch.Tensor
    threshold: torch.Tensor
    parted: torch.Tensor

    def of(self, rows: torch.Tensor) -> "_Readout":
        """The readouts of some rows."""
        return _Readout(self.direction[rows], self.threshold[rows], self.parted[rows])


def _readouts(bench: Bench, rows: torch.Tensor, epsilon: float) -> _Readout:
    outer = _centred(bench.view.scores(bench.corner(rows, epsilon, 99)))
    inner = torch.stack([_centred(bench.view.scores(p)) for p in _inner(bench, rows, epsilon)], 1)
    direction = outer - inner[:, 0]
    direction = direction / direction.norm(dim=1, keepdim=True).clamp_min(1e-12)
    reached = (inner * direction.unsqueeze(1)).sum(2)
    edge, planted_at = reached.amax(1), (outer * direction).sum(1)
    spread = planted_at - reached.amin(1)
    parted = (planted_at - edge > _LEAST_GAP * spread) & (spread > 0) & direction.isfinite().all(1)
    return _Readout(direction, edge + _GAP * (planted_at - edge), parted)


def _inner(bench: Bench, rows: torch.Tensor, epsilon: float) -> list[torch.Tensor]:
    """The rows themselves, and points drawn evenly from a somewhat smaller ball."""
    unit, keys, size = bench.unit[rows], bench.keys[rows], bench.unit[0].numel()
    drawn = (uniform(keys, torch.full_like(keys, m), size, purpose=_PURPOSE).to(unit.dtype) for m in range(_INNER))
    moved = [unit + bench.norm.spread(d, _SHRUNK * epsilon).view_as(unit) for d in drawn]
    return [unit, *(p.clamp_min(0).minimum(bench.view.top) for p in moved)]


def _lead(bench: Bench, readout: _Readout, points: torch.Tensor) -> torch.Tensor:
    return (_centred(bench.view.scores(points)) * readout.direction).sum(1) - readout.threshold


def _search(bench: Bench, rows: torch.Tensor, readout: _Readout, epsilon: float, steps: int) -> torch.Tensor:
    """Which rows (n,) the attack turns over. Each carries its number in one more coordinate, which never moves."""
    unit, start = bench.unit[rows].flatten(1), bench.random_start(rows, epsilon, 99).flatten(1)
    number = torch.arange(len(rows), device=rows.device, dtype=unit.dtype).unsqueeze(1) / len(rows)

    def binary(points: torch.Tensor) -> torch.Tensor:
        own = readout.of((points[:, -1].detach() * len(rows)).round().long())
        scores = _centred(bench.view.differentiable(points[:, :-1].reshape(-1, *bench.unit.shape[1:])))
        lead = (scores * own.direction).sum(1) - own.threshold
        return torch.stack([torch.zeros_like(lead), lead], 1)

    top = torch.cat([bench.view.top.flatten(), unit.new_ones(1)])
    still = torch.zeros_like(top, dtype=torch.bool)
    still[-1] = True
    none = torch.zeros_like(rows)
    x, start = torch.cat([unit, number], 1), torch.cat([start, number], 1)
    task = Task(x, none, none + 1, start, top, epsilon, still, bench.norm)
    ascend = sparse_apgd if bench.norm.name == "l1" else apgd
    return ascend(binary, task, towards, steps=steps, width=bench.width).broken


def _centred(scores: torch.Tensor) -> torch.Tensor:
    return scores - scores.mean(1, keepdim=True)
