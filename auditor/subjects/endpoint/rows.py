"""How rows of the data are sent to a server: as which tensor, in which layout, and how many at once."""

import math
from dataclasses import dataclass, replace

import numpy as np

from auditor.dataset import Array
from auditor.errors import ModelError, UnknownNameError
from auditor.subjects.endpoint.protocol import ASKED_IN, Metadata, Tensor

FEWEST, MOST = 64, 256  # rows a request
BYTES_OF_A_REQUEST, BYTES_OF_A_NUMBER = 4 << 20, 20
UNNAMED = "input-0"  # what a tensor is called where the server does not say


def usual_rows(shape: tuple[int, ...]) -> int:
    """How many rows of a shape a request holds where the server does not say."""
    return min(MOST, max(FEWEST, BYTES_OF_A_REQUEST // (BYTES_OF_A_NUMBER * math.prod(shape))))


@dataclass(frozen=True)
class Layout:
    """How a server wants rows: in which shape, with the channels last or not, and how many where that is fixed."""

    shape: tuple[int, ...]
    channels_last: bool = False
    rows: int | None = None

    def of(self, x: Array) -> Array:
        """Rows (N, *shape of the data) as (N, *shape of the server)."""
        arranged = np.moveaxis(x, 1, -1) if self.channels_last else x
        return np.ascontiguousarray(arranged).reshape(len(x), *self.shape)


def layout_for(tensor: Tensor, row: tuple[int, ...], where: str) -> Layout:
    """The layout that a tensor's shape asks of rows of the data. Raises ModelError where they do not fit."""
    if tensor.shape == row:  # the server counts no rows
        return Layout(row)
    rows, wanted = (tensor.shape[0], tensor.shape[1:]) if tensor.shape else (-1, row)
    layout = Layout(row, rows=rows if rows > 0 else None)
    if _fits(row, wanted):
        return layout
    if _fits((math.prod(row),), wanted):
        return replace(layout, shape=(math.prod(row),))
    if len(row) == 3 and _fits(last := (*row[1:], row[0]), wanted):
        return replace(layout, shape=last, channels_last=True)
    raise ModelError(
        f"{where} takes inputs of shape {list(tensor.shape)} as {tensor.name!r}; the data's rows are {list(row)}: "
        "is it the model of this data?"
    )


def _fits(row: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(row) == len(wanted) and all(w in (-1, r) for r, w in zip(row, wanted, strict=True))


def tensor_for(metadata: Metadata, named: str | None, row: tuple[int, ...], where: str) -> Tensor:
    """The one input that rows are sent as. Raises UnknownNameError or ModelError where there is none, or several."""
    inputs = metadata.inputs or (Tensor(name=named or UNNAMED, datatype="FP32", shape=(-1, *row)),)
    names = [tensor.name for tensor in inputs]
    if named is not None and named not in names:
        raise UnknownNameError("input", named, names, where=f"load.input: {where}")
    if named is None and len(inputs) > 1:
        raise ModelError(
            f"{where} takes {len(inputs)} inputs: {', '.join(names)}; an audit sends one: name it with load.input, or "
            "serve the model with all features as one tensor"
        )
    tensor = inputs[names.index(named)] if named is not None else inputs[0]
    if tensor.datatype not in ASKED_IN:
        raise ModelError(f"{where} takes {tensor.name!r} as {tensor.datatype}; an audit sends {', '.join(ASKED_IN)}")
    return tensor
