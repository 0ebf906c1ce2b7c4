"""auditor verify: check that a bundle is what was sealed."""

from pathlib import Path

import click

from auditor.cli.options import BUNDLE


@click.command("verify", short_help="Check that a bundle is what was sealed.")
@BUNDLE
def command(bundle: Path) -> None:
    """Compare every file in BUNDLE with its seal, and judge the facts again. Ends with 2 where anything differs."""
    from auditor.stages import verify

    for line in verify(bundle):
        click.echo(line)
