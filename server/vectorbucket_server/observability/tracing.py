"""Traces: one span a call, sent to whoever collects them, by the OpenTelemetry protocol.

A call that comes with a ``traceparent`` goes on with the trace that it names. Spans wait in a
bounded queue that a thread of the library's empties: no call waits for a collector, and what finds
the queue full is dropped.

Rules of this file: it is imported only where traces are wanted, as the packages that it needs are
an extra; no vector, no metadata, no key and no message of an error is in a span. What is no setting
of ours is OpenTelemetry's own: it reads OTEL_… from the environment.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

import grpc
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from vectorbucket_server.observability.logs import CallRecord, Log
from vectorbucket_server.observability.methods import METHODS

TRACE_ENTRIES = frozenset({"traceparent", "tracestate"})
"""Entries of a call's metadata that say of which trace it is a part. Source: W3C Trace Context."""

SERVICE = "vectorbucket"
"""What the server is called in traces, unless OTEL_SERVICE_NAME says otherwise."""

FLUSH_S = 3.0
"""How long stopping waits for spans to be sent; those that are not by then are lost."""

TELL_AGAIN_S = 300.0
"""Seconds between two log lines that say that traces cannot be sent."""

_LIBRARY = "opentelemetry"
"""The logger above all loggers of the library."""

_FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Codes that are a failure of the server. Source: OpenTelemetry, semantic conventions for gRPC."""

_FIELDS = (
    "request_id",
    "bucket",
    "index_name",
    "plan",
    "reason",
    "batch_count",
    "rejected_batch_count",
    "vector_count",
    "query_count",
    "request_bytes",
)
"""Fields of a call's record that its span has, too, as ``vectorbucket.NAME``, where not empty."""


class CallSpan:
    """The span of one call."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def end(self, record: CallRecord) -> None:
        """End it, with what is known of the call by now."""
        span = self._span
        if span.is_recording():
            span.set_attribute("rpc.grpc.status_code", grpc.StatusCode[record.code].value[0])
            for name in _FIELDS:
                if value := getattr(record, name):
                    span.set_attribute(f"vectorbucket.{name}", value)
            if record.code in _FAULTS:
                span.set_status(Status(StatusCode.ERROR, record.reason))
        span.end()


class Tracing:
    """Makes spans and sends them. Any thread may begin and end calls."""

    def __init__(self, endpoint: str, *, version: str, log: Log) -> None:
        """Begin to send; whether anybody takes it does not matter.

        Args:
            endpoint: The collector: ``http://HOST:PORT``, or ``https`` for TLS.
            version: Of the server.
            log: Is told, once in a while, that spans cannot be sent.
        """
        self._exporter = OTLPSpanExporter(endpoint=endpoint)
        self._provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer(SERVICE, version)
        self._propagator = TraceContextTextMapPropagator()
        self._complaints = _Complaints(log)

    def begin(self, record: CallRecord, metadata: Iterable[tuple[str, str | bytes]]) -> CallSpan:
        """Begin the span of a call, and note in its record of which trace it is.

        Args:
            record: Of the call.
            metadata: Of the call; names in lower case.
        """
        carrier = {
            name: value
            for name, value in metadata
            if name in TRACE_ENTRIES and isinstance(value, str)
        }
        known = METHODS.get(record.method)
        service = "" if known is None else known.service
        span = self._tracer.start_span(
            f"{service}/{record.method}" if service else record.method,
            # An empty one, and not the thread's own, is where nobody has begun a trace.
            self._propagator.extract(carrier, Context()),
            SpanKind.SERVER,
            {"rpc.system": "grpc", "rpc.service": service, "rpc.method": record.method},
        )
        context = span.get_span_context()
        if context.is_valid:
            record.trace_id = format_trace_id(context.trace_id)
        return CallSpan(span)

    def close(self) -> None:
        """Send what waits, for a bounded time, and end."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(FLUSH_S)
        if closing.is_alive():
            # What is being tried is broken off; then the other thread ends by itself.
            self._exporter.shutdown()
            closing.join(FLUSH_S)
        self._complaints.end()


def _resource(version: str) -> Resource:
    """Return what is said of the server with every span."""
    said = Resource.create({SERVICE_VERSION: version})
    name = str(said.attributes.get(SERVICE_NAME, ""))
    # The library's own word for a service that the environment does not name.
    if name.startswith("unknown_service"):
        return said.merge(Resource({SERVICE_NAME: SERVICE}))
    return said


class _Complaints(logging.Handler):
    """What the library logs, most of it about a collector that is not there: a line in a while."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._next_s = 0.0
        self._silent_count = 0
        library = logging.getLogger(_LIBRARY)
        library.addHandler(self)
        library.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Log it, or count it."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            self._silent_count += 1
            return
        more = {"more_since_last": self._silent_count} if self._silent_count else {}
        self._next_s, self._silent_count = now_s + TELL_AGAIN_S, 0
        self._log.warning("traces cannot be sent", error=record.getMessage(), **more)

    def end(self) -> None:
        """Hear no more."""
        library = logging.getLogger(_LIBRARY)
        library.removeHandler(self)
        library.propagate = not library.handlers
