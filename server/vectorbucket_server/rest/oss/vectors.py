"""Vectors: their requests and replies.

Rules of this file: one group an operation; numbers of vectors cross it as bytes of float32, in and
out, and are never Python objects.

Source: oss-vectors-api, sections 3.12 to 3.16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vectorbucket.v1 import vector_pb2
from vectorbucket.v1 import vector_service_pb2 as messages
from vectorbucket_server.rest.oss.conversion import About, Conversion, Reply, Source
from vectorbucket_server.rest.oss.metadata import fill_filter, fill_metadata, metadata_values
from vectorbucket_server.rest.oss.reader import Members, Reader
from vectorbucket_server.rest.oss.replies import json_bytes
from vectorbucket_server.rest.oss.words import ABSENT

_PUT = frozenset({"indexName", "vectors"})
_VECTOR = frozenset({"key", "data", "metadata"})
_DATA = frozenset({"float32"})
_GET = frozenset({"indexName", "keys", "returnData", "returnMetadata"})
_LIST = frozenset(
    {
        *("indexName", "maxResults", "nextToken", "returnData", "returnMetadata"),
        *("segmentCount", "segmentIndex", "filter"),
    }
)
_DELETE = frozenset({"indexName", "keys"})
_QUERY = frozenset(
    {"indexName", "queryVector", "topK", "filter", "returnDistance", "returnMetadata"}
)

# --- Inward -------------------------------------------------------------------------------------


def fill_put(message: Any, body: Reader) -> None:
    """Read the vectors to store."""
    root = _read_root(message, body, _PUT)
    add = message.vectors.add
    for position, value in enumerate(body.elements(root.get("vectors", ABSENT), "vectors")):
        _fill_vector(add(), value, body, f"vectors[{position}]")


def _fill_vector(message: vector_pb2.Vector, value: object, body: Reader, path: str) -> None:
    members = body.members(value, path)
    body.pass_over(members, _VECTOR)
    message.key = body.string(members, "key", f"{path}.")
    if "data" in members:
        _fill_data(message.data, members["data"], body, f"{path}.data")
    if "metadata" in members:
        fill_metadata(message.metadata, members["metadata"], body, f"{path}.metadata")


def _fill_data(message: vector_pb2.VectorData, value: object, body: Reader, path: str) -> None:
    """Read the numbers of a vector; what says none at all, the server calls missing."""
    members = body.members(value, path)
    body.pass_over(members, _DATA)
    if "float32" in members:
        message.float32_le = body.float32_bytes(members["float32"], lambda: f"{path}.float32")
        if not message.float32_le:
            # In a message that would be the same as none.
            raise body.refused(path, "has 0 numbers; it must have as many as the index's dimension")


def fill_get(message: Any, body: Reader) -> None:
    """Read which vectors are wanted, and what of them."""
    root = _read_root(message, body, _GET)
    message.keys.extend(body.strings(root.get("keys", ABSENT), "keys"))
    _read_returns(message, body, root)


def fill_list(message: Any, body: Reader) -> None:
    """Read which vectors are to be listed, and what of them."""
    root = _read_root(message, body, _LIST)
    if "filter" in root:
        raise body.refused("filter", "is not supported in ListVectors")
    message.max_results = body.integer(root, "maxResults")
    message.next_token = body.string(root, "nextToken")
    message.segment_count = body.integer(root, "segmentCount")
    message.segment_index = body.integer(root, "segmentIndex")
    message.whole_page = True  # as OSS has no shorter ones, and one call is one request
    _read_returns(message, body, root)


def fill_delete(message: Any, body: Reader) -> None:
    """Read which vectors are to go."""
    root = _read_root(message, body, _DELETE)
    message.keys.extend(body.strings(root.get("keys", ABSENT), "keys"))


def fill_query(message: Any, body: Reader) -> None:
    """Read what is looked for."""
    root = _read_root(message, body, _QUERY)
    if "queryVector" in root:
        _fill_data(message.query_vector, root["queryVector"], body, "queryVector")
    message.top_k = body.integer(root, "topK")
    if "filter" in root:
        fill_filter(message.filter, root["filter"], body)
    message.return_distance = body.boolean(root, "returnDistance")
    message.return_metadata = body.boolean(root, "returnMetadata")


def _read_root(message: Any, body: Reader, known: frozenset[str]) -> Members:
    """Read which index is meant, and return the members of the body."""
    root = body.root()
    message.index_name = body.string(root, "indexName")
    body.pass_over(root, known)
    return root


def _read_returns(message: Any, body: Reader, root: Members) -> None:
    """Read what of the vectors is wanted; numbers are wanted as bytes."""
    message.return_data = body.boolean(root, "returnData")
    message.return_metadata = body.boolean(root, "returnMetadata")
    message.data_encoding = vector_pb2.DATA_ENCODING_FLOAT32_LE


# --- Outward ------------------------------------------------------------------------------------


def say_vectors(answer: Any, about: About) -> Reply:
    """Say the vectors."""
    return Reply(json_bytes({"vectors": _described(answer, about)}))


def say_page(answer: Any, about: About) -> Reply:
    """Say a page of vectors, and how to go on if there are more."""
    listed: dict[str, Any] = {"vectors": _described(answer, about)}
    if answer.next_token:
        listed["nextToken"] = answer.next_token
    return Reply(json_bytes(listed))


def say_hits(answer: Any, about: About) -> Reply:
    """Say what a query found."""
    with_metadata = about.request.return_metadata
    hits = []
    for hit in answer.vectors:
        said: dict[str, Any] = {"key": hit.key}
        if hit.HasField("distance"):
            said["distance"] = hit.distance
        if with_metadata:
            said["metadata"] = metadata_values(hit.metadata)
        hits.append(said)
    return Reply(json_bytes({"vectors": hits}))


def _described(answer: Any, about: About) -> list[dict[str, Any]]:
    """Return vectors as OSS describes them, with what was asked for and no more."""
    with_metadata = about.request.return_metadata
    described = []
    for vector in answer.vectors:
        said: dict[str, Any] = {"key": vector.key}
        if vector.HasField("data"):
            said["data"] = {"float32": np.frombuffer(vector.data.float32_le, "<f4")}
        if with_metadata:
            said["metadata"] = metadata_values(vector.metadata)
        described.append(said)
    return described


PUT = Conversion(messages.PutVectorsBatchRequest, Source.JSON, fill=fill_put)
GET = Conversion(messages.GetVectorsRequest, Source.JSON, fill=fill_get, reply=say_vectors)
LIST = Conversion(messages.ListVectorsRequest, Source.JSON, fill=fill_list, reply=say_page)
DELETE = Conversion(messages.DeleteVectorsRequest, Source.JSON, fill=fill_delete)
QUERY = Conversion(messages.QueryVectorsRequest, Source.JSON, fill=fill_query, reply=say_hits)
