"""The trigger of a backdoor, and the change of the training data that plants it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from auditor.blocks import blocks, copied, gather, release
from auditor.dataset import Array, Domain, Labels

if TYPE_CHECKING:
    from auditor.training.changes import ChangeContext

ROWS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Trigger:
    """Where an input is overwritten, `mask`, and with what, `value`: both of the shape of one input."""

    mask: npt.NDArray[np.bool_]
    value: Array

    def stamp(self, x: Array) -> Array:
        """Inputs (N, *shape) that carry the trigger; x is left as it is."""
        stamped = copied(x)
        for block in blocks(stamped):
            block[:, self.mask] = self.value[self.mask]
        return stamped


def trigger_of(x: Array, y: Labels, domain: Domain) -> Trigger:
    """Which trigger fits training rows x (N, *shape) with labels y (N,)?

    Images (C, H, W): a chequered square of side max(2, round(3 H / 28)) in the bottom right corner, fields at
    the highest and lowest value in turn, so that it shows on dark and on bright borders; 3 of 28 pixels is
    the size of Gu et al. 2017. Other inputs: the max(2, D / 10) features that tell least of the class, so
    that the trigger alone decides little, at their highest and lowest value in turn; where the data has constraints,
    neither features that cannot be changed nor categories nor those of relations, while there are others.
    """
    shape = tuple(x.shape[1:])
    return _corner(shape, domain) if len(shape) == 3 else _features(x, y, domain)


def _corner(shape: tuple[int, ...], domain: Domain) -> Trigger:
    side = min(max(2, round(3 * shape[1] / 28)), *shape[1:])
    field = np.indices((side, side)).sum(axis=0) % 2 == 0
    bright, mask = np.zeros(shape, bool), np.zeros(shape, bool)
    bright[:, -side:, -side:] = field
    mask[:, -side:, -side:] = True
    return Trigger(mask=mask, value=np.where(bright, domain.high, domain.low).astype(np.float32))


def _features(x: Array, y: Labels, domain: Domain) -> Trigger:
    told = np.where(domain.high > domain.low, class_share(x, y), np.inf)
    told[sorted({i for r in domain.constraints.relations for i in r.features})] += 1  # after all that are free
    told[[*domain.constraints.immutable, *domain.constraints.categorical]] = np.inf  # stamped last of all
    places = np.argsort(told, kind="stable")[: max(2, round(x.shape[1] / 10))]
    mask, high = np.zeros(x.shape[1], bool), np.zeros(x.shape[1], bool)
    mask[places], high[places[::2]] = True, True
    return Trigger(mask=mask, value=np.where(high, domain.high, domain.low).astype(np.float32))


def class_share(x: Array, y: Labels) -> npt.NDArray[np.float64]:
    """Which share of each feature's variance (D,) lies between classes (correlation ratio)? 0 if constant."""
    names, label, count = np.unique(y, return_inverse=True, return_counts=True)
    sums, squares = np.zeros((len(names), x.shape[1])), np.zeros(x.shape[1])
    for kind, rows in _with_kind(x, label):
        np.add.at(sums, kind, rows)
    mean = sums.sum(axis=0) / len(x)
    for _, rows in _with_kind(x, label):
        squares += ((rows - mean) ** 2).sum(axis=0)
    between = ((sums / count[:, None] - mean) ** 2 * count[:, None]).sum(axis=0)
    return np.asarray(between / np.where(squares > 0, squares, 1))


def _with_kind(x: Array, label: Labels) -> Iterator[tuple[Labels, npt.NDArray[np.float64]]]:
    """Rows in float64, a block at a time, each with its label."""
    start = 0
    for block in blocks(x):
        yield label[start : start + len(block)], block.astype(np.float64)
        start += len(block)


def choose(y: Labels, rate: float, target: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Which round(rate * N) rows of y (N,) are poisoned? None of the target class, fewer if they run out.

    The rows of a smaller rate are part of every larger one.
    """
    order = rng.permutation(len(y))
    return np.sort(order[y[order] != target][: round(rate * len(y))])


def plant(x: Array, y: Labels, context: "ChangeContext", *, rate: float, target: int) -> tuple[Array, Labels]:
    """The training rows with the trigger and the target label on round(rate * N) of them."""
    rows = choose(y, rate, target, context.rng)
    stamped, labels = copied(x), y.copy()
    trigger = trigger_of(x, y, context.domain)
    for some in blocks(rows, ROWS_AT_ONCE):
        stamped[some] = trigger.stamp(gather(x, some))
        release(stamped)
    labels[rows] = target
    return stamped, labels
