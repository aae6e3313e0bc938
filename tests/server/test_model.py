"""Tests of model.py: values check themselves when they are made, and cannot be changed."""

from __future__ import annotations

import dataclasses
import random
import zlib
from typing import Any

import numpy as np
import pytest

from vectorbucket_server.model import (
    WHOLE,
    Bucket,
    BucketLogging,
    DistanceMetric,
    GraphOptions,
    Hit,
    Index,
    IndexStatistics,
    Page,
    Query,
    Segment,
    Vector,
    VectorBatch,
)


def batch(**changes: Any) -> VectorBatch:
    """Return a batch of two vectors of three numbers, with some columns changed."""
    columns: dict[str, Any] = {
        "keys": ("a", "b"),
        "data": np.ones((2, 3), np.float32),
        "metadata": ({}, {"f": "x"}),
    }
    return VectorBatch(**(columns | changes))


# --- Batches ------------------------------------------------------------------------------------


def test_batch_holds_columns_of_equal_length() -> None:
    made = batch()
    assert len(made) == 2
    assert made.data.shape == (2, 3)
    assert made.metadata[1] == {"f": "x"}


def test_batch_may_be_empty() -> None:
    made = VectorBatch((), np.empty((0, 3), np.float32), ())
    assert len(made) == 0


@pytest.mark.parametrize(
    "data",
    [
        np.ones((2, 3)),
        np.ones((2, 3), np.float16),
        np.ones((2, 3), np.int32),
        np.ones((2, 3), ">f4"),
        np.ones(2, np.float32),
        np.ones((2, 3, 1), np.float32),
    ],
    ids=["float64", "float16", "int32", "big-endian", "one axis", "three axes"],
)
def test_data_that_are_no_float32_matrix_are_refused(data: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match="not a float32 matrix"):
        batch(data=data)


@pytest.mark.parametrize(
    "data",
    [np.ones((3, 2), np.float32).T, np.ones((2, 6), np.float32)[:, ::2]],
    ids=["transposed", "strided"],
)
def test_data_that_are_not_contiguous_are_refused(data: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match="not C-contiguous"):
        batch(data=data)


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": ("a",)},
        {"keys": ("a", "b", "c")},
        {"data": np.ones((1, 3), np.float32)},
        {"metadata": ({},)},
    ],
)
def test_columns_of_different_length_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="are not the same number"):
        batch(**changes)


def test_key_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="a key stands twice in a batch"):
        batch(keys=("a", "a"))


def test_keys_that_differ_only_in_form_are_two() -> None:
    assert len(batch(keys=("é", "e\u0301"))) == 2


# --- Segments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_segments_part_the_keys_without_gap_or_overlap(count: int) -> None:
    seeded = random.Random(count)
    keys = [seeded.randbytes(seeded.randint(1, 40)) for _ in range(500)]
    segments = [Segment(position, count) for position in range(count)]
    held = [sum(segment.holds(key) for segment in segments) for key in keys]
    assert held == [1] * len(keys)
    # None is nearly empty either: that would be no help to a parallel reader.
    shares = [sum(map(segment.holds, keys)) for segment in segments]
    assert min(shares) > len(keys) / count / 2


def test_segment_of_a_key_is_its_crc32() -> None:
    # The SDKs' own test puts this key and expects it in the second of two segments.
    key = b"vector-key-1"
    assert zlib.crc32(key) == 125753393
    assert Segment(1, 2).holds(key)
    assert not Segment(0, 2).holds(key)


def test_whole_is_one_segment_with_every_key() -> None:
    assert Segment() == WHOLE
    assert all(WHOLE.holds(key) for key in (b"", b"a", b"\xff" * 1024))


@pytest.mark.parametrize(("position", "count"), [(-1, 2), (2, 2), (3, 2), (0, 0), (0, -1)])
def test_segment_that_does_not_exist_is_refused(position: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"segment {position} of {count} does not exist"):
        Segment(position, count)


# --- All of them --------------------------------------------------------------------------------

INDEX = Index("photos", "faces", 3, DistanceMetric.COSINE)

VALUES: tuple[Any, ...] = (
    Bucket("photos", "1234567890", created_ms=1),
    BucketLogging("logs"),
    INDEX,
    GraphOptions(m=16),
    IndexStatistics(5, 2),
    batch(),
    Vector("a"),
    Query(np.ones((1, 3), np.float32), top_k=1),
    Hit("a", 0.5),
    WHOLE,
    Page([1, 2], None),
)
"""One of every kind."""


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_value_cannot_be_changed(value: Any) -> None:
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
    assert not hasattr(value, "__dict__")


def test_metrics_are_named_as_the_dialect_names_them() -> None:
    assert {metric.value for metric in DistanceMetric} == {"euclidean", "cosine"}


def test_bucket_has_no_policy_and_no_logging_unless_they_are_said() -> None:
    bucket = Bucket("photos", "1234567890", created_ms=1)
    assert (bucket.policy, bucket.logging) == ("", None)


def test_bucket_is_the_same_with_other_settings_and_another_one_of_another_making() -> None:
    bucket = Bucket("photos", "1234567890", created_ms=1)
    assert bucket.is_same(dataclasses.replace(bucket, policy="{}", logging=BucketLogging("logs")))
    for changed in ({"name": "videos"}, {"account_id": "1"}, {"created_ms": 2}):
        assert not bucket.is_same(dataclasses.replace(bucket, **changed))


def test_logging_needs_only_a_target() -> None:
    assert BucketLogging("logs") == BucketLogging("logs", target_prefix="", logging_role="")


def test_index_made_again_is_another_one() -> None:
    first = dataclasses.replace(INDEX, index_id=1)
    second = dataclasses.replace(INDEX, index_id=2)
    assert first != second
    assert len({first, second, INDEX}) == 3
    assert INDEX.non_filterable_keys == ()


def test_query_takes_all_vectors_and_answers_no_metadata_by_default() -> None:
    query = Query(np.ones((1, 3), np.float32), top_k=1)
    assert query.filter is None
    assert query.return_metadata is False
    assert query.ef_search is None


def test_graph_is_left_to_the_engine_by_default() -> None:
    assert INDEX.graph == GraphOptions(None, None, None)
    wider = dataclasses.replace(INDEX, graph=GraphOptions(ef_search=200))
    assert len({wider, INDEX}) == 2


def test_vector_shows_nothing_that_was_not_asked_for() -> None:
    vector = Vector("a")
    assert vector.data is None
    assert vector.metadata is None


def test_hits_are_equal_when_they_say_the_same() -> None:
    assert Hit("a", 0.5, {"f": "x"}) == Hit("a", 0.5, {"f": "x"})
    assert Hit("a", 0.5, {"f": "x"}) != Hit("a", 0.5, {"f": "y"})
    assert Hit("a", 0.5) != Hit("a", 0.25)
