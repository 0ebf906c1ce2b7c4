"""What explains a gap: shares of known size come out, their intervals hold, and what cannot be said is not."""

import math

import numpy as np
import pytest

from auditor.crossed import crossed_ratio
from auditor.explained import doubted, explained, gaps, shares
from auditor.groups import Member, NotComparableError
from auditor.record import AuditRecord, DatasetRecord, Explained, Measurement, Record, Result, SubjectRecord, Training

STATED = Measurement(of="m", probe="p", metric="m", at={"epsilon": 0.1}, value=0, n=200, better="higher", kind="exact")
ROWS = np.array([f"row{i}" for i in range(200)])


def group(name, means, *, seeds=5, rng=None, spread=0.02):
    rng = rng or np.random.default_rng(0)
    return [
        Member(f"{name}/{s}", name, s, ROWS, means + spread * (rng.normal(size=len(ROWS)) + rng.normal()), STATED)
        for s in range(seeds)
    ]


def test_a_share_of_a_known_size_comes_out_with_an_interval_around_it():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=200)
    of, without, other = (group(n, rows + d, rng=rng) for n, d in (("m/a", 1.0), ("m/a~x", 0.7), ("m/b", 0.0)))
    found = explained("p.m", {"epsilon": 0.1}, of, without, other, 0.95)
    assert found is not None
    assert (found.of, found.ablation, found.other, found.pairs) == ("m/a", "m/a~x", "m/b", 5)
    assert found.share == pytest.approx(0.3, abs=0.05)
    assert found.low < 0.3 < found.high


def test_the_same_tables_give_exactly_all_or_nothing():
    a, b = np.full((4, 50), 0.75), np.full((4, 50), 0.25)
    noise = np.random.default_rng(0).normal(0, 0.05, (4, 50))
    assert crossed_ratio(a + noise, a + noise, b).value == 0
    assert crossed_ratio(a + noise, b, b).value == 1


def test_fiellers_interval_is_that_of_its_quadratic_equation():
    """With seeds alone varying (one value a seed, repeated over rows) the interval has the closed form of 1954."""
    rng = np.random.default_rng(2)
    part, whole = 0.4 + 0.1 * rng.normal(size=6), 1 + 0.1 * rng.normal(size=6)
    spread = lambda v: np.repeat(v[:, None], 40, axis=1)  # noqa: E731
    found = crossed_ratio(spread(whole), spread(whole - part), np.zeros((6, 40)))
    t = 2.570581835636314  # of 5 degrees of freedom at 97.5 %
    g = t * t / 6
    a, b = whole.mean() ** 2 - g * whole.var(ddof=1), part.mean() * whole.mean() - g * np.cov(part, whole)[0, 1]
    c = part.mean() ** 2 - g * part.var(ddof=1)
    root = math.sqrt(b * b - a * c)
    assert found.low == pytest.approx((b - root) / a, abs=1e-5)
    assert found.high == pytest.approx((b + root) / a, abs=1e-5)


def test_the_interval_holds_as_often_as_it_says():
    rng, held, tried = np.random.default_rng(3), 0, 0
    for _ in range(300):
        rows, tables = rng.normal(0, 0.3, 100), []
        for mean in (1.0, 0.6, 0.0):
            pulls = rows + rng.normal(0, 0.3, 100)  # rows answer to each arm in their own way
            tables.append(mean + pulls + rng.normal(0, 0.1, (5, 1)) + rng.normal(0, 0.3, (5, 100)))
        if (found := crossed_ratio(*tables)) is not None:
            tried, held = tried + 1, held + (found.low <= 0.4 <= found.high)
    assert tried > 250
    assert held / tried >= 0.93


def test_nothing_is_said_of_a_gap_that_is_not_shown():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=200)
    of, without, other = (
        group(n, rows + d, rng=rng, spread=0.3) for n, d in (("m/a", 0.0), ("m/a~x", 0.3), ("m/b", 0.0))
    )
    assert explained("p.m", {}, of, without, other, 0.95) is None


def test_one_seed_and_numbers_without_rows_give_no_share():
    of, without, other = (group(n, np.full(200, d), seeds=1) for n, d in (("m/a", 1.0), ("m/a~x", 0.5), ("m/b", 0.0)))
    with pytest.raises(NotComparableError):
        explained("p.m", {}, of, without, other, 0.95)


def test_gaps_are_those_of_the_arm_that_was_ablated_with_whatever_it_is_compared_to():
    pairs = [("m/a", "m/b"), ("m/a", "m/c"), ("m/a", "m/a~x"), ("m/b", "m/b~x"), ("m/b", "m/b@int8")]
    assert gaps(pairs) == {"m/a~x": ["m/b", "m/c"], "m/b~x": ["m/a"]}


def test_a_group_that_was_not_measured_leaves_the_others_alone():
    rng = np.random.default_rng(5)
    made = {n: group(n, np.full(200, d), rng=rng) for n, d in (("m/a", 1.0), ("m/b", 0.0), ("m/b~x", 0.5))}
    pairs = [("m/a", "m/b"), ("m/a", "m/a~x"), ("m/b", "m/b~x")]
    found = list(shares("p.m", made.get, pairs, 0.95))
    assert [(e.of, e.ablation, e.other) for e in found] == [("m/b", "m/b~x", "m/a")]
    assert (found[0].metric, found[0].at) == ("p.m", {"epsilon": 0.1})
    assert found[0].share == pytest.approx(0.5, abs=0.05)


def test_a_share_that_rests_on_a_doubtful_result_or_a_narrow_search_says_so():
    def record(*, limited=False, reliability="reliable"):
        def subject(group):
            trials = [{"learning_rate": rate, "loss": 1 - rate, "diverged_at": None} for rate in (0.1, 0.3)]
            tuning = {"trials": trials, "edge_limited": limited and group == "m/b", "seeds": 1}
            made = Training(learning_rate=0.3, epochs=1, steps=1, flops=1, tuning=tuning)
            return SubjectRecord(id=f"{group}/0", group=group, config="m", seed=0, access=(), training=made)

        result = Result(probe="p", version=1, subject="m/a~x/0", outcome="completed", reliability=reliability)
        return Record(
            audit=AuditRecord(name="a", seed=0, profile="p", plan_sha256="0", complete=True),
            dataset=DatasetRecord(id="d", sha256="0", rows={}, shape=(1,), classes=("a",), range=(0, 1), licence="MIT"),
            subjects=tuple(map(subject, ("m/a", "m/a~x", "m/b"))),
            results=(result,),
            measurements=(),
        )

    one = Explained(metric="p.m", of="m/a", ablation="m/a~x", other="m/b", share=0.5, low=0.4, high=0.6, pairs=5)
    assert doubted(one, record()).doubt is None
    assert doubted(one, record(limited=True)).doubt.startswith("the search of m/b ended at the greatest rate it tried")
    assert doubted(one, record(reliability="invalid")).doubt == "the p result of m/a~x/0 is invalid"
