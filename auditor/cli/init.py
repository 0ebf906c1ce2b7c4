"""auditor init: files to start from."""

from pathlib import Path

import click


@click.command("init", short_help="Write a commented audit.yaml and policy.yaml to start from.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option(
    "--data", type=click.Path(path_type=Path), help="An npz file or a folder of IDX files; default the built-in digits."
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Weights (.safetensors, .pt) or a skops file; default: train one.",
)
@click.option("--factory", metavar="MODULE:CALLABLE", help="What makes the module that the weights belong to.")
@click.option("--name", metavar="TEXT", help="Name of the audit; default the folder's.")
def command(folder: Path, data: Path | None, model: Path | None, factory: str | None, name: str | None) -> None:
    """Write audit.yaml and policy.yaml to FOLDER, after a look at the data. Files that exist are never overwritten."""
    from auditor.scaffold import write

    for line in write(folder, data=data, model=model, factory=factory, name=name):
        click.echo(line)
