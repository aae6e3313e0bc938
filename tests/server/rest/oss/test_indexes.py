"""Indexes: their requests as messages, their answers as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.v1 import index_pb2
from vectorbucket.v1 import index_service_pb2 as messages
from vectorbucket_server.rest.oss import indexes
from vectorbucket_server.rest.oss.bodies import parse_carefully, parse_quickly
from vectorbucket_server.rest.oss.conversion import About
from vectorbucket_server.rest.oss.reader import Reader

ABOUT = About(None, "h")


def index(name: str, **more: Any) -> index_pb2.Index:
    return index_pb2.Index(
        **{
            "index_name": name,
            "data_type": index_pb2.DATA_TYPE_FLOAT32,
            "dimension": 128,
            "distance_metric": index_pb2.DISTANCE_METRIC_COSINE,
            "metadata": {"non_filterable_metadata_keys": ["k1"]},
            "create_time": Timestamp(seconds=1_744_853_627),
            "status": index_pb2.INDEX_STATUS_ENABLE,
            "bucket": "photos",
            "graph": {"m": 16},
            **more,
        }
    )


def described(name: str, **more: object) -> dict[str, object]:
    return {
        "createTime": "2025-04-17T01:33:47.000Z",
        "dataType": "float32",
        "dimension": 128,
        "distanceMetric": "cosine",
        "indexName": name,
        "metadata": {"nonFilterableMetadataKeys": ["k1"]},
        "status": "enable",
        "vectorBucketName": "photos",
        **more,
    }


@pytest.mark.parametrize("parse", [parse_quickly, parse_carefully])
def test_a_definition_is_read_whole(parse: Any) -> None:
    raw = (
        b'{"indexName":"faces","dataType":"float32","dimension":128,"distanceMetric":"euclidean",'
        b'"metadata":{"nonFilterableMetadataKeys":["a","b"]}}'
    )
    request = messages.PutVectorIndexRequest()
    indexes.fill_put(request, Reader(parse(raw)))
    assert request == messages.PutVectorIndexRequest(
        index_name="faces",
        data_type=index_pb2.DATA_TYPE_FLOAT32,
        dimension=128,
        distance_metric=index_pb2.DISTANCE_METRIC_EUCLIDEAN,
        metadata={"non_filterable_metadata_keys": ["a", "b"]},
    )


def test_what_is_not_said_is_left_to_the_server() -> None:
    request = messages.PutVectorIndexRequest()
    indexes.fill_put(request, Reader(parse_quickly(b'{"metadata":{}}')))
    assert request == messages.PutVectorIndexRequest(metadata={})


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        ('"distanceMetric":"l2"', "distanceMetric is 'l2'; it must be euclidean or cosine"),
        ('"distanceMetric":""', "distanceMetric is ''; it must be euclidean or cosine"),
        ('"dataType":"float16"', "dataType is 'float16'; it must be float32"),
    ],
)
def test_a_word_that_nobody_knows_is_refused(member: str, problem: str) -> None:
    body = Reader(parse_carefully(f'{{"indexName":"faces",{member}}}'.encode()))
    request = messages.PutVectorIndexRequest()
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        indexes.fill_put(request, body)
    assert caught.value.message == problem
    assert request.index_name == "faces"


def test_a_listing_is_read_whole() -> None:
    request = messages.ListVectorIndexesRequest()
    raw = b'{"maxResults":5,"nextToken":"t","prefix":"p","indexName":1}'
    indexes.fill_list(request, Reader(parse_quickly(raw)))
    assert (request.max_results, request.next_token, request.prefix) == (5, "t", "p")


def test_an_index_is_described_without_what_is_ours_alone() -> None:
    answer = messages.GetVectorIndexResponse(index=index("faces"), vector_count=5)
    said = json.loads(indexes.say_index(answer, ABOUT).body)
    assert said == {"index": described("faces")}


@pytest.mark.parametrize(
    ("more", "member"),
    [
        ({"status": index_pb2.INDEX_STATUS_CREATING}, {"status": "creating"}),
        ({"status": index_pb2.INDEX_STATUS_DELETING}, {"status": "deleting"}),
        (
            {"distance_metric": index_pb2.DISTANCE_METRIC_EUCLIDEAN},
            {"distanceMetric": "euclidean"},
        ),
        ({"metadata": {}}, {"metadata": {"nonFilterableMetadataKeys": []}}),
        ({"status": 77, "distance_metric": 77}, {"status": "", "distanceMetric": ""}),
    ],
)
def test_each_member_is_said_in_the_words_of_oss(more: Any, member: dict[str, object]) -> None:
    answer = messages.GetVectorIndexResponse(index=index("faces", **more))
    said = json.loads(indexes.say_index(answer, ABOUT).body)
    assert said == {"index": described("faces", **member)}


@pytest.mark.parametrize("token", ["", "t"])
def test_a_listing_has_a_token_only_if_there_is_more(token: str) -> None:
    answer = messages.ListVectorIndexesResponse(indexes=[index("a"), index("b")], next_token=token)
    said = json.loads(indexes.say_indexes(answer, ABOUT).body)
    expected = {"indexes": [described("a"), described("b")]}
    assert said == ({**expected, "nextToken": token} if token else expected)


def test_every_word_has_its_number() -> None:
    assert set(indexes.METRICS.values()) == set(index_pb2.DistanceMetric.values()) - {0}
    assert set(indexes.DATA_TYPES.values()) == set(index_pb2.DataType.values()) - {0}
    assert set(indexes.STATUSES) == set(index_pb2.IndexStatus.values()) - {0}
