"""The target of a table becomes labels from 0 with class names, its group columns codes with group names."""

from dataclasses import dataclass

import numpy as np

from auditor.dataset import Labels
from auditor.datasets.tables.columns import MOST_CATEGORIES, Cells, in_order, numbers, refuse_unseen, texts
from auditor.errors import AuditorError, DataError, UnknownNameError

MOST_GROUPS = 50


@dataclass(frozen=True, eq=False)
class Coded:
    """Codes (N,) from 0, and the name of each."""

    codes: Labels
    names: tuple[str, ...]


def labels(cells: Cells, classes: tuple[str, ...] | None) -> Coded:
    """The labels of a target column without gaps, and the classes in their order.

    Values are looked up among `classes`; numbers 0 to K-1 stand for themselves, where none is the name of a class;
    without `classes`, texts are sorted. Raises DataError for a target that is constant or a measurement, for numbers
    that do not start at 0, and for values that are no class or, without `classes`, in the test file alone.
    """
    told, place = texts(cells.known), f"{cells.origin.files[0]}: target {cells.name!r}"
    found = in_order(told)
    if classes is not None and set(found) <= set(classes) and len(found) > 1:
        return _coded(cells, classes)
    parsed = numbers(told)
    whole = bool(parsed.notna().all() and (parsed == parsed.round()).all())
    if len(found) < 2:
        raise DataError(f"{place} is {found[0]!r} in every row; a classifier needs at least two classes")
    if len(found) > MOST_CATEGORIES or (parsed.notna().all() and not whole):
        raise DataError(f"{place} has {len(found)} values such as {', '.join(found[:3])}; is it the column of classes?")
    if classes is None:
        refuse_unseen(cells, told, "data.classes")
    names = classes or found
    named = bool(classes and set(found) & set(classes))
    if whole and not named and set(parsed.astype(int)) <= set(range(len(names))):
        return Coded(parsed.to_numpy(np.int64), names)
    if classes is not None:
        raise _unknown(place, found, classes, counted=whole and not named)
    if whole:
        raise DataError(_uncounted(place, found))
    return _coded(cells, found)


def _unknown(place: str, found: tuple[str, ...], classes: tuple[str, ...], *, counted: bool) -> AuditorError:
    if not counted:
        return UnknownNameError("class", min(set(found) - set(classes)), classes, where=f"{place}, data.classes")
    return DataError(
        f"{place} has the labels {_first(found)}; they are neither names in data.classes nor their places, 0 to "
        f"{len(classes) - 1}: name the classes as the file does, or count its labels from 0"
    )


def _first(found: tuple[str, ...]) -> str:
    return ", ".join(found[:6]) + (", ..." if len(found) > 6 else "")


def _uncounted(place: str, found: tuple[str, ...]) -> str:
    names = ", ".join(f'"{value}"' for value in found[:12]) + (", ..." if len(found) > 12 else "")
    return f"{place} has the labels {_first(found)}; labels count from 0: map them with data.classes: [{names}]"


def groups(cells: Cells) -> Coded:
    """Who each row is about, by a column without gaps. Raises DataError for one with over 50 values."""
    found = in_order(texts(cells.known))
    if len(found) > MOST_GROUPS:
        raise DataError(
            f"{cells.origin.files[0]}: {cells.name!r} in data.table.groups has {len(found)} values; groups of a few "
            "rows say nothing: add a column of ranges"
        )
    return _coded(cells, found)


def _coded(cells: Cells, names: tuple[str, ...]) -> Coded:
    """Rows by the place of their text among `names`; a gap takes the commonest name of the training rows."""
    told = texts(cells.known)
    codes = told.map({name: i for i, name in enumerate(names)}).reindex(cells.stored.index)
    common = codes[cells.train].mode()
    return Coded(codes.fillna(common.iloc[0] if len(common) else 0).to_numpy(np.int64), names)
