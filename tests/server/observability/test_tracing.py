"""Traces: what arrives at a collector, whose trace it is, and that no collector is ever missed."""

from __future__ import annotations

import io
import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector import Collector, collecting, facts_of
from conftest import StartServer
from rpc import (
    BUCKET,
    INDEX,
    PutStream,
    put_message,
    query_request,
    refused,
    saying,
    stubs_of,
    vector_of,
)
from vectorbucket.v1 import vector_service_pb2
from vectorbucket_server.listening import StartFailed
from vectorbucket_server.observability import tracing
from vectorbucket_server.observability.logs import CallRecord, make_logger
from vectorbucket_server.observability.tracing import Tracing

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
TRACEPARENT = ("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01")

LogLines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def only(spans: list[Span]) -> Span:
    (span,) = spans
    return span


# --- What arrives ---------------------------------------------------------------------------------


def test_call_is_a_span_with_what_is_known_of_it(
    start_server: StartServer, collector: Collector, log_lines: LogLines
) -> None:
    server = start_server(otlp_endpoint=collector.endpoint)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        stubs.put(vector_of("a"), vector_of("b"))
        stubs.vectors.QueryVectors(query_request(top_k=2))
    server.stop()
    span = only(collector.spans_of("QueryVectors"))
    assert span.name == "vectorbucket.v1.VectorService/QueryVectors"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert not span.parent_span_id
    (line,) = [one for one in log_lines() if one.get("method") == "QueryVectors"]
    assert line["trace_id"] == span.trace_id.hex()
    assert facts_of(span.attributes) == {
        "rpc.system": "grpc",
        "rpc.service": "vectorbucket.v1.VectorService",
        "rpc.method": "QueryVectors",
        "rpc.grpc.status_code": 0,
        "vectorbucket.request_id": line["request_id"],
        "vectorbucket.bucket": BUCKET,
        "vectorbucket.index_name": INDEX,
        "vectorbucket.vector_count": 2,
        "vectorbucket.query_count": 1,
        "vectorbucket.request_bytes": line["request_bytes"],
    }
    duration_ms = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
    assert 0 < duration_ms < 60_000
    assert collector.resource()["service.name"] == "vectorbucket"
    assert collector.resource()["service.version"]


def test_stream_is_one_span_with_all_its_batches(
    start_server: StartServer, collector: Collector
) -> None:
    server = start_server(otlp_endpoint=collector.endpoint)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        stream = PutStream(stubs)
        for number in (1, 2):
            assert stream.ask(put_message(number, vector_of("a"))).stored.vector_count == 1
        stream.finish()
    server.stop()
    facts = facts_of(only(collector.spans_of("PutVectors")).attributes)
    assert (facts["vectorbucket.batch_count"], facts["vectorbucket.vector_count"]) == (2, 2)


def test_error_of_the_caller_is_told_and_no_failure(
    start_server: StartServer, collector: Collector
) -> None:
    server = start_server(otlp_endpoint=collector.endpoint)
    with stubs_of(server.address) as stubs:
        refused(lambda: stubs.vectors.QueryVectors(query_request()))
        steal = stubs.channel.unary_unary("/vectorbucket.v1.VectorService/Steal", None, None)
        with pytest.raises(grpc.RpcError):
            steal(b"")
    server.stop()
    span = only(collector.spans_of("QueryVectors"))
    facts = facts_of(span.attributes)
    assert (facts["rpc.grpc.status_code"], facts["vectorbucket.reason"]) == (5, "NoSuchBucket")
    assert span.status.code == Status.STATUS_CODE_UNSET
    failed = only(collector.spans_of("unknown"))
    assert failed.name == "unknown"
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert failed.status.message == "MethodNotAllowed"


# --- Whose trace it is ----------------------------------------------------------------------------


def test_call_goes_on_with_the_trace_of_its_caller(
    start_server: StartServer, collector: Collector, log_lines: LogLines
) -> None:
    server = start_server(otlp_endpoint=collector.endpoint)
    with stubs_of(server.address) as stubs:
        saying(stubs, TRACEPARENT, ("tracestate", "vendor=1")).make_index()
        request = vector_service_pb2.ListVectorsRequest(bucket=BUCKET, index_name=INDEX)
        saying(stubs, ("traceparent", "00-no-trace-01")).vectors.ListVectors(request)
    server.stop()
    span = only(collector.spans_of("PutVectorIndex"))
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    assert span.trace_state == "vendor=1"
    (line,) = [one for one in log_lines() if one.get("method") == "PutVectorIndex"]
    assert line["trace_id"] == TRACE_ID
    torn = only(collector.spans_of("ListVectors"))
    assert torn.trace_id.hex() != TRACE_ID
    assert not torn.parent_span_id


def test_call_that_its_caller_does_not_sample_is_not_sent(
    start_server: StartServer, collector: Collector
) -> None:
    server = start_server(otlp_endpoint=collector.endpoint)
    with stubs_of(server.address) as stubs:
        saying(stubs, ("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-00")).make_index()
        refused(lambda: stubs.vectors.QueryVectors(query_request(top_k=0)))
    server.stop()
    assert [facts_of(one.attributes)["rpc.method"] for one in collector.spans] == ["QueryVectors"]


def test_environment_says_what_is_no_setting(
    start_server: StartServer, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "photo-search")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
    server = start_server(otlp_endpoint=collector.endpoint)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
    server.stop()
    assert collector.resource()["service.name"] == "photo-search"
    assert collector.metadata[0]["x-tenant"] == "blue"


# --- Without a collector --------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """The endpoint of somebody who takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture(params=["nobody", "silent"])
def endpoint(request: pytest.FixtureRequest, silent: str) -> str:
    """Where nobody takes spans."""
    return silent if request.param == "silent" else "http://127.0.0.1:1"


def test_collector_that_is_not_there_slows_nothing_and_is_told_once(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "FLUSH_S", 0.5)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
    stream = io.StringIO()
    made = Tracing(endpoint, version="1", log=make_logger("json", "info", stream))
    begin_s = time.monotonic()
    for _ in range(500):
        record = CallRecord("ID", "QueryVectors", code="OK")
        made.begin(record, ()).end(record)
    assert time.monotonic() - begin_s < 5
    made.close()
    assert time.monotonic() - begin_s < 10
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["traces cannot be sent"]
    assert lines[0]["level"] == "warning"
    library = logging.getLogger("opentelemetry")
    assert (library.handlers, library.propagate) == ([], True)


def test_server_without_the_extra_says_what_to_install(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "vectorbucket_server.observability.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(
        StartFailed, match=r"opentelemetry.*pip install 'vectorbucket\[telemetry\]'"
    ):
        start_server(otlp_endpoint="http://127.0.0.1:4317")


def test_nothing_of_the_extra_is_loaded_where_no_traces_are_wanted() -> None:
    program = (
        "import sys; import vectorbucket_server.app;"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
