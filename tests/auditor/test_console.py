"""What a person sees: every group with its interval, every rule with its state, plain lines where no terminal is."""

import io
from typing import Any

import pytest
from rich.console import Console

from auditor import console
from auditor.auditing import Audited
from auditor.bundle import read_facts, read_findings


@pytest.fixture
def audited(tiny: Any) -> Audited:
    return Audited(tiny.bundle, read_facts(tiny.bundle), read_findings(tiny.bundle), {}, interrupted=False)


def shown(table: Any) -> list[str]:
    out = Console(file=io.StringIO(), width=200, highlight=False)
    out.print(table)
    file = out.file
    assert isinstance(file, io.StringIO)
    return [" ".join(line.replace("│", " ").replace("┃", " ").split()) for line in file.getvalue().splitlines()]


def test_groups_stand_beside_each_other_with_their_intervals(audited: Audited) -> None:
    m = {x.of: x for x in audited.facts.record.measurements if (x.probe, x.metric) == ("accuracy", "accuracy")}
    line = next(row for row in shown(console.groups_table(audited)) if row.startswith("Accuracy "))
    cells = [
        f"{100 * m[g].value:.1f} % [{100 * (m[g].low or 0):.1f}, {100 * (m[g].high or 0):.1f}]"
        for g in ("mlp/sgd", "mlp/adamw")
    ]
    assert line == f"Accuracy {cells[0]} {cells[1]}"


def test_the_cost_of_a_training_has_an_interval_over_seeds(audited: Audited) -> None:
    costs = console.training_cost(audited)
    assert set(costs) == {"mlp/sgd", "mlp/adamw"}
    assert all("[dim][" in cost for cost in costs.values())


def test_a_number_nobody_measured_is_said_to_be_missing() -> None:
    assert console._cell(None, "share") == "[dim]not measured[/]"


def test_contrasts_say_what_they_allow_to_be_said(audited: Audited) -> None:
    c = next(c for c in audited.facts.record.contrasts if c.metric == "accuracy.accuracy")
    rows = shown(console.contrasts_table(audited))
    assert any("mlp/adamw − mlp/sgd" in row for row in rows)
    row = rows.index(f"Accuracy {100 * c.difference:+.1f} [{100 * c.low:+.1f}, {100 * c.high:+.1f}]")
    assert rows[row + 1] in ("inconclusive", "regressed")


def test_findings_have_a_row_a_rule_and_a_column_a_group(audited: Audited) -> None:
    rows = shown(console.findings_table(audited.findings.findings))
    assert any("mlp/sgd" in row and "mlp/adamw" in row for row in rows)
    row = next(row for row in rows if row.startswith("ACC "))
    assert row.count("pass") == 2
    assert any(row.startswith("at least 0.1") for row in rows)


def test_progress_without_a_terminal_is_at_most_ten_plain_lines(tiny: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from auditor.auditing import Options, planned
    from auditor.config import load_audit
    from auditor.store import Store

    plan = planned(load_audit(tiny.folder / "audit.yaml"), Options(store=tiny.store))
    with console.Terminal() as terminal:
        watch = terminal.watch(plan, Store(tiny.store))
        for unit in plan.units.values():
            watch(unit, "done", "")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"tiny: 4 subjects, 28 units, plan {plan.sha256[:12]}"
    assert 5 <= len(lines) - 1 <= 10
    assert lines[-1].split()[0] == "28/28"
    assert "\x1b" not in "".join(lines)


def test_a_failure_is_shown_even_when_quiet(tiny: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from auditor.auditing import Options, planned
    from auditor.config import load_audit
    from auditor.store import Store

    plan = planned(load_audit(tiny.folder / "audit.yaml"), Options(store=tiny.store))
    with console.Terminal(quiet=True) as terminal:
        terminal.watch(plan, Store(tiny.store))(next(iter(plan.units.values())), "failed", "no [bold] luck [/red]")
    assert capsys.readouterr().err == "errored train mlp/sgd/0: no [bold] luck [/red]\n"
