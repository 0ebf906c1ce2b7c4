"""Data from the python batches of CIFAR-10 and CIFAR-100 as distributed, read without running what a pickle says."""

import io
import math
import pickle
import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from auditor.blocks import scratch
from auditor.dataset import Dataset
from auditor.datasets import places
from auditor.datasets.arrays import dataset
from auditor.datasets.spec import DataConfig
from auditor.errors import ConfigError, DataError

SIDE = 32
PIXELS = 3 * SIDE * SIDE
BYTE_CODES = (b"u1", "u1", b"uint8", "uint8", b"|u1", "|u1")
BROKEN = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Layout:
    """Which files a set has, and under which keys they keep labels and names."""

    train: tuple[str, ...]
    test: str
    meta: str
    labels: bytes
    names: bytes


CIFAR10 = Layout(tuple(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta", b"labels", b"label_names")
CIFAR100 = Layout(("train",), "test", "meta", b"fine_labels", b"fine_label_names")


def cifar10(config: DataConfig, directory: Path) -> Dataset:
    """60,000 colour images of 32 x 32 pixels in 10 classes (Krizhevsky 2009), from a folder cifar-10-batches-py."""
    return _cifar(config, directory, CIFAR10)


def cifar100(config: DataConfig, directory: Path) -> Dataset:
    """60,000 colour images of 32 x 32 pixels in 100 fine classes (Krizhevsky 2009), from a folder cifar-100-python."""
    return _cifar(config, directory, CIFAR100)


def _cifar(config: DataConfig, directory: Path, layout: Layout) -> Dataset:
    files = (*layout.train, layout.test, layout.meta)
    folder = places.folder(config, directory, ", ".join(files))
    places.refuse_range(config)
    if config.test_share is not None:
        raise ConfigError(f"data.test_share: {config.source} brings its own test rows; remove it")
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise DataError(f"{folder}: {', '.join(missing)} not there; {config.source} needs {', '.join(files)}")
    train = [_batch(folder / name, layout.labels) for name in layout.train]
    test = _batch(folder / layout.test, layout.labels)
    arrays = {
        "x_train": _joined([batch.x for batch in train]),
        "y_train": np.concatenate([batch.y for batch in train]),
        "x_test": test.x,
        "y_test": test.y,
    }
    return dataset(
        arrays,
        place=str(config.path),
        name=config.source,
        bounds=(0, 255),
        classes=config.classes or _names(folder / layout.meta, layout.names),
        licence=config.licence,
        description=config.description,
    )


@dataclass(frozen=True, eq=False)
class _Batch:
    """Images (n, 3, 32, 32) as bytes with their labels (n,)."""

    x: npt.NDArray[np.uint8]
    y: npt.NDArray[np.int64]


def _batch(path: Path, key: bytes) -> _Batch:
    stored = read_batch(path)
    x, y = stored.get(b"data"), stored.get(key)
    if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[1] != PIXELS:
        raise DataError(f"{path}: data is no array of bytes (N, {PIXELS}); fetch the file again")
    if not isinstance(y, list) or len(y) != len(x) or not all(type(label) is int and 0 <= label < 256 for label in y):
        raise DataError(f"{path}: {key.decode()} is no list of {len(x)} integers from 0 to 255; fetch the file again")
    return _Batch(x.reshape(-1, 3, SIDE, SIDE), np.array(y, np.int64))


def _joined(parts: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    x = scratch((sum(map(len, parts)), 3, SIDE, SIDE), np.uint8)
    return np.concatenate(parts, out=x)


def _names(path: Path, key: bytes) -> tuple[str, ...]:
    names = read_batch(path).get(key)
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise DataError(f"{path}: {key.decode()} is no list of names; fetch the file again")
    return tuple(name.decode("utf-8", "replace") for name in names)


def read_batch(path: Path) -> dict[Any, Any]:  # bytes to whatever the file holds
    """What one batch file holds: arrays of bytes, texts, numbers, lists and maps.

    Nothing that the file names is ever imported or called, so a prepared file can run nothing: the four names of a
    stored numpy array are understood here, any other is refused. Raises DataError naming the file and what it asked.
    """
    places.refuse_pointer(path)
    content = path.read_bytes()
    try:
        _refuse_far_numbers(content)
        stored = _Reader(io.BytesIO(content), encoding="bytes").load()
        if isinstance(stored, dict):
            return {key: value.array() if isinstance(value, _Array) else value for key, value in stored.items()}
    except BROKEN as error:
        raise DataError(f"{path} is no batch of CIFAR: {error or type(error).__name__}; fetch it again") from None
    raise DataError(f"{path} is no batch of CIFAR: it holds a {type(stored).__name__}; fetch it again")


def _refuse_far_numbers(content: bytes) -> None:
    """A pickle numbers what it holds, and reading makes room up to the highest number, be the file ever so short."""
    for code, number, _ in pickletools.genops(content):
        if code.name in ("PUT", "LONG_BINPUT") and number is not None and int(number) > len(content):
            raise ValueError(f"it numbers a part {number}, and has {len(content)} bytes")


class _Array:
    """Stands for a numpy array while a pickle is read."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()  # what the file says: not looked at before `array`

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> npt.NDArray[np.uint8]:
        """The array, if it is one of bytes in C order whose content is all there."""
        _, shape, kind, fortran, content = self.state
        if not isinstance(kind, _Kind) or kind.code not in BYTE_CODES or fortran or not isinstance(content, bytes):
            raise ValueError("an array in it is not of bytes (uint8) in C order")
        if not all(type(side) is int and side >= 0 for side in shape) or math.prod(shape) != len(content):
            raise ValueError(f"an array comes with {len(content)} bytes, which are not those of its shape")
        return np.frombuffer(content, np.uint8).reshape(shape)


class _Kind:
    """Stands for a numpy type while a pickle is read."""

    def __init__(self, code: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """The state of a type says its byte order, which a byte does not have."""


def _encoded(text: object, encoding: object) -> bytes:
    """How Python 3 writes bytes into an old pickle."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise ValueError("a text is not encoded as latin1")
    return text.encode("latin1")


class _Named:
    """Stands for what a pickle names, while it is read: a file can call it, and cannot alter it."""

    def __init__(self, answer: Callable[..., object]) -> None:
        self._answer = answer

    def __call__(self, *args: object) -> object:
        return self._answer(*args)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it alters what it names")


UNDERSTOOD: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy", "ndarray"): lambda *_: _Array(),
    ("numpy", "dtype"): lambda code, *_: _Kind(code),
    ("_codecs", "encode"): _encoded,
    ("__builtin__", "bytes"): lambda *_: b"",
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> _Named:
        if (module, name) not in UNDERSTOOD:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs and which could run code")
        return _Named(UNDERSTOOD[module, name])
