"""Groups and contrasts from members: joined by row, paired by seed, and honest about what cannot be said."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from auditor.contrast import (
    Member,
    NotComparableError,
    contrast,
    difference,
    finish,
    group_measurement,
    shown_equivalent,
    table,
    verdict,
)
from auditor.crossed import crossed_difference, crossed_mean, value_mean
from auditor.errors import AuditorError
from auditor.record import Better, Contrast, Measurement

METRIC = "evasion.linf.robust_accuracy"


def member(group: str, seed: int, values: Sequence[float], rows: Sequence[str] | None = None) -> Member:
    names = [f"r{i}" for i in range(len(values))] if rows is None else list(rows)
    return Member(f"{group}/{seed}", group, seed, np.array(names, np.str_), np.array(values, np.float64))


def measured(value: float, low: float | None = None, high: float | None = None, n: int = 100) -> Measurement:
    return Measurement(
        of="net/sgd/0",
        probe="evasion.linf",
        metric="robust_accuracy",
        at={"epsilon": 0.1},
        value=value,
        low=low,
        high=high,
        n=n,
        better="higher",
        kind="upper-bound",
        column="robust:0",
    )


def stated(group: str, seed: int, value: float, half: float | None) -> Member:
    number = measured(value, None if half is None else value - half, None if half is None else value + half)
    return Member(f"{group}/{seed}", group, seed, np.array([], np.str_), np.array([]), number)


def outcomes(share: float, seeds: int = 5, rows: int = 300, stream: int = 0) -> np.ndarray:
    return (np.random.default_rng(stream).random((seeds, rows)) < share).astype(float)


def group(name: str, answers: np.ndarray) -> list[Member]:
    return [member(name, seed, row.tolist()) for seed, row in enumerate(answers)]


def compare(a: Sequence[Member], b: Sequence[Member], metric: str = METRIC, better: Better = "higher") -> Contrast:
    return contrast(metric, {"epsilon": 0.1}, a, b, alpha=0.05, delta=0.02, better=better, confidence=0.95)


def judged(found: Contrast, *, equal: bool | None = True) -> tuple[str, str]:
    (one,) = finish([found], {} if equal is None else {(found.a, found.b): equal})
    said = verdict(one, 0.02, 0.05)
    return said.verdict, said.reason


def test_a_table_joins_by_row_id_and_orders_by_seed() -> None:
    found = table([member("g", 1, [1.0, 2.0, 3.0], "bca"), member("g", 0, [4.0, 5.0, math.nan], "abc")])
    np.testing.assert_array_equal(found, [[4.0, 5.0, math.nan], [3.0, 1.0, 2.0]])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "no members"),
        ([member("g", 0, [1, 0], "ab"), member("g", 1, [1, 0], "ac")], "share 1 of their 2 and 2 rows"),
        ([member("g", 0, [1, 0], "ab"), member("g", 0, [1, 0], "ab")], "same seed 0"),
        ([member("g", 0, [1, 0], "aa")], "a row more than once"),
        ([member("g", 0, [math.nan, math.nan], "ab")], "no row was asked"),
        ([member("g", 0, [1.0], "a")], "one row"),
    ],
)
def test_members_that_cannot_be_joined_are_not_comparable(members: list[Member], message: str) -> None:
    with pytest.raises(NotComparableError, match=message) as caught:
        table(members)
    assert str(caught.value).startswith("not comparable")
    assert isinstance(caught.value, AuditorError)


def test_a_groups_measurement_is_the_crossed_mean_of_its_members() -> None:
    answers = outcomes(0.4)
    found = group_measurement(measured(0.4), group("net/sgd", answers), 0.95)
    expected = crossed_mean(answers, 0.95, (0.0, 1.0))
    assert (found.value, found.low, found.high) == (pytest.approx(answers.mean()), expected.low, expected.high)
    assert (found.of, found.kind, found.seeds, found.n, found.column) == ("net/sgd", "estimate", 5, 1500, None)
    assert (found.at, found.better, found.metric) == ({"epsilon": 0.1}, "higher", "robust_accuracy")


def test_a_group_that_succeeds_everywhere_is_not_certain_to() -> None:
    found = group_measurement(measured(1.0), group("g", np.ones((5, 200))), 0.95)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low is not None
    assert 0.97 < found.low < 0.99


def test_contributions_that_are_no_shares_have_no_bounds() -> None:
    answers = np.random.default_rng(0).normal(0.98, 0.3, (4, 80))
    found = group_measurement(measured(0.9), group("g", answers), 0.9, "number")
    expected = crossed_mean(answers, 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.confidence == 0.9
    assert expected.high > 1.0
    assert group_measurement(measured(0.9), group("g", answers), 0.9, "share").high == 1.0


def test_a_difference_that_happens_never_to_be_negative_is_no_share() -> None:
    lost = np.zeros((2, 40))
    lost[0, 0] = 1.0
    found = group_measurement(measured(0.0125), group("g", lost), 0.95, "difference")
    expected = crossed_mean(lost, 0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_rows_not_asked_are_not_counted() -> None:
    answers = outcomes(0.5, seeds=2, rows=50)
    answers[0, :10] = math.nan
    found = group_measurement(measured(0.5), group("g", answers), 0.95)
    assert found.n == 90
    assert found.value == pytest.approx((np.nanmean(answers[0]) + answers[1].mean()) / 2)


def test_seeds_that_were_asked_rows_of_their_own_are_combined_by_their_intervals() -> None:
    answers = outcomes(0.5, seeds=3, rows=100)
    members = [member("g", s, a.tolist(), [f"{s}-{i}" for i in range(100)]) for s, a in enumerate(answers)]
    found = group_measurement(measured(0.5), members, 0.95)
    each = [crossed_mean(a[None], 0.95, (0.0, 1.0)) for a in answers]
    halves = [max(e.value - e.low, e.high - e.value) for e in each]
    expected = value_mean([e.value for e in each], halves, 0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.n == 300


def test_members_without_contributions_are_combined_by_their_stated_intervals() -> None:
    members = [stated("g", s, v, 0.02) for s, v in enumerate((0.50, 0.54, 0.49))]
    found = group_measurement(measured(0.5), members, 0.95)
    expected = value_mean([0.50, 0.54, 0.49], [0.02] * 3, 0.95)
    assert (found.value, found.low, found.high) == pytest.approx((0.51, expected.low, expected.high))
    assert (found.seeds, found.n) == (3, 300)
    wider = group_measurement(measured(0.5), members, 0.99)
    assert wider.low is not None
    assert found.low is not None
    assert wider.low < found.low


def test_one_number_without_an_interval_stays_without() -> None:
    found = group_measurement(measured(0.5), [stated("g", 0, 0.7, None)], 0.95)
    assert (found.value, found.low, found.high, found.seeds) == (0.7, None, None, 1)


def test_a_member_with_neither_rows_nor_measurement_is_not_comparable() -> None:
    with pytest.raises(NotComparableError, match="neither rows nor a measurement"):
        group_measurement(measured(0.5), [member("g", 0, []), member("g", 1, [])], 0.95)


def test_a_contrast_is_the_crossed_difference_of_the_seeds_that_both_have() -> None:
    a, b = outcomes(0.55, stream=1), outcomes(0.32, seeds=4, stream=2)
    found = compare(group("net/sgd", a), group("net/adamw", b)[::-1])
    expected = crossed_difference(a[:4], b, 0.95, (0.0, 1.0))
    assert (found.difference, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert (found.a, found.b, found.pairs, found.delta) == ("net/sgd", "net/adamw", 4, 0.02)
    assert found.p_value == pytest.approx(expected.p_value)
    assert found.minimum_detectable is not None
    assert 0.0 < found.minimum_detectable < 0.2


def test_pairs_on_rows_of_their_own_are_compared_pair_by_pair() -> None:
    a, b = outcomes(0.5, seeds=3, stream=1), outcomes(0.4, seeds=3, stream=2)
    names = [[f"{s}-{i}" for i in range(300)] for s in range(3)]
    ours = [member("a", s, a[s].tolist(), names[s]) for s in range(3)]
    theirs = [member("b", s, b[s].tolist(), names[s]) for s in range(3)]
    found = difference(ours, theirs, 0.95)
    assert found.value == pytest.approx(b.mean() - a.mean())
    assert found.low < found.value < found.high
    with pytest.raises(NotComparableError, match="share 0 of their"):
        difference(ours, [theirs[1], theirs[2], member("b", 0, b[0].tolist())], 0.95)


def test_groups_without_a_common_seed_are_not_comparable() -> None:
    with pytest.raises(NotComparableError, match="no seed in common"):
        compare([member("a", 0, [1, 0])], [member("b", 1, [1, 0])])


def test_numbers_without_contributions_are_compared_by_their_intervals() -> None:
    a = [stated("a", s, v, 0.01) for s, v in enumerate((0.50, 0.54, 0.49))]
    b = [stated("b", s, v, 0.02) for s, v in enumerate((0.60, 0.66, 0.60))]
    found = compare(a, b)
    expected = value_mean([0.10, 0.12, 0.11], [math.hypot(0.01, 0.02)] * 3, 0.95)
    assert (found.difference, found.low, found.high) == pytest.approx((0.11, expected.low, expected.high))
    with pytest.raises(NotComparableError, match="no interval of either"):
        compare([stated("a", 0, 0.5, None)], [stated("b", 0, 0.6, None)])


def test_holm_runs_within_one_metric_and_place() -> None:
    def one(b: str, p: float | None, metric: str = METRIC, epsilon: float = 0.1) -> Contrast:
        return Contrast(
            metric=metric,
            at={"epsilon": epsilon},
            a="x/sgd",
            b=b,
            difference=0.1,
            low=0.05,
            high=0.15,
            pairs=5,
            p_value=p,
        )

    found = finish(
        [
            one("x/b", 0.01),
            one("x/c", 0.04),
            one("x/d", None),
            one("x/b", 0.03, "m.other"),
            one("x/b", 0.02, METRIC, 0.2),
        ],
        {("x/sgd", "x/b"): True, ("x/sgd", "x/c"): False},
    )
    assert [c.adjusted_p for c in found] == [0.02, 0.04, None, 0.03, 0.02]
    assert [c.accuracy_equivalent for c in found] == [True, False, None, True, True]


def test_a_clear_drop_regresses_what_should_be_high_and_improves_what_should_be_low() -> None:
    a, b = group("sgd", outcomes(0.55, stream=1)), group("adamw", outcomes(0.32, stream=2))
    word, reason = judged(compare(a, b))
    assert word == "regressed"
    assert "adjusted p" in reason
    assert judged(compare(a, b, better="lower"))[0] == "improved"
    assert judged(compare(b, a))[0] == "improved"
    word, reason = judged(compare(a, b, better="neither"))
    assert (word, "no better direction" in reason) == ("inconclusive", True)


def test_the_same_answers_are_equivalent() -> None:
    answers = outcomes(0.9, rows=1000)
    assert judged(compare(group("a", answers), group("b", answers)))[0] == "equivalent"


def test_too_few_rows_are_inconclusive_and_say_what_they_could_have_found() -> None:
    found = compare(group("a", outcomes(0.50, rows=60, stream=1)), group("b", outcomes(0.50, rows=60, stream=2)))
    word, reason = judged(found)
    assert word == "inconclusive"
    assert f"5 pairs find one of {found.minimum_detectable:.2g}" in reason


def test_a_single_pair_of_seeds_says_nothing_of_the_groups() -> None:
    found = compare(group("a", outcomes(0.9, seeds=1)), group("b", outcomes(0.1, seeds=1)))
    assert (found.pairs, found.p_value, found.minimum_detectable) == (1, None, None)
    word, reason = judged(found)
    assert (word, "single pair" in reason) == ("inconclusive", True)


@pytest.mark.parametrize(("equal", "words"), [(False, "not shown to be equal"), (None, "were not compared")])
def test_without_equal_accuracy_only_accuracy_itself_is_judged(equal: bool | None, words: str) -> None:
    a, b = group("a", outcomes(0.55, stream=1)), group("b", outcomes(0.32, stream=2))
    word, reason = judged(compare(a, b), equal=equal)
    assert word == "inconclusive"
    assert words in reason
    assert judged(compare(a, b, metric="accuracy.accuracy"), equal=equal)[0] == "regressed"


def test_equal_groups_are_shown_equivalent_and_unequal_ones_are_not() -> None:
    a = outcomes(0.95, rows=1000, stream=1)
    b = a.copy()
    b[:, ::500] = 1 - b[:, ::500]
    worse = outcomes(0.85, rows=1000, stream=2)
    assert shown_equivalent(group("a", a), group("b", b), delta=0.02, alpha=0.05) is True
    assert shown_equivalent(group("a", a), group("w", worse), delta=0.02, alpha=0.05) is False
    assert shown_equivalent(group("a", a[:1]), group("b", b[:1]), delta=0.02, alpha=0.05) is None


def test_groups_that_do_not_differ_are_seldom_called_different() -> None:
    rng = np.random.default_rng(7)
    called = 0
    for _ in range(200):
        rows = rng.normal(size=(1, 100))
        a, b = ((rows + rng.normal(size=(5, 100)) > 0).astype(float) for _ in range(2))
        called += judged(compare(group("a", a), group("b", b)))[0] in ("improved", "regressed")
    assert called <= 18  # 95 % of audits with a true rate of 5 % stay at or below 15 of 200; 99 % at or below 18
