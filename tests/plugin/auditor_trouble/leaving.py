"""A broken probe: it leaves its process."""

import os
from dataclasses import dataclass
from typing import ClassVar

from auditor import Case, Metric, Outcome, Probe


@dataclass(frozen=True, kw_only=True)
class Leaving(Probe):
    """Does the audit go on when a probe leaves its process?"""

    id: ClassVar[str] = "trouble.leaving"
    title: ClassVar[str] = "Leaving"
    family: ClassVar[str] = "trouble"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("score", "Never measured", "higher"),)

    def run(self, case: Case) -> Outcome:
        """Exit at once."""
        os._exit(7)
