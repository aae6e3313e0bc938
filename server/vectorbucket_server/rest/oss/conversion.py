"""What every operation's conversion looks like: one way in, one way out, and how a way in fails.

Rules of this file: a request that cannot be converted becomes a message all the same, with as much
of it as names what it is about, and a fault: the server is asked, and tells the fault at its place
in the order of checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from google.protobuf.message import Message

from vectorbucket.errors import InvalidRequest, MalformedJson, VectorIndexParameterInvalid
from vectorbucket_server.rest.oss.bodies import Odd, parse_carefully, parse_quickly
from vectorbucket_server.rest.oss.reader import Reader

NAMES = ("bucket", "index_name")
"""Fields that name what a request is about."""


class Source(Enum):
    """What of a request an operation reads."""

    NOTHING = auto()
    PARAMETERS = auto()
    """The query: a mapping of its parameters."""
    JSON = auto()
    """The body: a ``Reader``."""
    JSON_IF_ANY = auto()
    """The same; a request without a body is one with an empty object."""
    TEXT = auto()
    """The body as it is: bytes."""


@dataclass(frozen=True, slots=True)
class About:
    """What a reply may have to say beside what the server answered."""

    request: Any
    """The message that the server was asked with."""
    endpoint: str
    """The host under which the service is reached, with its port."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is particular about a response."""

    body: bytes = b""
    """JSON; empty for none."""
    headers: tuple[tuple[str, str], ...] = ()


def say_nothing(_answer: Any, _about: About) -> Reply:
    """Reply with the status alone."""
    return Reply()


def fill_nothing(_message: Any, _source: Any) -> None:
    """Ask with the bucket alone."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one operation goes in and comes out."""

    message: type[Message]
    """Of the RPC's request; its ``bucket`` is filled in already."""
    source: Source = Source.NOTHING
    fill: Callable[[Any, Any], None] = fill_nothing
    """Takes the message and what ``source`` says; fills ``index_name`` before anything else."""
    reply: Callable[[Any, About], Reply] = say_nothing
    """Takes what the server answered."""


def converted(
    conversion: Conversion, bucket: str, parameters: Mapping[str, str], body: bytes
) -> tuple[Any, InvalidRequest | None]:
    """Return the message to ask the server with, and what is wrong with the request.

    Args:
        conversion: Of the operation.
        bucket: As it is named; empty for the service itself.
        parameters: Of the query.
        body: As it came.
    """

    def named() -> Any:
        return conversion.message(bucket=bucket) if bucket else conversion.message()

    reads_json = conversion.source in {Source.JSON, Source.JSON_IF_ANY}
    if reads_json:
        if conversion.source is Source.JSON_IF_ANY and not body.strip():
            body = b"{}"
        message = named()
        try:
            conversion.fill(message, Reader(parse_quickly(body)))
        except Odd:
            pass
        except MalformedJson as fault:
            return named(), fault
        except VectorIndexParameterInvalid as fault:
            # Of a body that is too large to be worth a closer look.
            return _only_names(message, named()), fault
        else:
            return message, None
    message = named()
    try:
        conversion.fill(message, _read(conversion.source, parameters, body))
    except InvalidRequest as fault:
        return _only_names(message, named()), fault
    return message, None


def _only_names(message: Any, empty: Any) -> Any:
    """Return a message with as much of another one as names what it is about."""
    for name in NAMES:
        if name in empty.DESCRIPTOR.fields_by_name:
            setattr(empty, name, getattr(message, name))
    return empty


def _read(
    source: Source, parameters: Mapping[str, str], body: bytes
) -> Mapping[str, str] | Reader | bytes:
    """Return what an operation reads; JSON by the careful road.

    Raises:
        InvalidRequest: It cannot be read.
    """
    if source is Source.PARAMETERS:
        return parameters
    if source in {Source.JSON, Source.JSON_IF_ANY}:
        return Reader(parse_carefully(body))
    return body
