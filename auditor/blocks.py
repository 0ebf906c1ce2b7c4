"""Arrays that need not fit into memory: read in blocks, pages given back, room found in files that vanish."""

import math
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from auditor.errors import DataError

BLOCK_BYTES = 2**25  # of an array that are held at a time
LARGE = 2**28  # bytes above which an array is not copied into memory whole
FAULT_BYTES = 2**18  # that the system maps, about, for one row touched at random
KEPT_IN_FILE = ("r", "r+", "w+")  # modes of a map whose pages can be given back: their content is in the file

AnyArray = npt.NDArray[Any]  # of any number type


@dataclass(frozen=True, eq=False)
class Chosen:
    """Some rows of an array, read when they are asked for: `x[index]` without the copy."""

    x: AnyArray
    index: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> AnyArray:
        return gather(self.x, self.index[rows])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the rows together."""
        return (len(self.index), *self.x.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of the rows together."""
        return math.prod(self.shape) * self.x.dtype.itemsize


@dataclass(frozen=True, eq=False)
class Extremes:
    """The least and the greatest value of each feature over all rows; not a number where a row has none."""

    low: AnyArray
    high: AnyArray


def large(x: "AnyArray | Chosen") -> bool:
    """Whether these rows are too many to be copied into memory."""
    return x.nbytes > LARGE


def blocks(x: "AnyArray | Chosen", rows: int | None = None) -> Iterator[AnyArray]:
    """Consecutive pieces of `rows` rows each, by default of about 32 MB, for loops that hold one at a time.

    The pages of a mapped array are given back every 32 MB, so that reading a file does not fill the memory.
    """
    row = max(1, x.nbytes // max(1, len(x)))
    step = rows or max(1, BLOCK_BYTES // row)
    read = 0
    for start in range(0, len(x), step):
        piece = x[start : start + step]
        yield piece
        read += piece.nbytes
        if read >= BLOCK_BYTES:
            release(x)
            read = 0
    if read:
        release(x)


def release(x: "AnyArray | Chosen") -> None:
    """Give back the pages of a mapped array, which are read from its file again when they are needed."""
    file = mapped(x)
    pages: Any = getattr(file, "_mmap", None)  # a mmap.mmap, which numpy keeps to itself
    if file is not None and file.mode in KEPT_IN_FILE and hasattr(pages, "madvise"):  # not on Windows
        pages.madvise(mmap.MADV_DONTNEED)


def mapped(x: "AnyArray | Chosen") -> "np.memmap[Any, Any] | None":
    """The mapped file that an array is a view of; None for an array in memory."""
    array: Any = x.x if isinstance(x, Chosen) else x
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return array if isinstance(array, np.memmap) else None


def gather(x: AnyArray, rows: npt.NDArray[np.int64]) -> AnyArray:
    """`x[rows]`, without the pages around each row staying in memory; what is large itself lies in a file."""
    row = x.nbytes // max(1, len(x))
    if (mapped(x) is None and len(rows) * row <= LARGE) or len(rows) * max(row, FAULT_BYTES) <= BLOCK_BYTES:
        found: AnyArray = x[rows]
        release(x)
        return found
    found, step = scratch((len(rows), *x.shape[1:]), x.dtype), max(1, BLOCK_BYTES // max(row, FAULT_BYTES))
    for start in range(0, len(rows), step):
        found[start : start + step] = x[rows[start : start + step]]
        release(x)
        release(found)
    return found


def taken(x: AnyArray, rows: npt.NDArray[np.bool_]) -> "AnyArray | Chosen":
    """The rows that are true: a copy, or where it would be large, only their choice."""
    if not large(x):
        return np.asarray(x[rows])
    return Chosen(x, np.flatnonzero(rows))


def copied(x: "AnyArray | Chosen") -> AnyArray:
    """A copy to be written to."""
    copy = scratch(x.shape, (x.x if isinstance(x, Chosen) else x).dtype)
    start = 0
    for block in blocks(x):
        copy[start : start + len(block)] = block
        start += len(block)
        release(copy)
    return copy


def scratch(shape: Sequence[int], dtype: npt.DTypeLike) -> AnyArray:
    """An array to be filled, in memory; a large one in a temporary file that goes when the array does.

    Raises DataError where there is no room: a map of a file that cannot grow would end the process.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= LARGE:
        return np.empty(tuple(shape), dtype)
    with tempfile.TemporaryFile() as file:
        try:
            _reserve(file, size)
        except OSError as error:
            raise DataError(
                f"{size / 1e9:.1f} GB of temporary space are needed in {tempfile.gettempdir()}: {error.strerror}; "
                "make room, or name another folder in TMPDIR"
            ) from None
        return np.memmap(file, dtype, "w+", shape=tuple(shape))


def _reserve(file: Any, size: int) -> None:  # what tempfile gives, which differs by system
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def extremes(x: "AnyArray | Chosen") -> Extremes:
    """The least and the greatest value of each feature, (*shape) each, over rows (N, *shape); N is at least 1."""
    low, high = x[0:1][0].copy(), x[0:1][0].copy()
    for block in blocks(x):
        np.minimum(low, block.min(axis=0), out=low)
        np.maximum(high, block.max(axis=0), out=high)
    return Extremes(low, high)


def save(path: Path, array: AnyArray) -> None:
    """Write an npy file as numpy.save does, without mapping all of a large array into memory."""
    if array.nbytes <= BLOCK_BYTES:
        np.save(path, array, allow_pickle=False)
        return
    header = {"shape": array.shape, "fortran_order": False, "descr": np.lib.format.dtype_to_descr(array.dtype)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        _write_rows(file, array)


def _write_rows(file: BinaryIO, array: AnyArray) -> None:
    for block in blocks(array):
        file.write(np.ascontiguousarray(block).data)
