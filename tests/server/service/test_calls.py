"""The record of the current call, deadlines from gRPC's context, and what an engine tells."""

from __future__ import annotations

import contextvars
import io
import json
from typing import Any, cast

import grpc
import pytest

from measured import made_metrics
from vectorbucket.errors import RequestTimeout, ServiceUnavailable
from vectorbucket_server.observability.logs import CallRecord, make_logger
from vectorbucket_server.observability.metrics import Metrics
from vectorbucket_server.service.calls import (
    CallObserver,
    ContextDeadline,
    begin_call,
    current_call,
)


class Context:
    """As much of a gRPC context as a deadline asks of it."""

    def __init__(self, remaining_s: float, *, active: bool = True) -> None:
        self._remaining_s = remaining_s
        self._active = active

    def is_active(self) -> bool:
        return self._active

    def time_remaining(self) -> float:
        return self._remaining_s


def deadline(remaining_s: float, *, active: bool = True) -> ContextDeadline:
    return ContextDeadline(cast("grpc.ServicerContext", Context(remaining_s, active=active)))


def test_deadline_ahead_lets_pass_and_says_how_far() -> None:
    deadline(3.5).check()
    assert deadline(3.5).remaining_s() == 3.5


def test_deadline_behind_ends_the_call() -> None:
    with pytest.raises(RequestTimeout):
        deadline(0.0).check()


def test_cancelled_call_ends_whatever_its_deadline() -> None:
    with pytest.raises(RequestTimeout, match="cancelled"):
        deadline(100.0, active=False).check()


@pytest.mark.parametrize("huge", [9.223372035059544e18, float("inf")])
def test_call_without_a_deadline_has_none(huge: float) -> None:
    # gRPC says so with a number: the first was seen from grpcio 1.85.
    deadline(huge).check()
    assert deadline(huge).remaining_s() is None


def observed(stream: io.StringIO) -> tuple[CallObserver, Metrics]:
    """Return an observer whose lines go to a stream, and what it counts with."""
    metrics = made_metrics()
    return CallObserver(make_logger("json", "info", stream), metrics), metrics


def in_new_call(work: Any) -> Any:
    return contextvars.copy_context().run(work)


def test_record_of_a_call_is_found_by_who_serves_it() -> None:
    def serve() -> CallRecord:
        begin_call(CallRecord("ID", "GetVectors"))
        current_call().vector_count = 3
        return current_call()

    record = in_new_call(serve)
    assert (record.request_id, record.vector_count) == ("ID", 3)


def test_calls_do_not_see_each_others_records() -> None:
    in_new_call(lambda: begin_call(CallRecord("ONE", "GetVectors")))
    assert current_call().request_id == ""


def test_outside_a_call_a_record_can_be_filled_that_nobody_reads() -> None:
    current_call().vector_count = 3
    assert current_call().vector_count == 0


def test_plan_of_a_query_stands_in_the_record_of_its_call() -> None:
    observer, metrics = observed(io.StringIO())

    def serve() -> str:
        begin_call(CallRecord("ID", "QueryVectors"))
        observer.plan_chosen("exact_scan", 1)
        return current_call().plan

    assert in_new_call(serve) == "exact_scan"
    observer.plan_chosen("exact_scan", 2)
    assert 'vectorbucket_queries_total{plan="exact_scan"} 3.0' in metrics.text()
    observer.vectors_indexed(256, 0.05)
    assert "vectorbucket_vectors_indexed_total 256.0" in metrics.text()
    assert "vectorbucket_indexing_seconds_total 0.05" in metrics.text()


def test_calls_of_the_engine_are_counted() -> None:
    observer, metrics = observed(io.StringIO())
    observer.backend_called("search", "ok", 0.5)
    wanted = 'vectorbucket_milvus_calls_total{call="search",outcome="ok"} 1.0'
    assert wanted in metrics.text()


def test_failure_in_the_background_gets_a_line_with_its_traceback() -> None:
    stream = io.StringIO()
    with pytest.raises(ServiceUnavailable) as caught:
        raise ServiceUnavailable("no space left")
    observer, metrics = observed(stream)
    observer.background_failed("indexing of 'faces'", caught.value)
    line = json.loads(stream.getvalue())
    assert (line["level"], line["work"]) == ("error", "indexing of 'faces'")
    assert "no space left" in line["exception"]
    assert "Traceback" in line["exception"]
    assert 'vectorbucket_background_failures_total{work="indexing"} 1.0' in metrics.text()
