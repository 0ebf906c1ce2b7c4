"""A class by which a model says that it refuses: which rows can be made into another class without being caught."""

from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from auditor.dataset import Array, Labels
from auditor.record import Caveat

from . import repairs, sanity
from .bench import Bench, Standing
from .convergence import Convergence
from .course import Course, nearest_answers, standing_rows
from .losses import fitting_temperature, runners_up
from .paths import Gains, full_range
from .slopes import slope

if TYPE_CHECKING:
    from .ball import Ball
    from .results import Clean
    from .second_looks import SecondLooks

FULL_RANGE_STEPS = 20
_TRIED = 64
_LOOKED_AT = 64
_STEPPED = 0.05
_MOMENT = 96  # of a draw of its own


@dataclass(eq=False)
class Uncaught:
    """Which rows (n,) broke without being refused, in `broken` (n, epsilons), and how: inputs and predictions.

    Where no class stands for refusing these are the rows that broke, and `reject` is None. `courses` are the attacks
    that led to it, one a class. `stepped` is the largest share of rows left standing where refusing has no slope.
    """

    broken: npt.NDArray[np.bool_]
    changed: Array
    prediction: Labels
    reject: int | None = None
    violations: int = 0
    stepped: float = 0.0
    courses: list[Course] = field(default_factory=list)

    @property
    def asked(self) -> npt.NDArray[np.bool_] | None:
        """What broke uncaught (n, epsilons), where a class stands for refusing."""
        return None if self.reject is None else self.broken

    def fold(self, standing: Standing, broken: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """What is broken by any answer (n, epsilons): what broke uncaught is, and at the least radius known."""
        nearer = (self.broken & ~broken).any(1)
        standing.changed[nearer], standing.prediction[nearer] = self.changed[nearer], self.prediction[nearer]
        standing.broken |= self.broken[:, -1]
        standing.violations += self.violations
        return np.asarray(broken | self.broken)

    def caveats(self, bench: Bench, clean: "Clean", probe: "Ball") -> list[Caveat]:
        """How many rows broke only by being refused, and what speaks against the attacks that tried to avoid it."""
        if self.reject is None or not self.courses:
            return []
        course = _together(self.courses)
        found = course.caveats(len(clean.y))
        found += repairs.repair_caveats(course.repaired, self.broken[:, -1], searched=True)
        if self.stepped > _STEPPED:
            told = f"beside {self.stepped:.1%} of the rows that stood the score of refusing has no slope, though it is "
            told += "not that of the row: it rises in steps, and what stood was attacked without gradients too"
            found.append(Caveat(flag="zero_gradient", severity="suspicious", evidence=told))
        if probe.self_test and course.path != "labels" and not sanity.little_stands(self.broken[:, 0]):
            found += self._whole(bench, clean, probe, course)
        return [c.model_copy(update={"evidence": f"led past {probe.reject!r}: {c.evidence}"}) for c in found]

    def _whole(self, bench: Bench, clean: "Clean", probe: "Ball", course: Course) -> list[Caveat]:
        """Does an attack with the whole range to move in make nearly every row into some other class."""
        rows = np.flatnonzero(~clean.broken)
        tried = np.zeros_like(clean.broken)
        tried[rows[:: max(1, len(rows) // _TRIED)][:_TRIED]] = True
        left, queries = tried.copy(), probe.blind_queries if course.path == "scores" else None
        violations = 0
        for goal in _goals(bench, self.reject):
            if (left & (clean.y != goal)).any():
                aimed = towards(bench, clean.outputs, goal)
                trial = Standing.before(aimed, ~left | (clean.y == goal), clean.prediction)
                end = full_range(aimed, trial, FULL_RANGE_STEPS, queries)
                left &= ~(end.tried & ~end.left)
                violations += end.violations
        return sanity.full_range_caveats(tried, left, self.broken[:, -1]) + sanity.budget_caveats(violations)


@dataclass(frozen=True, eq=False)
class Known:
    """What the attack by any answer left: its course and other looks, where rows stand, broken (n, epsilons)."""

    course: Course
    looks: "SecondLooks"
    standing: Standing
    broken: npt.NDArray[np.bool_]


def uncaught(bench: Bench, clean: "Clean", probe: "Ball", known: Known) -> Uncaught:
    """Which rows can be made into a class other than their own, alone at the top: above that of refusing, too.

    Each class in turn is the goal of the whole attack, at every radius, for the rows of other classes that stand there.
    What is known to have broken a row by any answer counts where that answer was another class and won alone. Costs at
    most one targeted attack a class. Ties, and scores that are no numbers, break no row here: no class has won.
    """
    reject = probe.refusal(bench.case.data.classes)
    if reject is None:
        return Uncaught(known.broken, known.standing.changed, known.standing.prediction)
    columns = np.repeat(clean.broken[:, None], known.broken.shape[1], axis=1)
    past = Uncaught(columns, bench.x.copy(), clean.prediction.copy(), reject)
    for goal in _goals(bench, reject):
        if not (past.broken[:, 0] | (clean.y == goal)).all():
            _make_into(goal, bench, clean, probe, known, past)
    return past


def _make_into(goal: int, bench: Bench, clean: "Clean", probe: "Ball", known: Known, past: Uncaught) -> None:
    """Attack the rows of other classes with this one as the goal; `past` learns what broke."""
    bench, own = towards(bench, clean.outputs, goal), clean.y == goal
    run = Standing.before(bench, past.broken[:, 0] | own, clean.prediction)
    course = _course(bench, run, probe, known.course)
    for column, radius in enumerate(probe.radii):
        epsilon = min(radius, bench.whole)
        run.broken |= past.broken[:, column]
        before = run.broken.copy()
        _recall(bench, run, epsilon, known, column)
        if known.looks.learned is not None:
            run.strike(bench, epsilon, known.looks.learned.attack(bench, epsilon))
        bench = course.advance(bench, run, epsilon, probe)
        course.repair(bench, run, epsilon, probe)
        _climb_steps(bench, run, epsilon, probe, course, past)
        won = run.broken & ~before
        past.broken[won, column:] = True
        past.changed[won], past.prediction[won] = run.changed[won], run.prediction[won]
    past.violations += run.violations
    past.courses.append(course)


def _climb_steps(bench: Bench, run: Standing, epsilon: float, probe: "Ball", course: Course, past: Uncaught) -> None:
    """Where the score of refusing rises in steps, attack the rows that stand without gradients, which it has not."""
    if course.path != "gradients" or past.reject is None or course.repaired.slope.doubtful:
        return
    found = stepped(bench, standing_rows(bench, run)[:_LOOKED_AT], epsilon, past.reject)
    past.stepped = max(past.stepped, found)
    if found > _STEPPED:
        repairs.without_gradients(bench, run, epsilon, probe.blind_queries)


def stepped(bench: Bench, rows: torch.Tensor, epsilon: float, reject: int) -> float:
    """For what share of these rows (n,) has refusing no slope at a random point of the ball, yet another score there.

    A threshold that is the same everywhere is none of them; a detector's verdict of nought or one is.
    """
    if not len(rows):
        return 0.0
    view, point = replace(bench.view, goal=None), bench.random_start(rows, epsilon, _MOMENT)
    point = point.clamp_min(0).minimum(view.top).detach().requires_grad_()
    score = view.differentiable(point)[:, reject]
    (gradient,) = torch.autograd.grad(score.sum(), point)
    moved = score.detach() != view.scores(bench.unit[rows])[:, reject]
    return float((moved & (gradient == 0).flatten(1).all(1)).double().mean())


def _recall(bench: Bench, run: Standing, epsilon: float, known: Known, column: int) -> None:
    """Break the rows that the attack by any answer has made into this goal already."""
    there = known.broken[:, column] & (known.standing.prediction == bench.view.goal) & ~run.broken
    run.judge(bench, epsilon, np.flatnonzero(there), known.standing.changed[there].astype(np.float64))


def _course(bench: Bench, run: Standing, probe: "Ball", like: Course) -> Course:
    """The same path again, whose gradients, and nearest answers, are those of this goal."""
    rows, random = standing_rows(bench, run), like.repaired.random
    found = slope(bench, rows, random=random) if like.path == "gradients" else like.repaired.slope
    point = nearest_answers(bench, rows, probe).point if like.path == "labels" else bench.unit
    return Course(like.path, repairs.Repaired(found, random, rows), point)


def towards(bench: Bench, outputs: Array, goal: int) -> Bench:
    """The bench with this class as its goal, of the same rows with these outputs (n, K) on clean inputs."""
    view = replace(bench.view, goal=goal)
    scores = view.read(torch.as_tensor(np.array(outputs), dtype=view.low.dtype, device=view.low.device))
    return replace(
        bench,
        view=view,
        labels=torch.zeros_like(bench.labels),
        ranking=runners_up(scores, torch.zeros_like(bench.labels), 1),
        temperature=fitting_temperature(scores) if bench.case.subject.outputs == "logits" else 1.0,
        aimed=False,
    )


def _goals(bench: Bench, reject: int | None) -> list[int]:
    """The classes that a row may be made into."""
    return [k for k in range(len(bench.case.data.classes)) if k != reject]


def _together(courses: list[Course]) -> Course:
    """The courses as one: gains of all goals added up at each radius, and the gradients that are most in doubt."""
    worst = max(courses, key=lambda c: (c.repaired.slope.doubtful, c.repaired.stalled is not None)).repaired
    tried, broken = (sum(getattr(c.repaired, name) for c in courses) for name in ("tried", "broken"))
    gains = Gains(_added([c.gains.noise for c in courses]), _added([c.gains.black_box for c in courses]))
    ended = Convergence(
        one_step=_added([c.ended.one_step for c in courses]),
        broken=sum(c.ended.broken for c in courses),
        steps=max(c.ended.steps for c in courses),
        unended=max(c.ended.unended for c in courses),
    )
    repaired = replace(worst, tried=tried, broken=broken)
    return Course(courses[0].path, repaired, courses[0].point, gains, ended)


def _added(counts: list[list[int]]) -> list[int]:
    return [sum(each) for each in zip_longest(*counts, fillvalue=0)]
