"""Label flips as a change of the training data: chosen rows get a wrong label, drawn uniformly."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from auditor.dataset import Array, Labels

if TYPE_CHECKING:
    from auditor.training.changes import ChangeContext


@dataclass(frozen=True, eq=False)
class Flips:
    """Which training rows lie, and what they say: `rows` and `labels` of shape (m,)."""

    rows: npt.NDArray[np.int64]
    labels: Labels


def choose(y: Labels, rate: float, classes: int, rng: np.random.Generator) -> Flips:
    """Which round(rate * N) rows of y (N,) get which wrong label?

    Every wrong class is equally likely. The stream is spent the same way whatever the rate, so the rows and
    labels of a smaller dose are part of every larger one, and doses can be compared pair by pair.
    """
    order = rng.permutation(len(y))
    wrong = (y + rng.integers(1, classes, len(y))) % classes
    rows = np.sort(order[: round(rate * len(y))])
    return Flips(rows=rows, labels=wrong[rows])


def flip_labels(x: Array, y: Labels, context: "ChangeContext", *, rate: float) -> tuple[Array, Labels]:
    """The training rows with round(rate * N) labels flipped; inputs stay as they are."""
    flips = choose(y, rate, context.classes, context.rng)
    changed = y.copy()
    changed[flips.rows] = flips.labels
    return x, changed
