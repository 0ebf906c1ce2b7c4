"""The probe accuracy: how often the subject is right, over all rows, per class, and averaged over classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from auditor.checks.plausibility import tells_classes_apart
from auditor.dataset import Array, Labels
from auditor.probe import Case, Metric, Outcome, Probe, Samples
from auditor.record import Caveat, Measurement
from auditor.subject import predicted_labels

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Accuracy(Probe):
    """How often is the subject right on the test rows, and is it right for every class?

    `accuracy` is the share of rows right; `class_accuracy` that of one class (its recall);
    `balanced_accuracy` the mean of these over the classes that have rows; `macro_f1` the mean over the
    classes that have rows or predictions of 2 TP / (2 TP + FP + FN). Shares have exact Clopper-Pearson
    intervals, the two averages the t interval of their influence functions (Hampel 1974), whose per-row
    contributions average to the value. An answer that is no number is wrong. The confusion matrix is in the
    samples: `label` against `prediction`.
    """

    id: ClassVar[str] = "accuracy"
    title: ClassVar[str] = "Accuracy"
    family: ClassVar[str] = "performance"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "Accuracy", "higher", headline=True),
        Metric("balanced_accuracy", "Balanced accuracy", "higher"),
        Metric("macro_f1", "Macro F1", "higher"),
        Metric("class_accuracy", "Accuracy on one class", "higher", at=("class",)),
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Rows unlike the test rows: accuracy says nothing about drift, adversaries or the unknown.",
        "Labels that are wrong in the test rows count against the subject, or for it.",
        "With few rows a class, macro F1 and balanced accuracy have intervals that are too narrow.",
    )
    references: ClassVar[Mapping[str, tuple[str, ...]]] = {"nist-ai-rmf": ("MEASURE 2.3", "MEASURE 2.5")}

    def run(self, case: Case) -> Outcome:
        """Predict every test row once and count."""
        data = case.data
        outputs = case.subject.predict(data.x_test)
        label, prediction = data.y_test, predicted_labels(outputs)
        correct = label == prediction
        present = np.unique(label)
        contribution = np.column_stack(
            [
                balanced_contributions(label, correct),
                f1_contributions(label, prediction, len(data.classes)),
                *(np.where(label == k, correct, np.nan) for k in present),
            ]
        )
        measurements = (
            case.proportion("accuracy", correct, column="correct:0"),
            case.mean("balanced_accuracy", contribution[:, 0], column="contribution:0"),
            case.mean("macro_f1", contribution[:, 1], column="contribution:1"),
            *(_of_class(case, correct, int(k), f"contribution:{2 + j}") for j, k in enumerate(present)),
        )
        columns = {"correct": correct[:, None], "contribution": contribution}
        return Outcome(
            measurements, Samples(data.test_rows, label, prediction, columns), _caveats(case, outputs, correct)
        )


def balanced_contributions(label: Labels, correct: npt.NDArray[np.bool_]) -> Floats:
    """Each row's part (n,) in balanced accuracy: their mean is its value, their spread gives its interval."""
    classes, inverse, count = np.unique(label, return_inverse=True, return_counts=True)
    recall = np.bincount(inverse, weights=correct) / count
    share = count / len(label)
    return np.asarray(recall.mean() + (correct - recall[inverse]) / (share[inverse] * len(classes)), np.float64)


def f1_contributions(label: Labels, prediction: Labels, classes: int) -> Floats:
    """Each row's part (n,) in macro F1: their mean is its value, their spread gives its interval.

    F1 + (2 [hit] - F1 ([predicted] + [labelled])) / s, averaged over classes, where s is the sum of a class's
    shares among labels and predictions. Classes with neither are left out, as in scikit-learn; predictions
    outside the classes belong to none.
    """
    total, counted = np.zeros(len(label)), 0
    for k in range(classes):
        seen = (label == k).astype(np.float64) + (prediction == k)
        if not seen.any():
            continue
        hit, mass = (label == k) & (prediction == k), seen.mean()
        f1 = 2 * hit.mean() / mass
        total += f1 + (2 * hit - f1 * seen) / mass
        counted += 1
    return total / counted


def _of_class(case: Case, correct: npt.NDArray[np.bool_], k: int, column: str) -> Measurement:
    return case.proportion(
        "class_accuracy", correct[case.data.y_test == k], column=column, at={"class": case.data.classes[k]}
    )


def _caveats(case: Case, outputs: Array, correct: npt.NDArray[np.bool_]) -> tuple[Caveat, ...]:
    caveats = []
    count = np.bincount(case.data.y_test, minlength=len(case.data.classes))
    majority = count.max() / len(correct)
    if correct.mean() <= majority and not tells_classes_apart(case.data.y_test, correct):
        caveats.append(
            Caveat(
                flag="chance_level",
                severity="suspicious",
                evidence=f"right on {correct.mean():.1%} of rows; "
                f"always answering the largest class would be right on {majority:.1%}",
            )
        )
    empty = [name for name, rows in zip(case.data.classes, count, strict=True) if rows == 0]
    if empty:
        caveats.append(Caveat(flag="missing_class", severity="info", evidence=f"no test rows of {', '.join(empty)}"))
    unreadable = int((~np.isfinite(outputs)).any(axis=1).sum())
    if unreadable:
        caveats.append(
            Caveat(
                flag="non_finite",
                severity="suspicious",
                evidence=f"{unreadable} of {len(correct)} rows have outputs that are not finite",
            )
        )
    return tuple(caveats)
