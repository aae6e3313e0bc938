"""The gRPC side: services, what every call of them passes, and the listener that they share.

Rules of this file: it puts together and holds no logic; every option of the listener is set here,
with its reason.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from vectorbucket.v1 import (
    bucket_service_pb2,
    bucket_service_pb2_grpc,
    index_service_pb2,
    index_service_pb2_grpc,
    operations_service_pb2,
    operations_service_pb2_grpc,
    vector_service_pb2,
    vector_service_pb2_grpc,
)
from vectorbucket_server.auth.authenticator import Authenticator
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.listening import StartFailed, why_not
from vectorbucket_server.observability.bucket_logs import BucketLogs
from vectorbucket_server.observability.logs import Log
from vectorbucket_server.observability.metrics import Metrics
from vectorbucket_server.service.admission import ByteBudget, StreamPermits
from vectorbucket_server.service.backups import Backups
from vectorbucket_server.service.bucket_notes import BucketNotes
from vectorbucket_server.service.buckets import BucketServicer
from vectorbucket_server.service.call_scope import Surroundings, Tracing
from vectorbucket_server.service.feed import Drain, until_drained
from vectorbucket_server.service.first_messages import FirstMessages, StrangersMessages
from vectorbucket_server.service.health import CHECK, WATCH, HealthServicer
from vectorbucket_server.service.indexes import IndexServicer
from vectorbucket_server.service.interceptors import CallInterceptor
from vectorbucket_server.service.open_calls import OpenCalls
from vectorbucket_server.service.operations import OperationsServicer, ServerFacts
from vectorbucket_server.service.put_stream import PutStreams
from vectorbucket_server.service.rate_limits import RateLimits
from vectorbucket_server.service.resources import Resources
from vectorbucket_server.service.served import OPEN_READS_MAX, Bounds, Open
from vectorbucket_server.service.streams import StreamRegistry
from vectorbucket_server.service.vectors import VectorServicer
from vectorbucket_server.service.workers import WATCHES_MAX, Workers
from vectorbucket_server.settings import Settings
from vectorbucket_server.translate import new_request_id

MESSAGE_SLACK_BYTES = 64 * 1024
"""What gRPC lets through over the limit of a message, so that one just over it gets an error that
says so; gRPC's own has no details."""

METADATA_BYTES_MAX = 8 * 1024
"""Bytes of a call's metadata. Ours has a key and, of a translator, a few entries more; somewhat
more is refused by chance, twice as much always."""

CONNECTION_CALLS_MAX = 1000
"""Calls of one connection that may be open at once, waiting ones included; a client keeps further
ones to itself until others have ended. Each takes some KiB, also before it has a thread."""

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (bucket_service_pb2, "BucketService"),
        (index_service_pb2, "IndexService"),
        (vector_service_pb2, "VectorService"),
        (operations_service_pb2, "OperationsService"),
    )
)
"""Full names of our own services."""

KEEPALIVE_S = 30
"""Silence after which the server asks whether a client is still there."""

KEEPALIVE_TIMEOUT_S = 15
"""How long it waits for the answer before it ends the connection, and so frees its streams."""

CLIENT_PING_INTERVAL_MIN_S = 5
"""How often a client may ask the same; more often is answered by ending its connection."""

_INT32_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Parts:
    """What the services of one server are made of."""

    settings: Settings
    engine: Engine
    log: Log
    authenticator: Authenticator
    workers: Workers
    drain: Drain
    first_messages: FirstMessages
    open_calls: OpenCalls
    bucket_logs: BucketLogs
    metrics: Metrics
    tracing: Tracing | None


def make_grpc_server(parts: Parts) -> grpc.Server:
    """Return the gRPC server with all services, not bound to anything yet."""
    settings, engine = parts.settings, parts.engine
    limits = settings.request_limits()
    resources = Resources(engine, limits, region=settings.region)
    health = HealthServicer(
        engine,
        resources,
        authenticator=parts.authenticator,
        drain=parts.drain,
        services=SERVICES,
    )
    interceptor = CallInterceptor(
        Surroundings(
            parts.log,
            parts.authenticator,
            new_request_id,
            BucketNotes(engine, parts.bucket_logs),
            tally=parts.metrics.calls,
            tracing=parts.tracing,
        ),
        _bounds(parts),
        workers=parts.workers,
        drain=parts.drain,
        open_methods=_health_methods(health, parts.workers),
    )
    put_streams = PutStreams(
        engine,
        limits,
        resources,
        authenticator=parts.authenticator,
        registry=StreamRegistry(),
        drain=parts.drain,
        readers=parts.workers.feeds,
    )
    server = grpc.server(
        parts.workers.rest,
        interceptors=[interceptor],
        options=_channel_options(limits.message_bytes_max),
    )
    bucket_service_pb2_grpc.add_BucketServiceServicer_to_server(  # type: ignore[no-untyped-call]
        BucketServicer(engine, limits, resources, region=settings.region, now_ms=_now_ms),
        server,
    )
    index_service_pb2_grpc.add_IndexServiceServicer_to_server(  # type: ignore[no-untyped-call]
        IndexServicer(engine, limits, resources, now_ms=_now_ms), server
    )
    vector_service_pb2_grpc.add_VectorServiceServicer_to_server(  # type: ignore[no-untyped-call]
        VectorServicer(engine, limits, resources, put_streams), server
    )
    operations_service_pb2_grpc.add_OperationsServiceServicer_to_server(  # type: ignore[no-untyped-call]
        OperationsServicer(
            engine,
            resources,
            Backups(engine, settings.backups(), _now_ms),
            metrics_text=parts.metrics.text,
            facts=ServerFacts(metadata.version("vectorbucket"), settings.engine, _now_ms()),
        ),
        server,
    )
    if settings.health:
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if settings.reflection:
        names = [*SERVICES, reflection.SERVICE_NAME, *[HEALTH_SERVICE] * settings.health]
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            _Reflection(names, parts.drain, parts.workers.feeds), server
        )
    return server


def _bounds(parts: Parts) -> Bounds:
    """Return what the calls of a server are held to."""
    settings = parts.settings
    return Bounds(
        permits=StreamPermits(settings.streams_max),
        budget=ByteBudget(settings.in_flight_bytes_max),
        rates=RateLimits(settings.rates(), clock=time.monotonic, pause=time.sleep),
        message_bytes_max=settings.request_limits().message_bytes_max,
        first_message_timeout_s=settings.first_message_timeout_s,
        first_messages=parts.first_messages,
        open_calls=parts.open_calls,
        strangers_messages=StrangersMessages(OPEN_READS_MAX, time.monotonic),
    )


def _health_methods(health: HealthServicer, workers: Workers) -> dict[str, Open]:
    """Return what anybody may call."""
    return {
        CHECK: Open(health.is_about_server, workers.checkers),
        WATCH: Open(health.is_about_server, workers.watchers, StreamPermits(WATCHES_MAX)),
    }


class _Reflection:
    """The reflection service, whose streams a drain ends, however long their callers keep them."""

    def __init__(self, services: Iterable[str], drain: Drain, readers: Executor) -> None:
        self._answering: Any = reflection.ReflectionServicer(services)
        self._drain = drain
        self._readers = readers

    def ServerReflectionInfo(  # noqa: N802 - as the contract has it
        self, requests: Generator[Any, None, None], context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Answer what is asked, one by one."""
        asked = until_drained(requests, self._drain, self._readers)
        yield from self._answering.ServerReflectionInfo(asked, context)


def _channel_options(message_bytes_max: int) -> list[tuple[str, int]]:
    """Return gRPC's options, which have no other documentation than their names."""
    bytes_max = min(message_bytes_max + MESSAGE_SLACK_BYTES, _INT32_MAX)
    return [
        ("grpc.max_receive_message_length", bytes_max),
        ("grpc.max_send_message_length", bytes_max),
        # gRPC's own values, which it keeps changing; the soft one is what callers are told.
        ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", 2 * METADATA_BYTES_MAX),
        ("grpc.max_concurrent_streams", CONNECTION_CALLS_MAX),
        # Or two servers would share a port on Linux, each getting some of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        (
            "grpc.http2.min_ping_interval_without_data_ms",
            CLIENT_PING_INTERVAL_MIN_S * 1000,
        ),
    ]


def bind(
    server: grpc.Server, address: str, credentials: grpc.ServerCredentials | None = None
) -> int:
    """Bind a server and return the port.

    Args:
        server: The server.
        address: HOST:PORT.
        credentials: What TLS is spoken with; None: it is not.

    Raises:
        StartFailed: The address cannot be had; says why, as the operating system does.
    """
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise StartFailed(f"cannot serve on {address}: {why_not(address)}") from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
