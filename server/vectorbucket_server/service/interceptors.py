"""What surrounds every call: its id, its admission, its errors' form, its log line.

Rules of this file: there is one interceptor, the outermost, because each one more costs every
query; only here is everything caught, so an exception that is no leaf of the tree is a bug, is
logged with its traceback, and reaches the caller as InternalError without its text. Messages arrive
here as
bytes: so they are counted, admitted and parsed on the worker's own thread, and not on the one
    thread
on which gRPC hears of every event of the server.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from vectorbucket.errors import (
    EntityTooLarge,
    InternalError,
    InvalidArgument,
    MethodNotAllowed,
    ServiceUnavailable,
    VectorBucketError,
)
from vectorbucket_server.naming import shown
from vectorbucket_server.observability.logs import CallRecord, Log, call_fields
from vectorbucket_server.service.admission import ByteBudget, StreamPermits
from vectorbucket_server.service.calls import ContextDeadline, begin_call
from vectorbucket_server.service.status import to_status
from vectorbucket_server.service.workers import Workers

REQUEST_ID_KEY = "x-oss-request-id"
"""The trailing metadata entry that holds the request id, also when the call went well."""

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
    ) -> None:
        """Take what calls are served with.

        Args:
            log: Gets one line a call.
            permits: Of the streaming calls.
            budget: Of the request messages' bytes.
            workers: Whose threads run the calls.
            message_bytes_max: The largest request message.
            new_request_id: Makes the id of a call: 24 upper-case hexadecimal digits.
        """
        self.log = log
        self.permits = permits
        self.budget = budget
        self.message_bytes_max = message_bytes_max
        self.new_request_id = new_request_id
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
            with CallScope(self, "unknown", context):
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
        with CallScope(self._interceptor, self.method, context) as record:
            budget, deadline = self._interceptor.budget, ContextDeadline(context)
            with budget.hold(len(raw), deadline, UNARY_WAIT_S):
                return self._behavior(self._message(raw, record), context)

    def unary_stream(self, raw: bytes, context: grpc.ServicerContext) -> Iterator[Any]:
        """Serve one message with a stream of answers, under a permit."""
        with CallScope(self._interceptor, self.method, context) as record:
            budget, deadline = self._interceptor.budget, ContextDeadline(context)
            with (
                self._interceptor.permits.hold(),
                budget.hold(len(raw), deadline, UNARY_WAIT_S),
            ):
                yield from self._behavior(self._message(raw, record), context)

    def stream_stream(self, raws: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[Any]:
        """Serve a stream with a stream, under a permit."""
        with (
            CallScope(self._interceptor, self.method, context) as record,
            self._interceptor.permits.hold(),
        ):
            yield from self._behavior(self._messages(raws, context, record), context)

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
            record.bucket = getattr(message, "bucket", "")
            record.index_name = getattr(message, "index_name", "")
        return message


class CallScope:
    """The time in which a call is served: from its id to its status and its log line."""

    __slots__ = ("_begin_s", "_context", "_interceptor", "_record")

    def __init__(
        self, interceptor: CallInterceptor, method: str, context: grpc.ServicerContext
    ) -> None:
        self._interceptor = interceptor
        self._context = context
        self._record = CallRecord(interceptor.new_request_id(), method)
        self._begin_s = time.perf_counter()

    def __enter__(self) -> CallRecord:
        """Return the record of the call, which is the current one from now on."""
        begin_call(self._record)
        self._context.set_trailing_metadata(((REQUEST_ID_KEY, self._record.request_id),))
        return self._record

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
        record = self._record
        status = rpc_status.to_status(to_status(error, record.request_id))
        record.reason = error.code
        record.message = error.message
        self._log(status.code, error)
        self._context.set_trailing_metadata(
            (*(status.trailing_metadata or ()), (REQUEST_ID_KEY, record.request_id))
        )
        self._context.abort(status.code, status.details)

    def _log(self, code: grpc.StatusCode, error: VectorBucketError | None = None) -> None:
        """Write the call's line; failures of the server stand out, its bugs with a traceback."""
        record, log = self._record, self._interceptor.log
        record.code = code.name
        record.latency_ms = round((time.perf_counter() - self._begin_s) * 1e3, 3)
        if isinstance(error, InternalError):
            log.error("call", **call_fields(record), exc_info=error)
        elif isinstance(error, ServiceUnavailable):
            log.warning("call", **call_fields(record))
        else:
            log.info("call", **call_fields(record))
