"""Groups that stand to be compared and are not: the reason is said, and none is judged by the seeds that are left."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.auditing import Options, run
from auditor.config import load_audit
from auditor.contrast_reasons import reasons
from auditor.evidence import Evidence
from auditor.policy import ContrastFinding
from auditor.record import AuditRecord, Contrast, DatasetRecord, Measurement, Record, Result, SubjectRecord
from auditor.uncompared import uncompared

METRIC = "accuracy.accuracy"


@dataclass(frozen=True)
class Seen:
    """A record with its samples, where an observed bundle is asked for."""

    record: Record
    root: Path = Path()
    arrays: dict[str, Any] = field(default_factory=dict)


def subject(group: str, seed: int | None, error: str | None = None, variant: str = "float32") -> SubjectRecord:
    name = group if seed is None else f"{group}/{seed}"
    return SubjectRecord(id=name, group=group, config="net", seed=seed, access=(), error=error, variant=variant)


def measured(of: str, **at: float) -> Measurement:
    return Measurement(
        of=of,
        probe="accuracy",
        metric="accuracy",
        at=at,
        value=0.9,
        confidence=0.95,
        n=2,
        better="higher",
        kind="exact",
    )


def result(of: str, outcome: Any = "completed", reason: str | None = None) -> Result:
    return Result(probe="accuracy", version=1, subject=of, outcome=outcome, reason=reason)


def told(
    subjects: Sequence[SubjectRecord],
    measurements: Sequence[Measurement],
    results: Sequence[Result] = (),
    contrasts: Sequence[Contrast] = (),
) -> list[ContrastFinding]:
    record = Record(
        audit=AuditRecord(name="a", seed=0, profile="p", plan_sha256="0", complete=True),
        dataset=DatasetRecord(id="d", sha256="0", rows={}, shape=(1,), classes=("a", "b"), range=(0, 1), licence="MIT"),
        subjects=tuple(subjects),
        results=tuple(results),
        measurements=tuple(measurements),
        contrasts=tuple(contrasts),
    )
    return list(uncompared(Evidence(Seen(record)), (METRIC,), None))  # type: ignore[arg-type]  # all that is read


def test_one_diverged_seed_leaves_its_group_uncompared_and_is_named() -> None:
    stopped = "its training diverged at step 40"
    subjects = [
        subject(g, s, stopped if (g, s) == ("net/lion", 2) else None) for g in ("net/sgd", "net/lion") for s in range(3)
    ]
    (one,) = told(subjects, [measured(s.id) for s in subjects if s.error is None])
    assert (one.metric, one.a, one.b, one.verdict) == (METRIC, "net/sgd", "net/lion", "inconclusive")
    assert one.reason == "not compared: net/lion/2: its training diverged at step 40"


def test_a_group_without_any_model_is_told_once_for_each_place_of_the_other() -> None:
    subjects = [subject("net/sgd", s) for s in range(2)] + [subject("net/lion", s, "it diverged") for s in range(2)]
    found = told(subjects, [measured(f"net/sgd/{s}", epsilon=e) for s in range(2) for e in (0.1, 0.2)])
    assert [f.at for f in found] == [{"epsilon": 0.1}, {"epsilon": 0.2}]
    assert {f.reason for f in found} == {"not compared: net/lion/0: it diverged; and 1 more of net/lion"}


def test_a_pair_of_which_no_model_is_there_gets_one_finding_and_its_variants_none() -> None:
    stopped = [subject(g, s, f"{g} diverged") for g in ("net/sgd", "net/lion") for s in range(2)]
    variants = [subject(f"{g}@int8", s, "it diverged", "int8") for g in ("net/sgd", "net/lion") for s in range(2)]
    (one,) = told([*stopped, *variants], [])
    assert (one.metric, one.at, one.a, one.b, one.verdict) == (METRIC, {}, "net/sgd", "net/lion", "inconclusive")
    assert one.reason == (
        "not compared: net/sgd/0: net/sgd diverged, and 1 more of net/sgd; "
        "net/lion/0: net/lion diverged, and 1 more of net/lion"
    )


def test_an_errored_result_is_told_and_a_probe_that_asks_nothing_of_one_side_is_not() -> None:
    subjects = [subject(g, s) for g in ("net/sgd", "net/lion") for s in range(2)]
    numbers = [measured(s.id) for s in subjects if s.id != "net/lion/1"]
    (one,) = told(subjects, numbers, [result("net/lion/1", "errored", "out of memory")])
    assert one.reason == "not compared: net/lion/1: accuracy errored (out of memory)"
    unasked = [result(f"net/lion/{s}", "skipped", "needs access: logits") for s in range(2)]
    assert told(subjects, numbers[:2], unasked) == []


def test_what_was_compared_is_not_told_again() -> None:
    subjects = [subject(g, s) for g in ("net/sgd", "net/lion") for s in range(2)]
    made = Contrast(metric=METRIC, a="net/sgd", b="net/lion", difference=0, low=-1, high=1, pairs=2)
    assert told(subjects, [measured(s.id) for s in subjects], contrasts=[made]) == []


def test_reasons_are_gathered_by_pair_without_numbers_that_stand_elsewhere() -> None:
    def one(metric: str, reason: str, verdict: Any = "inconclusive") -> ContrastFinding:
        return ContrastFinding(metric=metric, a="net/sgd", b="net/lion", verdict=verdict, reason=reason)

    unequal = "the accuracies of net/sgd and net/lion are not shown to be equal, so no other difference is judged"
    found = reasons(
        [
            one("accuracy.accuracy", "the difference is -0.01 [-0.03, +0.01], neither shown nor shown"),
            one("evasion.linf.robust_accuracy", f"{unequal}; less what goes with accuracy from run to run it is +0.1"),
            one("ood.scores.mean_auroc", f"{unequal}; less what goes with accuracy from run to run it is -0.2"),
            one("privacy.membership.auc", "the difference is +0.1", "improved"),
        ],
        {"ood.scores.mean_auroc": "Unusual inputs"},
    )
    assert found == [f"net/lion − net/sgd, evasion.linf.robust_accuracy, Unusual inputs: {unequal}"]


@pytest.mark.parametrize("target", ["", ", target: {accuracy: 0.5}"])
def test_an_audit_says_of_a_group_that_diverged_why_it_is_not_compared(
    write_audit: Any, tmp_path: Path, target: str
) -> None:
    wild = "optimizers: [sgd, {name: sgd, as: wild, learning_rate: 1.0e+30}]"
    path = write_audit(("optimizers: [sgd, adamw]", wild), ("tune: off", f"tune: off{target}"))
    given = Options(store=tmp_path / "s", out=tmp_path / "b", inline=True, only=("accuracy",))
    audited = run(load_audit(path), given)
    assert audited.facts.record.contrasts == ()
    (one,) = audited.findings.contrasts
    assert one.verdict == "inconclusive"
    assert one.reason.startswith("not compared: mlp/wild/0: its training diverged at step")
    assert one.reason.endswith("and 1 more of mlp/wild")
    assert not any(m.of.startswith("mlp/wild") for m in audited.facts.record.measurements)
    report = (tmp_path / "b/looks/report.md").read_text()
    assert "not compared: mlp/wild/0: its training diverged" in report
    steps = [s.training.steps_to_target for s in audited.facts.record.subjects if s.group == "mlp/wild" and s.training]
    assert steps == [None, None]
    assert np.isfinite([m.value for m in audited.facts.record.measurements]).all()


def test_an_audit_of_which_every_training_diverged_says_so_of_the_pair_in_record_and_report(
    write_audit: Any, tmp_path: Path
) -> None:
    wild = "optimizers: [{name: sgd, learning_rate: 1.0e+30}, {name: sgd, as: wild, learning_rate: 1.0e+31}]"
    given = Options(store=tmp_path / "s", out=tmp_path / "b", inline=True, only=("accuracy",))
    audited = run(load_audit(write_audit(("optimizers: [sgd, adamw]", wild))), given)
    (one,) = audited.findings.contrasts
    assert (one.metric, one.a, one.b, one.verdict) == (METRIC, "mlp/sgd", "mlp/wild", "inconclusive")
    assert one.reason.startswith("not compared: mlp/sgd/0: its training diverged at step")
    assert "not compared: mlp/sgd/0: its training diverged" in (tmp_path / "b/looks/report.md").read_text()
