"""A broken probe: it writes to the data that it was handed."""

from dataclasses import dataclass
from typing import ClassVar

from auditor import Case, Metric, Outcome, Probe


@dataclass(frozen=True, kw_only=True)
class Writing(Probe):
    """Does the audit go on when a probe writes to what it was handed?"""

    id: ClassVar[str] = "trouble.writing"
    title: ClassVar[str] = "Writing"
    family: ClassVar[str] = "trouble"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("score", "Never measured", "higher"),)

    def run(self, case: Case) -> Outcome:
        """Darken every test row, and call that a measurement."""
        case.data.x_test[:] = 0
        return Outcome((case.number("score", 1.0, None, None, n=1),))
