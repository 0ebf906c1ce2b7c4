"""Groups whose seeds gave one model: what is asked of them counts as one, and is said to be of that one."""

from collections.abc import Sequence

import numpy as np

from auditor.groups import Member, have_rows, same_rows, table
from auditor.record import Record, SubjectRecord


def models(digests: Sequence[str | None]) -> int | None:
    """How many models these are, by the digests of their weights; None where one has none."""
    return None if None in digests else len(set(digests))


def constant(members: Sequence[Member]) -> bool:
    """Whether every seed left the same contributions by row, more than once.

    Raises:
        NotComparableError: as `table`.
    """
    if len(members) < 2 or not have_rows(members) or not same_rows(members):
        return False
    cells = table(members)
    return all(np.array_equal(cells[0], line, equal_nan=True) for line in cells[1:])


def doubtful(group: str, record: Record) -> str | None:
    """Why a group's seeds say nothing of how its trainings vary; None where they do, or where nothing varies.

    What is trained here and gives one model from every seed draws nothing at random: its seeds have no spread to be
    known. Of models that were loaded, or made by a user's function, that cannot be told from a seed that is not heeded,
    or from one file that was named twice: then nobody knows the spread.
    """
    subjects = _made(group, record)
    found = models([s.weights_sha256 for s in subjects])
    if found is None or found == len(subjects) or all(map(_from_here, subjects)):
        return None
    return (
        f"{_count(group, len(subjects), found)}, so how its trainings vary is not known: see that the seed is heeded, "
        "and that no file is named twice"
    )


def aside(group: str, record: Record) -> str | None:
    """What is said beside a verdict on a group trained here whose seeds all gave one model."""
    subjects = _made(group, record)
    one = len(subjects) > 1 and models([s.weights_sha256 for s in subjects]) == 1
    return _count(group, len(subjects), 1) if one else None


def _made(group: str, record: Record) -> list[SubjectRecord]:
    return [s for s in record.subjects if s.group == group and s.seed is not None and s.error is None]


def _from_here(subject: SubjectRecord) -> bool:
    return subject.training is not None and not subject.training.recipe.get("function")


def _count(group: str, seeds: int, found: int) -> str:
    return f"the {seeds} seeds of {group} gave {'one model' if found == 1 else f'{found} models'}"
