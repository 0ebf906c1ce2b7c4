"""auditor gate: judge a finished audit."""

from datetime import datetime
from pathlib import Path

import click

from auditor.cli.options import BUNDLE, POLICY


@click.command("gate", short_help="Judge a finished audit by a policy; the exit code is the verdict.")
@BUNDLE
@POLICY
@click.option(
    "--waivers", type=click.Path(path_type=Path, dir_okay=False), help="Accept findings by this waivers file."
)
@click.option(
    "--baseline", type=click.Path(path_type=Path, file_okay=False), help="Bundle that regression rules compare with."
)
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Judge as on this day; default today.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--save", is_flag=True, help="Put the findings into the bundle; its reports must then be rendered again.")
@click.option("--quiet", is_flag=True, help="Print the verdict only.")
def command(
    bundle: Path,
    policy: Path | None,
    waivers: Path | None,
    baseline: Path | None,
    as_of: datetime | None,
    as_json: bool,
    save: bool,
    quiet: bool,
) -> int:
    """Judge the facts in BUNDLE, by the policy inside it or by another. Needs neither torch nor any probe."""
    from auditor import stages
    from auditor.bundle import read_facts
    from auditor.documents import text_of

    facts = read_facts(bundle)
    bar, accepted = (text_of(path) if path else None for path in (policy, waivers))
    before = read_facts(baseline) if baseline else None
    findings = stages.judged(
        facts,
        policy_text=bar,
        waivers_text=accepted,
        source=str(policy or "inputs/policy.yaml"),
        waivers_source=str(waivers or "inputs/waivers.yaml"),
        baseline=before,
        as_of=as_of.date() if as_of else None,
    )
    if save:
        stages.seal_findings(bundle, findings, policy_text=bar, waivers_text=accepted, baseline=before)
    if as_json:
        click.echo(findings.model_dump_json(by_alias=True, indent=2))
    else:
        from auditor.console import print_findings

        print_findings(findings, quiet=quiet)
    return findings.exit_code
