"""Published updates that need more than one array's gradient, in plain numpy; and the trajectory of any by its name."""

import math
from collections.abc import Callable

import numpy as np

from auditor.training.references import (
    HIDDEN,
    RULES,
    Array,
    Memory,
    Point,
    Quadratic,
    Settings,
    Weights,
    adamw,
    each,
    momentum,
    muon_matrix,
)

Trajectory = Callable[[Quadratic, int, float, Settings], Weights]
SUFFICIENT, CURVED = 1e-4, 0.9  # constants of the strong Wolfe conditions
# Where a default would leave a part of an update untouched within a few steps, or end them all too soon.
SETTINGS: dict[str, dict[str, float | bool]] = {
    "asgd": {"t0": 2.0, "lambd": 0.01},
    "lbfgs": {"max_iter": 1.0, "history_size": 3.0},
}


def reference(name: str, problem: Quadratic, steps: int, rate: float, settings: Settings) -> Weights | None:
    """Where does the published update of this name lead? None where there is no independent reference."""
    if name in RULES:
        return each([RULES[name]] * len(problem.start), problem, steps, rate, settings)
    return TRAJECTORIES[name](problem, steps, rate, settings) if name in TRAJECTORIES else None


def muon(problem: Quadratic, steps: int, rate: float, s: Settings) -> Weights:
    """Matrices by Muon, the rest by AdamW."""
    rules = [muon_matrix if number in HIDDEN else adamw for number in range(len(problem.start))]
    return each(rules, problem, steps, rate, s)


def sam(problem: Quadratic, steps: int, rate: float, s: Settings) -> Weights:
    """Foret et al., algorithm 1, over SGD with momentum."""
    weights, memories = list(problem.start), [Memory() for _ in problem.start]
    for t in range(1, steps + 1):
        g = problem.slope(weights)
        length = math.sqrt(sum(float((a**2).sum()) for a in g)) + 1e-12
        worst = problem.slope([w + s["rho"] * a / length for w, a in zip(weights, g, strict=True)])
        points = [Point(w, a, t, m) for w, a, m in zip(weights, worst, memories, strict=True)]
        weights = [momentum(point, rate, s) for point in points]
    return weights


def asgd(problem: Quadratic, steps: int, rate: float, s: Settings) -> Weights:
    """Bottou's averaged SGD: eta_t = rate / (1 + lambd rate t)^alpha, the mean over steps after t0."""
    weights, average = list(problem.start), list(problem.start)
    for t in range(1, steps + 1):
        eta = rate if t == 1 else rate / (1 + s["lambd"] * rate * (t - 1)) ** s["alpha"]
        g = problem.slope(weights)
        g = [a + s["weight_decay"] * w for w, a in zip(weights, g, strict=True)]
        weights = [(1 - s["lambd"] * eta) * w - eta * a for w, a in zip(weights, g, strict=True)]
        mu = 1 / max(1.0, t - 1 - s["t0"])
        average = [m + mu * (w - m) for m, w in zip(average, weights, strict=True)]
    return average


def schedule_free_sgd(problem: Quadratic, steps: int, rate: float, s: Settings) -> Weights:
    """Defazio et al., equations 1 to 3: z by SGD, x its mean, gradients at y between both."""
    return _schedule_free(problem, steps, rate, s, s["momentum"], None)


def schedule_free_adamw(problem: Quadratic, steps: int, rate: float, s: Settings) -> Weights:
    """Defazio et al., algorithm 1, without warm-up."""
    return _schedule_free(problem, steps, rate, s, s["beta1"], s["beta2"])


def _schedule_free(
    problem: Quadratic, steps: int, rate: float, s: Settings, beta: float, beta2: float | None
) -> Weights:
    z, x = list(problem.start), list(problem.start)
    square = [np.zeros_like(w) for w in z]
    for t in range(1, steps + 1):
        y = [(1 - beta) * a + beta * b for a, b in zip(z, x, strict=True)]
        g = problem.slope(y)
        if beta2 is not None:
            square = [beta2 * v + (1 - beta2) * a**2 for v, a in zip(square, g, strict=True)]
            g = [a / (np.sqrt(v / (1 - beta2**t)) + s["eps"]) for a, v in zip(g, square, strict=True)]
        z = [a - rate * (b + s["weight_decay"] * c) for a, b, c in zip(z, g, y, strict=True)]
        x = [(1 - 1 / t) * b + a / t for a, b in zip(z, x, strict=True)]
    return x


def lbfgs(problem: Quadratic, steps: int, rate: float, s: Settings) -> Weights:
    """Liu and Nocedal, algorithm 2.1, each step that many iterations.

    A length that breaks the strong Wolfe conditions is followed by the least point of the line: where cubic
    interpolation, which searches use, leads at once on a quadratic. Blind spot: at rates far below 1 a search
    first reaches outward, at most tenfold a time, and may stop short of that point.
    """
    x, g = _flat(problem.start), _flat(problem.slope(problem.start))
    pairs: list[tuple[Array, Array]] = []
    for number in range(steps * int(s["max_iter"])):
        d = -_two_loops(g, pairs)
        length = rate * (min(1.0, 1 / float(np.abs(g).sum())) if number == 0 else 1.0)
        if not _wolfe(problem, x, d, length):
            length = -float(g @ d) / float(d @ (_flat(problem.curvature) * d))
        after = x + length * d
        g_after = _flat(problem.slope(_shaped(after, problem)))
        pairs = [*pairs, (after - x, g_after - g)][-int(s["history_size"]) :]
        x, g = after, g_after
    return _shaped(x, problem)


def _wolfe(problem: Quadratic, x: Array, d: Array, length: float) -> bool:
    """Do the loss fall enough and its slope flatten enough, that far along d?"""
    along = float(_flat(problem.slope(_shaped(x, problem))) @ d)
    after = float(_flat(problem.slope(_shaped(x + length * d, problem))) @ d)
    drop = _loss(x + length * d, problem) - _loss(x, problem)
    return drop <= SUFFICIENT * length * along and abs(after) <= -CURVED * along


def _two_loops(g: Array, pairs: list[tuple[Array, Array]]) -> Array:
    """The approximate inverse Hessian times g (Nocedal 1980)."""
    q, alphas = g.copy(), []
    for step, change in reversed(pairs):
        alphas.append(float(step @ q) / float(change @ step))
        q -= alphas[-1] * change
    if pairs:
        step, change = pairs[-1]
        q *= float(step @ change) / float(change @ change)
    for (step, change), alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - float(change @ q) / float(change @ step)) * step
    return q


def _flat(weights: Weights) -> Array:
    return np.concatenate([w.ravel() for w in weights])


def _shaped(flat: Array, problem: Quadratic) -> Weights:
    ends = np.cumsum([w.size for w in problem.start])[:-1]
    return [part.reshape(w.shape) for part, w in zip(np.split(flat, ends), problem.start, strict=True)]


def _loss(flat: Array, problem: Quadratic) -> float:
    away = flat - _flat(problem.target)
    return float((_flat(problem.curvature) * away**2).sum() / 2)


TRAJECTORIES: dict[str, Trajectory] = {
    "muon": muon,
    "sam": sam,
    "asgd": asgd,
    "lbfgs": lbfgs,
    "schedule-free-sgd": schedule_free_sgd,
    "schedule-free-adamw": schedule_free_adamw,
}
