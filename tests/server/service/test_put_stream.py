"""PutVectors through a real server: answers, resumption, supersession, drain."""

from __future__ import annotations

import threading
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
    index_request,
    put_message,
    refusal_of,
    refused,
    some_vectors,
    stubs_of,
    vector_of,
)
from stubborn import SlowEngine, eventually
from vectorbucket.errors import ServiceUnavailable
from vectorbucket.v1 import index_service_pb2, vector_service_pb2
from vectorbucket_server.app import Server
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline, WriteGuard
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Index, VectorBatch


def numbers_of(stubs: Stubs, key: str) -> list[float]:
    request = vector_service_pb2.GetVectorsRequest(
        bucket=BUCKET, index_name=INDEX, keys=[key], return_data=True
    )
    return [
        one for vector in stubs.vectors.GetVectors(request).vectors for one in vector.data.float32
    ]


class CountingEngine(MemoryEngine):
    """Counts the batches that it applied, and can fail instead."""

    def __init__(self) -> None:
        super().__init__()
        self.applied: list[tuple[str, ...]] = []
        self.waits: list[float | None] = []
        self.error: Exception | None = None

    def put_vectors(
        self,
        index: Index,
        batch: VectorBatch,
        *,
        guard: WriteGuard | None = None,
        backlog_wait_s: float | None = None,
        deadline: Deadline = NO_DEADLINE,
        visible: bool = True,  # noqa: ARG002 - of the seam
    ) -> bool:
        if self.error is not None:
            raise self.error
        self.waits.append(backlog_wait_s)
        applied = super().put_vectors(index, batch, guard=guard, deadline=deadline)
        if applied:
            self.applied.append(batch.keys)
        return applied


@pytest.fixture
def counting() -> CountingEngine:
    return CountingEngine()


@pytest.fixture
def counted(start_server: StartServer, counting: CountingEngine) -> Server:
    return start_server(over=counting)


# --- Answers --------------------------------------------------------------------------------------


def test_every_message_gets_its_answer_in_order(with_index: Stubs) -> None:
    sent = [put_message(number * 3, *some_vectors(number)) for number in range(1, 20)]
    answers = list(with_index.vectors.PutVectors(iter(sent)))
    assert [answer.batch_number for answer in answers] == [number * 3 for number in range(1, 20)]
    assert [answer.stored.vector_count for answer in answers] == list(range(1, 20))
    assert with_index.count() == 19


def test_answered_batch_is_seen_at_once(with_index: Stubs) -> None:
    stream = PutStream(with_index)
    for number in range(1, 50):
        stream.ask(put_message(number, vector_of("key", (number, 0, 0, 0))))
        assert numbers_of(with_index, "key")[0] == number
    stream.finish()


def test_rejected_batches_do_not_stop_the_others(with_index: Stubs) -> None:
    sent = [
        put_message(1, vector_of("a")),
        put_message(2, vector_of("b", (1,))),
        put_message(3),
        put_message(4, vector_of("c")),
    ]
    answers = list(with_index.vectors.PutVectors(iter(sent)))
    results = [answer.WhichOneof("result") for answer in answers]
    assert results == ["stored", "error", "error", "stored"]
    assert refusal_of(answers[1].error).field == "vectors[0].data"
    assert refusal_of(answers[2].error).field == "vectors"
    assert with_index.all_keys() == ["a", "c"]


def test_later_messages_may_leave_the_place_out(with_index: Stubs) -> None:
    bare: dict[str, Any] = {"bucket": "", "index_name": "", "stream_id": ""}
    sent = [put_message(1, vector_of("a")), put_message(2, vector_of("b"), **bare)]
    answers = list(with_index.vectors.PutVectors(iter(sent)))
    assert [answer.stored.vector_count for answer in answers] == [1, 1]


def test_stream_without_messages_just_ends(with_index: Stubs) -> None:
    assert list(with_index.vectors.PutVectors(iter([]))) == []


def test_streams_wait_for_the_indexer_and_unary_puts_only_so_long(
    counted: Server, counting: CountingEngine
) -> None:
    with stubs_of(counted.address) as stubs:
        stubs.make_index()
        list(stubs.vectors.PutVectors(iter([put_message(1, vector_of("a"))])))
        stubs.put(vector_of("b"))
    assert counting.waits == [None, 5.0]


# --- Resumption -----------------------------------------------------------------------------------


def test_resumed_stream_is_answered_again_without_being_applied_again(
    counted: Server, counting: CountingEngine
) -> None:
    with stubs_of(counted.address) as stubs:
        stubs.make_index()
        sent = [put_message(number, vector_of(f"key-{number}")) for number in range(1, 4)]
        list(stubs.vectors.PutVectors(iter(sent)))
        assert len(counting.applied) == 3
        again = [*sent[1:], put_message(4, vector_of("key-4"))]
        answers = list(stubs.vectors.PutVectors(iter(again)))
        assert [answer.batch_number for answer in answers] == [2, 3, 4]
        assert [answer.stored.vector_count for answer in answers] == [1, 1, 1]
        assert counting.applied[3:] == [("key-4",)]


def test_rejected_number_is_judged_again_when_it_is_sent_again(with_index: Stubs) -> None:
    bad = put_message(1, vector_of("a", (1,)))
    (rejected,) = with_index.vectors.PutVectors(iter([bad]))
    assert rejected.WhichOneof("result") == "error"
    (rejected,) = with_index.vectors.PutVectors(iter([bad]))
    assert rejected.WhichOneof("result") == "error"
    (stored,) = with_index.vectors.PutVectors(iter([put_message(1, vector_of("a"))]))
    assert stored.stored.vector_count == 1
    assert with_index.all_keys() == ["a"]


def test_corrected_batch_does_not_leave_an_older_version_in_place(with_index: Stubs) -> None:
    first = [
        put_message(1, vector_of("other")),
        put_message(2, vector_of("key", (2,))),
        put_message(3, vector_of("key", (3, 3, 3, 3))),
    ]
    list(with_index.vectors.PutVectors(iter(first)))
    again = [
        put_message(2, vector_of("key", (2, 2, 2, 2))),
        put_message(3, vector_of("key", (3, 3, 3, 3))),
    ]
    list(with_index.vectors.PutVectors(iter(again)))
    assert numbers_of(with_index, "key") == [3, 3, 3, 3]


def test_id_is_known_by_its_index_only(with_index: Stubs) -> None:
    with_index.indexes.PutVectorIndex(index_request(index_name="other"))
    for index_name in (INDEX, "other"):
        message = put_message(1, vector_of("a"), index_name=index_name)
        (answer,) = with_index.vectors.PutVectors(iter([message]))
        assert answer.stored.vector_count == 1
        assert with_index.all_keys(index_name=index_name) == ["a"]


# --- Supersession ---------------------------------------------------------------------------------


def test_newer_stream_ends_the_older_at_once(with_index: Stubs) -> None:
    older, newer = PutStream(with_index), PutStream(with_index)
    older.ask(put_message(1, vector_of("a")))
    newer.ask(put_message(1, vector_of("a")))
    refusal = refused(older.read)
    assert refusal.code is grpc.StatusCode.ABORTED
    assert refusal.reason == "ERROR_REASON_VECTOR_INDEX_OPERATION_CONFLICT"
    assert refusal.facts is not None
    assert refusal.facts["stream_id"] == "stream"
    assert refusal.retry_after_s is None
    assert newer.ask(put_message(2, vector_of("b"))).stored.vector_count == 1
    newer.finish()


def test_late_message_of_a_superseded_stream_is_never_applied(
    start_server: StartServer, slow: SlowEngine
) -> None:
    with stubs_of(start_server(over=slow).address) as stubs:
        stubs.make_index()
        older, newer = PutStream(stubs), PutStream(stubs)
        # It is in the engine, but not at its commit yet, when the newer one comes.
        older.send(put_message(1, vector_of("key", (1, 1, 1, 1))))
        assert slow.entered.acquire(timeout=WAIT_S)
        newer.send(put_message(1, vector_of("key", (2, 2, 2, 2))))
        assert slow.entered.acquire(timeout=WAIT_S)
        slow.gate.set()
        assert newer.read().stored.vector_count == 1
        assert refused(older.read).code is grpc.StatusCode.ABORTED
        assert numbers_of(stubs, "key") == [2, 2, 2, 2]
        newer.finish()


def test_superseded_stream_gives_its_permit_to_others(start_server: StartServer) -> None:
    with stubs_of(start_server(streams_max=2).address) as stubs:
        stubs.make_index()
        newest = PutStream(stubs)
        newest.ask(put_message(1, vector_of("a")))
        for _ in range(10):
            older, newest = newest, PutStream(stubs)
            newest.ask(put_message(1, vector_of("a")))
            assert refused(older.read).code is grpc.StatusCode.ABORTED
        newest.finish()


# --- Ends -----------------------------------------------------------------------------------------


def test_stream_whose_index_is_deleted_midway_ends(with_index: Stubs) -> None:
    stream = PutStream(with_index)
    stream.ask(put_message(1, vector_of("a")))
    place = index_service_pb2.DeleteVectorIndexRequest(bucket=BUCKET, index_name=INDEX)
    with_index.indexes.DeleteVectorIndex(place)
    stream.send(put_message(2, vector_of("b")))
    assert refused(stream.read).reason == "ERROR_REASON_NO_SUCH_VECTOR_INDEX"


def test_stream_never_writes_to_another_index_of_the_same_name(with_index: Stubs) -> None:
    stream = PutStream(with_index)
    stream.ask(put_message(1, vector_of("a")))
    place = index_service_pb2.DeleteVectorIndexRequest(bucket=BUCKET, index_name=INDEX)
    with_index.indexes.DeleteVectorIndex(place)
    with_index.indexes.PutVectorIndex(index_request())
    stream.send(put_message(2, vector_of("b")))
    assert refused(stream.read).reason == "ERROR_REASON_NO_SUCH_VECTOR_INDEX"
    assert with_index.count() == 0


def test_engine_that_fails_ends_the_stream_and_the_batch_can_be_resumed(
    counted: Server, counting: CountingEngine
) -> None:
    with stubs_of(counted.address) as stubs:
        stubs.make_index()
        stream = PutStream(stubs)
        stream.ask(put_message(1, vector_of("a")))
        counting.error = ServiceUnavailable("the disk is full")
        stream.send(put_message(2, vector_of("b")))
        refusal = refused(stream.read)
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.retry_after_s is not None
        counting.error = None
        (answer,) = stubs.vectors.PutVectors(iter([put_message(2, vector_of("b"))]))
        assert answer.stored.vector_count == 1
        assert stubs.all_keys() == ["a", "b"]


def test_cancelled_stream_stops_in_the_middle_of_its_wait(
    start_server: StartServer, slow: SlowEngine
) -> None:
    with stubs_of(start_server(over=slow).address) as stubs:
        stubs.make_index()
        stream = PutStream(stubs)
        stream.send(put_message(1, vector_of("a")))
        assert slow.entered.acquire(timeout=WAIT_S)
        stream.cancel()
        eventually(lambda: slow.ended == ["gone"])
        slow.gate.set()
        assert stubs.count() == 0


# --- Drain ----------------------------------------------------------------------------------------


def test_drain_ends_streams_after_their_last_answer(
    start_server: StartServer, slow: SlowEngine
) -> None:
    server = start_server(over=slow)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        slow.gate.set()
        idle, busy = PutStream(stubs), PutStream(stubs)
        idle.ask(put_message(1, vector_of("a"), stream_id="idle"))
        busy.ask(put_message(1, vector_of("b"), stream_id="busy"))
        slow.gate.clear()
        while slow.entered.acquire(blocking=False):
            pass
        busy.send(put_message(2, vector_of("c"), stream_id="busy"))
        busy.send(put_message(3, vector_of("d"), stream_id="busy"))
        assert slow.entered.acquire(timeout=WAIT_S)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        refusal = refused(idle.read)
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.reason == "ERROR_REASON_SERVICE_UNAVAILABLE"
        assert refusal.retry_after_s is not None
        slow.gate.set()
        assert busy.read().batch_number == 2
        assert refused(busy.read).code is grpc.StatusCode.UNAVAILABLE
        stopping.join(WAIT_S)
        assert not stopping.is_alive()
