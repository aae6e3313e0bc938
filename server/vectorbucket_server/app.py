"""The composition root: settings -> engine -> services -> gRPC server, and back down.

Rules of this file: it alone chooses an engine; it holds no logic but the order in which things
start and stop. Down: no new calls; put streams end after their last answer; what is under way
finishes or is cancelled when its grace is over; only when no thread is in the engine any more, it
is closed.
"""

from __future__ import annotations

import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import grpc

from vectorbucket.v1 import (
    bucket_service_pb2_grpc,
    index_service_pb2_grpc,
    vector_service_pb2_grpc,
)
from vectorbucket_server.auth.api_keys import new_api_key
from vectorbucket_server.auth.authenticator import Authenticator
from vectorbucket_server.engine.base import Engine, Observer
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.listening import StartFailed, why_not
from vectorbucket_server.observability.bucket_logs import BucketLogs
from vectorbucket_server.observability.logs import Log, make_logger, route_standard_logging
from vectorbucket_server.service.admission import ByteBudget, StreamPermits
from vectorbucket_server.service.bucket_notes import BucketNotes
from vectorbucket_server.service.buckets import BucketServicer
from vectorbucket_server.service.calls import CallObserver
from vectorbucket_server.service.feed import Drain
from vectorbucket_server.service.indexes import IndexServicer
from vectorbucket_server.service.interceptors import CallInterceptor
from vectorbucket_server.service.put_stream import PutStreams
from vectorbucket_server.service.resources import Resources
from vectorbucket_server.service.streams import StreamRegistry
from vectorbucket_server.service.vectors import VectorServicer
from vectorbucket_server.service.workers import Workers
from vectorbucket_server.settings import Settings, split_address
from vectorbucket_server.translate import new_request_id, open_credentials, translation_of
from vectorbucket_server.translator_process import TranslatorProcess

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter from others. Beside one busy thread, the p99 of a bare
query is 48 ms at Python's default of 5 ms, 7 ms at this (server/DECISIONS.md)."""

MESSAGE_SLACK_BYTES = 64 * 1024
"""What gRPC lets through over the limit of a message, so that one just over it gets an error that
says so; gRPC's own has no details."""

KEEPALIVE_S = 30
"""Silence after which the server asks whether a client is still there."""

KEEPALIVE_TIMEOUT_S = 15
"""How long it waits for the answer before it ends the connection, and so frees its streams."""

CLIENT_PING_INTERVAL_MIN_S = 5
"""How often a client may ask the same; more often is answered by ending its connection."""

_INT32_MAX = 2**31 - 1


class Server:
    """One server: an engine behind a gRPC listener. Used once: start, then stop."""

    def __init__(
        self,
        settings: Settings,
        *,
        engine: Engine | None = None,
        log: Log | None = None,
    ) -> None:
        """Compose the server; nothing is opened yet.

        Args:
            settings: What the operator wants.
            engine: The engine, closed; None means the one that the settings name.
            log: Where lines go; None means standard error, in the form that the settings name.
        """
        self.settings = settings
        self._log = log or make_logger(settings.log_format, settings.log_level, sys.stderr)
        self.engine = engine or _make_engine(settings, CallObserver(self._log))
        self._translator: TranslatorProcess | None = None
        self._translator_key = new_api_key()
        self._bucket_logs = BucketLogs(
            settings.bucket_logs(),
            rotate_s=settings.bucket_log_rotate_s,
            bytes_max=settings.bucket_log_bytes_max,
            now_s=time.time,
            new_unique=lambda: secrets.token_hex(8).upper(),
            on_failure=self._log.warning,
        )
        self._drain = Drain()
        self._workers = Workers(settings.streams_max, settings.unary_workers)
        self._stop_lock = threading.Lock()
        self._stopped = True
        self._port = 0

    @property
    def address(self) -> str:
        """HOST:PORT as bound; known once the server has started."""
        host, _ = split_address(self.settings.grpc_address)
        return f"{host}:{self._port}"

    @property
    def rest_address(self) -> str:
        """HOST:PORT of the REST listener as bound; empty where there is none."""
        return "" if self._translator is None else self._translator.address

    @property
    def translator_process_id(self) -> int | None:
        """Process id of the translator beside this server; None where there is none."""
        return None if self._translator is None else self._translator.process_id

    def start(self) -> None:
        """Open the engine, bind, serve; then start the translator, if one is wanted.

        Raises:
            StartFailed: An address cannot be had, the credentials cannot be read, or the translator
                does not start.
            ServiceUnavailable: The engine cannot open.
        """
        settings = self.settings
        self._authenticator = self._make_authenticator()
        self.engine.open()
        try:
            self._grpc = self._make_grpc_server()
            self._port = _bind(self._grpc, settings.grpc_address)
            if settings.rest_address:
                self._translator = TranslatorProcess(settings.rest_address, self._log)
        except BaseException:
            self._workers.shut_down()
            self.engine.close()
            raise
        self._grpc.start()
        self._stopped = False
        if self._translator is not None:
            target = _reachable(self.address)
            try:
                self._translator.start(translation_of(settings, target, self._translator_key))
            except BaseException:
                self.stop()
                raise
        rest = {"rest_address": self.rest_address} if self.rest_address else {}
        self._log.info("serving", grpc_address=self.address, engine=settings.engine, **rest)

    def stop(self) -> None:
        """Stop in order, keeping what was acknowledged; idempotent, also when nothing started."""
        with self._stop_lock:
            if self._stopped:
                return
            self._stopped = True
            self._log.info("stopping", drain_grace_s=self.settings.drain_grace_s)
            if self._translator is not None:
                # First, so that its requests find the server; put streams end only after them.
                self._translator.stop()
            ended = self._grpc.stop(self.settings.drain_grace_s)
            self._drain.begin()
            ended.wait()
            # gRPC forgets a cancelled call before its thread has left the engine.
            self._workers.shut_down()
            self._bucket_logs.close()
            self.engine.close()
            self._log.info("stopped")

    def _make_authenticator(self) -> Authenticator:
        """Return who tells callers apart.

        Raises:
            StartFailed: The file of credentials cannot be read.
        """
        settings = self.settings
        known = settings.credentials and open_credentials(settings.credentials, self._log)
        return Authenticator(
            known.current if known else None,
            account_id=settings.account_id,
            own_api_key=self._translator_key,
        )

    def _make_grpc_server(self) -> grpc.Server:
        """Return the gRPC server with all services, not bound to anything yet."""
        settings, limits = self.settings, self.settings.request_limits()
        authenticator = self._authenticator
        resources = Resources(self.engine, limits, region=settings.region)
        interceptor = CallInterceptor(
            log=self._log,
            permits=StreamPermits(settings.streams_max),
            budget=ByteBudget(settings.in_flight_bytes_max),
            workers=self._workers,
            message_bytes_max=limits.message_bytes_max,
            new_request_id=new_request_id,
            authenticator=authenticator,
            note=BucketNotes(self.engine, self._bucket_logs),
        )
        put_streams = PutStreams(
            self.engine,
            limits,
            resources,
            authenticator=authenticator,
            registry=StreamRegistry(),
            drain=self._drain,
            readers=self._workers.feeds,
        )
        server = grpc.server(
            self._workers.rest,
            interceptors=[interceptor],
            options=_channel_options(limits.message_bytes_max),
        )
        bucket_service_pb2_grpc.add_BucketServiceServicer_to_server(  # type: ignore[no-untyped-call]
            BucketServicer(self.engine, limits, resources, region=settings.region, now_ms=_now_ms),
            server,
        )
        index_service_pb2_grpc.add_IndexServiceServicer_to_server(  # type: ignore[no-untyped-call]
            IndexServicer(self.engine, limits, resources, now_ms=_now_ms), server
        )
        vector_service_pb2_grpc.add_VectorServiceServicer_to_server(  # type: ignore[no-untyped-call]
            VectorServicer(self.engine, limits, resources, put_streams), server
        )
        return server


@contextmanager
def running_server(
    settings: Settings,
    *,
    engine: Engine | None = None,
    log: Log | None = None,
) -> Iterator[Server]:
    """Run a server in this process while the block runs; for tests and tools.

    Args:
        settings: What it is to be; say ``grpc_address="127.0.0.1:0"`` for a free port.
        engine: The engine, closed; None means the one that the settings name.
        log: Where its lines go; None means standard error.

    Yields:
        The server; ``server.address`` is what clients connect to.
    """
    server = Server(settings, engine=engine, log=log)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def serve(settings: Settings, ready: TextIO) -> None:
    """Serve until SIGTERM or SIGINT, then stop in order and return.

    Args:
        settings: What the operator wants.
        ready: Gets one line when the server serves, with the address that was really bound.

    Raises:
        StartFailed: The address cannot be had.
        ServiceUnavailable: The engine cannot open.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    route_standard_logging(settings.log_format, settings.log_level, sys.stderr)
    with _stop_signals() as wait_for_one, running_server(settings) as server:
        rest = f" rest={server.rest_address}" if server.rest_address else ""
        ready.write(f"vectorbucket-server ready grpc={server.address}{rest}\n")
        ready.flush()
        wait_for_one()


@contextmanager
def _stop_signals() -> Iterator[Callable[[], object]]:
    """Yield a function that returns once SIGTERM or SIGINT came, now or since the block began.

    A signal may be delivered to any thread, and then wakes no lock that the main thread waits for;
    but whichever thread gets it writes to the wakeup descriptor.
    """
    awaited, woken = socket.socketpair()
    with awaited, woken:
        woken.settimeout(0)
        previous = signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            # What it does is said by the descriptor; without a handler there would be the default.
            signal.signal(number, lambda _number, _frame: None)
        try:
            yield lambda: awaited.recv(1)
        finally:
            signal.set_wakeup_fd(previous)


def _make_engine(settings: Settings, observer: Observer) -> Engine:
    """Return the engine that the settings name, closed."""
    if settings.engine == "memory":
        return MemoryEngine()
    # Here and not above, so that another engine needs none of this one's packages.
    from vectorbucket_server.engine.embedded.engine import EmbeddedEngine  # noqa: PLC0415

    return EmbeddedEngine(settings.embedded_options(), observer)


def _channel_options(message_bytes_max: int) -> list[tuple[str, int]]:
    """Return gRPC's options, which have no other documentation than their names."""
    bytes_max = min(message_bytes_max + MESSAGE_SLACK_BYTES, _INT32_MAX)
    return [
        ("grpc.max_receive_message_length", bytes_max),
        ("grpc.max_send_message_length", bytes_max),
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


def _bind(server: grpc.Server, address: str) -> int:
    """Bind a server and return the port.

    Raises:
        StartFailed: The address cannot be had; says why, as the operating system does.
    """
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise StartFailed(f"cannot serve on {address}: {why_not(address)}") from error


def _reachable(address: str) -> str:
    """Return where a process on this machine reaches an address that may mean all of them."""
    host, port = split_address(address)
    local = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - not bound
    return f"{local}:{port}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
