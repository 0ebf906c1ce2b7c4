"""Searches that ended at an edge, were too coarse or of unequal size leave contrasts without a verdict."""

from dataclasses import dataclass

import pytest

from auditor.contrast_findings import contrast_finding
from auditor.evidence import Evidence
from auditor.policy import ContrastFinding
from auditor.record import AuditRecord, Caveat, Contrast, DatasetRecord, Record, Result, SubjectRecord, Training, Unit


@dataclass(frozen=True)
class Seen:
    """A record without samples, where an observed bundle is asked for."""

    record: Record


def training(
    rate: float, *, limited: bool = False, grid: tuple[float, ...] = (0.01, 0.1, 1.0), objective: str = "standard"
) -> Training:
    trials = [{"learning_rate": r, "loss": abs(r - rate), "diverged_at": None} for r in grid]
    tuning = {"trials": trials, "edge_limited": limited, "seeds": 1} if grid else None
    recipe = {"learning_rate": {"grid": list(grid[:4]), "seeds": 1} if grid else rate, "objective": {"name": objective}}
    return Training(learning_rate=rate, epochs=1, steps=1, flops=1, tuning=tuning, recipe=recipe)


def judged(
    b: str,
    trained: dict[str, Training],
    *,
    metric: str = "accuracy.accuracy",
    difference: float = -0.2,
    p: float = 0.001,
    equal: bool = False,
    unit: Unit = "share",
    results: tuple[Result, ...] = (),
) -> ContrastFinding:
    half = abs(difference) / 4 if p < 0.05 else 2 * abs(difference)
    one = Contrast(
        metric=metric, a="net/sgd", b=b, difference=difference, low=difference - half, high=difference + half, pairs=5,
        p_value=p, adjusted_p=p, better="higher", accuracy_equivalent=equal,
    )  # fmt: skip
    subjects = tuple(
        SubjectRecord(id=f"{g}/{s}", group=g, config="net", seed=s, variant="int8" if "@" in g else "float32",
                      access=(), training=t)
        for g, t in trained.items() for s in range(5)
    )  # fmt: skip
    record = Record(
        audit=AuditRecord(name="a", seed=0, profile="p", plan_sha256="0", complete=True),
        dataset=DatasetRecord(id="d", sha256="0", rows={}, shape=(1,), classes=("a", "b"), range=(0, 1), licence="MIT"),
        subjects=subjects,
        results=results,
        measurements=(),
        contrasts=(one,),
    )
    return contrast_finding(one, Evidence(Seen(record)), 0.02, 0.05, unit)  # type: ignore[arg-type]  # all that is read


@pytest.mark.parametrize(("rate", "end"), [(1.0, "greatest"), (0.01, "smallest")])
def test_a_group_whose_search_ended_at_its_edge_gets_no_verdict(rate: float, end: str) -> None:
    found = judged("net/adam", {"net/sgd": training(0.1, limited=False), "net/adam": training(rate, limited=True)})
    assert found.verdict == "inconclusive"
    assert f"the search of net/adam ended at the {end} rate it tried, {rate:g}" in found.reason
    assert "without that it would be regressed" in found.reason


def test_a_rate_whose_neighbour_was_never_trained_in_full_gets_no_verdict() -> None:
    found = judged("net/adam", {"net/sgd": training(0.1), "net/adam": training(0.1, limited=True)})
    assert found.verdict == "inconclusive"
    assert "the search of net/adam never trained a rate beside the one it found, 0.1, in full" in found.reason


def test_a_search_with_neighbours_on_both_sides_is_no_doubt() -> None:
    both = {"net/sgd": training(0.1, limited=False), "net/adam": training(0.1, limited=False)}
    assert judged("net/adam", both).verdict == "regressed"


def test_a_variant_is_of_the_same_training_so_its_search_does_not_matter() -> None:
    both = {name: training(1.0, limited=True) for name in ("net/sgd", "net/sgd@int8")}
    assert judged("net/sgd@int8", both).verdict == "regressed"


@pytest.mark.parametrize(
    ("grid", "apart"), [((0.01, 0.64, 41.0), "64.1"), ((0.001, 0.1), "100"), ((0.02, 0.1, 3.0), "30")]
)
def test_a_search_with_too_few_trials_for_its_range_gets_no_verdict(grid: tuple[float, ...], apart: str) -> None:
    found = judged("net/adam", {"net/sgd": training(grid[1], grid=grid), "net/adam": training(grid[1], grid=grid)})
    assert found.verdict == "inconclusive"
    assert f"the search of net/adam tried rates a factor of {apart} apart around {grid[1]:g}" in found.reason
    assert "raise tune.trials" in found.reason


def test_rates_far_apart_where_the_best_does_not_lie_are_no_doubt() -> None:
    grid = (0.0001, 0.05, 0.1, 0.2)
    both = {name: training(0.1, grid=grid) for name in ("net/sgd", "net/adam")}
    assert judged("net/adam", both).verdict == "regressed"


def test_an_arm_whose_rate_was_named_is_not_tuned_like_one_whose_rate_was_searched() -> None:
    found = judged("net/adam", {"net/sgd": training(0.1), "net/adam": training(0.1, grid=())})
    assert found.verdict == "inconclusive"
    assert "net/sgd had 3 trials of its learning rate, net/adam a learning rate that was named" in found.reason
    rateless = Training(learning_rate=None, epochs=1, steps=1, flops=1, recipe={"learning_rate": None})
    assert judged("net/adam", {"net/sgd": training(0.1), "net/adam": rateless}).verdict == "regressed"
    neither = {name: training(0.1, grid=()) for name in ("net/sgd", "net/adam")}
    assert judged("net/adam", neither).verdict == "regressed"


def test_trials_beyond_an_edge_do_not_count_as_a_larger_search() -> None:
    four = training(0.1, grid=(0.01, 0.03, 0.1, 0.3))
    six = training(0.1, grid=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0))
    assert judged("net/adam", {"net/sgd": four, "net/adam": six}).verdict == "regressed"


def test_an_ablation_of_the_rate_and_another_objective_may_have_rates_that_were_named() -> None:
    slow = {"net/sgd": training(0.1), "net/sgd~slow": training(0.01, grid=())}
    assert judged("net/sgd~slow", slow).verdict == "regressed"
    private = {"net/sgd": training(0.1), "net/adam": training(0.1, grid=(), objective="dp")}
    assert judged("net/adam", private).verdict == "regressed"


def test_a_number_that_is_no_share_is_never_equivalent_by_a_margin_of_shares() -> None:
    small = {"net/sgd": training(0.1), "net/adam": training(0.1)}
    assert judged("net/adam", small, difference=-0.003, unit="share").verdict == "equivalent"
    assert judged("net/adam", small, difference=-0.003, unit="number").verdict == "regressed"
    unsure = judged("net/adam", small, difference=-0.003, unit="number", p=0.4)
    assert unsure.verdict == "inconclusive"
    assert "which is not shown to be one" in unsure.reason


def test_equal_accuracy_that_rests_on_a_doubtful_result_carries_no_verdict() -> None:
    doubt = Caveat(flag="leak", severity="suspicious", evidence="half of the test rows stand in training")
    result = Result(
        probe="accuracy",
        version=1,
        subject="net/sgd/0",
        outcome="completed",
        reliability="suspicious",
        caveats=(doubt,),
    )
    both = {"net/sgd": training(0.1), "net/adam": training(0.1)}
    found = judged("net/adam", both, metric="evasion.linf.robust_accuracy", equal=True, results=(result,))
    assert found.verdict == "inconclusive"
    assert "the accuracy result of net/sgd is suspicious (net/sgd/0: leak: half of the test rows" in found.reason
    assert judged("net/adam", both, metric="evasion.linf.robust_accuracy", equal=True).verdict == "regressed"


def test_an_edge_is_told_even_where_there_would_be_no_verdict_without_it() -> None:
    narrow = {"net/sgd": training(0.1), "net/adam": training(1.0, limited=True)}
    found = judged("net/adam", narrow, difference=-0.05, p=0.4)
    assert found.verdict == "inconclusive"
    assert found.reason.startswith("the search of net/adam ended at the greatest rate it tried, 1")
    assert "the difference is -0.05" in found.reason
