"""What happens to an input on its way to a model, and to the answer on its way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from auditor.dataset import Array, Labels
from auditor.errors import ModelError, UnknownNameError
from auditor.record import DatasetRecord

if TYPE_CHECKING:
    from auditor.subjects.spec import Load

Numbers = npt.NDArray[np.float64]
UNIT = (0.0, 1.0)
WORTH_SAYING = 1e-6  # how far a range may be from [0, 1] and still be it


@dataclass(frozen=True, eq=False)
class Preparation:
    """Inputs become `x * scale + shift`; answers get their columns in the data's order.

    `scale` and `shift` are float64 that broadcast with one input: (F,), (C, 1, 1), or (1,) * its dimensions. None where
    inputs stay as they are. `order` names for each class of the data the model's output for it; None where they agree.
    """

    scale: Numbers | None = None
    shift: Numbers | None = None
    order: tuple[int, ...] | None = None

    def inputs(self, x: Array) -> Array:
        """Inputs (N, *shape) as the model takes them, in an array of its own."""
        if self.scale is None or self.shift is None:
            return x.copy()
        return (x * self.scale + self.shift).astype(np.float32)

    def ordered(self, outputs: Array) -> Array:
        """Outputs (N, classes) with the columns in the data's order."""
        return outputs if self.order is None else outputs[:, list(self.order)]

    def relabelled(self, labels: Labels) -> Labels:
        """Labels (N,) that number the model's outputs, as labels of the data; -1 stays."""
        if self.order is None:
            return labels
        return np.where(labels < 0, -1, np.argsort(self.order)[labels])


AS_IT_IS = Preparation()


def preparation(spec: "Load", facts: DatasetRecord) -> Preparation:
    """What stands between this data and a model that declares what it takes.

    The subject sees x in the data's domain. The model is given (x * (high - low) + low - mean) / std with [low, high]
    of `load.input_range` and mean and std of `load.normalisation`, one for each channel of (C, H, W), each feature of
    (F,), or one for all. Raises ModelError for another number of them, for an input range where the data's domain is
    not [0, 1], and for `load.classes` that are not those of the data.
    """
    low, high = _input_range(spec, facts)
    scale, shift = np.array([high - low]), np.array([low])
    if spec.normalisation != "inside-model":
        mean, std = (np.array(v, np.float64) for v in (spec.normalisation.mean, spec.normalisation.std))
        _check_length(len(mean), facts.shape)
        scale, shift = scale / std, (shift - mean) / std
    order = _order(spec.classes, facts.classes)
    if (scale == 1).all() and (shift == 0).all():
        return Preparation(order=order)
    size = _size(len(shift), facts.shape)
    return Preparation(scale.reshape(size), shift.reshape(size), order)


def _input_range(spec: "Load", facts: DatasetRecord) -> tuple[float, float]:
    if spec.input_range is None:
        return UNIT
    if not np.allclose(facts.range, UNIT, rtol=0, atol=WORTH_SAYING):
        raise ModelError(
            f"load.input_range: it says what [0, 1] becomes for the model, but this data ranges from "
            f"{facts.range[0]:g} to {facts.range[1]:g} and reaches the model as it is; remove it, or declare data.range"
        )
    return spec.input_range


def _check_length(given: int, shape: tuple[int, ...]) -> None:
    if given not in (1, shape[0]):
        kind = f"{shape[0]} channels" if len(shape) == 3 else f"{shape[0]} features"
        raise ModelError(
            f"load.normalisation: {given} means and deviations for data of {kind} (rows of shape {shape}); give "
            f"{shape[0]}, or one for all"
        )


def _size(given: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (given, *(1 for _ in shape[1:]))


def _order(declared: Sequence[str] | None, classes: Sequence[str]) -> tuple[int, ...] | None:
    """The model's output for each class of the data; None where `declared` has them in the data's order."""
    if declared is None or tuple(declared) == tuple(classes):
        return None
    for name in declared:
        if name not in classes:
            raise UnknownNameError("class", name, classes, where="load.classes")
    if missing := [name for name in classes if name not in declared]:
        raise ModelError(
            f"load.classes lacks {', '.join(missing)}: name every class of the data, in the order of the model's "
            "outputs"
        )
    return tuple(list(declared).index(name) for name in classes)
