"""Runs a plan's units over a store: inputs first, what is finished never again, one failure never the end."""

import heapq
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from auditor.bundle import UnitTiming
from auditor.choosing import choice, spent
from auditor.job import INHERITED, Failure, Job
from auditor.plan import Plan, Unit
from auditor.stacking import alike, most_at_once
from auditor.store import Store
from auditor.variants.names import MARK

Status = Literal["cached", "done", "failed"]
OnUnit = Callable[[Unit, Status, str], None]
Ready = list[tuple[int, str]]  # units by their place in the plan
Running = dict["Future[Failure | None]", tuple[tuple[int, str], ...]]


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
    stacks: dict[str, str | None] = field(default_factory=dict)  # see `stacking.alike`, of units that were asked for
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
        running: Running = {}
        while ready or running:
            settled = self._start(pool, ready, running) or self._collect(pool, ready, running)
            while settled:
                identity = settled.pop()
                for user in users[identity]:
                    waiting[user].discard(identity)
                    if identity in self.failures and user not in self.failures:
                        self._fail(self.plan.units[user], self._inherited(identity))
                        settled.append(user)
                    elif not waiting[user] and user not in self.failures:
                        heapq.heappush(ready, (order[user], user))

    def _start(self, pool: Executor, ready: Ready, running: Running) -> list[str]:
        """Hand out units, one more than there are workers so that none waits; mere choices are settled here."""
        while ready and len(running) <= pool.workers:
            first = heapq.heappop(ready)
            unit = self.plan.units[first[1]]
            if unit.kind == "tune":
                self._tune(unit)
                return [unit.identity]
            model = self.models.get((unit.subject or "").partition(MARK)[0])
            more = self._alike(unit, ready, pool.workers)
            beside = tuple(self.plan.units[identity] for _, identity in more)
            job = Job(unit, self.store.root.absolute(), self.directory, self.fresh, model, beside)
            running[pool.submit(job)] = (first, *more)
        return []

    def _alike(self, unit: Unit, ready: Ready, workers: int) -> Ready:
        """Trainings that wait and can be done at once with this one, taken out of those that are ready.

        A worker gets its share of them, so that none is idle.
        """
        stack = self._stack(unit)
        if stack is None:
            return []
        waiting = sorted(each for each in ready if self._stack(self.plan.units[each[1]]) == stack)
        size = min(math.ceil((1 + len(waiting)) / workers), most_at_once(unit, self.plan.data))
        taken = waiting[: size - 1]
        ready[:] = [each for each in ready if each not in taken]
        heapq.heapify(ready)
        return taken

    def _stack(self, unit: Unit) -> str | None:
        if unit.identity not in self.stacks:
            self.stacks[unit.identity] = alike(unit, self.plan.data)
        return self.stacks[unit.identity]

    def _collect(self, pool: Executor, ready: Ready, running: Running) -> list[str]:
        done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
        settled = []
        for future in done:
            units, failure = running.pop(future), pool.result(future)
            if failure is not None and len(units) > 1:  # which of them it was is found out one by one
                for each in units:
                    self.stacks[each[1]] = None
                    heapq.heappush(ready, each)
                continue
            for _, identity in units:
                if failure is None:
                    self._done(self.plan.units[identity], "done")
                else:
                    self._fail(self.plan.units[identity], failure)
                settled.append(identity)
        return settled

    def _tune(self, unit: Unit) -> None:
        """Settle a choice of a search."""
        begin = time.perf_counter()
        content = choice(self.store, unit)
        if isinstance(content, Failure):
            self._fail(unit, content)
            return
        seconds = time.perf_counter() - begin
        timing = UnitTiming(
            unit=unit.identity,
            kind=unit.kind,
            label=unit.label,
            subject=unit.subject,
            wall_seconds=seconds,
            cpu_seconds=seconds,
            detail=spent(self.store, unit),
        )
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
