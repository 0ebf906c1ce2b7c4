"""Cost beside safety: what the report says of training, tuning, answers and energy, and what it leaves open."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from auditor.bundle import Facts, Timings, UnitTiming
from auditor.catalogue import Catalogue, MetricEntry, ProbeEntry
from auditor.energy import Energy
from auditor.policy import Findings
from auditor.record import Measurement, Result
from auditor.reports import html, wording
from auditor.reports.material import Material
from auditor.reports.page import Table
from auditor.reports.view_costs import paretos
from auditor.reports.view_efficiency import beside, use
from auditor.reports.wording import THIN

COUNTED = ("weight_bytes", "parameters", "flops_per_row")
EFFICIENCY = ProbeEntry(
    id="efficiency",
    version=1,
    title="Cost of an answer",
    family="efficiency",
    metrics=tuple(MetricEntry(name=n, title=n, better="lower", kind="exact", unit="number") for n in COUNTED),
)
ANSWER = {
    "latency_seconds": 0.00005,
    "latency_p95_seconds": 0.0001,
    "rows_per_second": 12_000.0,
    "best_batch": 64.0,
    "inference_peak_bytes": 2_500_000.0,
}


def unit(
    kind: str, subject: str, probe: str | None = None, detail: Mapping[str, float] = {}, **more: Any
) -> UnitTiming:
    return UnitTiming(
        unit=f"{kind} {probe} {subject}",
        kind=kind,
        label=kind,
        subject=subject,
        probe=probe,
        wall_seconds=9.0,
        cpu_seconds=9.0,
        detail=dict(detail),
        **more,
    )


def counted(subject: str, name: str, value: float) -> Measurement:
    return Measurement(
        of=subject,
        probe="efficiency",
        metric=name,
        value=value,
        low=value,
        high=value,
        n=1,
        better="lower",
        kind="exact",
    )


@pytest.fixture
def timed(facts: Facts, findings: Findings) -> Material:
    """Training 2 s and 4 s a seed, tuning 30 s, answers timed; SAM-like operations for one group."""
    record = facts.record
    subjects = tuple(
        s.model_copy(update={"training": s.training.model_copy(update={"flops": 2 * s.training.flops})})
        if s.optimizer == "adamw" and s.training and s.training.flops
        else s
        for s in record.subjects
    )
    units = [
        *(unit("fit", s.id, detail={"cpu_seconds": 4.0 if s.optimizer == "adamw" else 2.0}) for s in subjects),
        *(unit("probe", s.id, "efficiency", ANSWER) for s in subjects),
        unit("tune", "mlp/sgd/0", detail={"cpu_seconds": 30.0}),
    ]
    counts = dict(zip(COUNTED, (4840.0, 1210.0, 2368.0), strict=True))
    numbers = [counted(s.id, n, v) for s in subjects for n, v in counts.items()]
    results = (
        *record.results,
        *(Result(probe="efficiency", version=1, subject=s.id, outcome="completed") for s in subjects),
    )
    changed = record.model_copy(
        update={"subjects": subjects, "measurements": (*record.measurements, *numbers), "results": results}
    )
    catalogue = Catalogue(version="0.1.0", probes=(*facts.catalogue.probes, EFFICIENCY))
    return Material(replace(facts, record=changed, timings=Timings(units=tuple(units)), catalogue=catalogue), findings)


def with_units(material: Material, change: Mapping[str, Any]) -> Material:
    units = tuple(u.model_copy(update=change) if u.kind == "fit" else u for u in material.facts.timings.units)
    return Material(replace(material.facts, timings=Timings(units=units)), material.findings)


def cells_of(table: Table | None, group: str) -> dict[str, tuple[str, str]]:
    assert table is not None
    row = next(r for r in table.rows if r[0].text == group)
    return {c.text: (cell.text, cell.note) for c, cell in zip(table.columns, row, strict=True)}


def test_safety_stands_beside_what_it_cost(timed: Material) -> None:
    row = cells_of(beside(timed), "adamw")
    assert row["Accuracy"][0] == f"93.8{THIN}%"
    assert row["Robust accuracy"][0] == f"≤ 17.0{THIN}%"
    assert row["Training"][0] == f"4.0{THIN}s"
    assert row["Operations"][0] == f"2.4{THIN}G"
    assert row["Latency"] == (f"50{THIN}µs", f"95 % within 100{THIN}µs")
    assert row["Weights"][0] == f"4.84{THIN}kB"
    assert "Energy" not in row


def test_tuning_is_kept_apart_from_training(timed: Material) -> None:
    table = beside(timed)
    assert cells_of(table, "sgd")["Tuning, apart"][0] == f"30.0{THIN}s"
    assert cells_of(table, "sgd")["Training"][0] == f"2.0{THIN}s"
    assert cells_of(table, "adamw")["Tuning, apart"][0] == "–"


def test_an_answers_cost_is_told_group_by_group(timed: Material) -> None:
    row = cells_of(use(timed), "sgd")
    assert row["Parameters"][0] == f"1.21{THIN}k"
    assert row["Operations"][0] == f"2.37{THIN}k"
    assert row["Throughput"] == (f"12{THIN}k", "in batches of 64")
    assert row["Peak memory"][0] == f"2.5{THIN}MB"


def test_metered_energy_is_told_with_its_method_and_what_it_takes_for_granted(timed: Material) -> None:
    metered = Energy(method="rapl", joules=1500.0, assumption="all that ran on 1 processor package meanwhile")
    table = beside(with_units(timed, {"energy": metered}))
    assert cells_of(table, "sgd")["Energy"] == (f"1.5{THIN}kJ", "rapl")
    assert table is not None
    assert "Energy by rapl: all that ran on 1 processor package meanwhile." in table.note


def test_energy_is_estimated_only_by_stated_watts(timed: Material) -> None:
    record = timed.record
    stated = tuple(r.model_copy(update={"parameters": {"watts_per_core": 8.0}}) for r in record.results)
    told = Material(replace(timed.facts, record=record.model_copy(update={"results": stated})), timed.findings)
    table = beside(told)
    assert cells_of(table, "adamw")["Energy"] == (f"32{THIN}J", "estimate")  # 8 W for 4 s
    assert table is not None
    assert "8 watts a core, as stated" in table.note


def test_robustness_is_drawn_against_time_and_against_operations(timed: Material) -> None:
    titles = [chart.title for chart in paretos(timed)]
    assert titles == [
        "Robust accuracy, ε 0.1, against the cost of training",
        "Robust accuracy, ε 0.1, against the operations of training",
    ]


def test_where_all_groups_took_the_same_operations_none_are_drawn(facts: Facts, findings: Findings) -> None:
    assert [c.title for c in paretos(Material(facts, findings))] == [
        "Robust accuracy, ε 0.1, against the cost of training"
    ]


def test_without_the_probe_nothing_is_said_of_answers(facts: Facts, findings: Findings) -> None:
    material = Material(facts, findings)
    assert use(material) is None
    assert "Latency" not in cells_of(beside(material), "sgd")


def test_the_same_facts_give_the_same_bytes(timed: Material) -> None:
    first, again = (html.render(timed.facts, timed.findings) for _ in range(2))
    assert first == again
    assert b"Cost of an answer" in first


def test_small_times_and_amounts_keep_their_unit() -> None:
    assert wording.seconds(0.00005) == f"50{THIN}µs"
    assert [wording.sized(v, "B") for v in (12.0, 4840, 3.2e9)] == [f"12{THIN}B", f"4.84{THIN}kB", f"3.2{THIN}GB"]


def test_of_a_model_that_shows_no_weights_the_file_is_told(timed: Material) -> None:
    kept = tuple(m for m in timed.record.measurements if m.probe != "efficiency")
    file = tuple(counted(s.id, "file_bytes", 25_756.0) for s in timed.record.subjects)
    changed = timed.record.model_copy(update={"measurements": (*kept, *file)})
    row = cells_of(use(Material(replace(timed.facts, record=changed), timed.findings)), "sgd")
    assert row["Weights"] == (f"25.8{THIN}kB", "its file")
    assert row["Parameters"] == ("–", "not measured")
