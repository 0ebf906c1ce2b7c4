"""Runs a plan's units over a store: inputs first, what is finished never again, one failure never the end."""

import heapq
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from auditor.bundle import UnitTiming
from auditor.job import INHERITED, Failure, Job
from auditor.plan import Plan, Unit
from auditor.store import Store

Status = Literal["cached", "done", "failed"]
OnUnit = Callable[[Unit, Status, str], None]


class Executor(Protocol):
    """Where units run."""

    workers: int

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def submit(self, job: Job) -> "Future[Failure | None]":
        """Start a unit."""
        ...

    def result(self, future: "Future[Failure | None]") -> Failure | None:
        """None where the unit was finished, or why it was not."""
        ...


@dataclass
class Engine:
    """One run of a plan. `failures` says for each unit that could not be finished why."""

    plan: Plan
    store: Store
    directory: Path
    fresh: bool = False
    on_unit: OnUnit = lambda *_: None
    models: Mapping[str, Any] = field(default_factory=dict)  # objects handed in, by subject id
    failures: dict[str, Failure] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    started: float = field(default_factory=time.perf_counter)

    def run(self, executor: Callable[[], Executor]) -> None:
        """Do what is not done. Ends early only with KeyboardInterrupt; what was finished stays finished."""
        units = self.plan.units
        if not self.fresh:
            for unit in units.values():
                if self.store.whole(unit.identity):
                    self._done(unit, "cached")
        if len(self.finished) < len(units):
            with executor() as pool:
                self._loop(pool)

    def _loop(self, pool: Executor) -> None:
        order = {identity: i for i, identity in enumerate(self.plan.units)}
        waiting = {
            i: {d for d in u.inputs if d not in self.finished}
            for i, u in self.plan.units.items()
            if i not in self.finished
        }
        users: dict[str, list[str]] = defaultdict(list)
        for identity, inputs in waiting.items():
            for needed in inputs:
                users[needed].append(identity)
        ready = [(order[i], i) for i, inputs in waiting.items() if not inputs]
        heapq.heapify(ready)
        running: dict[Future[Failure | None], str] = {}
        while ready or running:
            settled = self._start(pool, ready, running) or self._collect(pool, running)
            while settled:
                identity = settled.pop()
                for user in users[identity]:
                    waiting[user].discard(identity)
                    if identity in self.failures and user not in self.failures:
                        self._fail(self.plan.units[user], self._inherited(identity))
                        settled.append(user)
                    elif not waiting[user] and user not in self.failures:
                        heapq.heappush(ready, (order[user], user))

    def _start(
        self, pool: Executor, ready: list[tuple[int, str]], running: dict["Future[Failure | None]", str]
    ) -> list[str]:
        """Hand out units, one more than there are workers so that none waits; mere choices are settled here."""
        while ready and len(running) <= pool.workers:
            unit = self.plan.units[heapq.heappop(ready)[1]]
            if unit.kind == "tune":
                self._tune(unit)
                return [unit.identity]
            job = Job(unit, self.store.root.absolute(), self.directory, self.fresh, self.models.get(unit.subject or ""))
            running[pool.submit(job)] = unit.identity
        return []

    def _collect(self, pool: Executor, running: dict["Future[Failure | None]", str]) -> list[str]:
        done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
        settled = []
        for future in done:
            unit = self.plan.units[running.pop(future)]
            failure = pool.result(future)
            if failure is None:
                self._done(unit, "done")
            else:
                self._fail(unit, failure)
            settled.append(unit.identity)
        return settled

    def _tune(self, unit: Unit) -> None:
        """Choose the trial of least validation loss; a trial that diverged is kept as infinitely bad."""
        begin = time.perf_counter()
        trials = []
        for rate, identity in zip(unit.spec["grid"], unit.inputs, strict=True):
            said = self.store.read(identity)
            trials.append({"learning_rate": rate, "loss": said["holdout_loss"], "diverged_at": said["diverged_at"]})
        usable = [t for t in trials if t["diverged_at"] is None]
        if not usable:
            self._fail(
                unit, Failure("every trial of its learning-rate search diverged; name smaller rates in tune.grid")
            )
            return
        best = min(usable, key=lambda t: (t["loss"], t["learning_rate"]))
        edge = len(trials) > 1 and best["learning_rate"] in (min(unit.spec["grid"]), max(unit.spec["grid"]))
        content = {"kind": "tune", "learning_rate": best["learning_rate"], "trials": trials, "edge_limited": edge}
        spent = time.perf_counter() - begin
        timing = UnitTiming(unit=unit.identity, kind=unit.kind, label=unit.label, wall_seconds=spent, cpu_seconds=spent)
        self.store.write(unit.identity, content, timing, replace=self.fresh)
        self._done(unit, "done")

    def _inherited(self, identity: str) -> Failure:
        cause, unit = self.failures[identity], self.plan.units[identity]
        reason = cause.reason if cause.reason.startswith(INHERITED) else f"{INHERITED}: {unit.label}: {cause.reason}"
        return Failure(reason)

    def _done(self, unit: Unit, status: Status) -> None:
        self.finished.add(unit.identity)
        self.on_unit(unit, status, "")

    def _fail(self, unit: Unit, failure: Failure) -> None:
        self.failures[unit.identity] = failure
        self.on_unit(unit, "failed", failure.reason)
