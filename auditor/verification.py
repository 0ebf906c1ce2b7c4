"""Changed inputs judged: brought into the ball, the domain and what the constraints allow, and predicted again."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from auditor.balls import SLACK, NormName, distance, into, too_far
from auditor.dataset import Array, Domain, Labels
from auditor.subject import Subject, leads, predicted_labels

Exact = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


_CACHED = 50_000  # numbers of an array that stay in a core's own cache


def _tiles(x: Array) -> list[slice]:
    """Slices of rows (N, *shape) to go through one after the other, each small enough to stay in the cache."""
    height = max(1, _CACHED // max(1, x[:1].size))
    return [slice(at, at + height) for at in range(0, len(x), height)]


@dataclass(frozen=True, eq=False)
class Verified:
    """What changed inputs did to a subject, as the case saw it: arrays (N,), and the inputs it really judged.

    `refused` are rows that would be broken if the data had no constraints.
    """

    x: Array
    broken: Mask
    prediction: Labels
    distance: Exact
    violations: int
    refused: Mask


@dataclass(frozen=True)
class Judge:
    """Which changed inputs break a subject, within a radius in a norm; `goal` is the only class that counts, if any."""

    subject: Subject
    domain: Domain
    norm: NormName
    epsilon: float
    goal: int | None = None

    def judge(self, x: Array, y: Labels, changed: Array) -> Verified:
        """The verdict on changed inputs (N, *shape) of rows x (N, *shape) with labels y (N,); see `Case.verify`."""
        free, over = np.empty(x.shape, np.float32), np.zeros(len(x), bool)
        for rows in _tiles(x):
            free[rows], over[rows] = self._brought(x[rows], np.asarray(changed[rows], np.float64))
        inside = self._possible(x, free)
        outputs = self.subject.predict(inside)
        broken = leads(outputs, y, self.goal) <= 0
        return Verified(
            x=inside,
            broken=broken,
            prediction=predicted_labels(outputs),
            distance=self._distance(x, inside),
            violations=int(over.sum()),
            refused=self._refused(y, free, inside, broken),
        )

    def _brought(self, x: Array, exact: Exact) -> tuple[Array, Mask]:
        """Changed inputs brought into ball and domain, and which had left them (n,)."""
        over = self._beyond(x, exact)
        exact = np.clip(np.where(np.isfinite(exact), exact, x) if over.any() else exact, *self._ends)
        moved = self._by_range(into(self.norm, self._in_range(exact - x), self.epsilon))
        return self.domain.clip(self._rounded(x, moved)), over

    def _rounded(self, x: Array, moved: Exact) -> Array:
        """Rows moved, in float32; where that is coarse beside the range, rounded towards x and not out of the ball."""
        near = (x + moved).astype(np.float32)
        if not self._coarse:
            return near
        beyond = np.abs(np.subtract(near, x, dtype=np.float64)) > np.abs(moved)
        return np.where(beyond, np.nextafter(near, x), near)

    @cached_property
    def _coarse(self) -> bool:
        """Whether two neighbouring float32 numbers lie farther apart than what is let pass as rounding."""
        step = np.spacing(np.maximum(np.abs(self.domain.low), np.abs(self.domain.high)))
        return bool((step > SLACK * self.domain.span).any())

    def _distance(self, x: Array, inside: Array) -> Exact:
        gaps = (np.subtract(inside[rows], x[rows], dtype=np.float64) for rows in _tiles(x))
        return np.concatenate([np.zeros(0), *(distance(self.norm, self._in_range(gap)) for gap in gaps)])

    def _beyond(self, x: Array, exact: Exact) -> Mask:
        """Which changed inputs have left ball or domain, or are no numbers (N,)."""
        slack = SLACK * self.domain.span
        low, high = self._ends
        inside = (exact >= low - slack) & (exact <= high + slack)  # what is no number is not
        outside = ~inside.reshape(len(x), -1).all(axis=1)
        move = exact - x if not outside.any() else np.where(inside, exact - x, 0.0)
        return np.asarray(outside | too_far(self.norm, self._in_range(move), self.epsilon))

    @property
    def _ends(self) -> tuple[Array, Array]:
        return self.domain.low, self.domain.high

    @property
    def _plain(self) -> bool:
        return bool((self.domain.span == 1).all())

    def _in_range(self, move: Exact) -> Exact:
        """Moves (N, *shape) in units of each feature's range."""
        return move if self._plain else np.asarray(move / self.domain.span)

    def _by_range(self, move: Exact) -> Exact:
        return move if self._plain else np.asarray(move * self.domain.span)

    def _possible(self, x: Array, free: Array) -> Array:
        """Changed inputs as the constraints allow them: brought back to them, or put back where that is not enough."""
        constraints, span = self.domain.constraints, self.domain.span.astype(np.float64)
        if not constraints:
            return free
        projected = constraints.project(free, x, self.epsilon * span).astype(np.float32)
        # whole categories move farther than the change they were rounded from
        far = too_far(self.norm, (projected - np.asarray(x, np.float64)) / span, self.epsilon)
        kept = constraints.satisfied(projected, x) & ~far
        return np.where(kept[:, None], projected, self.domain.clip(x))

    def _refused(self, y: Labels, free: Array, inside: Array, broken: Mask) -> Mask:
        """Which rows stand only because the constraints took their change back."""
        refused = np.zeros(len(y), bool)
        if self.domain.constraints:
            changed = np.flatnonzero((free != inside).any(axis=1) & ~broken)
            refused[changed] = leads(self.subject.predict(free[changed]), y[changed], self.goal) <= 0
        return refused
