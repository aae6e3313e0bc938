"""Messages become what callers hold, and arguments what messages can carry."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from google.protobuf import timestamp_pb2

from vectorbucket import BucketLogging, Hit, InvalidArgument, VectorIndexParameterInvalid
from vectorbucket._messages import (
    int32,
    key_list,
    logging_message,
    metric_number,
    optional_int32,
    read_backup,
    read_bucket,
    read_data,
    read_hits,
    read_index,
    read_logging,
    read_statistics,
    read_vectors,
    vector_data,
)
from vectorbucket.v1 import (
    bucket_pb2,
    index_pb2,
    index_service_pb2,
    operations_service_pb2,
    vector_pb2,
)

NUMBERS = np.array([1.5, -0.0, 1e-40, 3.4e38], dtype=np.float32)


@pytest.mark.parametrize(
    "message",
    [
        vector_data(NUMBERS),
        vector_pb2.VectorData(float32=NUMBERS.tolist()),
    ],
    ids=["bytes", "list"],
)
def test_numbers_are_read_bit_for_bit_from_both_arms(message: vector_pb2.VectorData) -> None:
    data = read_data(message)
    assert data.dtype == np.float32
    assert data.tobytes() == NUMBERS.tobytes()
    with pytest.raises(ValueError, match="read-only"):
        data[0] = 0.0


def test_rows_of_a_matrix_are_written_one_after_the_other() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert vector_data(matrix).float32_le == matrix[0].tobytes() + matrix[1].tobytes()


@pytest.mark.parametrize(("data", "metadata"), [(True, False), (False, True), (False, False)])
def test_vector_holds_only_what_was_asked_for(data: bool, metadata: bool) -> None:  # noqa: FBT001
    message = vector_pb2.Vector(key="a", data=vector_data(NUMBERS))
    message.metadata["year"].number_value = 1999
    (vector,) = read_vectors([message], data=data, metadata=metadata)
    assert vector.key == "a"
    assert (vector.data is not None) is data
    assert vector.metadata == ({"year": 1999} if metadata else None)


def test_vector_without_metadata_has_an_empty_dict_when_it_was_asked_for() -> None:
    (vector,) = read_vectors([vector_pb2.Vector(key="a")], data=False, metadata=True)
    assert vector.metadata == {}


def test_distance_of_zero_is_a_distance_and_a_missing_one_is_none() -> None:
    messages = [vector_pb2.Hit(key="a", distance=0.0), vector_pb2.Hit(key="b")]
    assert read_hits(messages, metadata=False) == [Hit("a", 0.0), Hit("b", None)]


def test_bucket_is_read_with_its_time_in_utc() -> None:
    made = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(made)
    bucket = read_bucket(
        bucket_pb2.Bucket(
            bucket="photos", account_id="123", create_time=stamp, region="cn-hangzhou"
        )
    )
    assert bucket.create_time == made
    assert bucket.create_time.tzinfo is UTC
    assert (bucket.bucket, bucket.account_id, bucket.region) == ("photos", "123", "cn-hangzhou")


@pytest.mark.parametrize(
    "logging", [BucketLogging("logs"), BucketLogging("logs", "ünter/", "a role")]
)
def test_logging_that_was_written_is_read_as_it_was(logging: BucketLogging) -> None:
    message = logging_message(logging)
    assert {field.name: value for field, value in message.ListFields()} == {
        name: value for name, value in asdict(logging).items() if value
    }
    assert read_logging(message) == logging


def index_message(**changes: Any) -> index_pb2.Index:
    """Return the message of an index."""
    fields: dict[str, Any] = {
        "bucket": "photos",
        "index_name": "faces",
        "data_type": index_pb2.DATA_TYPE_FLOAT32,
        "dimension": 8,
        "distance_metric": index_pb2.DISTANCE_METRIC_COSINE,
        "metadata": index_pb2.MetadataConfiguration(non_filterable_metadata_keys=["note", "raw"]),
        "status": index_pb2.INDEX_STATUS_ENABLE,
    }
    return index_pb2.Index(**(fields | changes))


def test_index_is_read_in_the_words_of_oss() -> None:
    index = read_index(index_message())
    assert (index.data_type, index.status) == ("float32", "enable")
    assert (index.dimension, index.distance_metric) == (8, "cosine")
    assert index.non_filterable_metadata_keys == ("note", "raw")
    assert (index.vector_count, index.pending_vector_count) == (None, None)
    assert (index.m, index.ef_construction, index.ef_search) == (None, None, None)


def test_index_is_read_with_what_it_says_of_its_graph_and_no_more() -> None:
    graph = index_pb2.GraphConfiguration(m=24, ef_search=0)
    index = read_index(index_message(graph=graph))
    assert (index.m, index.ef_construction, index.ef_search) == (24, None, 0)


def test_index_is_read_with_its_counts() -> None:
    response = index_service_pb2.GetVectorIndexResponse(
        index=index_message(), vector_count=12, pending_vector_count=5
    )
    index = read_index(response.index, response)
    assert (index.vector_count, index.pending_vector_count) == (12, 5)


def test_index_is_read_with_how_it_fares() -> None:
    response = index_service_pb2.GetVectorIndexResponse(
        index=index_message(), loaded=True, dead_share=0.25, memory_bytes=7, disk_bytes=8
    )
    index = read_index(response.index, response)
    assert (index.loaded, index.rebuilding, index.dead_share) == (True, False, 0.25)
    assert (index.memory_bytes, index.disk_bytes, index.checkpoint_time) == (7, 8, None)
    response.checkpoint_time.FromSeconds(1_700_000_000)
    index = read_index(response.index, response)
    assert index.checkpoint_time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert read_index(response.index).loaded is None


def test_every_number_of_the_server_is_read() -> None:
    kind = operations_service_pb2.GetServerStatisticsResponse
    named = [one.name for one in kind.DESCRIPTOR.fields if one.name != "start_time"]
    texts = {"version": "1.2.0", "engine": "embedded", "writes_refused": "the disk is full"}
    said: dict[str, Any] = {name: texts.get(name, at) for at, name in enumerate(named)}
    response = kind(start_time=timestamp_pb2.Timestamp(seconds=1_700_000_000), **said)
    read = asdict(read_statistics(response))
    assert read.pop("start_time") == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert read == said


def test_backup_is_read() -> None:
    message = operations_service_pb2.Backup(name="monday", size_bytes=5, path="/backups/monday")
    message.create_time.FromSeconds(1_700_000_000)
    assert asdict(read_backup(message)) == {
        "name": "monday",
        "create_time": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        "size_bytes": 5,
        "path": "/backups/monday",
    }


def test_value_of_a_newer_contract_is_shown_as_its_number() -> None:
    index = read_index(index_message(data_type=7, distance_metric=9, status=11))
    assert (index.data_type, index.distance_metric, index.status) == ("7", "9", "11")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("cosine", index_pb2.DISTANCE_METRIC_COSINE),
        ("euclidean", index_pb2.DISTANCE_METRIC_EUCLIDEAN),
    ],
)
def test_metric_has_its_number_and_the_number_its_name(name: str, number: int) -> None:
    assert metric_number(name) == number
    assert read_index(index_message(distance_metric=number)).distance_metric == name


@pytest.mark.parametrize("name", ["", "COSINE", "dot", None, 2])
def test_unknown_metric_is_named(name: Any) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match=f"distance_metric is {name!r}") as caught:
        metric_number(name)
    assert caught.value.field == "distance_metric"


@pytest.mark.parametrize("value", [0, -1, 2**31 - 1, -(2**31), np.int64(5), np.uint8(5)])
def test_whole_number_of_32_bits_is_taken(value: int) -> None:
    assert int32("top_k", value) == value
    assert type(int32("top_k", value)) is int


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1.0, "5", None, True, np.float32(1.0)])
def test_other_value_is_named_with_its_field(value: Any) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match="top_k is ") as caught:
        int32("top_k", value)
    assert caught.value.field == "top_k"
    with pytest.raises(InvalidArgument, match="max_keys is "):
        int32("max_keys", value, InvalidArgument)


def test_number_that_may_be_missing_stays_missing_or_is_a_number() -> None:
    assert optional_int32("ef_search", None) is None
    assert optional_int32("ef_search", 0) == 0
    with pytest.raises(VectorIndexParameterInvalid, match=r"ef_search is 1\.5"):
        optional_int32("ef_search", 1.5)  # type: ignore[arg-type]  # that is the point


def test_keys_may_come_from_anything_that_can_be_iterated() -> None:
    assert key_list(["a", "b"]) == ["a", "b"]
    assert key_list({"a": 1, "ö": 2}) == ["a", "ö"]
    assert key_list(np.array(["a", "b"])) == ["a", "b"]
    assert key_list([]) == []


@pytest.mark.parametrize(
    ("keys", "field", "problem"),
    [
        ("abc", "keys", "is the text 'abc'; it must be a list"),
        (["a", 7], "keys[1]", "is 7; it must be text"),
        ([None], "keys[0]", "is None"),
        ([b"a"], "keys[0]", "is b'a'"),
        (["a", "\ud800"], "keys[1]", "no Unicode text"),
    ],
)
def test_what_is_no_list_of_keys_is_named(keys: Any, field: str, problem: str) -> None:
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        key_list(keys)
    assert caught.value.field == field
    assert problem in caught.value.message
