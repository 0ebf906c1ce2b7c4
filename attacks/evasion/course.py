"""One attack along growing epsilons: the path that the access allows, and how its self-tests fared."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, assert_never

import numpy as np
import torch

from auditor.record import Caveat

from . import repairs, sanity
from .bench import Bench, Standing
from .convergence import Convergence, lengthen, one_step
from .label_search import Found, nearest
from .paths import Gains, by_gradients, by_labels, by_scores

if TYPE_CHECKING:
    from .ball import Ball

Path = Literal["gradients", "scores", "labels"]


@dataclass(eq=False)
class Course:
    """The path taken, what is known of the gradients, and what the self-tests along the way found.

    `point` (n, *shape) are the nearest wrong answers that a search by labels found; the clean rows on other paths.
    """

    path: Path
    repaired: repairs.Repaired
    point: torch.Tensor
    gains: Gains = field(default_factory=Gains)
    ended: Convergence = field(default_factory=Convergence)

    def advance(self, bench: Bench, standing: Standing, epsilon: float, probe: "Ball") -> Bench:
        """Attack the rows that stand at this radius; returns the bench, with the order of its classes once known."""
        match self.path:
            case "gradients":
                bench = by_gradients(bench, standing, epsilon, probe, self.gains)
                self._end(bench, standing, epsilon, probe)
            case "scores":
                by_scores(bench, standing, epsilon, probe, self.gains)
            case "labels":
                by_labels(bench, standing, epsilon, self.point)
            case _:
                assert_never(self.path)
        return bench

    def repair(self, bench: Bench, standing: Standing, epsilon: float, probe: "Ball") -> None:
        """Where gradients were of no use, attack the rows that stand once more without them."""
        if self.path == "gradients" or self.repaired.slope.missing:
            repairs.repair(bench, standing, epsilon, probe, self.repaired)

    def _end(self, bench: Bench, standing: Standing, epsilon: float, probe: "Ball") -> None:
        """Where gradients can be followed and rows stand: had the attack ended, and does a single step do better."""
        if not probe.self_test or self.repaired.slope.doubtful or sanity.little_stands(standing.broken):
            return
        if probe.targets:
            lengthen(bench, standing, epsilon, probe, self.ended)
        self.ended.one_step.append(one_step(bench, epsilon, self.gains.crossed))

    def caveats(self, rows: int) -> list[Caveat]:
        """Did anything weaker beat the attack of so many rows, can its gradients be believed, had it ended."""
        caveats = sanity.gain_caveats("noise_beats_attack", "noise", self.gains.noise, rows)
        caveats += sanity.gain_caveats("blackbox_beats_whitebox", "random search", self.gains.black_box, rows)
        caveats += sanity.unended_caveats(self.gains.unended, rows)
        caveats += sanity.slope_caveats(self.repaired.slope, len(self.repaired.clean))
        return caveats + sanity.convergence_caveats(self.ended, rows)


def nearest_answers(bench: Bench, rows: torch.Tensor, probe: "Ball", lent: Found | None = None) -> Found:
    """The nearest wrong answers to these rows (n,) found by labels alone, for every row; clean ones for the others."""
    start = unmoved(bench)
    if not len(rows):
        return start
    found = nearest(bench, rows, probe.radii, queries=probe.label_queries, lent=lent)
    point, radius = start.point.index_copy(0, rows, found.point), start.radius.index_copy(0, rows, found.radius)
    return replace(found, point=point, radius=radius)


def standing_rows(bench: Bench, standing: Standing) -> torch.Tensor:
    """The indices (n,) of the rows that stand, on the bench's device."""
    return torch.as_tensor(np.flatnonzero(~standing.broken), device=bench.unit.device)


def unmoved(bench: Bench) -> Found:
    """The clean rows, at no distance that means anything."""
    return Found(bench.unit, torch.full_like(bench.unit.flatten(1)[:, 0], torch.inf))
