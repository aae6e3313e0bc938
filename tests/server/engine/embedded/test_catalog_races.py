"""Definitions under races: of many who make the same, one does; limits hold; nothing comes back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from rooms import BUCKET, MANY, make_index, together
from vectorbucket.errors import (
    BucketNameNotAvailable,
    NoSuchBucket,
    NoSuchVectorIndex,
    TooManyBuckets,
    VectorBucketIndexAlreadyExist,
    VectorBucketIndexExceedLimit,
    VectorBucketNotEmpty,
)
from vectorbucket_server.engine.embedded.catalog import Catalog
from vectorbucket_server.engine.embedded.schema import Family, bucket_key
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Bucket, Index

THREADS = 100


@pytest.fixture(name="catalog")
def fixture_catalog(store: Store) -> Catalog:
    """Return a catalogue with BUCKET in it."""
    catalog = Catalog(store)
    catalog.put_bucket(BUCKET, MANY)
    return catalog


def bucket(name: str) -> Bucket:
    """Return a bucket to make."""
    return replace(BUCKET, name=name)


def index(name: str, bucket_name: str = BUCKET.name) -> Index:
    """Return an index to make."""
    return replace(make_index(name=name), bucket_name=bucket_name, index_id=0)


def kinds(outcomes: list[object]) -> dict[type, int]:
    """Return how often each type stands in a list."""
    found = [type(outcome) for outcome in outcomes]
    return {kind: found.count(kind) for kind in set(found)}


def test_one_of_a_hundred_threads_makes_the_bucket(catalog: Catalog) -> None:
    outcomes = together([lambda: catalog.put_bucket(bucket("new"), MANY)] * THREADS)
    assert kinds(outcomes) == {type(None): 1, BucketNameNotAvailable: THREADS - 1}


def test_one_of_a_hundred_threads_makes_the_index(catalog: Catalog) -> None:
    outcomes = together([lambda: catalog.put_index(index("new"), MANY)] * THREADS)
    assert kinds(outcomes) == {Index: 1, VectorBucketIndexAlreadyExist: THREADS - 1}
    assert len(catalog.indexes()) == 1


def test_one_of_a_hundred_threads_drops_the_index(catalog: Catalog) -> None:
    for _ in range(5):
        made = catalog.put_index(index("a"), MANY)
        outcomes = together([partial(catalog.drop_index, made)] * THREADS)
        assert kinds(outcomes) == {type(None): 1, NoSuchVectorIndex: THREADS - 1}


def test_limits_hold_under_races(catalog: Catalog) -> None:
    names = [f"n{number}" for number in range(THREADS)]
    buckets = together([partial(catalog.put_bucket, bucket(name), 10) for name in names])
    assert kinds(buckets) == {type(None): 9, TooManyBuckets: THREADS - 9}
    indexes = together([partial(catalog.put_index, index(name), 10) for name in names])
    assert kinds(indexes) == {Index: 10, VectorBucketIndexExceedLimit: THREADS - 10}
    made = [one for one in indexes if isinstance(one, Index)]
    assert len({one.index_id for one in made}) == 10


def test_bucket_is_deleted_or_gets_an_index_and_never_both(catalog: Catalog) -> None:
    for number in range(30):
        catalog.put_bucket(bucket("race"), MANY)
        made, deleted = together(
            [
                partial(catalog.put_index, index(f"i{number}", "race"), MANY),
                partial(catalog.delete_bucket, "race"),
            ]
        )
        if isinstance(made, Index):
            assert isinstance(deleted, VectorBucketNotEmpty)
            catalog.drop_index(made)
            catalog.delete_bucket("race")
        else:
            assert isinstance(made, NoSuchBucket)
            assert deleted is None


def test_bucket_is_deleted_or_gets_a_policy_and_never_comes_back(
    catalog: Catalog, store: Store
) -> None:
    for _ in range(30):
        catalog.put_bucket(bucket("race"), MANY)
        said, deleted = together(
            [
                partial(catalog.set_bucket_policy, "race", "{}"),
                partial(catalog.delete_bucket, "race"),
            ]
        )
        assert deleted is None
        assert said is None or isinstance(said, NoSuchBucket)
        assert store.get(Family.CATALOG, bucket_key("race")) is None
        with pytest.raises(NoSuchBucket):
            catalog.get_bucket("race")
