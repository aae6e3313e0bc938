"""Indexes: their requests and replies.

Rules of this file: one group an operation; a word for a metric or a type is read here, every number
is the server's to judge.

Source: oss-vectors-api, sections 3.8 to 3.11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vectorbucket.v1 import index_pb2
from vectorbucket.v1 import index_service_pb2 as messages
from vectorbucket_server.rest.oss.conversion import About, Conversion, Reply, Source
from vectorbucket_server.rest.oss.reader import Members, Reader
from vectorbucket_server.rest.oss.replies import json_bytes, time_text
from vectorbucket_server.rest.oss.words import shown

DATA_TYPES: Mapping[str, int] = {"float32": index_pb2.DATA_TYPE_FLOAT32}
METRICS: Mapping[str, int] = {
    "euclidean": index_pb2.DISTANCE_METRIC_EUCLIDEAN,
    "cosine": index_pb2.DISTANCE_METRIC_COSINE,
}
STATUSES: Mapping[int, str] = {
    index_pb2.INDEX_STATUS_CREATING: "creating",
    index_pb2.INDEX_STATUS_ENABLE: "enable",
    index_pb2.INDEX_STATUS_DELETING: "deleting",
}

_DATA_TYPE_WORDS = {number: word for word, number in DATA_TYPES.items()}
_METRIC_WORDS = {number: word for word, number in METRICS.items()}

_PUT = frozenset({"indexName", "dataType", "dimension", "distanceMetric", "metadata"})
_NAME = frozenset({"indexName"})
_LIST = frozenset({"maxResults", "nextToken", "prefix"})
_METADATA = frozenset({"nonFilterableMetadataKeys"})


def fill_put(message: Any, body: Reader) -> None:
    """Read what the new index is to be."""
    root = body.root()
    message.index_name = body.string(root, "indexName")
    body.pass_over(root, _PUT)
    if "dataType" in root:
        message.data_type = _word(body, root, "dataType", DATA_TYPES)
    message.dimension = body.integer(root, "dimension")
    if "distanceMetric" in root:
        message.distance_metric = _word(body, root, "distanceMetric", METRICS)
    if "metadata" in root:
        metadata = body.members(root["metadata"], "metadata")
        body.pass_over(metadata, _METADATA)
        keys = body.strings(
            metadata.get("nonFilterableMetadataKeys", []), "metadata.nonFilterableMetadataKeys"
        )
        message.metadata.non_filterable_metadata_keys.extend(keys)


def fill_name(message: Any, body: Reader) -> None:
    """Read which index is meant."""
    root = body.root()
    message.index_name = body.string(root, "indexName")
    body.pass_over(root, _NAME)


def fill_list(message: Any, body: Reader) -> None:
    """Read which indexes are to be listed."""
    root = body.root()
    body.pass_over(root, _LIST)
    message.max_results = body.integer(root, "maxResults")
    message.next_token = body.string(root, "nextToken")
    message.prefix = body.string(root, "prefix")


def say_index(answer: Any, _about: About) -> Reply:
    """Describe an index."""
    return Reply(json_bytes({"index": _described(answer.index)}))


def say_indexes(answer: Any, _about: About) -> Reply:
    """List indexes, and say how to go on if there are more."""
    listed: dict[str, Any] = {"indexes": [_described(index) for index in answer.indexes]}
    if answer.next_token:
        listed["nextToken"] = answer.next_token
    return Reply(json_bytes(listed))


def _word(body: Reader, root: Members, name: str, numbers: Mapping[str, int]) -> int:
    """Return what a word stands for."""
    word = body.string(root, name)
    if word not in numbers:
        raise body.refused(name, f"is {shown(word)}; it must be {' or '.join(numbers)}")
    return numbers[word]


def _described(index: index_pb2.Index) -> dict[str, Any]:
    """Return an index as OSS describes it."""
    return {
        "createTime": time_text(index.create_time),
        "dataType": _DATA_TYPE_WORDS.get(index.data_type, ""),
        "dimension": index.dimension,
        "distanceMetric": _METRIC_WORDS.get(index.distance_metric, ""),
        "indexName": index.index_name,
        "metadata": {
            "nonFilterableMetadataKeys": list(index.metadata.non_filterable_metadata_keys)
        },
        "status": STATUSES.get(index.status, ""),
        "vectorBucketName": index.bucket,
    }


PUT = Conversion(messages.PutVectorIndexRequest, Source.JSON, fill=fill_put)
GET = Conversion(messages.GetVectorIndexRequest, Source.JSON, fill=fill_name, reply=say_index)
LIST = Conversion(
    messages.ListVectorIndexesRequest, Source.JSON_IF_ANY, fill=fill_list, reply=say_indexes
)
DELETE = Conversion(messages.DeleteVectorIndexRequest, Source.JSON, fill=fill_name)
