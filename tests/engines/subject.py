"""An engine under test: made, restarted, waited for; and short words for its requests.

Rules of this file: it knows engines by the seam only; which engines there are is said in
conftest.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from vectorbucket.errors import VectorBucketError
from vectorbucket.limits import OSS
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.filters.parser import parse
from vectorbucket_server.model import (
    WHOLE,
    Bucket,
    DistanceMetric,
    Hit,
    Index,
    Metadata,
    Query,
    Segment,
    Vector,
    VectorBatch,
)

ACCOUNT = "1234567890"
MANY = 1_000_000
"""A limit that nothing in these tests reaches."""

POLICY = '{ "Version": "1",\n\t"Statement": [] , "é🜁": "\\u00e9\\/" }\r\n'
"""A text that comes back changed from whoever reads it as JSON and writes it anew."""

ORIGIN = (0.0, 0.0, 0.0, 0.0)
ONE = (1.0, 0.0, 0.0, 0.0)
TWO = (0.0, 2.0, 0.0, 0.0)
THREE = (0.0, 0.0, 3.0, 0.0)
"""Vectors whose distance from the origin is their name."""

_SETTLED_WITHIN_S = 60.0
"""How long an indexer may take for what these tests put; far more than it needs."""


def batch(
    keys: Sequence[str],
    data: npt.ArrayLike,
    metadata: Sequence[Mapping[str, Any]] | None = None,
) -> VectorBatch:
    """Return a batch from anything that numpy can make a matrix of."""
    rows = np.ascontiguousarray(data, np.float32)
    return VectorBatch(tuple(keys), rows, tuple(metadata or ({},) * len(keys)))


class Promise:
    """A promise of every engine: the base of the suite's classes and of no other."""


class Subject:
    """An engine and how to make it anew over what it has kept."""

    def __init__(self, make: Callable[[], Engine], *, settles: bool) -> None:
        """Make and open the engine.

        Args:
            make: Returns an engine, not yet open, over the same storage each time.
            settles: Whether ``settle`` waits until everything is indexed; otherwise tests go on
                while the engine is still busy with what was put.
        """
        self._make = make
        self._settles = settles
        self.engine = make()
        self.engine.open()

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()

    def restart(self) -> None:
        """Close the engine and open another over the same storage."""
        self.engine.close()
        self.engine = self._make()
        self.engine.open()

    def settle(self, index: Index) -> None:
        """Wait until nothing is pending, for subjects that are to be tested in that state."""
        if self._settles:
            wait_until_indexed(self.engine, index)

    def put_bucket(self, name: str = "things") -> Bucket:
        """Make a bucket and return it."""
        bucket = Bucket(name, ACCOUNT, created_ms=1_700_000_000_000)
        self.engine.put_bucket(bucket, buckets_max=MANY)
        return bucket

    def put_index(
        self,
        name: str = "vectors",
        *,
        bucket_name: str = "things",
        dimension: int = 4,
        metric: DistanceMetric = DistanceMetric.EUCLIDEAN,
        non_filterable_keys: tuple[str, ...] = (),
    ) -> Index:
        """Make an index, and its bucket if that is missing; return it as the engine made it."""
        if not any(bucket.name == bucket_name for bucket in self.buckets()):
            self.put_bucket(bucket_name)
        index = Index(
            bucket_name, name, dimension, metric, non_filterable_keys, created_ms=1_700_000_000_001
        )
        return self.engine.put_index(index, indexes_max=MANY)

    def buckets(self) -> Sequence[Bucket]:
        """Return all buckets of the tests' account."""
        return self.engine.list_buckets(ACCOUNT, limit=MANY).items

    def put(
        self,
        index: Index,
        keys: Sequence[str],
        data: npt.ArrayLike,
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Put a batch."""
        assert self.engine.put_vectors(index, batch(keys, data, metadata))

    def get(self, index: Index, *keys: str) -> list[Vector]:
        """Return vectors with everything they hold."""
        return self.engine.get_vectors(index, keys, data=True, metadata=True)

    def listing(self, index: Index, *, segment: Segment = WHOLE, limit: int = MANY) -> list[Vector]:
        """Return all vectors of a segment with everything they hold, page after page."""
        return list(list_all(self.engine, index, segment=segment, limit=limit))

    def keys(self, index: Index) -> list[str]:
        """Return all keys in the order of the listing."""
        return [vector.key for vector in self.listing(index)]

    def query(
        self,
        index: Index,
        vector: npt.ArrayLike,
        *,
        top_k: int = 10,
        raw_filter: Mapping[str, Any] | None = None,
    ) -> list[Hit]:
        """Return the hits, metadata included, of one query."""
        return self.queries(index, [vector], top_k=top_k, raw_filter=raw_filter)[0]

    def queries(
        self,
        index: Index,
        vectors: Sequence[npt.ArrayLike] | npt.ArrayLike,
        *,
        top_k: int = 10,
        raw_filter: Mapping[str, Any] | None = None,
    ) -> list[list[Hit]]:
        """Return the hits, metadata included, of each query."""
        return self.engine.query_vectors(
            index,
            Query(
                np.ascontiguousarray(vectors, np.float32),
                top_k,
                parse(raw_filter, limits=OSS, non_filterable_keys=index.non_filterable_keys),
                return_metadata=True,
            ),
        )

    def content(self, index: Index) -> dict[str, tuple[bytes, Metadata]]:
        """Return all there is: by key the bytes of the data, and the metadata."""
        return content_of(self.listing(index))


def list_all(
    engine: Engine, index: Index, *, segment: Segment = WHOLE, limit: int = 1_000
) -> Iterator[Vector]:
    """Yield all vectors of a segment with everything they hold, page after page."""
    after: str | None = ""
    while after is not None:
        page = engine.list_vectors(
            index,
            after=after,
            limit=limit,
            bytes_max=MANY,
            segment=segment,
            data=True,
            metadata=True,
        )
        yield from page.items
        after = page.next_after


def content_of(vectors: Sequence[Vector]) -> dict[str, tuple[bytes, Metadata]]:
    """Return vectors in a form that compares: by key the bytes of the data, and the metadata."""
    content: dict[str, tuple[bytes, Metadata]] = {}
    for vector in vectors:
        assert vector.key not in content, f"{vector.key!r} came twice"
        assert vector.data is not None
        assert vector.metadata is not None
        content[vector.key] = (vector.data.tobytes(), dict(vector.metadata))
    return content


def wait_until_indexed(engine: Engine, index: Index) -> None:
    """Return once none of the index's vectors is pending."""
    given_up = time.monotonic() + _SETTLED_WITHIN_S
    while pending := engine.index_statistics(index).pending_vector_count:
        assert time.monotonic() < given_up, f"{pending} vectors are still pending"
        time.sleep(0.002)


@contextmanager
def raises_as(expected: type[VectorBucketError]) -> Iterator[None]:
    """Check that the block raises exactly this leaf, with a message; a child is not good enough."""
    with pytest.raises(expected) as raised:
        yield
    assert type(raised.value) is expected
    assert raised.value.message
