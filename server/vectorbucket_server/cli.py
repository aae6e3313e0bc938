"""The command ``vectorbucket-server``.

Rules of this file: it alone reads the arguments and knows exit codes: 0 is a stop that was asked
for or a command that did its work, 1 a server that could not start or a command that failed, 2
arguments or settings that are wrong, 3 damage that ``check`` found. Flags of servers are made from
the fields of the settings, so that each is declared and documented once.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args, get_origin

from vectorbucket.errors import VectorBucketError

try:
    import typer
    from pydantic.fields import FieldInfo

    from vectorbucket_server.app import serve
    from vectorbucket_server.auth.credentials import BadCredentials
    from vectorbucket_server.auth.new_credential import add_to_file, new_credential
    from vectorbucket_server.disk_commands import DISK_COMMANDS, CommandFailed, DamageFound
    from vectorbucket_server.door_settings import DoorSettings
    from vectorbucket_server.listening import StartFailed
    from vectorbucket_server.settings import (
        BadSettings,
        Settings,
        load_settings,
    )
    from vectorbucket_server.translate import translate
    from vectorbucket_server.translate_settings import TranslateSettings
except ModuleNotFoundError as missing:
    sys.exit(
        f"vectorbucket-server needs the package {missing.name}, which is not installed: "
        "pip install 'vectorbucket[server]'"
    )

EXIT_START_FAILED = 1
EXIT_BAD_SETTINGS = 2
EXIT_DAMAGE_FOUND = 3

DEFAULT_ACCOUNT_ID: str = Settings.model_fields["account_id"].default

S = TypeVar("S", bound=DoorSettings)

# Tracebacks are plain: the pretty ones print local variables, and those hold vectors.
command = typer.Typer(
    name="vectorbucket-server",
    help="A self-hosted vector-bucket service.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


credentials_command = typer.Typer(help="Credentials of callers.", no_args_is_help=True)
command.add_typer(credentials_command, name="credentials")


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
    """Serve gRPC, and REST if an address is given for it, until SIGTERM or SIGINT.

    Each flag has a twin in the environment (--grpc-address is VECTORBUCKET_GRPC_ADDRESS, --limit
    top_k_max=500 is VECTORBUCKET_LIMIT__TOP_K_MAX=500) and in the file that --config names
    (grpc_address = "…", [limit] top_k_max = 500). Flags win over the environment, that over the
    file, that over the defaults.
    """
    settings = _settings(Settings, flags)
    with _failures_told():
        try:
            serve(settings, sys.stdout)
        except ModuleNotFoundError as missing:
            _leave(
                f"the engine {settings.engine} needs the package {missing.name}, which is not "
                "installed: pip install 'vectorbucket[server]'",
                EXIT_START_FAILED,
            )


def _translate(**flags: Any) -> None:
    """Serve the REST API of OSS in front of a server elsewhere, until SIGTERM or SIGINT.

    Flags have twins in the environment and in a file; see the help of serve.
    """
    settings = _settings(TranslateSettings, flags)
    with _failures_told():
        translate(settings, sys.stdout)


def _settings(kind: type[S], flags: dict[str, Any]) -> S:
    """Return the settings that the flags and other sources give.

    Raises:
        typer.Exit: They cannot be used; it was said why.
    """
    config: Path | None = flags.pop("config")
    try:
        given = {name: _given(name, value) for name, value in flags.items() if value is not None}
        return load_settings(kind, given, config)
    except BadSettings as error:
        _leave(str(error), EXIT_BAD_SETTINGS)


@contextmanager
def _failures_told() -> Iterator[None]:
    """Say in one line why something cannot start, and exit.

    Raises:
        typer.Exit: It cannot.
    """
    try:
        yield
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
    """Return the parameter of a command that a setting has. Values are judged by the settings."""
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


def _with_flags(function: Callable[..., None], kind: type[DoorSettings]) -> Callable[..., None]:
    """Return a function with a parameter for each setting of a kind, for typer to read."""
    config = inspect.Parameter(
        "config",
        inspect.Parameter.KEYWORD_ONLY,
        default=typer.Option(None, "--config", metavar="FILE", help="A TOML file of settings."),
        annotation=Path | None,
    )
    parameters = [config, *(_flag(*item) for item in kind.model_fields.items())]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {one.name: one.annotation for one in parameters}
    return function


command.command("serve")(_with_flags(_serve, Settings))
command.command("translate")(_with_flags(_translate, TranslateSettings))


def _told(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command that says in one line why it ended badly, and exits accordingly."""

    @wraps(function)
    def command_told(*arguments: Any, **flags: Any) -> None:
        try:
            function(*arguments, **flags)
        except BadSettings as error:
            _leave(str(error), EXIT_BAD_SETTINGS)
        except DamageFound as error:
            _leave(str(error), EXIT_DAMAGE_FOUND)
        except (CommandFailed, VectorBucketError) as error:
            _leave(str(error), EXIT_START_FAILED)
        except OSError as error:
            _leave(f"{error.filename}: {error.strerror}", EXIT_START_FAILED)
        except ModuleNotFoundError as missing:
            _leave(
                f"this needs the package {missing.name}, which is not installed: "
                "pip install 'vectorbucket[server]'",
                EXIT_START_FAILED,
            )

    return command_told


for _name, _function in DISK_COMMANDS.items():
    command.command(_name)(_told(_function))


@credentials_command.command("new")
def _new_credential(
    name: Annotated[
        str, typer.Argument(help="What the credential is called, in logs and policies.")
    ],
    account_id: Annotated[
        str, typer.Option(help="The account that it belongs to: decimal digits.")
    ] = DEFAULT_ACCOUNT_ID,
    file: Annotated[
        Path | None, typer.Option(help="The file to add it to; without, it is only shown.")
    ] = None,
    *,
    owner: Annotated[
        bool, typer.Option("--owner", help="Let it do everything in its account.")
    ] = False,
    operator: Annotated[
        bool, typer.Option("--operator", help="Let it look after the server, and make backups.")
    ] = False,
    impersonate: Annotated[
        bool,
        typer.Option(
            "--impersonate",
            help="Make it a translator's, which names callers whose signatures it has checked.",
        ),
    ] = False,
) -> None:
    """Make a credential: an access key for REST and an API key for gRPC.

    Its secrets are shown once, on standard output. With --file it is added to the file, in which
    the API key stands as a hash.
    """
    try:
        made = new_credential(
            name, account_id, owner=owner, operator=operator, impersonate=impersonate
        )
        if file is not None:
            add_to_file(file, made)
    except (BadCredentials, OSError) as error:
        _leave(str(error), EXIT_BAD_SETTINGS)
    if file is None:
        typer.echo(made.toml, nl=False)
        typer.echo(f"# the API key, for gRPC: {made.api_key}")
        return
    typer.echo(f"access_key_id      {made.access_key_id}")
    typer.echo(f"access_key_secret  {made.access_key_secret}")
    typer.echo(f"api_key            {made.api_key}")
