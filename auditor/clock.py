"""What a unit cost: its time by two clocks, the memory of its process and its energy."""

import time
from dataclasses import dataclass, field

from auditor.bundle import UnitTiming
from auditor.energy import Meter
from auditor.plan import Unit


@dataclass
class Clock:
    """Time spent on a unit; `detail` holds what the unit measured of itself.

    Of work that is several units' at once each is told its `share`.
    """

    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=time.process_time)
    energy: Meter = field(default_factory=Meter)
    detail: dict[str, float] = field(default_factory=dict)
    share: float = 1.0

    def stop(self, unit: Unit) -> UnitTiming:
        """The cost so far."""
        energy = self.energy.spent()
        return UnitTiming(
            unit=unit.identity,
            kind=unit.kind,
            label=unit.label,
            subject=unit.subject,
            probe=unit.probe,
            detail=self.detail,
            wall_seconds=(time.perf_counter() - self.wall) * self.share,
            cpu_seconds=(time.process_time() - self.cpu) * self.share,
            peak_bytes=peak_bytes(),
            energy=energy and energy.model_copy(update={"joules": energy.joules * self.share}),
        )


def peak_bytes() -> int | None:
    """The most memory this process has held; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
