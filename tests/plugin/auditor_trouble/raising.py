"""A broken probe: it raises."""

from dataclasses import dataclass
from typing import ClassVar

from auditor import Case, Metric, Outcome, Probe


@dataclass(frozen=True, kw_only=True)
class Raising(Probe):
    """Does the audit go on when a probe raises?"""

    id: ClassVar[str] = "trouble.raising"
    title: ClassVar[str] = "Raising"
    family: ClassVar[str] = "trouble"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("score", "Never measured", "higher"),)

    def run(self, case: Case) -> Outcome:
        """Raise."""
        raise RuntimeError(f"no luck with {case.of}")
