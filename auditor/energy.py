"""Energy, and never without its method: what the processor's own meter read, or watts that the user stated."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auditor.record import Frozen

POWERCAP = Path("/sys/class/powercap")
MOST_WATTS = 1000.0  # of one package: a counter that might have started over twice tells nothing


class Energy(Frozen):
    """An amount of energy: how it was found, and what that takes for granted."""

    method: Literal["rapl", "estimate"]
    joules: float
    assumption: str


@dataclass(frozen=True)
class Reading:
    """One package's counter in microjoules, and where it starts over."""

    at: int
    wraps: int


class Meter:
    """How much energy did the processor take since this was made? `spent` is None where no counter can be read.

    Counters are those of Linux's powercap (RAPL), a package each. Blind spots: memory and graphics cards; in a virtual
    machine there is no such counter.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self._root, self._begin, self._before = root, time.monotonic(), readings(root)

    def spent(self) -> Energy | None:
        """The energy so far."""
        after = readings(self._root)
        if not after or after.keys() != self._before.keys():
            return None
        if time.monotonic() - self._begin > min(r.wraps for r in after.values()) / 1e6 / MOST_WATTS:
            return None
        micro = sum((r.at - self._before[name].at) % r.wraps for name, r in after.items())
        told = f"all that ran on {len(after)} processor package{'s' * (len(after) > 1)} meanwhile, other programs too"
        return Energy(method="rapl", joules=micro / 1e6, assumption=told)


def readings(root: Path) -> Mapping[str, Reading]:
    """The counter of each package under a powercap folder; none where one of them cannot be read."""
    found = {}
    try:
        for zone in sorted(root.glob("intel-rapl:*")):
            if (zone / "name").read_text().startswith("package"):
                at, most = ((zone / name).read_text() for name in ("energy_uj", "max_energy_range_uj"))
                found[zone.name] = Reading(int(at), int(most) + 1)
    except (OSError, ValueError):
        return {}
    return found


def estimated(cpu_seconds: float, watts_per_core: float) -> Energy:
    """Watts a core, as the user stated them, times the seconds of processor time."""
    told = f"{watts_per_core:g} watts a core, as stated, for every second of processor time"
    return Energy(method="estimate", joules=watts_per_core * cpu_seconds, assumption=told)
