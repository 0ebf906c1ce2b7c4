"""auditor init: files to start from."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click


@click.command("init", short_help="Write a commented audit.yaml and policy.yaml to start from.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="An npz, csv or parquet file, or a folder of npy, IDX, CIFAR or image files.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A model file of any format; default: the one in FOLDER, else train one.",
)
@click.option("--factory", metavar="MODULE:CALLABLE", help="What makes the module that weights belong to.")
@click.option("--name", metavar="TEXT", help="Name of the audit; default the folder's.")
@click.option("--yes", "--no-input", "silent", is_flag=True, help="Ask nothing: take what is guessed.")
def command(
    folder: Path, data: Path | None, model: Path | None, factory: str | None, name: str | None, silent: bool
) -> None:
    """Write audit.yaml and policy.yaml to FOLDER, after a look at the data and the model in it.

    On a terminal every guess is asked about. Files that exist are never overwritten, and no code in FOLDER is run.
    """
    from auditor.scaffold import write

    ask = None if silent or not sys.stdin.isatty() else _asked
    for line in write(folder, data=data, model=model, factory=factory, name=name, ask=ask):
        click.echo(line)


def _asked(question: str, choices: Sequence[str], guess: str | None) -> str:
    """What a person answers, the guess where they only press Enter."""
    if len(choices) > 1:
        click.echo(f"{question}: {', '.join(choices)}")
    answer: str = click.prompt(question, default=guess)
    return answer
