"""Checks plain arrays under their npz keys and makes a Dataset of them, scaled as their type says."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.blocks import BLOCK_BYTES, AnyArray, blocks, extremes, gather, mapped, release, scratch
from auditor.dataset import Array, Dataset, Domain, Labels, check_finite
from auditor.errors import DataError, UnknownNameError
from auditor.probe import stratified

REQUIRED = ("x_train", "y_train", "x_test", "y_test")
OOD, GROUPS = "x_ood_", "groups_"
CHANNELS = (1, 3, 4)  # grey, colour, colour with transparency
Raw = npt.NDArray[np.number | np.bool_]


@dataclass(frozen=True)
class Scale:
    """How stored values become what the subject sees: (x - low) / (high - low), unchanged where `bounds` is None."""

    bounds: tuple[float, float] | None

    def apply(self, x: Raw) -> Array:
        """Scaled values in float32, a copy; a file mapped read-only that needs no scaling is itself the answer."""
        file = mapped(x)
        if self.bounds in (None, (0, 1)) and x.dtype == np.float32 and file is not None and file.mode == "r":
            return np.asarray(x, np.float32)
        scaled, start = scratch(x.shape, np.float32), 0
        for block in blocks(x, max(1, BLOCK_BYTES // (8 * math.prod(x.shape[1:])))):  # a block is scaled in float64
            scaled[start : start + len(block)] = self._scaled(block)
            start += len(block)
            release(scaled)
        return scaled

    def _scaled(self, x: Raw) -> Array:
        if self.bounds is None:
            return _float32(x)
        low, high = self.bounds
        return _float32((x.astype(np.float64) - low) / (high - low))


def dataset(
    arrays: Mapping[str, npt.ArrayLike],
    *,
    place: str,
    name: str = "data",
    bounds: tuple[float, float] | None = None,
    classes: tuple[str, ...] | None = None,
    licence: str | None = None,
    description: str = "",
    feature_names: tuple[str, ...] = (),
) -> Dataset:
    """A Dataset of arrays under the npz keys; `place` is how errors call them. Raises DataError naming the key."""
    _check_keys(arrays, place)
    raw = {key: _inputs(arrays[key], f"{place}: {key}") for key in arrays if key.startswith("x_")}
    labels = {key: _labels(arrays[key], f"{place}: {key}") for key in arrays if not key.startswith("x_")}
    _check_shapes(raw, labels, place)
    scale = _scale(raw, bounds, place)
    x = {key: scale.apply(value) for key, value in raw.items()}
    return Dataset(
        name,
        x["x_train"],
        labels["y_train"],
        x["x_test"],
        labels["y_test"],
        classes=classes or _numbered(labels["y_train"], labels["y_test"], place),
        domain=_domain(x, scale, feature_names),
        licence=licence or "not stated",
        description=description,
        stored_range=scale.bounds,
        ood={key.removeprefix(OOD): value for key, value in x.items() if key.startswith(OOD)},
        groups={key.removeprefix(GROUPS): value for key, value in labels.items() if key.startswith(GROUPS)},
    )


def _check_shapes(raw: Mapping[str, np.ndarray], labels: Mapping[str, Labels], place: str) -> None:
    for key in REQUIRED:
        if len(raw.get(key, labels.get(key, ()))) == 0:
            raise DataError(f"{place}: {key} is empty; an audit needs rows to train on and rows to test")
    rows, shape = len(raw["x_test"]), raw["x_test"].shape[1:]
    for key, value in raw.items():
        if value.shape[1:] != shape:
            raise DataError(f"{place}: {key} has rows of shape {value.shape[1:]}; the test rows have {shape}")
    for part in ("train", "test"):
        x, y = raw[f"x_{part}"], labels[f"y_{part}"]
        if len(x) != len(y):
            raise DataError(f"{place}: y_{part} has shape {y.shape}; expected ({len(x)},), one label a row of x_{part}")
    for key, group in labels.items():
        if key.startswith(GROUPS) and group.shape != (rows,):
            raise DataError(f"{place}: {key} has shape {group.shape}; expected one group a test row, ({rows},)")


def split(x: npt.ArrayLike, y: npt.ArrayLike, test_share: float, place: str) -> dict[str, npt.ArrayLike]:
    """Rows under the npz keys, a stratified share of them for test; the split depends on the labels alone."""
    rows, labels = np.asarray(x), _labels(y, f"{place}: y")
    count = round(test_share * len(labels))
    if not 0 < count < len(labels) or len(rows) != len(labels):
        raise DataError(
            f"{place}: {len(rows)} rows with {len(labels)} labels cannot be split with {test_share:g} for test"
        )
    held = np.zeros(len(labels), bool)
    held[stratified(labels, count, np.random.Generator(np.random.PCG64(0)))] = True
    kept = np.flatnonzero(~held)
    return {
        "x_train": gather(rows, kept),
        "y_train": labels[~held],
        "x_test": gather(rows, np.flatnonzero(held)),
        "y_test": labels[held],
    }


def held_back(arrays: Mapping[str, AnyArray], test_share: float | None, place: str) -> dict[str, AnyArray]:
    """Arrays under the npz keys as they are, or with a share of the training rows for test where one is asked for."""
    if test_share is None:
        return dict(arrays)
    if "x_test" in arrays or "y_test" in arrays or not {"x_train", "y_train"} <= arrays.keys():
        raise DataError(f"{place}: data.test_share splits x_train and y_train, and no x_test or y_test may be there")
    parts = split(arrays["x_train"], arrays["y_train"], test_share, place)
    return {**arrays, **{key: np.asarray(value) for key, value in parts.items()}}


def _check_keys(arrays: Mapping[str, npt.ArrayLike], place: str) -> None:
    for key in arrays:
        if key not in REQUIRED and not any(key.startswith(p) and len(key) > len(p) for p in (OOD, GROUPS)):
            raise UnknownNameError("key", key, (*REQUIRED, f"{OOD}NAME", f"{GROUPS}NAME"), where=place)
    for key in REQUIRED:
        if key not in arrays:
            raise DataError(
                f"{place}: {key} is missing; the keys are {', '.join(REQUIRED)}, optional {OOD}NAME and {GROUPS}NAME"
            )


def _array(value: npt.ArrayLike, place: str, kinds: str, what: str) -> Raw:
    try:
        array: Raw = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{place} is no array: {error}") from None
    if array.dtype.kind not in kinds:
        raise DataError(f"{place} has type {array.dtype}; {what}")
    return array


def _inputs(value: npt.ArrayLike, place: str) -> Raw:
    x = _array(value, place, "biuf", "store numbers, with texts and missing values encoded beforehand")
    if x.ndim not in (2, 3, 4):
        raise DataError(
            f"{place} has shape {x.shape}; expected (N, features), (N, height, width) or (N, channels, height, width)"
        )
    if 0 in x.shape[1:]:
        raise DataError(f"{place} has shape {x.shape}; every side of a row must be at least 1")
    if x.ndim == 4 and x.shape[3] in CHANNELS and x.shape[1] not in CHANNELS:
        raise DataError(
            f"{place} has shape {x.shape}, with the channels last as it seems; store (N, channels, height, width): "
            "x.transpose(0, 3, 1, 2)"
        )
    if x.dtype.kind == "f":
        check_finite(place, x)
    return x[:, None] if x.ndim == 3 else x


def _labels(value: npt.ArrayLike, place: str) -> Labels:
    y = _array(value, place, "biuf", "labels are integers from 0; map names to numbers, and name them in data.classes")
    if y.ndim != 1:
        raise DataError(f"{place} has shape {y.shape}; expected (N,), one integer a row")
    whole = np.isfinite(y) & (y == np.round(y)) if y.dtype.kind == "f" else np.ones(y.shape, bool)
    if not whole.all():
        first = int(np.flatnonzero(~whole)[0])
        raise DataError(f"{place}[{first}] is {y[first]}; labels are integers from 0")
    return y.astype(np.int64)


def _scale(raw: Mapping[str, Raw], bounds: tuple[float, float] | None, place: str) -> Scale:
    """The scale of all inputs together: as stated, else by their type."""
    if bounds is not None:
        for key, x in raw.items():
            seen = _span(x)
            if seen[0] < bounds[0] or seen[1] > bounds[1]:
                raise DataError(
                    f"{place}: {key} has values from {seen[0]:g} to {seen[1]:g}, outside the stated range "
                    f"{list(bounds)}"
                )
        return Scale(bounds)
    bytes_ = {key for key, x in raw.items() if x.dtype == np.uint8}
    if bytes_ and len(bytes_) < len(raw):
        other = min(set(raw) - bytes_)
        raise DataError(
            f"{place}: {min(bytes_)} holds bytes and {other} holds {raw[other].dtype}; store all inputs alike"
        )
    if bytes_:
        return Scale((0.0, 255.0))
    if raw["x_test"].ndim == 2:
        return Scale(None)
    for key, x in raw.items():
        seen = _span(x)
        if seen[0] < 0 or seen[1] > 1:
            raise DataError(
                f"{place}: {key} has pixels from {seen[0]:g} to {seen[1]:g}; state the range as stored, such as "
                "data.range: [0, 255]"
            )
    return Scale((0.0, 1.0))


def _span(x: Raw) -> tuple[float, float]:
    """The least and the greatest value; nothing is outside any range where there are no rows."""
    if not x.size:
        return (math.inf, -math.inf)
    seen = extremes(x)
    return (float(seen.low.min()), float(seen.high.max()))


def _domain(x: Mapping[str, Array], scale: Scale, feature_names: tuple[str, ...]) -> Domain:
    shape = x["x_test"].shape[1:]
    if scale.bounds is not None:
        return Domain(np.zeros(shape, np.float32), np.ones(shape, np.float32), feature_names)
    train, test = extremes(x["x_train"]), extremes(x["x_test"])
    return Domain(np.minimum(train.low, test.low), np.maximum(train.high, test.high), feature_names)


def _numbered(y_train: Labels, y_test: Labels, place: str) -> tuple[str, ...]:
    """Names for classes that have none; labels must use every number from 0, or they would be names in disguise."""
    seen = np.union1d(y_train, y_test)
    if not np.array_equal(seen, np.arange(len(seen))):
        listed = ", ".join(map(str, seen[:6])) + (", ..." if len(seen) > 6 else "")
        raise DataError(
            f"{place}: labels are {listed}; number them 0 to {len(seen) - 1} without gaps, or name data.classes"
        )
    return tuple(map(str, seen))


def _float32(x: npt.NDArray[np.generic]) -> Array:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which the dataset refuses by name
        return x.astype(np.float32)
