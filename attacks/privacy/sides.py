"""Members and non-members: training and test rows, class by class as many of each."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.blocks import gather
from auditor.dataset import Dataset, row_ids
from auditor.errors import DataError
from auditor.probe import stratified
from auditor.seeds import Seeds

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sides:
    """Indices (n,) of members among the training rows and of non-members among the test rows."""

    members: Rows
    others: Rows


def choose_sides(data: Dataset, limit: int, seeds: Seeds, probe: str) -> Sides:
    """Which rows are compared? At most `limit` a side, as many of each class: no class gives a side away.

    Raises:
        DataError: no class has rows on both sides.
    """
    rng = seeds.numpy("attack", probe=probe, row="sides")
    candidates = stratified(data.y_test, limit, rng)
    members, others = [], []
    for label in np.unique(data.y_test[candidates]):
        inside = rng.permutation(np.flatnonzero(data.y_train == label))
        outside = rng.permutation(candidates[data.y_test[candidates] == label])
        count = min(len(inside), len(outside))
        members.append(inside[:count])
        others.append(outside[:count])
    sides = Sides(np.sort(np.concatenate(members)), np.sort(np.concatenate(others)))
    if not len(sides.members):
        raise DataError(f"{data.id}: no class has both training and test rows: there is nothing to compare")
    return sides


def side_rows(data: Dataset, sides: Sides) -> npt.NDArray[np.str_]:
    """Identities of the rows (2n,), members first, with a prefix of their own."""
    members = row_ids(gather(data.x_train, sides.members), data.y_train[sides.members], prefix="member:")
    return np.concatenate([members, data.test_rows[sides.others]])
