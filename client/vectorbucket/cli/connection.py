"""The server that a command speaks with, and how it is to answer: the flags of every command.

Rules of this file: the only one to read the environment, which it does through typer. What the
flags of every command are is said here, once. An API key is shown nowhere.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vectorbucket import Client, Tls

_PANEL = "Flags of every command"

TIMEOUT_S = 30.0
"""Seconds for a call where nothing else is said."""

TIMEOUT_S_MAX = 1e6
"""Eleven days; gRPC takes much larger ones, and infinity, for a time that is over."""

_NO_TARGETS = ("http://", "https://", "grpc://")
"""What stands before the address of another listener, or in another program's flags."""


class Output(StrEnum):
    """In which form a command answers."""

    TABLE = "table"
    JSON = "json"


class BadInput(Exception):
    """The command line, or a file that it names, is wrong: the message says where and how."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Which server, as whom, and how to answer: what the flags of every command say.

    Attributes:
        endpoint: ``HOST:PORT`` of the server's gRPC listener.
        api_key: Who calls; or where that stands, as ``file://PATH``.
        tls: Whether to speak TLS.
        tls_ca: Authorities that may have signed the server's certificate.
        tls_certificate: What to show to a server that wants a certificate.
        tls_key: The private key of that.
        timeout_s: Seconds for a call and its retries; None: as long as the call may usually take.
        output: In which form to answer.
        no_color: Whether to do without colours in a terminal, too.
        debug: Whether to show where an error comes from.
    """

    endpoint: str = "127.0.0.1:50051"
    api_key: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    timeout_s: float | None = None
    output: Output = Output.TABLE
    no_color: bool = False
    debug: bool = False

    def connect(self) -> Client:
        """Return a client of the server, which connects when it is first used.

        Raises:
            BadInput: A flag says what cannot be.
        """
        # Without a port gRPC would try 443.
        if self.endpoint.startswith(_NO_TARGETS) or ":" not in self.endpoint:
            raise BadInput(
                f"--endpoint is {self.endpoint!r}; it must be HOST:PORT of the gRPC listener"
            )
        timeout_s = TIMEOUT_S if self.timeout_s is None else self.timeout_s
        if not 0 < timeout_s <= TIMEOUT_S_MAX:
            raise BadInput(
                f"--timeout-s is {timeout_s:g}; it must be above 0, at most {TIMEOUT_S_MAX:,.0f}"
            )
        try:
            return Client(self.endpoint, timeout_s=timeout_s, api_key=self._key(), tls=self._tls())
        except ValueError as error:
            raise BadInput(str(error)) from error

    def _key(self) -> str | None:
        """Return the API key itself."""
        if self.api_key is None or not self.api_key.startswith("file://"):
            return self.api_key
        path = Path(self.api_key.removeprefix("file://")).expanduser()
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = (isinstance(error, OSError) and error.strerror) or "it is no text"
            raise BadInput(f"{path}, named by --api-key, cannot be read: {why}") from error

    def _tls(self) -> Tls | None:
        """Return how to speak TLS; any part of it says that it is wanted."""
        if not (self.tls or self.tls_ca or self.tls_certificate or self.tls_key):
            return None
        return Tls(ca=self.tls_ca, certificate=self.tls_certificate, key=self.tls_key)


_FLAGS: dict[str, tuple[Any, tuple[str, ...], str]] = {
    "endpoint": (
        str | None,
        ("--endpoint", "--target", "-e"),
        "HOST:PORT of the server's gRPC listener; 127.0.0.1:50051 if not given.",
    ),
    "api_key": (
        str | None,
        ("--api-key",),
        "Who calls, or file://PATH of a file that says so. Others can see a command line.",
    ),
    "tls": (bool | None, ("--tls/--no-tls",), "Speak TLS; so does each of the next three."),
    "tls_ca": (
        Path | None,
        ("--tls-ca",),
        "Certificates (PEM) of the authorities that may have signed the server's.",
    ),
    "tls_certificate": (
        Path | None,
        ("--tls-certificate",),
        "The certificate (PEM) to show to a server that wants one.",
    ),
    "tls_key": (Path | None, ("--tls-key",), "The private key (PEM) of that certificate."),
    "timeout_s": (
        float | None,
        ("--timeout-s",),
        "Seconds for a call and its retries; 30 if not given, longer for loading and backups.",
    ),
    "output": (
        Output | None,
        ("--output", "--output-format", "-o"),
        "A table for people, or one JSON document for programs; table if not given.",
    ),
    "no_color": (bool | None, ("--no-color",), "No colours; there are some in terminals only."),
    "debug": (bool | None, ("--debug",), "Show where an error comes from."),
}
"""The flags of every command: type, spellings, help; by the attribute of Connection."""


def environment_name(name: str) -> str:
    """Return the variable that does what a flag of every command does."""
    return f"VECTORBUCKET_{name.upper()}"


def connection_flags(*, environment: bool) -> list[inspect.Parameter]:
    """Return the flags of every command as parameters.

    Args:
        environment: Whether they are read from the environment as well: before the command they
            are, and what is said after it wins.
    """
    parameters = []
    for name, (kind, spellings, text) in _FLAGS.items():
        option = typer.Option(
            *spellings,
            help=text,
            envvar=environment_name(name) if environment else None,
            show_envvar=False,
            show_default=False,
            rich_help_panel=_PANEL,
        )
        annotation: Any = Annotated[kind, option]
        parameters.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
        )
    return parameters


def changed(connection: Connection, given: dict[str, Any]) -> Connection:
    """Return a connection with what flags say taken out of ``given``; None says nothing."""
    said = {one.name: given.pop(one.name) for one in fields(Connection)}
    return replace(connection, **{name: value for name, value in said.items() if value is not None})
