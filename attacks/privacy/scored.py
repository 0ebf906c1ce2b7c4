"""What a subject says of members and non-members, read in one shuffled pass."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.blocks import BLOCK_BYTES, blocks, gather
from auditor.dataset import Array, Dataset, Labels
from auditor.errors import ModelError
from auditor.probe import Case
from auditor.seeds import Seeds
from auditor.subject import predicted_labels

from .loss_attack import membership_score
from .sides import Sides

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores, labels and predictions (2n,), members first, and when each row was shown to the subject."""

    scores: Floats
    label: Labels
    prediction: Labels
    position: npt.NDArray[np.int64]

    @property
    def size(self) -> int:
        """Rows a side."""
        return len(self.scores) // 2

    @property
    def members(self) -> Floats:
        """Scores of the members (n,)."""
        return self.scores[: self.size]

    @property
    def others(self) -> Floats:
        """Scores of the non-members (n,)."""
        return self.scores[self.size :]

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether each prediction is right (2n,)."""
        return np.asarray(self.prediction == self.label)


def score(case: Case, sides: Sides) -> Scored:
    """How much does each row look like a member to this subject?

    Rows are shown in a random order, so that nothing but the row itself can tell the sides apart.

    Raises:
        ModelError: outputs that are not numbers.
    """
    y = np.concatenate([case.data.y_train[sides.members], case.data.y_test[sides.others]])
    order = Seeds(case.seeds.root).numpy("attack", probe=case.probe.id, row="order").permutation(len(y))
    position = np.argsort(order)
    outputs = np.concatenate([case.subject.predict(x) for x in _shown(case.data, sides, order)])[position]
    scores = membership_score(outputs, y, case.subject.outputs)
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise ModelError(f"{case.of}: outputs of {bad} of {len(y)} rows are not numbers")
    return Scored(scores=scores, label=y, prediction=predicted_labels(outputs), position=position)


def _shown(data: Dataset, sides: Sides, order: npt.NDArray[np.int64]) -> Iterator[Array]:
    """Members and non-members in this order, so many at a time as fit into a block."""
    first = len(sides.members)
    for some in blocks(order, max(1, BLOCK_BYTES // data.x_test[:1].nbytes)):
        inside = some < first
        x = np.empty((len(some), *data.shape), np.float32)
        x[inside] = gather(data.x_train, sides.members[some[inside]])
        x[~inside] = gather(data.x_test, sides.others[some[~inside] - first])
        yield x
