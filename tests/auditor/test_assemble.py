"""The record is a projection of the plan over the store: nothing else gets in, nothing is left out."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.assemble import Assembly
from auditor.auditing import Options, catalogue, planned
from auditor.bundle import read_facts
from auditor.config import load_audit
from auditor.errors import AuditorError
from auditor.groups import column
from auditor.job import Failure
from auditor.store import Store


@pytest.fixture
def assembly(tiny: Any) -> Assembly:
    plan = planned(load_audit(tiny.folder / "audit.yaml"), Options(store=tiny.store))
    return Assembly(plan, Store(tiny.store), {}, catalogue())


def test_the_record_of_a_finished_store_is_that_of_the_bundle(assembly: Assembly, tiny: Any) -> None:
    assert assembly.record().sha256 == tiny.sha256


def test_every_subject_has_a_result_of_every_probe(assembly: Assembly) -> None:
    record = assembly.record()
    assert Counter((r.probe, r.outcome) for r in record.results) == {
        ("accuracy", "completed"): 4,
        ("calibration", "completed"): 4,
        ("poisoning.label_flips", "completed"): 4,
    }
    assert [s.id for s in record.subjects] == ["mlp/sgd/0", "mlp/sgd/1", "mlp/adamw/0", "mlp/adamw/1"]
    assert [s.group for s in record.subjects] == ["mlp/sgd", "mlp/sgd", "mlp/adamw", "mlp/adamw"]
    assert all(s.training is not None and s.training.epochs == 20 for s in record.subjects)


def test_a_groups_value_is_the_mean_over_its_seeds(assembly: Assembly) -> None:
    record = assembly.record()
    key = lambda m: (m.probe, m.metric, tuple(sorted(m.at.items())))  # noqa: E731
    for group in (m for m in record.measurements if m.seeds is not None):
        mine = [
            m.value
            for m in record.measurements
            if m.of.rpartition("/")[0] == group.of and m.seeds is None and key(m) == key(group)
        ]
        assert group.seeds == len(mine) == 2
        assert group.value == pytest.approx(np.mean(mine), abs=1e-9)
        assert group.kind == "estimate"


def test_a_contrast_is_b_minus_a(assembly: Assembly) -> None:
    record = assembly.record()
    found = next(c for c in record.contrasts if c.metric == "accuracy.accuracy")
    value = {m.of: m.value for m in record.measurements if m.seeds and (m.probe, m.metric) == ("accuracy", "accuracy")}
    assert (found.a, found.b, found.pairs) == ("mlp/sgd", "mlp/adamw", 2)
    assert found.difference == pytest.approx(value["mlp/adamw"] - value["mlp/sgd"], abs=1e-9)
    assert found.low <= found.difference <= found.high


def test_what_was_not_run_is_errored_and_the_audit_not_complete(assembly: Assembly, tmp_path: Path) -> None:
    empty = replace(assembly, store=Store(tmp_path)).record()
    assert empty.audit.complete is False
    assert {(r.outcome, r.reason) for r in empty.results} == {("errored", "not run: the audit was interrupted")}
    assert {s.error for s in empty.subjects} == {"not made: the audit was interrupted"}
    assert empty.measurements == ()
    assert empty.contrasts == ()


def test_a_failure_takes_its_number_out_and_that_of_its_group(assembly: Assembly) -> None:
    broken = next(r.unit for r in assembly.plan.results if (r.probe, r.subject) == ("accuracy", "mlp/adamw/1"))
    assert broken is not None
    record = replace(assembly, failures={broken: Failure("boom")}).record()
    assert record.audit.complete
    result = record.result("accuracy", "mlp/adamw/1")
    assert result is not None
    assert (result.outcome, result.reason) == ("errored", "boom")
    measured = {m.of for m in record.measurements if m.probe == "accuracy"}
    assert measured == {"mlp/sgd/0", "mlp/sgd/1", "mlp/adamw/0", "mlp/sgd"}
    assert not [c for c in record.contrasts if c.metric.startswith("accuracy.")]


def test_an_old_failure_does_not_hide_behind_a_finished_unit(assembly: Assembly) -> None:
    fit = next(s.unit for s in assembly.plan.subjects if s.id == "mlp/sgd/0")
    record = replace(assembly, failures={fit: Failure("boom")}).record()
    assert next(s for s in record.subjects if s.id == "mlp/sgd/0").error == "boom"


def test_samples_are_named_by_subject_and_probe_and_are_all_there(tiny: Any) -> None:
    facts = read_facts(tiny.bundle)
    for result in facts.record.results:
        assert result.samples == f"samples/{result.subject.replace('/', '__')}__{result.probe}.npz"
        arrays = facts.samples(result)
        assert len(arrays["row"]) == len(arrays["label"]) == len(arrays["prediction"]) == 59


def test_a_column_is_read_by_its_name_and_index() -> None:
    samples = {"row": np.array(["a", "b"]), "c": np.array([[1, 2], [3, 4]])}
    rows, values = column(samples, "c:1")
    assert (rows.tolist(), values.tolist()) == (["a", "b"], [2, 4])
    assert column(samples, None)[1].tolist() == []
    with pytest.raises(AuditorError, match="names the column 'd:0', which its samples do not have"):
        column(samples, "d:0")


def test_timings_tell_every_unit_once_with_machine_and_versions(tiny: Any) -> None:
    timings = read_facts(tiny.bundle).timings
    assert len({u.unit for u in timings.units}) == len(timings.units) == 28
    assert all(u.wall_seconds > 0 and u.cpu_seconds > 0 for u in timings.units)
    assert {"system", "python", "versions", "started", "wall_seconds"} <= set(timings.provenance)
