"""One method, served: what its calls pass between gRPC and the servicer that answers them.

To gRPC every method streams its requests, so that nothing of a call is read before it is wanted: it
is first known who calls, and whether not too often. Messages arrive here as bytes: so they are
counted, admitted and parsed on the worker's own thread.

Rules of this file: nothing is read of a caller who is not known, but of those who call an *open*
method; who keeps his first message back is cancelled after a while; what is held is given back in
the order in which it was taken.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from vectorbucket.errors import EntityTooLarge, Forbidden, InvalidArgument
from vectorbucket_server.observability.logs import CallRecord
from vectorbucket_server.service.admission import SMALL_BYTES, ByteBudget, StreamPermits
from vectorbucket_server.service.call_scope import CallScope, Surroundings
from vectorbucket_server.service.calls import ContextDeadline
from vectorbucket_server.service.first_messages import FirstMessages, StrangersMessages
from vectorbucket_server.service.open_calls import OpenCalls
from vectorbucket_server.service.rate_limits import RateLimits

UNARY_WAIT_S = 5.0
"""The longest that a unary call waits for its turn under the byte budget."""

OPEN_MESSAGE_TIMEOUT_S = 2.0
"""When the message of an open call must be there: it has a few bytes, and comes with the headers.
"""

OPEN_READS_MAX = 4
"""Open calls whose message is read at once: it may be as large as any, and a stranger's."""

OPEN_BYTES_MAX = 64 * 1024
"""The largest message of an open call: to parse it would cost what no stranger is given."""

NOTED_CHARACTERS_MAX = 1024
"""What is noted of a name that a message has: it is not known yet whether it is one at all, and a
line of the log would be as long as the message."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


@dataclass(frozen=True, slots=True)
class Open:
    """A method that anybody may call for what is no secret; served apart from all others."""

    needs_no_key: Callable[[Any], bool]
    """Whether a message asks for no more than that."""
    pool: ThreadPoolExecutor
    """Where its calls run."""
    permits: StreamPermits | None = None
    """Of its calls; None for a unary method."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What calls are held to, all together."""

    permits: StreamPermits
    """Of the streaming calls."""
    budget: ByteBudget
    """Of the request messages' bytes."""
    rates: RateLimits
    message_bytes_max: int
    """The largest request message."""
    first_message_timeout_s: float
    """When the first message of a call must be there, from its headers on."""
    first_messages: FirstMessages
    open_calls: OpenCalls
    strangers_messages: StrangersMessages
    """Of the open calls."""


class Served:
    """One method, served: its behavior between admission and status."""

    def __init__(
        self, surroundings: Surroundings, bounds: Bounds, method: str, handler: Handler
    ) -> None:
        """Take what it is served with.

        Args:
            surroundings: What all calls have around them.
            bounds: What all calls are held to.
            method: The RPC's name, as ``QueryVectors``.
            handler: The servicer's own.
        """
        self.method = method
        self._bounds = bounds
        self._bytes_max = bounds.message_bytes_max
        self._surroundings = surroundings
        self._rate = bounds.rates.of(method)
        self._parse = handler.request_deserializer or bytes
        self._behavior: Any = handler.unary_unary or handler.unary_stream or handler.stream_stream

    def unary_unary(self, raws: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        """Serve one message with one answer."""
        with self._scope(context) as scope:
            raw = self._admitted(raws, context, scope)
            with self._bounds.budget.hold(len(raw), ContextDeadline(context), UNARY_WAIT_S):
                return self._behavior(self._message(raw, scope.record), context)

    def unary_stream(self, raws: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[Any]:
        """Serve one message with a stream of answers, under a permit."""
        with self._scope(context) as scope:
            raw = self._admitted(raws, context, scope)
            with (
                self._bounds.permits.hold(),
                self._bounds.budget.hold(len(raw), ContextDeadline(context), UNARY_WAIT_S),
            ):
                yield from self._behavior(self._message(raw, scope.record), context)

    def stream_stream(self, raws: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[Any]:
        """Serve a stream with a stream, under a permit."""
        with self._scope(context) as scope:
            scope.authenticate()
            with self._bounds.permits.hold():
                yield from self._behavior(self._messages(raws, context, scope.record), context)

    def _scope(self, context: grpc.ServicerContext) -> CallScope:
        self._bounds.open_calls.follow(context)
        return CallScope(self._surroundings, self.method, context)

    def _admitted(
        self, raws: Iterator[bytes], context: grpc.ServicerContext, scope: CallScope
    ) -> bytes:
        """Return the one message of a call, of which it is known who calls, and not too often."""
        self._authenticate(raws, context, scope)
        if self._rate is not None:
            self._rate.take(scope.record.principal)
        return self._first(raws, context, scope, self._bounds.first_message_timeout_s)

    def _authenticate(
        self, raws: Iterator[bytes], context: grpc.ServicerContext, scope: CallScope
    ) -> None:
        """Authenticate a call; of one whose signature a translator refused, learn its bucket.

        The bucket's log has a line of it then. Only who has a key gets one: a stranger could fill
        the log of any bucket with whatever he likes.
        """
        try:
            scope.authenticate()
        except Forbidden:
            if scope.sender.is_relayed:
                raw = self._first(raws, context, scope, self._bounds.first_message_timeout_s)
                if len(raw) <= SMALL_BYTES:
                    with suppress(DecodeError):
                        _note_place(self._parse(raw), scope.record)
                    scope.record.request_bytes = len(raw)
            raise

    def _first(
        self,
        raws: Iterator[bytes],
        context: grpc.ServicerContext,
        scope: CallScope,
        timeout_s: float,
    ) -> bytes:
        """Return the one message of a call."""
        raw = self._bounds.first_messages.first(raws, context, timeout_s)
        scope.message_came()
        return raw

    def _messages(
        self, raws: Iterator[bytes], context: grpc.ServicerContext, record: CallRecord
    ) -> Generator[Any, None, None]:
        """Yield the messages of a stream, each within the byte budget until the next is wanted."""
        deadline = ContextDeadline(context)
        for raw in raws:
            if self._rate is not None:
                self._rate.wait(record.principal, deadline)
            with self._bounds.budget.hold(len(raw), deadline, None):
                message = self._message(raw, record)
                # Let go of each as soon as it is used: an idle stream must not keep its last one.
                del raw
                yield message
                del message

    def _message(self, raw: bytes, record: CallRecord) -> Any:
        """Return the message that the bytes are."""
        record.request_bytes += len(raw)
        limit = self._bytes_max
        if len(raw) > limit:
            raise EntityTooLarge(
                f"the message has {len(raw)} bytes; the limit is {limit}",
                details={"value": str(len(raw)), "limit": str(limit)},
            )
        try:
            message = self._parse(raw)
        except DecodeError as error:
            raise InvalidArgument(
                f"the {len(raw)} bytes of the message are no request of {self.method}: they are "
                "torn, hold text that is no UTF-8, or nest messages over 100 levels deep"
            ) from error
        if not record.bucket:
            _note_place(message, record)
        return message


class OpenlyServed(Served):
    """One open method, served: its message says whether it matters who calls."""

    def __init__(
        self,
        surroundings: Surroundings,
        bounds: Bounds,
        method: str,
        handler: Handler,
        terms: Open,
    ) -> None:
        """Take what it is served with, and on which terms."""
        super().__init__(surroundings, bounds, method, handler)
        self._terms = terms
        self._bytes_max = min(self._bytes_max, OPEN_BYTES_MAX)

    def unary_unary(self, raws: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        """Serve one message with one answer."""
        with self._scope(context) as scope:
            return self._behavior(self._known(raws, context, scope), context)

    def unary_stream(self, raws: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[Any]:
        """Serve one message with a stream of answers, under a permit of its own kind."""
        with self._scope(context) as scope:
            permits = self._terms.permits or self._bounds.permits
            with permits.hold():
                yield from self._behavior(self._known(raws, context, scope), context)

    def _scope(self, context: grpc.ServicerContext) -> CallScope:
        self._bounds.open_calls.follow(context)
        return CallScope(self._surroundings, self.method, context, quiet=True)

    def _known(self, raws: Iterator[bytes], context: grpc.ServicerContext, scope: CallScope) -> Any:
        """Return the one message of a call; if it matters who calls, that is known by now."""
        with self._bounds.strangers_messages.place(context, OPEN_MESSAGE_TIMEOUT_S):
            raw = self._first(raws, context, scope, OPEN_MESSAGE_TIMEOUT_S)
            message = self._message(raw, scope.record)
        if not self._terms.needs_no_key(message):
            scope.authenticate()
        return message


def _note_place(message: Any, record: CallRecord) -> None:
    """Note which bucket and index a message names."""
    record.bucket = getattr(message, "bucket", "")[:NOTED_CHARACTERS_MAX]
    record.index_name = getattr(message, "index_name", "")[:NOTED_CHARACTERS_MAX]
