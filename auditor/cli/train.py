"""auditor train: only the trainings of an audit."""

from pathlib import Path

import click

from auditor.cli.options import AUDIT, flags, planning, running


@click.command("train", short_help="Only the trainings of an audit.")
@AUDIT
@planning
@running
def command(
    audit: Path | None,
    profile: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    seed: int | None,
    store: Path,
    out: Path | None,
    workers: int | None,
    fresh: bool,
    budget: float | None,
    quiet: bool,
) -> int:
    """Train the subjects of AUDIT.yaml, and write their weights with their recipes to OUT/artifacts."""
    from auditor import auditing
    from auditor.config import load_audit
    from auditor.console import Terminal

    loaded = load_audit(audit, profile=profile, flags=flags(seed, budget))
    options = auditing.Options(store=store, out=out, workers=workers, fresh=fresh, only=only, skip=skip)
    with Terminal(quiet=quiet) as terminal:
        trained = auditing.train(loaded, options, terminal.watch)
    for line in trained.lines:
        click.echo(line)
    return trained.exit_code
