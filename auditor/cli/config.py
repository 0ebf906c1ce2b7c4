"""auditor config: the resolved configuration."""

from pathlib import Path

import click

from auditor.cli.options import AUDIT


@click.group("config", short_help="Show the resolved configuration.")
def command() -> None:
    """What an audit file, its profile and the defaults come to."""


@command.command("show")
@AUDIT
@click.option("--profile", metavar="NAME", help="quick, standard, thorough or a file.")
def show(audit: Path | None, profile: str | None) -> None:
    """Print every setting of AUDIT.yaml with where it comes from: a file and line, or the default."""
    from auditor.config import load_audit

    loaded = load_audit(audit, profile=profile)
    for line in _lines(loaded.config.model_dump(mode="json", by_alias=True), (), loaded.document.places):
        click.echo(line)


def _lines(
    value: object, loc: tuple[str | int, ...], places: "dict[tuple[str | int, ...], object] | object"
) -> list[str]:
    assert isinstance(places, dict)
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    if items:
        return [line for key, child in items for line in _lines(child, (*loc, key), places)]
    path = ".".join(str(p) for p in loc)
    place = next((str(places[loc[:end]]) for end in range(len(loc), 0, -1) if loc[:end] in places), "default")
    exact = (
        "default"
        if loc not in places and not isinstance(loc[-1], int) and len(loc) > 1 and loc[:-1] in places and path
        else place
    )
    return [f"{path}: {value!r}  # {exact}"]
