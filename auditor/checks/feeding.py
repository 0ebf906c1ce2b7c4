"""Whether a model is fed the values it was trained on: other preparations are tried, and the right one is named."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from auditor.checks.examination import Asked, Check, Mask, ok
from auditor.checks.plausibility import believed_order, explained, renamed
from auditor.checks.steadiness import REFUSED
from auditor.dataset import Dataset, Labels
from auditor.record import Severity
from auditor.statistics import mcnemar_exact
from auditor.subject import predicted_labels
from auditor.subjects.preparation import AS_IT_IS, Preparation

NAME = "input range"
GAIN = 0.10  # how much more must be right before another preparation is believed
SURPRISE = 1e-3  # of McNemar's test, so that few rows do not accuse a sound model
PLAIN = 0.25  # how much more must be right, and how far beyond the largest class, before the numbers are void
MEASURED = 4096  # training rows whose mean and deviation are taken
USUAL = ((0.0, 255.0), (-1.0, 1.0))  # 8-bit pixels; the range of Inception and of many generators
SELDOM = ((0.0, 16.0), (0.0, 65535.0))  # scikit-learn's digits; 16-bit pixels
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of most networks trained beforehand
Range = tuple[float, float]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Feeding:
    """A way to feed a model: it takes x * scale + shift of the subject's inputs x, as these keys of `load` declare.

    `bonus` is how much less accurate it may be than others and still be believed: the simpler and commoner, the more.
    """

    scale: Numbers
    shift: Numbers
    settings: Mapping[str, Any]  # YAML values
    bonus: float = 0.0

    @property
    def keys(self) -> str:
        """The keys as they are declared."""
        return ", ".join(f"load.{key}: {_listed(value)}" for key, value in self.settings.items())

    @property
    def told(self) -> str:
        """The same in words."""
        return f"with {self.keys}" if self.settings else "without load.input_range and load.normalisation"


@dataclass(frozen=True, eq=False)
class Fed:
    """What a model names (n,) when it is fed in another way than declared, and the share that is right.

    In whatever order of the classes: that a model is read wrongly, too, must not hide how it is fed. Of two classes
    only in the order that fits it as declared, for any boundary is right on most rows one way or the other. `gain` is
    how much larger the share is than as declared.
    """

    feeding: Feeding
    labels: Labels
    accuracy: float
    gain: float


def feedings(data: Dataset, stored: Range | None = None) -> Iterator[Feeding]:
    """The usual ways to feed this data, and that of values as they are stored."""
    one = np.ones(1)
    yield Feeding(one, 0 * one, {}, 0.03)
    if is_unit(data):
        usual = (stored, *USUAL) if stored else USUAL
        for low, high in (*usual, *SELDOM):
            bonus = 0.02 if (low, high) in usual else 0.01
            yield Feeding((high - low) * one, low * one, {"input_range": [low, high]}, bonus)
    for mean, deviation in (_moments(data), _extent(data), *_of_photographs(data)):
        settings = {"normalisation": {"mean": _rounded(mean), "std": _rounded(deviation)}}
        size = (-1, *(1 for _ in data.shape[1:]))
        yield Feeding((1 / deviation).reshape(size), (-mean / deviation).reshape(size), settings)


def is_unit(data: Dataset) -> bool:
    """Whether the subject sees every feature in [0, 1]."""
    return bool((data.domain.low == 0).all() and (data.domain.high == 1).all())


def best(asked: Asked, declared: Preparation = AS_IT_IS, stored: Range | None = None) -> Fed | None:
    """The way of feeding under which by far the most is right, where one is far better than what is declared."""
    before = _right(asked, asked.labels)
    if before.mean() > 1 - GAIN:
        return None
    others = (f for f in feedings(asked.data, stored) if not _same(f, declared))
    tried = [fed for other in others if (fed := _fed(asked, other, declared)) is not None]
    found = max(tried, key=lambda fed: fed.accuracy + fed.feeding.bonus, default=None)
    if found is None or found.accuracy <= max(float(before.mean()), asked.majority) + GAIN:
        return None
    after = _right(asked, found.labels)
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return found if mcnemar_exact(gained, lost) < SURPRISE else None


def feeding(asked: Asked, declared: Preparation, found: Fed | None) -> Check:
    """Is the model given the values that it takes?"""
    if found is None:
        return ok(NAME, f"nothing usual does better than what is declared ({asked.accuracy:.1%} of rows right)")
    settings = found.feeding.settings
    told = f"accuracy is {asked.accuracy:.2f} as declared and {found.accuracy:.2f} {found.feeding.told}"
    advice = f"declare {found.feeding.keys}" if settings else "remove load.input_range and load.normalisation"
    alone = " alone, without the other" if settings and declared.scale is not None else ""
    return Check(NAME, "problem", told, advice + alone, _severity(found, asked.majority))


def _severity(found: Fed, majority: float) -> Severity:
    """A poor model may happen to do better when it is fed otherwise: void is what is then right nearly always."""
    plain = found.gain >= PLAIN and found.accuracy - majority >= (1 - PLAIN) * (1 - majority)
    return "invalid" if plain else "suspicious"


def _right(asked: Asked, labels: Labels) -> Mask:
    """Which rows are right (n,), in the order of the classes that is believed; see `Fed`."""
    classes = len(asked.data.classes)
    if classes > 2:
        return explained(asked.y, labels, classes)
    order = believed_order(asked.y, asked.labels, classes)
    return np.asarray((labels if order is None else renamed(order, labels)) == asked.y)


def _same(feeding: Feeding, declared: Preparation) -> bool:
    scale, shift = _of(declared)
    return bool(
        np.allclose(feeding.scale, scale, rtol=1e-3) and np.allclose(feeding.shift, shift, rtol=1e-3, atol=1e-3)
    )


def _of(declared: Preparation) -> tuple[Numbers, Numbers]:
    if declared.scale is None or declared.shift is None:
        return np.ones(1), np.zeros(1)
    return declared.scale, declared.shift


def _fed(asked: Asked, feeding: Feeding, declared: Preparation) -> Fed | None:
    """What the model names when it is fed so, through what is declared; None where it refuses such inputs."""
    scale, shift = _of(declared)
    x = ((asked.x * feeding.scale + feeding.shift - shift) / scale).astype(np.float32)
    try:
        labels = predicted_labels(asked.subject.predict(x))
    except REFUSED:  # a model may check its inputs
        return None
    right = float(_right(asked, labels).mean())
    return Fed(feeding, labels, right, right - float(_right(asked, asked.labels).mean()))


def _moments(data: Dataset) -> tuple[Numbers, Numbers]:
    """Mean and deviation of the training rows, by channel or feature."""
    x, axes = _some(data), _axes(data)
    deviation = x.std(axis=axes)
    return x.mean(axis=axes), np.where(deviation > 0, deviation, 1)


def _extent(data: Dataset) -> tuple[Numbers, Numbers]:
    """Lowest value and width of the training rows, by channel or feature: what a min-max scaler takes."""
    x, axes = _some(data), _axes(data)
    low, high = x.min(axis=axes), x.max(axis=axes)
    return low, np.where(high > low, high - low, 1)


def _of_photographs(data: Dataset) -> Iterator[tuple[Numbers, Numbers]]:
    """The mean and deviation by channel that networks for photographs are mostly trained with, where they can be."""
    if is_unit(data) and data.is_image and data.shape[0] == len(IMAGENET[0]):
        yield np.array(IMAGENET[0]), np.array(IMAGENET[1])


def _some(data: Dataset) -> Numbers:
    step = -(-len(data.x_train) // MEASURED)
    return np.asarray(data.x_train[::step], np.float64)


def _axes(data: Dataset) -> tuple[int, ...]:
    return (0, 2, 3) if data.is_image else (0,)


def _rounded(values: Numbers) -> list[float]:
    return [float(f"{v:.6g}") for v in values]


def _listed(value: Any) -> str:  # a list of numbers, or a map of such
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_listed(v)}" for k, v in value.items()) + "}"
    return "[" + ", ".join(f"{v:g}" for v in value) + "]"
