"""auditor report: render a finished audit again."""

from pathlib import Path

import click

from auditor.cli.options import BUNDLE, FORMATS


@click.command("report", short_help="Render a finished audit again.")
@BUNDLE
@FORMATS
def command(bundle: Path, formats: tuple[str, ...]) -> None:
    """Render the facts and the judgement in BUNDLE. Needs neither torch nor any probe."""
    from auditor.stages import render_bundle

    for path in render_bundle(bundle, formats or ("html", "md")):
        click.echo(path)
