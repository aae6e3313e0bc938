"""Values of the client → JSON in the spelling of OSS, as its REST API and SDKs have it.

Rules of this file: pure. What OSS has no word for is spelled as the contract's fields are, in
camelCase, and stands beside what OSS has. Numbers of vectors are written in the shortest form that
reads back as the same float32; metadata stands in the order of its names; what was not asked for
is left out.

Source: the pages of the OSS Vectors API; protobuf's JSON mapping for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeAlias

from vectorbucket import (
    BackupInfo,
    BucketInfo,
    BucketLogging,
    Hit,
    IndexInfo,
    RejectedBatch,
    ServerStatistics,
    Vector,
)

Document: TypeAlias = dict[str, Any]
"""One JSON object."""

_GRAPH = ("m", "ef_construction", "ef_search")

_COUNTS = (
    "vector_count",
    "pending_vector_count",
    "loaded",
    "dead_share",
    "rebuilding",
    "memory_bytes",
    "disk_bytes",
    "checkpoint_time",
)
"""What an index is shown with beside what OSS says of it."""


def bucket_document(bucket: BucketInfo) -> Document:
    """Return a bucket; its endpoints are those of another listener, which gRPC does not know."""
    return {
        "Name": f"acs:ossvector:{bucket.region}:{bucket.account_id}:{bucket.bucket}",
        "CreationDate": time_text(bucket.create_time),
        "Location": f"oss-{bucket.region}",
        "Region": bucket.region,
    }


def logging_document(logging: BucketLogging | None) -> Document:
    """Return where a bucket is logged; nothing inside where it is not."""
    enabled = {}
    if logging is not None:
        enabled = {
            "TargetBucket": logging.target_bucket,
            "TargetPrefix": logging.target_prefix,
            "LoggingRole": logging.logging_role,
        }
    return {"BucketLoggingStatus": {"LoggingEnabled": enabled}}


def index_document(index: IndexInfo) -> Document:
    """Return the definition of an index."""
    document: Document = {
        "indexName": index.index_name,
        "createTime": time_text(index.create_time),
        "dataType": index.data_type,
        "dimension": index.dimension,
        "distanceMetric": index.distance_metric,
        "metadata": {"nonFilterableMetadataKeys": list(index.non_filterable_metadata_keys)},
        "status": index.status,
        "vectorBucketName": index.bucket,
    }
    if graph := _named(index, _GRAPH):
        document["graph"] = graph
    return document


def index_facts_document(index: IndexInfo) -> Document:
    """Return what is known of one index: its definition, and beside it how it fares."""
    return {"index": index_document(index), **_named(index, _COUNTS)}


def vector_document(vector: Vector) -> Document:
    """Return a vector, with what was asked for."""
    document: Document = {"key": vector.key}
    if vector.data is not None:
        document["data"] = {"float32": [float(str(number)) for number in vector.data]}
    if vector.metadata is not None:
        document["metadata"] = dict(sorted(vector.metadata.items()))
    return document


def hits_document(hits: Sequence[Hit]) -> Document:
    """Return what a query found, nearest first."""
    return {"vectors": [_hit_document(hit) for hit in hits]}


def _hit_document(hit: Hit) -> Document:
    document: Document = {"key": hit.key}
    if hit.distance is not None:
        document["distance"] = hit.distance
    if hit.metadata is not None:
        document["metadata"] = dict(sorted(hit.metadata.items()))
    return document


def rejected_document(batch: RejectedBatch) -> Document:
    """Return a batch that was rejected, and why."""
    return {
        "firstPosition": batch.first_position,
        "vectorCount": batch.count,
        "code": batch.error.code,
        "message": batch.error.message,
    }


def statistics_document(statistics: ServerStatistics) -> Document:
    """Return what a server holds and takes."""
    return _named(statistics, tuple(field.name for field in fields(statistics)))


def backup_document(backup: BackupInfo) -> Document:
    """Return a backup."""
    return _named(backup, tuple(field.name for field in fields(backup)))


def time_text(moment: datetime) -> str:
    """Return a time as ``2025-04-17T01:33:47.000Z``."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def camel_case(name: str) -> str:
    """Return a name of the contract as JSON spells it: ``vector_count`` is ``vectorCount``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _named(value: object, names: Sequence[str]) -> Document:
    """Return attributes that are known, by their names in JSON."""
    found = {camel_case(name): getattr(value, name) for name in names}
    return {
        name: time_text(one) if isinstance(one, datetime) else one
        for name, one in found.items()
        if one is not None
    }
