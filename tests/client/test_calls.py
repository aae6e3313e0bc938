"""Calls against the real server: their deadline, their retries, their errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from faulty_proxy import Fault, FaultyProxy
from recording_engine import Gate, RecordingEngine
from vectorbucket import (
    BucketNameNotAvailable,
    Client,
    EntityTooLarge,
    MethodNotAllowed,
    NoSuchBucket,
    QpsLimitExceeded,
    RequestTimeout,
    RetryPolicy,
    ServiceUnavailable,
)
from vectorbucket._calls import Calls
from vectorbucket.v1 import bucket_service_pb2, vector_pb2, vector_service_pb2
from vectorbucket_server.app import Server
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Bucket

GET_PHOTOS = bucket_service_pb2.GetVectorBucketRequest(bucket="photos")


class Pauses:
    """Counts pauses instead of making them, on a clock that goes on with them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        """Note a pause."""
        self.seconds.append(seconds)

    def clock(self) -> float:
        """Return the time: the sum of all pauses."""
        return sum(self.seconds)


def calls(pauses: Pauses, **policy: Any) -> Calls:
    """Return calls whose pauses take no time."""
    settings: dict[str, Any] = {"jitter": 0.0, "first_delay_s": 0.1}
    return Calls(
        RetryPolicy(**(settings | policy)), clock=pauses.clock, chance=lambda: 0.0, pause=pauses
    )


def test_broken_connection_is_tried_again_and_the_answer_is_right(
    recorded_server: Server, connect: Callable[..., Client]
) -> None:
    with FaultyProxy(recorded_server.address, Fault(cut_down=60)) as proxy:
        assert connect(proxy.address).get_vector_bucket("photos").bucket == "photos"
    assert len(proxy.connections) == 2


def test_attempts_are_counted_and_spaced(connect: Callable[..., Client]) -> None:
    pauses = Pauses()
    nobody = connect("127.0.0.1:1")
    with pytest.raises(ServiceUnavailable, match="gRPC status UNAVAILABLE"):
        calls(pauses).unary(nobody._buckets.GetVectorBucket, GET_PHOTOS, timeout_s=30)
    assert pauses.seconds == [0.1, 0.2, 0.4, 0.8]


def test_all_attempts_share_one_deadline(connect: Callable[..., Client]) -> None:
    pauses = Pauses()
    nobody = connect("127.0.0.1:1")
    with pytest.raises(ServiceUnavailable):
        calls(pauses, attempts_max=100).unary(
            nobody._buckets.GetVectorBucket, GET_PHOTOS, timeout_s=2.0
        )
    assert pauses.seconds == [0.1, 0.2, 0.4, 0.8]


def test_call_that_must_not_be_repeated_is_made_once(connect: Callable[..., Client]) -> None:
    pauses = Pauses()
    nobody = connect("127.0.0.1:1")
    with pytest.raises(ServiceUnavailable):
        calls(pauses).unary(
            nobody._buckets.GetVectorBucket, GET_PHOTOS, timeout_s=30, repeatable=False
        )
    assert pauses.seconds == []


class CuttingEngine(MemoryEngine):
    """An engine that cuts the caller's connection right after it has made a bucket."""

    cut: Callable[[], None]

    def put_bucket(self, bucket: Bucket, *, buckets_max: int) -> None:
        """Make the bucket, so that nobody hears of it."""
        super().put_bucket(bucket, buckets_max=buckets_max)
        self.cut()


def test_making_a_bucket_is_not_repeated_when_its_answer_is_lost(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    engine = CuttingEngine()
    server = start_server(over=engine)
    with FaultyProxy(server.address) as proxy:
        engine.cut = lambda: proxy.connection(0).cut()
        # Repeated, the call would report that the bucket exists: its own doing.
        with pytest.raises((ServiceUnavailable, BucketNameNotAvailable)) as caught:
            connect(proxy.address).put_vector_bucket("photos")
    assert caught.type is ServiceUnavailable
    assert len(proxy.connections) == 1
    assert connect(server.address).get_vector_bucket("photos").bucket == "photos"


def test_refusal_is_raised_at_once_as_the_servers_own_class(client: Client) -> None:
    pauses = Pauses()
    request = bucket_service_pb2.GetVectorBucketRequest(bucket="nowhere")
    with pytest.raises(NoSuchBucket) as caught:
        calls(pauses).unary(client._buckets.GetVectorBucket, request, timeout_s=30)
    assert caught.value.details == {"bucket": "nowhere"}
    assert caught.value.message == "bucket 'nowhere' does not exist"
    assert caught.value.request_id
    assert caught.value.__cause__ is not None
    assert pauses.seconds == []


def test_deadline_of_a_call_is_the_contracts_error(client: Client, engine: RecordingEngine) -> None:
    gate = Gate()
    engine.before_put = lambda _: gate.pass_through()
    with pytest.raises(RequestTimeout):
        client.put_vectors_batch("photos", "faces", [("a", [1.0] * 4)], timeout_s=0.1)
    gate.open()


def test_clients_own_time_limit_holds_where_a_call_names_none(
    recorded_server: Server, connect: Callable[..., Client], engine: RecordingEngine
) -> None:
    gate = Gate()
    engine.before_put = lambda _: gate.pass_through()
    impatient = connect(recorded_server.address, timeout_s=0.1)
    with pytest.raises(RequestTimeout):
        impatient.put_vectors_batch("photos", "faces", [("a", [1.0] * 4)])
    gate.open()
    assert impatient.put_vectors_batch("photos", "faces", [("a", [1.0] * 4)], timeout_s=20).stored


def test_busy_server_is_asked_again_when_it_said_and_then_reported(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    client = connect(start_server(streams_max=1).address)
    client.put_vector_bucket("photos")
    client.put_vector_index("photos", "faces", dimension=4, distance_metric="euclidean")
    pauses = Pauses()
    request = vector_service_pb2.QueryVectorsBatchRequest(bucket="photos", index_name="faces")
    release = Gate()

    def held() -> Iterator[vector_service_pb2.PutVectorsRequest]:
        yield vector_service_pb2.PutVectorsRequest(
            bucket="photos", index_name="faces", stream_id="x", batch_number=1
        )
        release.pass_through()

    occupying = client._vectors.PutVectors(held())
    next(occupying)
    with pytest.raises(QpsLimitExceeded, match="the limit is 1"):
        calls(pauses, attempts_max=3).whole_stream(
            client._vectors.QueryVectorsBatch, request, timeout_s=30
        )
    assert pauses.seconds == [1.0, 1.0]
    occupying.cancel()
    release.open()


def test_message_over_the_servers_limit_is_entity_too_large(client: Client) -> None:
    huge = "x" * (66 * 1024 * 1024)
    with pytest.raises(EntityTooLarge):
        client.get_vectors("photos", "faces", [huge])


def test_call_that_the_server_does_not_know_is_method_not_allowed(client: Client) -> None:
    unknown = client._channel.unary_unary(
        "/vectorbucket.v1.BucketService/PutVectorBucketPolicy",
        request_serializer=bytes,
        response_deserializer=bytes,
    )
    with pytest.raises(MethodNotAllowed):
        calls(Pauses()).unary(unknown, b"", timeout_s=20)


def test_whole_stream_is_repeated_from_its_beginning(
    recorded_server: Server, connect: Callable[..., Client], client: Client
) -> None:
    client.put_vectors("photos", "faces", [(f"k{number}", [number] * 4) for number in range(9)])
    with FaultyProxy(recorded_server.address, Fault(cut_down=80)) as proxy:
        hits = connect(proxy.address).query_vectors_batch(
            "photos", "faces", [[2.0] * 4, [7.0] * 4], top_k=1
        )
    assert [[hit.key for hit in found] for found in hits] == [["k2"], ["k7"]]
    assert len(proxy.connections) == 2


def test_stream_whose_next_message_is_late_ends_in_time(
    client: Client, engine: RecordingEngine
) -> None:
    gate = Gate()
    engine.before_put = lambda _: gate.pass_through()

    def messages() -> Iterator[vector_service_pb2.PutVectorsRequest]:
        yield vector_service_pb2.PutVectorsRequest(
            bucket="photos",
            index_name="faces",
            stream_id="x",
            batch_number=1,
            vectors=[vector_pb2.Vector(key="a", data={"float32": [1.0] * 4})],
        )

    stream = calls(Pauses()).resumed_stream(
        lambda: client._vectors.PutVectors(messages()),
        message_timeout_s=0.1,
        resume_timeout_s=10.0,
    )
    with pytest.raises(RequestTimeout):
        next(stream)
    gate.open()


def test_stream_that_nobody_reads_on_is_cancelled(client: Client) -> None:
    client.put_vectors("photos", "faces", [("a", [1.0] * 4)])
    opened: list[Any] = []

    def open_call() -> Any:
        request = vector_service_pb2.ScanVectorsRequest(bucket="photos", index_name="faces")
        opened.append(client._vectors.ScanVectors(request))
        return opened[-1]

    stream = calls(Pauses()).resumed_stream(
        open_call, message_timeout_s=20.0, resume_timeout_s=10.0
    )
    next(stream)
    stream.close()
    assert not opened[0].is_active()
