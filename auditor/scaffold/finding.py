"""What lies in a folder that an audit could be about: data, and files that hold models, told without running any."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from auditor.subjects.sniffing import ModelKind, formats_of, kind_of

TABLES = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet"}
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
NO_MODEL = {".npz", ".npy", ".csv", ".tsv", ".parquet", ".pq", ".py", ".yaml", ".yml", ".md", ".html", ".ipynb"}
MODELS = {".pt", ".pth", ".pt2", ".ckpt", ".safetensors", ".onnx", ".skops", ".pkl", ".pickle", ".joblib", ".ubj"}
OURS = {"audits", "__pycache__", "node_modules", "venv"}  # and what is hidden
HOLDS_DATA, HOLDS_MODELS = {"data", "dataset", "datasets"}, {"model", "models", "weights", "checkpoints"}
MOST = 200  # entries of a folder that are looked at


@dataclass(frozen=True)
class FoundData:
    """Data by the name of its source; a table may have its test rows in a second file."""

    source: str
    path: Path
    test: Path | None = None


def source_of(path: Path) -> str | None:
    """Which source reads this file or folder? None for what none reads."""
    if path.is_file():
        if path.suffix.lower() in TABLES:
            return TABLES[path.suffix.lower()]
        return "npz" if path.suffix == ".npz" or kind_of(path) is ModelKind.NPZ else None
    names = {p.name for p in _entries(path)}
    if "x_train.npy" in names:
        return "npy"
    if any(n.startswith(("train-images-idx3", "train-images.idx3")) for n in names):
        return "idx"
    if "data_batch_1" in names:
        return "cifar10"
    if {"train", "test", "meta"} <= names and (path / "meta").is_file():
        return "cifar100"
    return "images" if _holds_class_folders(path) else None


def data_in(folder: Path) -> list[FoundData]:
    """The data in a folder, in the folders directly in it, and in a folder called data."""
    if source := _whole(folder):
        return [FoundData(source, folder)]
    found = [FoundData(source, p) for p in _entries(folder) if (source := source_of(p))]
    for inner in _entries(folder):
        if inner.is_dir() and inner.name.lower() in HOLDS_DATA and not any(f.path == inner for f in found):
            found += data_in(inner)
    return _paired(found)


def _whole(folder: Path) -> str | None:
    """The source of a folder that is itself the data; class folders could be anything, so they need both parts."""
    source = source_of(folder)
    if source == "images" and not ((folder / "train").is_dir() and (folder / "test").is_dir()):
        return None
    return source


def models_in(folder: Path) -> list[Path]:
    """The model files in a folder and in those in it that are called models, weights or checkpoints.

    A broken one and a git-LFS pointer are among them: whoever has put one there means it, and hears what is wrong.
    """
    found: list[Path] = []
    for path in _entries(folder):
        if path.is_dir() and path.name.lower() in HOLDS_MODELS:
            found += models_in(path)
        elif path.is_file() and path.suffix.lower() not in NO_MODEL | PICTURES and _meant_as_model(path):
            found.append(path)
    return found


def _meant_as_model(path: Path) -> bool:
    kind = kind_of(path)
    is_model = kind is not None and bool(formats_of(kind))
    return is_model or kind is ModelKind.LFS_POINTER or path.suffix.lower() in MODELS


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, by name, without what is hidden or ours."""
    seen = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name not in OURS)
    return seen[:MOST] if folder.is_dir() else []


def _holds_class_folders(folder: Path) -> bool:
    """Whether at least two folders here, or in a folder train here, hold pictures."""
    root = folder / "train" if (folder / "train").is_dir() else folder
    return sum(_holds_pictures(p) for p in _entries(root) if p.is_dir()) >= 2


def _holds_pictures(folder: Path) -> bool:
    return any(p.suffix.lower() in PICTURES for p in _entries(folder)[:5])


def _paired(found: list[FoundData]) -> list[FoundData]:
    """Two tables called train and test are one."""
    return [FoundData(f.source, f.path, test) for f, test in _with_tests(found)]


def _with_tests(found: list[FoundData]) -> Iterator[tuple[FoundData, Path | None]]:
    tables = {f.path: f for f in found if f.source in TABLES.values()}
    tests = {p.with_name(p.name.replace("train", "test", 1)): p for p in tables if "train" in p.name}
    for f in found:
        if f.path in tests and f.path in tables:
            continue
        yield f, next((test for test, train in tests.items() if train == f.path and test in tables), None)
