"""One score's foreign rows against its test rows: AUROC, acceptance at 95 %, and each row's share in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.dataset import Array
from auditor.statistics import Auc, auc

from .formulas import acceptance_threshold

Floats = npt.NDArray[np.float64]
KEPT = 0.95


@dataclass(frozen=True)
class Layout:
    """Which rows are which: `familiar` test rows first, then the foreign sets, each a span."""

    familiar: int
    spans: Mapping[str, slice]
    total: int

    @classmethod
    def of(cls, familiar: int, sets: Mapping[str, Array]) -> "Layout":
        """The layout of test rows followed by these sets."""
        spans, start = {}, familiar
        for name, x in sets.items():
            spans[name] = slice(start, start + len(x))
            start += len(x)
        return cls(familiar=familiar, spans=spans, total=start)


@dataclass(frozen=True, eq=False)
class Comparison:
    """One score on one foreign set; columns are (N,) over all rows, NaN for rows that were not compared."""

    score: str
    set: str
    auc: Auc
    accepted: npt.NDArray[np.bool_]
    contribution: Floats
    acceptance: Floats


@dataclass(frozen=True, eq=False)
class Average:
    """One score over all its foreign sets."""

    score: str
    value: float
    low: float
    high: float
    contribution: Floats


def compare(score: str, values: Floats, layout: Layout, confidence: float) -> list[Comparison]:
    """How well does one score (N,) tell each foreign set from the test rows?"""
    familiar = values[: layout.familiar]
    threshold = acceptance_threshold(familiar, KEPT)
    found = []
    for name, span in layout.spans.items():
        against = auc(values[span], familiar, confidence)
        accepted = values[span] <= threshold
        contribution, acceptance = np.full((2, layout.total), np.nan)
        contribution[: layout.familiar], contribution[span] = against.negative, against.positive
        acceptance[span] = accepted
        found.append(Comparison(score, name, against, accepted, contribution, acceptance))
    return found


def average(compared: Sequence[Comparison], layout: Layout) -> Average:
    """What is a score's mean AUROC over its sets, each set counting the same?

    A row's contribution is the value plus N times its influence on it, so that the mean over all N rows is
    the value and their spread gives its variance, with the test rows that all sets share counted once.
    """
    value = float(np.mean([c.auc.value for c in compared]))
    influence = np.zeros(layout.total)
    for one in compared:
        rows = ~np.isnan(one.contribution)
        influence[rows] += (one.contribution[rows] - one.auc.value) / rows.sum() / len(compared)
    return Average(
        score=compared[0].score,
        value=value,
        contribution=value + layout.total * influence,
        low=float(np.mean([c.auc.low for c in compared])),
        high=float(np.mean([c.auc.high for c in compared])),
    )
