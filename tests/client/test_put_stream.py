"""The streaming put against the real server: its window, its ends, its answers.

What happens when connections break stands in test_put_stream_resumed.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from recording_engine import Gate, RecordingEngine
from vectorbucket import (
    Client,
    InternalError,
    NoSuchVectorIndex,
    PutProgress,
    PutResult,
    QpsLimitExceeded,
    RequestTimeout,
    RetryPolicy,
    VectorIndexOperationConflict,
    VectorIndexParameterInvalid,
)
from vectorbucket._batching import Batch, batches, rows_of_vectors
from vectorbucket._put_stream import (
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    Destination,
    PutStream,
    put_batches,
)
from vectorbucket._retry import Patience
from vectorbucket._tally import Tally
from vectorbucket.v1 import vector_service_pb2, vector_service_pb2_grpc
from vectorbucket_server.app import Server

QUICK = RetryPolicy(first_delay_s=0.005, delay_s_max=0.05, jitter=0.0)
BATCH = 3


def vectors() -> list[Any]:
    """Return vectors for six batches of three."""
    return [(f"key-{position}", [float(position)] * 4) for position in range(6 * BATCH)]


def keys_in(client: Client) -> list[str]:
    """Return the keys that the index holds."""
    return [vector.key for vector in client.scan_vectors("photos", "faces")]


def test_error_that_ends_a_stream_says_from_where_to_go_on(
    client: Client, engine: RecordingEngine
) -> None:
    def source() -> Iterator[Any]:
        yield from vectors()[: 2 * BATCH]
        engine.wait_for_commits(2)
        client.delete_vector_index("photos", "faces")
        yield from vectors()[2 * BATCH :]

    with pytest.raises(NoSuchVectorIndex) as caught:
        client.put_vectors("photos", "faces", source(), batch_vectors_max=BATCH)
    assert caught.value.details["first_unanswered_position"] == str(2 * BATCH)
    assert caught.value.__notes__ == [
        "Until then 6 vectors were stored and 0 were rejected, of 2 batches."
    ]


def stream_of(client: Client, stream_id: str, **arguments: Any) -> PutStream:
    """Return a stream with an id of the test's choice, over the client's connection."""
    settings: dict[str, Any] = {
        "patience": Patience(QUICK, 10.0, lambda: 0.0, lambda: 0.0),
        "answer_timeout_s": 20.0,
        "pause": lambda _: None,
    }
    destination = Destination("photos", "faces", stream_id)
    return PutStream(client._vectors.PutVectors, destination, **(settings | arguments))


def batch_of(*keys: str) -> Batch:
    """Return one batch of vectors with these keys."""
    (batch,) = batches(rows_of_vectors([(key, [1.0] * 4) for key in keys]))
    assert isinstance(batch, Batch)
    return batch


def test_stream_that_was_superseded_raises_and_is_never_resumed(
    client: Client, engine: RecordingEngine
) -> None:
    with stream_of(client, "same") as older, stream_of(client, "same") as newer:
        older.send(batch_of("a"))
        assert older.wait().error is None
        newer.send(batch_of("b"))
        # The number is the one that the older stream stored already: it is not applied again.
        assert newer.wait().error is None
        older.send(batch_of("c"))
        with pytest.raises(VectorIndexOperationConflict, match="took this one's place"):
            older.wait()
    assert engine.commits == [("a",)]


def test_server_that_has_no_stream_free_is_asked_again_after_the_time_it_named(
    start_server: Callable[..., Server], connect: Callable[..., Client], engine: RecordingEngine
) -> None:
    client = connect(start_server(over=engine, streams_max=1).address)
    client.put_vector_bucket("photos")
    client.put_vector_index("photos", "faces", dimension=4, distance_metric="euclidean")
    blocking = stream_of(client, "blocking")
    blocking.send(batch_of("a"))
    blocking.wait()
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        blocking.finish()
        blocking.wait_for_end()

    with blocking, stream_of(client, "patient", pause=pause) as patient:
        patient.send(batch_of("b"))
        assert patient.wait().error is None
    assert waited[0] == 1.0
    assert sorted(engine.commits) == [("a",), ("b",)]


def test_server_that_stays_busy_is_reported_as_such(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    client = connect(start_server(streams_max=1).address, resume_timeout_s=0.5)
    client.put_vector_bucket("photos")
    client.put_vector_index("photos", "faces", dimension=4, distance_metric="euclidean")
    with stream_of(client, "blocking") as blocking:
        blocking.send(batch_of("a"))
        blocking.wait()
        with pytest.raises(QpsLimitExceeded, match="the limit is 1"):
            client.put_vectors("photos", "faces", vectors())


def test_answer_that_does_not_come_in_time_ends_the_put(
    recorded_server: Server, connect: Callable[..., Client], engine: RecordingEngine
) -> None:
    gate = Gate()
    engine.before_put = lambda batch: gate.pass_through() if "key-6" in batch.keys else None
    client = connect(recorded_server.address, answer_timeout_s=0.2)
    with pytest.raises(RequestTimeout, match=r"batch 3 of the stream .* within 0\.2 s") as caught:
        client.put_vectors("photos", "faces", vectors(), batch_vectors_max=BATCH)
    assert caught.value.details == {"batch_number": "3", "first_unanswered_position": "6"}
    gate.open()


def test_iterable_is_taken_only_as_far_as_the_window_allows(
    client: Client, engine: RecordingEngine
) -> None:
    gate = Gate()
    engine.before_put = lambda _: gate.pass_through()
    taken = 0
    full = threading.Event()
    batches_taken_max = WINDOW_MESSAGES + 1

    def endless() -> Iterator[Any]:
        nonlocal taken
        for position in range(1000):
            taken += 1
            if taken == batches_taken_max * 100:
                full.set()
            yield f"key-{position}", [1.0] * 4

    with ThreadPoolExecutor(1) as pool:
        putting = pool.submit(
            client.put_vectors, "photos", "faces", endless(), batch_vectors_max=100
        )
        assert full.wait(20)
        gate.wait_until_reached()
        # Nothing is answered, so the next batch waits, built, for room in the window.
        assert taken == batches_taken_max * 100
        gate.open()
        assert putting.result(timeout=20) == PutResult(1000, [])
    assert taken == 1000


def test_window_is_bounded_in_bytes_but_takes_any_single_batch(client: Client) -> None:
    stream = stream_of(client, "never sent")
    half = Batch(0, 1, vector_service_pb2.PutVectorsRequest(), WINDOW_BYTES // 2)
    huge = Batch(0, 1, vector_service_pb2.PutVectorsRequest(), WINDOW_BYTES * 2)
    assert stream.has_room_for(huge)
    stream._connection = None
    with stream:
        stream.send(half)
        assert stream.has_room_for(half)
        assert not stream.has_room_for(huge)
        stream.send(half)
        assert not stream.has_room_for(batch_of("a"))
        assert stream.unanswered == 2


def test_exception_of_the_iterable_reaches_the_caller_and_what_was_answered_stays(
    client: Client, engine: RecordingEngine
) -> None:
    def failing() -> Iterator[Any]:
        yield from vectors()
        engine.wait_for_commits(1)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        client.put_vectors("photos", "faces", failing(), batch_vectors_max=BATCH)
    assert set(engine.commits[0]) <= set(keys_in(client))


def test_progress_is_reported_while_the_input_still_comes(client: Client) -> None:
    reports: list[PutProgress] = []
    reported = threading.Event()

    def report(progress: PutProgress) -> None:
        reports.append(progress)
        reported.set()

    def until_reported() -> Iterator[Any]:
        for position in range(100_000):
            if reported.is_set():
                return
            yield f"key-{position}", [1.0] * 4

    result = client.put_vectors(
        "photos", "faces", until_reported(), progress=report, batch_vectors_max=10
    )
    assert result.stored < 100_000
    assert [report.stored for report in reports] == sorted(report.stored for report in reports)
    assert reports[-1] == PutProgress(result.stored, 0, None, finished=True)


def test_threads_of_a_put_end_with_it(client: Client, engine: RecordingEngine) -> None:
    def failing() -> Iterator[Any]:
        yield from vectors()
        raise OSError("the disk is gone")

    before = set(threading.enumerate())
    for _ in range(5):
        client.put_vectors("photos", "faces", vectors())
        with pytest.raises(OSError, match="the disk is gone"):
            client.put_vectors("photos", "faces", failing(), batch_vectors_max=BATCH)
    ours = [one for one in threading.enumerate() if one not in before]
    for thread in ours:
        if thread.name == "vectorbucket-answers":
            thread.join(timeout=20)
            assert not thread.is_alive()
    assert engine.commits


class OddServicer(vector_service_pb2_grpc.VectorServiceServicer):
    """A server that breaks the contract, as no server of ours can be made to."""

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = numbers

    def PutVectors(  # noqa: N802 - the contract's name
        self,
        requests: Iterator[Any],
        context: grpc.ServicerContext,  # noqa: ARG002 - of gRPC's signature
    ) -> Iterator[vector_service_pb2.PutVectorsResponse]:
        next(requests)
        for number in self._numbers:
            yield vector_service_pb2.PutVectorsResponse(
                batch_number=number, stored=vector_service_pb2.PutVectorsStored(vector_count=1)
            )


@pytest.fixture
def odd_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """Serve answers with these batch numbers after the first message; yield the address."""
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        vector_service_pb2_grpc.add_VectorServiceServicer_to_server(  # type: ignore[no-untyped-call]
            OddServicer(request.param), server
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("odd_server", "problem"),
    [
        ([2], "answered batch 2 when 1 was due"),
        ([1, 1], "answered batch 1 when 2 was due"),
        ([1], "ended the stream before answering all"),
        ([], "ended the stream before answering all"),
    ],
    indirect=["odd_server"],
)
def test_server_that_breaks_the_contract_is_not_believed(
    odd_server: str, connect: Callable[..., Client], problem: str
) -> None:
    client = connect(odd_server)
    with pytest.raises(InternalError, match=problem):
        client.put_vectors("photos", "faces", vectors(), batch_vectors_max=BATCH)


def test_batch_that_cannot_be_sent_is_counted_in_its_place(client: Client) -> None:
    tally = Tally(on_rejected=lambda _: None)
    rows = rows_of_vectors([("a", [1.0] * 4), ("b", [float("nan")] * 4), ("c", [2.0] * 4)])
    with stream_of(client, "mixed") as stream:
        put_batches(stream, batches(rows, count_max=1), tally)
    (rejected,) = tally.result().rejected
    assert tally.result().stored == 2
    assert rejected[:2] == (1, 1)
    assert isinstance(rejected.error, VectorIndexParameterInvalid)
    assert keys_in(client) == ["a", "c"]
