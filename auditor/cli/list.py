"""auditor list: what is installed."""

from collections.abc import Mapping

import click

KINDS = (
    "probes",
    "metrics",
    "optimizers",
    "architectures",
    "estimators",
    "datasets",
    "reports",
    "profiles",
    "frameworks",
)


@click.command("list", short_help="List what is installed.")
@click.argument("kind", type=click.Choice(KINDS), default="probes")
def command(kind: str) -> None:
    """List installed plugins of KIND with the package that brings them; `auditor explain NAME` says more."""
    for line in _lines(kind):
        click.echo(line)


def _lines(kind: str) -> list[str]:
    from auditor import plugins

    if kind == "profiles":
        return ["quick", "standard", "thorough"]
    if kind == "frameworks":
        from auditor.frameworks import NAMES

        return list(NAMES)
    if kind == "estimators":
        from auditor.training.estimators import ESTIMATORS

        return [estimator.line() for estimator in ESTIMATORS.values()]
    if kind == "metrics":
        from auditor.auditing import catalogue

        return catalogue().metric_names()
    if kind == "optimizers":
        from auditor.training.optimizers import names

        return _columns(names())
    return _columns({name: plugins.owner(entry) for name, entry in plugins.names(f"auditor.{kind}").items()})


def _columns(found: Mapping[str, str]) -> list[str]:
    width = max((len(name) for name in found), default=0)
    return [f"{name:<{width}}  {owner}" for name, owner in found.items()]
