"""The time in which a call is served: from its id to its status and its log line.

Rules of this file: only here is everything caught, so an exception that is no leaf of the tree is a
bug, is logged with its traceback, and reaches the caller as InternalError without its text; every
call ends in one log line, and in one note for whoever else wants to know of it; it is counted from
its beginning to its end, and is a span where traces are wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Protocol, Self

import grpc
from grpc_status import rpc_status

from vectorbucket.errors import InternalError, ServiceUnavailable, VectorBucketError
from vectorbucket.status import to_status
from vectorbucket_server.auth.authenticator import Authenticator
from vectorbucket_server.auth.principal import Sender, begin
from vectorbucket_server.observability.call_tally import CallTally
from vectorbucket_server.observability.logs import CallRecord, Log, call_fields, loggable
from vectorbucket_server.service.calls import begin_call

REQUEST_ID_KEY = "x-oss-request-id"
"""The trailing metadata entry that holds the request id, also when the call went well."""

Note = Callable[[CallRecord], object]
"""Told of every call when it has ended; quick, never raises."""


FIELD_CHARACTERS_MAX = 200
"""What is logged of the path of a field, which callers have names in."""


class Span(Protocol):
    """The part of a trace that one call is."""

    def end(self, record: CallRecord) -> None:
        """End it, with what is known of the call by then; quick, never raises."""


class Tracing(Protocol):
    """Makes spans."""

    def begin(self, record: CallRecord, metadata: Iterable[tuple[str, str | bytes]], /) -> Span:
        """Return the span of a call that begins; quick, never raises."""


_NOBODY = Sender()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all calls of a server have around them."""

    log: Log
    """Gets one line a call."""
    authenticator: Authenticator
    """Knows who calls."""
    new_request_id: Callable[[], str]
    """Makes the id of a call: 24 upper-case hexadecimal digits."""
    note: Note | None = None
    """Wants to know of every call, too."""
    tally: CallTally | None = None
    """Counts calls."""
    tracing: Tracing | None = None
    """Makes a span of every call, where traces are wanted."""


class CallScope:
    """One call, for as long as the block runs."""

    __slots__ = (
        "_begin_s",
        "_context",
        "_quiet",
        "_span",
        "_surroundings",
        "record",
        "sender",
    )

    def __init__(
        self,
        surroundings: Surroundings,
        method: str,
        context: grpc.ServicerContext,
        *,
        quiet: bool = False,
    ) -> None:
        """Begin a call.

        Args:
            surroundings: What all calls have.
            method: The RPC's name, as ``QueryVectors``.
            context: What gRPC knows of the call.
            quiet: Whether its line is for ``debug`` unless the server failed: as of probes, which
                come every few seconds.
        """
        self._quiet = quiet
        self._surroundings = surroundings
        self._context = context
        self._begin_s = time.perf_counter()
        self.record = CallRecord(surroundings.new_request_id(), method, peer=context.peer())
        self.sender = _NOBODY
        """Who sent the call, as far as that is believed, if it was refused."""
        self._span: Span | None = None

    def __enter__(self) -> Self:
        """Make the call's record the current one."""
        record, surroundings = self.record, self._surroundings
        begin_call(record)
        if surroundings.tally is not None:
            surroundings.tally.begin(record)
        if surroundings.tracing is not None:
            metadata = self._context.invocation_metadata()
            self._span = surroundings.tracing.begin(record, metadata)
        return self

    def message_came(self) -> None:
        """Count the call's time from now on: how long its message travelled is not ours."""
        self._begin_s = time.perf_counter()

    def authenticate(self) -> None:
        """Make the caller the current one, and give the call the id that the caller has for it.

        Raises:
            Forbidden: It is not known who calls, or the caller may not say what it says.
        """
        record, authenticator = self.record, self._surroundings.authenticator
        metadata = self._context.invocation_metadata()
        try:
            caller = authenticator.authenticate(metadata)
        except VectorBucketError as error:
            self.sender = sender = authenticator.sender_of(metadata)
            record.request_id = error.request_id or record.request_id
            record.principal = sender.name
            record.peer = sender.remote_address or record.peer
            raise
        record.request_id = caller.request_id or record.request_id
        record.principal = caller.principal.name
        record.peer = caller.remote_address or record.peer
        begin(caller)
        self._context.set_trailing_metadata(((REQUEST_ID_KEY, record.request_id),))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Log the call, and give an error its status; what only says that the call ended passes."""
        if error is None:
            self._log(grpc.StatusCode.OK)
        elif isinstance(error, VectorBucketError):
            self._fail(error)
        elif isinstance(error, Exception) and not isinstance(error, grpc.RpcError):
            unforeseen = InternalError(repr(error))
            unforeseen.__cause__ = error
            self._fail(unforeseen)
        else:
            # The caller went away: gRPC raises RpcError where we wait for a message, and drops the
            # generator where it was to send one.
            self._log(grpc.StatusCode.CANCELLED)

    def _fail(self, error: VectorBucketError) -> NoReturn:
        """Log a failed call and end it with the error's status."""
        record = self.record
        status = rpc_status.to_status(to_status(error, record.request_id))
        record.reason = error.code
        record.field = (error.field or "")[:FIELD_CHARACTERS_MAX]
        record.message = loggable(error)
        self._log(status.code, error)
        self._context.set_trailing_metadata(
            (*(status.trailing_metadata or ()), (REQUEST_ID_KEY, record.request_id))
        )
        self._context.abort(status.code, status.details)

    def _log(self, code: grpc.StatusCode, error: VectorBucketError | None = None) -> None:
        """Write the call's line; failures of the server stand out, its bugs with a traceback."""
        record, surroundings = self.record, self._surroundings
        log, note = surroundings.log, surroundings.note
        record.code = code.name
        record.latency_ms = round((time.perf_counter() - self._begin_s) * 1e3, 3)
        # First, so that whoever finds the line finds the call counted.
        if surroundings.tally is not None:
            surroundings.tally.end(record)
        if self._span is not None:
            self._span.end(record)
        if isinstance(error, InternalError):
            log.error("call", **call_fields(record), exc_info=error)
        elif isinstance(error, ServiceUnavailable):
            log.warning("call", **call_fields(record))
        elif self._quiet:
            log.debug("call", **call_fields(record))
        else:
            log.info("call", **call_fields(record))
        if note is not None:
            note(record)
