"""What bad input gets: buckets, indexes and their names, at a real server.

Method: each case is a request and what its refusal must say; afterwards nothing was made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
import pytest

from rpc import (
    BUCKET,
    INDEX,
    Call,
    Stubs,
    assert_parameter_refused,
    index_request,
    put_message,
    query_request,
    refused,
    vector_of,
)
from vectorbucket.v1 import (
    bucket_service_pb2,
    index_service_pb2,
    vector_service_pb2,
)

INDEX_REQUESTS: Mapping[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "dimension 0": ({"dimension": 0}, "dimension", ("0", "1 to 4096")),
    "dimension 4,097": ({"dimension": 4097}, "dimension", ("4097", "1 to 4096")),
    "a negative dimension": ({"dimension": -4}, "dimension", ("-4", "1 to 4096")),
    "no metric": ({"metric": 0}, "distance_metric", ("UNSPECIFIED", "COSINE")),
    "an unknown metric": ({"metric": 9}, "distance_metric", ("9", "DISTANCE_METRIC_EUCLIDEAN")),
    "an unknown data type": ({"data_type": 5}, "data_type", ("5", "DATA_TYPE_FLOAT32")),
    "no index name": ({"index_name": ""}, "index_name", ("empty",)),
    "an index name of 64": ({"index_name": "a" * 64}, "index_name", ("64 characters", "63")),
    "an index name with a hyphen": ({"index_name": "a-b"}, "index_name", ("'a-b'",)),
    "an index name that starts with a digit": ({"index_name": "1a"}, "index_name", ("'1a'",)),
    "11 non-filterable keys": (
        {"non_filterable": [f"k{n}" for n in range(11)]},
        "metadata.non_filterable_metadata_keys",
        ("11", "10"),
    ),
    "a non-filterable key of 64 characters": (
        {"non_filterable": ["a", "k" * 64]},
        "metadata.non_filterable_metadata_keys[1]",
        ("64 bytes", "63"),
    ),
    "a non-filterable key with a hyphen": (
        {"non_filterable": ["a-b"]},
        "metadata.non_filterable_metadata_keys[0]",
        ("'a-b'",),
    ),
    "a non-filterable key twice": (
        {"non_filterable": ["a", "a"]},
        "metadata.non_filterable_metadata_keys[1]",
        ("twice",),
    ),
}


@pytest.mark.parametrize(("changes", "field", "words"), INDEX_REQUESTS.values(), ids=INDEX_REQUESTS)
def test_bad_index_is_refused_and_not_made(
    stubs: Stubs, changes: dict[str, Any], field: str, words: tuple[str, ...]
) -> None:
    stubs.buckets.PutVectorBucket(bucket_service_pb2.PutVectorBucketRequest(bucket=BUCKET))
    request = index_request(**changes)
    assert_parameter_refused(refused(lambda: stubs.indexes.PutVectorIndex(request)), field, words)
    listing = index_service_pb2.ListVectorIndexesRequest(bucket=BUCKET)
    assert list(stubs.indexes.ListVectorIndexes(listing).indexes) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("m", 3, ("3", "4 to 128")),
        ("m", 129, ("129", "4 to 128")),
        ("ef_construction", 0, ("0", "8 to 4096")),
        ("ef_construction", 4097, ("4097", "8 to 4096")),
        ("ef_search", 0, ("0", "1 to 10000")),
        ("ef_search", 10_001, ("10001", "1 to 10000")),
    ],
)
def test_index_with_a_bad_graph_is_refused_and_not_made(
    stubs: Stubs, name: str, value: int, words: tuple[str, ...]
) -> None:
    stubs.buckets.PutVectorBucket(bucket_service_pb2.PutVectorBucketRequest(bucket=BUCKET))
    request = index_request()
    setattr(request.graph, name, value)
    refusal = refused(lambda: stubs.indexes.PutVectorIndex(request))
    assert_parameter_refused(refusal, f"graph.{name}", words)
    listing = index_service_pb2.ListVectorIndexesRequest(bucket=BUCKET)
    assert list(stubs.indexes.ListVectorIndexes(listing).indexes) == []


@pytest.mark.parametrize(
    ("bucket", "words"),
    [
        ("", ("empty",)),
        ("ab", ("'ab'", "2 characters", "3 to 63")),
        ("a" * 64, ("64 characters", "3 to 63")),
        ("My_Bucket", ("'My_Bucket'", "lower-case")),
        ("-abc", ("'-abc'",)),
        ("abc-", ("'abc-'",)),
        ("äbc", ("lower-case",)),
    ],
)
def test_bad_bucket_name_is_refused_everywhere(
    stubs: Stubs, bucket: str, words: tuple[str, ...]
) -> None:
    calls: tuple[Callable[[], object], ...] = (
        lambda: stubs.buckets.PutVectorBucket(
            bucket_service_pb2.PutVectorBucketRequest(bucket=bucket)
        ),
        lambda: stubs.buckets.GetVectorBucket(
            bucket_service_pb2.GetVectorBucketRequest(bucket=bucket)
        ),
        lambda: stubs.buckets.DeleteVectorBucket(
            bucket_service_pb2.DeleteVectorBucketRequest(bucket=bucket)
        ),
        lambda: stubs.indexes.PutVectorIndex(index_request(bucket)),
        lambda: stubs.vectors.QueryVectors(query_request(bucket=bucket)),
        lambda: stubs.put(vector_of("a"), bucket=bucket),
    )
    for call in calls:
        refusal = refused(call)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.reason == "ERROR_REASON_INVALID_VECTOR_BUCKET_NAME"
        assert refusal.field == "bucket"
        for word in words:
            assert word in refusal.message
    listing = bucket_service_pb2.ListVectorBucketsRequest()
    assert list(stubs.buckets.ListVectorBuckets(listing).buckets) == []


@pytest.mark.parametrize("max_keys", [-1, 1001])
def test_bad_page_of_buckets_is_refused(stubs: Stubs, max_keys: int) -> None:
    request = bucket_service_pb2.ListVectorBucketsRequest(max_keys=max_keys)
    refusal = refused(lambda: stubs.buckets.ListVectorBuckets(request))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "ERROR_REASON_INVALID_ARGUMENT"
    assert refusal.facts == {
        "code": "InvalidArgument",
        "field": "max_keys",
        "value": str(max_keys),
        "limit": "1000",
    }


def test_what_exists_is_not_made_again(with_index: Stubs) -> None:
    bucket = bucket_service_pb2.PutVectorBucketRequest(bucket=BUCKET)
    refusal = refused(lambda: with_index.buckets.PutVectorBucket(bucket))
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    assert refusal.reason == "ERROR_REASON_BUCKET_NAME_NOT_AVAILABLE"
    assert refusal.facts == {"code": "BucketNameNotAvailable", "bucket": BUCKET}
    refusal = refused(lambda: with_index.indexes.PutVectorIndex(index_request()))
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    assert refusal.reason == "ERROR_REASON_VECTOR_BUCKET_INDEX_ALREADY_EXIST"
    assert INDEX in refusal.message


def test_bucket_that_is_not_empty_stays(with_index: Stubs) -> None:
    request = bucket_service_pb2.DeleteVectorBucketRequest(bucket=BUCKET)
    refusal = refused(lambda: with_index.buckets.DeleteVectorBucket(request))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "ERROR_REASON_VECTOR_BUCKET_NOT_EMPTY"
    assert with_index.count() == 0


def test_101st_bucket_and_101st_index_are_refused(stubs: Stubs) -> None:
    for number in range(100):
        bucket = bucket_service_pb2.PutVectorBucketRequest(bucket=f"bucket-{number}")
        stubs.buckets.PutVectorBucket(bucket)
        stubs.indexes.PutVectorIndex(index_request("bucket-0", f"index{number}"))
    bucket = bucket_service_pb2.PutVectorBucketRequest(bucket="bucket-100")
    refusal = refused(lambda: stubs.buckets.PutVectorBucket(bucket))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.reason == "ERROR_REASON_TOO_MANY_BUCKETS"
    assert refusal.retry_after_s is None
    assert "limit is 100" in refusal.message
    refusal = refused(lambda: stubs.indexes.PutVectorIndex(index_request("bucket-0", "index100")))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.reason == "ERROR_REASON_VECTOR_BUCKET_INDEX_EXCEED_LIMIT"
    assert refusal.facts is not None
    assert refusal.facts["limit"] == "100"


def calls_on(bucket: str, index_name: str) -> list[Call]:
    """Return a good call of every method that names an index."""
    place: dict[str, Any] = {"bucket": bucket, "index_name": index_name}
    service = vector_service_pb2
    put = put_message(1, vector_of("a"), **place)
    return [
        lambda stubs: stubs.put(vector_of("a"), **place),
        lambda stubs: list(stubs.vectors.PutVectors(iter([put]))),
        lambda stubs: stubs.vectors.GetVectors(service.GetVectorsRequest(**place, keys=["a"])),
        lambda stubs: stubs.vectors.ListVectors(service.ListVectorsRequest(**place)),
        lambda stubs: list(stubs.vectors.ScanVectors(service.ScanVectorsRequest(**place))),
        lambda stubs: stubs.vectors.DeleteVectors(
            service.DeleteVectorsRequest(**place, keys=["a"])
        ),
        lambda stubs: stubs.vectors.QueryVectors(query_request(**place)),
        lambda stubs: list(
            stubs.vectors.QueryVectorsBatch(
                service.QueryVectorsBatchRequest(
                    **place, top_k=1, query_vectors=vector_of("a").data
                )
            )
        ),
        lambda stubs: stubs.indexes.GetVectorIndex(
            index_service_pb2.GetVectorIndexRequest(**place)
        ),
        lambda stubs: stubs.indexes.DeleteVectorIndex(
            index_service_pb2.DeleteVectorIndexRequest(**place)
        ),
    ]


@pytest.mark.parametrize("position", range(10))
def test_unknown_bucket_and_index_are_told_apart_and_come_before_the_rest(
    with_index: Stubs, position: int
) -> None:
    refusal = refused(lambda: calls_on("nowhere", INDEX)[position](with_index))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == "ERROR_REASON_NO_SUCH_BUCKET"
    assert "'nowhere'" in refusal.message
    refusal = refused(lambda: calls_on(BUCKET, "nothing")[position](with_index))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == "ERROR_REASON_NO_SUCH_VECTOR_INDEX"
    assert "'nothing'" in refusal.message
    refusal = refused(lambda: calls_on(BUCKET, "no-name")[position](with_index))
    assert_parameter_refused(refusal, "index_name", ("'no-name'",))


def test_missing_bucket_comes_before_bad_parameters(stubs: Stubs) -> None:
    refusal = refused(lambda: stubs.indexes.PutVectorIndex(index_request("nowhere", metric=9)))
    assert refusal.reason == "ERROR_REASON_NO_SUCH_BUCKET"
    request = query_request((), bucket="nowhere", top_k=0)
    assert refused(lambda: stubs.vectors.QueryVectors(request)).reason.endswith("NO_SUCH_BUCKET")
