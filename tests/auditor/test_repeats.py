"""Seeds that gave one model count as one, and where nobody knows whether a seed was heeded there is no verdict."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from auditor.contrast import contrast, finish, verdict
from auditor.contrast_findings import contrast_finding
from auditor.evidence import Evidence
from auditor.groups import Member, NotComparableError
from auditor.record import AuditRecord, Contrast, DatasetRecord, Measurement, Record, SubjectRecord, Training
from auditor.repeats import constant, models
from auditor.twins import twin_contrast

ROWS = np.array([f"row{i:03}" for i in range(200)])
STATED = Measurement(of="m", probe="p", metric="m", value=0, n=200, better="higher", kind="exact")


def side(name: str, cells: np.ndarray) -> list[Member]:
    return [Member(f"{name}/{s}", name, s, ROWS, line, STATED) for s, line in enumerate(cells)]


def test_models_are_counted_by_their_weights_and_unknown_ones_are_not() -> None:
    assert models(["a", "a", "a"]) == 1
    assert models(["a", "b", "a"]) == 2
    assert models(["a", None]) is None


def test_seeds_are_constant_where_every_row_says_the_same_in_whatever_order() -> None:
    cells = np.repeat(np.random.default_rng(0).integers(0, 2, (1, 200)).astype(float), 3, axis=0)
    members = side("a", cells)
    turned = Member("a/3", "a", 3, ROWS[::-1], cells[0][::-1], STATED)
    assert constant([*members, turned])
    unasked = cells.copy()
    unasked[:, 7] = np.nan
    assert constant(side("a", unasked))
    other = cells.copy()
    other[2, 5] = 1 - other[2, 5]
    assert not constant(side("a", other))
    assert not constant(members[:1])
    with pytest.raises(NotComparableError, match="more than once"):
        constant([Member(m.subject, "a", m.seed, np.array(["r", "r"]), np.ones(2), STATED) for m in members])


def judged(digests: dict[str, list[str]], *, loaded: bool = False, function: str | None = None) -> Any:
    trained = Training(learning_rate=None, epochs=1, steps=1, flops=1, recipe={"function": function})
    subjects = tuple(
        SubjectRecord(id=f"{g}/{s}", group=g, config="net", seed=s, access=(), weights_sha256=d,
                      training=None if loaded else trained, loaded={"format": "sklearn"} if loaded else None)
        for g, found in digests.items() for s, d in enumerate(found)
    )  # fmt: skip
    one = Contrast(
        metric="accuracy.accuracy", a="net/a", b="net/b", difference=-0.2, low=-0.25, high=-0.15, pairs=3,
        p_value=0.001, adjusted_p=0.001,
    )  # fmt: skip
    record = Record(
        audit=AuditRecord(name="a", seed=0, profile="p", plan_sha256="0", complete=True),
        dataset=DatasetRecord(id="d", sha256="0", rows={}, shape=(1,), classes=("a", "b"), range=(0, 1), licence="MIT"),
        subjects=subjects, results=(), measurements=(), contrasts=(one,),
    )  # fmt: skip
    seen = type("Seen", (), {"record": record})()
    return contrast_finding(one, Evidence(seen), 0.02, 0.05, "share")


def test_models_of_unknown_making_that_repeat_get_no_verdict() -> None:
    apart = {"net/a": ["1", "2", "3"], "net/b": ["4", "5", "6"]}
    assert judged(apart, loaded=True).verdict == "regressed"
    twice = judged({**apart, "net/b": ["4", "4", "6"]}, loaded=True)
    assert twice.verdict == "inconclusive"
    assert twice.reason.startswith("the 3 seeds of net/b gave 2 models, so how its trainings vary is not known")
    own = judged({**apart, "net/a": ["1", "1", "1"]}, function="train:fit")
    assert own.verdict == "inconclusive"
    assert own.reason.startswith("the 3 seeds of net/a gave one model, so how its trainings vary is not known")


def test_trainings_here_that_draw_nothing_at_random_keep_their_verdict_and_it_says_so() -> None:
    found = judged({"net/a": ["1", "1", "1"], "net/b": ["4", "5", "6"]})
    assert found.verdict == "regressed"
    assert found.reason.endswith("; the 3 seeds of net/a gave one model")
    assert "gave" not in judged({"net/a": ["1", "2", "2"], "net/b": ["4", "5", "6"]}).reason


def false_alarms(spread: float, tries: int = 400) -> tuple[int, int]:
    """How often equally good solvers are called better or worse, and how often the interval misses no difference.

    Rows differ in how hard they are; the answers of `a` are those of one model, those of `b` of one a seed where it
    has a spread, else of one other model.
    """
    rng, called, missed = np.random.default_rng(4), 0, 0
    for _ in range(tries):
        hard = rng.normal(1.3, 1.0, 200)
        one = (hard + 0.7 * rng.normal(size=200) > 0).astype(float)
        seeds = 5 if spread else 1
        draws = hard + 0.7 * rng.normal(size=(seeds, 200)) + spread * rng.normal(size=(seeds, 1))
        a, b = side("a", np.repeat(one[None], 5, axis=0)), side("b", (draws > 0).astype(float))
        if spread:
            found = contrast("m.m", {}, a, b, alpha=0.05, delta=0.0, better="higher", confidence=0.95)
        else:
            found = twin_contrast("m.m", {}, a[0], b[0], delta=0.0, better="higher", confidence=0.95)
        (told,) = finish([found], {("a", "b"): True})
        called += verdict(told, 0.0, 0.05).verdict in ("improved", "regressed")
        missed += not told.low <= 0.0 <= told.high
    return called, missed


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_one_model_beside_another_or_beside_seeds_that_vary_is_rarely_called_better_or_worse(spread: float) -> None:
    called, missed = false_alarms(spread)
    assert binom.sf(called - 1, 400, 0.05) > 0.01
    assert binom.sf(missed - 1, 400, 0.05) > 0.01


@pytest.mark.slow
def test_solvers_that_draw_nothing_count_as_two_models_and_varying_ones_as_groups(shell: Any, write_audit: Any) -> None:
    nets = "{architecture: mlp, kwargs: {hidden: [8]}, optimizers: [sgd, adamw], seeds: 2, epochs: 20, tune: off}"
    solvers = "{estimator: logistic-regression, optimizers: [lbfgs, newton-cholesky, saga], seeds: 3, epochs: 60}"
    write_audit((nets, solvers))
    assert shell("run", "audit.yaml", "--out", "out", "--only", "accuracy", "--workers", 1).code in (0, 3)
    facts: Path = shell.folder / "out"
    record = json.loads((facts / "facts/record.json").read_text())
    digests = {s["id"]: s["weights_sha256"] for s in record["subjects"]}
    assert len({digests[f"mlp/lbfgs/{s}"] for s in range(3)}) == 1
    assert len({digests[f"mlp/saga/{s}"] for s in range(3)}) == 3
    pairs = {c["b"]: (c["pairs"], c["minimum_detectable"] is None) for c in record["contrasts"]}
    assert pairs == {"mlp/newton-cholesky": (1, True), "mlp/saga": (3, False)}
    told = {f["b"]: f["reason"] for f in json.loads((facts / "judgement/findings.json").read_text())["contrasts"]}
    assert "of these two models alone, over their rows" in told["mlp/newton-cholesky"]
    assert told["mlp/newton-cholesky"].endswith("the 3 seeds of mlp/newton-cholesky gave one model")
    assert told["mlp/saga"].endswith("; the 3 seeds of mlp/lbfgs gave one model")
