"""Tables in the terminal: columns where they fit, lines where they do not, and never a number in pieces."""

import io

from rich.console import Console

from auditor.grid import Grid, Row

GRID = Grid(
    "Differences",
    ("",),
    ("b − a", "c − a", "d − a"),
    (
        Row(("Accuracy",), ("+0.6 [-0.2, +1.3]\n[blue]equivalent[/]", "+0.6 [-0.3, +1.5]\n[blue]equivalent[/]", "")),
        Row(
            ("Robust accuracy",), ("+3.2 [+1.4, +5.1]\n[green]improved[/]", "", "-1.0 [-2.0, -0.1]\n[red]regressed[/]")
        ),
    ),
)


def shown(grid: Grid, width: int) -> list[str]:
    out = Console(file=io.StringIO(), width=width, highlight=False)
    out.print(grid)
    file = out.file
    assert isinstance(file, io.StringIO)
    assert all(len(line) <= width for line in file.getvalue().splitlines())
    return [" ".join(line.replace("│", " ").replace("┃", " ").split()) for line in file.getvalue().splitlines()]


def test_subjects_stand_beside_each_other_where_there_is_room() -> None:
    rows = shown(GRID, 100)
    assert "b − a c − a d − a" in rows
    assert rows[rows.index("Accuracy +0.6 [-0.2, +1.3] +0.6 [-0.3, +1.5]") + 1] == "equivalent equivalent"


def test_on_a_narrow_screen_each_subject_has_a_line_and_what_does_not_exist_has_none() -> None:
    rows = shown(GRID, 60)
    assert [row for row in rows if row and row[0] not in "┌├└"] == [
        "Differences",
        "Accuracy",
        "b − a +0.6 [-0.2, +1.3] equivalent",
        "c − a +0.6 [-0.3, +1.5] equivalent",
        "Robust accuracy",
        "b − a +3.2 [+1.4, +5.1] improved",
        "d − a -1.0 [-2.0, -0.1] regressed",
    ]


def test_eighteen_groups_are_readable_in_eighty_characters() -> None:
    names = tuple(f"mlp/adamw~no-decay-{k}@pruned-50" for k in range(18))
    rows = shown(Grid("Measured", ("",), names, (Row(("Accuracy",), ("97.2 % [95.6, 98.3]",) * 18),)), 80)
    assert sum(row.endswith("97.2 % [95.6, 98.3]") for row in rows) == 18


def test_the_columns_of_a_finding_become_one_heading() -> None:
    grid = Grid(
        "Findings", ("rule", "bar"), ("a", "b", "c"), (Row(("R-1", "Right\nat least 0.9"), ("pass\n0.95 to 1",) * 3),)
    )
    rows = shown(grid, 50)
    assert "R-1 Right, at least 0.9" in rows
    assert rows.count("a pass 0.95 to 1") == 1
