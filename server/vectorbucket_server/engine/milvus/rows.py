"""Vectors as rows of a collection and back; distances in the contract's unit.

Rules of this file: pure functions; what Milvus cannot hold is refused here, with its limit, before
anything is stored.

Source: limits of a VARCHAR and of a JSON field as Milvus 2.3 has them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket_server.engine.milvus.definitions import (
    FILTERABLE,
    HASH,
    KEY,
    KEY_BYTES_MAX,
    METADATA,
    VECTOR,
)
from vectorbucket_server.engine.milvus.pushdown import filterable_document
from vectorbucket_server.model import (
    DistanceMetric,
    Float32Array,
    Index,
    Metadata,
    Vector,
    VectorBatch,
)
from vectorbucket_server.naming import shown

JSON_BYTES_MAX = 65_536
"""Bytes of a JSON field."""

_MESSAGE_BYTES = 32 * 1024 * 1024
"""Bytes of the rows of one message, about: Milvus takes 64 MiB, all around them included."""

LENGTH_MIN, LENGTH_MAX = 1e-15, 1e15
"""Between these is the length of a vector (its Euclidean norm), unless it is zero. Milvus measures
in float32: what is much shorter or longer squares to nothing, or to infinity."""

_METRICS = {DistanceMetric.EUCLIDEAN: "L2", DistanceMetric.COSINE: "COSINE"}


def metric_name(metric: DistanceMetric) -> str:
    """Return what Milvus calls a metric."""
    return _METRICS[metric]


def distance_of(metric: DistanceMetric, measured: float) -> float:
    """Return a distance from what Milvus measures: the square of it, or the cosine."""
    if metric is DistanceMetric.EUCLIDEAN:
        return math.sqrt(max(0.0, measured))
    return min(2.0, max(0.0, 1.0 - measured))


def rows_of(index: Index, batch: VectorBatch) -> list[dict[str, Any]]:
    """Return a batch as rows.

    Raises:
        VectorIndexParameterInvalid: A key or metadata is longer than Milvus can hold, or a vector
            longer or shorter than it can measure.
    """
    check_lengths(batch.data, "vectors[{}].data")
    return [
        {
            KEY: _checked_key(number, key),
            VECTOR: vector,
            METADATA: _checked_json(number, METADATA, metadata),
            FILTERABLE: _checked_json(
                number, FILTERABLE, filterable_document(metadata, index.non_filterable_keys)
            ),
            HASH: zlib.crc32(key.encode()),
        }
        for number, (key, vector, metadata) in enumerate(
            zip(batch.keys, batch.data, batch.metadata, strict=True)
        )
    ]


def in_messages(rows: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield rows in parts, each of which fits one message to Milvus."""
    part: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        texts = row[KEY], row[METADATA], row[FILTERABLE]
        row_size = row[VECTOR].nbytes + sum(len(text.encode()) for text in texts)
        if part and size + row_size > _MESSAGE_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += row_size
    if part:
        yield part


def check_lengths(vectors: Float32Array, field: str) -> None:
    """Return if Milvus can measure vectors.

    Args:
        vectors: float32, shape (n, dimension).
        field: The path of one in the request, with ``{}`` for its number.

    Raises:
        VectorIndexParameterInvalid: It cannot measure one of them.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    wrong = np.flatnonzero((lengths != 0) & ((lengths < LENGTH_MIN) | (lengths > LENGTH_MAX)))
    if wrong.size:
        number = int(wrong[0])
        path = field.format(number)
        raise VectorIndexParameterInvalid(
            f"{path} has the length (Euclidean norm) {lengths[number]:.3g}; Milvus measures "
            f"vectors of length {LENGTH_MIN:g} to {LENGTH_MAX:g}, and zero",
            field=path,
            details={"limit": f"{LENGTH_MAX:g}"},
        )


def searchable(metric: DistanceMetric, queries: Float32Array) -> Float32Array:
    """Return queries as Milvus can measure them: float32, of the same shape.

    Raises:
        VectorIndexParameterInvalid: It cannot measure one of them.
    """
    if metric is DistanceMetric.COSINE:
        # Only the angle counts.
        lengths = np.linalg.norm(queries.astype(np.float64), axis=1, keepdims=True)
        scaled: Float32Array = (queries / lengths).astype(np.float32)
        return scaled
    check_lengths(queries, "query_vector")
    return queries


def vector_of(row: Mapping[str, Any], *, data: bool, metadata: bool) -> Vector:
    """Return a row as a vector, with what was asked for."""
    return Vector(
        row[KEY],
        np.array(row[VECTOR], np.float32) if data else None,
        metadata_of(row) if metadata else None,
    )


def metadata_of(row: Mapping[str, Any]) -> Metadata:
    """Return the metadata of a row."""
    stored: Any = row[METADATA]
    found = orjson.loads(stored) if isinstance(stored, (str, bytes)) else stored
    return {name: _value(value) for name, value in found.items()}


def _value(value: Any) -> Any:
    """Return a value with its numbers as floats, which they are in the contract."""
    if isinstance(value, list):
        return [_value(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def fields_of(*, data: bool, metadata: bool) -> Sequence[str]:
    """Return which fields of a row are asked for."""
    return [KEY, *([VECTOR] if data else []), *([METADATA] if metadata else [])]


def _checked_key(number: int, key: str) -> str:
    size = len(key.encode())
    if size > KEY_BYTES_MAX:
        field = f"vectors[{number}].key"
        raise VectorIndexParameterInvalid(
            f"{field} {shown(key)} has {size} bytes; Milvus holds keys of {KEY_BYTES_MAX}",
            field=field,
            details={"limit": str(KEY_BYTES_MAX)},
        )
    return key


def _checked_json(number: int, field: str, value: Metadata) -> str:
    """Return what goes into a JSON field, as text (the client takes that quickest), if it fits."""
    text = orjson.dumps(value)
    size = len(text)
    if size > JSON_BYTES_MAX:
        path = f"vectors[{number}].metadata"
        prepared = "" if field == METADATA else ", prepared for filters,"
        way_out = "" if field == METADATA else ", and less without fields that are not filterable"
        raise VectorIndexParameterInvalid(
            f"{path}{prepared} takes {size} bytes as JSON; Milvus holds {JSON_BYTES_MAX}{way_out}",
            field=path,
            details={"limit": str(JSON_BYTES_MAX)},
        )
    return text.decode()
