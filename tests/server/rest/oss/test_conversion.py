"""How a request becomes a message, and what becomes of one that cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vectorbucket.errors import InvalidArgument, MalformedJson, VectorIndexParameterInvalid
from vectorbucket.v1 import bucket_service_pb2, vector_service_pb2
from vectorbucket_server.rest.oss import bucket_settings, buckets, indexes, vectors
from vectorbucket_server.rest.oss import conversion as conversion_module
from vectorbucket_server.rest.oss.bodies import EXPLAINED_BYTES_MAX
from vectorbucket_server.rest.oss.conversion import (
    About,
    Conversion,
    Reply,
    Source,
    converted,
)
from vectorbucket_server.rest.oss.reader import Reader


def test_a_request_that_says_nothing_names_its_bucket() -> None:
    message, fault = converted(buckets.GET, "photos", {}, b"<passed over>")
    assert message == bucket_service_pb2.GetVectorBucketRequest(bucket="photos")
    assert fault is None


def test_a_request_to_the_service_names_no_bucket() -> None:
    message, fault = converted(buckets.LIST, "", {"prefix": "p"}, b"")
    assert message == bucket_service_pb2.ListVectorBucketsRequest(prefix="p")
    assert fault is None


def test_a_text_is_taken_as_it_is() -> None:
    message, fault = converted(bucket_settings.PUT_POLICY, "photos", {}, b" { } ")
    assert message.policy == " { } "
    assert fault is None


def test_a_body_that_may_be_missing_is_an_empty_object() -> None:
    for body in (b"", b" \n", b"{}"):
        message, fault = converted(indexes.LIST, "photos", {}, body)
        assert (message.bucket, message.max_results, fault) == ("photos", 0, None)


def test_of_a_request_that_cannot_be_converted_only_what_it_is_about_is_kept() -> None:
    body = b'{"vectors":[{"key":"a","data":{"float32":[1]}},{"key":1}],"indexName":"faces"}'
    message, fault = converted(vectors.PUT, "photos", {}, body)
    assert message == vector_service_pb2.PutVectorsBatchRequest(bucket="photos", index_name="faces")
    assert isinstance(fault, VectorIndexParameterInvalid)
    assert fault.field == "vectors[1].key"


def test_of_a_body_that_is_no_json_nothing_is_kept() -> None:
    message, fault = converted(vectors.PUT, "photos", {}, b'{"indexName":"faces"')
    assert message == vector_service_pb2.PutVectorsBatchRequest(bucket="photos")
    assert isinstance(fault, MalformedJson)


def test_a_member_that_stands_twice_comes_before_what_is_wrong_elsewhere() -> None:
    body = b'{"indexName":"faces","topK":"x","filter":{"a":{"b":1,"b":2}}}'
    _, fault = converted(vectors.QUERY, "photos", {}, body)
    assert isinstance(fault, MalformedJson)


def test_faults_of_the_query_are_kept_too() -> None:
    message, fault = converted(buckets.LIST, "", {"prefix": "p", "max-keys": "x"}, b"")
    assert message == bucket_service_pb2.ListVectorBucketsRequest()
    assert isinstance(fault, InvalidArgument)


def test_a_body_of_which_the_quick_road_is_unsure_is_read_again() -> None:
    seen: list[Reader] = []

    def fill(message: Any, body: Reader) -> None:
        seen.append(body)
        root = body.root()
        message.index_name = body.string(root, "indexName")
        body.pass_over(root, frozenset({"indexName"}))

    conversion = Conversion(vector_service_pb2.GetVectorsRequest, Source.JSON, fill=fill)
    message, fault = converted(conversion, "photos", {}, b'{"indexName":"faces","new":{}}')
    assert (message.index_name, fault, len(seen)) == ("faces", None, 2)
    message, fault = converted(conversion, "photos", {}, b'{"indexName":"faces","new":1}')
    assert (message.index_name, fault, len(seen)) == ("faces", None, 3)


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb"])
def test_no_fault_of_a_bucket_name_is_found_here(text: str) -> None:
    """Method: names come as text; what was none has been replaced before."""
    with pytest.raises(UnicodeEncodeError):
        converted(buckets.GET, text, {}, b"")


def test_an_operation_that_says_no_more_is_answered_by_its_status() -> None:
    plain = Conversion(bucket_service_pb2.DeleteBucketPolicyRequest)
    message, fault = converted(plain, "photos", {}, b"")
    assert fault is None
    assert plain.reply(object(), About(message, "h")) == Reply(b"", ())


def test_of_a_large_body_that_is_no_json_only_the_bucket_is_kept() -> None:
    body = b'{"indexName":"faces","padding":"' + b"x" * EXPLAINED_BYTES_MAX
    message, fault = converted(vectors.PUT, "photos", {}, body)
    assert message == vector_service_pb2.PutVectorsBatchRequest(bucket="photos")
    assert isinstance(fault, MalformedJson)


@pytest.mark.parametrize(
    ("conversion", "flag"),
    [(vectors.PUT, "vectors"), (vectors.GET, "keys"), (vectors.DELETE, "keys")],
)
def test_too_many_of_a_thing_are_refused_without_a_closer_look(
    monkeypatch: pytest.MonkeyPatch, conversion: Conversion, flag: str
) -> None:
    """Method: the careful road, which would hold all of them, cannot be taken here."""
    monkeypatch.setattr(conversion_module, "parse_carefully", None)
    one = "{}" if flag == "vectors" else '""'
    body = f'{{"{flag}":[{",".join([one] * 200_001)}],"indexName":"faces"}}'.encode()
    message, fault = converted(conversion, "photos", {}, body)
    assert message == conversion.message(bucket="photos", index_name="faces")
    assert isinstance(fault, VectorIndexParameterInvalid)
    assert fault.message == f"{flag} has 200001 elements; the limit is 200000"
    assert fault.details == {"value": "200001", "limit": "200000"}


@pytest.mark.parametrize(("flag", "piece"), [("vectors", b"{},"), ("keys", b'"",')])
def test_what_no_machine_could_hold_as_objects_is_refused_unread(flag: str, piece: bytes) -> None:
    body = (
        b'{"indexName":"faces","' + flag.encode() + b'":[' + piece * 14_000_000 + piece[:-1] + b"]}"
    )
    message, fault = converted(vectors.PUT, "photos", {}, body)
    assert message == vector_service_pb2.PutVectorsBatchRequest(bucket="photos")
    assert isinstance(fault, VectorIndexParameterInvalid)
    assert "objects and arrays, or 4000000 texts" in fault.message


def test_texts_that_hold_json_are_no_objects_of_the_body() -> None:
    """Method: as many as a batch may have, each as long as metadata may be; 1.6 million objects."""
    text = json.dumps([{"a": [1, 2], "b": "\\"}] * 1_700)[:40_000]
    said = [
        {"key": str(number), "data": {"float32": [1, 2]}, "metadata": {"t": text}}
        for number in range(500)
    ]
    body = json.dumps({"indexName": "faces", "vectors": said}).encode()
    message, fault = converted(vectors.PUT, "photos", {}, body)
    assert fault is None
    assert {one.metadata["t"].string_value for one in message.vectors} == {text}
