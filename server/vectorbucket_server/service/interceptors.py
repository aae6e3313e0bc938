"""What every call passes on its way in: its scope, its authentication, its admission, its parser.

Rules of this file: there is one interceptor, the outermost, because each one more costs every
query. Nothing of a call is looked at before it is known who calls. Messages arrive here as bytes:
so they are counted, admitted and parsed on the worker's own thread, and not on the one thread on
which gRPC hears of every event of the server.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

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
        self._wrapped: dict[str, tuple[Handler, Handler]] = {}

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """Return the wrapped handler of a method; each is wrapped once."""
        method = handler_call_details.method
        handler = continuation(handler_call_details)
        if handler is None:
            return self._unknown(method)
        kept = self._wrapped.get(method)
        if kept is None or kept[0] is not handler:
            kept = self._wrapped[method] = (handler, self._wrap(method, handler))
        return kept[1]

    def _wrap(self, method: str, handler: Handler) -> Handler:
        """Return a handler that takes bytes and serves them through another one."""
        served = _Served(self, method.rpartition("/")[2], handler)
        behavior: Callable[..., Any]
        if handler.unary_unary:
            behavior, make = served.unary_unary, grpc.unary_unary_rpc_method_handler
        elif handler.unary_stream:
            behavior, make = served.unary_stream, grpc.unary_stream_rpc_method_handler
        elif handler.stream_stream:
            behavior, make = served.stream_stream, grpc.stream_stream_rpc_method_handler
        else:
            raise TypeError(f"{method} streams requests for one answer, which nothing here does")
        streaming = handler.request_streaming or handler.response_streaming
        pooled = _Pooled(behavior)
        pooled.experimental_thread_pool = self._workers.pool_of(served.method, streaming=streaming)
        return make(pooled, None, handler.response_serializer)

    def _unknown(self, method: str) -> Handler:
        """Return a handler that says that there is no such method, without reading the request."""

        def refuse(_messages: object, context: grpc.ServicerContext) -> None:
            with CallScope(self.surroundings, "unknown", context) as scope:
                scope.authenticate()
                raise MethodNotAllowed(f"there is no method {shown(method)}")

        return grpc.stream_unary_rpc_method_handler(refuse)


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
            budget, deadline = self._interceptor.budget, ContextDeadline(context)
            with budget.hold(len(raw), deadline, UNARY_WAIT_S):
                return self._behavior(self._message(raw, scope.record), context)

    def unary_stream(self, raw: bytes, context: grpc.ServicerContext) -> Iterator[Any]:
        """Serve one message with a stream of answers, under a permit."""
        with self._scope(context) as scope:
            self._authenticate(scope, raw)
            budget, deadline = self._interceptor.budget, ContextDeadline(context)
            with (
                self._interceptor.permits.hold(),
                budget.hold(len(raw), deadline, UNARY_WAIT_S),
            ):
                yield from self._behavior(self._message(raw, scope.record), context)

    def stream_stream(self, raws: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[Any]:
        """Serve a stream with a stream, under a permit."""
        with self._scope(context) as scope:
            scope.authenticate()
            with self._interceptor.permits.hold():
                yield from self._behavior(self._messages(raws, context, scope.record), context)

    def _scope(self, context: grpc.ServicerContext) -> CallScope:
        return CallScope(self._interceptor.surroundings, self.method, context)

    def _authenticate(self, scope: CallScope, raw: bytes) -> None:
        """Authenticate a call; of one that is refused, learn what it was about, for the logs."""
        try:
            scope.authenticate()
        except Forbidden:
            if len(raw) <= SMALL_BYTES:
                self._note_names(raw, scope.record)
            raise

    def _note_names(self, raw: bytes, record: CallRecord) -> None:
        """Note which bucket and index a message names, if it can be read."""
        record.request_bytes = len(raw)
        try:
            message = self._parse(raw)
        except DecodeError:
            return
        _note_place(message, record)

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


def _note_place(message: Any, record: CallRecord) -> None:
    """Note which bucket and index a message names."""
    record.bucket = getattr(message, "bucket", "")
    record.index_name = getattr(message, "index_name", "")
