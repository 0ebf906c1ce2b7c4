"""A broken probe: it crashes its process, as a fault in native code would."""

import os
import signal
from dataclasses import dataclass
from typing import ClassVar

from auditor import Case, Metric, Outcome, Probe


@dataclass(frozen=True, kw_only=True)
class Crashing(Probe):
    """Does the audit go on when a probe crashes its process?"""

    id: ClassVar[str] = "trouble.crashing"
    title: ClassVar[str] = "Crashing"
    family: ClassVar[str] = "trouble"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("score", "Never measured", "higher"),)

    def run(self, case: Case) -> Outcome:
        """Die of a segmentation fault."""
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError("this process is dead")
