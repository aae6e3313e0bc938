"""Short words for tests of catalogues on Milvus: buckets and indexes to make, a clock to set.

Rules of this file: it makes things; what is right is said by the tests alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from engines.subject import MANY
from rooms import BUCKET, make_index
from vectorbucket_server.engine.milvus.catalogue import Catalogue
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.definitions import (
    bucket_collection,
    read_bucket,
)
from vectorbucket_server.model import Bucket, BucketLogging, Index

MakeCatalogue = Callable[..., Catalogue]
LOGGING = BucketLogging("logs", "p/", "r")
COLLECTION = bucket_collection(BUCKET.name)


def index(name: str = "a", bucket_name: str = BUCKET.name) -> Index:
    """Return an index to make."""
    return replace(make_index(name=name), bucket_name=bucket_name, index_id=0)


def put_bucket(catalogue: Catalogue, name: str = BUCKET.name) -> Bucket:
    """Make a bucket."""
    made = replace(BUCKET, name=name)
    catalogue.put_bucket(made, buckets_max=MANY)
    return made


def put_index(catalogue: Catalogue, name: str = "a", bucket_name: str = BUCKET.name) -> Index:
    """Make an index."""
    return catalogue.put_index(index(name, bucket_name), indexes_max=MANY)


def nonce_of(connection: Connection, bucket_name: str = BUCKET.name) -> str:
    """Return the nonce of a bucket."""
    collection = bucket_collection(bucket_name)
    found = connection.describe(collection)
    assert found is not None
    return read_bucket(collection, found.description, found.properties).nonce


class Clock:
    """A clock that tests set; it goes on by ``step_s`` whenever somebody looks."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.now_s = 100.0
        self._step_s = step_s

    def __call__(self) -> float:
        """Return the time."""
        self.now_s += self._step_s
        return self.now_s
