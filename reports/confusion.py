"""The confusion matrix of each group as a table, shaded by share; of many classes, the commonest confusions."""

import numpy as np
import numpy.typing as npt

from auditor.catalogue import ProbeEntry

from . import wording
from .from_samples import pooled
from .material import Group, Material
from .page import Cell, Column, Table

LARGEST_MATRIX = 20


def confusion(material: Material, probe: ProbeEntry) -> tuple[Table, ...]:
    """Where each class went, in rows that sum to 100 %; past 20 classes, the commonest confusions instead."""
    return tuple(_confusion(material, probe, group) for group in material.groups if _has_labels(material, probe, group))


def _has_labels(material: Material, probe: ProbeEntry, group: Group) -> bool:
    return pooled(material, probe, group, ("label", "prediction")) is not None


def _confusion(material: Material, probe: ProbeEntry, group: Group) -> Table:
    arrays = pooled(material, probe, group, ("label", "prediction"))
    assert arrays is not None, "asked before"
    classes = material.record.dataset.classes
    counts = np.zeros((len(classes), len(classes)), np.int64)
    answered = arrays["prediction"] >= 0
    np.add.at(counts, (arrays["label"][answered], arrays["prediction"][answered]), 1)
    return (_matrix if len(classes) <= LARGEST_MATRIX else _commonest)(group, classes, counts)


def _matrix(group: Group, classes: tuple[str, ...], counts: npt.NDArray[np.int64]) -> Table:
    columns = (Column("Labelled"), *(Column(name, "number") for name in classes))
    rows = tuple(
        (Cell(name, head=True), *(_share(int(n), int(row.sum()), right=i == j) for j, n in enumerate(row)))
        for i, (name, row) in enumerate(zip(classes, counts, strict=True))
    )
    note = f"Rows are labels, columns predictions, in percent of the row, {_over(group)}. An empty cell is a zero."
    return Table(f"Confusion matrix of {group.name}", columns, rows, note, tone="matrix")


def _over(group: Group) -> str:
    return f"over {wording.count(len(group.members), 'seed')}" if len(group.members) > 1 else "of one model"


def _share(n: int, total: int, *, right: bool) -> Cell:
    if not n:
        return Cell("", tone="number")
    share = n / total
    tone = ("right" if right else "wrong") + f"-{1 + min(4, int(share * (5 if right else 20)))}"
    return Cell(wording.bare(share, "share"), tone=f"number {tone}", exact=repr(share))


def _commonest(group: Group, classes: tuple[str, ...], counts: npt.NDArray[np.int64]) -> Table:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:LARGEST_MATRIX]
    rows = tuple(
        (
            Cell(classes[i], head=True),
            Cell(classes[j]),
            Cell(wording.whole(int(wrong[i, j])), tone="number"),
            Cell(wording.amount(wrong[i, j] / counts[i].sum(), "share"), tone="number"),
        )
        for i, j in (divmod(int(at), len(classes)) for at in order)
        if wrong[i, j]
    )
    columns = (
        Column("Labelled"),
        Column("Predicted"),
        Column("Rows", "number"),
        Column("Share of the class", "number"),
    )
    return Table(f"Commonest confusions of {group.name}", columns, rows, f"Counted {_over(group)}.")
