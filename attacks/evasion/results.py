"""What an evasion audit starts from and what it hands in: clean rows, measurements, samples, exemplars."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.dataset import Array, Labels
from auditor.probe import Case, Gallery, Samples
from auditor.record import Measurement
from auditor.subject import Access, leads, predicted_labels

from .ball import Ball
from .bench import Mask, Rows, Standing
from .sanity import hard

_EXEMPLARS = 8


@dataclass(frozen=True, eq=False)
class Clean:
    """The attacked rows before the attack."""

    rows: Rows
    y: Labels
    outputs: Array
    prediction: Labels
    correct: Mask
    broken: Mask  # where not right, and where a tie or no number; with a goal, where that is the answer already


def look(case: Case, probe: Ball, goal: int | None) -> Clean:
    """The rows to attack, as the subject answers them; with a goal, those of other classes. ConfigError if none.

    Nor may any be of a class that stands for refusing.
    """
    reject = probe.refusal(case.data.classes)
    if reject is not None:
        probe.never_right(int((case.data.y_test == reject).sum()))
    few, subject = min(probe.samples, probe.label_rows), case.subject
    if subject.outputs == "labels":
        return _clean(case, probe, goal, few)
    clean = _clean(case, probe, goal, probe.samples)
    blind = Access.GRADIENTS not in subject.access
    return _clean(case, probe, goal, few) if blind and hard(clean.outputs) and few < len(clean.y) else clean


def _clean(case: Case, probe: Ball, goal: int | None, count: int) -> Clean:
    rows = case.rows(count)
    if goal is not None:
        rows = rows[case.data.y_test[rows] != goal]
        probe.some(len(rows))
    return answered(case, rows, goal)


def answered(case: Case, rows: Rows, goal: int | None = None) -> Clean:
    """These test rows (n,) as the subject answers them."""
    x, y = case.domain.clip(case.data.x_test[rows]), case.data.y_test[rows]
    outputs = case.subject.predict(x)
    prediction = predicted_labels(outputs)
    return Clean(rows, y, outputs, prediction, prediction == y, leads(outputs, y, goal) <= 0)


def measure(
    case: Case, probe: Ball, clean: Clean, broken: npt.NDArray[np.bool_], uncaught: npt.NDArray[np.bool_] | None
) -> tuple[Measurement, ...]:
    """Clean accuracy, and what stands of the rows at each epsilon, of what is broken, or broken uncaught (N, epsilons).

    `uncaught` is None where no class stands for refusing.
    """
    metric = "robust_accuracy" if probe.untargeted else "targeted_robust_accuracy"
    shares = {(metric, "correct"): broken}
    if uncaught is not None:
        shares["robust_accuracy_with_reject", "correct_or_caught"] = uncaught
    robust = (
        case.proportion(name, ~fell[:, j], column=f"{column}:{j}", at={"epsilon": epsilon})
        for (name, column), fell in shares.items()
        for j, epsilon in enumerate(probe.radii)
    )
    return (case.proportion("clean_accuracy", clean.correct, column="clean:0"), *robust)


def samples(
    case: Case,
    probe: Ball,
    clean: Clean,
    broken: npt.NDArray[np.bool_],
    standing: Standing,
    distance: npt.NDArray[np.float64],
    uncaught: npt.NDArray[np.bool_] | None,
) -> Samples:
    """Outcomes a row; on request also the inputs that broke them (N, D), and the least epsilon at which they did.

    `broken_at` is 0 for rows broken without a change and inf for rows that stand, whose input is the clean one. What
    broke a row at a small epsilon is kept: it lies in the larger balls too. Where a `distance` (N,) was asked for, it
    is there too: 0 for rows wrong from the start, inf where nothing broke the row, NaN for rows that were not asked.
    Where a class stands for refusing, `correct_or_caught` says of each row whether it stands `uncaught` (N, epsilons).
    """
    columns: dict[str, npt.NDArray[np.generic]] = {"correct": ~broken, "clean": clean.correct[:, None]}
    if uncaught is not None:
        columns["correct_or_caught"] = ~uncaught
    if not np.isnan(distance).all():
        columns["distance"] = distance[:, None]
    if probe.save:
        at = np.where(broken.any(axis=1), np.array(probe.radii)[broken.argmax(axis=1)], np.inf)
        columns["adversarial"] = standing.changed.reshape(len(clean.rows), -1)
        columns["broken_at"] = np.where(clean.broken, 0.0, at)[:, None]
    return Samples(case.data.test_rows[clean.rows], clean.y, clean.prediction, columns)


def exemplars(x: Array, clean: Clean, standing: Standing, epsilon: float | None = None) -> Gallery | None:
    """At most eight of the rows x (N, *shape) that were right and broke, spread over the rows; at this epsilon."""
    rows = np.flatnonzero(standing.broken & ~clean.broken)
    if not len(rows):
        return None
    some = rows[np.unique(np.linspace(0, len(rows) - 1, min(_EXEMPLARS, len(rows))).round().astype(int))]
    return Gallery(x[some], standing.changed[some], clean.y[some], standing.prediction[some], epsilon)
