"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])  # a command function of any signature

AUDIT = click.argument("audit", required=False, type=click.Path(path_type=Path, dir_okay=False), metavar="[AUDIT.yaml]")
BUNDLE = click.argument("bundle", type=click.Path(path_type=Path, file_okay=False), metavar="BUNDLE")
FORMATS = click.option(
    "--format", "formats", multiple=True, metavar="NAME", help="Report format, repeatable; default html and md."
)
POLICY = click.option("--policy", type=click.Path(path_type=Path, dir_okay=False), help="Judge by this policy file.")


def planning(command: F) -> F:
    """Options that decide what an audit does."""
    for option in reversed(
        (
            click.option("--profile", metavar="NAME", help="quick, standard, thorough or a file."),
            click.option("--only", multiple=True, metavar="PROBE", help="Only these probes (globs), repeatable."),
            click.option("--skip", multiple=True, metavar="PROBE", help="All but these probes (globs), repeatable."),
            click.option("--seed", type=click.IntRange(min=0), help="Root of all random streams."),
            click.option(
                "--store",
                type=click.Path(path_type=Path, file_okay=False),
                default=Path(".auditor"),
                show_default=True,
                help="Where finished units are kept.",
            ),
        )
    ):
        command = option(command)
    return command


def running(command: F) -> F:
    """Options that decide how an audit runs, and no number."""
    for option in reversed(
        (
            click.option("--out", type=click.Path(path_type=Path), help="Folder of the bundle; default audits/NAME."),
            click.option(
                "--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes; default one a core."
            ),
            click.option("--fresh", is_flag=True, help="Do every unit again, whatever the store holds."),
            click.option(
                "--budget", metavar="TIME", callback=_seconds, help="Longest that one unit may take: 90s, 10m, 2h."
            ),
            click.option("--quiet", is_flag=True, help="Print the verdict and errors only."),
        )
    ):
        command = option(command)
    return command


def _seconds(_ctx: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        value = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise click.BadParameter(f"{text!r} is not a time such as 90s, 10m or 2h")
    return value


def flags(seed: int | None, budget: float | None = None) -> dict[str, Any]:
    """The flags that lie over the configuration."""
    return {k: v for k, v in (("seed", seed), ("unit_seconds", budget)) if v is not None}
