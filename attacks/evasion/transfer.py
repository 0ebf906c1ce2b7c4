"""Attacks along the gradients of a surrogate, tried on the subject: what fools the one often fools the other."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from .apgd import Model, Task
from .bench import Attack, Bench
from .label_search import Found
from .losses import lead_away, margin
from .surrogate import Surrogate, trained
from .survivors import Attacked, per_row

_STEPS = 20
_STRIDE = 0.2  # of the radius
_LOOKS = 4  # steps between two looks at what the subject says
_SCALES = (1.0, 1.5, 2.0, 3.0, 5.0)  # of the radius, in which a surrogate looks for wrong answers to start from
_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Transfer:
    """A surrogate of the subject, and the attack that it lends."""

    surrogate: Surrogate

    @classmethod
    def learned(cls, bench: Bench, epsilon: float) -> "Transfer | None":
        """A surrogate of the subject, for balls of about this radius; None where there is nothing to learn from."""
        top, still, goal = bench.view.top.cpu().float(), bench.still(epsilon), bench.view.goal
        still = None if still is None else still.cpu()

        def move(model: Model, unit: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            parts = [slice(at, at + bench.width) for at in range(0, len(unit), bench.width)]
            tasks = (Task(unit[p], y[p], y[p], unit[p], top, epsilon, still, bench.norm) for p in parts)
            return torch.cat([list(ascend(model, task, goal, _STEPS))[-1] for task in tasks])

        found = trained(bench.case, bench.view, move)
        return None if found is None else cls(found)

    def attack(self, bench: Bench, epsilon: float) -> Attack:
        """The attack on rows of a bench: the point of each at which the subject's own lead is least, and if it is lost.

        Costs the subject 1 forward pass a row, and 5 more a row that stands.
        """
        return along(self.surrogate, bench, epsilon)

    def reach(self, bench: Bench, rows: torch.Tensor, epsilon: float) -> Found:
        """The first point that breaks each of these rows (n,), in balls of up to five times this radius."""
        unit = bench.unit[rows]
        point, radius = unit.clone(), torch.full_like(unit.flatten(1)[:, 0], torch.inf)
        for scale in _SCALES:
            left = (radius == torch.inf).nonzero()[:, 0]
            size = min(scale * epsilon, bench.whole)
            if not len(left):
                break
            found = self.attack(bench, size)(rows[left])
            won = left[found.broken]
            point[won] = found.point[found.broken]
            radius[won] = bench.norm.distance((point[won] - unit[won]).flatten(1))
        return Found(point, radius)


def along(model: Model, bench: Bench, epsilon: float) -> Attack:
    """The attack that another model's slopes lend: the point of each row at which the subject's own lead is least.

    `model` gives scores (n, K) of unit points. Costs the subject 1 forward pass a row, and 5 more a row that stands.
    """

    def part(rows: torch.Tensor) -> Attacked:
        y = torch.as_tensor(bench.y, device=rows.device)[rows]
        task = replace(bench.task(rows, bench.unit[rows], epsilon), y=y)
        best = task.start
        least = margin(bench.view.scores(best), bench.labels[rows])
        for step, point in enumerate(ascend(model, task, bench.view.goal, _STEPS), start=1):
            if step % _LOOKS:
                continue
            lead = margin(bench.view.scores(point), bench.labels[rows])
            better = (lead <= least) & (least > 0)
            best, least = torch.where(per_row(better, point), point, best), torch.where(better, lead, least)
        return Attacked(best, least <= 0)

    def run(rows: torch.Tensor) -> Attacked:
        parts = [part(rows[at : at + bench.width]) for at in range(0, len(rows), bench.width)]
        return Attacked(torch.cat([p.point for p in parts]), torch.cat([p.broken for p in parts]))

    return run


def ascend(model: Model, task: Task, goal: int | None, steps: int) -> Iterator[torch.Tensor]:
    """Where does momentum carry rows up a model's lead of wrong classes: the points (n, *shape) after each step.

    The iterative method with momentum (Dong et al. 2018): gradients of mean length 1 are added up and the direction of
    their sum is followed, a fifth of the radius a step, which passes over what is peculiar to one net. `task.y` are
    the true classes; with a `goal`, its lead over the best other class is raised instead. No row stops early: it is
    another model that is to be fooled.
    """
    ends = task.lower.flatten(1), task.upper.flatten(1)
    x, point = task.x.flatten(1), task.inside(task.start).flatten(1)
    memory = torch.zeros_like(point)
    for _ in range(steps):
        memory += _slope(model, point.view_as(task.x), task.y, goal).flatten(1)
        ahead = point + _STRIDE * task.epsilon * task.norm.direction_(memory.clone())
        point = task.norm.project_(ahead, x, task.epsilon, *ends)
        yield point.view_as(task.x)


def _slope(model: Model, point: torch.Tensor, y: torch.Tensor, goal: int | None) -> torch.Tensor:
    """The gradient (n, *shape) of the wrong classes' lead, or of the goal's, of mean length 1."""
    with torch.enable_grad():
        here = point.detach().requires_grad_()
        scores = model(here)
        lead = lead_away(scores, y, y) if goal is None else -lead_away(scores, torch.full_like(y, goal), y)
        (gradient,) = torch.autograd.grad(lead.sum(), here)
    length = gradient.flatten(1).abs().mean(1).clamp_min(_TINY)
    return gradient / per_row(length, gradient)
