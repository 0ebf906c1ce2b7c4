"""Units in worker processes: one that hangs or crashes its process is ended and blamed, the rest goes on."""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import NoReturn, Self

from pebble import ProcessExpired, ProcessPool

from auditor.job import Failure, Job
from auditor.units import execute


def cores() -> int:
    """Cores that this process may use; at least one."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@dataclass
class LocalPool:
    """Spawned worker processes, one torch thread each; `unit_seconds` is how long one unit may take."""

    workers: int
    unit_seconds: float
    pool: ProcessPool = field(init=False)

    def __enter__(self) -> Self:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")  # libraries read it as they load in the workers
        self.pool = ProcessPool(
            max_workers=self.workers, initializer=worker_start, context=multiprocessing.get_context("spawn")
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.stop()  # type: ignore[no-untyped-call]  # pebble's own
        self.pool.join()

    def submit(self, job: Job) -> "Future[Failure | None]":
        """Start a unit as soon as a worker is free."""
        future: Future[Failure | None] = self.pool.schedule(worked, args=[job], timeout=self.unit_seconds)
        return future

    def result(self, future: "Future[Failure | None]") -> Failure | None:
        """None where the unit was finished, or why it was not."""
        try:
            return future.result()
        except TimeoutError:
            return Failure(
                f"it ran over {self.unit_seconds:g} seconds and was ended (unit_seconds in audit.yaml, or --budget)"
            )
        except ProcessExpired as error:
            return Failure(f"its process died ({_cause(error.exitcode)})")
        except CancelledError:
            return Failure("it was cancelled before it ran")
        except Exception as error:  # noqa: BLE001  # what could not travel between processes is the unit's failure
            return Failure(f"it could not be handed to a worker: {type(error).__name__}: {error}")


def worked(job: Job) -> Failure | None:
    """A unit in a worker, where Ctrl-C is the parent's: whatever a user's model raises is the unit's failure."""
    try:
        return execute(job)
    except BaseException as error:  # noqa: BLE001  # a KeyboardInterrupt of a model's own would end the whole audit
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())


def _cause(code: int | None) -> str:
    if code is None:
        return "no exit code"
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def worker_start() -> None:
    """Make a worker process end with its parent, leave Ctrl-C to the parent, and use one thread of each library."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os._exit = _exit_noticed  # type: ignore[assignment]  # the pool takes an exit code of 0 for the end of its own work
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _exit_noticed(code: int, end: Callable[[int], NoReturn] = os._exit) -> NoReturn:
    """End this process as asked, so that whoever waits for its unit is told."""
    end(code or 1)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
