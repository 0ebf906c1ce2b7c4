"""What a policy says of a record: every state, at its exact boundary, and never a pass without evidence."""

import itertools
import math
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from auditor.bundle import Facts, Observed, Timings
from auditor.catalogue import Catalogue, MetricEntry, ProbeEntry
from auditor.errors import ConfigError, UnknownNameError
from auditor.judgement import judge
from auditor.policy import Finding, Findings, Policy, Rule, Waiver, Waivers
from auditor.record import AuditRecord, Caveat, Contrast, DatasetRecord, Measurement, Record, Result, SubjectRecord

DAY = date(2026, 11, 22)
ROBUST = MetricEntry(
    name="robust_accuracy", title="Robust accuracy", better="higher", kind="upper-bound", unit="share", at=("epsilon",)
)
SUCCESS = MetricEntry(name="attack_success", title="Attack success", better="lower", kind="lower-bound", unit="share")
CERTIFIED = MetricEntry(name="certified", title="Certified", better="higher", kind="lower-bound", unit="share")
CLASSES = MetricEntry(
    name="class_accuracy", title="By class", better="higher", kind="estimate", unit="share", at=("class",)
)
ACCURACY = MetricEntry(name="accuracy", title="Accuracy", better="higher", kind="estimate", unit="share")
COUNT = MetricEntry(name="count", title="Count", better="higher", kind="exact", unit="number")
CATALOGUE = Catalogue(
    version="0.1.0",
    probes=(
        ProbeEntry(id="evasion.linf", metrics=(ROBUST,), references={"nist-ai-rmf": ("MEASURE 2.7",)}),
        ProbeEntry(id="backdoor.patch", metrics=(SUCCESS,)),
        ProbeEntry(id="proof", metrics=(CERTIFIED,)),
        ProbeEntry(id="accuracy", metrics=(ACCURACY, COUNT, CLASSES)),
        ProbeEntry(id="theirs.broken", error="No module named 'theirs'"),
    ),
)
ENTRIES = {f"{p.id}.{m.name}": m for p in CATALOGUE.probes for m in p.metrics}


@dataclass
class Bench:
    """Builds facts: subjects, results, measurements and samples."""

    root: Path
    subjects: list[SubjectRecord] = field(default_factory=list)
    results: dict[tuple[str, str], Result] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    contrasts: list[Contrast] = field(default_factory=list)
    data: str = "data"
    complete: bool = True

    def subject(self, name: str, *, group: str | None = None, seed: int | None = None, **more) -> None:
        self.subjects.append(
            SubjectRecord(id=name, group=group or name, config="c", seed=seed, access=("labels",), **more)
        )

    def result(self, probe: str, subject: str, **more) -> None:
        self.results[probe, subject] = Result(
            **{"probe": probe, "version": 1, "subject": subject, "outcome": "completed", **more}
        )

    def measure(
        self,
        of: str,
        metric: str = "evasion.linf.robust_accuracy",
        value: float = 0.5,
        *,
        low: float | None = 0.4,
        high: float | None = 0.6,
        at: dict | None = None,
        **more,
    ) -> None:
        probe, _, name = metric.rpartition(".")
        entry = ENTRIES[metric]
        self.measurements.append(
            Measurement(
                **{
                    "of": of,
                    "probe": probe,
                    "metric": name,
                    "value": value,
                    "low": low,
                    "high": high,
                    "n": 100,
                    "better": entry.better,
                    "kind": entry.kind,
                    "at": {"epsilon": 0.1} if at is None and "epsilon" in entry.at else at or {},
                    **more,
                }
            )
        )
        if more.get("seeds") is None and (probe, of) not in self.results:
            self.result(probe, of)

    def columns(self, of: str, probe: str, rows: list[str], values: np.ndarray) -> None:
        name = f"samples/{probe}-{of.replace('/', '-')}.npz"
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, row=np.array(rows), outcome=np.asarray(values)[:, None])
        self.result(probe, of, samples=name)

    @property
    def record(self) -> Record:
        return Record(
            audit=AuditRecord(name="a", seed=1, profile="quick", plan_sha256="p", complete=self.complete),
            dataset=DatasetRecord(
                id="d",
                sha256=self.data,
                rows={"train": 9, "test": 9},
                shape=(1,),
                classes=("a", "b"),
                range=(0, 1),
                licence="MIT",
            ),
            subjects=tuple(self.subjects),
            results=tuple(self.results.values()),
            measurements=tuple(self.measurements),
            contrasts=tuple(self.contrasts),
        )

    @property
    def facts(self) -> Facts:
        return Facts(
            root=self.root, record=self.record, catalogue=CATALOGUE, timings=Timings(), config={}, sha256="f" * 64
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """One loaded subject, m."""
    made = Bench(tmp_path / "facts")
    made.subject("m")
    return made


def grouped(root: Path, seeds: int = 3) -> Bench:
    made = Bench(root)
    for seed in range(seeds):
        made.subject(f"mlp/sgd/{seed}", group="mlp/sgd", seed=seed, optimizer="sgd")
    return made


def rule(**more) -> Rule:
    bar = {} if {"at_most", "at_least", "regression"} & more.keys() else {"at_least": 0.4}
    return Rule(**{"id": "R-1", "metric": "evasion.linf.robust_accuracy", "severity": "high", **bar, **more})


def ruled(
    facts: Facts,
    *rules: Rule,
    waivers: Waivers | None = None,
    baseline: Observed | None = None,
    day: date = DAY,
    **more,
) -> Findings:
    policy = Policy(**{"schema": "auditor/policy/1", "id": "p", "rules": rules or (rule(),), **more})
    return judge(facts, policy, policy_sha256="s" * 64, waivers=waivers, baseline=baseline, as_of=day)


def only(found: Findings) -> Finding:
    assert len(found.findings) == 1
    return found.findings[0]


# Decisions at the exact boundary


@pytest.mark.parametrize(
    ("low", "high", "state", "code"),
    [
        (0.4, 0.6, "pass", 0),
        (math.nextafter(0.4, 0), 0.6, "inconclusive", 3),
        (0.3, 0.4, "inconclusive", 3),
        (0.3, math.nextafter(0.4, 0), "fail", 1),
        (0.4, 0.4, "pass", 0),
    ],
)
def test_at_least_is_judged_by_the_lower_bound(bench: Bench, low: float, high: float, state: str, code: int) -> None:
    bench.measure("m", value=(low + high) / 2, low=low, high=high)
    found = ruled(bench.facts)
    assert (only(found).state, found.exit_code) == (state, code)
    assert found.verdict == {0: "pass", 1: "fail", 3: "inconclusive"}[code]


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [
        (0.3, 0.4, "pass"),
        (0.3, math.nextafter(0.4, 1), "inconclusive"),
        (0.4, 0.5, "inconclusive"),
        (math.nextafter(0.4, 1), 0.5, "fail"),
    ],
)
def test_at_most_is_judged_by_the_upper_bound(bench: Bench, low: float, high: float, state: str) -> None:
    bench.measure("m", "backdoor.patch.attack_success", (low + high) / 2, low=low, high=high)
    assert only(ruled(bench.facts, rule(metric="backdoor.patch.attack_success", at_most=0.4))).state == state


@pytest.mark.parametrize(("value", "state"), [(0.4, "pass"), (math.nextafter(0.4, 0), "fail")])
def test_an_exact_number_without_interval_is_judged_by_its_value(bench: Bench, value: float, state: str) -> None:
    bench.measure("m", "accuracy.count", value, low=None, high=None)
    assert only(ruled(bench.facts, rule(metric="accuracy.count"))).state == state


def test_an_estimate_without_interval_decides_nothing(bench: Bench) -> None:
    bench.measure("m", "accuracy.accuracy", 0.99, low=None, high=None)
    found = only(ruled(bench.facts, rule(metric="accuracy.accuracy")))
    assert found.state == "inconclusive"
    assert "has no interval" in found.reason


def test_an_undecided_finding_says_how_many_samples_would_settle_it(bench: Bench) -> None:
    # the lower bound lies 0.1 below 0.5 at n=100; to lie less than 0.05 below it, more than 400 are needed
    bench.measure("m", value=0.5, low=0.4, high=0.6)
    assert (
        only(ruled(bench.facts, rule(at_least=0.45))).settle
        == "about 301 more samples would settle it, if the value stays"
    )


def test_a_value_on_the_threshold_is_settled_by_no_number_of_samples(bench: Bench) -> None:
    bench.measure("m", value=0.5, low=0.4, high=0.6)
    assert only(ruled(bench.facts, rule(at_least=0.5))).settle == (
        "no number of samples would settle it while the value stays on the threshold"
    )


def test_a_group_is_settled_by_seeds(tmp_path: Path) -> None:
    made = grouped(tmp_path)
    for seed in range(3):
        made.measure(f"mlp/sgd/{seed}")
    made.measure("mlp/sgd", value=0.5, low=0.4, high=0.6, seeds=3, kind="estimate")
    assert (
        only(ruled(made.facts, rule(at_least=0.45))).settle == "about 10 more seeds would settle it, if the value stays"
    )


def test_a_pass_by_an_attack_says_that_a_stronger_one_may_find_worse(bench: Bench) -> None:
    bench.measure("m")
    assert "a stronger attack may find worse" in only(ruled(bench.facts)).reason


# Reliability


def test_an_invalid_result_is_inconclusive_quotes_why_and_shows_no_number(bench: Bench) -> None:
    bench.measure("m", value=0.99, low=0.98, high=1.0)
    bench.result(
        "evasion.linf",
        "m",
        reliability="invalid",
        caveats=(Caveat(flag="zero_gradient", severity="invalid", evidence="98 of 100 gradients are zero"),),
    )
    found = only(ruled(bench.facts))
    assert (found.state, found.value, found.low, found.high) == ("inconclusive", None, None, None)
    assert found.reason == "the result is invalid: m: zero_gradient: 98 of 100 gradients are zero"


@pytest.mark.parametrize(
    ("ends", "state"), [((0.9, 1.0), "inconclusive"), ((0.3, 0.5), "inconclusive"), ((0.1, 0.2), "fail")]
)
def test_a_suspicious_result_cannot_pass_but_fails_by_its_verified_bound(bench: Bench, ends: tuple, state: str) -> None:
    bench.measure("m", value=sum(ends) / 2, low=ends[0], high=ends[1])
    bench.result("evasion.linf", "m", reliability="suspicious")
    assert only(ruled(bench.facts)).state == state


def test_a_suspicious_certificate_that_falls_short_does_not_fail_because_it_bounds_from_below(bench: Bench) -> None:
    bench.measure("m", "proof.certified", 0.15, low=0.1, high=0.2)
    assert only(ruled(bench.facts, rule(metric="proof.certified"))).state == "fail"
    bench.result("proof", "m", reliability="suspicious")
    assert only(ruled(bench.facts, rule(metric="proof.certified"))).state == "inconclusive"


def test_a_grave_caveat_weighs_even_where_the_result_calls_itself_reliable(bench: Bench) -> None:
    bench.measure("m")
    bench.result("evasion.linf", "m", caveats=(Caveat(flag="not_monotone", severity="suspicious", evidence="it rose"),))
    assert only(ruled(bench.facts)).state == "inconclusive"


def test_a_caveat_for_information_changes_nothing(bench: Bench) -> None:
    bench.measure("m")
    bench.result(
        "evasion.linf", "m", caveats=(Caveat(flag="black_box_only", severity="info", evidence="no gradients"),)
    )
    assert only(ruled(bench.facts)).state == "pass"


def test_a_group_is_as_reliable_as_its_worst_member(tmp_path: Path) -> None:
    made = grouped(tmp_path)
    for seed in range(3):
        made.measure(f"mlp/sgd/{seed}")
    made.measure("mlp/sgd", seeds=3)
    assert only(ruled(made.facts)).state == "pass"
    made.result("evasion.linf", "mlp/sgd/1", reliability="invalid")
    assert only(ruled(made.facts)).state == "inconclusive"


# Absence


def test_a_probe_that_did_not_run_is_not_assessed(bench: Bench) -> None:
    found = ruled(bench.facts)
    assert (only(found).state, only(found).reason, found.exit_code) == (
        "not-assessed",
        "m: evasion.linf did not run",
        3,
    )


@pytest.mark.parametrize("outcome", ["skipped", "errored"])
def test_a_skipped_or_errored_result_is_not_assessed_with_its_reason(bench: Bench, outcome: str) -> None:
    bench.measure("m", value=1.0, low=1.0, high=1.0)
    bench.result("evasion.linf", "m", outcome=outcome, reason="it needs gradients")
    found = only(ruled(bench.facts))
    assert (found.state, found.value) == ("not-assessed", None)
    assert found.reason == f"m: {outcome} (it needs gradients)"


def test_coordinates_that_were_not_measured_are_not_assessed_and_the_measured_ones_named(bench: Bench) -> None:
    bench.measure("m", at={"epsilon": 0.05})
    bench.measure("m", at={"epsilon": 0.2})
    found = only(ruled(bench.facts, rule(at={"epsilon": "8/255"})))
    assert (found.state, found.at) == ("not-assessed", {"epsilon": 8 / 255})
    assert found.reason.endswith("was not measured at epsilon=0.031372549; measured: epsilon=0.05, epsilon=0.2")


def test_members_that_lack_a_result_are_named_and_the_group_is_not_assessed(tmp_path: Path) -> None:
    made = grouped(tmp_path)
    for seed in range(2):
        made.measure(f"mlp/sgd/{seed}")
    made.result("evasion.linf", "mlp/sgd/2", outcome="errored", reason="the worker died")
    made.measure("mlp/sgd", value=0.9, low=0.8, high=1.0, seeds=2)
    found = only(ruled(made.facts))
    assert (found.state, found.reason) == ("not-assessed", "mlp/sgd/2: errored (the worker died)")


def test_a_member_without_this_number_leaves_its_group_not_assessed(tmp_path: Path) -> None:
    made = grouped(tmp_path)
    for seed in range(2):
        made.measure(f"mlp/sgd/{seed}")
    made.result("evasion.linf", "mlp/sgd/2")
    made.measure("mlp/sgd", value=0.9, low=0.8, high=1.0, seeds=2)
    found = only(ruled(made.facts))
    assert (found.state, found.reason) == ("not-assessed", "only 2 of 3 members have it: none for mlp/sgd/2")


def test_a_model_that_could_not_be_made_is_not_assessed_and_the_audit_is_inconclusive(bench: Bench) -> None:
    bench.measure("m")
    bench.subject("other", error="loss became nan at step 12")
    found = ruled(bench.facts)
    assert {f.subject: f.state for f in found.findings} == {"m": "pass", "other": "not-assessed"}
    assert (found.verdict, found.exit_code) == ("inconclusive", 3)


def test_a_rule_that_meets_no_subject_is_not_assessed(bench: Bench) -> None:
    bench.measure("m")
    for found in (ruled(bench.facts, rule(where={"group": "x*"})), ruled(bench.facts, subjects="x*")):
        assert (only(found).state, only(found).subject, found.exit_code) == ("not-assessed", None, 3)


def test_a_probe_that_cannot_be_read_is_not_assessed_with_its_error(bench: Bench) -> None:
    found = only(ruled(bench.facts, rule(metric="theirs.broken.metric")))
    assert (found.state, found.reason) == ("not-assessed", "theirs.broken could not be read: No module named 'theirs'")


@pytest.mark.parametrize(
    ("choice", "verdict", "code"), [("fail", "fail", 1), ("report", "inconclusive", 3), ("ignore", "pass", 0)]
)
def test_on_not_assessed_chooses_what_absence_costs(bench: Bench, choice: str, verdict: str, code: int) -> None:
    bench.measure("m", "accuracy.accuracy")
    found = ruled(bench.facts, rule(on_not_assessed=choice), rule(id="R-2", metric="accuracy.accuracy"))
    assert (found.verdict, found.exit_code) == (verdict, code)


def test_nothing_assessed_at_all_is_not_a_pass_even_if_every_absence_is_ignored(bench: Bench) -> None:
    found = ruled(bench.facts, rule(on_not_assessed="ignore"))
    assert (found.verdict, found.exit_code, found.summary) == ("inconclusive", 3, "None of 1 rule could be assessed.")


def test_no_mixture_of_trouble_ever_passes(bench: Bench) -> None:
    troubles = {
        "absent": None,
        "skipped": {"outcome": "skipped", "reason": "r"},
        "errored": {"outcome": "errored", "reason": "r"},
        "suspicious": {"reliability": "suspicious"},
        "invalid": {"reliability": "invalid"},
    }
    for (name, trouble), severity, choice, subjects in itertools.product(
        troubles.items(), ("low", "critical"), ("fail", "report", "ignore"), ("all", "any", "m")
    ):
        made = Bench(bench.root)
        made.subject("m")
        if trouble is not None:
            made.measure("m", value=1.0, low=1.0, high=1.0)
            made.result("evasion.linf", "m", **trouble)
        found = ruled(made.facts, rule(severity=severity, on_not_assessed=choice), subjects=subjects)
        assert only(found).state in ("inconclusive", "not-assessed"), name
        if name in ("absent", "skipped", "errored") or severity == "critical":
            assert found.verdict != "pass", name


# Subjects, coordinates, severity


def test_each_measurement_that_a_rule_matches_is_a_finding(bench: Bench) -> None:
    bench.subject("n")
    for of, at, low in (("m", 0.05, 0.7), ("m", 0.1, 0.2), ("n", 0.05, 0.8), ("n", 0.1, 0.5)):
        bench.measure(of, value=low + 0.05, low=low, high=low + 0.1, at={"epsilon": at})
    found = ruled(bench.facts)
    assert [(f.subject, f.at["epsilon"], f.state) for f in found.findings] == [
        ("m", 0.1, "fail"),
        ("m", 0.05, "pass"),
        ("n", 0.05, "pass"),
        ("n", 0.1, "pass"),
    ]
    assert found.summary == "1 of 1 rule failed: R-1 (m)."


def test_a_seeded_subject_is_judged_by_its_group_and_not_by_itself(tmp_path: Path) -> None:
    made = grouped(tmp_path)
    for seed in range(3):
        made.measure(f"mlp/sgd/{seed}", value=0.1, low=0.05, high=0.15)
    made.measure("mlp/sgd", value=0.5, low=0.45, high=0.55, seeds=3)
    assert [(f.subject, f.state, f.value) for f in ruled(made.facts).findings] == [("mlp/sgd", "pass", 0.5)]


def test_one_seed_is_said_to_say_nothing_of_other_trainings(tmp_path: Path) -> None:
    made = grouped(tmp_path, seeds=1)
    made.measure("mlp/sgd/0")
    made.measure("mlp/sgd", seeds=1)
    assert only(ruled(made.facts)).reason.endswith("one seed says nothing of other trainings")


def three(root: Path) -> Bench:
    """good keeps the bar, bad breaks it, unsure has it within its interval."""
    made = Bench(root)
    for name, low, high in (("good", 0.5, 0.6), ("bad", 0.1, 0.2), ("unsure", 0.3, 0.5)):
        made.subject(name)
        made.measure(name, value=(low + high) / 2, low=low, high=high)
    return made


@pytest.mark.parametrize(
    ("subjects", "verdict", "code"),
    [("all", "fail", 1), ("any", "pass", 0), ("good", "pass", 0), ("unsure", "inconclusive", 3), ("*d", "fail", 1)],
)
def test_the_scope_chooses_which_subjects_decide(tmp_path: Path, subjects: str, verdict: str, code: int) -> None:
    found = ruled(three(tmp_path).facts, subjects=subjects)
    assert (found.verdict, found.exit_code) == (verdict, code)


def test_under_any_one_subject_must_keep_every_rule_by_itself(tmp_path: Path) -> None:
    made = Bench(tmp_path)
    for name, robust, accurate in (("robust", 0.9, 0.1), ("accurate", 0.1, 0.9)):
        made.subject(name)
        made.measure(name, value=robust, low=robust, high=robust)
        made.measure(name, "accuracy.accuracy", accurate, low=accurate, high=accurate)
    found = ruled(made.facts, rule(), rule(id="R-2", metric="accuracy.accuracy"), subjects="any")
    assert (found.verdict, found.exit_code) == ("fail", 1)


def test_under_any_a_subject_of_which_no_counting_rule_speaks_does_not_stand_in_for_the_others(tmp_path: Path) -> None:
    made = Bench(tmp_path)
    made.subject("bad")
    made.subject("small", variant="int8")
    for name in ("bad", "small"):
        made.measure(name, value=0.1, low=0.05, high=0.15)
    low = rule(id="R-2", severity="low", at_least=0.01)
    found = ruled(made.facts, rule(where={"variant": "float32"}), low, subjects="any")
    assert found.verdict != "pass"


def test_findings_below_fail_on_are_shown_and_do_not_fail(bench: Bench) -> None:
    bench.measure("m", value=0.1, low=0.05, high=0.15)
    found = ruled(bench.facts, rule(severity="medium"))
    assert (only(found).state, only(found).counts, found.exit_code) == ("fail", False, 0)
    assert found.summary == (
        "No rule that counts failed (fail_on: high); 1 of 1 rule did not pass and was not counted: R-1 (m)."
    )
    assert ruled(bench.facts, rule(severity="medium"), fail_on="medium").exit_code == 1


def test_findings_come_failures_that_count_first_then_by_severity(bench: Bench) -> None:
    bench.measure("m", value=0.5, low=0.4, high=0.6)
    found = ruled(
        bench.facts,
        rule(id="pass", at_least=0.1, severity="critical"),
        rule(id="low", at_least=0.9, severity="low"),
        rule(id="open", at_least=0.5, severity="critical"),
        rule(id="high", at_least=0.9),
        rule(id="crit", at_least=0.9, severity="critical"),
    )
    assert [f.rule for f in found.findings] == ["crit", "high", "open", "low", "pass"]
    assert found.summary == "2 of 5 rules failed: crit (m), high (m); 1 of 5 rules could not be decided: open (m)."


def test_references_and_titles_come_from_the_catalogue_and_the_rule(bench: Bench) -> None:
    bench.measure("m")
    found = only(ruled(bench.facts, rule(supports=("EU-AIA 15(3)",))))
    assert found.title == "Robust accuracy"
    assert found.references == {"nist-ai-rmf": ("MEASURE 2.7",), "policy": ("EU-AIA 15(3)",)}


def test_a_fingerprint_knows_the_question_and_not_the_answer(bench: Bench) -> None:
    absent = only(ruled(bench.facts, rule(at={"epsilon": "1/10"})))
    bench.measure("m", value=0.2, low=0.1, high=0.3)
    first = only(ruled(bench.facts, rule(at={"epsilon": 0.1})))
    bench.measurements.clear()
    bench.measure("m", value=0.9, low=0.8, high=1.0)
    second = only(ruled(bench.facts, rule(id="renamed", at_least=0.3, severity="low"), day=DAY + timedelta(9)))
    assert absent.fingerprint == first.fingerprint == second.fingerprint
    other = only(ruled(bench.facts, rule(regression={"max_drop": 0.1})))
    assert other.fingerprint != first.fingerprint


def test_a_class_named_by_a_digit_keeps_its_name_in_the_finding(bench: Bench) -> None:
    bench.measure("m", "accuracy.class_accuracy", at={"class": "8"})
    found = only(ruled(bench.facts, rule(metric="accuracy.class_accuracy", at={"class": 8})))
    assert (found.state, found.at) == ("pass", {"class": "8"})


# Exit codes


def test_an_errored_result_anywhere_makes_a_passing_audit_inconclusive(bench: Bench) -> None:
    bench.measure("m")
    bench.result("backdoor.patch", "m", outcome="errored", reason="it raised")
    found = ruled(bench.facts)
    assert (only(found).state, found.verdict, found.exit_code) == ("pass", "inconclusive", 3)
    assert found.summary.endswith("1 part of the audit ended in an error.")


@pytest.mark.parametrize(("low", "verdict"), [(0.5, "inconclusive"), (0.1, "fail")])
def test_an_audit_that_did_not_complete_exits_4_before_anything_else(bench: Bench, low: float, verdict: str) -> None:
    bench.measure("m", value=low, low=low, high=low)
    bench.complete = False
    found = ruled(bench.facts)
    assert (found.verdict, found.exit_code) == (verdict, 4)


def test_a_failure_comes_before_what_is_undecided(tmp_path: Path) -> None:
    assert ruled(three(tmp_path).facts).exit_code == 1


def test_an_unknown_metric_is_refused_before_anything_is_judged(bench: Bench) -> None:
    with pytest.raises(UnknownNameError):
        ruled(bench.facts, rule(metric="evasion.l2.robust_accuracy"))


def test_findings_name_their_policy_and_the_facts_they_judge(bench: Bench) -> None:
    bench.measure("m")
    found = ruled(bench.facts)
    assert found.policy == {"id": "p", "sha256": "s" * 64, "confidence": 0.95, "fail_on": "high", "subjects": "all"}
    assert (found.facts_sha256, found.as_of) == ("f" * 64, DAY)
    assert found.summary == "The one rule passed."


# Confidence other than the stored one


def test_another_confidence_is_computed_again_from_the_outcomes_of_a_share(bench: Bench) -> None:
    outcomes = np.arange(100) < 60
    bench.columns("m", "evasion.linf", [f"r{i}" for i in range(100)], outcomes)
    bench.measure("m", value=0.6, low=0.497, high=0.697, column="outcome:0")
    found = only(ruled(bench.facts, confidence=0.99))
    exact = stats.binomtest(60, 100).proportion_ci(0.99, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_a_wider_interval_decides_at_a_smaller_confidence_and_not_the_reverse(bench: Bench) -> None:
    bench.measure("m", value=0.5, low=0.4, high=0.6)
    assert only(ruled(bench.facts, confidence=0.9)).state == "pass"
    found = only(ruled(bench.facts, confidence=0.99))
    assert (found.state, found.value) == ("inconclusive", 0.5)
    assert found.reason.startswith("the interval is stored at 0.95, the policy asks for 0.99, and m stores no outcomes")


def test_a_number_that_is_no_share_is_not_given_another_interval(bench: Bench) -> None:
    bench.columns("m", "accuracy", ["a", "b", "c"], np.array([0.5, 0.6, 0.7]))
    bench.measure("m", "accuracy.accuracy", 0.6, column="outcome:0")
    found = only(ruled(bench.facts, rule(metric="accuracy.accuracy"), confidence=0.99))
    assert found.state == "inconclusive"
    assert "only an interval of a share of yes and no can be found again" in found.reason


def test_a_group_at_another_confidence_is_wider_around_the_same_value(tmp_path: Path) -> None:
    made = with_columns(tmp_path, dict.fromkeys(range(3), 0.8))
    stored = only(ruled(made.facts))
    found = only(ruled(made.facts, confidence=0.99))
    assert found.value == pytest.approx(0.8)
    assert found.low < stored.low
    assert found.high > stored.high


def test_a_group_at_another_confidence_keeps_to_what_a_share_can_be(tmp_path: Path) -> None:
    # contributions to an AUROC are no yes and no, so that only the unit says where its interval must end
    made, values = grouped(tmp_path, 3), np.array([1.5, 1.4, 0.2, 0.8])
    for seed in range(3):
        name = f"mlp/sgd/{seed}"
        made.columns(name, "evasion.linf", ["a", "b", "c", "d"], values)
        made.measure(name, value=0.975, low=0.9, high=1.0, column="outcome:0")
    made.measure("mlp/sgd", value=0.975, low=0.9, high=1.0, seeds=3)
    found = only(ruled(made.facts, confidence=0.99))
    half = stats.t.ppf(0.995, 3) * values.std(ddof=1) / 2  # the seeds agree, so that only rows vary
    assert half > 0.975
    assert (found.low, found.value, found.high) == (0.0, pytest.approx(0.975), 1.0)


# Regression against a baseline


def with_columns(root: Path, shares: dict[int, float], n: int = 200) -> Bench:
    """A group whose seed i answers the first shares[i] * n rows rightly; its stored interval is +-0.02."""
    made = grouped(root, 0)
    for seed, share in shares.items():
        name = f"mlp/sgd/{seed}"
        made.subject(name, group="mlp/sgd", seed=seed, optimizer="sgd")
        made.columns(name, "evasion.linf", [f"r{i}" for i in range(n)], np.arange(n) < share * n)
        made.measure(name, value=share, low=share - 0.05, high=share + 0.05, column="outcome:0")
    mean = sum(shares.values()) / len(shares)
    made.measure("mlp/sgd", value=mean, low=mean - 0.02, high=mean + 0.02, seeds=len(shares))
    return made


def loaded(
    root: Path, outcomes: np.ndarray, metric: str = "evasion.linf.robust_accuracy", rows: list[str] | None = None
) -> Bench:
    made = Bench(root)
    made.subject("m")
    made.columns("m", metric.rpartition(".")[0], rows or [f"r{i}" for i in range(len(outcomes))], outcomes)
    asked = outcomes[~np.isnan(outcomes)]
    made.measure("m", metric, float(asked.mean()), column="outcome:0")
    return made


def observed(made: Bench) -> Observed:
    return Observed(made.root, made.record)


REGRESSION = rule(regression={"max_drop": 0.05})


def regression(new: Bench, old: Bench | None, **more) -> Finding:
    return only(ruled(new.facts, REGRESSION, baseline=observed(old) if old else None, **more))


def bonett_price(lost: int, gained: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of Bonett and Price (2012), from the paper's formula."""
    p, q = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    half = stats.norm.ppf(0.5 + confidence / 2) * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return p - q - half, p - q + half


@pytest.mark.parametrize(("lost", "state"), [(0, "pass"), (20, "inconclusive"), (80, "fail")])
def test_a_drop_is_judged_by_its_paired_interval(tmp_path: Path, lost: int, state: str) -> None:
    old = loaded(tmp_path / "old", np.ones(400))
    new = loaded(tmp_path / "new", (np.arange(400) >= lost).astype(float))
    found = regression(new, old)
    assert found.state == state
    assert found.value == pytest.approx(lost / 400)
    assert (found.low, found.high) == pytest.approx(bonett_price(lost, 0, 400), abs=1e-9)
    assert found.threshold == {"max_drop": 0.05}


def test_rows_are_joined_by_their_identity_and_not_by_their_place(tmp_path: Path) -> None:
    outcomes = (np.arange(400) % 2).astype(float)
    old = loaded(tmp_path / "old", outcomes)
    new = loaded(tmp_path / "new", outcomes[::-1], rows=[f"r{i}" for i in range(400)][::-1])
    assert regression(new, old).state == "pass"


def test_what_is_better_lower_regresses_by_rising(tmp_path: Path) -> None:
    metric = "backdoor.patch.attack_success"
    low, high = np.zeros(400), (np.arange(400) < 80).astype(float)
    bar = rule(metric=metric, regression={"max_drop": 0.05})
    old, new = loaded(tmp_path / "a", low, metric), loaded(tmp_path / "b", high, metric)
    risen = only(ruled(new.facts, bar, baseline=observed(old)))
    assert (risen.state, risen.value) == ("fail", pytest.approx(0.2))
    assert only(ruled(old.facts, bar, baseline=observed(new))).state == "pass"


def test_contributions_that_are_no_shares_are_compared_by_their_paired_t_interval(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    before, after = rng.normal(0.6, 0.1, 50), rng.normal(0.5, 0.1, 50)
    metric = "accuracy.accuracy"
    old, new = loaded(tmp_path / "a", before, metric), loaded(tmp_path / "b", after, metric)
    found = only(ruled(new.facts, rule(metric=metric, regression={"max_drop": 0.05}), baseline=observed(old)))
    expected = stats.ttest_rel(before, after).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_group_that_kept_its_answers_passes_and_one_that_lost_a_fifth_fails(tmp_path: Path) -> None:
    old = with_columns(tmp_path / "old", dict.fromkeys(range(5), 0.8))
    same = with_columns(tmp_path / "same", dict.fromkeys(range(5), 0.8))
    worse = with_columns(tmp_path / "worse", dict.fromkeys(range(5), 0.6))
    assert regression(same, old).state == "pass"
    found = regression(worse, old)
    assert (found.state, found.subject, found.value) == ("fail", "mlp/sgd", pytest.approx(0.2))


def test_a_group_is_compared_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    old = with_columns(tmp_path / "old", {0: 0.9, 1: 0.8, 2: 0.8})
    new = with_columns(tmp_path / "new", {1: 0.8, 2: 0.8, 3: 0.1})
    assert regression(new, old).value == pytest.approx(0.0)
    apart = regression(with_columns(tmp_path / "apart", {7: 0.8, 8: 0.8}), old)
    assert apart.state == "inconclusive"
    assert apart.reason.startswith("not comparable: ")


def test_without_a_baseline_a_regression_is_not_assessed(tmp_path: Path) -> None:
    new = loaded(tmp_path / "new", np.ones(100))
    assert regression(new, None).state == "not-assessed"
    other = Bench(tmp_path / "old")
    other.subject("another")
    found = regression(new, other)
    assert (found.state, found.reason) == ("not-assessed", "the baseline holds no m")


def test_a_baseline_whose_probe_errored_leaves_the_regression_not_assessed(tmp_path: Path) -> None:
    new, old = loaded(tmp_path / "new", np.ones(100)), loaded(tmp_path / "old", np.ones(100))
    old.result("evasion.linf", "m", outcome="errored", reason="it raised")
    assert regression(new, old).state == "not-assessed"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("data", "the baseline was measured on other data"),
        ("version", "evasion.linf is version 1, in the baseline 2"),
        ("parameters", "evasion.linf ran with other parameters: steps"),
        ("rows", "m and its baseline share 99 of their 100 and 100 rows"),
        ("asked", "m and its baseline were asked different rows"),
        ("samples", "no samples of evasion.linf on m are stored"),
        ("file", "no samples of evasion.linf on m are stored"),
        ("suspicious", "the baseline's result is suspicious"),
        ("invalid", "the baseline's result is invalid"),
    ],
)
def test_what_differs_in_more_than_the_model_is_not_comparable(tmp_path: Path, change: str, reason: str) -> None:
    new, old = loaded(tmp_path / "new", np.ones(100)), loaded(tmp_path / "old", np.ones(100))
    kept = {"samples": old.results["evasion.linf", "m"].samples}
    if change == "data":
        old.data = "other"
    elif change == "rows":
        old = loaded(tmp_path / "old", np.ones(100), rows=[f"r{i}" for i in range(1, 101)])
    elif change == "asked":
        old = loaded(tmp_path / "old", np.where(np.arange(100) < 3, np.nan, 1.0))
    elif change == "file":
        (old.root / old.results["evasion.linf", "m"].samples).unlink()
    else:
        more = {
            "version": {"version": 2},
            "parameters": {"parameters": {"steps": 9}},
            "samples": {"samples": None},
            "suspicious": {"reliability": "suspicious"},
            "invalid": {"reliability": "invalid"},
        }[change]
        old.result("evasion.linf", "m", **{**kept, **more})
    found = regression(new, old)
    assert found.state == "inconclusive"
    assert found.reason.startswith("not comparable: ")
    assert reason in found.reason
    assert found.value is None


def test_a_suspicious_result_does_not_pass_a_regression(tmp_path: Path) -> None:
    new, old = loaded(tmp_path / "new", np.ones(400)), loaded(tmp_path / "old", np.ones(400))
    new.result("evasion.linf", "m", samples=new.results["evasion.linf", "m"].samples, reliability="suspicious")
    assert regression(new, old).state == "inconclusive"


# Waivers


def waiver(**more) -> Waivers:
    one = Waiver(
        **{
            "id": "W-1",
            "rule": "R-1",
            "reason": "accepted-risk",
            "statement": "Known, watched, and mended next month.",
            "owner": "ann",
            "approved_by": "bob",
            "created": DAY - timedelta(30),
            "expires": DAY + timedelta(60),
            "while": {"at_least": 0.15},
            **more,
        }
    )
    return Waivers(schema="auditor/waivers/1", waivers=(one,))


@pytest.fixture
def failing(bench: Bench) -> Bench:
    bench.measure("m", value=0.2, low=0.1, high=0.3)
    return bench


def test_a_waived_finding_keeps_its_numbers_and_does_not_fail(failing: Bench) -> None:
    found = ruled(failing.facts, waivers=waiver())
    one = only(found)
    assert (one.state, one.waiver, one.value, one.low, one.high) == ("waived", "W-1", 0.2, 0.1, 0.3)
    assert "Without the waiver: fail" in one.reason
    assert (found.verdict, found.exit_code, found.notes) == ("pass", 0, ())
    assert found.summary == "The one rule passed, 1 by a waiver."


@pytest.mark.parametrize(("days", "state"), [(0, "waived"), (-1, "fail")])
def test_a_waiver_holds_through_its_last_day_and_the_finding_is_back_after_it(
    failing: Bench, days: int, state: str
) -> None:
    found = ruled(failing.facts, waivers=waiver(expires=DAY + timedelta(days)))
    assert only(found).state == state
    assert len(found.notes) == 1
    assert ("expired on 2026-11-21: R-1 on m is back" in found.notes[0]) == (state == "fail")


@pytest.mark.parametrize(("days", "notes"), [(14, ("waiver W-1 expires on 2026-12-06, in 14 days",)), (15, ())])
def test_a_fortnight_before_its_end_a_waiver_is_noted(failing: Bench, days: int, notes: tuple[str, ...]) -> None:
    assert ruled(failing.facts, waivers=waiver(expires=DAY + timedelta(days))).notes == notes


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({"at": {"epsilon": "1/10"}}, "waived"),
        ({"at": {"epsilon": 0.2}}, "fail"),
        ({"where": {"group": "m*"}}, "waived"),
        ({"where": {"group": "n*"}}, "fail"),
        ({"rule": "R-2"}, "fail"),
    ],
)
def test_a_waiver_that_matches_nothing_is_noted_as_unused(failing: Bench, more: dict, state: str) -> None:
    found = ruled(failing.facts, waivers=waiver(**more))
    assert only(found).state == state
    assert any("unused" in note for note in found.notes) == (state == "fail")


def test_a_waiver_of_what_passes_is_unused(bench: Bench) -> None:
    bench.measure("m")
    found = ruled(bench.facts, waivers=waiver())
    assert (only(found).state, "unused" in found.notes[0]) == ("pass", True)


@pytest.mark.parametrize(
    ("bound", "state"), [({"at_least": 0.2}, "waived"), ({"at_least": 0.2001}, "fail"), ({"at_most": 0.1999}, "fail")]
)
def test_a_waiver_ends_where_the_measured_value_leaves_its_bound(failing: Bench, bound: dict, state: str) -> None:
    found = ruled(failing.facts, waivers=waiver(**{"while": bound}))
    assert only(found).state == state
    assert bool(found.notes) == (state == "fail")


@pytest.mark.parametrize(("severity", "state"), [("medium", "waived"), ("high", "fail"), ("critical", "fail")])
def test_from_high_severity_on_nobody_approves_their_own_waiver(failing: Bench, severity: str, state: str) -> None:
    found = ruled(failing.facts, rule(severity=severity), waivers=waiver(owner="Ann ", approved_by="ann"))
    assert only(found).state == state


def test_a_waiver_does_not_hold_before_its_first_day(failing: Bench) -> None:
    assert only(ruled(failing.facts, waivers=waiver(created=DAY + timedelta(1)))).state == "fail"


def test_what_was_never_measured_cannot_be_waived(bench: Bench) -> None:
    found = ruled(bench.facts, waivers=waiver())
    assert only(found).state == "not-assessed"
    assert "there is none" in found.notes[0]


def test_an_invalid_result_cannot_be_waived(failing: Bench) -> None:
    failing.result("evasion.linf", "m", reliability="invalid")
    assert only(ruled(failing.facts, waivers=waiver())).state == "inconclusive"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"created": DAY, "expires": DAY + timedelta(181)}, "runs 181 days, at most 180"),
        ({"while": {}}, "has no bound"),
        ({"created": DAY, "expires": DAY - timedelta(1)}, "before it was created"),
    ],
)
def test_a_waiver_without_limits_is_refused(failing: Bench, more: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ruled(failing.facts, waivers=waiver(**more))


def test_a_waiver_of_exactly_180_days_is_accepted(failing: Bench) -> None:
    assert only(ruled(failing.facts, waivers=waiver(created=DAY, expires=DAY + timedelta(180)))).state == "waived"


# Contrasts, and what the gate needs


def test_contrasts_are_judged_with_their_own_margin_or_the_one_given(bench: Bench) -> None:
    bench.measure("m")
    common = {
        "metric": "accuracy.accuracy",
        "a": "mlp/sgd",
        "b": "mlp/adamw",
        "difference": 0.005,
        "low": -0.005,
        "high": 0.015,
        "pairs": 5,
        "p_value": 0.3,
        "adjusted_p": 0.3,
        "minimum_detectable": 0.01,
        "better": "higher",
    }
    bench.contrasts += [Contrast(**common), Contrast(**common, delta=0.01)]
    assert [c.verdict for c in ruled(bench.facts).contrasts] == ["equivalent", "inconclusive"]


def test_judging_imports_neither_torch_nor_scipy_nor_any_probe() -> None:
    code = (
        "import sys; import auditor.judgement, auditor.frameworks as f; f.load('nist-ai-rmf');"
        "heavy = {'torch', 'scipy', 'sklearn', 'art', 'matplotlib'};"
        "bad = [m for m in sys.modules if m.split('.')[0] in heavy"
        " or m.startswith(('auditor.attacks', 'auditor.checks.', 'auditor.reports'))];"
        "sys.exit(', '.join(bad) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
