"""The executable specification of an engine: exact, in memory, forgetful.

It is the oracle that other engines are tested against, so it is written to be read, not to be fast:
one lock, dictionaries, float64.

Rules of this file: numpy and the standard library only; no cleverness that could hide a mistake.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import numpy as np

from vectorbucket.errors import (
    BucketNameNotAvailable,
    MethodNotAllowed,
    NoSuchBucket,
    NoSuchVectorIndex,
    TooManyBuckets,
    VectorBucketIndexAlreadyExist,
    VectorBucketIndexExceedLimit,
    VectorBucketNotEmpty,
)
from vectorbucket_server.engine.base import (
    NO_DEADLINE,
    Capabilities,
    Deadline,
    Engine,
    WriteGuard,
)
from vectorbucket_server.filters.matcher import compile_matcher
from vectorbucket_server.model import (
    WHOLE,
    Bucket,
    BucketLogging,
    DistanceMetric,
    EngineStatistics,
    Float32Array,
    Hit,
    Index,
    IndexStatistics,
    Page,
    Query,
    Segment,
    Vector,
    VectorBatch,
)

Named = TypeVar("Named", Bucket, Index)


def _page(items: Iterable[Named], prefix: str, after: str, limit: int) -> Page[Named]:
    """Return the first ``limit`` items after ``after``, by name."""
    chosen = sorted(
        (item for item in items if item.name.startswith(prefix) and item.name > after),
        key=attrgetter("name"),
    )
    more = len(chosen) > limit
    return Page(chosen[:limit], chosen[limit - 1].name if more else None)


def _distance(metric: DistanceMetric, a: Float32Array, b: Float32Array) -> float:
    """Return the distance of two vectors, float32 of shape (dimension,), in the contract's unit."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    if metric is DistanceMetric.EUCLIDEAN:
        return float(np.linalg.norm(x - y))
    cosine = np.dot(x / np.linalg.norm(x), y / np.linalg.norm(y))
    return float(np.clip(1.0 - cosine, 0.0, 2.0))


class MemoryEngine(Engine):
    """Buckets, indexes and vectors in dictionaries; every query looks at every vector."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._buckets: dict[str, Bucket] = {}
        self._indexes: dict[tuple[str, str], Index] = {}
        self._vectors: dict[int, dict[str, Vector]] = {}
        self._ids = itertools.count(1)

    @property
    def capabilities(self) -> Capabilities:
        """Everything but persistence, and what comes with it."""
        return Capabilities(
            read_your_writes=True,
            atomic_batches=True,
            persistent=False,
            exact_search=True,
            filter_pushdown=True,
            backups=False,
            graphs=False,
            visible_at_once=True,
            any_length=True,
        )

    def open(self) -> None:
        """Do nothing: memory is ready."""

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._buckets.clear()
            self._indexes.clear()
            self._vectors.clear()

    def hurry(self) -> None:
        """Do nothing: forgetting is quick."""

    def check(self) -> None:
        """Do nothing: memory works."""

    def put_bucket(self, bucket: Bucket, *, buckets_max: int) -> None:
        """Make a bucket."""
        with self._lock:
            if bucket.name in self._buckets:
                raise BucketNameNotAvailable.of(bucket.name)
            owned = [b for b in self._buckets.values() if b.account_id == bucket.account_id]
            if len(owned) >= buckets_max:
                raise TooManyBuckets.of(buckets_max)
            self._buckets[bucket.name] = bucket

    def get_bucket(self, bucket_name: str) -> Bucket:
        """Return a bucket."""
        return self._seen(bucket_name, None)

    def _seen(self, bucket_name: str, seen: Bucket | None) -> Bucket:
        """Return a bucket, if it is the one that was seen."""
        with self._lock:
            bucket = self._buckets.get(bucket_name)
            if bucket is None or not bucket.is_same(seen or bucket):
                raise NoSuchBucket.of(bucket_name)
            return bucket

    def list_buckets(
        self, account_id: str, *, prefix: str = "", after: str = "", limit: int
    ) -> Page[Bucket]:
        """Return a page of the account's buckets."""
        with self._lock:
            owned = [b for b in self._buckets.values() if b.account_id == account_id]
            return _page(owned, prefix, after, limit)

    def delete_bucket(self, bucket_name: str, seen: Bucket | None = None) -> None:
        """Delete an empty bucket."""
        with self._lock:
            self._seen(bucket_name, seen)
            if any(name == bucket_name for name, _ in self._indexes):
                raise VectorBucketNotEmpty.of(bucket_name)
            del self._buckets[bucket_name]

    def set_bucket_policy(self, bucket_name: str, policy: str, seen: Bucket | None = None) -> None:
        """Replace a bucket's policy."""
        with self._lock:
            self._buckets[bucket_name] = replace(self._seen(bucket_name, seen), policy=policy)

    def set_bucket_logging(
        self, bucket_name: str, logging: BucketLogging | None, seen: Bucket | None = None
    ) -> None:
        """Replace where a bucket is logged."""
        with self._lock:
            self._buckets[bucket_name] = replace(self._seen(bucket_name, seen), logging=logging)

    def put_index(self, index: Index, *, indexes_max: int) -> Index:
        """Make an index."""
        with self._lock:
            self.get_bucket(index.bucket_name)
            place = (index.bucket_name, index.name)
            if place in self._indexes:
                raise VectorBucketIndexAlreadyExist.of(*place)
            if sum(name == index.bucket_name for name, _ in self._indexes) >= indexes_max:
                raise VectorBucketIndexExceedLimit.of(index.bucket_name, indexes_max)
            made = replace(index, index_id=next(self._ids))
            self._indexes[place] = made
            self._vectors[made.index_id] = {}
            return made

    def get_index(self, bucket_name: str, index_name: str) -> Index:
        """Return an index."""
        with self._lock:
            self.get_bucket(bucket_name)
            if (bucket_name, index_name) not in self._indexes:
                raise NoSuchVectorIndex.of(bucket_name, index_name)
            return self._indexes[bucket_name, index_name]

    def list_indexes(
        self, bucket_name: str, *, prefix: str = "", after: str = "", limit: int
    ) -> Page[Index]:
        """Return a page of the bucket's indexes."""
        with self._lock:
            self.get_bucket(bucket_name)
            held = [i for i in self._indexes.values() if i.bucket_name == bucket_name]
            return _page(held, prefix, after, limit)

    def delete_index(self, index: Index) -> None:
        """Delete an index and its vectors."""
        with self._lock:
            self._stored(index)
            del self._vectors[index.index_id]
            del self._indexes[index.bucket_name, index.name]

    def index_statistics(self, index: Index) -> IndexStatistics:
        """Return the number of vectors; none is ever pending."""
        with self._lock:
            return IndexStatistics(len(self._stored(index)), 0)

    def _stored(self, index: Index) -> dict[str, Vector]:
        """Return the index's vectors by key, or raise NoSuchVectorIndex."""
        if index.index_id not in self._vectors:
            raise NoSuchVectorIndex.of(index.bucket_name, index.name)
        return self._vectors[index.index_id]

    def statistics(self) -> EngineStatistics:
        """Return what the engine holds now."""
        with self._lock:
            return EngineStatistics(
                bucket_count=len(self._buckets),
                index_count=len(self._indexes),
                loaded_index_count=len(self._indexes),
                vector_count=sum(map(len, self._vectors.values())),
                pending_vector_count=0,
            )

    def load_index(self, index: Index, *, deadline: Deadline = NO_DEADLINE) -> None:  # noqa: ARG002
        """Do nothing: everything is in memory."""
        self._stored(index)

    def unload_index(self, index: Index) -> None:
        """Refuse: there is nowhere else to be."""
        self._stored(index)
        raise MethodNotAllowed("the engine memory keeps every index in memory")

    def rebuild_index(self, index: Index) -> None:
        """Refuse: there are no graphs."""
        self._stored(index)
        raise MethodNotAllowed("the engine memory builds no graphs")

    def back_up(self, directory: Path, *, deadline: Deadline = NO_DEADLINE) -> None:  # noqa: ARG002 - of the seam
        """Refuse: what is forgotten at the end is not worth it."""
        raise MethodNotAllowed("the engine memory makes no backups")

    def put_vectors(
        self,
        index: Index,
        batch: VectorBatch,
        *,
        guard: WriteGuard | None = None,
        backlog_wait_s: float | None = None,  # noqa: ARG002 - nothing is ever behind
        deadline: Deadline = NO_DEADLINE,
        visible: bool = True,  # noqa: ARG002 - it always is
    ) -> bool:
        """Store a batch."""
        deadline.check()
        with self._lock:
            stored = self._stored(index)
            if guard is not None and not guard.admit():
                return False
            for key, row, metadata in zip(batch.keys, batch.data, batch.metadata, strict=True):
                stored[key] = Vector(key, row.copy(), dict(metadata))
            if guard is not None:
                guard.committed()
            return True

    def wait_until_visible(self, index: Index, *, deadline: Deadline = NO_DEADLINE) -> None:
        """Do nothing: what was put is seen."""
        deadline.check()
        with self._lock:
            self._stored(index)

    def get_vectors(
        self, index: Index, keys: Sequence[str], *, data: bool, metadata: bool
    ) -> list[Vector]:
        """Return the vectors that exist, in the order of first mention."""
        with self._lock:
            stored = self._stored(index)
            return [
                _shown(stored[key], data=data, metadata=metadata)
                for key in dict.fromkeys(keys)
                if key in stored
            ]

    def list_vectors(
        self,
        index: Index,
        *,
        after: str = "",
        limit: int,
        bytes_max: int,
        segment: Segment = WHOLE,
        data: bool = False,
        metadata: bool = False,
    ) -> Page[Vector]:
        """Return a page of a segment, in the order of the keys' bytes."""
        with self._lock:
            stored = self._stored(index)
            keys = sorted(k.encode() for k in stored)
            rest = [k.decode() for k in keys if k > after.encode() and segment.holds(k)]
            items: list[Vector] = []
            size = 0
            for key in rest[:limit]:
                if items and size >= bytes_max:
                    break
                items.append(_shown(stored[key], data=data, metadata=metadata))
                size += len(key.encode()) + (4 * index.dimension if data else 0)
                size += len(str(stored[key].metadata)) if metadata else 0
            more = len(items) < len(rest)
            return Page(items, items[-1].key if more else None)

    def delete_vectors(
        self, index: Index, keys: Sequence[str], *, deadline: Deadline = NO_DEADLINE
    ) -> None:
        """Delete vectors."""
        deadline.check()
        with self._lock:
            stored = self._stored(index)
            for key in keys:
                stored.pop(key, None)

    def query_vectors(
        self, index: Index, query: Query, *, deadline: Deadline = NO_DEADLINE
    ) -> list[list[Hit]]:
        """Return the nearest vectors by looking at all of them."""
        with self._lock:
            stored = list(self._stored(index).values())
        if query.filter is not None:
            matches = compile_matcher(query.filter)
            stored = [vector for vector in stored if matches(vector.metadata or {})]
        results = []
        for wanted in query.vectors:
            deadline.check()
            hits = [
                Hit(
                    vector.key,
                    _distance(index.metric, wanted, vector.data),
                    vector.metadata if query.return_metadata else None,
                )
                for vector in stored
                if vector.data is not None
            ]
            hits.sort(key=lambda hit: (hit.distance, hit.key.encode()))
            results.append(hits[: query.top_k])
        return results


def _shown(vector: Vector, *, data: bool, metadata: bool) -> Vector:
    """Return a vector with only what was asked for."""
    return Vector(
        vector.key,
        vector.data if data else None,
        vector.metadata if metadata else None,
    )
