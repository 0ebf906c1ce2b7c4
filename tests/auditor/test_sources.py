"""What of the source decides a number, so that changing it makes every unit a new one."""

from pathlib import Path

import pytest

from auditor.sources import environment, tree_digest

FILES = {"loop.py": "a = 1\n", "optimizers/table.json": '{"beta1": 0.9}\n'}


def package(root: Path, **changed: str) -> str:
    for name, text in (FILES | changed).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tree_digest([root])


@pytest.mark.parametrize(("name", "text"), [("loop.py", "a = 2\n"), ("optimizers/table.json", '{"beta1": 0.95}\n')])
def test_another_code_or_another_table_of_defaults_is_another_source(tmp_path: Path, name: str, text: str) -> None:
    before = package(tmp_path)
    assert package(tmp_path) == before
    assert package(tmp_path, **{name: text}) != before


def test_how_a_number_looks_is_no_part_of_the_source_that_decides_it(tmp_path: Path) -> None:
    before = package(tmp_path)
    assert (
        package(tmp_path, **{"cli/run.py": "b = 1\n", "reports/page.py": "", "notes.txt": "", "p.html": ""}) == before
    )


def test_the_library_that_minimises_for_scikit_learn_is_part_of_every_unit() -> None:
    assert {"torch", "numpy", "scipy", "scikit-learn"} <= environment()["versions"].keys()
