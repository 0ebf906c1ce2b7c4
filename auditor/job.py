"""A unit on its way to a worker, and what comes back where it could not be finished."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.plan import Unit

INHERITED = "what it needs failed"  # how the reason of a unit begins that never ran because another failed


@dataclass(frozen=True)
class Job:
    """A unit with where to work: the store, the folder of the audit file, and a model handed in as an object.

    `beside` are further trainings, to be done at once with that of the unit.
    """

    unit: Unit
    store: Path
    directory: Path
    replace: bool = False
    model: Any = None  # a torch module or a scikit-learn estimator
    beside: tuple[Unit, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why a unit could not be finished."""

    reason: str
    detail: str = ""
