"""Which trainings are done at once, and that an audit never tells by its numbers."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from auditor.auditing import Options, planned
from auditor.config import load_audit
from auditor.engine import Engine
from auditor.executors.inline import Inline
from auditor.job import Failure
from auditor.plan import Unit
from auditor.recipe import Change, Fit, Pgd, Recipe, Start, Trades
from auditor.record import DatasetRecord
from auditor.stacking import alike, most_at_once
from auditor.store import Store

DIGITS = DatasetRecord(
    id="digits",
    sha256="d",
    rows={"train": 1198, "test": 599},
    shape=(1, 8, 8),
    classes=tuple("0123456789"),
    range=(0, 1),
    licence="none",
)
FASHION = DIGITS.model_copy(update={"rows": {"train": 60_000, "test": 1}, "shape": (1, 28, 28)})
FLIPS = "auditor.attacks.poisoning.label_flips:flip"


def unit(holdout: float | None = None, change: str | None = None, subject: str | None = None, **recipe: Any) -> Unit:
    given = Recipe(**{"architecture": "mlp", "optimizer": "sgd", "learning_rate": 0.1, "epochs": 3, **recipe})
    fit = Fit(recipe=given, holdout=holdout, change=Change(function=change) if change else None)
    return Unit("fit", "", {"data": "d", "fit": fit.model_dump(mode="json")}, (), "i", subject=subject)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 3},
        {"learning_rate": 0.2},
        {"schedule": "linear", "warmup": 0.1},
        {"settings": {"momentum": 0.5}},
        {"change": FLIPS},
        {"start": Start(path="w", sha256="s")},
    ],
)
def test_seeds_rates_schedules_and_changed_labels_stand_in_one_stack(other: dict[str, Any]) -> None:
    assert alike(unit(), DIGITS) == alike(unit(**other), DIGITS) is not None


@pytest.mark.parametrize(
    "other",
    [
        {"optimizer": "adamw"},  # whose seconds are another's
        {"holdout": 0.2},
        {"epochs": 4},
        {"batch_size": 32},
        {"kwargs": {"hidden": [64]}},
        {"objective": Pgd(epsilon=0.1)},
    ],
)
def test_other_shapes_objectives_and_optimizers_have_a_stack_of_their_own(other: dict[str, Any]) -> None:
    assert None is not alike(unit(**other), DIGITS) != alike(unit(), DIGITS)


@pytest.mark.parametrize(
    "other",
    [
        {"subject": "mlp/sgd/0"},  # whose seconds are told
        {"architecture": "strided-cnn"},
        {"architecture": "nets:make"},
        {"function": "train:fit"},
        {"optimizer": "muon"},
        {"optimizer": "sam"},
        {"optimizer": "lbfgs"},
        {"optimizer": "rprop"},
        {"optimizer": "asgd"},
        {"objective": Trades()},
        {"clip": 1.0},
        {"augment": ({"noise": 0.1},)},
        {"change": "mine:shuffle"},
        {"kwargs": {"hidden": [4096, 4096]}},
        {"kwargs": {"hidden": ["wide"]}},
    ],
)
def test_what_cannot_be_the_same_in_a_stack_or_gains_nothing_is_trained_alone(other: dict[str, Any]) -> None:
    assert alike(unit(**other), DIGITS) is None


def test_as_many_stand_together_as_fit_near_the_processor() -> None:
    assert most_at_once(unit(), DIGITS) == 32
    assert most_at_once(unit(batch_size=256), DIGITS) == 2**25 // (256 * (64 * 128 + 128 * 10))
    assert most_at_once(unit(), FASHION) == 0


def test_an_audit_trains_in_stacks_and_one_that_fails_is_done_one_by_one(write_audit: Any, tmp_path: Path) -> None:
    plan = planned(
        load_audit(write_audit(("tune: off", "tune: {grid: [0.01, 0.05, 0.1]}"))), Options(store=tmp_path / "s")
    )
    stacks: list[int] = []

    engine = Engine(plan, Store(tmp_path / "s"), tmp_path)
    engine.run(Inline)
    assert engine.failures == {}
    whole = {i: Store(tmp_path / "s").read(i) for i in plan.units}

    class Failing(Inline):
        def submit(self, job: Any) -> Any:
            if not job.beside:
                return super().submit(job)
            stacks.append(1 + len(job.beside))
            future: Future[Failure | None] = Future()
            future.set_result(Failure("it ran out of memory"))
            return future

    again = Engine(plan, Store(tmp_path / "t"), tmp_path)
    Store(tmp_path / "t").write_dataset(Store(tmp_path / "s").dataset(plan.data.sha256))
    again.run(Failing)
    assert again.failures == {}
    assert max(stacks) >= 3
    assert all(Store(tmp_path / "t").read(i) == said for i, said in whole.items())
