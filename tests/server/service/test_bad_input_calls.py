"""What bad input gets: keys, pages and segments, at a real server.

Method: each case is a call and what its refusal must say; afterwards nothing has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rpc import (
    BUCKET,
    INDEX,
    Call,
    Stubs,
    assert_parameter_refused,
    index_request,
    refused,
    some_vectors,
)
from vectorbucket.v1 import (
    index_service_pb2,
    vector_service_pb2,
)

NONSENSE = "nonsense"


def listed(**fields: Any) -> vector_service_pb2.ListVectorsRequest:
    return vector_service_pb2.ListVectorsRequest(bucket=BUCKET, index_name=INDEX, **fields)


def keys_request(kind: type[Any], keys: list[str]) -> Any:
    return kind(bucket=BUCKET, index_name=INDEX, keys=keys)


VECTOR_CALLS: Mapping[str, tuple[Call, str, tuple[str, ...]]] = {
    "101 keys in get": (
        lambda stubs: stubs.vectors.GetVectors(
            keys_request(vector_service_pb2.GetVectorsRequest, [f"{n}" for n in range(101)])
        ),
        "keys",
        ("101", "1 to 100"),
    ),
    "no keys in get": (
        lambda stubs: stubs.vectors.GetVectors(
            keys_request(vector_service_pb2.GetVectorsRequest, [])
        ),
        "keys",
        ("0", "1 to 100"),
    ),
    "an empty key in get": (
        lambda stubs: stubs.vectors.GetVectors(
            keys_request(vector_service_pb2.GetVectorsRequest, ["a", ""])
        ),
        "keys[1]",
        ("0 bytes", "1024"),
    ),
    "501 keys in delete": (
        lambda stubs: stubs.vectors.DeleteVectors(
            keys_request(vector_service_pb2.DeleteVectorsRequest, [f"{n}" for n in range(501)])
        ),
        "keys",
        ("501", "1 to 500"),
    ),
    "no keys in delete": (
        lambda stubs: stubs.vectors.DeleteVectors(
            keys_request(vector_service_pb2.DeleteVectorsRequest, [])
        ),
        "keys",
        ("0", "1 to 500"),
    ),
    "a key twice in delete": (
        lambda stubs: stubs.vectors.DeleteVectors(
            keys_request(vector_service_pb2.DeleteVectorsRequest, ["a", "b", "a"])
        ),
        "keys[2]",
        ("'a'", "keys[0]"),
    ),
    "a key of 1,025 bytes in delete": (
        lambda stubs: stubs.vectors.DeleteVectors(
            keys_request(vector_service_pb2.DeleteVectorsRequest, ["k" * 1025])
        ),
        "keys[0]",
        ("1025 bytes", "1024"),
    ),
    "negative max_results in vectors": (
        lambda stubs: stubs.vectors.ListVectors(listed(max_results=-1)),
        "max_results",
        ("-1", "1000"),
    ),
    "too large max_results in vectors": (
        lambda stubs: stubs.vectors.ListVectors(listed(max_results=1001)),
        "max_results",
        ("1001", "1 to 1000"),
    ),
    "negative max_results in indexes": (
        lambda stubs: stubs.indexes.ListVectorIndexes(
            index_service_pb2.ListVectorIndexesRequest(bucket=BUCKET, max_results=-1)
        ),
        "max_results",
        ("-1", "500"),
    ),
    "too large max_results in indexes": (
        lambda stubs: stubs.indexes.ListVectorIndexes(
            index_service_pb2.ListVectorIndexesRequest(bucket=BUCKET, max_results=501)
        ),
        "max_results",
        ("501", "1 to 500"),
    ),
    "a segment index that is its count": (
        lambda stubs: stubs.vectors.ListVectors(listed(segment_count=4, segment_index=4)),
        "segment_index",
        ("4", "0 to 3"),
    ),
    "a segment index without a count": (
        lambda stubs: stubs.vectors.ListVectors(listed(segment_index=1)),
        "segment_index",
        ("1", "0 to 0"),
    ),
    "a negative segment index": (
        lambda stubs: stubs.vectors.ListVectors(listed(segment_count=4, segment_index=-1)),
        "segment_index",
        ("-1", "0 to 3"),
    ),
    "17 segments": (
        lambda stubs: stubs.vectors.ListVectors(listed(segment_count=17)),
        "segment_count",
        ("17", "16"),
    ),
    "a bad segment in a scan": (
        lambda stubs: list(
            stubs.vectors.ScanVectors(
                vector_service_pb2.ScanVectorsRequest(
                    bucket=BUCKET, index_name=INDEX, segment_count=2, segment_index=2
                )
            )
        ),
        "segment_index",
        ("2", "0 to 1"),
    ),
    "an unknown data encoding": (
        lambda stubs: stubs.vectors.ListVectors(listed(data_encoding=7)),
        "data_encoding",
        ("7", "DATA_ENCODING_FLOAT32_LE"),
    ),
    "a token that is none": (
        lambda stubs: stubs.vectors.ListVectors(listed(next_token=NONSENSE)),
        "next_token",
        ("'nonsense'", "ListVectors"),
    ),
    "a token that is too long": (
        lambda stubs: stubs.vectors.ListVectors(listed(next_token="A" * 2049)),
        "next_token",
        ("2049", "2048"),
    ),
    "an index token that is too long": (
        lambda stubs: stubs.indexes.ListVectorIndexes(
            index_service_pb2.ListVectorIndexesRequest(bucket=BUCKET, next_token="A" * 513)
        ),
        "next_token",
        ("513", "512"),
    ),
}


@pytest.mark.parametrize(("call", "field", "words"), VECTOR_CALLS.values(), ids=VECTOR_CALLS)
def test_bad_call_is_refused_and_changes_nothing(
    with_index: Stubs, call: Call, field: str, words: tuple[str, ...]
) -> None:
    with_index.put(*some_vectors(3))
    assert_parameter_refused(refused(lambda: call(with_index)), field, words)
    assert with_index.count() == 3


def test_page_token_of_another_listing_is_refused(with_index: Stubs) -> None:
    with_index.indexes.PutVectorIndex(index_request(index_name="other"))
    with_index.put(*some_vectors(5))
    token = with_index.vectors.ListVectors(listed(max_results=2)).next_token
    assert len(with_index.vectors.ListVectors(listed(next_token=token)).vectors) == 3
    foreign = (
        listed(next_token=token, segment_count=2),
        vector_service_pb2.ListVectorsRequest(bucket=BUCKET, index_name="other", next_token=token),
        listed(next_token=token[:-1]),
        listed(next_token=token + "A"),
    )
    for request in foreign:
        refusal = refused(lambda request=request: with_index.vectors.ListVectors(request))  # type: ignore[misc]
        assert_parameter_refused(refusal, "next_token", ("ListVectors",))
    indexes = index_service_pb2.ListVectorIndexesRequest(bucket=BUCKET, next_token=token)
    assert_parameter_refused(
        refused(lambda: with_index.indexes.ListVectorIndexes(indexes)), "next_token", ()
    )
