"""Why contrasts have no verdict, in a line for those of one pair that have the same reason."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from auditor.policy import ContrastFinding

NUMBERS = "the difference is"  # so begins a reason that the difference and its interval already tell
ASIDES = ("; less what goes with", "; without that it would be", f"; {NUMBERS}")  # differs by metric, decides nothing


def reasons(findings: Iterable[ContrastFinding], titles: Mapping[str, str]) -> list[str]:
    """What stands in the way of a verdict, pair by pair: unequal accuracy, a search, a missing seed, a doubtful result.

    `titles` are those of metrics by their qualified names.
    """
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in findings:
        if one.verdict == "inconclusive" and not one.reason.startswith(NUMBERS):
            found[one.a, one.b, _short(one.reason)].append(titles.get(one.metric, one.metric))
    return [f"{b} − {a}, {', '.join(dict.fromkeys(names))}: {why}" for (a, b, why), names in found.items()]


def _short(reason: str) -> str:
    """A reason without what differs from metric to metric."""
    return min((reason.partition(aside)[0] for aside in ASIDES), key=len)
