"""auditor run: the whole audit."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli.options import AUDIT, FORMATS, flags, planning, running

if TYPE_CHECKING:
    from auditor.auditing import Audited


@click.command("run", short_help="Audit: fit or load, probe, judge, render.")
@AUDIT
@planning
@running
@FORMATS
@click.option(
    "--no-gate", is_flag=True, help="End with 0 whatever the verdict; errors and an errored unit keep their codes."
)
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
    formats: tuple[str, ...],
    no_gate: bool,
) -> int:
    """Audit what AUDIT.yaml names; with no file, small networks on handwritten digits under three optimizers.

    Fits or loads the subjects, asks every probe, judges by the policy, and writes a bundle with report.html. Finished
    units are kept: the same command again goes on where it stopped, and costs seconds when nothing is left to do.
    """
    from auditor import auditing
    from auditor.config import load_audit
    from auditor.console import Terminal

    loaded = load_audit(audit, profile=profile, flags=flags(seed, budget))
    options = auditing.Options(
        store=store,
        out=out,
        workers=workers,
        fresh=fresh,
        only=only,
        skip=skip,
        formats=formats or ("html", "md"),
        command=" ".join(["auditor", *sys.argv[1:]]),
    )
    with Terminal(quiet=quiet) as terminal:
        audited = auditing.run(loaded, options, terminal.watch)
    terminal.summary(audited)
    return exit_code(audited, no_gate=no_gate)


def exit_code(audited: "Audited", *, no_gate: bool) -> int:
    """130 where it was interrupted, else what the findings say; without the gate, only what was not done counts."""
    from auditor.verdict import errored

    record = audited.facts.record
    if audited.interrupted:
        return 130
    if no_gate:
        return 4 if not record.audit.complete else 3 if errored(record) else 0
    return int(audited.findings.exit_code)
