"""Putting and deleting vectors, through the client, against the real server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from faulty_proxy import FaultyProxy
from recording_engine import RecordingEngine
from vectorbucket import (
    Client,
    MemoryBudgetExceeded,
    NoSuchBucket,
    NoSuchVectorIndex,
    PutProgress,
    PutRejected,
    PutResult,
    RejectedBatch,
    Vector,
    VectorBucketError,
    VectorIndexParameterInvalid,
)
from vectorbucket_server.app import Server


def many(count: int, *, seed: int = 1) -> tuple[list[str], Any, list[dict[str, Any]]]:
    """Return keys, data (float32, shape (count, 4)) and metadata."""
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((count, 4)).astype(np.float32)
    metadata: list[dict[str, Any]] = [
        {"number": number, "tags": ["a", "ö"], "half": number / 2 + 0.25} for number in range(count)
    ]
    return [f"key-{number:05}" for number in range(count)], data, metadata


def check_contents(client: Client, keys: list[str], data: Any, metadata: list[Any]) -> None:
    """Check that the index holds exactly these vectors, bit for bit."""
    found = client.scan_vectors("photos", "faces", return_data=True, return_metadata=True)
    for vector, key, row, fields in zip(found, keys, data, metadata, strict=True):
        assert vector.key == key
        assert vector.data is not None
        assert vector.data.tobytes() == row.tobytes()
        assert vector.metadata == fields


def test_columns_are_stored_bit_for_bit(client: Client) -> None:
    keys, data, metadata = many(1234)
    result = client.put_vectors("photos", "faces", keys=keys, data=data, metadata=metadata)
    assert result == PutResult(1234, [])
    check_contents(client, keys, data, metadata)


def test_vectors_of_every_form_are_stored_alike(client: Client) -> None:
    keys, data, metadata = many(5)
    vectors: list[Any] = [
        Vector(keys[0], data[0], metadata[0]),
        (keys[1], data[1].astype(np.float64), metadata[1]),
        {"key": keys[2], "data": data[2].tolist(), "metadata": metadata[2]},
        {"key": keys[3], "data": {"float32": data[3].tolist()}, "metadata": metadata[3]},
        Vector(keys[4], tuple(data[4].tolist()), metadata[4]),
    ]
    assert client.put_vectors("photos", "faces", vectors).stored == 5
    check_contents(client, keys, data, metadata)


def test_vectors_that_were_read_can_be_put_again(client: Client) -> None:
    keys, data, metadata = many(700)
    client.put_vectors("photos", "faces", keys=keys, data=data, metadata=metadata)
    client.put_vector_index("photos", "copy", dimension=4, distance_metric="euclidean")
    read = client.scan_vectors("photos", "faces", return_data=True, return_metadata=True)
    assert client.put_vectors("photos", "copy", read) == PutResult(700, [])
    copied = client.scan_vectors("photos", "copy", return_data=True, return_metadata=True)
    for vector, row, fields in zip(copied, data, metadata, strict=True):
        assert vector.data is not None
        assert vector.data.tobytes() == row.tobytes()
        assert vector.metadata == fields


def test_put_replaces_numbers_and_metadata_together(client: Client) -> None:
    client.put_vectors("photos", "faces", [("a", [1.0] * 4, {"old": True, "both": 1})])
    client.put_vectors("photos", "faces", [("a", [2.0] * 4, {"both": 2})])
    (vector,) = client.get_vectors("photos", "faces", ["a"], return_data=True, return_metadata=True)
    assert vector.data is not None
    assert vector.data.tolist() == [2.0] * 4
    assert vector.metadata == {"both": 2}


def test_put_of_one_rejected_batch_raises_that_batchs_error(client: Client) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match="dimension") as caught:
        client.put_vectors("photos", "faces", [("a", [1.0] * 4), ("b", [1.0] * 5)])
    assert caught.value.field == "vectors[1].data"
    assert client.get_vector_index("photos", "faces").vector_count == 0


def test_put_that_finds_no_memory_ends_with_what_is_stored_said(
    client: Client, engine: RecordingEngine
) -> None:
    def refuse_the_second(_batch: object) -> None:
        if engine.commits:
            raise MemoryBudgetExceeded.of("faces", 700, 500)

    engine.before_put = refuse_the_second
    keys, data, _ = many(30)
    with pytest.raises(MemoryBudgetExceeded, match="the limit is 500 bytes") as caught:
        client.put_vectors("photos", "faces", keys=keys, data=data, batch_vectors_max=10)
    assert caught.value.details["first_unanswered_position"] == "10"
    assert client.get_vector_index("photos", "faces").vector_count == 10
    with pytest.raises(MemoryBudgetExceeded):
        client.put_vectors_batch("photos", "faces", keys=keys, data=data)


def test_rejected_batches_do_not_stop_the_others(client: Client) -> None:
    keys, data, metadata = many(50)
    spoiled: Any = list(data)
    spoiled[13] = [float("nan")] * 4  # refused here
    spoiled[31] = [1.0] * 7  # refused there
    vectors = zip(keys, spoiled, metadata, strict=True)
    with pytest.raises(PutRejected) as caught:
        client.put_vectors("photos", "faces", vectors, batch_vectors_max=10)
    result = caught.value.result
    assert result.stored == 30
    assert [batch[:2] for batch in result.rejected] == [(10, 10), (30, 10)]
    assert [batch.error.field for batch in result.rejected] == [
        "vectors[3].data",
        "vectors[1].data",
    ]
    assert {type(batch.error) for batch in result.rejected} == {VectorIndexParameterInvalid}
    kept = [*range(10), *range(20, 30), *range(40, 50)]
    check_contents(client, [keys[n] for n in kept], data[kept], [metadata[n] for n in kept])


def test_with_a_callback_rejections_are_told_and_returned(client: Client) -> None:
    told: list[RejectedBatch] = []
    vectors = [(str(number), [float(number)] * (4 + number // 2)) for number in range(4)]
    result = client.put_vectors(
        "photos", "faces", vectors, batch_vectors_max=2, on_rejected=told.append
    )
    assert result.stored == 2
    assert result.rejected == told
    assert [batch[:2] for batch in told] == [(2, 2)]


BAD: dict[str, tuple[list[Any], str, str]] = {
    "no vectors": ([], "vectors", "0"),
    "wrong dimension": ([("a", [1.0] * 3)], "vectors[0].data", "3"),
    "NaN": ([("a", [1.0, float("nan"), 1.0, 1.0])], "vectors[0].data", "nan"),
    "infinity": ([("a", [float("inf")] * 4)], "vectors[0].data", "inf"),
    "overflow of float32": ([("a", [1e39] * 4)], "vectors[0].data", "1e+39"),
    "empty key": ([("", [1.0] * 4)], "vectors[0].key", "0 bytes"),
    "key of 1,025 bytes": ([("k" * 1025, [1.0] * 4)], "vectors[0].key", "1025"),
    "duplicate key": ([("a", [1.0] * 4), ("a", [2.0] * 4)], "vectors[1].key", "'a'"),
    "None in metadata": ([("a", [1.0] * 4, {"x": None})], "vectors[0].metadata.x", "None"),
    "nested metadata": ([("a", [1.0] * 4, {"x": {"y": 1}})], "vectors[0].metadata.x", "dict"),
    "integer past 2^53": (
        [("a", [1.0] * 4, {"x": 2**53 + 1})],
        "vectors[0].metadata.x",
        "9007199254740993",
    ),
    "eleven fields": (
        [("a", [1.0] * 4, {f"field{number}": 1 for number in range(11)})],
        "vectors[0].metadata",
        "11",
    ),
    "field of 2 KB": ([("a", [1.0] * 4, {"x": "y" * 2048})], "vectors[0].metadata.x", "2048"),
    "reserved field name": ([("a", [1.0] * 4, {"$x": 1})], "vectors[0].metadata", "$x"),
}


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "batch"])
@pytest.mark.parametrize("case", BAD)
def test_bad_vectors_are_refused_by_name_and_nothing_is_stored(
    client: Client,
    engine: RecordingEngine,
    case: str,
    streamed: bool,  # noqa: FBT001 - a parameter
) -> None:
    vectors, field, words = BAD[case]
    put = client.put_vectors if streamed else client.put_vectors_batch
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        put("photos", "faces", vectors)
    assert caught.value.field == field
    assert field in caught.value.message
    assert words in caught.value.message
    assert engine.commits == []


def test_zero_vector_under_cosine_is_refused(client: Client) -> None:
    client.put_vector_index("photos", "cats", dimension=4, distance_metric="cosine")
    with pytest.raises(VectorIndexParameterInvalid, match=r"vectors\[0\]\.data is a zero vector"):
        client.put_vectors("photos", "cats", [("a", [0.0] * 4)])


@pytest.mark.parametrize(
    ("bucket", "index_name", "leaf"),
    [("nowhere", "faces", NoSuchBucket), ("photos", "cats", NoSuchVectorIndex)],
)
def test_put_and_delete_need_their_index(
    client: Client, bucket: str, index_name: str, leaf: type[VectorBucketError]
) -> None:
    with pytest.raises(leaf):
        client.put_vectors(bucket, index_name, [("a", [1.0] * 4)])
    with pytest.raises(leaf):
        client.put_vectors_batch(bucket, index_name, [("a", [1.0] * 4)])
    with pytest.raises(leaf):
        client.delete_vectors(bucket, index_name, ["a"])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"keys": ["a"]},
        {"data": [[1.0] * 4]},
        {"vectors": [("a", [1.0] * 4)], "keys": ["a"], "data": [[1.0] * 4]},
        {"vectors": [("a", [1.0] * 4)], "metadata": [{}]},
    ],
)
def test_put_needs_vectors_or_columns_and_not_both(
    client: Client, arguments: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match="give either vectors, or keys and data"):
        client.put_vectors("photos", "faces", **arguments)
    with pytest.raises(TypeError, match="give either vectors, or keys and data"):
        client.put_vectors_batch("photos", "faces", **arguments)


@pytest.mark.parametrize("bound", ["batch_vectors_max", "batch_bytes_max"])
def test_bound_of_batches_must_be_positive(client: Client, bound: str) -> None:
    arguments: dict[str, Any] = {bound: 0}
    with pytest.raises(ValueError, match="must be 1 or more"):
        client.put_vectors("photos", "faces", [("a", [1.0] * 4)], **arguments)


def test_batches_are_bounded_in_bytes_too(client: Client, engine: RecordingEngine) -> None:
    keys, data, metadata = many(100)
    client.put_vectors(
        "photos", "faces", keys=keys, data=data, metadata=metadata, batch_bytes_max=1000
    )
    assert len(engine.commits) > 10
    assert [key for commit in engine.commits for key in commit] == keys


def test_larger_batches_than_the_server_takes_are_its_refusal(client: Client) -> None:
    keys, data, _ = many(501)
    with pytest.raises(VectorIndexParameterInvalid, match="501"):
        client.put_vectors("photos", "faces", keys=keys, data=data, batch_vectors_max=1000)
    with pytest.raises(VectorIndexParameterInvalid, match="501"):
        client.put_vectors_batch("photos", "faces", keys=keys, data=data)


def test_server_without_that_limit_takes_larger_batches(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    client = connect(start_server(limits="unlimited").address)
    client.put_vector_bucket("photos")
    client.put_vector_index("photos", "faces", dimension=4, distance_metric="euclidean")
    keys, data, _ = many(1500)
    result = client.put_vectors("photos", "faces", keys=keys, data=data, batch_vectors_max=1500)
    assert result == PutResult(1500, [])
    assert client.put_vectors_batch("photos", "faces", keys=keys, data=data).stored == 1500


def test_batch_is_stored_in_one_call(client: Client, engine: RecordingEngine) -> None:
    keys, data, metadata = many(40)
    result = client.put_vectors_batch("photos", "faces", keys=keys, data=data, metadata=metadata)
    assert result == PutResult(40, [])
    assert engine.commits == [tuple(keys)]
    check_contents(client, keys, data, metadata)


def test_progress_counts_up_to_the_total(client: Client) -> None:
    keys, data, _ = many(1001)
    reports: list[PutProgress] = []
    client.put_vectors("photos", "faces", keys=keys, data=data, progress=reports.append)
    assert [report.stored for report in reports] == [500, 1000, 1001, 1001]
    assert {report.total for report in reports} == {1001}
    assert [report.finished for report in reports] == [False, False, False, True]


def test_total_of_a_generator_is_unknown_and_of_a_list_known(client: Client) -> None:
    vectors: list[Any] = [("a", [1.0] * 4)]
    totals: list[int | None] = []
    for given in (vectors, iter(vectors)):
        client.put_vectors(
            "photos", "faces", given, progress=lambda report: totals.append(report.total)
        )
    assert totals == [1, 1, None, None]


def test_callbacks_are_called_on_the_callers_thread(client: Client) -> None:
    threads: set[threading.Thread] = set()
    client.put_vectors(
        "photos",
        "faces",
        [("a", [1.0] * 4), ("b", [1.0])],
        batch_vectors_max=1,
        progress=lambda _: threads.add(threading.current_thread()),
        on_rejected=lambda _: threads.add(threading.current_thread()),
    )
    assert threads == {threading.current_thread()}


def test_several_threads_put_through_one_client(client: Client) -> None:
    def put(number: int) -> None:
        vectors = [(f"{number}-{position}", [float(number)] * 4) for position in range(300)]
        client.put_vectors("photos", "faces", vectors, batch_vectors_max=50)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert client.get_vector_index("photos", "faces").vector_count == 1200


class KeptEngine(RecordingEngine):
    """An engine that outlives its server: what is on disk, for one that keeps it in memory."""

    def close(self) -> None:
        """Keep everything."""


def test_put_goes_on_over_a_server_that_stops_and_another_that_starts(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Method: the server drains in the middle; the proxy leads to its successor afterwards."""
    engine = KeptEngine()
    first = start_server(over=engine, drain_grace_s=0.2)
    client = connect(first.address)
    client.put_vector_bucket("photos")
    client.put_vector_index("photos", "faces", dimension=4, distance_metric="euclidean")
    keys, data, metadata = many(200)

    with FaultyProxy(first.address) as proxy:

        def source() -> Iterator[Any]:
            for position, vector in enumerate(zip(keys, data, metadata, strict=True)):
                if position == 100:
                    engine.wait_for_commits(3)
                    successor = start_server(over=engine)
                    proxy.redirect(successor.address)
                    first.stop()
                yield vector

        patient = connect(proxy.address)
        result = patient.put_vectors("photos", "faces", source(), batch_vectors_max=20)
        assert result == PutResult(200, [])
        check_contents(patient, keys, data, metadata)


def test_vectors_are_deleted_and_missing_keys_ignored(client: Client) -> None:
    client.put_vectors("photos", "faces", [(key, [1.0] * 4) for key in "abc"])
    client.delete_vectors("photos", "faces", ["a", "c", "never there"])
    assert [vector.key for vector in client.list_vectors("photos", "faces")] == ["b"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ([], "keys"),
        ([f"key-{number}" for number in range(501)], "501"),
        (["a", "b", "a"], "keys[2]"),
        ([""], "keys[0]"),
        (["k" * 1025], "1025"),
        ("abc", "keys is the text 'abc'"),
    ],
    ids=["none", "501", "twice", "empty", "1025 bytes", "one text"],
)
def test_illegal_keys_to_delete_are_named_and_nothing_is_deleted(
    client: Client, keys: Any, words: str
) -> None:
    client.put_vectors("photos", "faces", [(key, [1.0] * 4) for key in "abc"])
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        client.delete_vectors("photos", "faces", keys)
    assert words in caught.value.message
    assert client.get_vector_index("photos", "faces").vector_count == 3
