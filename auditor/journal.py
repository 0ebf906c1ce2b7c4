"""events.jsonl: a log for people of what happened when, a line a unit. Nothing reads it back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from auditor.job import Failure
from auditor.plan import Unit


@dataclass(frozen=True)
class Journal:
    """Appends to a bundle's events.jsonl."""

    path: Path

    def write(self, event: str, **fields: str | int) -> None:
        """One line, with the time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")

    def watching(self, watch: Callable[[Unit, str, str], None]) -> Callable[[Unit, str, str], None]:
        """A watcher that also writes down every unit that ran; those finished before are not news."""

        def on_unit(unit: Unit, status: str, reason: str) -> None:
            if status != "cached":
                said = {"reason": reason} if reason else {}
                self.write(status, kind=unit.kind, unit=unit.identity, label=unit.label, **said)
            watch(unit, status, reason)

        return on_unit

    def failures(self, failures: Mapping[str, Failure]) -> None:
        """The tracebacks of failed units, which have no place in a record."""
        for identity, failure in failures.items():
            if failure.detail:
                self.write("traceback", unit=identity, detail=failure.detail)
