"""Turns at one address: all processes of one user on one machine together keep a rate."""

import hashlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from auditor.errors import ModelError

SKEW = 1000  # turns: a next turn further ahead than this was written before the clock was set back


@dataclass(frozen=True)
class Turns:
    """Hands out turns, `rate` a second, to everyone who asks for the same address; without a rate at once.

    The time of the next turn is kept in a file in the system's folder for temporary files, under a lock that ends with
    the process that holds it. Blind spot: workers on several machines keep the rate each for themselves.
    """

    address: str
    rate: float | None

    @property
    def path(self) -> Path:
        """The file of this address."""
        name = hashlib.sha256(self.address.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"auditor-rate-{os.getuid()}-{name}"

    def wait(self) -> None:
        """Return when it is the caller's turn."""
        if self.rate is not None:
            time.sleep(max(0.0, self._next(1 / self.rate) - time.time()))

    def _next(self, interval: float) -> float:
        """The time of the next free turn, which is taken."""
        try:
            import fcntl
        except ImportError:
            raise ModelError("load.rate needs file locks of a kind that this system lacks: remove it") from None
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(handle, "r+b", buffering=0) as file:  # opened above, so that no link is followed
            fcntl.flock(file, fcntl.LOCK_EX)
            now = time.time()
            turn = max(now, self._kept(file.read(64), now, interval))
            file.seek(0)
            file.write(f"{turn + interval:<32.6f}".encode())
        return turn

    @staticmethod
    def _kept(content: bytes, now: float, interval: float) -> float:
        """The turn that the file names; now where it names none that can be."""
        try:
            kept = float(content or b"0")
        except ValueError:
            return now
        return kept if kept < now + SKEW * interval else now
