"""Units in this process, one after the other: for models handed in as objects, and where processes are not wanted."""

from concurrent.futures import Future
from types import TracebackType
from typing import Self

from auditor.job import Failure, Job
from auditor.units import execute


class Inline:
    """Runs a unit when it is submitted. Nothing protects this process from a model that hangs or crashes it."""

    workers = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def submit(self, job: Job) -> "Future[Failure | None]":
        """Do the unit now."""
        future: Future[Failure | None] = Future()
        future.set_result(execute(job))
        return future

    def result(self, future: "Future[Failure | None]") -> Failure | None:
        """None where the unit was finished, or why it was not."""
        return future.result()
