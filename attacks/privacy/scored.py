"""What a subject says of members and non-members, read in one shuffled pass."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.dataset import Labels
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
    x = np.concatenate([case.data.x_train[sides.members], case.data.x_test[sides.others]])
    y = np.concatenate([case.data.y_train[sides.members], case.data.y_test[sides.others]])
    order = Seeds(case.seeds.root).numpy("attack", probe=case.probe.id, row="order").permutation(len(x))
    position = np.argsort(order)
    outputs = case.subject.predict(x[order])[position]
    scores = membership_score(outputs, y, case.subject.outputs)
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise ModelError(f"{case.of}: outputs of {bad} of {len(x)} rows are not numbers")
    return Scored(scores=scores, label=y, prediction=predicted_labels(outputs), position=position)
