"""Tables from csv and parquet files: a schema says what the columns are, and which changes of a row are possible."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from auditor.dataset import Array, Dataset, Domain
from auditor.datasets.arrays import split
from auditor.datasets.places import located
from auditor.datasets.spec import DataConfig, TableConfig
from auditor.datasets.tables import frames, schema, targets
from auditor.datasets.tables.columns import Cells, Mask, Origin, features
from auditor.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

TEST_SHARE = 0.25


def csv(config: DataConfig, directory: Path) -> Dataset:
    """A table in a csv file, its test rows in a second one (`table.test`) or a share of it (`test_share`)."""
    return _dataset(config, directory, "csv")


def parquet(config: DataConfig, directory: Path) -> Dataset:
    """The same in parquet files."""
    return _dataset(config, directory, "parquet")


@dataclass(frozen=True, eq=False)
class _Stored:
    """The rows of both files, numbered by their index, and where they come from."""

    frame: "pd.DataFrame"
    origin: Origin

    @property
    def second(self) -> Mask:
        return np.asarray(self.frame.index >= self.origin.first)

    def cells(self, name: str, train: Mask) -> Cells:
        return Cells(name, self.frame[name], train, self.second, self.origin)


def _dataset(config: DataConfig, directory: Path, kind: frames.Kind) -> Dataset:
    path = located(config, directory)
    stored = _stored(config, path, directory, kind)
    table = schema.checked(config, [str(name) for name in stored.frame.columns], path)
    names = [str(n) for n in stored.frame.columns if n != table.target and n not in table.drop]
    missing = _missing(stored, [*names, table.target, *table.groups])
    stored = _complete(stored, table, missing)
    labels = targets.labels(stored.cells(table.target, np.ones(len(stored.frame), bool)), config.classes)
    test = stored.second if table.test else _held(labels, config.test_share or TEST_SHARE, path.name)
    columns = [features(stored.cells(name, ~test), schema.column(table, name)) for name in names]
    x = np.concatenate([column.values for column in columns], axis=1).astype(np.float32)
    domain = schema.domain(columns, table)
    _check_rows(x, domain, stored)
    groups = {name: targets.groups(stored.cells(name, ~test)) for name in table.groups}
    return Dataset(
        path.stem,
        x[~test],
        labels.codes[~test],
        x[test],
        labels.codes[test],
        classes=labels.names,
        domain=domain,
        licence=config.licence or "not stated",
        groups={name: coded.codes[test] for name, coded in groups.items()},
        description=" ".join(filter(None, [config.description, *(column.note for column in columns)])),
        group_names={name: coded.names for name, coded in groups.items()},
        missing=missing,
    )


def _stored(config: DataConfig, path: Path, directory: Path, kind: frames.Kind) -> _Stored:
    if config.range is not None:
        raise ConfigError("data.range: columns of a table have ranges of their own: data.table.columns.NAME.range")
    texts = _texts(config.table) if config.table else set()
    first = frames.read(path, kind, texts)
    second = config.table.test if config.table else None
    if second is None:
        return _Stored(first, Origin((path.name,), len(first)))
    if config.test_share is not None:
        raise ConfigError("data.test_share: the test rows are those of data.table.test; remove one of the two")
    if not (directory / second).exists():
        raise DataError(f"data.table.test: {directory / second} does not exist")
    return _joined(first, frames.read(directory / second, kind, texts), path.name, second)


def _texts(table: TableConfig) -> set[str]:
    """Columns whose cells are names, though they may look like numbers: 01067 is not 1067."""
    named = {name for name, said in table.columns.items() if said.values or said.type == "category"}
    return {table.target, *table.groups, *named}


def _joined(first: "pd.DataFrame", second: "pd.DataFrame", path: str, test: str) -> _Stored:
    import pandas as pd

    for column in first.columns:
        if column not in second.columns:
            raise DataError(f"{test} lacks the column {column!r} of {path}")
    if extra := [c for c in second.columns if c not in first.columns]:
        raise DataError(f"{test} has the column {extra[0]!r}, which {path} lacks")
    return _Stored(pd.concat([first, second[first.columns]], ignore_index=True), Origin((path, test), len(first)))


def _missing(stored: _Stored, names: Sequence[str]) -> dict[str, int]:
    """How many cells of each column are empty, where any are."""
    counts = {name: int(stored.frame[name].isna().sum()) for name in dict.fromkeys(names)}
    return {name: count for name, count in counts.items() if count}


def _complete(stored: _Stored, table: TableConfig, missing: dict[str, int]) -> _Stored:
    """The rows that are used, as `table.missing` says."""
    empty = stored.frame[list(missing)].isna()
    if table.missing == "drop-rows":
        kept = _Stored(stored.frame[~empty.any(axis=1)], stored.origin)
        if not len(kept.frame):
            raise DataError(
                f"{stored.origin.files[0]}: every row has an empty cell, so `missing: drop-rows` leaves none"
            )
        return kept
    wrong = list(missing) if table.missing == "refuse" else [n for n in missing if n == table.target]
    for name in wrong:
        first = stored.origin.row(int(stored.frame.index[empty[name]][0]))
        more = f", and {len(wrong) - 1} other columns have some" if len(wrong) > 1 else ""
        advice = "drop-rows" if name == table.target else "drop-rows or fill"
        raise DataError(
            f"{first}: column {name!r} is empty, as in {missing[name]} rows{more}; say what to do: "
            f"data.table.missing: {advice}"
        )
    return stored


def _held(labels: targets.Coded, share: float, place: str) -> Mask:
    rows = split(np.arange(len(labels.codes)), labels.codes, share, place)
    held = np.zeros(len(labels.codes), bool)
    held[np.asarray(rows["x_test"])] = True
    return held


def _check_rows(x: Array, domain: Domain, stored: _Stored) -> None:
    breach = domain.constraints.breach(x, domain.feature_names)
    if breach:
        place = stored.origin.row(int(stored.frame.index[breach.row]))
        raise DataError(
            f"{place} does not fit {breach.rule!r}, nor do {breach.rows - 1} other rows; correct the data, or say in "
            "data.table what is true of every row"
        )
