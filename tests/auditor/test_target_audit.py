"""An audit with a target: when each training reaches it stands in the record, and no other number changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.auditing import Options, run
from auditor.config import load_audit

Audit = Callable[..., Any]


@pytest.fixture
def audit(write_audit: Any, tmp_path: Path) -> Audit:
    """Runs the tiny audit, with texts replaced, in this process."""

    def ran(*changes: tuple[str, str]) -> Any:
        folder = tmp_path / f"{len(list(tmp_path.glob('out*')))}"
        given = {"store": folder / "store", "out": tmp_path / f"out{folder.name}", "inline": True, "formats": ()}
        return run(load_audit(write_audit(*changes)), Options(**given, only=("accuracy",)))

    return ran


def test_the_steps_to_an_accuracy_stand_in_the_record_and_the_subjects_are_the_same(audit: Audit) -> None:
    plain = audit().facts.record
    record = audit(("tune: off", "tune: off, target: {accuracy: 0.6}")).facts.record
    assert [s.sha256 for s in record.subjects] == [s.sha256 for s in plain.subjects]
    assert record.measurements == plain.measurements
    for subject in record.subjects:
        training = subject.training
        assert training.target["value"] == 0.6
        assert training.target["reached"] is (training.steps_to_target is not None)
        if training.target["reached"]:
            assert 0 < training.steps_to_target <= training.target["of_steps"]
            assert training.target["flops"] > 0
    assert any(s.training.target["reached"] for s in record.subjects)


def test_without_a_value_the_target_is_what_the_reference_reaches(audit: Audit) -> None:
    record = audit(("tune: off", "tune: off, target: auto")).facts.record
    targets = {(s.training.target["metric"], s.training.target["value"]) for s in record.subjects}
    assert len(targets) == 1
    assert all(s.training.target["automatic"] for s in record.subjects)
    assert any(s.training.steps_to_target for s in record.subjects if s.optimizer == "sgd")


def test_a_target_that_nobody_reaches_is_said_to_be_missed(audit: Audit) -> None:
    record = audit(("tune: off", "tune: off, target: {loss: 1.0e-9, looks: 1}")).facts.record
    assert [s.training.steps_to_target for s in record.subjects] == [None] * 4
    assert not any(s.training.target["reached"] for s in record.subjects)
