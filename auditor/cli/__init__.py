"""The command line: commands are imported when they are called, and every way to end has its exit code."""

import errno
import importlib
import os
import sys
import traceback
from typing import Any

import click

COMMANDS = {
    "run": "Audit: fit or load, probe, judge, render.",
    "train": "Only the trainings of an audit.",
    "doctor": "Look at data and models in seconds, without attacks, and say what to mend.",
    "plan": "What would run, what it costs, and the digest that identifies it.",
    "gate": "Judge a finished audit by a policy; the exit code is the verdict.",
    "report": "Render a finished audit again.",
    "verify": "Check that a bundle is what was sealed.",
    "init": "Write a commented audit.yaml and policy.yaml to start from.",
    "list": "List what is installed.",
    "explain": "Explain a probe, metric or optimizer.",
    "schema": "Print the JSON Schema of a file format.",
    "config": "Show the resolved configuration.",
}
INTERRUPTED, USAGE, INTERNAL = 130, 2, 4
FOR_THE_USER = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)  # what may not be read or written


class Commands(click.Group):
    """A group whose commands live in modules of their own name, imported when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Names in the order of work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of this name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"auditor.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, and an unknown name is answered with the nearest."""
        from auditor.errors import UnknownNameError

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise UnknownNameError("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list in --help, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="auditor", message="auditor %(version)s")
def cli() -> None:
    """Find out how a classifier fails before anyone else does, and whether its optimizer made it worse.

    `auditor run` with no file audits small networks on handwritten digits. `auditor init` starts your own.

    Exit codes: 0 pass; 1 a rule failed; 2 usage, configuration or integrity; 3 inconclusive, not assessed, or a unit
    errored; 4 internal error or an audit that did not complete; 130 interrupted.
    """


def main(args: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    sys.exit(exit_code(args))


def exit_code(args: list[str] | None = None) -> int:
    """Run a command; its exit code. Click's own 1 for errors and aborts never gets out."""
    from auditor.errors import AuditorError

    try:
        returned: Any = cli.main(args=args, standalone_mode=False)  # a command returns its code or None
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        return USAGE
    except AuditorError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # the second is what rich makes of the first
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # else Python complains of it once more at the end
        return INTERNAL  # whoever read us has gone, and no verdict is not a pass
    except OSError as error:
        if error.errno not in FOR_THE_USER:
            return _ours()
        click.echo(f"error: {error.filename or 'the disk'}: {error.strerror}", err=True)
        return USAGE
    except Exception:  # noqa: BLE001  # a gate must not read it as a verdict
        return _ours()
    return returned if isinstance(returned, int) else 0


def _ours() -> int:
    """Our own error: its traceback is the bug report."""
    traceback.print_exc()
    click.echo("internal error: please report the lines above", err=True)
    return INTERNAL
