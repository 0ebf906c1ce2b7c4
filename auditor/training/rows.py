"""Training rows as tensors: in memory, or gathered from a map of a file that is larger than it."""

from collections.abc import Iterator

import numpy as np
import torch

from auditor.blocks import Chosen, gather, large
from auditor.dataset import Array


class MappedRows:
    """Rows (N, *shape) that are read when they are asked for, in the manner of a tensor; nothing else is kept."""

    def __init__(self, x: Array | Chosen) -> None:
        self._x = x
        self.shape = torch.Size(x.shape)

    def __len__(self) -> int:
        return len(self._x)

    def index_select(self, dim: int, rows: torch.Tensor) -> torch.Tensor:
        """The rows (n,) of these numbers; `dim` is 0."""
        assert dim == 0, "rows are chosen along the first axis"
        return torch.from_numpy(self._rows(rows.numpy()))

    def __getitem__(self, rows: slice) -> torch.Tensor:
        return torch.from_numpy(self._rows(np.arange(len(self))[rows]))

    def split(self, size: int) -> Iterator[torch.Tensor]:
        """All rows, so many at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def _rows(self, rows: np.ndarray) -> Array:
        return self._x[rows] if isinstance(self._x, Chosen) else gather(self._x, rows)


def tensor_rows(x: Array | Chosen) -> "torch.Tensor | MappedRows":
    """Rows in memory as a tensor; large ones where they are."""
    if isinstance(x, Chosen) or large(x):
        return MappedRows(x)
    return torch.tensor(x)
