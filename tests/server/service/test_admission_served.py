"""Admission through a real server: permits of streams, threads of unary calls, turns of bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from conftest import StartServer
from rpc import (
    BUCKET,
    INDEX,
    WAIT_S,
    PutStream,
    Stubs,
    put_message,
    query_request,
    refused,
    some_vectors,
    stubs_of,
    vector_of,
)
from stubborn import SlowEngine, eventually
from vectorbucket.v1 import vector_service_pb2 as messages

LogLines = Callable[[], list[dict[str, Any]]]
PLACE: dict[str, Any] = {"bucket": BUCKET, "index_name": INDEX}


def lines_of(lines: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("method") == method]


def test_33rd_stream_is_refused_at_once_and_queries_still_answer(with_index: Stubs) -> None:
    streams = [PutStream(with_index) for _ in range(32)]
    for number, stream in enumerate(streams):
        stream.ask(put_message(1, vector_of(f"key-{number}"), stream_id=f"s{number}"))
    request = messages.ScanVectorsRequest(**PLACE)
    batch = messages.QueryVectorsBatchRequest(**PLACE, top_k=1, query_vectors=vector_of("a").data)
    for call in (
        lambda: PutStream(with_index).ask(put_message(1, vector_of("x"), stream_id="x")),
        lambda: list(with_index.vectors.ScanVectors(request, timeout=WAIT_S)),
        lambda: list(with_index.vectors.QueryVectorsBatch(batch, timeout=WAIT_S)),
    ):
        refusal = refused(call)
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.reason == "ERROR_REASON_QPS_LIMIT_EXCEEDED"
        assert refusal.retry_after_s is not None
        assert "limit is 32" in refusal.message
    for _ in range(20):
        hits = with_index.vectors.QueryVectors(query_request(), timeout=WAIT_S).vectors
        assert len(hits) == 10
    assert with_index.put(vector_of("unary")) == 1
    assert streams[0].finish() == []
    assert len(with_index.all_keys()) == 33
    for stream in streams[1:]:
        stream.finish()


def test_idle_streams_and_waiting_puts_leave_queries_their_threads(
    start_server: StartServer, slow: SlowEngine
) -> None:
    server = start_server(over=slow, streams_max=4, unary_workers=2)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        streams = [PutStream(stubs) for _ in range(4)]
        for number, stream in enumerate(streams):
            stream.send(put_message(1, vector_of("a"), stream_id=f"s{number}"))
        request = messages.PutVectorsBatchRequest(**PLACE, vectors=some_vectors(1))
        # Far more than there are threads, so that without pools of their own all would be taken.
        waiting = [stubs.vectors.PutVectorsBatch.future(request) for _ in range(40)]
        for _ in range(6):
            assert slow.entered.acquire(timeout=WAIT_S)
        get = messages.GetVectorsRequest(**PLACE, keys=["a"])
        for _ in range(10):
            assert not stubs.vectors.GetVectors(get, timeout=WAIT_S).vectors
        slow.gate.set()
        assert [one.result(WAIT_S).vector_count for one in waiting] == [1] * 40
        assert [stream.read().WhichOneof("result") for stream in streams] == ["stored"] * 4
        for stream in streams:
            stream.finish()


def test_permit_of_a_stream_that_failed_comes_back(start_server: StartServer) -> None:
    with stubs_of(start_server(streams_max=1).address) as stubs:
        stubs.make_index()
        for _ in range(5):
            assert refused(lambda: _ask_nothing(stubs)).field == "batch_number"
        stream = PutStream(stubs)
        assert stream.ask(put_message(1, vector_of("a"))).stored.vector_count == 1
        stream.finish()


def _ask_nothing(stubs: Stubs) -> object:
    """Open a stream that ends with a fault of its own."""
    return PutStream(stubs).ask(put_message(0, vector_of("a")))


def large_batch(seed: int) -> list[Any]:
    return [vector_of(f"{seed}-{n}", range(4096), as_bytes=True) for n in range(10)]


def test_unary_call_over_the_byte_budget_waits_until_its_deadline(
    start_server: StartServer, slow: SlowEngine
) -> None:
    server = start_server(over=slow, in_flight_bytes_max=200_000)
    with stubs_of(server.address) as stubs:
        stubs.make_index(dimension=4096)
        request = messages.PutVectorsBatchRequest(**PLACE, vectors=large_batch(0))
        assert 100_000 < request.ByteSize() < 200_000
        first = stubs.vectors.PutVectorsBatch.future(request)
        assert slow.entered.acquire(timeout=WAIT_S)
        with pytest.raises(grpc.RpcError) as caught:
            stubs.vectors.PutVectorsBatch(request, timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not slow.entered.acquire(blocking=False)
        # What is small never waits.
        assert stubs.count() == 0
        slow.gate.set()
        assert first.result(WAIT_S).vector_count == 10
        assert stubs.vectors.PutVectorsBatch(request, timeout=WAIT_S).vector_count == 10


def test_streams_over_the_byte_budget_take_turns(
    start_server: StartServer, slow: SlowEngine
) -> None:
    server = start_server(over=slow, in_flight_bytes_max=200_000)
    with stubs_of(server.address) as stubs:
        stubs.make_index(dimension=4096)
        streams = [PutStream(stubs) for _ in range(3)]
        for number, stream in enumerate(streams):
            stream.send(put_message(1, *large_batch(number), stream_id=f"s{number}"))
        assert slow.entered.acquire(timeout=WAIT_S)
        assert not slow.entered.acquire(timeout=0.2)
        slow.gate.set()
        assert [stream.read().stored.vector_count for stream in streams] == [10] * 3
        for stream in streams:
            stream.finish()
        assert stubs.count() == 30


def test_stream_that_waits_for_its_turn_can_be_cancelled(
    start_server: StartServer, slow: SlowEngine, log_lines: LogLines
) -> None:
    server = start_server(over=slow, in_flight_bytes_max=200_000)
    with stubs_of(server.address) as stubs:
        stubs.make_index(dimension=4096)
        first, second = PutStream(stubs), PutStream(stubs)
        first.send(put_message(1, *large_batch(0), stream_id="first"))
        assert slow.entered.acquire(timeout=WAIT_S)
        second.send(put_message(1, *large_batch(1), stream_id="second"))
        second.cancel()
        eventually(lambda: len(lines_of(log_lines(), "PutVectors")) == 1)
        slow.gate.set()
        assert first.read().stored.vector_count == 10
        first.finish()
        assert stubs.count() == 10


def test_idle_stream_holds_nothing_of_the_byte_budget(start_server: StartServer) -> None:
    with stubs_of(start_server(in_flight_bytes_max=200_000).address) as stubs:
        stubs.make_index(dimension=4096)
        streams = [PutStream(stubs) for _ in range(3)]
        for number, stream in enumerate(streams):
            answer = stream.ask(put_message(1, *large_batch(number), stream_id=f"s{number}"))
            assert answer.stored.vector_count == 10
        for stream in streams:
            stream.finish()
