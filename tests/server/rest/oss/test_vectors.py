"""Vectors: their requests as messages, their answers as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict

from rpc import data_of, vector_of
from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.v1 import vector_pb2
from vectorbucket.v1 import vector_service_pb2 as messages
from vectorbucket_server.rest.oss import vectors
from vectorbucket_server.rest.oss.bodies import Odd, parse_carefully, parse_quickly
from vectorbucket_server.rest.oss.conversion import About
from vectorbucket_server.rest.oss.reader import Reader

ROADS = (parse_quickly, parse_carefully)


@pytest.mark.parametrize("parse", ROADS)
def test_vectors_are_read_whole_and_their_numbers_as_bytes(parse: Any) -> None:
    raw = (
        b'{"vectors":[{"key":"a","data":{"float32":[1,2.5]},"metadata":{"t":"x","l":[1,"y"]}},'
        b'{"metadata":{},"data":{"float32":[0.1,1e-50]},"key":"b"},{"key":"c"},{}],'
        b'"indexName":"faces"}'
    )
    request = messages.PutVectorsBatchRequest()
    vectors.fill_put(request, Reader(parse(raw)))
    first = vector_of("a", (1, 2.5), {"t": "x", "l": [1, "y"]}, as_bytes=True)
    second = vector_of("b", (0.1, 0), as_bytes=True)
    expected = messages.PutVectorsBatchRequest(
        index_name="faces", vectors=[first, second, vector_pb2.Vector(key="c"), vector_pb2.Vector()]
    )
    assert request == expected


def test_a_fault_is_found_with_the_index_already_read() -> None:
    request = messages.PutVectorsBatchRequest()
    body = Reader(parse_carefully(b'{"vectors":[{"key":"a"},{"key":[]}],"indexName":"faces"}'))
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        vectors.fill_put(request, body)
    assert caught.value.field == "vectors[1].key"
    assert request.index_name == "faces"


@pytest.mark.parametrize("parse", ROADS)
def test_keys_and_what_is_wanted_of_them_are_read(parse: Any) -> None:
    request = messages.GetVectorsRequest()
    raw = b'{"indexName":"i","keys":["a","b"],"returnData":true,"returnMetadata":true}'
    vectors.fill_get(request, Reader(parse(raw)))
    assert MessageToDict(request) == {
        "indexName": "i",
        "keys": ["a", "b"],
        "returnData": True,
        "returnMetadata": True,
        "dataEncoding": "DATA_ENCODING_FLOAT32_LE",
    }
    deletion = messages.DeleteVectorsRequest()
    vectors.fill_delete(deletion, Reader(parse(raw)))
    assert deletion == messages.DeleteVectorsRequest(index_name="i", keys=["a", "b"])


@pytest.mark.parametrize("parse", ROADS)
def test_a_listing_is_read_whole(parse: Any) -> None:
    request = messages.ListVectorsRequest()
    raw = (
        b'{"indexName":"i","maxResults":7,"nextToken":"t","segmentCount":4,"segmentIndex":3,'
        b'"returnData":false,"returnMetadata":true}'
    )
    vectors.fill_list(request, Reader(parse(raw)))
    assert request == messages.ListVectorsRequest(
        index_name="i",
        max_results=7,
        next_token="t",  # noqa: S106 - a page token
        segment_count=4,
        segment_index=3,
        return_metadata=True,
        data_encoding=vector_pb2.DATA_ENCODING_FLOAT32_LE,
        whole_page=True,
    )


@pytest.mark.parametrize("parse", ROADS)
def test_a_query_is_read_whole(parse: Any) -> None:
    request = messages.QueryVectorsRequest()
    raw = (
        b'{"indexName":"i","queryVector":{"float32":[1,2]},"topK":5,"filter":{"t":{"$eq":"x"}},'
        b'"returnDistance":true,"returnMetadata":true}'
    )
    vectors.fill_query(request, Reader(parse(raw)))
    expected = messages.QueryVectorsRequest(
        index_name="i",
        query_vector=data_of((1, 2), as_bytes=True),
        top_k=5,
        return_distance=True,
        return_metadata=True,
    )
    expected.filter.update({"t": {"$eq": "x"}})
    assert request == expected


@pytest.mark.parametrize(("filter_", "present"), [("null", False), ("{}", True)])
def test_no_filter_and_an_empty_one_are_carried_as_such(filter_: str, *, present: bool) -> None:
    for parse in ROADS:
        request = messages.QueryVectorsRequest()
        vectors.fill_query(request, Reader(parse(f'{{"filter":{filter_}}}'.encode())))
        assert request.HasField("filter") == present


NULLS: list[tuple[Any, Any, str]] = [
    (vectors.fill_put, messages.PutVectorsBatchRequest, '{"indexName":null,"vectors":[],"u":null}'),
    (
        vectors.fill_get,
        messages.GetVectorsRequest,
        '{"keys":["a"],"returnData":null,"returnMetadata":null}',
    ),
    (
        vectors.fill_list,
        messages.ListVectorsRequest,
        '{"maxResults":null,"nextToken":null,"segmentCount":null,"filter":null}',
    ),
    (
        vectors.fill_query,
        messages.QueryVectorsRequest,
        '{"queryVector":null,"topK":null,"filter":null,"returnDistance":null}',
    ),
]


@pytest.mark.parametrize(("fill", "message", "text"), NULLS)
@pytest.mark.parametrize("parse", ROADS)
def test_a_member_that_is_null_is_as_if_it_was_not_there(
    parse: Any, fill: Any, message: Any, text: str
) -> None:
    request, bare = message(), message()
    fill(request, Reader(parse(text.encode())))
    given = json.loads(text)
    for name in [name for name, value in given.items() if value is None]:
        del given[name]
    fill(bare, Reader(parse(json.dumps(given).encode())))
    assert request == bare


@pytest.mark.parametrize("parse", ROADS)
def test_a_null_in_a_vector_is_as_if_it_was_not_there_except_in_metadata(parse: Any) -> None:
    request = messages.PutVectorsBatchRequest()
    raw = (
        b'{"vectors":[{"key":null,"data":{"float32":null,"x":null},"metadata":null},{"data":null}]}'
    )
    vectors.fill_put(request, Reader(parse(raw)))
    assert list(request.vectors) == [vector_pb2.Vector(), vector_pb2.Vector()]
    in_metadata = b'{"vectors":[{"metadata":{"a":null}}]}'
    with pytest.raises((Odd, VectorIndexParameterInvalid)):
        vectors.fill_put(messages.PutVectorsBatchRequest(), Reader(parse(in_metadata)))


@pytest.mark.parametrize("text", ['{"vectors":[null]}', '{"vectors":null}', "{}"])
def test_a_null_among_vectors_and_no_vectors_at_all_are_refused(text: str) -> None:
    with pytest.raises(VectorIndexParameterInvalid, match="must be"):
        vectors.fill_put(messages.PutVectorsBatchRequest(), Reader(parse_carefully(text.encode())))


def test_a_vector_of_no_numbers_is_not_a_missing_one() -> None:
    body = Reader(parse_carefully(b'{"vectors":[{"key":"a","data":{"float32":[]}}]}'))
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        vectors.fill_put(messages.PutVectorsBatchRequest(), body)
    assert caught.value.message.startswith("vectors[0].data has 0 numbers; it must")
    assert caught.value.field == "vectors[0].data"


# --- Outward ------------------------------------------------------------------------------------


def said(reply: Any, answer: Any, *, return_metadata: bool = True) -> Any:
    request = messages.GetVectorsRequest(return_metadata=return_metadata)
    return json.loads(reply(answer, About(request, "h")).body)


def test_vectors_are_said_with_what_was_asked_for_and_no_more() -> None:
    full = vector_of("a", (0.1, 2), {"n": 3, "t": "x"}, as_bytes=True)
    answer = messages.GetVectorsResponse(vectors=[full, vector_pb2.Vector(key="b")])
    assert said(vectors.say_vectors, answer) == {
        "vectors": [
            {"key": "a", "data": {"float32": [0.1, 2.0]}, "metadata": {"n": 3, "t": "x"}},
            {"key": "b", "metadata": {}},
        ]
    }
    bare = messages.GetVectorsResponse(vectors=[vector_pb2.Vector(key="a")])
    assert said(vectors.say_vectors, bare, return_metadata=False) == {"vectors": [{"key": "a"}]}
    assert said(vectors.say_vectors, messages.GetVectorsResponse()) == {"vectors": []}


def test_a_page_says_how_to_go_on_if_there_is_more() -> None:
    answer = messages.ListVectorsResponse(vectors=[vector_pb2.Vector(key="a")])
    answer.next_token = "t"  # noqa: S105 - of a page
    page = said(vectors.say_page, answer, return_metadata=False)
    assert page == {"vectors": [{"key": "a"}], "nextToken": "t"}
    answer.next_token = ""
    assert "nextToken" not in said(vectors.say_page, answer, return_metadata=False)


def test_hits_say_distance_and_metadata_only_if_they_were_asked_for() -> None:
    hit = vector_pb2.Hit(key="a", distance=0.0)
    hit.metadata["t"].string_value = ""
    answer = messages.QueryVectorsResponse(vectors=[hit, vector_pb2.Hit(key="b")])
    assert said(vectors.say_hits, answer) == {
        "vectors": [
            {"key": "a", "distance": 0.0, "metadata": {"t": ""}},
            {"key": "b", "metadata": {}},
        ]
    }
    assert said(vectors.say_hits, answer, return_metadata=False) == {
        "vectors": [{"key": "a", "distance": 0.0}, {"key": "b"}]
    }


def test_numbers_cross_both_ways_bit_for_bit() -> None:
    numbers = np.random.default_rng(3).standard_normal((20, 64)).astype("<f4")
    answer = messages.GetVectorsResponse(
        vectors=[vector_of(f"k{row}", numbers[row], as_bytes=True) for row in range(20)]
    )
    about = About(messages.GetVectorsRequest(), "h")
    written = vectors.say_vectors(answer, about).body
    request = messages.PutVectorsBatchRequest()
    vectors.fill_put(request, Reader(parse_quickly(written)))
    assert list(request.vectors) == list(answer.vectors)
