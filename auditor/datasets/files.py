"""Data from files: IDX as MNIST and its kin are stored, and npz."""

import gzip
import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auditor.dataset import Dataset
from auditor.datasets import places
from auditor.datasets.arrays import REQUIRED, dataset, held_back
from auditor.datasets.spec import DataConfig
from auditor.errors import DataError

# The type codes of http://yann.lecun.com/exdb/mnist, all big-endian.
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def idx(config: DataConfig, directory: Path) -> Dataset:
    """Data in a folder of four IDX files under MNIST's names, plain or gzip."""
    folder = places.located(config, directory)
    if config.test_share is not None:
        raise DataError(f"{config.path}: idx brings its own test files; remove data.test_share")
    arrays = {key: read_idx(path) for key, path in idx_files(folder).items()}
    return _dataset(config, arrays, folder.resolve().name)


def npz(config: DataConfig, directory: Path) -> Dataset:
    """Data in one npz file; with `test_share`, x_train and y_train are split and no test rows are looked for."""
    path = places.located(config, directory)
    arrays = read_npz(path)
    return _dataset(config, held_back(arrays, config.test_share, path.name), path.stem)


def _dataset(config: DataConfig, arrays: dict[str, npt.NDArray[np.generic]], name: str) -> Dataset:
    return dataset(
        arrays,
        place=str(config.path),
        name=name,
        bounds=config.range,
        classes=config.classes,
        licence=config.licence,
        description=config.description,
    )


def idx_files(folder: Path) -> dict[str, Path]:
    """The four files of a folder by npz key, under either spelling of their names, plain or gzip."""
    return {key: _idx_file(folder, name) for key, name in IDX_FILES.items()}


def _idx_file(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder; idx reads a folder with the four files {', '.join(IDX_FILES.values())}"
        )
    for spelling in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (folder / (spelling + suffix)).is_file():
                return folder / (spelling + suffix)
    raise DataError(f"{folder}: neither {name} nor {name}.gz is there; idx needs {', '.join(IDX_FILES.values())}")


def read_idx(path: Path) -> npt.NDArray[np.generic]:
    """The array of one IDX file, plain or gzip. Raises DataError for a file that is not what its header says."""
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES or not 1 <= content[3] <= 4:
        raise DataError(f"{path}: starts with {content[:4].hex(' ')}, which is no IDX file of 1 to 4 dimensions")
    dimensions, dtype = content[3], np.dtype(IDX_TYPES[content[2]])
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path}: ends inside its header; fetch it again")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    expected, got = math.prod(shape) * dtype.itemsize, len(content) - start
    if got != expected:
        what = "is cut short" if got < expected else "has bytes too many"
        raise DataError(
            f"{path}: {what}: its header promises {shape}, {expected} bytes, and {got} are there; fetch it again"
        )
    array: npt.NDArray[np.generic] = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def _content(path: Path) -> bytes:
    places.refuse_pointer(path)
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: cannot be unpacked: {error}; fetch it again") from None


def read_npz(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """All arrays of an npz file; pickled objects are refused."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; npz reads one file")
    places.refuse_pointer(path)
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                raise DataError(f"{path} is no npz file; save it with numpy.savez and the keys {', '.join(REQUIRED)}")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            keys = list(stored)
            return {key: _member(stored, key, path) for key in keys}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}; save or fetch it again") from None


def _member(stored: np.lib.npyio.NpzFile, key: str, path: Path) -> npt.NDArray[np.generic]:
    try:
        array: npt.NDArray[np.generic] = stored[key]
    except ValueError as error:
        raise DataError(
            f"{path}: {key} cannot be read without running code: {error}; store numbers, not objects"
        ) from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: {key} is no array; save it with numpy.savez")
    return array
