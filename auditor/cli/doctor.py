"""auditor doctor: what is wrong, before anything runs."""

import json
from pathlib import Path

import click

from auditor.cli.options import AUDIT


@click.command("doctor", short_help="Look at data and models in seconds, without attacks, and say what to mend.")
@AUDIT
@click.option("--only", multiple=True, metavar="SUBJECT", help="Only these subjects (globs), repeatable.")
@click.option("--profile", metavar="NAME", help="quick, standard, thorough or a file.")
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".auditor"),
    show_default=True,
    help="Where the data is kept for the run that follows.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all checks as JSON.")
def command(audit: Path | None, only: tuple[str, ...], profile: str | None, store: Path, as_json: bool) -> int:
    """Examine the subjects of AUDIT.yaml; with no file, those of the built-in audit.

    Each loaded model is asked some test rows: does it answer what it declares, the same twice, alone as in a batch and
    around its adapter, fed in its range and read in its order of classes? Networks are made, and training functions
    called on a few rows. Ends with 0 where nothing is wrong, 3 for a problem, 2 where the audit cannot be planned.
    """
    from auditor.auditing import Options
    from auditor.config import load_audit
    from auditor.doctor.diagnosis import diagnose

    loaded = load_audit(audit, profile=profile)
    found = diagnose(loaded, Options(store=store), only, lambda name: click.echo(f"examining {name}", err=True))
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        from auditor.doctor.table import show

        show(found)
    return found.exit_code
