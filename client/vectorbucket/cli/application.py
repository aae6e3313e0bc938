"""The command ``vectorbucket``, put together.

Rules of this file: it joins the commands that stand beside it, and adds what concerns all: the
flags before a command, the version, and the help with its exit codes.
"""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from vectorbucket import __version__
from vectorbucket.cli import buckets, exit_codes, health, indexes, operations, transfer, vectors
from vectorbucket.cli.command import Commands, paragraphs, taking
from vectorbucket.cli.connection import (
    Connection,
    changed,
    connection_flags,
    environment_name,
)

_HELP = """Speak with a vectorbucket server.

Commands and flags are named as in ossutil's vectors-api. Every flag that takes JSON takes the JSON
itself, file://PATH of a file, or - for standard input.

The flags of every command can be set in the environment, too: {names}.
"""


def _help() -> str:
    """Return what stands above the commands."""
    names = [environment_name(flag.name) for flag in connection_flags(environment=True)]
    return paragraphs(_HELP.format(names=", ".join(names)))


def _exit_codes_text() -> str:
    """Return the table of exit codes as the help shows it, a line each."""
    lines = [f"{code}  {meaning}" for code, meaning in exit_codes.EXIT_CODES.items()]
    return "\n\n".join(["Exit codes:", *lines])


# Tracebacks are plain: the pretty ones print local variables, and those hold vectors.
app = typer.Typer(
    name="vectorbucket",
    cls=Commands,
    help=_help(),
    epilog=_exit_codes_text(),
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if wanted:
        typer.echo(f"vectorbucket {__version__}")
        raise typer.Exit


def _before_command(context: typer.Context, **given: Any) -> None:
    """Note the flags that stand before a command; without one, help."""
    del given["version"]
    context.obj = changed(Connection(), given)
    if context.invoked_subcommand is None:
        # With rich it is written, without it returned.
        typer.echo(context.get_help(), nl=False)
        raise typer.Exit(exit_codes.WRONG_USAGE)


_VERSION = inspect.Parameter(
    "version",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ],
)

app.callback()(taking(_before_command, [_VERSION, *connection_flags(environment=True)]))
for noun in (buckets, indexes, vectors, transfer, operations, health):
    app.add_typer(noun.app)
