"""What the table section of audit.yaml says of columns, checked against a file's, becomes a domain with constraints."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from auditor.constraints import Constraints
from auditor.dataset import Domain
from auditor.datasets.spec import Column, DataConfig, TableConfig
from auditor.datasets.tables.columns import Features
from auditor.errors import ConfigError, DataError, UnknownNameError
from auditor.relations import parse


def checked(config: DataConfig, columns: Sequence[str], path: Path) -> TableConfig:
    """The table section, once every column that it names is there.

    Raises UnknownNameError with the nearest column, ConfigError for a column named twice over or no table section at
    all, and DataError where no feature is left.
    """
    if config.table is None:
        raise ConfigError(f"data.table is missing: name the column of labels, `table: {{target: {columns[-1]}}}`")
    table = config.table
    named: dict[str, Sequence[str]] = {
        "target": [table.target], "groups": table.groups, "drop": table.drop, "columns": list(table.columns),
    }  # fmt: skip
    for key, names in named.items():
        for name in names:
            if name not in columns:
                raise UnknownNameError("column", name, columns, where=f"{path.name}, data.table.{key}")
    for key in ("groups", "drop", "columns"):
        if table.target in named[key]:
            raise ConfigError(f"data.table.{key}: {table.target!r} is the target")
    if dropped := set(table.columns) & set(table.drop):
        raise ConfigError(f"data.table.columns: {min(dropped)!r} is dropped by data.table.drop")
    if unnamed := [c for c in columns if c.startswith("Unnamed: ") and c not in table.drop]:
        raise DataError(
            f'{path.name}: column {unnamed[0]!r} has no name; if it numbers the rows: drop: ["{unnamed[0]}"]'
        )
    if not set(columns) - {table.target, *table.drop}:
        raise DataError(f"{path.name}: no column is left as a feature")
    return table


def column(table: TableConfig, name: str) -> Column:
    """What the schema says of a column; those of a one-hot group are 0 or 1."""
    stated = table.columns.get(name, Column())
    grouped = any(name in group for group in table.one_hot.values())
    return stated.model_copy(update={"type": "boolean"}) if grouped and stated.type is None else stated


def domain(columns: Sequence[Features], table: TableConfig) -> Domain:
    """The features of all columns with their ranges and constraints. Raises ConfigError and UnknownNameError."""
    names = tuple(name for column in columns for name in column.names)
    low, high = (
        np.concatenate(ends).astype(np.float32) for ends in zip(*((c.low, c.high) for c in columns), strict=True)
    )
    where = {name: i for i, name in enumerate(names)}

    made = [(column, [where[name] for name in column.names]) for column in columns]
    one_hot = [*(at for column, at in made if column.kind == "category"), *_declared(table, where)]
    grouped = set(chain.from_iterable(one_hot))
    whole = chain.from_iterable(at for column, at in made if column.kind in ("integer", "boolean"))
    constraints = Constraints(
        immutable=tuple(chain.from_iterable(at for column, at in made if column.immutable)),
        integer=tuple(i for i in whole if i not in grouped),
        one_hot=tuple(map(tuple, one_hot)),
        relations=tuple(parse(text, names, where="data.table.relations") for text in table.relations),
    )
    return Domain(low, high, names, constraints)


def _declared(table: TableConfig, where: dict[str, int]) -> list[list[int]]:
    """The one-hot groups that the columns are already, as indices of features."""
    groups: list[list[int]] = []
    for key, members in table.one_hot.items():
        place = f"data.table.one_hot.{key}"
        for name in members:
            if name not in where:
                raise UnknownNameError("column", name, where, where=place)
            if any(where[name] in group for group in groups) or members.count(name) > 1:
                raise ConfigError(f"{place}: {name!r} is in two groups")
        if len(members) < 2:
            raise ConfigError(f"{place}: a group needs two columns or more")
        groups.append([where[name] for name in members])
    return groups
