"""The rows under attack, and which of them still stand: every claimed success is judged again by the case."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from auditor.dataset import Array, Labels
from auditor.probe import Case

from .apgd import Task, apgd
from .draws import uniform
from .losses import cross_entropy, fitting_temperature, runners_up, towards
from .square import square
from .survivors import Attacked
from .view import View

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Attack = Callable[[torch.Tensor], Attacked]  # row indices -> what became of them

_START = 2  # purposes of random draws, apart from those of the random search
_NOISE = 3


@dataclass(frozen=True, eq=False)
class Bench:
    """What an attack needs of the rows it is given: in unit coordinates, on the subject's device.

    `bound` says whether it leaves alone what the data's constraints do not let move.
    """

    case: Case
    view: View
    x: Array
    y: Labels
    unit: torch.Tensor
    labels: torch.Tensor
    keys: torch.Tensor
    ranking: torch.Tensor
    temperature: float
    width: int
    bound: bool = True

    @classmethod
    def of(cls, case: Case, rows: Rows, outputs: Array, width: int) -> "Bench":
        """The bench of these test rows, whose outputs on clean inputs are known."""
        view = View.of(case.subject, case.domain)
        x, y = case.data.x_test[rows], case.data.y_test[rows]
        device = view.low.device
        seeds = [case.seeds.integer("attack", probe=case.probe.id, row=str(r)) for r in case.data.test_rows[rows]]
        scores = torch.as_tensor(np.array(outputs), device=device)
        labels = torch.as_tensor(y, device=device)
        return cls(
            case,
            view,
            x,
            y,
            view.unit(x),
            labels,
            torch.tensor(seeds, dtype=torch.int64, device=device),
            runners_up(scores, labels, scores.shape[1] - 1),
            _temperature(scores, case.subject.outputs),
            width,
        )

    def task(self, rows: torch.Tensor, start: torch.Tensor, epsilon: float, rank: int = 0) -> Task:
        """The task of attacking these rows, towards the class that comes `rank`-th after the true one."""
        unit, top, still = self.unit[rows], self.view.top, self.still(epsilon)
        return Task(unit, self.labels[rows], self.ranking[rows, rank], start, top, epsilon, still)

    def still(self, epsilon: float) -> torch.Tensor | None:
        """Which coordinates (*shape) cannot move in a ball of this radius; None where the data has no constraints."""
        domain = self.case.domain
        if not (self.bound and domain.constraints):
            return None
        radius = epsilon * domain.span.astype(np.float64)
        return torch.as_tensor(domain.constraints.still(radius), device=self.unit.device)

    def random_start(self, rows: torch.Tensor, epsilon: float, moment: int = 0) -> torch.Tensor:
        """A point drawn evenly from each row's ball."""
        return self.unit[rows] + epsilon * (2 * self._draws(rows, moment, _START) - 1)

    def corner(self, rows: torch.Tensor, epsilon: float, moment: int) -> torch.Tensor:
        """A corner of each row's ball, drawn by coin flips: noise of the full size, inside the box."""
        signs = torch.where(self._draws(rows, moment, _NOISE) < 0.5, -epsilon, epsilon)
        still = self.still(epsilon)
        moves = signs if still is None else torch.where(still, 0, signs)
        return (self.unit[rows] + moves).clamp_min(0).minimum(self.view.top)

    def climb(self, epsilon: float, steps: int, starts: torch.Tensor | None) -> Attack:
        """APGD on cross-entropy, from `starts` (a point for every row) or at random."""

        def run(rows: torch.Tensor) -> Attacked:
            start = self.random_start(rows, epsilon) if starts is None else starts[rows]
            task = self.task(rows, start, epsilon)
            return apgd(self.view.differentiable, task, self._away, steps=steps, width=self.width)

        return run

    def aim(self, epsilon: float, steps: int, rank: int, starts: torch.Tensor | None = None) -> Attack:
        """APGD on the lead of the `rank`-th class after the true one, from `starts` or at random."""

        def run(rows: torch.Tensor) -> Attacked:
            start = self.random_start(rows, epsilon, 1 + rank) if starts is None else starts[rows]
            task = self.task(rows, start, epsilon, rank)
            return apgd(self.view.differentiable, task, towards, steps=steps, width=self.width)

        return run

    def search(self, epsilon: float, queries: int, starts: torch.Tensor | None = None) -> Attack:
        """Random search on scores alone, from `starts` or from the clean rows."""

        def run(rows: torch.Tensor) -> Attacked:
            task = self.task(rows, (self.unit if starts is None else starts)[rows], epsilon)
            return square(self.view.scores, task, self.keys[rows], queries=queries, width=self.width)

        return run

    def _away(self, scores: torch.Tensor, y: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return cross_entropy(scores, y, self.temperature)

    def _draws(self, rows: torch.Tensor, moment: int, purpose: int) -> torch.Tensor:
        keys = self.keys[rows]
        drawn = uniform(keys, torch.full_like(keys, moment), self.unit[0].numel(), purpose=purpose)
        return drawn.view(len(rows), *self.unit.shape[1:]).to(self.unit.dtype)


@dataclass
class Standing:
    """How far the attack has come: which rows broke, the worst unit point of each row, and what broke it."""

    broken: Mask
    point: torch.Tensor
    changed: Array
    prediction: Labels
    refused: Mask  # broken at least once by a change that the data's constraints forbid
    violations: int = 0

    @classmethod
    def before(cls, bench: Bench, broken: Mask, prediction: Labels) -> "Standing":
        """The state before any attack: what is broken on clean inputs is broken."""
        none = np.zeros_like(broken)
        return cls(broken.copy(), bench.unit.clone(), bench.x.copy(), prediction.copy(), none)

    def strike(self, bench: Bench, epsilon: float, attack: Attack) -> Rows:
        """Attack the rows that stand; returns those that broke and whose success the case confirmed."""
        rows = np.flatnonzero(~self.broken)
        if not len(rows):
            return rows
        index = torch.as_tensor(rows, device=bench.unit.device)
        left = attack(index)
        self.point[index] = left.point
        claimed = left.broken.cpu().numpy()
        return self.judge(bench, epsilon, rows[claimed], bench.view.inputs(left.point[left.broken]))

    def judge(self, bench: Bench, epsilon: float, rows: Rows, changed: npt.NDArray[np.float64]) -> Rows:
        """Put changed inputs before the case; returns the rows it found broken."""
        if not len(rows):
            return rows
        seen = bench.case.verify(bench.x[rows], bench.y[rows], changed, epsilon)  # type: ignore[arg-type]  # float64 is kept
        self.violations += seen.violations
        self.refused[rows[seen.refused]] = True
        won = rows[seen.broken]
        self.broken[won] = True
        self.changed[won], self.prediction[won] = seen.x[seen.broken], seen.prediction[seen.broken]
        return won


def _temperature(scores: torch.Tensor, kind: str) -> float:
    return fitting_temperature(scores) if kind == "logits" else 1.0
