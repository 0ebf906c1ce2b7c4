"""Data sets: built in, from files, from arrays, or from a function of the user."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auditor import plugins
from auditor.blocks import blocks, gather
from auditor.dataset import Array, Dataset
from auditor.datasets import arrays as _arrays
from auditor.datasets import ood as _ood
from auditor.datasets.spec import DataConfig, OodConfig
from auditor.errors import AuditorError, ConfigError, DataError
from auditor.probe import stratified
from auditor.subjects import beside

Factory = Callable[[DataConfig, Path], Dataset]


def load(config: DataConfig, directory: Path) -> Dataset:
    """The data that a configuration names, with its out-of-distribution sets; `directory` is the audit file's.

    Without declared sets there is one far set: `photographs` for images, `shuffled` for tables. Raises DataError,
    ConfigError or UnknownNameError, naming file, key and what to do.
    """
    _refuse_idle(config)
    data = _limited(_load(config, directory), config)
    declared = {o.name: _declared(o, data, config, directory) for o in config.ood}
    said = {key: value for key in ("origin", "collection") if (value := getattr(config, key)) is not None}
    if declared or said:
        data = replace(data, ood={**data.ood, **declared}, **said)
    return _ood.with_far_set(data)


def _refuse_idle(config: DataConfig) -> None:
    """Raises ConfigError for settings that this source would not look at."""
    if config.images is not None and config.source != "images" and ":" not in config.source:
        raise ConfigError(f"data.images is for source: images, not for {config.source}; remove it")


def from_arrays(
    arrays: Mapping[str, npt.ArrayLike],
    *,
    id: str = "data",  # noqa: A002  # the word for it everywhere
    range: tuple[float, float] | None = None,  # noqa: A002
    classes: tuple[str, ...] | None = None,
    licence: str | None = None,
) -> Dataset:
    """A Dataset of arrays under the keys x_train y_train x_test y_test, optional x_ood_NAME and groups_NAME.

    Inputs are (N, features), (N, H, W) or (N, C, H, W). With `range`, or as bytes, or as images within [0, 1], the
    subject sees them in [0, 1]; a table of other numbers stays as it is, and its domain is each feature's own range.
    Raises DataError naming the key and what to do.
    """
    return _ood.with_far_set(_arrays.dataset(arrays, place=id, name=id, bounds=range, classes=classes, licence=licence))


def content_files(config: DataConfig, directory: Path) -> list[Path]:
    """The files whose bytes identify the data: none for what is built in. Raises DataError where one is missing."""
    sources: list[DataConfig | OodConfig] = [config, *config.ood]
    return sorted({path for source in sources for path in _files(source, directory)})


def _files(source: DataConfig | OodConfig, directory: Path) -> list[Path]:
    found = beside.files_beside(source.source, directory)
    if source.path is None:
        return found
    path = directory / source.path
    if not path.exists():
        raise DataError(f"data.path: {path} does not exist")
    if isinstance(source, DataConfig) and source.table is not None and source.table.test is not None:
        found.append(directory / source.table.test)
        if not found[-1].exists():
            raise DataError(f"data.table.test: {found[-1]} does not exist")
    if source.source == "idx":
        from auditor.datasets.files import idx_files

        return [*found, *idx_files(path).values()]
    return [*found, *([path] if path.is_file() else _inside(path))]


def _inside(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """The files in a folder and in all folders in it, linked ones too, but for hidden names, which no source reads."""
    around = above | {folder.resolve()}
    for path in folder.iterdir():
        if path.is_file() and not path.name.startswith("."):
            yield path
        elif path.is_dir() and not path.name.startswith(".") and path.resolve() not in around:
            yield from _inside(path, around)


def _load(config: DataConfig, directory: Path) -> Dataset:
    own = ":" in config.source
    factory: Factory = (
        beside.find(config.source, directory, what="data.source")
        if own
        else plugins.load("auditor.datasets", config.source, where="data.source")
    )
    try:
        data = factory(config, directory)
    except AuditorError:
        raise
    except Exception as error:
        if not own:
            raise
        raise DataError(f"data.source {config.source} raised {type(error).__name__}: {error}") from error
    if not isinstance(data, Dataset):
        raise DataError(f"data.source {config.source} returned a {type(data).__name__}; it must return a Dataset")
    return data


def _limited(data: Dataset, config: DataConfig) -> Dataset:
    limit = config.limit or {}
    train = _kept(data.y_train, limit.get("train"))
    test = _kept(data.y_test, limit.get("test"))
    if len(train) == len(data.y_train) and len(test) == len(data.y_test):
        return data
    return replace(
        data,
        x_train=gather(data.x_train, train),
        y_train=data.y_train[train],
        x_test=gather(data.x_test, test),
        y_test=data.y_test[test],
        groups={name: group[test] for name, group in data.groups.items()},
    )


def _kept(y: npt.NDArray[np.int64], count: int | None) -> npt.NDArray[np.int64]:
    """Indices of the rows kept: stratified, and always the same for the same labels."""
    return stratified(y, len(y) if count is None else count, np.random.Generator(np.random.PCG64(1)))


def _declared(ood: OodConfig, data: Dataset, config: DataConfig, directory: Path) -> Array:
    place = f"data.ood {ood.name}"
    if ood.name in data.ood:
        raise ConfigError(f"{place}: the data brings a set of this name already; choose another")
    if ood.source in ("csv", "parquet"):
        raise ConfigError(f"{place}: a csv or parquet file here has no schema; store its features, encoded, as npz")
    tabular = not data.is_image
    bounds = ood.range or (config.range if tabular else None)  # tables share their features, so they share their range
    pictures = config.images if ood.source == "images" else None
    other = _load(DataConfig(source=ood.source, path=ood.path, range=bounds, images=pictures), directory)
    x = _ood.sample(other.x_test)
    if tabular:
        if other.shape != data.shape:
            raise DataError(f"{place} has rows of shape {other.shape}; the data has rows of shape {data.shape}")
        return x
    return np.concatenate([_ood.fitted(other.domain.to_unit(rows), data, place) for rows in blocks(x)])
