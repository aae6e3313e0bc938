"""Messages <-> model, both ways, in both forms of data."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from rpc import data_of, filter_struct, vector_of
from rpc import metadata_of as plain_metadata
from vectorbucket.errors import InvalidArgument, VectorIndexParameterInvalid
from vectorbucket.v1 import bucket_service_pb2, index_pb2, vector_pb2, vector_service_pb2
from vectorbucket_server.model import (
    Bucket,
    BucketLogging,
    DistanceMetric,
    GraphOptions,
    Hit,
    Index,
    Vector,
)
from vectorbucket_server.service.convert import (
    METRICS,
    add_hits,
    bucket_message,
    data_matrix,
    filter_dict,
    index_message,
    logging_message,
    logging_of,
    metadata_of,
    optional_timestamp,
    query_matrix,
    vector_message,
)

LE = vector_pb2.DATA_ENCODING_FLOAT32_LE


def matrix(rows: int, dimension: int, seed: int = 7) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)


def metadata(**fields: Any) -> dict[str, Any]:
    """Return metadata after a trip into a message and back."""
    return metadata_of(vector_of("a", metadata=fields).metadata, "vectors[{}].metadata", 0)


# --- Numbers, inward ------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [1, 2, 31, 32, 33, 384, 1024, 4096])
def test_both_forms_give_the_same_matrix_bit_for_bit(dimension: int) -> None:
    data = matrix(5, dimension)
    for as_bytes in (False, True):
        messages = [data_of(row, as_bytes=as_bytes) for row in data]
        converted = data_matrix(messages, dimension)
        assert converted.dtype == np.float32
        assert converted.flags.c_contiguous
        assert converted.flags.writeable
        assert converted.tobytes() == data.tobytes()


def test_forms_may_be_mixed_in_one_message() -> None:
    data = matrix(6, 17)
    messages = [data_of(row, as_bytes=position % 2 == 0) for position, row in enumerate(data)]
    assert data_matrix(messages, 17).tobytes() == data.tobytes()


def test_numbers_that_are_not_finite_pass_through_to_the_checks() -> None:
    row = [math.nan, math.inf, -math.inf, -0.0]
    for as_bytes in (False, True):
        converted = data_matrix([data_of(row, as_bytes=as_bytes)], 4)
        assert np.isnan(converted[0, 0])
        assert converted[0, 1:3].tolist() == [math.inf, -math.inf]
        assert np.signbit(converted[0, 3])


def test_numbers_sent_unpacked_are_read_all_the_same() -> None:
    # Field 1, 32-bit: what a writer of proto2 habits sends.
    raw = b"".join(b"\x0d" + np.float32(number).tobytes() for number in (1.5, -2.5))
    message = vector_pb2.VectorData.FromString(raw)
    assert data_matrix([message], 2).tolist() == [[1.5, -2.5]]


def test_unknown_fields_do_not_disturb_the_numbers() -> None:
    # Field 15, a text: what a client of a later version may add.
    raw = data_of([1.0, 2.0]).SerializeToString() + b"\x7a\x03new"
    message = vector_pb2.VectorData.FromString(raw)
    assert data_matrix([message], 2).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (vector_pb2.VectorData(), "vectors[1].data is missing"),
        (data_of([1.0]), "vectors[1].data has 1 numbers; the index's dimension is 2"),
        (data_of([1, 2, 3], as_bytes=True), "vectors[1].data has 3 numbers"),
        (vector_pb2.VectorData(float32_le=b"1234567"), "vectors[1].data.float32_le has 7 bytes"),
        (
            vector_pb2.VectorData(float32=[1, 2], float32_le=b"12345678"),
            "vectors[1].data has 2 numbers in float32 and 8 bytes in float32_le",
        ),
    ],
)
def test_vector_that_does_not_fit_is_named(message: vector_pb2.VectorData, words: str) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match=re.escape(words)) as caught:
        data_matrix([data_of([1, 2]), message], 2)
    assert (caught.value.field or "").startswith("vectors[1].data")


def test_many_queries_are_one_message_of_rows() -> None:
    data = matrix(7, 12)
    for as_bytes in (False, True):
        message = data_of(data.reshape(-1), as_bytes=as_bytes)
        assert query_matrix(message, 12, "query_vectors").tobytes() == data.tobytes()


def test_queries_that_are_no_whole_rows_are_refused() -> None:
    with pytest.raises(VectorIndexParameterInvalid, match=r"13 numbers, no multiple of .* 12"):
        query_matrix(data_of(range(13)), 12, "query_vectors")
    with pytest.raises(VectorIndexParameterInvalid, match="query_vectors is missing"):
        query_matrix(vector_pb2.VectorData(), 12, "query_vectors")


# --- Metadata and filters, inward -----------------------------------------------------------------


def test_metadata_values_keep_their_kind() -> None:
    fields = {
        "text": "x",
        "empty": "",
        "number": 2.5,
        "integer": 3.0,
        "zero": 0.0,
        "yes": True,
        "no": False,
        "tags": ["a", "", "b"],
        "mixed": ["a", 1.0, True, 0.0, False],
        "nothing": [],
    }
    converted = metadata(**fields)
    assert converted == fields
    assert {name: type(value) for name, value in converted.items()} == {
        name: type(value) for name, value in fields.items()
    }
    assert [type(element) for element in converted["mixed"]] == [str, float, bool, float, bool]


def test_no_metadata_is_an_empty_dictionary() -> None:
    assert metadata() == {}


@pytest.mark.parametrize("value", [None, ["a", None]])
def test_value_without_a_kind_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        metadata_of(vector_of("a", metadata={"title": value}).metadata, "vectors[{}].metadata", 3)
    assert caught.value.field == "vectors[3].metadata.title"


def test_filter_becomes_plain_values() -> None:
    raw = {
        "$and": [{"a": {"$in": ["x", 1.0, True]}}, {"b": {"$exists": False}}, {"c": None}],
        "empty": {},
        "list": [],
        "nested": [[1.0], {"x": ""}],
    }
    assert filter_dict(filter_struct(raw)) == raw


def test_filter_value_without_a_kind_is_null() -> None:
    struct = filter_struct({})
    struct.fields["a"].Clear()
    assert filter_dict(struct) == {"a": None}


# --- Outward --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [1, 31, 32, 4096])
def test_stored_numbers_come_back_bit_for_bit_in_either_form(dimension: int) -> None:
    (row,) = matrix(1, dimension)
    for encoding in (0, vector_pb2.DATA_ENCODING_FLOAT32):
        message = vector_message(Vector("key", row), encoding)
        assert np.array(message.data.float32, np.float32).tobytes() == row.tobytes()
        assert not message.data.float32_le
    message = vector_message(Vector("key", row), LE)
    assert message.data.float32_le == row.tobytes()
    assert not message.data.float32


def test_stored_numbers_of_a_strided_array_come_back_in_order() -> None:
    row = matrix(4, 3)[:, 1]
    message = vector_message(Vector("key", row), LE)
    assert np.frombuffer(message.data.float32_le, "<f4").tolist() == row.tolist()


def test_vector_shows_only_what_it_was_given() -> None:
    bare = vector_message(Vector("key"), LE)
    assert bare == vector_pb2.Vector(key="key")
    assert not vector_message(Vector("key", metadata={}), LE).metadata


def test_metadata_comes_out_as_it_went_in() -> None:
    fields: dict[str, Any] = {
        "text": "x",
        "empty": "",
        "number": 2.5,
        "yes": True,
        "no": False,
        "mixed": ["a", 1.0, True, "", 0.0, False],
        "nothing": [],
    }
    message = vector_message(Vector("key", metadata=fields), LE)
    assert plain_metadata(message) == fields
    assert metadata_of(message.metadata, "{}", 0) == fields


def test_hits_show_distance_only_if_asked() -> None:
    hits = [Hit("a", 0.0), Hit("b", 0.5, {"x": "y"})]
    for asked in (True, False):
        response = vector_service_pb2.QueryVectorsResponse()
        add_hits(response, hits, return_distance=asked)
        assert [hit.key for hit in response.vectors] == ["a", "b"]
        assert [hit.HasField("distance") for hit in response.vectors] == [asked] * 2
        assert [hit.distance for hit in response.vectors] == ([0.0, 0.5] if asked else [0, 0])
        assert plain_metadata(response.vectors[1]) == {"x": "y"}


def test_bucket_shows_its_account_time_and_region() -> None:
    message = bucket_message(Bucket("photos", "42", 1_700_000_000_123), "cn-hangzhou")
    assert (message.bucket, message.account_id, message.region) == ("photos", "42", "cn-hangzhou")
    assert message.create_time.ToMilliseconds() == 1_700_000_000_123


@pytest.mark.parametrize(
    "logging", [BucketLogging("logs"), BucketLogging("logs", "héllo/", "a-role")]
)
def test_logging_that_was_read_is_shown_as_it_came(logging: BucketLogging) -> None:
    message = logging_message(logging)
    request = bucket_service_pb2.PutBucketLoggingRequest(bucket="photos", logging=message)
    assert logging_of(request) == logging


def test_logging_without_members_is_read_as_it_stands() -> None:
    request = bucket_service_pb2.PutBucketLoggingRequest()
    request.logging.SetInParent()
    assert logging_of(request) == BucketLogging("")


def test_request_that_does_not_say_where_to_log_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="logging is missing") as told:
        logging_of(bucket_service_pb2.PutBucketLoggingRequest(bucket="photos"))
    assert told.value.field == "logging"


def test_bucket_that_is_not_logged_leaves_the_field_unset() -> None:
    response = bucket_service_pb2.GetBucketLoggingResponse(logging=logging_message(None))
    assert not response.HasField("logging")


@pytest.mark.parametrize("metric", list(DistanceMetric))
def test_index_shows_its_whole_definition(metric: DistanceMetric) -> None:
    index = Index("photos", "faces", 384, metric, ("blob", "note"), 1_700_000_000_123, 9)
    message = index_message(index)
    assert (message.bucket, message.index_name, message.dimension) == ("photos", "faces", 384)
    assert METRICS[message.distance_metric] is metric
    assert message.data_type == index_pb2.DATA_TYPE_FLOAT32
    assert message.status == index_pb2.INDEX_STATUS_ENABLE
    assert list(message.metadata.non_filterable_metadata_keys) == ["blob", "note"]
    assert message.create_time.ToMilliseconds() == 1_700_000_000_123


@pytest.mark.parametrize(
    "said",
    [{}, {"m": 24}, {"ef_construction": 300}, {"m": 4, "ef_construction": 8, "ef_search": 1}],
)
def test_index_shows_what_was_said_of_its_graph_and_no_more(said: dict[str, int]) -> None:
    index = Index("photos", "faces", 3, DistanceMetric.COSINE, graph=GraphOptions(**said))
    graph = index_message(index).graph
    assert {field.name: value for field, value in graph.ListFields()} == said


def test_every_metric_of_the_contract_is_known() -> None:
    numbers = set(index_pb2.DistanceMetric.values()) - {0}
    assert set(METRICS) == numbers
    assert set(METRICS.values()) == set(DistanceMetric)


def test_moment_that_is_not_known_leaves_the_field_unset() -> None:
    assert optional_timestamp(None) is None
    for milliseconds in (0, 1_700_000_000_123):
        moment = optional_timestamp(milliseconds)
        assert moment is not None
        assert moment.ToMilliseconds() == milliseconds
