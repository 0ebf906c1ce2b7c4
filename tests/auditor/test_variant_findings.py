"""What the judgement says of a variant: worse is worse at any accuracy, better is not, a waking backdoor is named."""

from dataclasses import dataclass

import pytest

from auditor.contrast_findings import contrast_finding
from auditor.evidence import Evidence
from auditor.policy import ContrastFinding
from auditor.record import AuditRecord, Contrast, DatasetRecord, Record, SubjectRecord

ATTACK = "backdoor.patch.attack_success"


@dataclass(frozen=True)
class Seen:
    """A record without samples, where an observed bundle is asked for."""

    record: Record


def contrast(metric: str, difference: float, *, equal: bool, better: str = "lower") -> Contrast:
    return Contrast(
        metric=metric, a="net/sgd", b="net/sgd@int4", difference=difference, low=difference - 0.03,
        high=difference + 0.03, pairs=5, p_value=0.001, adjusted_p=0.001, better=better, accuracy_equivalent=equal,
    )  # fmt: skip


def judged(one: Contrast) -> ContrastFinding:
    subjects = tuple(
        SubjectRecord(id=f"net/sgd/{seed}{end}", group=f"net/sgd{end}", config="net", seed=seed, variant=v, access=())
        for end, v in (("", "float32"), ("@int4", "int4"))
        for seed in range(5)
    )
    record = Record(
        audit=AuditRecord(name="a", seed=0, profile="p", plan_sha256="0", complete=True),
        dataset=DatasetRecord(id="d", sha256="0", rows={}, shape=(1,), classes=("a", "b"), range=(0, 1), licence="MIT"),
        subjects=subjects,
        results=(),
        measurements=(),
        contrasts=(one, contrast("accuracy.accuracy", -0.07, equal=False, better="higher")),
    )
    return contrast_finding(one, Evidence(Seen(record)), 0.02, 0.05)  # type: ignore[arg-type]  # all that is read


@pytest.mark.parametrize("equal", [True, False])
def test_a_backdoor_that_wakes_in_a_variant_is_named(equal: bool) -> None:
    found = judged(contrast(ATTACK, 0.4, equal=equal))
    assert found.verdict == "regressed"
    assert "the backdoor is stronger in int4 than in the model as it was trained" in found.reason
    assert ("the accuracies differ by -0.07" in found.reason) is not equal


def test_less_robust_is_worse_whatever_the_accuracy() -> None:
    found = judged(contrast("evasion.linf.robust_accuracy", -0.2, equal=False, better="higher"))
    assert found.verdict == "regressed"
    assert "backdoor" not in found.reason


def test_a_variant_is_no_better_for_being_useless() -> None:
    found = judged(contrast(ATTACK, -0.4, equal=False))
    assert found.verdict == "inconclusive"
    assert "not called better where equal accuracy is not shown" in found.reason
    assert judged(contrast(ATTACK, -0.4, equal=True)).verdict == "improved"
