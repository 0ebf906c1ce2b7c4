"""Groups that are not equally accurate: pairs that match, a regression that carries no verdict, and who decides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from auditor.auditing import Options, run
from auditor.config import load_audit
from auditor.contrast import Member, adjusted, contrast, finish, matching, verdict
from auditor.crossed import crossed_difference
from auditor.distributions import t_quantile
from auditor.matching import Runs, matched_seeds, regression
from auditor.record import Contrast, Coordinate, Matched
from auditor.statistics import minimum_detectable

METRIC, CLEAN = "evasion.linf.robust_accuracy", "accuracy.accuracy"
ROWS = 400


def member(group: str, seed: int, right: int, first: int = 0) -> Member:
    names = np.array([f"r{first + i:04d}" for i in range(ROWS)])
    return Member(f"{group}/{seed}", group, seed, names, (np.arange(ROWS) < right).astype(float))


def group(name: str, right: Sequence[int], first: int = 0) -> list[Member]:
    return [member(name, seed, count, first) for seed, count in enumerate(right)]


def test_pairs_match_by_what_was_held_back_and_nothing_else() -> None:
    a = {0: 0.95, 1: 0.96, 2: 0.97, 3: 0.95, 9: 0.95}
    b = {0: 0.94, 1: 0.90, 2: 0.98, 3: 0.965, 8: 0.95}
    assert matched_seeds(a, b, 0.02) == {0, 2, 3}
    assert matched_seeds(a, b, 0.012) == frozenset()  # two seeds are too few
    assert matched_seeds({}, b, 0.02) == frozenset()


def test_the_regression_is_an_analysis_of_covariance() -> None:
    clean_a, clean_b = [380, 384, 376, 388], [372, 380, 384, 368]
    y_a, y_b = [200, 212, 190, 220], [150, 171, 176, 140]
    found = regression(group("a", y_a), group("b", y_b), group("a", clean_a), group("b", clean_b), 0.95)
    assert found is not None
    x, y = np.array(clean_a + clean_b) / ROWS, np.array(y_a + y_b) / ROWS
    design = np.column_stack([np.ones(8), np.repeat([0.0, 1.0], 4), x])
    (_, value, slope), *_ = np.linalg.lstsq(design, y, rcond=None)
    assert (found.by, found.pairs, found.p_value) == ("regression", 4, None)
    assert (found.difference, found.slope) == (pytest.approx(value), pytest.approx(slope))
    residual = y - design @ np.array([y[:4].mean() - slope * x[:4].mean(), value, slope])
    error = np.sqrt(residual @ residual / 5 * np.linalg.inv(design.T @ design)[1, 1])
    assert found.high - found.low > 2 * stats.t.ppf(0.975, 5) * error  # rows vary as well
    assert found.high - found.difference == pytest.approx(found.difference - found.low)


def test_groups_on_one_line_differ_by_nothing_but_accuracy() -> None:
    clean_a, clean_b = [380, 384, 376, 388], [372, 380, 384, 368]
    y_a, y_b = ([2 * c - 560 for c in side] for side in (clean_a, clean_b))
    found = regression(group("a", y_a), group("b", y_b), group("a", clean_a), group("b", clean_b), 0.95)
    assert found is not None
    assert (found.slope, found.difference) == (pytest.approx(2.0), pytest.approx(0.0, abs=1e-12))


def test_the_metrics_rows_need_not_be_those_of_accuracy() -> None:
    clean_a, clean_b = [380, 384, 376, 388], [372, 380, 384, 368]
    y_a, y_b = [200, 212, 190, 220], [150, 171, 176, 140]
    clean = group("a", clean_a), group("b", clean_b)
    same = regression(group("a", y_a), group("b", y_b), *clean, 0.95)
    other = regression(group("a", y_a, first=5000), group("b", y_b, first=5000), *clean, 0.95)
    assert same is not None
    assert other is not None
    assert (other.difference, other.slope) == (pytest.approx(same.difference), pytest.approx(same.slope))


@pytest.mark.parametrize(
    ("clean_a", "clean_b"),
    [
        ([380, 384], [372, 380]),  # two seeds
        ([380, 380, 380], [380, 380, 380]),  # accuracy does not vary
        ([380, 384, 388], [360, 364, 379]),  # no accuracy that both reach
    ],
)
def test_a_regression_that_would_be_guessed_is_not_made(clean_a: list[int], clean_b: list[int]) -> None:
    y = group("a", [200, 210, 190][: len(clean_a)])
    assert regression(y, y, group("a", clean_a), group("b", clean_b), 0.95) is None


# What an audit does with it


def runs(measured: Mapping[tuple[str, str], Sequence[Member]], held_back: Mapping[str, Sequence[float]]) -> Runs:
    def members(metric: str, at: Mapping[str, Coordinate], name: str) -> Sequence[Member] | None:
        assert at == ({} if metric == CLEAN else {"epsilon": 0.1})
        return measured.get((metric, name))

    groups: dict[str, Any] = {
        name: [SimpleNamespace(seed=s, recipe=None, watched=f"{name}/{s}") for s in range(6)] for name in "ab"
    }
    looks = {
        f"{g}/{s}": {"looks": [{"accuracy": 0.1}, {"accuracy": v}]}
        for g, of in held_back.items()
        for s, v in enumerate(of)
    }
    return Runs(groups, members, looks.get, 0.05)


def unequal(held_back: Mapping[str, Sequence[float]], metric: str = METRIC) -> Contrast:
    """Six pairs, sturdier by ten points in b; one seed of b is far less accurate."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(196, 204, 6).tolist(), rng.integers(236, 244, 6).tolist()
    clean_a, clean_b = [390, 389, 391, 390, 388, 391], [389, 390, 390, 391, 389, 300]
    measured = {(metric, "a"): group("a", a), (metric, "b"): group("b", b)}
    measured |= {(CLEAN, "a"): group("a", clean_a), (CLEAN, "b"): group("b", clean_b)}
    one = contrast(
        metric,
        {} if metric == CLEAN else {"epsilon": 0.1},
        measured[metric, "a"],
        measured[metric, "b"],
        alpha=0.05,
        delta=0.02,
        better="higher",
        confidence=0.95,
    )
    (done,) = finish([one], {("a", "b"): False}, runs(measured, held_back).matched)
    return done


HELD = {"a": [0.97] * 6, "b": [0.97, 0.965, 0.97, 0.975, 0.97, 0.75]}


def test_pairs_that_match_decide_where_all_do_not() -> None:
    found = unequal(HELD)
    assert found.matched is not None
    assert (found.matched.by, found.matched.pairs, found.pairs) == ("subset", 5, 6)
    assert found.matched.adjusted_p == found.matched.p_value
    said = verdict(found, 0.02, 0.05)
    assert said.verdict == "improved"
    assert said.reason.startswith("in the 5 of 6 pairs whose accuracies on held-back rows match, the difference is +0.")


def test_without_rows_held_back_a_regression_is_told_and_nothing_is_judged() -> None:
    found = unequal({})
    assert found.matched is not None
    assert (found.matched.by, matching(found)) == ("regression", None)
    said = verdict(found, 0.02, 0.05)
    assert said.verdict == "inconclusive"
    assert "less what goes with accuracy from run to run it is +0." in said.reason
    assert "may take off too little" in said.reason


def test_pairs_that_match_held_back_but_not_on_the_test_rows_do_not_decide() -> None:
    found = unequal({"a": [0.97] * 6, "b": [0.97] * 6})
    assert found.matched is not None
    assert found.matched.by == "regression"


def test_a_defence_is_judged_on_all_pairs_with_its_price() -> None:
    said = verdict(unequal(HELD), 0.02, 0.05, price="the accuracies differ by a lot")
    assert said.reason.endswith("the accuracies differ by a lot")
    assert "held-back" not in said.reason


def test_accuracy_itself_is_never_matched() -> None:
    assert unequal(HELD, metric=CLEAN).matched is None


def one_of(b: str, p: float, matched: Matched | None = None) -> Contrast:
    return Contrast(
        metric=METRIC, a="x/sgd", b=b, difference=0.1, low=0.05, high=0.15, pairs=5, p_value=p, matched=matched
    )


def test_ablations_and_variants_do_not_make_the_main_difference_harder_to_show() -> None:
    names = ("x/adamw", "x/muon", "x/sgd~no-momentum", "x/sgd~constant", "x/sgd@int8")
    found = adjusted([one_of(name, 0.03) for name in names])
    assert [c.adjusted_p for c in found] == [0.06, 0.06, 0.06, 0.06, 0.03]


def test_where_pairs_that_match_decide_their_p_stands_in_the_family() -> None:
    subset = Matched(by="subset", difference=0.1, low=0.05, high=0.15, pairs=3, p_value=0.04)
    first, second = adjusted([one_of("x/adamw", 0.001, subset), one_of("x/muon", 0.03)])
    assert first.matched is not None
    assert (first.adjusted_p, first.matched.adjusted_p) == (0.002, 0.06)
    assert second.adjusted_p == 0.06


# Power


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_the_minimum_detectable_difference_is_found_four_times_in_five(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    found = []
    for _ in range(600):
        rows, noise = rng.normal(0.0, 0.05, (1, 60)), rng.normal(0.0, 0.1, (seeds, 60))
        table = rng.normal(0.0, 0.02, (seeds, 1)) + rows + noise
        found.append(crossed_difference(np.zeros_like(table), table))
    least = float(np.mean([minimum_detectable(e.se, e.df, estimated=True) for e in found]))
    power = np.mean([abs(e.value + least) > e.value - e.low for e in found])
    assert 0.75 < power < 0.86


def test_a_standard_error_that_is_known_is_taken_as_it_is() -> None:
    known = 0.01 * (t_quantile(0.975, 4) + t_quantile(0.8, 4))
    assert minimum_detectable(0.01, 4) == pytest.approx(known)
    assert minimum_detectable(0.01, 4, estimated=True) == pytest.approx(known / 0.9400, rel=1e-4)  # c4 of five draws
    assert minimum_detectable(0.01, np.inf, estimated=True) == minimum_detectable(0.01, np.inf)


# In a whole audit


def test_a_record_says_what_is_left_at_equal_accuracy(write_audit: Any, tmp_path: Path) -> None:
    settings = "contrasts: {metrics: [accuracy.accuracy, calibration.brier], delta: 0.0001}\npolicy: policy.yaml"
    arms = "[sgd, {name: adamw, learning_rate: 0.02}]"
    path = write_audit(("seeds: 2", "seeds: 4"), ("[sgd, adamw]", arms), ("policy: policy.yaml", settings))
    options = Options(
        store=tmp_path / "store", out=tmp_path / "out", inline=True, formats=(), only=("accuracy", "calibration")
    )
    ended = run(load_audit(path), options)
    clean, brier = ended.facts.record.contrasts
    assert (clean.metric, clean.matched, brier.accuracy_equivalent) == (CLEAN, None, False)
    assert brier.matched is not None
    assert (brier.matched.by, brier.matched.pairs) == ("regression", 4)
    assert brier.matched.low < brier.matched.difference < brier.matched.high
