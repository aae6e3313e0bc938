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
from vectorbucket_server.rest.oss.bodies import parse_carefully, parse_quickly
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


# --- Outward ------------------------------------------------------------------------------------


def said(reply: Any, answers: list[Any], *, return_metadata: bool = True) -> Any:
    request = messages.GetVectorsRequest(return_metadata=return_metadata)
    return json.loads(reply(answers, About(request, "h")).body)


def test_vectors_are_said_with_what_was_asked_for_and_no_more() -> None:
    full = vector_of("a", (0.1, 2), {"n": 3, "t": "x"}, as_bytes=True)
    answer = messages.GetVectorsResponse(vectors=[full, vector_pb2.Vector(key="b")])
    assert said(vectors.say_vectors, [answer]) == {
        "vectors": [
            {"key": "a", "data": {"float32": [0.1, 2.0]}, "metadata": {"n": 3, "t": "x"}},
            {"key": "b", "metadata": {}},
        ]
    }
    bare = messages.GetVectorsResponse(vectors=[vector_pb2.Vector(key="a")])
    assert said(vectors.say_vectors, [bare], return_metadata=False) == {"vectors": [{"key": "a"}]}
    assert said(vectors.say_vectors, [messages.GetVectorsResponse()]) == {"vectors": []}


def test_the_token_of_the_last_answer_is_the_page_s() -> None:
    answers = [
        messages.ListVectorsResponse(vectors=[vector_pb2.Vector(key=key)], next_token=token)
        for key, token in (("a", "t1"), ("b", "t2"))
    ]
    pages = said(vectors.say_page, answers, return_metadata=False)
    assert pages == {"vectors": [{"key": "a"}, {"key": "b"}], "nextToken": "t2"}
    answers[-1].next_token = ""
    assert "nextToken" not in said(vectors.say_page, answers, return_metadata=False)


@pytest.mark.parametrize(
    ("wanted", "sizes", "token", "missing"),
    [
        (10, [4], "t", 6),
        (10, [4, 5], "t", 1),
        (10, [4, 6], "t", None),
        (10, [10], "t", None),
        (10, [4], "", None),
        (0, [4], "t", 496),
        (0, [500], "t", None),
        (-1, [4], "t", None),
    ],
)
def test_a_page_is_asked_for_until_it_is_full(
    wanted: int, sizes: list[int], token: str, missing: int | None
) -> None:
    request = messages.ListVectorsRequest(index_name="i", max_results=wanted, return_data=True)
    answers = [
        messages.ListVectorsResponse(vectors=[vector_pb2.Vector()] * size, next_token=token)
        for size in sizes
    ]
    following = vectors.next_page(request, answers)
    if missing is None:
        assert following is None
    else:
        assert following == messages.ListVectorsRequest(
            index_name="i", max_results=missing, return_data=True, next_token=token
        )
    assert request.max_results == wanted


def test_hits_say_distance_and_metadata_only_if_they_were_asked_for() -> None:
    hit = vector_pb2.Hit(key="a", distance=0.0)
    hit.metadata["t"].string_value = ""
    answer = messages.QueryVectorsResponse(vectors=[hit, vector_pb2.Hit(key="b")])
    assert said(vectors.say_hits, [answer]) == {
        "vectors": [
            {"key": "a", "distance": 0.0, "metadata": {"t": ""}},
            {"key": "b", "metadata": {}},
        ]
    }
    assert said(vectors.say_hits, [answer], return_metadata=False) == {
        "vectors": [{"key": "a", "distance": 0.0}, {"key": "b"}]
    }


def test_numbers_cross_both_ways_bit_for_bit() -> None:
    numbers = np.random.default_rng(3).standard_normal((20, 64)).astype("<f4")
    answer = messages.GetVectorsResponse(
        vectors=[vector_of(f"k{row}", numbers[row], as_bytes=True) for row in range(20)]
    )
    about = About(messages.GetVectorsRequest(), "h")
    written = vectors.say_vectors([answer], about).body
    request = messages.PutVectorsBatchRequest()
    vectors.fill_put(request, Reader(parse_quickly(written)))
    assert list(request.vectors) == list(answer.vectors)
