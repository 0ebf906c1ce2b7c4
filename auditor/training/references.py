"""The published updates once more, in plain numpy: what each optimizer must do on a problem with a known slope."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Weights = list[Array]
Settings = Mapping[str, float | bool]
Memory = dict[str, Array]
Slope = Callable[[Weights], Weights]

SHAPES = ((4, 3), (3, 2, 1, 2), (5,), (2, 4))  # a hidden matrix, a kernel, a vector, and the head
HIDDEN = (0, 1)  # which of them are hidden matrices
SMALLEST, LARGEST = 0.5, 2.0  # curvatures lie between
AWAY = 0.25  # deviation of starts from their targets


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A loss sum of curvature (w - target)^2 / 2 over arrays of several shapes, and where weights start."""

    curvature: Weights
    target: Weights
    start: Weights

    def slope(self, weights: Weights) -> Weights:
        """The gradient there."""
        return [c * (w - t) for c, w, t in zip(self.curvature, weights, self.target, strict=True)]


def quadratic(seed: int) -> Quadratic:
    """The problem of a seed: curvatures from 0.5 to 2, targets standard normal, starts about a quarter from them."""
    rng = np.random.Generator(np.random.PCG64(seed))
    curvature = [rng.uniform(SMALLEST, LARGEST, shape) for shape in SHAPES]
    target = [rng.standard_normal(shape) for shape in SHAPES]
    return Quadratic(curvature, target, [t + AWAY * rng.standard_normal(t.shape) for t in target])


@dataclass
class Point:
    """One array under way: its gradient, the number of the step from 1, and what its rule remembers."""

    w: Array
    g: Array
    t: int
    m: Memory

    def mean(self, name: str, beta: float, value: Array) -> Array:
        """An exponential mean from 0, kept under a name."""
        self.m[name] = beta * self.m.get(name, np.zeros_like(value)) + (1 - beta) * value
        return self.m[name]


Rule = Callable[[Point, float, Settings], Array]


def decayed(p: Point, s: Settings) -> Point:
    """With L2 decay in the gradient."""
    return Point(p.w, p.g + s["weight_decay"] * p.w, p.t, p.m)


def sgd_plain(p: Point, rate: float, s: Settings) -> Array:
    """Robbins and Monro."""
    return p.w - rate * decayed(p, s).g


def momentum(p: Point, rate: float, s: Settings) -> Array:
    """Polyak; with `nesterov`, Sutskever et al., equations 3 and 4, in the variables of the look-ahead."""
    g = decayed(p, s).g
    v = p.m["v"] = s["momentum"] * p.m.get("v", np.zeros_like(g)) + g
    return p.w - rate * (g + s["momentum"] * v if s.get("nesterov") else v)


def _adam_way(p: Point, s: Settings) -> Array:
    m = p.mean("m", s["beta1"], p.g) / (1 - s["beta1"] ** p.t)
    v = p.mean("v", s["beta2"], p.g**2) / (1 - s["beta2"] ** p.t)
    return m / (np.sqrt(v) + s["eps"])


def adam(p: Point, rate: float, s: Settings) -> Array:
    """Kingma and Ba, algorithm 1."""
    return p.w - rate * _adam_way(decayed(p, s), s)


def adamw(p: Point, rate: float, s: Settings) -> Array:
    """Loshchilov and Hutter, algorithm 2."""
    return p.w - rate * (_adam_way(p, s) + s["weight_decay"] * p.w)


def nadam(p: Point, rate: float, s: Settings) -> Array:
    """Dozat, with the momentum schedule of his section 2: mu_t = beta1 (1 - 0.96^(t decay) / 2)."""
    p = decayed(p, s)
    now, after = (s["beta1"] * (1 - 0.5 * 0.96 ** (k * s["momentum_decay"])) for k in (p.t, p.t + 1))
    product = p.m["product"] = p.m.get("product", np.ones(())) * now
    m, v = p.mean("m", s["beta1"], p.g), p.mean("v", s["beta2"], p.g**2) / (1 - s["beta2"] ** p.t)
    way = after * m / (1 - product * after) + (1 - now) * p.g / (1 - product)
    return p.w - rate * way / (np.sqrt(v) + s["eps"])


def radam(p: Point, rate: float, s: Settings) -> Array:
    """Liu et al., algorithm 2, but rectified above a length of 5, as by their code; the paper's 4 differs at t = 5."""
    p = decayed(p, s)
    m, v = p.mean("m", s["beta1"], p.g) / (1 - s["beta1"] ** p.t), p.mean("v", s["beta2"], p.g**2)
    most = 2 / (1 - s["beta2"]) - 1
    length = most - 2 * p.t * s["beta2"] ** p.t / (1 - s["beta2"] ** p.t)
    if length <= 5:
        return p.w - rate * m
    share = math.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
    return p.w - rate * share * m * math.sqrt(1 - s["beta2"] ** p.t) / (np.sqrt(v) + s["eps"])


def adagrad(p: Point, rate: float, s: Settings) -> Array:
    """Duchi, Hazan and Singer, diagonal; with torch's decay of the rate."""
    p = decayed(p, s)
    total = p.m["total"] = p.m.get("total", np.zeros_like(p.g)) + p.g**2
    return p.w - rate / (1 + (p.t - 1) * s["lr_decay"]) * p.g / (np.sqrt(total) + s["eps"])


def adadelta(p: Point, rate: float, s: Settings) -> Array:
    """Zeiler, algorithm 1."""
    p = decayed(p, s)
    moved = p.m.get("moved", np.zeros_like(p.g))
    way = np.sqrt(moved + s["eps"]) / np.sqrt(p.mean("v", s["rho"], p.g**2) + s["eps"]) * p.g
    p.mean("moved", s["rho"], way**2)
    return p.w - rate * way


def adamax(p: Point, rate: float, s: Settings) -> Array:
    """Kingma and Ba, algorithm 2; epsilon joins the new gradient, as in torch."""
    p = decayed(p, s)
    u = p.m["u"] = np.maximum(s["beta2"] * p.m.get("u", np.zeros_like(p.g)), np.abs(p.g) + s["eps"])
    return p.w - rate / (1 - s["beta1"] ** p.t) * p.mean("m", s["beta1"], p.g) / u


def rmsprop(p: Point, rate: float, s: Settings) -> Array:
    """Tieleman and Hinton, lecture 6.5."""
    p = decayed(p, s)
    way = p.g / (np.sqrt(p.mean("v", s["alpha"], p.g**2)) + s["eps"])
    b = p.m["b"] = s["momentum"] * p.m.get("b", np.zeros_like(way)) + way
    return p.w - rate * b


def rprop(p: Point, rate: float, s: Settings) -> Array:
    """Riedmiller and Braun without backtracking: where the sign turns, the weight rests for one step."""
    last, size = p.m.get("g", np.zeros_like(p.g)), p.m.get("size", np.full_like(p.g, rate))
    factor = np.where(p.g * last > 0, s["eta_plus"], np.where(p.g * last < 0, s["eta_minus"], 1.0))
    size = p.m["size"] = np.clip(size * factor, s["step_min"], s["step_max"])
    g = p.m["g"] = np.where(p.g * last < 0, 0.0, p.g)
    return p.w - np.sign(g) * size


def adafactor(p: Point, rate: float, s: Settings) -> Array:
    """Shazeer and Stern, algorithms 4 and 5, with relative steps at most the rate."""
    w, share = p.w * (1 - rate * s["weight_decay"]), p.t ** -s["decay"]
    square = p.g**2
    if p.g.ndim > 1:
        rows = p.mean("rows", 1 - share, square.mean(-1, keepdims=True))
        columns = p.mean("columns", 1 - share, square.mean(-2, keepdims=True))
        v = rows @ columns / rows.mean(-2, keepdims=True)
    else:
        v = p.mean("v", 1 - share, square)
    way = p.g / np.sqrt(v)
    length = max(s["eps"], _rms(p.w)) * min(rate, 1 / math.sqrt(p.t))
    after: Array = w - length * way / max(1.0, _rms(way) / s["clip"])
    return after


def _rms(a: Array) -> float:
    return float(np.sqrt((a**2).mean()))


def lion(p: Point, rate: float, s: Settings) -> Array:
    """Chen et al., algorithm 2."""
    m = p.m.get("m", np.zeros_like(p.g))
    way = np.sign(s["beta1"] * m + (1 - s["beta1"]) * p.g)
    p.m["m"] = s["beta2"] * m + (1 - s["beta2"]) * p.g
    return p.w - rate * (way + s["weight_decay"] * p.w)


def muon_matrix(p: Point, rate: float, s: Settings) -> Array:
    """Jordan's update of a matrix, scaled as Liu et al. do; the singular values go through the quintic one by one."""
    m = p.mean("m", s["momentum"], p.g)
    way = (1 - s["momentum"]) * p.g + s["momentum"] * m if s["nesterov"] else m
    flat = way.reshape(len(way), -1)
    u, sigma, v = np.linalg.svd(flat, full_matrices=False)
    sigma = sigma / max(float(np.sqrt((flat**2).sum())), 1e-7)
    for _ in range(5):
        sigma = 3.4445 * sigma - 4.7750 * sigma**3 + 2.0315 * sigma**5
    step: Array = 0.2 * math.sqrt(max(flat.shape)) * ((u * sigma) @ v).reshape(p.w.shape)
    return p.w * (1 - rate * s["weight_decay"]) - rate * step


def each(rules: Sequence[Rule], problem: Quadratic, steps: int, rate: float, s: Settings) -> Weights:
    """The weights after so many steps, each array by its own rule."""
    weights, memories = list(problem.start), [Memory() for _ in problem.start]
    for t in range(1, steps + 1):
        points = [Point(w, g, t, m) for w, g, m in zip(weights, problem.slope(weights), memories, strict=True)]
        weights = [rule(point, rate, s) for rule, point in zip(rules, points, strict=True)]
    return weights


RULES: dict[str, Rule] = {
    "sgd": momentum,
    "momentum": momentum,
    "sgd-plain": sgd_plain,
    "adam": adam,
    "adamw": adamw,
    "nadam": nadam,
    "radam": radam,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "adamax": adamax,
    "rmsprop": rmsprop,
    "rprop": rprop,
    "adafactor": adafactor,
    "lion": lion,
}
