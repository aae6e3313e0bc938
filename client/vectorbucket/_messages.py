"""Messages of the contract ↔ the values that callers hold.

Rules of this file: pure; the only knower of both sides for whole answers (metadata, filters and
numbers have files of their own). What a message's field cannot say at all (a metric that does not
exist, a number past 32 bits) is refused here, in the contract's words; everything else is the
server's to judge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC
from typing import Any

import numpy as np

from vectorbucket._metadata import read_metadata
from vectorbucket._models import (
    BackupInfo,
    BucketInfo,
    BucketLogging,
    Float32Array,
    Hit,
    IndexInfo,
    ServerStatistics,
    Vector,
)
from vectorbucket.errors import InvalidRequest, VectorIndexParameterInvalid
from vectorbucket.v1 import (
    bucket_pb2,
    index_pb2,
    index_service_pb2,
    operations_service_pb2,
    vector_pb2,
)

_METRICS = {
    "cosine": index_pb2.DISTANCE_METRIC_COSINE,
    "euclidean": index_pb2.DISTANCE_METRIC_EUCLIDEAN,
}
_METRIC_NAMES = {number: name for name, number in _METRICS.items()}

_COUNTS = (
    "vector_count",
    "pending_vector_count",
    "loaded",
    "dead_share",
    "rebuilding",
    "memory_bytes",
    "disk_bytes",
)
"""What GetVectorIndex says beside the index itself; the time of the checkpoint is read apart."""


def metric_number(name: str) -> index_pb2.DistanceMetric:
    """Return the enum value of a distance metric.

    Raises:
        VectorIndexParameterInvalid: There is no such metric.
    """
    number = _METRICS.get(name)
    if number is None:
        raise VectorIndexParameterInvalid(
            f"distance_metric is {name!r}; it must be 'cosine' or 'euclidean'",
            field="distance_metric",
        )
    return number


def int32(field: str, value: int, error: type[InvalidRequest] = VectorIndexParameterInvalid) -> int:
    """Return a number that fits the contract's int32 fields.

    Args:
        field: The field's name, for the message.
        value: What the caller gave.
        error: What to raise.

    Raises:
        InvalidRequest: It is no whole number, or past 32 bits.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise error(f"{field} is {value!r}; it must be a whole number", field=field)
    if not -(2**31) <= value < 2**31:
        raise error(f"{field} is {value}; the contract's numbers have 32 bits", field=field)
    return int(value)


def optional_int32(field: str, value: int | None) -> int | None:
    """Return a number as ``int32`` does; None, which leaves the field unset, stays None."""
    return None if value is None else int32(field, value)


def key_list(keys: Iterable[str], name: str = "keys") -> list[str]:
    """Return keys, or other names, as a list of texts.

    Raises:
        VectorIndexParameterInvalid: One text instead of several, or a key that is no text.
    """
    if isinstance(keys, str):
        raise VectorIndexParameterInvalid(
            f"{name} is the text {keys!r}; it must be a list of texts", field=name
        )
    listed = list(keys)
    for position, key in enumerate(listed):
        field = f"{name}[{position}]"
        if not isinstance(key, str):
            raise VectorIndexParameterInvalid(f"{field} is {key!r}; it must be text", field=field)
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise VectorIndexParameterInvalid(
                f"{field} is {key!a}, which is no Unicode text", field=field
            ) from error
    return listed


def vector_data(array: Float32Array) -> vector_pb2.VectorData:
    """Return float32 numbers, row by row, as the message that carries them: always as bytes."""
    return vector_pb2.VectorData(float32_le=array.tobytes())


def read_data(message: vector_pb2.VectorData) -> Float32Array:
    """Return the numbers of a message: float32, shape (dimension,), read-only."""
    if message.float32:
        array = np.array(message.float32, dtype=np.float32)
        array.flags.writeable = False
        return array
    return np.frombuffer(message.float32_le, dtype="<f4").astype(np.float32, copy=False)


def read_vectors(
    messages: Iterable[vector_pb2.Vector], *, data: bool, metadata: bool
) -> list[Vector]:
    """Return vectors, with what was asked for."""
    return [
        Vector(
            message.key,
            read_data(message.data) if data else None,
            read_metadata(message.metadata) if metadata else None,
        )
        for message in messages
    ]


def read_hits(messages: Iterable[vector_pb2.Hit], *, metadata: bool) -> list[Hit]:
    """Return hits, nearest first, with what was asked for."""
    return [
        Hit(
            message.key,
            message.distance if message.HasField("distance") else None,
            read_metadata(message.metadata) if metadata else None,
        )
        for message in messages
    ]


def read_bucket(message: bucket_pb2.Bucket) -> BucketInfo:
    """Return a bucket."""
    return BucketInfo(
        bucket=message.bucket,
        account_id=message.account_id,
        create_time=message.create_time.ToDatetime(UTC),
        region=message.region,
    )


def logging_message(logging: BucketLogging) -> bucket_pb2.BucketLogging:
    """Return where to log a bucket as the message that says it."""
    return bucket_pb2.BucketLogging(
        target_bucket=logging.target_bucket,
        target_prefix=logging.target_prefix,
        logging_role=logging.logging_role,
    )


def read_logging(message: bucket_pb2.BucketLogging) -> BucketLogging:
    """Return where a bucket is logged."""
    return BucketLogging(message.target_bucket, message.target_prefix, message.logging_role)


def read_index(
    message: index_pb2.Index,
    counts: index_service_pb2.GetVectorIndexResponse | None = None,
) -> IndexInfo:
    """Return an index, with its counts where the answer holds them."""
    graph = message.graph
    counted: dict[str, Any] = {}
    if counts is not None:
        counted = {name: getattr(counts, name) for name in _COUNTS}
        if counts.HasField("checkpoint_time"):
            counted["checkpoint_time"] = counts.checkpoint_time.ToDatetime(UTC)
    return IndexInfo(
        bucket=message.bucket,
        index_name=message.index_name,
        data_type=_word(index_pb2.DataType, message.data_type, "DATA_TYPE_"),
        dimension=message.dimension,
        distance_metric=_METRIC_NAMES.get(message.distance_metric, str(message.distance_metric)),
        non_filterable_metadata_keys=tuple(message.metadata.non_filterable_metadata_keys),
        create_time=message.create_time.ToDatetime(UTC),
        status=_word(index_pb2.IndexStatus, message.status, "INDEX_STATUS_"),
        m=graph.m if graph.HasField("m") else None,
        ef_construction=graph.ef_construction if graph.HasField("ef_construction") else None,
        ef_search=graph.ef_search if graph.HasField("ef_search") else None,
        **counted,
    )


def read_statistics(
    message: operations_service_pb2.GetServerStatisticsResponse,
) -> ServerStatistics:
    """Return what a server says of itself."""
    facts = {
        field.name: getattr(message, field.name)
        for field in fields(ServerStatistics)
        if field.name != "start_time"
    }
    return ServerStatistics(start_time=message.start_time.ToDatetime(UTC), **facts)


def read_backup(message: operations_service_pb2.Backup) -> BackupInfo:
    """Return a backup."""
    return BackupInfo(
        name=message.name,
        create_time=message.create_time.ToDatetime(UTC),
        size_bytes=message.size_bytes,
        path=message.path,
    )


def _word(enum: Any, number: int, prefix: str) -> str:
    """Return an enum value as OSS writes it; one of a newer contract as its number."""
    if number not in enum.values():
        return str(number)
    name: str = enum.Name(number)
    return name.removeprefix(prefix).lower()
