"""What reads bundles works without torch and without any probe; light commands import nothing heavy."""

import shutil
from pathlib import Path
from typing import Any

import pytest

BLOCKER = '''
"""Makes heavy libraries and every probe fail on import."""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        heavy = name.split(".")[0] in ("torch", "sklearn", "scipy", "art", "pebble")
        if heavy or name.startswith(("auditor.attacks", "auditor.checks", "auditor_trouble")):
            raise ImportError(f"{name} is blocked in this test")
        return None

sys.meta_path.insert(0, Blocker())
'''


@pytest.fixture
def bare(shell_at: Any, tmp_path: Path, tiny: Any) -> Any:
    """A shell in which only what reads bundles can work, with a copy of the tiny bundle."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BLOCKER)
    shutil.copytree(tiny.bundle, tmp_path / "bundle")
    return type(shell_at(tmp_path))(tmp_path, {"PYTHONPATH": str(site)})


def test_the_blocker_really_blocks(bare: Any) -> None:
    for name in (
        "torch",
        "sklearn.datasets",
        "scipy.stats",
        "art",
        "auditor.checks.accuracy",
        "auditor_trouble.brightness",
    ):
        assert "is blocked in this test" in bare.python(f"import {name}").err


@pytest.mark.parametrize(
    "args",
    [
        ("gate", "bundle"),
        ("gate", "bundle", "--json"),
        ("verify", "bundle"),
        ("report", "bundle", "--format", "html"),
        ("list", "probes"),
        ("list", "optimizers"),
        ("schema", "record"),
        ("schema", "audit"),
        ("config", "show"),
        ("explain", "adamw"),
        ("--version",),
    ],
    ids=" ".join,
)
def test_later_stages_and_the_catalogue_need_neither_torch_nor_any_probe(bare: Any, args: tuple[str, ...]) -> None:
    ended = bare(*args)
    assert ended.code == 0, ended.err
    assert ended.err == ""
    assert ended.out


def test_a_report_made_without_torch_is_the_same_bytes(bare: Any, tiny: Any) -> None:
    assert bare("report", "bundle", "--format", "html").code == 0
    assert (bare.folder / "bundle/looks/report.html").read_bytes() == (tiny.bundle / "looks/report.html").read_bytes()


@pytest.mark.parametrize(
    "args", [["--help"], ["run", "--help"], ["list", "probes"], ["list", "optimizers"], ["--version"]], ids=" ".join
)
def test_light_commands_import_nothing_heavy(shell: Any, args: list[str]) -> None:
    heavy = "{'torch', 'sklearn', 'scipy', 'art', 'matplotlib', 'numpy', 'pydantic', 'pebble', 'jinja2'}"
    code = (
        "import sys; from auditor.cli import exit_code\n"
        f"c = exit_code({args!r}); print(c, sorted({heavy} & set(sys.modules)))"
    )
    assert shell.python(code).out.splitlines()[-1] == "0 []"


def test_listing_metrics_and_planning_import_no_torch(shell: Any, write_audit: Any, tiny: Any) -> None:
    write_audit()
    for args in (["list", "metrics"], ["explain", "accuracy"], ["plan", "audit.yaml", "--store", str(tiny.store)]):
        code = (
            "import sys; from auditor.cli import exit_code\n"
            f"c = exit_code({args!r}); print(c, sorted({{'torch', 'sklearn', 'art', 'matplotlib'}} & set(sys.modules)))"
        )
        assert shell.python(code).out.splitlines()[-1] == "0 []", args
