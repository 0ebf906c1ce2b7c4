"""A good probe: how bright the test rows are."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from auditor import Case, Metric, Outcome, Probe


@dataclass(frozen=True, kw_only=True)
class Brightness(Probe):
    """How bright are the test rows, as a share of their range?

    The mean over all values of all test rows, times `factor`.
    """

    id: ClassVar[str] = "trouble.brightness"
    title: ClassVar[str] = "Mean brightness"
    family: ClassVar[str] = "data"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("mean", "Mean brightness", "neither"),)

    factor: float = 1.0

    def run(self, case: Case) -> Outcome:
        """Average the test rows."""
        x = case.data.x_test.astype(np.float64)
        return Outcome((case.number("mean", self.factor * float(x.mean()), None, None, n=len(x)),))
