"""What every call passes on its way in: its scope, its authentication, its admission, its parser.

Rules of this file: there is one interceptor, the outermost, because each one more costs every
query. Nothing of a call is looked at before it is known who calls. gRPC waits for the message of a
unary call on the worker's thread, for as long as the caller likes: so a caller who is not known
gets no such thread, but one on which nothing is read before he is. Messages arrive here as bytes:
so they are counted, admitted and parsed on the worker's own thread, and not on the one thread on
which gRPC hears of every event of the server.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from vectorbucket.errors import EntityTooLarge, Forbidden, InvalidArgument, MethodNotAllowed
from vectorbucket_server.auth.authenticator import Authenticator
from vectorbucket_server.naming import shown
from vectorbucket_server.observability.logs import CallRecord, Log
from vectorbucket_server.service.admission import SMALL_BYTES, ByteBudget, StreamPermits
from vectorbucket_server.service.call_scope import CallScope, Note, Surroundings
from vectorbucket_server.service.calls import ContextDeadline
from vectorbucket_server.service.workers import Workers

UNARY_WAIT_S = 5.0
"""The longest that a unary call waits for its turn under the byte budget."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Handler | None]"


class CallInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stub only
    """Wraps the handlers of all methods."""

    def __init__(
        self,
        *,
        log: Log,
        permits: StreamPermits,
        budget: ByteBudget,
        workers: Workers,
        message_bytes_max: int,
        new_request_id: Callable[[], str],
        authenticator: Authenticator,
        note: Note | None = None,
    ) -> None:
        """Take what calls are served with.

        Args:
            log: Gets one line a call.
            permits: Of the streaming calls.
            budget: Of the request messages' bytes.
            workers: Whose threads run the calls.
            message_bytes_max: The largest request message.
            new_request_id: Makes the id of a call: 24 upper-case hexadecimal digits.
            authenticator: Knows who calls.
            note: Told of every call when it has ended, log or no log.
        """
        self.surroundings = Surroundings(log, authenticator, new_request_id, note)
        self.permits = permits
        self.budget = budget
        self.message_bytes_max = message_bytes_max
        self._workers = workers
        self._wrapped: dict[str, _Wrapped] = {}

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """Return the wrapped handler of a method, for whoever calls; each is wrapped once."""
        method = handler_call_details.method
        handler = continuation(handler_call_details)
        if handler is None:
            return self._unknown(method)
        kept = self._wrapped.get(method)
        if kept is None or kept.handler is not handler:
            kept = self._wrapped[method] = self._wrap(method, handler)
        knows = self.surroundings.authenticator.knows
        if knows(handler_call_details.invocation_metadata):
            return kept.for_known
        return kept.for_unknown

    def _wrap(self, method: str, handler: Handler) -> _Wrapped:
        """Return the handlers that take bytes and serve them through another one."""
        served = _Served(self, method.rpartition("/")[2], handler)
        behavior: Callable[..., Any]
        unknown: Handler | None = None
        write = handler.response_serializer
        if handler.unary_unary:
            behavior, make = served.unary_unary, grpc.unary_unary_rpc_method_handler
            unknown = grpc.stream_unary_rpc_method_handler(served.unary_of_unknown, None, write)
        elif handler.unary_stream:
            behavior, make = served.unary_stream, grpc.unary_stream_rpc_method_handler
            unknown = grpc.stream_stream_rpc_method_handler(served.stream_of_unknown, None, write)
        elif handler.stream_stream:
            # It reads nothing before it knows who calls.
            behavior, make = served.stream_stream, grpc.stream_stream_rpc_method_handler
        else:
            raise TypeError(f"{method} streams requests for one answer, which nothing here does")
        streaming = handler.request_streaming or handler.response_streaming
        pooled = _Pooled(behavior)
        pooled.experimental_thread_pool = self._workers.pool_of(served.method, streaming=streaming)
        known = make(pooled, None, write)
        return _Wrapped(handler, known, unknown or known)

    def _unknown(self, method: str) -> Handler:
        """Return a handler that says that there is no such method, without reading the request."""

        def refuse(_messages: object, context: grpc.ServicerContext) -> None:
            with CallScope(self.surroundings, "unknown", context) as scope:
                scope.authenticate()
                raise MethodNotAllowed(f"there is no method {shown(method)}")

        return grpc.stream_unary_rpc_method_handler(refuse)


class _Wrapped(NamedTuple):
    """A handler of a servicer, and those that serve through it."""

    handler: Handler
    for_known: Handler
    """For callers whose key is known: on the threads of the method."""
    for_unknown: Handler
    """For others: on threads that no good call waits for. Who got his key a moment ago is served,
    too."""


class _Pooled(functools.partial[Any]):
    """A behavior and the pool that it runs on, as gRPC asks for it."""

    experimental_thread_pool: ThreadPoolExecutor


class _Served:
    """One method, served: its behavior between admission and status."""

    def __init__(self, interceptor: CallInterceptor, method: str, handler: Handler) -> None:
        self.method = method
        self._interceptor = interceptor
        self._parse = handler.request_deserializer or bytes
        self._behavior: Any = handler.unary_unary or handler.unary_stream or handler.stream_stream

    def unary_unary(self, raw: bytes, context: grpc.ServicerContext) -> Any:
        """Serve one message with one answer."""
        with self._scope(context) as scope:
            self._authenticate(scope, raw)
            return self._answer(raw, scope.record, context)

    def unary_of_unknown(self, raws: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        """Serve as ``unary_unary``, but read the message of nobody who is not known."""
        with self._scope(context) as scope:
            scope.authenticate()
            return self._answer(_only(raws), scope.record, context)

    def unary_stream(self, raw: bytes, context: grpc.ServicerContext) -> Iterator[Any]:
        """Serve one message with a stream of answers, under a permit."""
        with self._scope(context) as scope:
            self._authenticate(scope, raw)
            yield from self._answers(raw, scope.record, context)

    def stream_of_unknown(
        self, raws: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Serve as ``unary_stream``, but read the message of nobody who is not known."""
        with self._scope(context) as scope:
            scope.authenticate()
            yield from self._answers(_only(raws), scope.record, context)

    def stream_stream(self, raws: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[Any]:
        """Serve a stream with a stream, under a permit."""
        with self._scope(context) as scope:
            scope.authenticate()
            with self._interceptor.permits.hold():
                yield from self._behavior(self._messages(raws, context, scope.record), context)

    def _scope(self, context: grpc.ServicerContext) -> CallScope:
        return CallScope(self._interceptor.surroundings, self.method, context)

    def _authenticate(self, scope: CallScope, raw: bytes) -> None:
        """Authenticate a call; of one whose signature a translator refused, learn its bucket.

        The bucket's log has a line of it then. Only who has a key gets one: a stranger could fill
        the log of any bucket with whatever he likes.
        """
        try:
            scope.authenticate()
        except Forbidden:
            if scope.sender.is_relayed and len(raw) <= SMALL_BYTES:
                with suppress(DecodeError):
                    _note_place(self._parse(raw), scope.record)
                scope.record.request_bytes = len(raw)
            raise

    def _answer(self, raw: bytes, record: CallRecord, context: grpc.ServicerContext) -> Any:
        """Return the answer to the one message of a call."""
        with self._interceptor.budget.hold(len(raw), ContextDeadline(context), UNARY_WAIT_S):
            return self._behavior(self._message(raw, record), context)

    def _answers(
        self, raw: bytes, record: CallRecord, context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Yield the answers to the one message of a call, under a permit."""
        with (
            self._interceptor.permits.hold(),
            self._interceptor.budget.hold(len(raw), ContextDeadline(context), UNARY_WAIT_S),
        ):
            yield from self._behavior(self._message(raw, record), context)

    def _messages(
        self, raws: Iterator[bytes], context: grpc.ServicerContext, record: CallRecord
    ) -> Generator[Any, None, None]:
        """Yield the messages of a stream, each within the byte budget until the next is wanted."""
        deadline = ContextDeadline(context)
        for raw in raws:
            with self._interceptor.budget.hold(len(raw), deadline, None):
                message = self._message(raw, record)
                # Let go of each as soon as it is used: an idle stream must not keep its last one.
                del raw
                yield message
                del message

    def _message(self, raw: bytes, record: CallRecord) -> Any:
        """Return the message that the bytes are."""
        record.request_bytes += len(raw)
        limit = self._interceptor.message_bytes_max
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


def _only(raws: Iterator[bytes]) -> bytes:
    """Return the one message of a call.

    Raises:
        InvalidArgument: The caller ended the call without one.
    """
    for raw in raws:
        return raw
    raise InvalidArgument("the call has no message")


def _note_place(message: Any, record: CallRecord) -> None:
    """Note which bucket and index a message names."""
    record.bucket = getattr(message, "bucket", "")
    record.index_name = getattr(message, "index_name", "")
