"""Whether a model's gradients tell the truth about its scores: asked at given points, answered in shares of rows."""

from dataclasses import dataclass, replace
from typing import cast

import torch

from .bench import Bench
from .draws import uniform
from .losses import cross_entropy, lead_away, margin, runners_up, towards

_PURPOSE = 5
_ROWS = 64
_MOST = 128
_DIRECTIONS = 16
_REACH = 1 / 8  # of the radius: so near that an honest net is all but linear, so far that what masks it is not
_LEAST_REACH = 1e-3  # of the range: nearer, and the rounding of float16 scores would speak
_ASTRAY = 0.7  # the cosine of a row: of 64 rows of an honest net one at most has less, where a kink lies beside it
_FEW = 3
_FELT = 0.1  # of the change that all features make
_INSIDE = 97  # moments of draws of their own


@dataclass(frozen=True)
class Slope:
    """What gradients are worth: shares of rows, and why there are none at all.

    `zero` and `unreadable` are the shares of rows whose gradient is zero, or no number; `dead` the share of zero
    coordinates in the others. `saturated` is the share whose cross-entropy alone has none: their scores lie too far
    apart for it, and the lead has one. `agreement` is the median over rows of the cosine between what the gradient
    foretells and what the scores then do, along random directions, and `astray` the share of rows whose own cosine is
    under 0.7, where they are more than two: what masks some rows or classes only leaves the median alone. `unfelt` is
    the share of features that no gradient names, though the scores move with them. `differing` is the share of rows
    whose scores are others when a gradient is asked for.
    """

    zero: float = 0.0
    unreadable: float = 0.0
    dead: float = 0.0
    agreement: float = 1.0
    astray: float = 0.0
    unfelt: float = 0.0
    differing: float = 0.0
    saturated: float = 0.0
    missing: str = ""

    @property
    def doubtful(self) -> bool:
        """Whether an attack that follows these gradients may be led astray."""
        unseen = self.zero > 0.05 or self.unreadable > 0 or self.unfelt > 0
        return bool(self.missing) or unseen or self.agreement < 0.9 or self.astray > 0 or self.differs

    @property
    def differs(self) -> bool:
        """Whether the subject has one face for those who want gradients and one for the others."""
        return self.differing > 0.02


def slope(bench: Bench, rows: torch.Tensor, *, random: bool) -> Slope:
    """What do gradients look like at these clean rows (n,), before it is asked whether the scores follow them.

    Of a random subject, whose every answer is another, no two are compared. Costs two forward passes and a backward
    one on each of at most 128 rows, which stand for all.
    """
    return _seen(_each(bench), _thinned(rows, _MOST), bench.unit, random=random)


def followed(bench: Bench, rows: torch.Tensor, epsilon: float, found: Slope) -> Slope:
    """What was found at these clean rows (n,), and whether the scores follow, for an attack of this radius."""
    if found.missing or not len(rows):
        return found
    bench = _each(bench)
    found = _following(found, bench, rows, bench.unit, epsilon)
    return replace(found, unfelt=unfelt(bench, rows, epsilon))


def slope_at(bench: Bench, rows: torch.Tensor, points: torch.Tensor, epsilon: float) -> Slope:
    """What are gradients worth at the points (N, *shape) of these rows (n,).

    Costs 32 forward passes on each of at most 64 rows, two and one backward on 128, one and one on a batch of all.
    """
    bench = _each(bench)
    found = _seen(bench, _thinned(rows, _MOST), points, random=False)
    if found.missing or not len(rows):
        return found
    return _following(found, bench, rows, points, epsilon)


def _following(found: Slope, bench: Bench, rows: torch.Tensor, points: torch.Tensor, epsilon: float) -> Slope:
    cosines = agreement(bench, rows, points, _reach(bench, epsilon))
    if not len(cosines):
        return found
    astray = cosines < _ASTRAY
    told = _share(astray) if int(astray.sum()) >= _FEW else 0.0
    return replace(found, agreement=float(cosines.median()), astray=told)


def _each(bench: Bench) -> Bench:
    """The bench with every class's own score; a goal is what may lead.

    The best of the other classes, which a goal must beat, has a ridge wherever two of them are level, as an attack that
    presses both down leaves them: no gradient foretells what scores do across it, on the most honest of nets.
    """
    if bench.view.goal is None:
        return bench
    return replace(bench, view=replace(bench.view, goal=None), labels=torch.full_like(bench.labels, bench.view.goal))


def _thinned(rows: torch.Tensor, most: int) -> torch.Tensor:
    """At most so many of the rows, evenly spread."""
    return rows[:: max(1, -(-len(rows) // most))]


def _reach(bench: Bench, epsilon: float) -> float:
    least = max(_LEAST_REACH, torch.finfo(bench.view.takes).eps)  # nearer, and rounding of the input would speak
    return max(bench.norm.share(epsilon, bench.unit[0].numel()) * _REACH, least)


def _seen(bench: Bench, rows: torch.Tensor, points: torch.Tensor, *, random: bool) -> Slope:
    if not len(rows):
        return Slope()
    point = points[rows].detach().requires_grad_()
    try:
        scores = bench.view.differentiable(point)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # a model that leaves torch on the way, for example by .numpy()
        return Slope(missing=str(error).splitlines()[0][:160])
    if not scores.requires_grad:
        return Slope(missing="the outputs are cut off from the graph")
    loss = cross_entropy(scores, bench.labels[rows], bench.temperature).sum()
    gradient = cast("torch.Tensor | None", torch.autograd.grad(loss, point, allow_unused=True)[0])
    if gradient is None:
        return Slope(missing="the inputs are cut off from the graph")
    flat = gradient.flatten(1)
    flat, saturated = _with_leads(bench, rows, point, flat)
    zero = (flat == 0).all(1)
    return Slope(
        zero=_share(zero),
        unreadable=_share((~flat.isfinite()).any(1)),
        dead=_share((flat == 0)[~zero]),
        differing=0.0 if random else _differing(bench, point.detach(), scores.detach()),
        saturated=saturated,
    )


def _with_leads(
    bench: Bench, rows: torch.Tensor, point: torch.Tensor, flat: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """Gradients (n, D), those that are zero replaced by the lead's; and the share of rows to which that gave one."""
    zero = (flat == 0).all(1)
    if not bool(zero.any()):
        return flat, 0.0
    leads = lead_away(bench.view.differentiable(point), bench.labels[rows], bench.labels[rows])
    lead = torch.autograd.grad(leads.sum(), point)[0].flatten(1)
    given = zero & (lead != 0).any(1)
    return torch.where(given.unsqueeze(1), lead, flat), _share(given)


def agreement(bench: Bench, rows: torch.Tensor, points: torch.Tensor, reach: float) -> torch.Tensor:
    """Do the scores move as their gradient foretells: a cosine for each of these rows (n,) that is not flat.

    Along random sign vectors d of length `reach` a coordinate, the change of the runner-up's lead from u - d to u + d
    is set against the gradient's product with it. A central difference, so even curvature cancels: honest nets give
    0.97 and more, a gradient of half the inputs 0.7, a random one 0, one turned round -1. Scores so coarse that a
    small step is lost in their rounding disagree too. Gradients at the points u (N, *shape) are taken of as many rows
    at once as the attack takes, for they may be others in other company; 64 of them are held against the scores.
    """
    rows = _thinned(rows, bench.width)
    gradient, target = _lead_gradient(bench, rows, points[rows])
    rows, target, gradient = (_thinned(t, _ROWS) for t in (rows, target, gradient))
    foretold, seen = [], []
    for moment in range(_DIRECTIONS):
        step = reach * _signs(bench, rows, moment)
        moved, change = _across(bench, rows, points[rows], target, step)
        foretold.append((gradient * moved).flatten(1).sum(1).double())
        seen.append(change)
    return _cosines(torch.stack(foretold, 1), torch.stack(seen, 1))


def unfelt(bench: Bench, rows: torch.Tensor, epsilon: float) -> float:
    """What share of the features does no gradient name at any of these rows (n,), though the scores move with them.

    As where some features pass through steps, or a table of embeddings, on their way: the attack leaves those alone.
    Asked at a random point of each row's ball, so that no wall at the edge of the range is taken for one. The change
    of the runner-up's lead across the ball along these features alone is held against that along all; a feature
    that a model does not use makes none. Costs a backward pass and 5 forward ones on each of at most 64 rows.
    """
    rows = _thinned(rows, _ROWS)
    points = bench.random_start(rows, epsilon, _INSIDE).clamp_min(0).minimum(bench.view.top)
    gradient, target = _lead_gradient(bench, rows, points)
    dead, still = (gradient == 0).all(0), bench.still(epsilon)
    dead = dead if still is None else dead & ~still
    if not bool(dead.any()) or bool(dead.all()):
        return 0.0
    step = bench.norm.share(epsilon, dead.numel()) * _signs(bench, rows, _INSIDE)
    alone, all_ = (_across(bench, rows, points, target, s)[1].nan_to_num(0, 0, 0) for s in (step * dead, step))
    return _share(dead) if float(alone.norm()) > _FELT * float(all_.norm()) else 0.0


def _lead_gradient(bench: Bench, rows: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients (n, *shape) of the runner-up's lead at these points (n, *shape) of rows (n,), and who it is (n,)."""
    point = points.detach().requires_grad_()
    scores = bench.view.differentiable(point)
    target = runners_up(scores.detach(), bench.labels[rows], 1)[:, 0]
    (gradient,) = torch.autograd.grad(towards(scores, bench.labels[rows], target).sum(), point)
    return gradient, target


def _across(
    bench: Bench, rows: torch.Tensor, points: torch.Tensor, target: torch.Tensor, step: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The way (n, *shape) from a step before the points to one beyond, and how the target's lead (n,) changes on it."""
    above, below = ((points + way * step).clamp_min(0).minimum(bench.view.top) for way in (1, -1))
    labels = bench.labels[rows].repeat(2)
    lead = towards(bench.view.scores(torch.cat([above, below])), labels, target.repeat(2)).double()
    return above - below, lead[: len(rows)] - lead[len(rows) :]


def _cosines(foretold: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """The cosine of each row (n, directions) that is not flat in both."""
    foretold, seen = foretold.nan_to_num(0, 0, 0), seen.nan_to_num(0, 0, 0)
    lengths = torch.stack([foretold.norm(dim=1), seen.norm(dim=1)])
    cosine = (foretold * seen).sum(1) / lengths.prod(0).clamp_min(1e-300)
    return cosine[lengths.amax(0) > 0]


def _differing(bench: Bench, points: torch.Tensor, scores: torch.Tensor) -> float:
    """The share of rows that are answered otherwise, by more than rounding, when no gradient is asked for."""
    plain = bench.view.scores(points)
    labels = plain.nan_to_num(-torch.inf).argmax(1)
    gap = (margin(plain, labels) - margin(scores, labels)).nan_to_num(0, 0, 0).abs()
    spread = margin(plain, labels).nan_to_num(0, 0, 0).median().clamp_min(1e-6)
    return _share(gap > 0.05 * spread)


def _signs(bench: Bench, rows: torch.Tensor, moment: int) -> torch.Tensor:
    keys = bench.keys[rows]
    drawn = uniform(keys, torch.full_like(keys, moment), bench.unit[0].numel(), purpose=_PURPOSE)
    return torch.where(drawn < 0.5, -1.0, 1.0).view(len(rows), *bench.unit.shape[1:]).to(bench.unit.dtype)


def _share(mask: torch.Tensor) -> float:
    return float(mask.double().mean()) if mask.numel() else 0.0
