"""A collector of traces, as far as tests need one: it takes what is exported and keeps it.

Rules of this file: it speaks OpenTelemetry's own protocol over a real channel, so that what arrives
here would arrive at any collector.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.endpoint = ""
        """What ``otlp_endpoint`` is to be."""
        self.requests: list[messages.ExportTraceServiceRequest] = []
        self.metadata: list[dict[str, Any]] = []
        """Of each request."""
        self._changed = threading.Condition()

    def Export(  # noqa: N802 - as the protocol calls it
        self, request: messages.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> messages.ExportTraceServiceResponse:
        """Keep a request."""
        with self._changed:
            self.metadata.append(dict(context.invocation_metadata()))
            self.requests.append(request)
        return messages.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Span]:
        """All spans so far, in the order in which they ended."""
        return [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def spans_of(self, method: str) -> list[Span]:
        """Return the spans of one RPC."""
        return [span for span in self.spans if facts_of(span.attributes)["rpc.method"] == method]

    def resource(self) -> dict[str, Any]:
        """Return what the first request says of who sent it."""
        return facts_of(self.requests[0].resource_spans[0].resource.attributes)


def facts_of(attributes: Any) -> dict[str, Any]:
    """Return attributes as plain values."""
    pairs: list[KeyValue] = list(attributes)
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in pairs}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a free port while the block runs."""
    collector = Collector()
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        add = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        add(collector, server)  # type: ignore[no-untyped-call]
        collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield collector
        finally:
            server.stop(None).wait()
