"""What can go wrong that a user can mend: every error says what, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class AuditorError(Exception):
    """Base of all errors a user can cause; the command line turns it into one message and an exit code."""

    exit_code = 2


class ConfigError(AuditorError):
    """A configuration, policy or waiver file that cannot be used as it stands."""


class DataError(AuditorError):
    """Data that cannot be audited: wrong shape, labels outside the classes, values that are not finite."""


class ModelError(AuditorError):
    """A model that cannot be loaded or does not answer as it declared."""


class IntegrityError(AuditorError):
    """A bundle whose files do not match what was sealed."""


class UnknownNameError(AuditorError):
    """A name nobody knows; the message offers the nearest known one, and what is said `about` it."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "", about: str = "") -> None:
        choices = sorted(known)
        lower = {c.lower(): c for c in reversed(choices)}
        begun = [c for low, c in lower.items() if name and low.startswith(name.lower())]  # eps is epsilon, not steps
        near = begun if len(begun) == 1 else [lower[n] for n in get_close_matches(name.lower(), lower, n=1, cutoff=0.5)]
        self.nearest = near[0] if near else None
        hint = f"did you mean {near[0]!r}?" if near else "known: " + (", ".join(choices) or "none")
        said = f"{hint}{' ' if near else '; '}{about}" if about else hint
        super().__init__(f"{where + ': ' if where else ''}unknown {kind} {name!r}; {said}")


class UnitError(AuditorError):
    """One unit of an audit that could not be finished; the rest of the audit goes on."""

    exit_code = 3


class DivergedError(UnitError):
    """A training whose loss stopped being finite: kept as a failure with its step, never as an accuracy."""
