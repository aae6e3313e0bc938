"""Who calls: the principal, the caller that a call was authenticated as, and where both are found.

Rules of this file: values, and one context variable. A principal holds no secret; what a caller
keeps of its metadata is in no ``repr``.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from vectorbucket.errors import VectorBucketError
from vectorbucket_server.auth.entries import Entries
from vectorbucket_server.auth.statement import Statement


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who calls, and what is to be known for deciding what they may do."""

    name: str
    """Of the credential; empty on an open server."""
    account_id: str
    """Whose buckets it makes and lists."""
    display_name: str = ""
    owner: bool = False
    """May do everything with what is its account's."""
    operator: bool = False
    """May look after the server and the indexes of all accounts; sees no vectors by that."""
    unrestricted: bool = False
    """May do everything: whoever calls an open server."""
    statements: tuple[Statement, ...] = ()
    """What its credential says that it may do."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal in one call, and what the call's metadata said beside."""

    principal: Principal
    request_id: str = ""
    """The id that the call has already; empty if it is to be given one."""
    account_id: str = ""
    """The account that the bucket has to belong to; empty if any will do."""
    fault: VectorBucketError | None = None
    """What is wrong with the request already; to be raised where it is found by order."""
    remote_address: str = ""
    """From where the request came that a translator serves; empty if it does not say."""
    translates: bool = False
    """Whether it is a translator that calls, or anybody on an open server."""
    version: int = 0
    """Of the credentials by which it was authenticated."""
    entries: Entries = field(default_factory=Entries, repr=False)
    """What it was authenticated by."""


@dataclass(frozen=True, slots=True)
class Sender:
    """What is believed, for the logs, of whoever sent a call that was refused."""

    name: str = ""
    """Of the credential whose key the call came with; empty if it is nobody's, or if it is about
    somebody else's signature."""
    remote_address: str = ""
    """As of a caller."""
    is_relayed: bool = False
    """Whether a translator says that it serves a request which it found wrong."""


_current: ContextVar[Caller | None] = ContextVar("caller", default=None)


def begin(caller: Caller) -> None:
    """Make a caller the current one. gRPC runs each call in a context of its own."""
    _current.set(caller)


def current_caller() -> Caller:
    """Return the caller of the call that is being served.

    Raises:
        LookupError: Nobody was authenticated, which is a bug: nothing is served before.
    """
    caller = _current.get()
    if caller is None:
        raise LookupError("no caller was authenticated")
    return caller
