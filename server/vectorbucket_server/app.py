"""The composition root: settings -> engine -> services -> gRPC server, and back down.

Rules of this file: it alone chooses an engine; it holds no logic but the order in which things
start and stop. Down: health says so, and for a while nothing else changes; no new calls; put
streams end after their last answer; what is under way finishes or is cancelled when its grace is
over; only when no thread is in the engine any more, it is closed. Whoever is in a hurry gets all of
that without the waiting.
"""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, TextIO

from vectorbucket_server.addresses import split_address
from vectorbucket_server.auth.api_keys import new_api_key
from vectorbucket_server.auth.authenticator import Authenticator
from vectorbucket_server.connections import cut_connections
from vectorbucket_server.engine.base import Engine, Observer
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.grpc_listener import Parts, bind, make_grpc_server
from vectorbucket_server.listening import StartFailed
from vectorbucket_server.metrics_listener import MetricsListener
from vectorbucket_server.model import EngineStatistics
from vectorbucket_server.observability.bucket_logs import BucketLogs
from vectorbucket_server.observability.logs import Log, make_logger, route_standard_logging
from vectorbucket_server.observability.metrics import Metrics, TranslatorState
from vectorbucket_server.service.calls import CallObserver
from vectorbucket_server.service.feed import Drain
from vectorbucket_server.service.first_messages import FirstMessages
from vectorbucket_server.service.open_calls import OpenCalls
from vectorbucket_server.service.workers import Workers
from vectorbucket_server.settings import Settings
from vectorbucket_server.stop_signals import stop_signals
from vectorbucket_server.tls import open_identity, server_credentials, tell_clear_text
from vectorbucket_server.translate import open_credentials, translation_of
from vectorbucket_server.translator_process import TranslatorProcess

if TYPE_CHECKING:
    from vectorbucket_server.observability.tracing import Tracing

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter from others. Beside one busy thread, the p99 of a bare
query is 48 ms at Python's default of 5 ms, 7 ms at this (server/DECISIONS.md)."""


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
        self.metrics = Metrics(
            version=metadata.version("vectorbucket"),
            engine=settings.engine,
            statistics=self._statistics,
            translator=self._translator_state,
            now_s=time.time,
            on_failure=lambda error: self._log.warning(
                "the engine cannot say how it is", exc_info=error
            ),
        )
        self.engine = engine or _make_engine(settings, CallObserver(self._log, self.metrics))
        self._translator: TranslatorProcess | None = None
        self._tracing: Tracing | None = None
        self._metrics_listener: MetricsListener | None = None
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
        self._first_messages = FirstMessages(time.monotonic)
        self._open_calls = OpenCalls()
        self._workers = Workers(settings.streams_max, settings.unary_workers)
        self._stop_lock = threading.Lock()
        self._stopped = True
        self._is_serving = False
        self._hurried = threading.Event()
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
    def metrics_address(self) -> str:
        """HOST:PORT of the metrics listener as bound; empty where there is none."""
        return "" if self._metrics_listener is None else self._metrics_listener.address

    @property
    def translator_process_id(self) -> int | None:
        """Process id of the translator beside this server; None where there is none."""
        return None if self._translator is None else self._translator.process_id

    def start(self) -> None:
        """Open the engine, bind, serve; then start the translator, if one is wanted.

        Raises:
            StartFailed: An address cannot be had, credentials or certificates cannot be read, or
                the translator does not start.
            ServiceUnavailable: The engine cannot open.
        """
        settings = self.settings
        self._authenticator = self._make_authenticator()
        identity = open_identity(settings, self._log)
        doors = ("grpc_address", "rest_address", "metrics_address")
        tell_clear_text(settings, self._log, **{door: getattr(settings, door) for door in doors})
        self.engine.open()
        try:
            self._tracing = _open_tracing(settings, self._log)
            self._grpc = make_grpc_server(
                Parts(
                    settings=settings,
                    engine=self.engine,
                    log=self._log,
                    authenticator=self._authenticator,
                    workers=self._workers,
                    drain=self._drain,
                    first_messages=self._first_messages,
                    open_calls=self._open_calls,
                    bucket_logs=self._bucket_logs,
                    metrics=self.metrics,
                    tracing=self._tracing,
                )
            )
            self._port = bind(self._grpc, settings.grpc_address, server_credentials(identity))
            if settings.metrics_address:
                self._metrics_listener = MetricsListener(
                    settings.metrics_address,
                    self.metrics.text,
                    self._authenticator,
                    identity=identity,
                    log=self._log,
                )
            if settings.rest_address:
                self._translator = TranslatorProcess(
                    settings.rest_address, self._log, [settings.data_dir]
                )
                bind(self._grpc, self._translator.grpc_target)
        except BaseException:
            if self._translator is not None:
                self._translator.stop()
            self._stop_watching()
            self._workers.shut_down()
            self.engine.close()
            raise
        self._grpc.start()
        self._first_messages.start()
        self._stopped = False
        if self._metrics_listener is not None:
            self._metrics_listener.start()
        if self._translator is not None:
            target = self._translator.grpc_target
            try:
                self._translator.start(translation_of(settings, target, self._translator_key))
            except BaseException:
                self.stop()
                raise
        self._is_serving = True
        self._tell_serving()

    def _tell_serving(self) -> None:
        """Log where the server serves, and over what."""
        settings = self.settings
        rest = {"rest_address": self.rest_address} if self.rest_address else {}
        if self.metrics_address:
            rest["metrics_address"] = self.metrics_address
        if settings.engine == "milvus":
            rest["milvus_uri"] = settings.milvus_uri
            rest["milvus_database"] = settings.milvus_database
        self._log.info("serving", grpc_address=self.address, engine=settings.engine, **rest)

    def stop(self) -> None:
        """Stop in order, keeping what was acknowledged; idempotent, also when nothing started."""
        with self._stop_lock:
            if self._stopped:
                return
            self._stopped = True
            notice_s, grace_s = self.settings.drain_notice_s, self.settings.drain_grace_s
            self._log.info("stopping", drain_notice_s=notice_s, drain_grace_s=grace_s)
            self._drain.announce()
            if self._is_serving:
                self._hurried.wait(notice_s)
            end_s = time.monotonic() + grace_s
            self._drain.begin()
            with ExitStack() as last:
                # The last of all first; each is done, whatever became of those before.
                last.callback(self.engine.close)
                last.callback(self._stop_watching)
                last.callback(self._bucket_logs.close)
                last.callback(self._first_messages.stop)
                # gRPC forgets a cancelled call before its thread has left the engine.
                last.callback(self._workers.shut_down)
                last.callback(lambda: self._grpc.stop(None).wait())
                if self._translator is not None:
                    # First, so that its requests find the server.
                    self._translator.stop()
                self._open_calls.wait_until_none(end_s - time.monotonic(), self._hurried)
                cut_connections(self._port)
            self._log.info("stopped")

    def hurry(self) -> None:
        """Let ``stop``, which is under way, wait for nobody: cancel what is not finished.

        What was acknowledged is kept all the same. Any thread may call it, more than once.
        """
        self._log.info("stopping at once")
        self._hurried.set()
        self.engine.hurry()
        if self._translator is not None:
            self._translator.hurry()

    def _statistics(self) -> EngineStatistics:
        """Return what the engine holds, or raise soon: whoever scrapes waits for a few seconds."""
        self.engine.check()
        return self.engine.statistics()

    def _translator_state(self) -> TranslatorState | None:
        return None if self._translator is None else self._translator.state()

    def _stop_watching(self) -> None:
        """Show no more metrics, and send the last traces."""
        if self._metrics_listener is not None:
            self._metrics_listener.stop()
        if self._tracing is not None:
            self._tracing.close()

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
    """Serve until SIGTERM or SIGINT, then stop in order and return; after a second one, at once.

    Args:
        settings: What the operator wants.
        ready: Gets one line when the server serves, with the address that was really bound.

    Raises:
        StartFailed: The address cannot be had.
        ServiceUnavailable: The engine cannot open.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    route_standard_logging(settings.log_format, settings.log_level, sys.stderr)
    with stop_signals() as signals, running_server(settings) as server:
        rest = f" rest={server.rest_address}" if server.rest_address else ""
        metrics = f" metrics={server.metrics_address}" if server.metrics_address else ""
        ready.write(f"vectorbucket-server ready grpc={server.address}{rest}{metrics}\n")
        ready.flush()
        signals.wait()
        with signals.again(server.hurry):
            server.stop()


def _make_engine(settings: Settings, observer: Observer) -> Engine:
    """Return the engine that the settings name, closed."""
    if settings.engine == "memory":
        return MemoryEngine()
    if settings.engine == "milvus":
        return _make_milvus_engine(settings, observer)
    # Here and not above, so that another engine needs none of this one's packages.
    from vectorbucket_server.engine.embedded.engine import EmbeddedEngine  # noqa: PLC0415

    return EmbeddedEngine(settings.embedded_options(), observer)


def _make_milvus_engine(settings: Settings, observer: Observer) -> Engine:
    """Return the engine on Milvus, closed.

    Raises:
        StartFailed: What it needs is not installed.
    """
    try:
        from vectorbucket_server.engine.milvus.engine import MilvusEngine  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise StartFailed(
            f"the engine milvus needs the package {missing.name}, which is not installed: "
            "pip install 'vectorbucket[server,milvus]'"
        ) from missing
    return MilvusEngine(settings.milvus_options(), observer)


def _open_tracing(settings: Settings, log: Log) -> Tracing | None:
    """Return who makes traces; None where they are not wanted.

    Raises:
        StartFailed: What they need is not installed.
    """
    if not settings.otlp_endpoint:
        return None
    try:
        # Here and not above, because it is an extra.
        from vectorbucket_server.observability.tracing import Tracing  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise StartFailed(
            f"traces need the package {missing.name}, which is not installed: "
            "pip install 'vectorbucket[telemetry]'"
        ) from missing
    return Tracing(settings.otlp_endpoint, version=metadata.version("vectorbucket"), log=log)
