"""The data section of a first audit.yaml: guessed from the files, and loaded once to see that it works."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.dataset import Dataset
from auditor.datasets.spec import DataConfig
from auditor.errors import ConfigError, DataError
from auditor.scaffold.finding import FoundData

if TYPE_CHECKING:
    import pandas as pd

TARGETS = ("target", "label", "class", "y")
BUILT_IN = "digits"
TEST_SHARE = 0.25
# Ranges that values are stored in, the narrowest that holds them: bytes, signed units, scikit-learn's digits, 16 bits.
STORED = ((-1.0, 1.0), (0.0, 16.0), (0.0, 255.0), (0.0, 65535.0))


@dataclass(frozen=True)
class SeenData:
    """The data section of audit.yaml, the data it loads, and what was guessed, in words.

    `stored` is the range of values that are no bytes and not in [0, 1]: a model was likely trained on them as they are.
    """

    section: str
    data: Dataset
    guesses: tuple[str, ...] = ()
    stored: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Guess:
    """Settings of the data section beyond source and path, and why."""

    settings: Mapping[str, Any] = field(default_factory=dict)  # YAML values
    said: tuple[str, ...] = ()
    stored: tuple[float, float] | None = None


def look(folder: Path, found: FoundData | None) -> SeenData:
    """Load the data as an audit in this folder would, and say how an audit file names it."""
    from auditor.datasets import load

    if found is None:
        told = "  source: digits                  # built in: digits, breast-cancer, wine; files: csv, images, npz, ..."
        return SeenData(told, load(DataConfig(source=BUILT_IN), folder))
    if not found.path.exists():
        raise ConfigError(f"--data: {found.path} does not exist")
    guess = _guess(found)
    config = DataConfig.model_validate({"source": found.source, "path": str(found.path.resolve()), **guess.settings})
    data = load(config, folder)
    relative = os.path.relpath(found.path.resolve(), folder.resolve())
    settings = {"source": found.source, "path": relative, **_named_from(folder, guess.settings)}
    lines = [*_yaml(settings), *_hints(found, guess.settings, data)]
    return SeenData("\n".join(lines), data, guess.said, guess.stored)


def _guess(found: FoundData) -> _Guess:
    if found.source in ("csv", "parquet"):
        return _table(found)
    if found.source == "npz":
        return _npz(found.path)
    if found.source == "images" and not ((found.path / "train").is_dir() and (found.path / "test").is_dir()):
        return _Guess({"test_share": TEST_SHARE}, (f"test rows: {TEST_SHARE:.0%} of each class",))
    return _Guess()


def _npz(path: Path) -> _Guess:
    from auditor.datasets.files import read_npz

    arrays = read_npz(path)
    settings: dict[str, Any] = {}
    said: list[str] = []
    if {"x_train", "y_train"} <= arrays.keys() and not {"x_test", "y_test"} & arrays.keys():
        settings["test_share"] = TEST_SHARE
        said.append(f"test rows: {TEST_SHARE:.0%} of x_train")
    inputs = [a for key, a in arrays.items() if key.startswith("x_")]
    stored = stored_range(inputs) if inputs and inputs[0].ndim > 2 else None
    if stored is not None:
        settings["range"] = [int(v) if v.is_integer() else v for v in stored]
        said.append(f"values as stored: {stored[0]:g} to {stored[1]:g}")
    return _Guess(settings, tuple(said), stored)


def stored_range(arrays: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """The range that pixels of arrays are stored in, where it is not told by their type or [0, 1] already."""
    if any(a.dtype == np.uint8 or a.dtype.kind not in "iuf" or not a.size for a in arrays):
        return None
    low, high = min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)
    if not np.isfinite([low, high]).all() or (low >= 0 and high <= 1):
        return None
    usual = next((r for r in STORED if r[0] <= low and high <= r[1]), None)
    return usual or (float(np.floor(low)), float(np.ceil(high)))


def _table(found: FoundData) -> _Guess:
    from auditor.datasets.tables import frames

    frame = frames.read(found.path, "csv" if found.source == "csv" else "parquet")
    target = next((str(c) for t in TARGETS for c in frame.columns if str(c).lower() == t), str(frame.columns[-1]))
    table: dict[str, Any] = {"target": target}
    said = [f"target: the column {target!r}"]
    if found.test is not None:
        table["test"] = str(found.test.resolve())
        said.append(f"test rows: {found.test.name}")
    if gap := _gap(frame, target):
        table["missing"] = gap
        said.append(f"empty cells: {gap}")
    classes = _counted_otherwise(frame[target])
    return _Guess({"table": table, **({"classes": classes} if classes else {})}, tuple(said))


def _gap(frame: "pd.DataFrame", target: str) -> str | None:
    """What becomes of empty cells, where there are any."""
    empty = frame.isna().any()
    return None if not empty.any() else "drop-rows" if empty[target] else "fill"


def _counted_otherwise(column: "pd.Series[Any]") -> list[str]:
    """The labels of a target that are whole numbers and not 0 to K-1, to be named as classes."""
    import pandas as pd

    numbers = pd.to_numeric(column.dropna().drop_duplicates(), errors="coerce")
    if numbers.isna().any() or not (numbers == numbers.round()).all():
        return []
    values = sorted(int(v) for v in numbers)
    return [] if values == list(range(len(values))) else [str(v) for v in values]


def _named_from(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the second file of a table relative to the audit file."""
    table = settings.get("table")
    if not table or "test" not in table:
        return dict(settings)
    return {**settings, "table": {**table, "test": os.path.relpath(table["test"], folder.resolve())}}


def _yaml(settings: Mapping[str, Any]) -> list[str]:
    """Lines of YAML; JSON values are YAML values."""
    plain = [f"  {key}: {_value(value)}" for key, value in settings.items() if not isinstance(value, Mapping)]
    for key, value in settings.items():
        if isinstance(value, Mapping):
            plain += [f"  {key}:", *(f"    {k}: {_value(v)}" for k, v in value.items())]
    return plain


def _value(value: object) -> str:
    plain = isinstance(value, str) and value.replace("-", "").replace("_", "").isalpha() and value.islower()
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def _hints(found: FoundData, settings: Mapping[str, Any], data: Dataset) -> list[str]:
    """Settings that were not needed, as comments."""
    lines = []
    if found.source in ("csv", "parquet"):
        lines.append("    # columns: {age: {immutable: true}}   # types, ranges, and what no attacker can change")
    if "range" not in settings and found.source in ("npz", "npy", "idx"):
        lines.append("  # range: [0, 255]               # as stored, if it was guessed wrong; the subject sees [0, 1]")
    if "classes" not in settings:
        listed = ", ".join(json.dumps(c, ensure_ascii=False) for c in data.classes[:20])
        lines.append(f"  # classes: [{listed}]")
    if found.source == "images":
        lines.append("  # images: {size: [32, 32], mode: rgb}")
    return lines


def known(path: Path, source: str | None) -> FoundData:
    """Data that was named: its source must be told by looking. Raises ConfigError or DataError."""
    if not path.exists():
        raise ConfigError(f"--data: {path} does not exist")
    if source is None:
        raise DataError(
            f"--data: {path} is no data that is known: an npz, csv or parquet file, or a folder of npy, IDX, CIFAR or "
            "image files (one folder a class)"
        )
    return FoundData(source, path)
