"""auditor schema: the JSON Schema of a file format."""

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pydantic import BaseModel

NAMES = ("audit", "policy", "waivers", "attestations", "record", "findings", "catalogue", "timings", "manifest")


@click.command("schema", short_help="Print the JSON Schema of a file format.")
@click.argument("name", type=click.Choice(NAMES))
def command(name: str) -> None:
    """Print the JSON Schema that NAME is checked against, for editors and other programs."""
    click.echo(json.dumps(_model(name).model_json_schema(by_alias=True), indent=2))


def _model(name: str) -> "type[BaseModel]":
    from auditor import attestations, bundle, catalogue, config, policy, record

    models: dict[str, type[BaseModel]] = {
        "audit": config.AuditConfig,
        "policy": policy.Policy,
        "waivers": policy.Waivers,
        "attestations": attestations.Attestations,
        "record": record.Record,
        "findings": policy.Findings,
        "catalogue": catalogue.Catalogue,
        "timings": bundle.Timings,
        "manifest": bundle.Manifest,
    }
    return models[name]
