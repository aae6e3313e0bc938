"""Bucket and index definitions: all in memory, each change written first.

Rules of this file:

- One lock for all changes; look-ups take none (a dictionary read is atomic).
- What is checked and what is written happen under the same hold, so limits and existence hold under
  races.
- ``sync`` is the caller's, outside the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from operator import attrgetter
from typing import TypeVar

from vectorbucket.errors import (
    BucketNameNotAvailable,
    NoSuchBucket,
    NoSuchVectorIndex,
    ServiceUnavailable,
    TooManyBuckets,
    VectorBucketIndexAlreadyExist,
    VectorBucketIndexExceedLimit,
    VectorBucketNotEmpty,
)
from vectorbucket_server.engine.embedded.schema import (
    BUCKET_PREFIX,
    DROP_PREFIX,
    FORMAT_KEY,
    FORMAT_VERSION,
    INDEX_ID_KEY,
    INDEX_PREFIX,
    Family,
    IndexState,
    bucket_key,
    corrupt,
    decode_bucket,
    decode_index,
    decode_number,
    drop_key,
    dropped_index_id,
    encode_bucket,
    encode_index,
    encode_number,
    encode_state,
    index_key,
    state_key,
)
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Bucket, BucketLogging, Index, Page

Named = TypeVar("Named", Bucket, Index)

_AFTER = b"\xff"
"""Above every byte that a name can hold."""


class Catalog:
    """The buckets and indexes of a store."""

    def __init__(self, store: Store) -> None:
        """Read the catalogue.

        Raises:
            ServiceUnavailable: The store has another format version.
            Corruption: A record is broken.
        """
        self._store = store
        self._lock = threading.Lock()
        self._check_format()
        self._buckets: dict[str, Bucket] = {}
        self._indexes: dict[str, dict[str, Index]] = {}
        for key, value in self._records(BUCKET_PREFIX):
            bucket = decode_bucket(key, value)
            if key != bucket_key(bucket.name):
                raise corrupt(Family.CATALOG, key, f"the record is of bucket {bucket.name!r}")
            self._buckets[bucket.name] = bucket
            self._indexes[bucket.name] = {}
        for key, value in self._records(INDEX_PREFIX):
            index = decode_index(key, value)
            if key != index_key(index.bucket_name, index.name):
                raise corrupt(Family.CATALOG, key, f"the record is of index {index.name!r}")
            if index.bucket_name not in self._buckets:
                raise corrupt(Family.CATALOG, key, f"bucket {index.bucket_name!r} is missing")
            self._indexes[index.bucket_name][index.name] = index
        self._next_index_id = self._read_next_index_id()

    def _read_next_index_id(self) -> int:
        """Return the id that the next index takes: above all that exist."""
        value = self._store.get(Family.CATALOG, INDEX_ID_KEY)
        next_id = 1 if value is None else decode_number(Family.CATALOG, INDEX_ID_KEY, value)
        largest = max((index.index_id for index in self.indexes()), default=0)
        if largest >= next_id:
            raise corrupt(
                Family.CATALOG,
                INDEX_ID_KEY,
                f"index id {largest} exists and the next one would be {next_id}",
            )
        return next_id

    def _check_format(self) -> None:
        """Compare the store's format version with ours, or write it into a new store."""
        value = self._store.get(Family.CATALOG, FORMAT_KEY)
        if value is None:
            batch = self._store.batch()
            batch.put(Family.CATALOG, FORMAT_KEY, encode_number(FORMAT_VERSION))
            self._store.write(batch)
            return
        found = decode_number(Family.CATALOG, FORMAT_KEY, value)
        if found != FORMAT_VERSION:
            raise ServiceUnavailable(
                f"the data directory has format version {found}; this server reads version "
                f"{FORMAT_VERSION}"
            )

    def _records(self, prefix: bytes) -> Iterable[tuple[bytes, bytes]]:
        return self._store.scan(Family.CATALOG, prefix, prefix + _AFTER)

    # --- Buckets ----------------------------------------------------------------------------------

    def put_bucket(self, bucket: Bucket, buckets_max: int) -> None:
        """Make a bucket; see Engine.put_bucket."""
        with self._lock:
            if bucket.name in self._buckets:
                raise BucketNameNotAvailable.of(bucket.name)
            owned = sum(b.account_id == bucket.account_id for b in self._buckets.values())
            if owned >= buckets_max:
                raise TooManyBuckets.of(buckets_max)
            self._write_bucket(bucket)
            self._indexes[bucket.name] = {}
            self._buckets[bucket.name] = bucket

    def set_bucket_policy(self, name: str, policy: str, seen: Bucket | None = None) -> None:
        """Replace a bucket's policy; see Engine.set_bucket_policy."""
        with self._lock:
            bucket = replace(self._still(name, seen), policy=policy)
            self._write_bucket(bucket)
            self._buckets[name] = bucket

    def set_bucket_logging(
        self, name: str, logging: BucketLogging | None, seen: Bucket | None = None
    ) -> None:
        """Replace where a bucket is logged; see Engine.set_bucket_logging."""
        with self._lock:
            bucket = replace(self._still(name, seen), logging=logging)
            self._write_bucket(bucket)
            self._buckets[name] = bucket

    def _write_bucket(self, bucket: Bucket) -> None:
        """Write a bucket's record, in place of the one of before."""
        batch = self._store.batch()
        batch.put(Family.CATALOG, bucket_key(bucket.name), encode_bucket(bucket))
        self._store.write(batch)

    def get_bucket(self, name: str) -> Bucket:
        """Return a bucket, or raise NoSuchBucket."""
        bucket = self._buckets.get(name)
        if bucket is None:
            raise NoSuchBucket.of(name)
        return bucket

    def _still(self, name: str, seen: Bucket | None) -> Bucket:
        """Return a bucket, or raise NoSuchBucket if it is not the one that was seen."""
        bucket = self.get_bucket(name)
        if seen is not None and not bucket.is_same(seen):
            raise NoSuchBucket.of(name)
        return bucket

    def list_buckets(self, account_id: str, prefix: str, after: str, limit: int) -> Page[Bucket]:
        """Return a page of the account's buckets."""
        with self._lock:
            owned = [b for b in self._buckets.values() if b.account_id == account_id]
        return _page(owned, prefix, after, limit)

    def delete_bucket(self, name: str, seen: Bucket | None = None) -> None:
        """Delete an empty bucket; see Engine.delete_bucket."""
        with self._lock:
            self._still(name, seen)
            if self._indexes[name]:
                raise VectorBucketNotEmpty.of(name)
            batch = self._store.batch()
            batch.delete(Family.CATALOG, bucket_key(name))
            self._store.write(batch)
            del self._buckets[name]
            del self._indexes[name]

    # --- Indexes ----------------------------------------------------------------------------------

    def put_index(self, index: Index, indexes_max: int) -> Index:
        """Make an index and return it with its id; see Engine.put_index."""
        with self._lock:
            self.get_bucket(index.bucket_name)
            held = self._indexes[index.bucket_name]
            if index.name in held:
                raise VectorBucketIndexAlreadyExist.of(index.bucket_name, index.name)
            if len(held) >= indexes_max:
                raise VectorBucketIndexExceedLimit.of(index.bucket_name, indexes_max)
            made = replace(index, index_id=self._next_index_id)
            batch = self._store.batch()
            batch.put(Family.CATALOG, INDEX_ID_KEY, encode_number(made.index_id + 1))
            batch.put(Family.CATALOG, index_key(made.bucket_name, made.name), encode_index(made))
            batch.put(
                Family.CATALOG,
                state_key(made.index_id),
                encode_state(IndexState(next_label=1, seq=0, vector_count=0)),
            )
            self._store.write(batch)
            self._next_index_id += 1
            held[made.name] = made
            return made

    def get_index(self, bucket_name: str, index_name: str) -> Index:
        """Return an index, or raise NoSuchBucket or NoSuchVectorIndex."""
        held = self._indexes.get(bucket_name)
        if held is None:
            raise NoSuchBucket.of(bucket_name)
        index = held.get(index_name)
        if index is None:
            raise NoSuchVectorIndex.of(bucket_name, index_name)
        return index

    def list_indexes(self, bucket_name: str, prefix: str, after: str, limit: int) -> Page[Index]:
        """Return a page of the bucket's indexes."""
        with self._lock:
            self.get_bucket(bucket_name)
            held = list(self._indexes[bucket_name].values())
        return _page(held, prefix, after, limit)

    def bucket_count(self) -> int:
        """Return how many buckets there are, of all accounts."""
        return len(self._buckets)

    def indexes(self) -> list[Index]:
        """Return all indexes."""
        with self._lock:
            return [index for held in self._indexes.values() for index in held.values()]

    def drop_index(self, index: Index) -> None:
        """Forget an index and note, in the same batch, that its records are to be removed.

        Raises:
            NoSuchVectorIndex: It is not there any more.
        """
        with self._lock:
            if self._indexes.get(index.bucket_name, {}).get(index.name) != index:
                raise NoSuchVectorIndex.of(index.bucket_name, index.name)
            batch = self._store.batch()
            batch.put(Family.CATALOG, drop_key(index.index_id), b"")
            batch.delete(Family.CATALOG, index_key(index.bucket_name, index.name))
            self._store.write(batch)
            del self._indexes[index.bucket_name][index.name]

    def drops(self) -> list[int]:
        """Return the ids of the indexes whose records are to be removed."""
        return [dropped_index_id(key) for key, _ in self._records(DROP_PREFIX)]


def _page(items: Iterable[Named], prefix: str, after: str, limit: int) -> Page[Named]:
    """Return the first ``limit`` items with the prefix after ``after``, by name."""
    chosen = sorted(
        (item for item in items if item.name.startswith(prefix) and item.name > after),
        key=attrgetter("name"),
    )
    more = len(chosen) > limit
    return Page(chosen[:limit], chosen[limit - 1].name if more else None)
