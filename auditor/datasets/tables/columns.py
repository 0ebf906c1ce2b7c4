"""One column of a table becomes features: numbers as they are, two values as 0 and 1, categories one-hot."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

import numpy as np
import numpy.typing as npt

from auditor.datasets.spec import Column
from auditor.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

Mask = npt.NDArray[np.bool_]
Kind = Literal["number", "integer", "boolean", "category"]

MOST_CATEGORIES = 200
FINEST = 1e-3  # of a column's range: where float32 keeps coarser steps than that, its values run together
_NO_CATEGORIES = {  # texts that are something else, and what to do about a column of them
    r"[+-]?\d+(,\d+)*(\.\d+)?": "is a number with a comma: write it with digits and a decimal point alone",
    r"[+-]?[\d.]+ ?%": "is a share: write the number alone",
    r"\d{4}-\d\d?-\d\d?([T ].*)?|\d\d?[./]\d\d?[./]\d{2,4}": "is a date: store a number of days, or drop the column",
}
_WORDS = {"false": 0, "no": 0, "n": 0, "f": 0, "0": 0, "true": 1, "yes": 1, "y": 1, "t": 1, "1": 1}


@dataclass(frozen=True)
class Origin:
    """Where rows come from: `files` by name, the rows of the first numbered 0 to `first` - 1, then the second's."""

    files: tuple[str, ...]
    first: int

    def row(self, number: int) -> str:
        """A row as its reader finds it: file and row, counted from 1 below the header."""
        own = number < self.first
        return f"{self.files[0] if own else self.files[1]}, row {number + 1 - (0 if own else self.first)}"


@dataclass(frozen=True, eq=False)
class Features:
    """What one column became: values (N, k) of k named features with their ends, and what constrains them."""

    names: tuple[str, ...]
    values: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    kind: Kind
    immutable: bool = False
    note: str = ""


@dataclass(frozen=True, eq=False)
class Cells:
    """A column as stored, with gaps: its name, its rows' numbers as index, which rows are for training, and its place.

    `second` are the rows of a second file, whose categories must be known from the first.
    """

    name: str
    stored: "pd.Series[object]"
    train: Mask
    second: Mask
    origin: Origin

    @property
    def known(self) -> "pd.Series[object]":
        """The cells that are not empty."""
        return self.stored[self.stored.notna()]

    def wrong(self, bad: "pd.Series[bool]", why: str) -> DataError:
        """An error that shows the first bad cell, among those of a mask over known cells."""
        at = int(bad[bad].index[0])
        more = f" ({int(bad.sum())} cells in all)" if int(bad.sum()) > 1 else ""
        return DataError(f"{self.origin.row(at)}, column {self.name!r}: {str(self.stored[at])!r} {why}{more}")


def features(cells: Cells, column: Column) -> Features:
    """The features of a column, its gaps filled from the training rows.

    Raises DataError for the first cell that does not fit, with its file, row and column, and ConfigError for a schema
    that means nothing.
    """
    if cells.known.empty:
        raise DataError(f"{cells.origin.files[0]}: column {cells.name!r} is empty; put it in data.table.drop")
    kind = column.type or _guess(cells, column)
    _check_schema(cells.name, column, kind)
    match kind:
        case "number" | "integer":
            return _numbers(cells, column, kind)
        case "boolean":
            return _boolean(cells, column)
        case "category":
            return _category(cells, column)
        case _:
            assert_never(kind)


def texts(known: "pd.Series[object]") -> "pd.Series[str]":
    """Cells as texts, alike however they were stored: 3.0 is "3", True is "true"."""

    def one(value: object) -> str:
        if isinstance(value, bool | np.bool_):
            return str(bool(value)).lower()
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

    told = known.map(one).str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)
    lower = told.str.lower()
    return lower if lower.isin(["true", "false"]).all() else told


def numbers(known: "pd.Series[object]") -> "pd.Series[float]":
    """Cells as numbers, NaN where they are none."""
    import pandas as pd

    return pd.to_numeric(known, errors="coerce").astype(float)


def in_order(values: "pd.Series[str]") -> tuple[str, ...]:
    """The different values, by size where all are numbers, else by text."""
    found = sorted(map(str, values.unique()))
    try:
        return tuple(sorted(found, key=float))
    except ValueError:
        return tuple(found)


def _guess(cells: Cells, column: Column) -> Kind:
    if column.values:
        return "category"
    if column.range:
        return "number"
    known = cells.known
    parsed = numbers(known)
    if parsed.notna().all():
        if set(parsed.unique()) == {0.0, 1.0} or known.dtype.kind == "b":
            return "boolean"
        return "integer" if (parsed == parsed.round()).all() else "number"
    _refuse_no_categories(cells)
    said = set(known.map(str).str.lower().unique()) if known.nunique() <= 2 else set()
    return "boolean" if said and (len(said) == 2 or said <= _WORDS.keys()) else "category"


def _refuse_no_categories(cells: Cells) -> None:
    """Refuse texts that are numbers or dates as people write them, unless the schema says that they are names."""
    told = cells.known.map(str)
    for pattern, what in _NO_CATEGORIES.items():
        if told.str.fullmatch(pattern).all():
            named = f"data.table.columns.{cells.name}.type"
            raise cells.wrong(numbers(cells.known).isna(), f"{what}; where it is a name, write {named}: category")


def _check_schema(name: str, column: Column, kind: Kind) -> None:
    place = f"data.table.columns.{name}"
    if column.range and kind in ("boolean", "category"):
        raise ConfigError(f"{place}.range: a {kind} has no range; remove it, or write `type: number`")
    if column.values and kind in ("number", "integer"):
        raise ConfigError(f"{place}.values: a {kind} has no list of values; remove it, or write `type: category`")
    if column.values and kind == "boolean" and len(column.values) != 2:
        raise ConfigError(
            f"{place}.values: a boolean has two values, {len(column.values)} are listed; false comes first"
        )


def _numbers(cells: Cells, column: Column, kind: Kind) -> Features:
    parsed = numbers(cells.known)
    if parsed.isna().any():
        raise cells.wrong(parsed.isna(), f"is no number; correct it, or write data.table.columns.{cells.name}.type")
    if (infinite := parsed.abs() > np.finfo(np.float32).max).any():
        raise cells.wrong(infinite, "is infinite or too large for float32; correct or drop it")
    _refuse_too_fine(cells, parsed)
    whole = parsed == parsed.round()
    if kind == "integer" and not whole.all():
        raise cells.wrong(~whole, "is no whole number, as its type says")
    low, high = column.range or (float(parsed.min()), float(parsed.max()))
    if (outside := (parsed < low) | (parsed > high)).any():
        raise cells.wrong(outside, f"is outside the range [{low:g}, {high:g}] of data.table.columns.{cells.name}")
    if kind == "integer":
        low, high = np.ceil(low), np.floor(high)
    of_train = parsed.reindex(cells.stored.index[cells.train]).dropna()
    middle = np.quantile(of_train, 0.5, method="lower" if kind == "integer" else "linear") if len(of_train) else low
    values = parsed.reindex(cells.stored.index).fillna(float(middle)).to_numpy()
    told = "" if kind == "number" or parsed.nunique() < len(parsed) or len(parsed) < 50 else _note(cells.name)
    return Features((cells.name,), values[:, None], np.array([low]), np.array([high]), kind, column.immutable, told)


def _refuse_too_fine(cells: Cells, parsed: "pd.Series[float]") -> None:
    """Refuse numbers so large beside their differences that the subject would not see these."""
    width, far = float(parsed.max() - parsed.min()), float(parsed.abs().max())
    if width > 0 and (step := float(np.spacing(np.float32(far)))) > FINEST * width:
        raise cells.wrong(
            parsed.abs() == far,
            f"is kept to the nearest {step:g} in float32, and all values lie within {width:g}: subtract an offset, or "
            "drop the column where it is an identifier",
        )


def _note(name: str) -> str:
    return f"Column {name} has another whole number in every row; if it only numbers them, put it in data.table.drop."


def _boolean(cells: Cells, column: Column) -> Features:
    known = texts(cells.known)
    words = known.str.lower()
    if column.values is None and words.isin(_WORDS).all():
        name, truth = cells.name, words.map(_WORDS)
    else:
        first, second = column.values or _two(cells, known)
        if (strange := ~known.isin([first, second])).any():
            raise cells.wrong(strange, f"is neither {first!r} nor {second!r}")
        name, truth = f"{cells.name}={second}", (known == second).astype(int)
    of_train = truth.reindex(cells.stored.index[cells.train]).dropna()
    values = truth.reindex(cells.stored.index).fillna(float(of_train.mean() > 0.5)).to_numpy(np.float64)
    return Features((name,), values[:, None], np.zeros(1), np.ones(1), "boolean", column.immutable)


def _two(cells: Cells, known: "pd.Series[str]") -> tuple[str, str]:
    found = in_order(known)
    if len(found) != 2:
        raise DataError(
            f"{cells.origin.files[0]}: column {cells.name!r} is boolean and has {len(found)} values, "
            f"{', '.join(found[:4])}; list two under data.table.columns.{cells.name}.values, false first"
        )
    refuse_unseen(cells, known, f"data.table.columns.{cells.name}.values")
    return found[0], found[1]


def _category(cells: Cells, column: Column) -> Features:
    known = texts(cells.known)
    values = column.values or in_order(known)
    if len(values) > MOST_CATEGORIES:
        raise DataError(
            f"{cells.origin.files[0]}: column {cells.name!r} has {len(values)} different texts, such as "
            f"{', '.join(values[:3])}; at most {MOST_CATEGORIES} become features: an identifier or free text belongs "
            "in data.table.drop"
        )
    if (strange := ~known.isin(values)).any():
        raise cells.wrong(strange, f"is not among data.table.columns.{cells.name}.values")
    if column.values is None:
        refuse_unseen(cells, known, f"data.table.columns.{cells.name}.values")
    of_train = known.reindex(cells.stored.index[cells.train]).dropna()
    common = max(values, key=lambda v: int((of_train == v).sum()))
    chosen = known.reindex(cells.stored.index).fillna(common).to_numpy(object)
    one_hot = np.stack([chosen == value for value in values], axis=1).astype(np.float64)
    names = tuple(f"{cells.name}={value}" for value in values)
    return Features(names, one_hot, np.zeros(len(values)), np.ones(len(values)), "category", column.immutable)


def refuse_unseen(cells: Cells, known: "pd.Series[str]", key: str) -> None:
    """Refuse a second file with values that the first does not have, for no model was trained on them.

    Raises DataError that says under which key all of them can be listed.
    """
    second = known.index.isin(cells.stored.index[cells.second])
    new = sorted(set(known[second]) - set(known[~second]))
    if new:
        raise DataError(
            f"{cells.origin.files[-1]}: column {cells.name!r} has values that {cells.origin.files[0]} has not: "
            f"{', '.join(new[:5])}; correct them, or list all under {key}"
        )
