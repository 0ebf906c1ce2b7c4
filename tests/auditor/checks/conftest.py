"""Subjects whose answers are written down, and data to ask them about."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from auditor.checks.accuracy import Accuracy
from auditor.checks.calibration import Calibration
from auditor.dataset import Dataset, Domain
from auditor.probe import Case, Outcome, Probe
from auditor.seeds import Seeds
from auditor.subject import Access

ACCESS = {
    "logits": frozenset({Access.LABELS, Access.PROBABILITIES, Access.LOGITS}),
    "probabilities": frozenset({Access.LABELS, Access.PROBABILITIES}),
    "labels": frozenset({Access.LABELS}),
}


@dataclass(frozen=True, eq=False)
class Written:
    """A subject that answers row i with the i-th written output: the first feature of a row is its number."""

    answers: np.ndarray
    outputs: str = "logits"
    shape: tuple[int, ...] = (2,)

    @property
    def classes(self) -> int:
        return self.answers.shape[1]

    @property
    def access(self) -> frozenset[Access]:
        return ACCESS[self.outputs]

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.answers[np.rint(x[:, 0] * len(self.answers)).astype(int)].astype(np.float32)


def numbered(label: np.ndarray, classes: int) -> Dataset:
    """Data whose test rows carry their number."""
    x = np.stack([np.arange(len(label)) / len(label), np.zeros(len(label))], 1).astype(np.float32)
    names = tuple(f"class {k}" for k in range(classes))
    return Dataset("numbered", x, label.astype(np.int64), x.copy(), label.astype(np.int64), names, Domain.unit((2,)))


def ask(probe: Probe, answers: np.ndarray, label: np.ndarray, outputs: str) -> Outcome:
    data = numbered(label, answers.shape[1])
    return probe.run(Case(probe, "written", Written(answers, outputs), data, Seeds(5)))


@pytest.fixture(scope="session")
def accuracy() -> Callable[..., Outcome]:
    return lambda answers, label, outputs="logits": ask(Accuracy(), answers, label, outputs)


@pytest.fixture(scope="session")
def calibration() -> Callable[..., Outcome]:
    return lambda answers, label, outputs="probabilities", **kw: ask(Calibration(**kw), answers, label, outputs)
