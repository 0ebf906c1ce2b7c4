"""Data in a folder of npy files, mapped and never read whole: it may be larger than memory."""

from pathlib import Path

import numpy as np

from auditor.blocks import AnyArray, large
from auditor.dataset import Dataset
from auditor.datasets import places
from auditor.datasets.arrays import REQUIRED, dataset, held_back
from auditor.datasets.spec import DataConfig
from auditor.errors import DataError

MAGIC = b"\x93NUMPY"


def npy(config: DataConfig, directory: Path) -> Dataset:
    """Data in a folder with x_train.npy, y_train.npy, x_test.npy and y_test.npy, by the keys of npz.

    With `test_share`, x_train and y_train are split and no test files may be there. Numbers that are float32 as the
    subject sees them stay where they are; others are scaled block by block into a temporary file.
    """
    folder = places.folder(config, directory, ", ".join(f"{key}.npy" for key in REQUIRED))
    files = sorted(path for path in folder.glob("*.npy") if not path.name.startswith("."))
    arrays = {path.stem: read_npy(path) for path in files}
    return dataset(
        held_back(arrays, config.test_share, folder.name),
        place=str(config.path),
        name=folder.resolve().name,
        bounds=config.range,
        classes=config.classes,
        licence=config.licence,
        description=config.description,
    )


def read_npy(path: Path) -> AnyArray:
    """The array of one npy file, mapped read-only. Raises DataError for a file that is not what its header says."""
    places.refuse_pointer(path)
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise DataError(f"{path} is no npy file; save it with numpy.save")
    try:
        array: AnyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, OverflowError, SyntaxError) as error:
        raise DataError(f"{path}: cannot be mapped: {error}; it may be cut short, or hold objects") from None
    if array.ndim > 1 and not array.flags.c_contiguous:
        if large(array):
            raise DataError(f"{path} is stored column by column; save it again with numpy.ascontiguousarray")
        return np.ascontiguousarray(array)
    return array
