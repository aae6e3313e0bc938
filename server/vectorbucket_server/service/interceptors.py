"""What gRPC asks for every call: who serves it, and on which threads.

Rules of this file: there is one interceptor, the outermost, because each one more costs every
query. gRPC waits for messages on the worker's thread: so a caller who is not known gets no such
thread, but one that no good call waits for. All calls of a server pass ``intercept_service`` on one
thread, so it looks up and decides, and does no work.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import grpc

from vectorbucket.errors import MethodNotAllowed
from vectorbucket_server.naming import shown
from vectorbucket_server.service.call_scope import CallScope, Surroundings
from vectorbucket_server.service.feed import Drain
from vectorbucket_server.service.served import Bounds, Handler, Open, OpenlyServed, Served
from vectorbucket_server.service.workers import Workers

Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Handler | None]"


class CallInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stub only
    """Wraps the handlers of all methods."""

    def __init__(
        self,
        surroundings: Surroundings,
        bounds: Bounds,
        *,
        workers: Workers,
        drain: Drain,
        open_methods: Mapping[str, Open],
    ) -> None:
        """Take what calls are served with.

        Args:
            surroundings: What all calls have around them.
            bounds: What all calls are held to.
            workers: Whose threads run the calls.
            drain: Once it has begun, no call is taken but those of the server's own translator,
                whose requests came before, and of open methods.
            open_methods: Methods that anybody may call, by path, as ``/package.Service/Method``.
        """
        self._surroundings = surroundings
        self._bounds = bounds
        self._workers = workers
        self._drain = drain
        self._open_methods = open_methods
        self._wrapped: dict[str, _Wrapped] = {}

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """Return the wrapped handler of a method, for whoever calls; each is wrapped once."""
        method = handler_call_details.method
        metadata = handler_call_details.invocation_metadata
        authenticator, open_calls = self._surroundings.authenticator, self._bounds.open_calls
        handler = continuation(handler_call_details)
        if handler is None:
            return self._unknown(method)
        kept = self._wrapped.get(method)
        if kept is None or kept.handler is not handler:
            kept = self._wrapped[method] = self._wrap(method, handler)
        # Before the look at the drain, which waits for all that began before it.
        open_calls.begin()
        if self._drain.has_begun and not (
            method in self._open_methods or authenticator.is_own_translator(metadata)
        ):
            open_calls.end()
            return kept.while_draining
        return kept.for_known if authenticator.knows(metadata) else kept.for_unknown

    def _wrap(self, method: str, handler: Handler) -> _Wrapped:
        """Return the handlers that take bytes and serve them through another one."""
        name = method.rpartition("/")[2]
        write, refuse = handler.response_serializer, self._refusing(name, self._drain.check)
        open_method = self._open_methods.get(method)
        around, bounds = self._surroundings, self._bounds
        served = (
            Served(around, bounds, name, handler)
            if open_method is None
            else OpenlyServed(around, bounds, name, handler, open_method)
        )
        # To gRPC all of them stream their requests; served.py says why.
        behavior: Callable[..., Any]
        if handler.stream_stream:
            behavior, make = served.stream_stream, grpc.stream_stream_rpc_method_handler
        elif handler.unary_stream:
            behavior, make = served.unary_stream, grpc.stream_stream_rpc_method_handler
        elif handler.unary_unary:
            behavior, make = served.unary_unary, grpc.stream_unary_rpc_method_handler
        else:
            raise TypeError(f"{method} streams requests for one answer, which nothing here does")
        pooled = _Pooled(behavior)
        if open_method is not None:
            pooled.experimental_thread_pool = open_method.pool
            known = make(pooled, None, write)
            return _Wrapped(handler, known, known, refuse)
        streaming = handler.request_streaming or handler.response_streaming
        pooled.experimental_thread_pool = self._workers.pool_of(name, streaming=streaming)
        known = make(pooled, None, write)
        # A stream of requests waits on the threads of streams for whoever has a key.
        unknown = known if handler.stream_stream else make(behavior, None, write)
        return _Wrapped(handler, known, unknown, refuse)

    def _unknown(self, method: str) -> Handler:
        """Return a handler that says that there is no such method."""

        def refuse() -> None:
            raise MethodNotAllowed(f"there is no method {shown(method)}")

        return self._refusing("unknown", refuse)

    def _refusing(self, name: str, refuse: Callable[[], object]) -> Handler:
        """Return a handler that refuses whoever is known, without reading the request.

        Args:
            name: What the method is called in the log.
            refuse: Raises why.
        """

        def serve(_messages: object, context: grpc.ServicerContext) -> None:
            with CallScope(self._surroundings, name, context) as scope:
                scope.authenticate()
                refuse()

        return grpc.stream_unary_rpc_method_handler(serve)


class _Wrapped(NamedTuple):
    """A handler of a servicer, and those that serve through it."""

    handler: Handler
    for_known: Handler
    """For callers whose key is known: on the threads of the method."""
    for_unknown: Handler
    """For others: on threads that no good call waits for. Who got his key a moment ago is served,
    too."""
    while_draining: Handler
    """For whoever comes when no new calls are taken."""


class _Pooled(functools.partial[Any]):
    """A behavior and the pool that it runs on, as gRPC asks for it."""

    experimental_thread_pool: ThreadPoolExecutor
