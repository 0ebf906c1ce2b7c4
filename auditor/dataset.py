"""Data under audit: named, read-only arrays with their domain, classes, licence and a digest of the content."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from auditor.blocks import blocks, extremes
from auditor.constraints import Constraints
from auditor.errors import DataError
from auditor.record import DatasetRecord, array_digest, digest

Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Domain:
    """Which values an input may take: `low` and `high` are numbers, or arrays of one entry a feature.

    Perturbation sizes are fractions of `high - low`, so that an epsilon means the same for every feature.
    `constraints` say what must hold besides the ranges.
    """

    low: Array
    high: Array
    feature_names: tuple[str, ...] = ()
    constraints: Constraints = field(default_factory=Constraints)

    @classmethod
    def unit(cls, shape: Sequence[int]) -> "Domain":
        """The domain [0, 1] of every feature."""
        return cls(np.zeros(shape, np.float32), np.ones(shape, np.float32))

    @cached_property
    def span(self) -> Array:
        """Width of each feature's range; 1 where a feature is constant, which then cannot move."""
        width = self.high - self.low
        return np.where(width > 0, width, 1).astype(np.float32)

    def to_unit(self, x: Array) -> npt.NDArray[np.float64]:
        """Inputs in units of the range, in float64."""
        return (np.asarray(x, np.float64) - self.low) / self.span

    def clip(self, x: Array) -> Array:
        """Inputs moved to the nearest value inside the domain."""
        return np.clip(x, self.low, self.high).astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Named arrays of a classification problem, checked when made and read-only afterwards.

    `x_*` are float32 of shape (N, features) or (N, C, H, W), as the subject sees them; `y_*` are int64 of shape (N,)
    with values 0 to K-1. `groups` are codes (N,) of the test rows, by attribute; `group_names` say what the codes mean
    where they count from 0, and `missing` how many cells were empty as stored, by column. Raises DataError, naming the
    array and what to do, for wrong shapes, labels outside the classes, values that are not finite or outside the
    domain or against its constraints, and empty splits.
    """

    id: str
    x_train: Array
    y_train: Labels
    x_test: Array
    y_test: Labels
    classes: tuple[str, ...]
    domain: Domain
    licence: str = "not stated"
    ood: Mapping[str, Array] = field(default_factory=dict)
    groups: Mapping[str, Labels] = field(default_factory=dict)
    description: str = ""
    group_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    stored_range: tuple[float, float] | None = None
    origin: str | None = None
    collection: str | None = None

    def __post_init__(self) -> None:
        for name in ("x_train", "x_test"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float32).view())
        for name in ("y_train", "y_test"):
            object.__setattr__(self, name, _integers(f"{self.id}: {name}", np.asarray(getattr(self, name))).view())
        object.__setattr__(self, "ood", {name: np.asarray(x, np.float32).view() for name, x in self.ood.items()})
        object.__setattr__(self, "groups", {name: np.asarray(g).view() for name, g in self.groups.items()})
        check(self)
        arrays: tuple[npt.NDArray[Any], ...] = (
            self.x_train,
            self.y_train,
            self.x_test,
            self.y_test,
            *self.ood.values(),
            *self.groups.values(),
        )
        for array in arrays:
            array.setflags(write=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x_test.shape[1:])

    @property
    def is_image(self) -> bool:
        """Whether inputs are (C, H, W)."""
        return len(self.shape) == 3

    @cached_property
    def sha256(self) -> str:
        """Digest of the content: arrays, classes and domain, not names."""
        parts: list[npt.NDArray[Any]] = [
            self.x_train,
            self.y_train,
            self.x_test,
            self.y_test,
            self.domain.low,
            self.domain.high,
        ]
        for mapping in (self.ood, self.groups):
            for name in sorted(mapping):
                parts += [np.array(name), mapping[name]]
        parts.append(np.array(self.classes))
        if self.domain.constraints:
            parts.append(np.array(digest(self.domain.constraints)))
        if self.group_names:
            parts.append(np.array(digest(dict(self.group_names))))
        return array_digest(*parts)

    @cached_property
    def test_rows(self) -> npt.NDArray[np.str_]:
        """Identity of each test row: content hash with occurrence, so that releases can be paired."""
        return row_ids(self.x_test, self.y_test)

    def facts(self) -> DatasetRecord:
        """What the record says of this data."""
        count = len(self.classes)
        return DatasetRecord(
            id=self.id,
            sha256=self.sha256,
            rows={"train": len(self.x_train), "test": len(self.x_test)},
            shape=self.shape,
            classes=self.classes,
            licence=self.licence,
            ood=tuple(sorted(self.ood)),
            range=(float(self.domain.low.min()), float(self.domain.high.max())),
            description=self.description,
            stored_range=self.stored_range,
            origin=self.origin,
            collection=self.collection,
            groups={name: self._names_of_group(name) for name in sorted(self.groups)},
            missing=dict(self.missing),
            constraints=self._constraints_in_words(),
            class_counts={
                "train": tuple(np.bincount(self.y_train, minlength=count).tolist()),
                "test": tuple(np.bincount(self.y_test, minlength=count).tolist()),
            },
        )

    def _names_of_group(self, name: str) -> tuple[str, ...]:
        return self.group_names.get(name) or tuple(map(str, np.unique(self.groups[name]).tolist()))

    def _constraints_in_words(self) -> tuple[str, ...]:
        if not self.domain.constraints:
            return ()
        return self.domain.constraints.sentences(
            self.domain.feature_names or tuple(f"feature {i}" for i in range(self.shape[0]))
        )


def row_ids(x: Array, y: Labels | None = None, *, prefix: str = "") -> npt.NDArray[np.str_]:
    """Identity of each row: 16 hex digits of the content hash, then `.k` for its k-th further occurrence."""
    labels = np.zeros(len(x), np.int64) if y is None else y
    seen: Counter[str] = Counter()
    ids = []
    rows = (row for block in blocks(x) for row in block)
    for row, label in zip(rows, labels, strict=True):
        key = hashlib.sha256(
            np.ascontiguousarray(row).tobytes() + int(label).to_bytes(8, "little", signed=True)
        ).hexdigest()[:16]
        ids.append(f"{prefix}{key}.{seen[key]}" if seen[key] else f"{prefix}{key}")
        seen[key] += 1
    return np.array(ids, dtype=np.str_)


def _integers(place: str, y: npt.NDArray[Any]) -> Labels:
    """Labels as int64. Raises DataError for numbers that are not whole, and for texts."""
    if y.dtype.kind not in "biuf" or (y.dtype.kind == "f" and not (np.isfinite(y) & (y == np.round(y))).all()):
        raise DataError(f"{place} holds {y.dtype} that are no whole numbers; labels are integers from 0")
    return np.asarray(y, np.int64)


def check(data: Dataset) -> None:
    """Raise DataError for the first thing that makes this data unusable."""
    if len(data.classes) < 2:
        raise DataError(f"{data.id}: {len(data.classes)} class named; a classifier needs at least two")
    for split in ("train", "test"):
        _check_split(data, split, getattr(data, f"x_{split}"), getattr(data, f"y_{split}"))
    if data.x_train.shape[1:] != data.x_test.shape[1:]:
        raise DataError(
            f"{data.id}: x_train has rows of shape {data.x_train.shape[1:]}, x_test of {data.x_test.shape[1:]}"
        )
    for name, x in data.ood.items():
        if len(x) == 0:
            raise DataError(f"{data.id}: x_ood_{name} is empty; give it rows, or leave it out")
        check_finite(f"{data.id}: x_ood_{name}", x)
        if x.shape[1:] != data.x_test.shape[1:]:
            raise DataError(
                f"{data.id}: x_ood_{name} has rows of shape {x.shape[1:]}; the test rows have {data.x_test.shape[1:]}"
            )
    if data.domain.constraints:
        _check_constraints(data)


def _check_constraints(data: Dataset) -> None:
    constraints, names = data.domain.constraints, data.domain.feature_names
    if len(data.shape) != 1 or constraints.outside(data.shape[0]):
        raise DataError(f"{data.id}: the constraints are not about rows of shape {data.shape}; only tables have them")
    for split in ("train", "test"):
        breach = constraints.breach(getattr(data, f"x_{split}"), names)
        if breach:
            raise DataError(
                f"{data.id}: x_{split}[{breach.row}] breaks the constraint {breach.rule!r}, and so do "
                f"{breach.rows} rows in all; correct the data or the constraint"
            )


def _check_split(data: Dataset, split: str, x: Array, y: Labels) -> None:
    place = f"{data.id}: x_{split}"
    if len(x) == 0:
        raise DataError(f"{place} is empty; an audit needs rows to train on and rows to test")
    if x.ndim not in (2, 4):
        raise DataError(f"{place} has shape {x.shape}; expected (N, features) or (N, channels, height, width)")
    if y.shape != (len(x),):
        raise DataError(f"{data.id}: y_{split} has shape {y.shape}; expected ({len(x)},), one label a row of x_{split}")
    seen = extremes(x)
    if not (np.isfinite(seen.low) & np.isfinite(seen.high)).all():
        check_finite(place, x)
    outside = (y < 0) | (y >= len(data.classes))
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        hint = " (labels that start at 1? subtract 1)" if y.min() == 1 and y.max() == len(data.classes) else ""
        raise DataError(
            f"{data.id}: y_{split}[{first}] is {int(y[first])}, outside the {len(data.classes)} classes "
            f"0 to {len(data.classes) - 1}{hint}"
        )
    slack = 1e-4 * data.domain.span
    if ((seen.low < data.domain.low - slack) | (seen.high > data.domain.high + slack)).any():
        raise DataError(
            f"{place} has values from {seen.low.min():g} to {seen.high.max():g}, outside its range "
            f"{data.domain.low.min():g} to {data.domain.high.max():g}; state the range as stored in data.range"
        )


def check_finite(place: str, x: npt.NDArray[Any]) -> None:
    """Raises DataError, with how many and where the first is, for values of x (N, *shape) that are not finite."""
    first: tuple[int, ...] | None = None
    count, start = 0, 0
    for block in blocks(x):
        bad = ~np.isfinite(block)
        if bad.any():
            row, *rest = (int(i) for i in np.argwhere(bad)[0])
            first = (start + row, *rest) if first is None else first
            count += int(bad.sum())
        start += len(block)
    if count:
        raise DataError(f"{place} has {count} values that are not finite, the first at {first}; remove or impute them")
