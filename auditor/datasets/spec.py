"""What the data section of audit.yaml may say."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from auditor.record import Frozen


def _texts(value: object) -> object:
    """Class names as texts: YAML reads `[0, 1]` and `[true, false]` as numbers and truth values."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value
    return tuple(str(v).lower() if isinstance(v, bool) else str(v) if isinstance(v, int | float) else v for v in value)


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if doubled := sorted({n for n in names if names.count(n) > 1}):
        raise ValueError(f"two classes are called {doubled[0]!r}")
    return names


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] < bounds[1]:
        raise ValueError(f"the range {list(bounds)} must rise: [lowest, highest] as stored")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_rising)]
Classes = Annotated[tuple[str, ...], BeforeValidator(_texts), AfterValidator(_distinct), Field(min_length=2)]


class OodConfig(Frozen):
    """A set of inputs that belong to none of the classes; its test rows are used."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    source: str
    path: str | None = None
    range: Range | None = None


class Column(Frozen):
    """What may be said of one column of a table.

    `type` is guessed where it is not stated. `range` is what its values may be, by default what they are over all
    rows. `values` are the categories of a category, in the order of their one-hot columns. An `immutable` column is
    one that no attacker can change.
    """

    type: Literal["number", "integer", "boolean", "category"] | None = None
    range: Range | None = None
    values: Classes | None = None
    immutable: bool = False


class TableConfig(Frozen):
    """How the columns of a csv or parquet file are read.

    `target` is the column of labels, `groups` the columns that say who a row is about (features too, unless they are
    in `drop`). `one_hot` maps a name to the columns that are its categories already. `relations` are linear, as texts:
    "debt <= income", "total = first + 2 second". `missing` says what becomes of empty cells: refused, their rows
    dropped, or filled with the median (numbers) or the commonest value of the training rows.
    """

    target: str
    test: str | None = None
    groups: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    columns: dict[str, Column] = Field(default_factory=dict)
    one_hot: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    relations: tuple[str, ...] = ()
    missing: Literal["refuse", "drop-rows", "fill"] = "refuse"


class ImagesConfig(Frozen):
    """How a folder of images is read: all resized to `size` (height, width), as `grey` or `rgb`."""

    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    mode: Literal["grey", "rgb"] | None = None


class DataConfig(Frozen):
    """Which data is audited.

    `source` is an installed data set or "module:function"; `path` is relative to the audit file; `range` is the lowest
    and highest value as stored, which the subject sees as 0 and 1; `limit` keeps at most so many rows of a split.
    `licence`, `origin`, `collection` and `description` are for the data card: only people know them.
    """

    source: str
    path: str | None = None
    range: Range | None = None
    classes: Classes | None = None
    table: TableConfig | None = None
    images: ImagesConfig | None = None
    licence: str | None = None
    origin: str | None = None
    collection: str | None = None
    test_share: float | None = Field(None, gt=0, lt=1)
    limit: dict[Literal["train", "test"], Annotated[int, Field(ge=1)]] | None = None
    ood: tuple[OodConfig, ...] = ()
    description: str = ""
