"""Applies a declared change of the training data, and checks what came back."""

from dataclasses import dataclass

import numpy as np

from auditor import plugins
from auditor.blocks import blocks
from auditor.dataset import Array, Domain, Labels
from auditor.errors import DataError
from auditor.recipe import Change


@dataclass(frozen=True, eq=False)
class ChangeContext:
    """What a change may know beside the rows: its random stream, and the domain, classes and shape of the data."""

    rng: np.random.Generator
    domain: Domain
    classes: int
    shape: tuple[int, ...]


def apply(change: Change, x: Array, y: Labels, context: ChangeContext) -> tuple[Array, Labels]:
    """The rows as the change's function leaves them.

    It is given read-only arrays and returns (x, y), with as many rows as it likes. Raises ConfigError for a function
    that is not there, DataError, naming it, for rows that no training could have been given.
    """
    function = plugins.imported(change.function, what="change")
    answer = function(_read_only(x), _read_only(y), context, **change.parameters)
    if not (isinstance(answer, tuple) and len(answer) == 2):
        raise DataError(f"{change.function} returned a {type(answer).__name__}; it must return (x, y)")
    rows, labels = np.ascontiguousarray(answer[0], np.float32), _integers(change, np.asarray(answer[1]))
    _check(change.function, rows, labels, context)
    return rows, labels


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.setflags(write=False)
    return view


def _integers(change: Change, y: np.ndarray) -> Labels:
    if y.dtype.kind not in "iu":
        raise DataError(f"{change.function} returned labels of type {y.dtype}; they must be integers")
    return np.ascontiguousarray(y, np.int64)


def _check(name: str, x: Array, y: Labels, context: ChangeContext) -> None:
    if len(x) == 0 or x.shape[1:] != context.shape or y.shape != (len(x),):
        raise DataError(
            f"{name} returned x {x.shape} and y {y.shape}; expected (M, {', '.join(map(str, context.shape))}) and (M,)"
        )
    if (y < 0).any() or (y >= context.classes).any():
        raise DataError(f"{name} returned labels from {y.min()} to {y.max()}, outside 0 to {context.classes - 1}")
    slack = 1e-4 * context.domain.span
    low, high = context.domain.low - slack, context.domain.high + slack
    outside = sum(int((~((rows >= low) & (rows <= high))).sum()) for rows in blocks(x))  # NaN is inside nothing
    if outside:
        raise DataError(f"{name} returned {outside} values that are not finite or outside the domain")
