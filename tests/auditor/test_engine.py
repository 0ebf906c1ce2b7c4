"""The engine: inputs first, what is finished never again, a failure never the end, the same seed the same record."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from auditor.auditing import Audited, Options, planned, run
from auditor.config import load_audit
from auditor.engine import Engine
from auditor.executors.inline import Inline
from auditor.job import Failure
from auditor.recipe import Fit, Recipe
from auditor.seeds import Seeds
from auditor.store import Store

Audit = Callable[..., Audited]


@pytest.fixture
def audit(write_audit: Any, tmp_path: Path) -> Audit:
    """Runs the tiny audit, with texts replaced, in this process."""
    count = 0

    def ran(*changes: tuple[str, str], **options: Any) -> Audited:
        nonlocal count
        count += 1
        given = {
            "store": tmp_path / f"store{count}",
            "out": tmp_path / f"bundle{count}",
            "inline": True,
            "formats": (),
            **options,
        }
        return run(load_audit(write_audit(*changes)), Options(**given))

    return ran


def numbers(audited: Audited, *probes: str) -> list[Any]:
    return [m for m in audited.facts.record.measurements if m.probe in probes]


def test_the_same_seed_gives_the_same_record_in_another_process_folder_and_number_of_workers(
    audit: Audit, tiny: Any
) -> None:
    for workers in (1, 2):
        again = audit(inline=False, workers=workers)
        assert not again.failures
        assert again.facts.record.sha256 == tiny.sha256
        for path in sorted((tiny.bundle / "facts/samples").iterdir()):
            with np.load(path) as first, np.load(again.bundle / "facts/samples" / path.name) as second:
                assert sorted(first.files) == sorted(second.files)
                for name in first.files:
                    np.testing.assert_array_equal(first[name], second[name])


def test_doing_everything_afresh_gives_the_same_record(audit: Audit, tiny: Any, tmp_path: Path) -> None:
    first = audit(store=tmp_path / "store", out=tmp_path / "one")
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "store/units").glob("*/*/unit.json")}
    second = audit(store=tmp_path / "store", out=tmp_path / "two", fresh=True)
    assert first.facts.record.sha256 == second.facts.record.sha256 == tiny.sha256
    assert all(p.stat().st_mtime_ns > stamp for p, stamp in stamps.items())


def test_another_seed_gives_another_record(audit: Audit, tiny: Any) -> None:
    assert audit(("seed: 7", "seed: 8")).facts.record.sha256 != tiny.sha256


def test_adding_a_probe_an_optimizer_or_a_seed_changes_no_other_number(audit: Audit, tiny: Any) -> None:
    from auditor.bundle import read_facts

    before = read_facts(tiny.bundle).record
    more = audit(
        ("  calibration:\n", "  calibration:\n  privacy.membership:\n  evasion.linf: {samples: 20, queries: 5}\n"),
        ("[sgd, adamw]", "[sgd, adamw, adam]"),
        ("seeds: 2", "seeds: 3"),
    ).facts.record
    singles = [m for m in before.measurements if m.seeds is None]
    assert singles
    kept = {(m.of, m.probe, m.metric, tuple(sorted(m.at.items()))): m for m in more.measurements}
    assert all(kept[m.of, m.probe, m.metric, tuple(sorted(m.at.items()))] == m for m in singles)
    subjects = {s.id: s for s in more.subjects}
    assert all(subjects[s.id].sha256 == s.sha256 for s in before.subjects)


def test_optimizers_share_their_start_and_the_order_of_their_rows(tiny: Any) -> None:
    """Seen from outside: an architecture that writes down the batches it is shown, and a rate too small to move it."""
    from auditor.training.loop import fit

    shown: list[torch.Tensor] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(13, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                shown.append(x.detach().clone())
            out: torch.Tensor = self.net(x)
            return out

    sys.modules["watching_module"] = module = ModuleType("watching_module")
    module.make = lambda shape, classes: Watching()  # type: ignore[attr-defined]
    data = Store(tiny.store).dataset(next((tiny.store / "data").glob("*/meta.json")).parent.name)

    def trained(optimizer: str, seed: int) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
        shown.clear()
        recipe = Recipe(
            architecture="watching_module:make", optimizer=optimizer, learning_rate=1e-30, epochs=2, seed=seed
        )
        fitted = fit(Fit(recipe=recipe), data, seeds=Seeds(7, seed), learning_rate=1e-30)
        return fitted.state, list(shown)

    runs = {(o, s): trained(o, s) for o in ("sgd", "adamw", "rmsprop") for s in (0, 1)}
    del sys.modules["watching_module"]
    for seed in (0, 1):
        state, order = runs["sgd", seed]
        for other in ("adamw", "rmsprop"):
            other_state, other_order = runs[other, seed]
            assert all(torch.allclose(state[k], other_state[k], rtol=0, atol=1e-12) for k in state)
            assert len(order) == len(other_order) > 2
            assert all(torch.equal(a, b) for a, b in zip(order, other_order, strict=True))
    assert not torch.allclose(runs["sgd", 0][0]["net.net.weight"], runs["sgd", 1][0]["net.net.weight"])
    assert not torch.equal(runs["sgd", 0][1][0], runs["sgd", 1][1][0])


def test_what_is_finished_is_not_done_again(audit: Audit, tmp_path: Path) -> None:
    first = audit(store=tmp_path / "s")
    stamps = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in (tmp_path / "s/units").glob("*/*/unit.json")}
    again = audit(("seeds: 2", "seeds: 3"), store=tmp_path / "s")
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in stamps} == stamps
    assert len(again.facts.timings.units) == 42
    assert len(first.facts.timings.units) == 28


def test_a_unit_that_failed_is_tried_again_and_its_users_inherit_the_reason(write_audit: Any, tmp_path: Path) -> None:
    plan = planned(load_audit(write_audit()), Options(store=tmp_path / "s"))
    broken = next(s for s in plan.subjects if s.id == "mlp/sgd/1")

    class Breaking(Inline):
        def submit(self, job: Any) -> Any:
            if job.unit.identity == broken.unit:
                job = replace(job, directory=tmp_path, unit=replace(job.unit, spec={}))
            return super().submit(job)

    engine = Engine(plan, Store(tmp_path / "s"), tmp_path)
    engine.run(Breaking)
    failed = {plan.units[i].label: f.reason for i, f in engine.failures.items()}
    own = "KeyError: 'fit'"
    assert failed == {
        "train mlp/sgd/1": own,
        **{
            f"{p} on mlp/sgd/1": f"what it needs failed: train mlp/sgd/1: {own}"
            for p in ("accuracy", "calibration", "poisoning.label_flips")
        },
    }
    assert len(engine.finished) == 24
    again = Engine(plan, Store(tmp_path / "s"), tmp_path)
    seen: list[str] = []
    again.on_unit = lambda unit, status, reason: seen.append(status)
    again.run(Inline)
    assert again.failures == {}
    assert (seen.count("cached"), seen.count("done")) == (24, 4)


def test_a_training_that_diverges_is_a_failure_with_its_step_and_never_an_accuracy(audit: Audit) -> None:
    audited = audit(("[sgd, adamw]", "[sgd, {name: adamw, learning_rate: 1.0e+38}]"))
    record = audited.facts.record
    diverged = [s for s in record.subjects if s.optimizer == "adamw"]
    assert all("diverged at step" in (s.error or "") for s in diverged)
    assert all(
        r.outcome == "errored" and "diverged" in (r.reason or "") for r in record.results if "adamw" in r.subject
    )
    assert not [m for m in record.measurements if "adamw" in m.of]
    assert [m for m in record.measurements if m.of == "mlp/sgd"]
    assert record.audit.complete
    assert audited.findings.exit_code == 3
    assert not list((audited.bundle / "artifacts").glob("*adamw*"))


def test_a_search_takes_the_rate_of_least_validation_loss_and_says_when_it_is_on_the_edge(audit: Audit) -> None:
    grid = "tune: {grid: [0.0001, 0.05, 0.1]}"
    audited = audit(("tune: off", grid), ("[sgd, adamw]", "[sgd]"), only=("accuracy",))
    for subject in audited.facts.record.subjects:
        assert subject.training is not None
        assert subject.training.tuning is not None
        trials = subject.training.tuning["trials"]
        best = min(trials, key=lambda t: t["loss"])
        assert subject.training.learning_rate == best["learning_rate"] > 0.0001
        assert subject.training.tuning["edge_limited"] is (
            best["learning_rate"] == max(t["learning_rate"] for t in trials)
        )


def test_a_search_goes_outward_until_the_best_rate_has_neighbours(audit: Audit) -> None:
    grid = "tune: {grid: [0.00001, 0.001, 0.1], extend: 3}"
    audited = audit(("tune: off", grid), ("[sgd, adamw]", "[sgd]"), only=("accuracy",))
    training = audited.facts.record.subjects[0].training
    assert training is not None
    assert training.tuning is not None
    tried = [t["learning_rate"] for t in training.tuning["trials"]]
    assert tried[:3] == [0.00001, 0.001, 0.1]
    assert tried[3:] == [10.0, 1000.0, 100000.0][: len(tried) - 3]
    assert training.tuning["edge_limited"] is (training.learning_rate == max(tried))
    assert not training.tuning["edge_limited"]
    units = [u for u in audited.facts.timings.units if u.label.startswith("tune mlp/sgd outward")]
    assert len(units) == 3
    assert sum(u.detail["cpu_seconds"] == 0.0 for u in units) == 6 - len(tried)
    kept = [u.detail["cpu_seconds"] for u in audited.facts.timings.units if u.kind == "tune"]
    assert len(kept) == 4
    assert kept.count(0.0) == 6 - len(tried)


def test_a_halved_search_trains_the_best_third_in_full_and_chooses_among_them(audit: Audit) -> None:
    tune = "tune: {grid: [0.0001, 0.001, 0.01, 0.05, 0.1, 0.4], method: halving, seeds: 2, extend: 0}"
    audited = audit(("tune: off", tune), ("[sgd, adamw]", "[sgd]"), only=("accuracy",))
    training = audited.facts.record.subjects[0].training
    assert training is not None
    assert training.tuning is not None
    trials = training.tuning["trials"]
    full = max(t["epochs"] for t in trials)
    short = [t for t in trials if t["epochs"] < full]
    assert len(short) == 6
    best = sorted((t["loss"], t["learning_rate"]) for t in short if t["loss"] is not None)[:2]
    assert [t["learning_rate"] for t in trials[6:8]] == [rate for _, rate in best]
    assert training.learning_rate == min(trials[6:], key=lambda t: t["loss"])["learning_rate"]
    rates = [t["learning_rate"] for t in short]
    beside = rates[max(0, rates.index(training.learning_rate) - 1) :][:3]
    tried = {t["learning_rate"] for t in trials[6:]}
    assert len(trials) <= 10
    assert tried <= set(rates)  # `extend: 0` allows none beyond an edge
    assert training.tuning["edge_limited"] is (training.learning_rate == 0.4 or not tried >= set(beside))
    assert training.tuning["seeds"] == 2


def test_a_search_whose_every_trial_diverges_fails_with_what_to_do(audit: Audit) -> None:
    audited = audit(("tune: off", "tune: {grid: [1.0e+37, 1.0e+38]}"), ("[sgd, adamw]", "[adamw]"), only=("accuracy",))
    reasons = {s.error for s in audited.facts.record.subjects}
    assert len(reasons) == 1
    assert "every trial of its learning-rate search diverged; name smaller rates in tune.grid" in str(reasons.pop())


def test_the_reason_of_a_failure_is_passed_on_once() -> None:
    engine = Engine.__new__(Engine)
    engine.failures = {"a": Failure("what it needs failed: train x: boom")}
    engine.plan = type("P", (), {"units": {"a": None}})()  # type: ignore[assignment]
    assert engine._inherited("a").reason == "what it needs failed: train x: boom"
