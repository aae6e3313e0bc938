"""Tests of bench_rest_requests.py: both kinds of bytes say the same, and signatures are right."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np

from bench_data import draw_dataset
from bench_rest_requests import (
    ACCOUNT_ID,
    REGION,
    Keys,
    http_request,
    keys_of_body,
    keys_of_message,
    put_messages,
    put_requests,
    query_messages,
    query_requests,
)
from bench_session import BUCKET
from vectorbucket.v1 import vector_pb2, vector_service_pb2
from vectorbucket_server.auth.credential import Credential, Credentials
from vectorbucket_server.auth.signature_v4 import SignedRequest, verify

DATASET = draw_dataset(7, 4, seed=1)
SIGNED_AT = datetime(2023, 12, 16, 16, 20, 57, tzinfo=UTC)


def headers_of(request: bytes) -> dict[str, str]:
    """Return the headers of a request, with lower-case names."""
    head = request.partition(b"\r\n\r\n")[0].decode()
    pairs = (line.partition(": ") for line in head.split("\r\n")[1:])
    return {name.lower(): value for name, _, value in pairs}


def body_of(request: bytes) -> bytes:
    """Return the body of a request, of the length that it says."""
    head, _, body = request.partition(b"\r\n\r\n")
    assert len(body) == int(headers_of(head)["content-length"])
    return body


def test_signature_is_one_that_the_server_accepts() -> None:
    credential = Credential("owner", ACCOUNT_ID, "test-ak", "test-sk")
    request = http_request("putVectors", {}, Keys("test-ak", "test-sk"), now=SIGNED_AT)
    signed = SignedRequest("POST", (("putVectors", ""),), headers_of(request), BUCKET, ACCOUNT_ID)
    found = verify(signed, Credentials((credential,)), now_s=SIGNED_AT.timestamp(), region=REGION)
    assert found == credential


def test_unsigned_request_has_no_signature() -> None:
    assert "authorization" not in headers_of(http_request("queryVectors", {}))


def test_queries_say_the_same_in_both_kinds() -> None:
    rows = DATASET.queries[:3]
    for row, request, message in zip(rows, query_requests(rows), query_messages(rows), strict=True):
        asked = json.loads(body_of(request))
        parsed = vector_service_pb2.QueryVectorsRequest.FromString(message)
        assert request.startswith(b"POST /?queryVectors= HTTP/1.1\r\n")
        assert asked["topK"] == parsed.top_k == 10
        assert asked["returnDistance"] == parsed.return_distance is True
        numbers = np.asarray(asked["queryVector"]["float32"], np.float32)
        assert np.array_equal(numbers, row)
        assert parsed.query_vector.float32_le == row.tobytes()


def test_puts_say_the_same_in_both_kinds_and_all_of_it() -> None:
    requests, messages = put_requests(DATASET, 5), put_messages(DATASET, 5)
    assert (len(requests), len(messages)) == (2, 2)
    by_http = [one for request in requests for one in json.loads(body_of(request))["vectors"]]
    by_grpc = [
        one
        for message in messages
        for one in vector_service_pb2.PutVectorsBatchRequest.FromString(message).vectors
    ]
    assert [one["key"] for one in by_http] == [one.key for one in by_grpc] == list(DATASET.keys)
    for row, one, other in zip(DATASET.data, by_http, by_grpc, strict=True):
        assert np.array_equal(np.asarray(one["data"]["float32"], np.float32), row)
        assert other.data.float32_le == row.tobytes()


def test_what_was_found_is_read_of_both_kinds() -> None:
    body = json.dumps({"vectors": [{"key": "b", "distance": 0.5}, {"key": "a"}]}).encode()
    message = vector_service_pb2.QueryVectorsResponse(
        vectors=[vector_pb2.Hit(key="b"), vector_pb2.Hit(key="a")]
    )
    assert keys_of_body(body) == keys_of_message(message.SerializeToString()) == ["b", "a"]
