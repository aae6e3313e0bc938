"""A put request's vectors -> a checked batch: the same for a message of a stream and a unary call.

Rules of this file: the order of the checks: how many, which keys, the numbers, the metadata; the
first fault is the one that is named.
"""

from __future__ import annotations

from collections.abc import Sequence

from vectorbucket.limits import Limits
from vectorbucket.v1 import vector_pb2
from vectorbucket_server.model import Index, VectorBatch
from vectorbucket_server.service.checks import check_count
from vectorbucket_server.service.convert import data_matrix, metadata_of
from vectorbucket_server.service.vector_checks import (
    check_keys,
    check_metadata,
    check_numbers,
    check_unique,
)

_KEY = "vectors[{}].key"
_DATA = "vectors[{}].data"
_METADATA = "vectors[{}].metadata"


def batch_of(vectors: Sequence[vector_pb2.Vector], index: Index, limits: Limits) -> VectorBatch:
    """Return the vectors of a request as a batch that the index can take.

    Raises:
        VectorIndexParameterInvalid: They cannot be put; says which vector, which value, which
            limit.
    """
    check_count("vectors", len(vectors), limits.put_vectors_max)
    keys = tuple([vector.key for vector in vectors])
    check_keys(keys, _KEY, limits)
    check_unique(keys, _KEY)
    data = data_matrix([vector.data for vector in vectors], index.dimension, _DATA)
    check_numbers(data, index.metric, _DATA)
    metadata = tuple(
        [
            metadata_of(vector.metadata, _METADATA, position)
            for position, vector in enumerate(vectors)
        ]
    )
    check_metadata(metadata, index, _METADATA, limits)
    return VectorBatch(keys, data, metadata)
