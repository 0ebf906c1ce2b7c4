"""The examples: the commands of each README are run as they stand there, and end as it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
EACH = pytest.mark.parametrize("name", sorted(p.parent.name for p in EXAMPLES.glob("*/audit.yaml")))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[−+-]?\d[\d.,\u202f]*")
EXIT = re.compile(r"ends with exit code\s+(\d)")

pytestmark = pytest.mark.examples


def commands(readme: str) -> list[list[str]]:
    """The commands of a README, with this Python."""
    (block,) = [text for language, text in BLOCK.findall(readme) if not language]
    words = [line.split() for line in block.splitlines()]
    python = Path(sys.executable)
    return [[str(python) if word[0] == "python" else str(python.parent / word[0]), *word[1:]] for word in words]


def decided(report: Path) -> list[tuple[str, ...]]:
    """The findings of a report without their numbers, which may differ on another processor."""
    _, _, section = report.read_text().partition("## Findings")
    rows = [line.split("|")[1:-1] for line in section.split("\n## ")[0].splitlines() if line.startswith("| ")]
    assert rows
    return [tuple(NUMBER.sub("#", cell).strip() for cell in row) for row in rows]


@EACH
def test_an_example_does_what_its_readme_says(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    made = shutil.ignore_patterns("audits", ".auditor", "__pycache__", "*.npz", "*.onnx*", "*.pt2", "*.csv", "*.skops")
    shutil.copytree(EXAMPLES / name, folder, ignore=made)
    readme = (folder / "README.md").read_text()
    said = EXIT.search(readme)
    assert said is not None
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for number, command in enumerate(todo := commands(readme), 1):
        ended = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
        wanted = int(said[1]) if number == len(todo) else 0
        assert ended.returncode == wanted, ended.stdout[-2000:] + ended.stderr[-4000:]
    (new,) = folder.glob("audits/*/looks/report.md")
    assert new.read_text().splitlines()[0] == (folder / "report.md").read_text().splitlines()[0]
    assert decided(new) == decided(folder / "report.md")


@EACH
def test_a_committed_report_is_small_and_needs_nothing_from_outside(name: str) -> None:
    page = EXAMPLES / name / "report.html"
    assert page.stat().st_size < 2_000_000
    assert f"<title>{name}:" in page.read_text()
    assert "<script" not in page.read_text()
