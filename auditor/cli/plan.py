"""auditor plan: what would run."""

from pathlib import Path

import click

from auditor.cli.options import AUDIT, flags, planning


@click.command("plan", short_help="What would run, what it costs, and the digest that identifies it.")
@AUDIT
@planning
@click.option("--json", "as_json", is_flag=True, help="Print the units as JSON.")
def command(
    audit: Path | None,
    profile: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    seed: int | None,
    store: Path,
    as_json: bool,
) -> None:
    """Resolve AUDIT.yaml into units and say how many are finished, what the rest costs, and what could be detected."""
    from auditor import auditing, forecast
    from auditor.config import load_audit
    from auditor.store import Store

    loaded = load_audit(audit, profile=profile, flags=flags(seed))
    plan = auditing.planned(loaded, auditing.Options(store=store, only=only, skip=skip))
    click.echo(forecast.as_json(plan) if as_json else forecast.text(plan, Store(store)))
