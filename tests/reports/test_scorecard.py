"""The scorecard: a column a group, and a row a group where they are many."""

from dataclasses import replace

from auditor.bundle import Facts
from auditor.policy import Findings
from auditor.reports import view_verdict
from auditor.reports.material import Material
from auditor.reports.view_verdict import scorecard


def test_a_few_groups_have_a_column_each(facts: Facts, findings: Findings) -> None:
    table = scorecard(Material(facts, findings))
    assert [c.text for c in table.columns[:2]] == ["Question", "Bar"]
    assert {c.text for c in table.columns[2:]} == {"sgd", "adamw", "rmsprop"}


def test_many_groups_have_a_row_each_with_the_same_cells(facts: Facts, findings: Findings) -> None:
    kept = [s for s in facts.record.subjects if s.optimizer == "sgd"]
    more = [
        s.model_copy(update={"id": f"mlp/o{k}/{s.seed}", "group": f"mlp/o{k}", "optimizer": f"o{k}"})
        for k in range(40)
        for s in kept
    ]
    record = facts.record.model_copy(update={"subjects": (*facts.record.subjects, *more)})
    wide, tall = Material(facts, findings), Material(replace(facts, record=record), findings)
    assert len(tall.groups) > max(view_verdict.WIDEST, len(scorecard(wide).rows))
    before, after = scorecard(wide), scorecard(tall)
    assert after.columns[0].text == "Group"
    assert [c.text for c in after.columns[1:]] == [row[0].text for row in before.rows]
    assert all(row[1].text in column.note for row, column in zip(before.rows, after.columns[1:], strict=True))
    name = before.columns[2].text
    (mine,) = (row for row in after.rows if row[0].text == name)
    assert list(mine[1:]) == [row[2] for row in before.rows]
