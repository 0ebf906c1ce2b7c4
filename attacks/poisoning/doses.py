"""The doses of a poisoning probe: shares of the training rows, ascending."""

from collections.abc import Sequence

from auditor.errors import ConfigError


def doses(probe: str, rates: Sequence[float]) -> tuple[float, ...]:
    """The rates as given, once they can be used as doses.

    Raises:
        ConfigError: rates that are not between 0 and 1, or not ascending.
    """
    usable = bool(rates) and list(rates) == sorted(set(rates)) and 0 < rates[0] <= rates[-1] < 1
    if not usable:
        raise ConfigError(f"{probe}: rates {list(rates)}; give shares between 0 and 1, each once, ascending")
    return tuple(rates)
