"""One good call of every RPC of the contract, and what can be seen of a bucket afterwards.

Rules of this file: a call is good wherever bucket and index are there, one vector at least is in
the index, and the caller may; it returns when it is answered to the end, or raises. Those that
operators make are good on a server over an engine that keeps things on a disk, with a backup
``kept``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from rpc import Stubs, data_of, index_request, put_message, query_request, vector_of
from vectorbucket.v1 import (
    bucket_pb2,
    index_service_pb2,
    operations_service_pb2,
    vector_service_pb2,
)
from vectorbucket.v1 import bucket_service_pb2 as buckets

KEY = "key"
"""The vector that the calls are about."""

POLICY = (
    '{"Version":"1","Statement":[{"Effect":"Allow","Principal":["nobody"],'
    '"Action":["oss:*"],"Resource":["*"]}]}'
)
"""A policy that says nothing of anybody."""

RpcCall: TypeAlias = Callable[[Stubs, str, str], object]
"""Calls an RPC about a bucket and an index."""


def _bucket_call(rpc: str, **fields: Any) -> RpcCall:
    request = getattr(buckets, f"{rpc}Request")
    return lambda stubs, bucket, _: getattr(stubs.buckets, rpc)(request(bucket=bucket, **fields))


def _index_call(rpc: str) -> RpcCall:
    request = getattr(index_service_pb2, f"{rpc}Request")
    return lambda stubs, bucket, index_name: getattr(stubs.indexes, rpc)(
        request(bucket=bucket, index_name=index_name)
    )


def _vector_call(rpc: str, **fields: Any) -> RpcCall:
    request = getattr(vector_service_pb2, f"{rpc}Request")

    def call(stubs: Stubs, bucket: str, index_name: str) -> object:
        answer = getattr(stubs.vectors, rpc)(
            request(bucket=bucket, index_name=index_name, **fields)
        )
        return answer if isinstance(answer, Message) else list(answer)

    return call


def _put_stream(stubs: Stubs, bucket: str, index_name: str) -> object:
    message = put_message(1, vector_of("more"), bucket=bucket, index_name=index_name)
    return list(stubs.vectors.PutVectors(iter([message])))


CALLS: Mapping[str, RpcCall] = {
    "PutVectorBucket": _bucket_call("PutVectorBucket"),
    "GetVectorBucket": _bucket_call("GetVectorBucket"),
    "ListVectorBuckets": lambda stubs, *_: stubs.buckets.ListVectorBuckets(
        buckets.ListVectorBucketsRequest()
    ),
    "DeleteVectorBucket": _bucket_call("DeleteVectorBucket"),
    "PutBucketPolicy": _bucket_call("PutBucketPolicy", policy=POLICY),
    "GetBucketPolicy": _bucket_call("GetBucketPolicy"),
    "DeleteBucketPolicy": _bucket_call("DeleteBucketPolicy"),
    "PutBucketLogging": _bucket_call(
        "PutBucketLogging", logging=bucket_pb2.BucketLogging(target_bucket="other")
    ),
    "GetBucketLogging": _bucket_call("GetBucketLogging"),
    "DeleteBucketLogging": _bucket_call("DeleteBucketLogging"),
    "PutVectorIndex": lambda stubs, bucket, index_name: stubs.indexes.PutVectorIndex(
        index_request(bucket, index_name)
    ),
    "GetVectorIndex": _index_call("GetVectorIndex"),
    "ListVectorIndexes": lambda stubs, bucket, _: stubs.indexes.ListVectorIndexes(
        index_service_pb2.ListVectorIndexesRequest(bucket=bucket)
    ),
    "DeleteVectorIndex": _index_call("DeleteVectorIndex"),
    "PutVectors": _put_stream,
    "PutVectorsBatch": _vector_call("PutVectorsBatch", vectors=[vector_of("more")]),
    "GetVectors": _vector_call("GetVectors", keys=[KEY]),
    "ListVectors": _vector_call("ListVectors"),
    "ScanVectors": _vector_call("ScanVectors"),
    "DeleteVectors": _vector_call("DeleteVectors", keys=[KEY]),
    "QueryVectors": lambda stubs, bucket, index_name: stubs.vectors.QueryVectors(
        query_request(bucket=bucket, index_name=index_name)
    ),
    "QueryVectorsBatch": _vector_call(
        "QueryVectorsBatch", query_vectors=data_of([1.0, 2.0, 3.0, 4.0]), top_k=1
    ),
}
"""A good call of every RPC, by its name."""


def _operation(rpc: str, **fields: Any) -> RpcCall:
    request = getattr(operations_service_pb2, f"{rpc}Request")
    return lambda stubs, *_: getattr(stubs.operations, rpc)(request(**fields))


def _operation_on_index(rpc: str) -> RpcCall:
    request = getattr(operations_service_pb2, f"{rpc}Request")
    return lambda stubs, bucket, index_name: getattr(stubs.operations, rpc)(
        request(bucket=bucket, index_name=index_name)
    )


OPERATED_CALLS: Mapping[str, RpcCall] = {
    rpc: _operation_on_index(rpc)
    for rpc in ("RebuildVectorIndex", "LoadVectorIndex", "UnloadVectorIndex")
}
"""A good call of every RPC that operates an index, by its name."""

OPERATOR_CALLS: Mapping[str, RpcCall] = {
    "GetServerStatistics": _operation("GetServerStatistics"),
    "GetMetrics": _operation("GetMetrics"),
    "PutBackup": _operation("PutBackup", name="made"),
    "ListBackups": _operation("ListBackups"),
    "DeleteBackup": _operation("DeleteBackup", name="kept"),
}
"""A good call of every RPC that operates the server, by its name."""


def sight_of(stubs: Stubs, bucket: str) -> list[str]:
    """Return all that can be seen of a bucket, for comparing; of one that is not there, nothing.

    Args:
        stubs: Of a caller who may see everything.
        bucket: The bucket.
    """
    seen: list[str] = []
    for rpc in ("GetVectorBucket", "GetBucketPolicy", "GetBucketLogging", "ListVectorIndexes"):
        with contextlib.suppress(grpc.RpcError):
            seen.append(str(CALLS[rpc](stubs, bucket, "")))
    if seen:
        request = index_service_pb2.ListVectorIndexesRequest(bucket=bucket)
        for index in stubs.indexes.ListVectorIndexes(request).indexes:
            seen += stubs.all_keys(bucket, index.index_name)
    return seen
