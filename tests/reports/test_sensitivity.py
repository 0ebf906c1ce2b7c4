"""The report on learning rates: a chart of every search, one of both accuracies, and the time to target."""

from dataclasses import replace

import pytest

from auditor.bundle import Facts, UnitTiming
from auditor.catalogue import MetricEntry, ProbeEntry
from auditor.policy import Findings
from auditor.record import Measurement, Training
from auditor.reports import html, wording
from auditor.reports.material import Material
from auditor.reports.view_costs import costs, to_target
from auditor.reports.view_sensitivity import by_rate, trials

PROBE = ProbeEntry(
    id="evasion.learning_rates",
    version=1,
    title="Sensitivity to the learning rate",
    family="evasion",
    metrics=tuple(
        MetricEntry(name=n, title=n, better="higher", kind="upper-bound", unit="share", at=at)
        for n, at in (("accuracy", ("learning_rate",)), ("robust_accuracy", ("learning_rate", "epsilon")))
    ),
)


def with_training(facts: Facts, findings: Findings, **changes: object) -> Material:
    """The toy audit whose models were all trained so; the first of each group never reached a target."""

    def trained(training: Training | None, seed: int | None) -> Training | None:
        mine = dict(changes)
        if "target" in mine and seed == 0:
            mine |= {"steps_to_target": None, "target": {"reached": False, "steps": None, "flops": None}}
        return training and training.model_copy(update=mine)

    subjects = tuple(s.model_copy(update={"training": trained(s.training, s.seed)}) for s in facts.record.subjects)
    return Material(replace(facts, record=facts.record.model_copy(update={"subjects": subjects})), findings)


SEARCH = {
    "seeds": 1,
    "edge_limited": True,
    "trials": [
        {"learning_rate": 0.4, "epochs": 2, "loss": 0.01, "diverged_at": None, "flops": 1},
        {"learning_rate": 0.1, "epochs": 8, "loss": 0.5, "diverged_at": None, "flops": 1},
        {"learning_rate": 0.01, "epochs": 8, "loss": 0.25, "diverged_at": None, "flops": 1},
        {"learning_rate": 1.0, "epochs": 8, "loss": None, "diverged_at": 3, "flops": 1},
    ],
}


def test_every_full_trial_of_a_search_is_drawn_and_tabled(facts: Facts, findings: Findings) -> None:
    chart = trials(with_training(facts, findings, tuning=SEARCH))
    assert chart is not None
    rows = [[cell.text for cell in row] for row in chart.table.rows if row[0].text == "sgd"]
    assert rows == [["sgd", "0.01", "0.25"], ["sgd", "0.1", "0.5"]]
    assert "ended at its edge" in chart.caption
    assert "<svg" in chart.svg


def test_without_a_search_there_is_no_chart_of_it(facts: Facts, findings: Findings) -> None:
    assert trials(with_training(facts, findings, tuning=None)) is None


def test_accuracy_and_robust_accuracy_are_drawn_against_the_rate(facts: Facts, findings: Findings) -> None:
    groups = {s.group for s in facts.record.subjects}
    base = {"probe": PROBE.id, "low": 0.1, "high": 0.9, "n": 9, "seeds": 2, "better": "higher", "kind": "upper-bound"}
    measured = tuple(
        Measurement(of=g, metric=name, at={"learning_rate": rate, **more}, value=0.5 + rate, **base)
        for g in groups
        for rate in (0.01, 0.1)
        for name, more in (("accuracy", {}), ("robust_accuracy", {"epsilon": 0.1}))
    )
    record = facts.record.model_copy(update={"measurements": (*facts.record.measurements, *measured)})
    catalogue = facts.catalogue.model_copy(update={"probes": (*facts.catalogue.probes, PROBE)})
    material = Material(replace(facts, record=record, catalogue=catalogue), findings)
    chart = by_rate(material, PROBE, "c")
    assert chart is not None
    assert chart.title == "Accuracy and robust accuracy, ε 0.1, by learning rate"
    assert len(chart.table.rows) == 4
    assert "by learning rate" in html.render(material.facts, findings).decode()


@pytest.mark.parametrize("steps", [90, None])
def test_the_steps_to_a_target_are_a_median_in_which_never_is_infinite(
    facts: Facts, findings: Findings, steps: int | None
) -> None:
    target = {"reached": steps is not None, "steps": steps, "flops": steps and 2_000_000}
    material = with_training(facts, findings, steps_to_target=steps, target=target)
    cell = to_target(material, material.groups[0])
    if steps is None:
        assert cell.text == "never"
        assert "0 of 5 seeds" in cell.note
    else:
        assert cell.text == "90"
        assert f"2{wording.THIN}M operations" in cell.note
        assert "4 of 5 seeds" in cell.note


def test_the_trainings_of_subjects_searches_and_probes_stand_apart(facts: Facts, findings: Findings) -> None:
    member = next(s for s in facts.record.subjects if s.seed == 0)
    spent = {"wall_seconds": 1.0, "cpu_seconds": 1.0}
    added = (
        UnitTiming(unit="t", kind="tune", label="tune x", subject=member.id, detail={"cpu_seconds": 8.0}, **spent),
        UnitTiming(unit="p", kind="fit", label=f"flips for {member.id}", detail={"cpu_seconds": 4.0}, **spent),
        UnitTiming(unit="q", kind="fit", label="tune x at 0.1", detail={"cpu_seconds": 2.0}, **spent),
    )
    timings = facts.timings.model_copy(update={"units": (*facts.timings.units, *added)})
    searched = with_training(replace(facts, timings=timings), findings, tuning=SEARCH)
    table = costs(searched)
    assert table is not None
    heads = [c.text for c in table.columns]
    row = table.rows[0]
    assert row[heads.index("Tuning")].text == "4"
    assert row[heads.index("Tuning")].note == wording.seconds(8.0)
    assert row[heads.index("For probes")].text == wording.seconds(4.0)
    assert row[heads.index("CPU time")].text == wording.seconds(0.6)
