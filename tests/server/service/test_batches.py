"""A request's vectors as a batch: converted whole, checked in order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rpc import some_vectors, vector_of
from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.limits import OSS, Limits
from vectorbucket.v1 import vector_pb2
from vectorbucket_server.model import DistanceMetric, Index
from vectorbucket_server.service.batches import batch_of

INDEX = Index("photos", "faces", 4, DistanceMetric.COSINE, ("blob",))


def test_batch_holds_what_the_message_said() -> None:
    batch = batch_of(
        [
            vector_of("a", (1, 2, 3, 4), {"title": "x", "tags": ["a", "b"]}),
            vector_of("b", (5, 6, 7, 8), as_bytes=True),
        ],
        INDEX,
        OSS,
    )
    assert batch.keys == ("a", "b")
    assert batch.data.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert batch.metadata == ({"title": "x", "tags": ["a", "b"]}, {})


def test_batch_does_not_share_memory_with_the_message() -> None:
    message = vector_of("a", as_bytes=True)
    batch = batch_of([message], INDEX, OSS)
    batch.data[0, 0] = 99
    assert np.frombuffer(message.data.float32_le, "<f4")[0] == 1


def test_largest_batch_of_the_profile_passes() -> None:
    assert len(batch_of(some_vectors(500), INDEX, OSS)) == 500
    assert len(batch_of(some_vectors(7), INDEX, Limits(put_vectors_max=7))) == 7
    with pytest.raises(VectorIndexParameterInvalid, match="8 elements; there must be 1 to 7"):
        batch_of(some_vectors(8), INDEX, Limits(put_vectors_max=7))


@pytest.mark.parametrize(
    ("vectors", "field"),
    [
        ([], "vectors"),
        ([vector_of("a"), vector_of("", (math.nan,), {"$": None})], "vectors[1].key"),
        ([vector_of("a"), vector_of("a", (math.nan,))], "vectors[1].key"),
        ([vector_of("a"), vector_of("b", (math.nan,))], "vectors[1].data"),
        ([vector_of("a", (1, 2, 3, math.inf)), vector_of("b", (1,))], "vectors[1].data"),
        ([vector_of("a", metadata={"t": None}), vector_of("b", (0,) * 4)], "vectors[1].data"),
        ([vector_of("a", metadata={"$": "x"}), vector_pb2.Vector(key="b")], "vectors[1].data"),
        ([vector_of("a", metadata={"$": "x"})], "vectors[0].metadata"),
    ],
)
def test_first_fault_in_the_order_of_the_checks_is_named(
    vectors: list[vector_pb2.Vector], field: str
) -> None:
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        batch_of(vectors, INDEX, OSS)
    assert caught.value.field == field
