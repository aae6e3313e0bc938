"""The command ``vectorbucket-server``.

Rules of this file: it alone reads the arguments and knows exit codes: 0 is a stop that was asked
for, 1 a server that could not start, 2 arguments or settings that are wrong. Flags are made from
the fields of Settings, so that each is declared and documented once.
"""

from __future__ import annotations

import inspect
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

from vectorbucket.errors import VectorBucketError

try:
    import typer
    from pydantic.fields import FieldInfo

    from vectorbucket_server.app import StartFailed, serve
    from vectorbucket_server.settings import BadSettings, Settings, load_settings
except ModuleNotFoundError as missing:
    sys.exit(
        f"vectorbucket-server needs the package {missing.name}, which is not installed: "
        "pip install 'vectorbucket[server]'"
    )

EXIT_START_FAILED = 1
EXIT_BAD_SETTINGS = 2

# Tracebacks are plain: the pretty ones print local variables, and those hold vectors.
command = typer.Typer(
    name="vectorbucket-server",
    help="A self-hosted vector-bucket service.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command with this process's arguments."""
    command(prog_name="vectorbucket-server")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if wanted:
        typer.echo(f"vectorbucket-server {metadata.version('vectorbucket')}")
        raise typer.Exit


@command.callback()
def _options_of_all(
    version: bool = typer.Option(  # noqa: FBT001 - read by its callback
        False,  # noqa: FBT003 - the flag's default
        "--version",
        help="Show the version and exit.",
        callback=_show_version,
        is_eager=True,
    ),
) -> None:
    """Hold what is said before a subcommand."""


def _serve(**flags: Any) -> None:
    """Serve until SIGTERM or SIGINT.

    Each flag has a twin in the environment (--grpc-address is VECTORBUCKET_GRPC_ADDRESS, --limit
    top_k_max=500 is VECTORBUCKET_LIMIT__TOP_K_MAX=500) and in the file that --config names
    (grpc_address = "…", [limit] top_k_max = 500). Flags win over the environment, that over the
    file, that over the defaults.
    """
    config: Path | None = flags.pop("config")
    try:
        given = {name: _given(name, value) for name, value in flags.items() if value is not None}
        settings = load_settings(given, config)
    except BadSettings as error:
        _leave(str(error), EXIT_BAD_SETTINGS)
    try:
        serve(settings, sys.stdout)
    except ModuleNotFoundError as missing:
        _leave(
            f"the engine {settings.engine} needs the package {missing.name}, which is not "
            "installed: pip install 'vectorbucket[server]'",
            EXIT_START_FAILED,
        )
    except (StartFailed, VectorBucketError) as error:
        _leave(str(error), EXIT_START_FAILED)


def _leave(message: str, code: int) -> NoReturn:
    """Say in one line why, and exit.

    Raises:
        typer.Exit: Always.
    """
    typer.echo(f"vectorbucket-server: {message}", err=True)
    raise typer.Exit(code)


def _given(name: str, value: Any) -> Any:
    """Return what a flag says, in the form that Settings takes.

    Raises:
        BadSettings: It should be NAME=VALUE and is not.
    """
    if not isinstance(value, list):
        return value
    table = {}
    for item in value:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise BadSettings(f"--{name} is {item!r}; it must be NAME=VALUE")
        table[key] = text
    return table


def _is_table(field: FieldInfo) -> bool:
    return field.default_factory is dict


def _flag(name: str, field: FieldInfo) -> inspect.Parameter:
    """Return the parameter of ``serve`` that a setting has. Values are judged by Settings."""
    flag = f"--{name.replace('_', '-')}"
    kind: Any = str | None
    choice = get_origin(field.annotation) is Literal
    metavar = "|".join(get_args(field.annotation)) if choice else "VALUE"
    default = f"  [default: {field.default}]"
    if _is_table(field):
        kind, metavar, default = list[str] | None, "NAME=VALUE", "  [can be repeated]"
    elif field.annotation is bool:
        kind, metavar, flag = bool | None, "", f"{flag}/--no-{name.replace('_', '-')}"
    option = typer.Option(
        None,
        flag,
        metavar=metavar or None,
        help=" ".join((field.description or "").replace("``", "").split()) + default,
        show_default=False,
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def _with_flags() -> Any:
    """Return ``_serve`` with a parameter for each setting, for typer to read."""
    config = inspect.Parameter(
        "config",
        inspect.Parameter.KEYWORD_ONLY,
        default=typer.Option(None, "--config", metavar="FILE", help="A TOML file of settings."),
        annotation=Path | None,
    )
    parameters = [config, *(_flag(*item) for item in Settings.model_fields.items())]
    _serve.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    _serve.__annotations__ = {one.name: one.annotation for one in parameters}
    return _serve


command.command("serve")(_with_flags())
