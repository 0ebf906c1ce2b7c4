"""A broken probe: it never ends."""

import time
from dataclasses import dataclass
from typing import ClassVar

from auditor import Case, Metric, Outcome, Probe


@dataclass(frozen=True, kw_only=True)
class Hanging(Probe):
    """Does the audit go on when a probe never ends?"""

    id: ClassVar[str] = "trouble.hanging"
    title: ClassVar[str] = "Hanging"
    family: ClassVar[str] = "trouble"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("score", "Never measured", "higher"),)

    def run(self, case: Case) -> Outcome:
        """Sleep for ever."""
        while True:
            time.sleep(3600)
