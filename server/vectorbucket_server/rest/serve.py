"""The HTTP side as a whole: a channel to the server, the translator, a listener; up and down again.

Rules of this file: it holds what lives as long as the HTTP side does, and the order in which that
ends; clocks and sockets are the business of whoever calls it. Every option of the channel is set
here, with its reason.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc.aio

from vectorbucket.v1 import (
    bucket_service_pb2_grpc,
    index_service_pb2_grpc,
    operations_service_pb2_grpc,
    vector_service_pb2_grpc,
)
from vectorbucket_server.auth.credentials import Credentials
from vectorbucket_server.observability.logs import Log
from vectorbucket_server.rest.app import make_app
from vectorbucket_server.rest.http_server import Tls, serve_app
from vectorbucket_server.rest.metrics_page import MetricsPage
from vectorbucket_server.rest.options import RestOptions
from vectorbucket_server.rest.oss.translator import Door, Stubs, Translator

T = TypeVar("T")

PARSERS = 2
"""Threads that read large bodies. They share one interpreter, so that more would gain nothing; with
one, a body of the largest size would keep all others waiting."""

KEEPALIVE_EVERY_S = 30
"""Seconds without a byte after which the server is asked whether it is there, while a call is
open."""

KEEPALIVE_WAIT_S = 15
"""Seconds without an answer to that after which the connection counts as broken."""

CONNECT_WAIT_S = 5
"""Seconds that one attempt to connect may take; gRPC's own default, 20, is all that the official
SDKs wait for an answer, and they should see one."""

RECONNECT_S_MAX = 1
"""Seconds between attempts to connect, at most. gRPC's own default, two minutes, would be the time
for which requests fail after a restart of the server."""


async def serve_rest(
    listening: socket.socket,
    *,
    grpc_target: str,
    grpc_credentials: grpc.ChannelCredentials | None = None,
    door: Door,
    options: RestOptions,
    credentials: Callable[[], Credentials] | None,
    api_key: str,
    now_s: Callable[[], float],
    new_request_id: Callable[[], str],
    on_ready: Callable[[], object],
    stop: asyncio.Event,
    log: Log,
    hurry: asyncio.Event | None = None,
    tls_context: Callable[[], ssl.SSLContext] | None = None,
) -> None:
    """Serve HTTP until told to stop, then end what is under way and return.

    The server behind may be away, at first and later: requests are then answered with 503.

    Args:
        listening: The socket, bound; it is closed at the end.
        grpc_target: Where the server is, as ``127.0.0.1:50051``.
        grpc_credentials: What TLS is spoken with to the server; None: it is not.
        door: What is said of this place in answers, and read of it in requests.
        options: The bounds.
        credentials: Whose signatures are accepted; None means that none is looked at.
        api_key: What the translator calls the server with; empty means nothing.
        now_s: The clock that signatures are held against, in seconds since 1970.
        new_request_id: Makes the id of a request.
        on_ready: Is called once requests are served.
        stop: Is set when this is to end.
        log: Where lines go.
        hurry: Is set later if requests under way get no grace any more; None: that will not be.
        tls_context: Returns what TLS is spoken with on a connection that begins; None: it is not.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(PARSERS, thread_name_prefix="body") as parsers:

        def offload(work: Callable[[], T]) -> Awaitable[T]:
            return loop.run_in_executor(parsers, work)

        async with _channel(grpc_target, grpc_credentials) as channel:
            translator = Translator(
                _stubs(channel),
                door,
                credentials=credentials,
                api_key=api_key,
                now_s=now_s,
                new_request_id=new_request_id,
                offload=offload,
                timeout_s=options.call_timeout_s,
            )
            log.info("serving REST", grpc_target=grpc_target)
            await serve_app(
                make_app(translator, options, _page(channel, door, credentials, options)),
                listening,
                options,
                on_ready=on_ready,
                stop=stop,
                hurry=hurry,
                tls=_listeners_tls(tls_context, log),
            )
            log.info("REST has stopped")


def _channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=channel_options())
    return grpc.aio.secure_channel(target, credentials, options=channel_options())


def _listeners_tls(context: Callable[[], ssl.SSLContext] | None, log: Log) -> Tls | None:
    def tell_failure(reason: str, address: object) -> None:
        log.debug("TLS handshake failed", reason=reason, remote_address=address)

    return None if context is None else Tls(context, tell_failure)


def _page(
    channel: grpc.aio.Channel,
    door: Door,
    credentials: Callable[[], Credentials] | None,
    options: RestOptions,
) -> MetricsPage:
    return MetricsPage(
        operations_service_pb2_grpc.OperationsServiceStub(channel),  # type: ignore[no-untyped-call]
        door,
        asks_for_credentials=credentials is not None,
        timeout_s=options.call_timeout_s,
    )


def channel_options() -> list[tuple[str, Any]]:
    """Return the options of the channel to the server."""
    return [
        # What is too large, the server refuses: its limit is a setting.
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", KEEPALIVE_EVERY_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_WAIT_S * 1000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # What gRPC calls the least time between attempts is the time that one of them may take.
        ("grpc.min_reconnect_backoff_ms", CONNECT_WAIT_S * 1000),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_S_MAX * 1000),
        # A proxy that the environment names is for the way out. It would be told the translator's
        # key and every vector where TLS is not spoken; whether an address is this machine's own
        # cannot be told by its looks.
        ("grpc.enable_http_proxy", 0),
    ]


def _stubs(channel: grpc.aio.Channel) -> Stubs:
    """Return the stubs of the server's services."""
    return Stubs(
        bucket_service_pb2_grpc.BucketServiceStub(channel),  # type: ignore[no-untyped-call]
        index_service_pb2_grpc.IndexServiceStub(channel),  # type: ignore[no-untyped-call]
        vector_service_pb2_grpc.VectorServiceStub(channel),  # type: ignore[no-untyped-call]
    )
