"""Every command explains itself and is documented."""

from pathlib import Path
from typing import Any

import click
import pytest

from auditor import cli

ROOT = Path(__file__).parents[2]


def command(name: str) -> click.Command:
    found = cli.cli.get_command(click.Context(cli.cli), name)
    assert isinstance(found, click.Command)
    return found


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_has_help_and_so_has_each_of_its_options(name: str) -> None:
    made = command(name)
    assert made.help
    assert made.get_short_help_str(200) == cli.COMMANDS[name]
    commands = made.commands.values() if isinstance(made, click.Group) else [made]
    for one in commands:
        assert one.help
        assert [p.name for p in one.params if isinstance(p, click.Option) and not p.help] == []


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_is_documented(name: str) -> None:
    pages = [p for p in (ROOT / "README.md", ROOT / "docs/cli.md") if p.is_file()]
    assert pages, "README.md and docs/cli.md are missing"
    assert any(f"auditor {name}" in page.read_text() for page in pages)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_of_a_command_is_documented(name: str) -> None:
    page = ROOT / "docs/cli.md"
    assert page.is_file(), "docs/cli.md is missing"
    text = page.read_text()
    options = [o for p in command(name).params if isinstance(p, click.Option) for o in p.opts if o.startswith("--")]
    assert [o for o in options if o not in text] == []


def test_the_help_lists_every_command_with_what_it_does(shell: Any) -> None:
    ended = shell("--help")
    assert ended.code == 0
    for name, text in cli.COMMANDS.items():
        assert f"{name} " in ended.out
        assert text.split(":")[0][:40] in ended.out
    assert "130 interrupted" in " ".join(ended.out.split())
