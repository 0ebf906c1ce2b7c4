"""Examines one model at a time in a worker process: one that hangs or crashes is said to, and the next is examined."""

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pebble import ProcessExpired, ProcessPool

from auditor.checks.examination import Check
from auditor.config import OptimizerConfig, SubjectConfig, TrainConfig
from auditor.errors import AuditorError
from auditor.executors.local import worker_start
from auditor.seeds import Seeds
from auditor.store import Store

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from auditor.dataset import Dataset
    from auditor.subject import Subject

SECONDS = 120.0  # at most for one model
ROWS, ALONE = 256, 16  # test rows that are asked, and that are asked one by one
TRAINED_ON = 64  # rows that a user's function is tried with, for one epoch


@dataclass(frozen=True)
class Examinee:
    """One model to examine: an entry of the audit file, and under `train.function` one of its optimizers.

    Data lies in the store. `probes` are those that want to ask it.
    """

    store: Path
    data: str
    directory: Path
    entry: SubjectConfig
    arm: OptimizerConfig | None
    seed: int
    probes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.entry.id}/{self.arm.name}" if self.arm else self.entry.id


@dataclass(frozen=True)
class Diagnosis:
    """What was found of one model, how it was come by, and why probes are left out."""

    subject: str
    how: str
    checks: tuple[Check, ...]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def problems(self) -> tuple[Check, ...]:
        """The checks that found one."""
        return tuple(c for c in self.checks if c.verdict == "problem")


def all_examined(examinees: Sequence[Examinee], seconds: float, watch: Callable[[str], None]) -> list[Diagnosis]:
    """A diagnosis of each, one after the other in a process of their own."""
    limit = min(seconds, SECONDS)
    context = multiprocessing.get_context("spawn")
    with ProcessPool(max_workers=1, initializer=worker_start, context=context) as pool:
        found = []
        for examinee in examinees:
            watch(examinee.name)
            future = pool.schedule(examined, args=[examinee], timeout=limit)
            try:
                found.append(future.result())
            except TimeoutError:
                found.append(_unable(examinee, f"it ran over {limit:g} seconds and was ended"))
            except ProcessExpired as error:
                found.append(_unable(examinee, f"its process died (exit code {error.exitcode})"))
    return found


def _unable(examinee: Examinee, reason: str) -> Diagnosis:
    return Diagnosis(examinee.name, _how(examinee), (_failed(examinee, reason, "run it alone, outside of auditor"),))


def _how(examinee: Examinee) -> str:
    train, load = examinee.entry.train, examinee.entry.load
    if load is not None:
        return f"{load.format} {load.place}"
    assert train is not None
    if train.function:
        return f"{train.function}, tried on {TRAINED_ON} rows for one epoch"
    return f"{train.estimator or train.architecture}, untrained"


def _failed(examinee: Examinee, reason: str, advice: str) -> Check:
    name = "loads" if examinee.entry.load else "trains" if examinee.arm else "is made"
    return Check(name, "problem", reason, advice, "invalid")


def examined(examinee: Examinee) -> Diagnosis:
    """Get the model and check it; what goes wrong is said, whatever it is."""
    from auditor.surroundings import importable, one_thread, own_random_state

    how = _how(examinee)
    with redirect_stdout(sys.stderr), one_thread(), own_random_state(examinee.seed), importable(examinee.directory):
        data = Store(examinee.store).dataset(examinee.data)
        try:
            subject = _subject(examinee, data)
            return Diagnosis(examinee.name, how, _checks(examinee, subject, data), _short_of(examinee, subject))
        except AuditorError as error:
            reason, _, advice = str(error).partition("; ")
            return Diagnosis(examinee.name, how, (_failed(examinee, reason, advice),))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a user's code may raise anything; the next is examined
            reason = f"{type(error).__name__}: {error}"[:300]
            return Diagnosis(examinee.name, how, (_failed(examinee, reason, "mend what raises it, and ask again"),))


def _subject(examinee: Examinee, data: "Dataset") -> "Subject":
    """The loaded model, the user's function's answer, or the untrained network."""
    from auditor.inputs import torch_subject
    from auditor.recipe import Recipe
    from auditor.subjects.loading import load
    from auditor.training.architectures import build

    entry = examinee.entry
    if entry.load is not None:
        return load(entry.load, data.facts(), examinee.directory)
    assert entry.train is not None
    if examinee.arm is not None:
        return _own(examinee, entry.train, examinee.arm.name, data)
    of = {"estimator": entry.train.estimator} if entry.train.estimator else {"architecture": entry.train.architecture}
    recipe = Recipe(**of, kwargs=entry.train.kwargs, optimizer=entry.train.arms[0].name, epochs=1)
    return torch_subject(build(recipe, data.facts()), data)


def _own(examinee: Examinee, train: TrainConfig, optimizer: str, data: "Dataset") -> "Subject":
    from auditor.probe import stratified
    from auditor.recipe import Fit, Recipe
    from auditor.subjects.kept import keep
    from auditor.training.own import fit_own

    rows = stratified(data.y_train, TRAINED_ON, Seeds(examinee.seed).numpy("order"))
    few = replace(data, x_train=data.x_train[rows], y_train=data.y_train[rows])
    recipe = Recipe(function=train.function, optimizer=optimizer, epochs=1, outputs=train.outputs)
    fitted = fit_own(Fit(recipe=recipe), few, seeds=Seeds(examinee.seed), directory=examinee.directory)
    with TemporaryDirectory() as folder:  # probes ask what was kept, so it must be possible to keep it
        keep(fitted.model, Path(folder), str(train.function), {})
    return fitted.subject


def _checks(examinee: Examinee, subject: "Subject", data: "Dataset") -> tuple[Check, ...]:
    """The checks of preflight; of a model that is not trained, those that it can be asked."""
    from auditor.checks.preflight import MOST, examine, judged
    from auditor.probe import stratified

    def rows(count: int) -> "npt.NDArray[np.int64]":
        return stratified(data.y_test, count, Seeds(examinee.seed).numpy("attack"))

    load = examinee.entry.load
    found = examine(subject, data, rows(ROWS), bare=subject, alone=ALONE, trained=load is not None)
    if load is None:
        return found.checks
    return (*found.checks, judged(found.asked, load.expected_accuracy, rows(MOST)))


def _short_of(examinee: Examinee, subject: "Subject") -> dict[str, str]:
    """Probes that this subject does not give access enough, and what they want."""
    from auditor import plugins
    from auditor.units import missing_access

    asked = {name: missing_access(plugins.load("auditor.probes", name)(), subject) for name in examinee.probes}
    return {name: reason for name, reason in asked.items() if reason}
