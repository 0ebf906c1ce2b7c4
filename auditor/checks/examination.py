"""What one check of a subject found, and what all checks of one subject look at: the same rows, asked once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from auditor.dataset import Array, Dataset, Labels
from auditor.record import Severity
from auditor.subject import Subject, predicted_labels

Verdict = Literal["ok", "problem", "unknown"]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what was found and, where it is a problem, what to do, in one line each.

    `severity` is what a problem means for the numbers of an audit: `invalid` where they are of another model than the
    one that is meant.
    """

    name: str
    verdict: Verdict
    found: str
    advice: str = ""
    severity: Severity = "info"


def ok(name: str, found: str) -> Check:
    """A check that found nothing wrong."""
    return Check(name, "ok", found)


def unknown(name: str, found: str) -> Check:
    """A check that could not be made, and why."""
    return Check(name, "unknown", found)


@dataclass(frozen=True, eq=False)
class Asked:
    """Some test rows and what a subject answered: x (n, *shape), y (n,), outputs (n, classes)."""

    subject: Subject
    data: Dataset
    x: Array
    y: Labels
    outputs: Array

    @classmethod
    def of(cls, subject: Subject, data: Dataset, rows: npt.NDArray[np.int64]) -> "Asked":
        """The subject asked for these test rows."""
        x = np.asarray(data.x_test[rows])
        return cls(subject, data, x, data.y_test[rows], subject.predict(x))

    @cached_property
    def labels(self) -> Labels:
        """Predicted classes (n,)."""
        return predicted_labels(self.outputs)

    @cached_property
    def correct(self) -> Mask:
        """Which rows are right (n,)."""
        return np.asarray(self.labels == self.y)

    @property
    def accuracy(self) -> float:
        """Share of rows right."""
        return float(self.correct.mean())

    @property
    def majority(self) -> float:
        """Share of the largest class: what always naming it would get right."""
        return float(np.bincount(self.y).max() / len(self.y))

    @cached_property
    def spread(self) -> float:
        """From the lowest to the highest finite output."""
        finite = self.outputs[np.isfinite(self.outputs)]
        return float(finite.max() - finite.min()) if len(finite) else 0.0

    def moved(self, other: Array, first: int = 0) -> npt.NDArray[np.float64]:
        """How far other outputs (m, classes) are from those from row `first` on (m,); NaN equals NaN alone."""
        here = np.asarray(self.outputs[first : first + len(other)], np.float64)
        with np.errstate(invalid="ignore"):
            apart = np.abs(here - np.asarray(other, np.float64))
        same = (here == other) | (np.isnan(here) & np.isnan(other))
        return np.asarray(np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart)).max(axis=1))
