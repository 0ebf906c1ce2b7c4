"""What a plan says before it runs: trials for each optimizer, and the difference that its seeds could find."""

import math
from pathlib import Path
from typing import Any

import pytest

from auditor.auditing import Options, planned, run
from auditor.config import load_audit
from auditor.detectable import Seen, seen_spreads
from auditor.forecast import cost, text
from auditor.store import Store


def lines(said: str, word: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith(word)]


def test_the_trials_of_each_search_are_said_before_they_run(write_audit: Any, tmp_path: Path) -> None:
    def said(tune: str) -> list[str]:
        options = Options(store=tmp_path / "s", only=("accuracy",))
        return lines(text(planned(load_audit(write_audit(("tune: off", tune))), options), Store(tmp_path / "s")), "tun")

    assert said("tune: off") == []
    assert said("tune: {grid: [0.001, 0.1], extend: 0}")[1:] == [
        f"tuning     mlp/{name}: too few trials: rates a factor of 100 apart allow no verdict"
        for name in ("sgd", "adamw")
    ]
    assert said("tune: auto") == [
        "tuning     4 trials (in full; up to 2 more beyond an edge), for each of mlp/sgd, mlp/adamw"
    ]
    assert said("tune: {trials: 6, method: halving, seeds: 2, extend: 0}") == [
        "tuning     6 trials with 2 seeds each (2 of them in full, all for 5 of 20 epochs; in full, too, up to 2 "
        "beside the best; none beyond an edge), for each of mlp/sgd, mlp/adamw"
    ]


def test_an_arm_that_is_not_tuned_among_arms_that_are_is_said_before_it_runs(write_audit: Any, tmp_path: Path) -> None:
    mixed = ("optimizers: [sgd, adamw]", "optimizers: [sgd, {name: adamw, learning_rate: 0.01}]")
    options = Options(store=tmp_path / "s", only=("accuracy",))
    plan = planned(load_audit(write_audit(mixed, ("tune: off", "tune: auto"))), options)
    assert "tuning     mlp/adamw: not tuned as others are, so no verdict between them" in text(
        plan, Store(tmp_path / "s")
    )
    neither = planned(load_audit(write_audit(mixed)), options)
    assert "not tuned as others" not in text(neither, Store(tmp_path / "s"))


def test_the_least_detectable_difference_is_what_the_record_says_of_as_many_seeds(
    write_audit: Any, tmp_path: Path
) -> None:
    given = Options(store=tmp_path / "s", out=tmp_path / "b", inline=True, formats=(), only=("accuracy",))
    three = load_audit(write_audit(("seeds: 2", "seeds: 3")))
    store = Store(tmp_path / "s")
    (before,) = lines(text(planned(three, given), store), "contrasts")
    assert "spread by 2.5 points between seeds and groups differ on 5% of the 59 test rows" in before
    (one,) = [c for c in run(three, given).facts.record.contrasts if c.metric == "accuracy.accuracy"]
    seen = seen_spreads(planned(three, given), store, "mlp")["accuracy.accuracy"]
    assert seen.least(3, 0.05) == pytest.approx(one.minimum_detectable, rel=1e-9)
    eight = planned(load_audit(write_audit(("seeds: 2", "seeds: 8"))), given)
    assert seen_spreads(eight, store, "mlp") == {"accuracy.accuracy": seen}
    assert lines(text(eight, store), "contrasts") == [
        f"contrasts  mlp: 8 paired seeds detect about {100 * seen.least(8, 0.05):.1f} points of accuracy.accuracy with "
        "80 % power, by the spread of finished runs"
    ]


def test_more_seeds_do_not_make_up_for_few_rows() -> None:
    seen = Seen(seeds=0.01**2, rows=0.02**2, rows_df=math.inf, known=math.inf)
    assert seen.least(10_000, 0.05) == pytest.approx(0.02 * (1.959964 + 0.841621), rel=1e-3)
    assert seen.least(5, 0.05) > seen.least(5, 0.05 / 3) / 2 > 0.02
    few = Seen(seeds=0.01**2, rows=0.02**2, rows_df=math.inf, known=2)
    assert few.least(5, 0.05) > seen.least(5, 0.05)  # a spread that is itself a guess is too small on average


def test_several_optimizers_need_a_larger_difference(write_audit: Any, tmp_path: Path) -> None:
    def points(optimizers: str) -> float:
        loaded = load_audit(write_audit(("optimizers: [sgd, adamw]", f"optimizers: [{optimizers}]")))
        store = tmp_path / "s"
        (line,) = lines(text(planned(loaded, Options(store=store, only=("accuracy",))), Store(store)), "contrasts")
        assert ("in each of 3 comparisons by Holm" in line) is (optimizers.count(",") == 3)
        return float(line.partition("about ")[2].partition(" points")[0])

    assert points("sgd, adamw, adam, nadam") > 1.2 * points("sgd, adamw")


def test_trials_that_were_not_needed_do_not_make_the_rest_look_cheap(write_audit: Any, tmp_path: Path) -> None:
    given = Options(store=tmp_path / "s", out=tmp_path / "b", inline=True, formats=(), only=("accuracy",))
    tuned = "tune: {trials: 3, extend: 4}, batch_size: 1"
    run(load_audit(write_audit(("tune: off", tuned))), given)
    store = Store(tmp_path / "s")
    more = planned(load_audit(write_audit(("tune: off", tuned), ("seeds: 2", "seeds: 3"))), given)
    spent = [
        store.timing(u.identity).cpu_seconds
        for u in more.units.values()
        if u.kind == "fit" and store.has(u.identity) and not store.read(u.identity).get("unneeded")
    ]
    assert len(spent) < sum(u.kind == "fit" and store.has(u.identity) for u in more.units.values())
    wanted = float(cost(more, store).partition("about ")[2].partition(" CPU")[0])
    assert wanted >= math.floor(2 * min(spent))  # one more seed of each optimizer
