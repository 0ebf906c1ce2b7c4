"""The rows under attack, and which of them still stand: every claimed success is judged again by the case."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from auditor.balls import NormName
from auditor.dataset import Array, Labels
from auditor.probe import Case

from .across import across
from .apgd import RowLoss, Task, apgd
from .draws import uniform
from .losses import cross_entropy, fitting_temperature, lead_away, margin, runners_up, towards, towards_ratio
from .norms import BY_NAME, Norm
from .sparse import sparse_apgd
from .square import square
from .survivors import Attacked, per_row
from .tangents import tangents
from .targets import nearest_first
from .view import View

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Attack = Callable[[torch.Tensor], Attacked]  # row indices -> what became of them

_RATIO_CLASSES = 4  # fewer, and the difference-of-logits ratio is not defined
_FELT = 9  # classes whose slopes are read off scores
_AGAIN = 1000  # moments of a second start lie so far behind those of the first
_START = 2  # purposes of random draws, apart from those of the random search
_NOISE = 3
_AT_ONCE = 1 << 25  # coordinates of the rows that an attack is given together


@dataclass(frozen=True, eq=False)
class Bench:
    """What an attack needs of the rows it is given: in unit coordinates, on the subject's device.

    `labels` are those of the view's scores: with a goal, 0 for all. `ranking` (n, K - 1) says which wrong classes
    come first. `bound` says whether it leaves alone what the data's constraints do not let move.
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
    norm: Norm
    bound: bool = True
    aimed: bool = False

    @classmethod
    def of(
        cls, case: Case, rows: Rows, outputs: Array, width: int, norm: NormName = "linf", goal: int | None = None
    ) -> "Bench":
        """The bench of these test rows, whose outputs on clean inputs are known."""
        view = View.of(case.subject, case.domain, goal)
        x, y = case.domain.clip(case.data.x_test[rows]), case.data.y_test[rows]
        device = view.low.device
        seeds = [case.seeds.integer("attack", probe=case.probe.id, row=str(r)) for r in case.data.test_rows[rows]]
        scores = view.read(torch.as_tensor(np.array(outputs), dtype=view.low.dtype, device=device))
        labels = torch.as_tensor(y if goal is None else np.zeros_like(y), device=device)
        return cls(
            case=case,
            view=view,
            x=x,
            y=y,
            unit=view.unit(x),
            labels=labels,
            keys=torch.tensor(seeds, dtype=torch.int64, device=device),
            ranking=runners_up(scores, labels, scores.shape[1] - 1),
            temperature=_temperature(scores, case.subject.outputs),
            width=width,
            norm=BY_NAME[norm],
        )

    @property
    def whole(self) -> float:
        """The radius of a ball that holds the whole range."""
        return self.norm.whole(self.unit[0].numel())

    def nearest_first(self, rows: torch.Tensor, candidates: int) -> "Bench":
        """The bench with the wrong classes of these rows (n,) in the order of their distance, not of their scores."""
        ranking = self.ranking.clone()
        ranking[rows] = nearest_first(
            self.view.differentiable,
            self.unit[rows],
            self.labels[rows],
            self.ranking[rows],
            self.norm,
            candidates=candidates,
            width=self.width,
        )
        return replace(self, ranking=ranking, aimed=True)

    def task(self, rows: torch.Tensor, start: torch.Tensor, epsilon: float, rank: int = 0) -> Task:
        """The task of attacking these rows, towards the class that comes `rank`-th after the true one."""
        unit, top, still = self.unit[rows], self.view.top, self.still(epsilon)
        return Task(unit, self.labels[rows], self.ranking[rows, rank], start, top, epsilon, still, self.norm)

    def still(self, epsilon: float) -> torch.Tensor | None:
        """Which coordinates (*shape) cannot move in a ball of this radius; None where the data has no constraints."""
        domain = self.case.domain
        if not (self.bound and domain.constraints):
            return None
        radius = epsilon * domain.span.astype(np.float64)
        return torch.as_tensor(domain.constraints.still(radius), device=self.unit.device)

    def random_start(self, rows: torch.Tensor, epsilon: float, moment: int = 0) -> torch.Tensor:
        """A random point of each row's ball, which may lie outside the box."""
        return self.unit[rows] + self._spread(self._draws(rows, moment, _START), epsilon)

    def corner(self, rows: torch.Tensor, epsilon: float, moment: int) -> torch.Tensor:
        """Noise of the full size, inside the box: in Linf a corner of the ball, else a random point of its edge."""
        draws = self._draws(rows, moment, _NOISE)
        if self.norm.name == "linf":
            draws = torch.where(draws < 0.5, 0.0, 1.0)
        moves, still = self._spread(draws, epsilon), self.still(epsilon)
        moves = moves if still is None else torch.where(still, 0, moves)
        return (self.unit[rows] + moves).clamp_min(0).minimum(self.view.top)

    def cross(self, epsilon: float) -> Attack:
        """One step across the ball on cross-entropy, from the clean rows."""

        def run(rows: torch.Tensor) -> Attacked:
            task = self.task(rows, self.unit[rows], epsilon)
            return across(self.view.differentiable, self.view.scores, task, self._away, width=self.width)

        return run

    def climb(self, epsilon: float, steps: int, starts: torch.Tensor | None) -> Attack:
        """APGD on cross-entropy, from `starts` (a point for every row) or at random."""
        return self._ascent(epsilon, steps, 0, self._away, starts, 0)

    def climb_margin(self, epsilon: float, steps: int, moment: int) -> Attack:
        """APGD on the lead of whichever other class is best, at random."""
        return self._ascent(epsilon, steps, 0, lead_away, None, moment)

    def aim(
        self, epsilon: float, steps: int, rank: int, starts: torch.Tensor | None = None, *, again: int = 0
    ) -> Attack:
        """APGD on the lead of the `rank`-th wrong class, from `starts` or at random; `again` counts further starts."""
        return self._ascent(epsilon, steps, rank, self._targeted, starts, 1 + rank + _AGAIN * again)

    def aim_at_each(self, epsilon: float, steps: int, ranks: range, *, again: int = 0) -> Attack:
        """APGD on the lead of each of several wrong classes at once; of each row the worst end counts.

        Few rows towards many classes make batches as full as many rows towards one.
        """

        def run(rows: torch.Tensor) -> Attacked:
            each, rank = rows.repeat_interleave(len(ranks)), torch.tensor(ranks, device=rows.device).repeat(len(rows))
            moments = (1 + r + _AGAIN * again for r in ranks)
            start = torch.stack([self.random_start(rows, epsilon, moment) for moment in moments], 1).flatten(0, 1)
            task = replace(self.task(each, start, epsilon), target=self.ranking[each, rank])
            left = self._ascend(task, self._targeted, steps)
            lead = self.leads(each, left.point).masked_fill(left.broken, -torch.inf)
            worst = lead.view(-1, len(ranks)).argmin(1) + len(ranks) * torch.arange(len(rows), device=rows.device)
            return Attacked(left.point[worst], left.broken[worst])

        return run

    def search(self, epsilon: float, queries: int, starts: torch.Tensor | None = None) -> Attack:
        """Random search on scores alone, from `starts` or from the clean rows."""

        def run(rows: torch.Tensor) -> Attacked:
            task = self.task(rows, (self.unit if starts is None else starts)[rows], epsilon)
            return square(self.view.scores, task, self.keys[rows], queries=queries, width=self.width)

        return run

    def feel(self, epsilon: float, queries: int, starts: torch.Tensor) -> Attack:
        """Search along slopes read off scores, towards the first of the wrong classes, from `starts`."""

        def run(rows: torch.Tensor) -> Attacked:
            task, targets = self.task(rows, starts[rows], epsilon), self.ranking[rows, :_FELT]
            return tangents(self.view.scores, task, targets, self.keys[rows], queries=queries, width=self.width)

        return run

    def leads(self, rows: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """How far the true class leads (n,) at points (n, *shape), one for each of the rows (n,)."""
        parts = [slice(at, at + self.width) for at in range(0, len(rows), self.width)]
        found = [margin(self.view.scores(points[part]), self.labels[rows[part]]) for part in parts]
        return torch.cat(found) if found else self.unit.new_zeros(0)

    @property
    def classes(self) -> int:
        """How many scores a row has."""
        return self.ranking.shape[1] + 1

    def _ascent(
        self, epsilon: float, steps: int, rank: int, loss: RowLoss, starts: torch.Tensor | None, moment: int
    ) -> Attack:
        def run(rows: torch.Tensor) -> Attacked:
            start = self.random_start(rows, epsilon, moment) if starts is None else starts[rows]
            return self._ascend(self.task(rows, start, epsilon, rank), loss, steps)

        return run

    def _ascend(self, task: Task, loss: RowLoss, steps: int) -> Attacked:
        ascend = sparse_apgd if self.norm.name == "l1" else apgd
        return ascend(self.view.differentiable, task, loss, steps=steps, width=self.width)

    @property
    def _targeted(self) -> RowLoss:
        return towards_ratio if self.classes >= _RATIO_CLASSES else towards

    def _spread(self, draws: torch.Tensor, epsilon: float) -> torch.Tensor:
        return self.norm.spread(draws.flatten(1), epsilon).view_as(draws)

    def _away(self, scores: torch.Tensor, y: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return cross_entropy(scores, y, self.temperature)

    def _draws(self, rows: torch.Tensor, moment: int, purpose: int) -> torch.Tensor:
        keys = self.keys[rows]
        drawn = uniform(keys, torch.full_like(keys, moment), self.unit[0].numel(), purpose=purpose)
        return drawn.view(len(rows), *self.unit.shape[1:]).to(self.unit.dtype)


@dataclass
class Standing:
    """How far the attack has come: which rows broke, the worst unit point of each row, and what broke it.

    `lead` (n,) is that of the true class at the worst point, inf before any attack.
    """

    broken: Mask
    point: torch.Tensor
    lead: torch.Tensor
    changed: Array
    prediction: Labels
    refused: Mask  # broken at least once by a change that the data's constraints forbid
    violations: int = 0

    @classmethod
    def before(cls, bench: Bench, broken: Mask, prediction: Labels) -> "Standing":
        """The state before any attack: what is broken on clean inputs is broken."""
        none = np.zeros_like(broken)
        lead = torch.full_like(bench.unit.flatten(1)[:, 0], torch.inf)
        return cls(broken.copy(), bench.unit.clone(), lead, bench.x.copy(), prediction.copy(), none)

    def strike(self, bench: Bench, epsilon: float, attack: Attack, among: Mask | None = None) -> Rows:
        """Attack the rows that stand, or those `among` them; returns those that the case confirmed to be broken."""
        rows = np.flatnonzero(~self.broken if among is None else ~self.broken & among)
        if not len(rows):
            return rows
        height = max(bench.width, _AT_ONCE // bench.unit[0].numel())  # large inputs, many rows: a part at a time
        parts = [rows[at : at + height] for at in range(0, len(rows), height)]
        return np.concatenate([self._strike(bench, epsilon, attack, part) for part in parts])

    def _strike(self, bench: Bench, epsilon: float, attack: Attack, rows: Rows) -> Rows:
        index = torch.as_tensor(rows, device=bench.unit.device)
        left = attack(index)
        self._keep(bench, index, left)
        claimed = left.broken.cpu().numpy()
        return self.judge(bench, epsilon, rows[claimed], bench.view.inputs(left.point[left.broken]))

    def _keep(self, bench: Bench, rows: torch.Tensor, left: Attacked) -> None:
        """Remember where an attack left these rows (n,), if that is worse than what was known."""
        lead, stands = torch.zeros_like(self.lead[rows]), ~left.broken
        lead[stands] = bench.leads(rows[stands], left.point[stands])
        # a row that the case did not find broken, though it once seemed to be, takes whatever comes
        worse = (lead < self.lead[rows]) | (self.lead[rows] <= 0)
        self.lead[rows] = torch.where(worse, lead, self.lead[rows])
        self.point[rows] = torch.where(per_row(worse, left.point), left.point, self.point[rows])

    def in_order(self) -> Rows:
        """The rows that stand, the one with the smallest lead first."""
        rows = np.flatnonzero(~self.broken)
        lead = self.lead[torch.as_tensor(rows, device=self.lead.device)]
        ordered: Rows = rows[lead.argsort(stable=True).cpu().numpy()]
        return ordered

    def judge(self, bench: Bench, epsilon: float, rows: Rows, changed: npt.NDArray[np.float64]) -> Rows:
        """Put changed inputs before the case; returns the rows it found broken."""
        if not len(rows):
            return rows
        x: Any = changed  # float64 is kept
        seen = bench.case.verify(bench.x[rows], bench.y[rows], x, epsilon, norm=bench.norm.name, goal=bench.view.goal)
        self.violations += seen.violations
        self.refused[rows[seen.refused]] = True
        won = rows[seen.broken]
        self.broken[won] = True
        self.changed[won], self.prediction[won] = seen.x[seen.broken], seen.prediction[seen.broken]
        return won


def _temperature(scores: torch.Tensor, kind: str) -> float:
    return fitting_temperature(scores) if kind == "logits" else 1.0
