"""Which index a request means, and what is wrong when it means none."""

from __future__ import annotations

import pytest

from vectorbucket.errors import (
    InvalidVectorBucketName,
    NoSuchBucket,
    NoSuchVectorIndex,
    VectorBucketError,
    VectorIndexParameterInvalid,
)
from vectorbucket.limits import OSS, UNLIMITED
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Bucket, DistanceMetric, Index
from vectorbucket_server.service.resources import find_bucket, find_index


@pytest.fixture
def engine() -> MemoryEngine:
    engine = MemoryEngine()
    engine.open()
    engine.put_bucket(Bucket("photos", "1", 0), buckets_max=10)
    engine.put_index(Index("photos", "faces", 4, DistanceMetric.COSINE), indexes_max=10)
    return engine


def test_what_exists_is_found(engine: MemoryEngine) -> None:
    assert find_bucket(engine, OSS, "photos").name == "photos"
    assert find_index(engine, OSS, "photos", "faces").dimension == 4


@pytest.mark.parametrize(
    ("bucket", "index_name", "error"),
    [
        ("", "faces", InvalidVectorBucketName),
        ("NO", "faces", InvalidVectorBucketName),
        ("NO", "", InvalidVectorBucketName),
        ("nowhere", "faces", NoSuchBucket),
        ("nowhere", "no-name", NoSuchBucket),
        ("photos", "", VectorIndexParameterInvalid),
        ("photos", "no-name", VectorIndexParameterInvalid),
        ("photos", "nothing", NoSuchVectorIndex),
    ],
)
def test_what_is_missing_or_misnamed_is_told_in_the_order_of_the_contract(
    engine: MemoryEngine, bucket: str, index_name: str, error: type[VectorBucketError]
) -> None:
    with pytest.raises(error):
        find_index(engine, OSS, bucket, index_name)


def test_names_are_judged_by_the_limits_in_force(engine: MemoryEngine) -> None:
    with pytest.raises(NoSuchVectorIndex):
        find_index(engine, UNLIMITED, "photos", "no-name")


@pytest.mark.parametrize(
    ("bucket", "error"), [("x", InvalidVectorBucketName), ("nowhere", NoSuchBucket)]
)
def test_missing_and_misnamed_buckets_are_told_apart(
    engine: MemoryEngine, bucket: str, error: type[VectorBucketError]
) -> None:
    with pytest.raises(error):
        find_bucket(engine, OSS, bucket)
