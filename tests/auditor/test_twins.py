"""One model beside its variant: what is compared, by which test, and what may be said of it."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from auditor.config import SubjectConfig, TrainConfig
from auditor.contrast import finish, verdict
from auditor.groups import Member, NotComparableError
from auditor.pairs import pairs
from auditor.plan import PlannedSubject
from auditor.record import Contrast
from auditor.twins import gap, twin_contrast, twins_equivalent


def member(name: str, values: np.ndarray, rows: list[str] | None = None) -> Member:
    names = rows or [f"r{i:04d}" for i in range(len(values))]
    return Member(name, name, 0, np.array(names, np.str_), np.asarray(values, np.float64))


def compared(before: np.ndarray, after: np.ndarray, *, metric: str = "accuracy.accuracy") -> Contrast:
    made = twin_contrast(
        metric, {}, member("net", before), member("net@int8", after), delta=0.02, better="higher", confidence=0.95
    )
    (done,) = finish([made], {("net", "net@int8"): None})
    return done


def answers(both: int, lost: int, gained: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    before = np.repeat([1.0, 1.0, 0.0, 0.0], [both, lost, gained, neither])
    after = np.repeat([1.0, 0.0, 1.0, 0.0], [both, lost, gained, neither])
    return before, after


def test_shares_are_compared_by_mcnemars_exact_test() -> None:
    before, after = answers(both=500, lost=30, gained=10, neither=60)
    found = gap(before, after, 0.95)
    assert found.value == pytest.approx(-20 / 600)
    assert found.p_value == pytest.approx(stats.binomtest(10, 40).pvalue, rel=1e-9)
    assert found.low < found.value < found.high < 0


def test_other_contributions_are_compared_by_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(0.5, 1, 200)
    after = before + rng.normal(0.1, 0.3, 200)
    found, wanted = gap(before, after, 0.95), stats.ttest_rel(after, before)
    assert found.p_value == pytest.approx(wanted.pvalue, rel=1e-6)
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval(0.95)), rel=1e-6)


def test_equal_contributions_have_no_p_value_below_one() -> None:
    same = np.linspace(0.2, 0.7, 50)
    found = gap(same, same.copy(), 0.95)
    assert (found.value, found.p_value) == (0.0, 1.0)
    assert found.low < 0 < found.high


@pytest.mark.parametrize(
    ("counts", "said"),
    [((900, 60, 5, 35), "regressed"), ((900, 5, 60, 35), "improved"), ((960, 1, 1, 38), "equivalent")],
)
def test_a_verdict_is_said_of_one_model_and_its_variant(counts: tuple[int, int, int, int], said: str) -> None:
    found = verdict(compared(*answers(*counts)), 0.02, 0.05)
    assert found.verdict == said
    assert "of these two models alone, over their rows" in found.reason


def test_few_rows_say_nothing() -> None:
    assert verdict(compared(*answers(15, 3, 1, 1)), 0.02, 0.05).verdict == "inconclusive"


def test_equal_accuracy_is_shown_over_rows() -> None:
    before, after = answers(2000, 3, 3, 20)
    assert twins_equivalent(member("net", before), member("net@int8", after), delta=0.02, alpha=0.05)
    before, after = answers(20, 3, 3, 2)
    assert not twins_equivalent(member("net", before), member("net@int8", after), delta=0.02, alpha=0.05)


def test_rows_are_joined_by_what_they_are() -> None:
    before, after = member("net", np.array([1.0, 0.0, 1.0]), ["a", "b", "c"]), np.array([1.0, 1.0, 0.0])
    found = twin_contrast(
        "m.n", {}, before, member("net@int8", after, ["c", "a", "b"]), delta=0.1, better="higher", confidence=0.95
    )
    assert (found.difference, found.pairs, found.p_value) == (0.0, 1, 1.0)


def test_rows_not_asked_are_left_out_and_must_be_the_same() -> None:
    before = np.array([np.nan, 1.0, 1.0, 0.0])
    assert compared(before, np.array([np.nan, 0.0, 1.0, 0.0])).difference == pytest.approx(-1 / 3)
    with pytest.raises(NotComparableError, match="different rows"):
        compared(before, np.array([0.0, np.nan, 1.0, 0.0]))


def test_without_outcomes_by_row_nothing_is_compared() -> None:
    with pytest.raises(NotComparableError, match="no outcomes per row"):
        compared(np.array([]), np.array([]))


@dataclass(frozen=True)
class Made:
    """A planned subject in few words."""

    group: str
    seed: int | None
    variant: str = "float32"

    def subject(self) -> PlannedSubject:
        name = self.group if self.seed is None else f"{self.group}/{self.seed}"
        config = SubjectConfig(id=self.group.partition("/")[0].partition("@")[0], train=TrainConfig())
        return PlannedSubject(name, self.group, config, None, self.seed, None, "unit", self.variant)


def test_a_variant_is_compared_with_its_original_and_with_nothing_else() -> None:
    made = [
        Made("net/sgd", 0),
        Made("net/sgd@int8", 0, "int8"),
        Made("net/adamw", 0),
        Made("net/adamw@int8", 0, "int8"),
        Made("single", None),
        Made("single@pruned-50", None, "pruned-50"),
    ]
    assert pairs([m.subject() for m in made], None) == [
        ("net/sgd", "net/adamw"),
        ("net/sgd", "net/sgd@int8"),
        ("net/adamw", "net/adamw@int8"),
        ("single", "single@pruned-50"),
    ]


def test_a_reference_is_for_groups_and_not_for_variants() -> None:
    made = [Made("net/sgd", 0), Made("net/adamw", 0), Made("net/sgd@int8", 0, "int8")]
    assert pairs([m.subject() for m in made], "net/adamw") == [("net/adamw", "net/sgd"), ("net/sgd", "net/sgd@int8")]
