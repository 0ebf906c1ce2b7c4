"""Drawings from per-sample outcomes against counts by hand and an independent implementation."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from auditor.bundle import Facts
from auditor.policy import Findings
from auditor.reports import from_samples
from auditor.reports.confusion import confusion
from auditor.reports.material import Material


def scores(members: list[float], others: list[float]) -> dict[str, np.ndarray]:
    row = np.array([f"member:{i}" for i in range(len(members))] + [f"{i}" for i in range(len(others))])
    return {"row": row, "score": np.array([*members, *others])[:, None]}


def test_the_true_positive_rate_is_counted_above_the_allowed_false_alarms() -> None:
    arrays = scores([5, 4, 2, 0], [3, 1, 1, -1])
    assert from_samples.roc(arrays, np.array([0.0, 0.1, 0.25, 0.5, 1.0])).tolist() == [0.5, 0.5, 0.75, 0.75, 1.0]


def test_a_model_that_hides_its_confidence_gives_the_attacker_nothing_for_nothing() -> None:
    arrays = scores([0.0] * 10, [0.0] * 10)
    assert from_samples.roc(arrays, np.array([0.01, 0.5, 1.0])).tolist() == [0.0, 0.0, 1.0]


def test_the_roc_never_lies_above_the_one_of_scikit_learn() -> None:
    from sklearn.metrics import roc_curve

    rng = np.random.default_rng(0)
    members, others = rng.normal(0.5, 1, 200).round(1), rng.normal(0, 1, 300).round(1)
    arrays = scores(members.tolist(), others.tolist())
    truth = np.array([1] * 200 + [0] * 300)
    fpr, tpr, _ = roc_curve(truth, arrays["score"][:, 0], drop_intermediate=False)
    rates = np.linspace(0, 1, 50)
    expected = [max(t for f, t in zip(fpr, tpr, strict=True) if f <= rate + 1e-9) for rate in rates]
    assert from_samples.roc(arrays, rates).tolist() == pytest.approx(expected)


def test_a_confusion_matrix_counts_every_seed_and_its_rows_sum_to_all(facts: Facts, findings: Findings) -> None:
    material = Material(facts, findings)
    tables = confusion(material, material.probes[0])
    assert [t.caption for t in tables] == [f"Confusion matrix of {o}" for o in ("sgd", "adamw", "rmsprop")]
    shares = [[float(c.exact or 0) for c in row[1:]] for row in tables[0].rows]
    assert shares == [[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.1, 0.0, 0.9]]
    assert [c.text for c in tables[0].rows[0]] == ["zero", "90.0", "10.0", ""]


def test_answers_without_a_class_are_not_counted_as_any(bundle: Callable[..., Facts], findings: Findings) -> None:
    record = bundle().record
    label = np.array([0, 0, 0, 1, 2])
    arrays = {"row": label.astype(str), "label": label, "prediction": np.array([0, 1, -1, 1, 2])}
    facts = bundle(arrays={n: arrays for r in record.results for n in (r.samples, r.gallery) if n})
    material = Material(facts, findings)
    assert [c.text for c in confusion(material, material.probes[0])[0].rows[0]] == ["zero", "50.0", "50.0", ""]


def test_a_reliability_bin_holds_the_answers_of_its_confidence(
    bundle: Callable[..., Facts], findings: Findings
) -> None:
    from auditor.catalogue import ProbeEntry
    from auditor.record import Result

    label = np.zeros(40, int)
    right = np.arange(40) % 4 > 0
    sure = np.where(np.arange(40) < 20, 0.72, 0.98)
    sure[:4] = np.nan
    arrays = {
        "row": np.arange(40).astype(str),
        "label": label,
        "prediction": np.where(right, 0, 1),
        "score": sure[:, None],
    }
    result = Result(probe="calibration", version=1, subject="mlp/sgd/0", outcome="completed", samples="samples/one.npz")
    material = Material(bundle(results=(result,), arrays={"samples/one.npz": arrays}), findings)
    chart = from_samples.reliability_diagram(material, ProbeEntry(id="calibration"), "x")
    assert chart is not None
    shown = [[c.text.replace("\u202f", "") for c in row] for row in chart.table.rows]
    assert shown == [["sgd", "16", "72.0%", "75.0%"], ["sgd", "20", "98.0%", "75.0%"]]
    assert re.search(r"Reliability diagram", chart.svg)


def test_rows_still_right_are_those_that_nothing_broke_at_or_below_a_distance(
    bundle: Callable[..., Facts], findings: Findings
) -> None:
    from auditor.catalogue import ProbeEntry
    from auditor.record import Result
    from auditor.reports.distance_curve import distance_curve, still_right

    far = np.array([0.0, 0.0, 0.1, 0.2, 0.2, 0.4, np.inf, np.inf, np.nan])
    assert still_right(far[:8], np.array([0.0, 0.1, 0.15, 0.2, 0.4])).tolist() == [0.75, 0.625, 0.625, 0.375, 0.25]
    result = Result(probe="evasion.l2", version=2, subject="mlp/sgd/0", outcome="completed", samples="samples/one.npz")
    arrays = {"row": np.arange(9).astype(str), "distance": far[:, None]}
    material = Material(bundle(results=(result,), arrays={"samples/one.npz": arrays}), findings)
    chart = distance_curve(material, ProbeEntry(id="evasion.l2"), "x")
    assert chart is not None
    shown = [[c.text.replace("\u202f", "") for c in row] for row in chart.table.rows]
    assert [row[1] for row in shown] == ["75.0%", "75.0%", "62.5%", "37.5%", "37.5%", "25.0%"]
    assert [float(row[0]) for row in shown] == pytest.approx([0, 0.04, 0.1, 0.2, 0.3, 0.4])
    none = Material(bundle(results=(result,), arrays={"samples/one.npz": {"row": arrays["row"]}}), findings)
    assert distance_curve(none, ProbeEntry(id="evasion.l2"), "x") is None
