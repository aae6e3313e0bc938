"""MilvusEngine: buckets and indexes in the catalogue, rows in collections, both in Milvus.

Rules of this file: it hands on; the catalogue knows what there is, OpenIndex what is in it. No
state but caches: any number of servers may work on one database of Milvus.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vectorbucket.errors import MethodNotAllowed, ServiceUnavailable
from vectorbucket_server.engine.base import (
    NO_DEADLINE,
    Capabilities,
    Deadline,
    Engine,
    Observer,
    SilentObserver,
    WriteGuard,
)
from vectorbucket_server.engine.milvus.catalogue import Catalogue
from vectorbucket_server.engine.milvus.connection import Connection
from vectorbucket_server.engine.milvus.open_index import OpenIndex
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.model import (
    WHOLE,
    Bucket,
    BucketLogging,
    EngineStatistics,
    Hit,
    Index,
    IndexStatistics,
    Page,
    Query,
    Segment,
    Vector,
    VectorBatch,
)

_CHECK_EVERY_S = 1.0


class MilvusEngine(Engine):
    """Keeps buckets, indexes and vectors in a database of Milvus."""

    def __init__(self, options: MilvusOptions, observer: Observer | None = None) -> None:
        """Take the options; nothing is opened yet."""
        self._connection = Connection(options, observer or SilentObserver())
        self._catalogue = Catalogue(self._connection, options)
        self._options = options
        self._lock = threading.Lock()
        self._open: dict[int, OpenIndex] = {}
        """By index id; what others deleted leaves when a call finds that out."""
        self._checking = threading.Lock()
        self._checked_s = -_CHECK_EVERY_S
        self._check_failure: ServiceUnavailable | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What Milvus makes of the promises.

        A batch is one request of Milvus, but its nodes take up what it holds each at its own pace,
        so readers may see a part of it before the rest, until it is acknowledged. What Milvus 2.3.5
        does to flushed rows that are replaced all the time stands in the README.
        """
        return Capabilities(
            read_your_writes=True,
            atomic_batches=False,
            persistent=True,
            exact_search=False,
            filter_pushdown=True,
            backups=False,
            graphs=False,
            visible_at_once=False,
            any_length=False,
        )

    def open(self) -> None:
        """Connect."""
        self._connection.open()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()
        with self._lock:
            self._open.clear()

    def hurry(self) -> None:
        """Disconnect: calls that wait for Milvus end with ServiceUnavailable."""
        self._connection.close()

    def check(self) -> None:
        """Return if Milvus answers; it is asked once for those who ask within a second."""
        with self._checking:
            if time.monotonic() - self._checked_s > _CHECK_EVERY_S:
                self._check_failure = None
                try:
                    self._connection.check()
                except ServiceUnavailable as failure:
                    self._check_failure = failure
                self._checked_s = time.monotonic()
            if self._check_failure is not None:
                raise ServiceUnavailable(self._check_failure.message)

    # --- Control plane ----------------------------------------------------------------------------

    def put_bucket(self, bucket: Bucket, *, buckets_max: int) -> None:
        """Make a bucket."""
        self._catalogue.put_bucket(bucket, buckets_max=buckets_max)

    def get_bucket(self, bucket_name: str) -> Bucket:
        """Return a bucket."""
        return self._catalogue.get_bucket(bucket_name)

    def list_buckets(
        self, account_id: str, *, prefix: str = "", after: str = "", limit: int
    ) -> Page[Bucket]:
        """Return a page of the account's buckets."""
        return self._catalogue.list_buckets(account_id, prefix=prefix, after=after, limit=limit)

    def delete_bucket(self, bucket_name: str, seen: Bucket | None = None) -> None:
        """Delete an empty bucket."""
        self._catalogue.delete_bucket(bucket_name, seen)

    def set_bucket_policy(self, bucket_name: str, policy: str, seen: Bucket | None = None) -> None:
        """Replace a bucket's policy."""
        self._catalogue.set_bucket_policy(bucket_name, policy, seen)

    def set_bucket_logging(
        self, bucket_name: str, logging: BucketLogging | None, seen: Bucket | None = None
    ) -> None:
        """Replace where a bucket is logged."""
        self._catalogue.set_bucket_logging(bucket_name, logging, seen)

    def put_index(self, index: Index, *, indexes_max: int) -> Index:
        """Make an index; Milvus goes on to load it when this has returned."""
        made = self._catalogue.put_index(index, indexes_max=indexes_max)
        # It is made; if Milvus fails just now, whoever uses it first lets it be loaded.
        with suppress(ServiceUnavailable):
            self._opened(made).access.prepare()
        return made

    def get_index(self, bucket_name: str, index_name: str) -> Index:
        """Return an index."""
        return self._catalogue.get_index(bucket_name, index_name)

    def list_indexes(
        self, bucket_name: str, *, prefix: str = "", after: str = "", limit: int
    ) -> Page[Index]:
        """Return a page of the bucket's indexes."""
        return self._catalogue.list_indexes(bucket_name, prefix=prefix, after=after, limit=limit)

    def delete_index(self, index: Index) -> None:
        """Delete an index and its vectors."""
        self._forget(index)
        self._catalogue.delete_index(index)

    def index_statistics(self, index: Index) -> IndexStatistics:
        """Return what the index holds now."""
        return IndexStatistics(self._opened(index).reads.count(), 0)

    # --- Operation --------------------------------------------------------------------------------

    def statistics(self) -> EngineStatistics:
        """Return what the engine holds now."""
        indexes = self._catalogue.indexes()
        counts = [self._opened(index).reads.count_if_loaded() for index in indexes]
        return EngineStatistics(
            bucket_count=len(self._catalogue.bucket_names()),
            index_count=len(indexes),
            loaded_index_count=sum(count is not None for count in counts),
            vector_count=sum(count or 0 for count in counts),
            pending_vector_count=0,
        )

    def load_index(self, index: Index, *, deadline: Deadline = NO_DEADLINE) -> None:
        """Wait until Milvus has the index in memory."""
        self._opened(index).access.load(deadline)

    def unload_index(self, index: Index) -> None:
        """Refuse: what is in its memory is Milvus' own business."""
        self._opened(index).access.check_there()
        raise MethodNotAllowed("Milvus keeps the indexes in memory; release them there")

    def rebuild_index(self, index: Index) -> None:
        """Refuse: Milvus builds and compacts on its own."""
        self._opened(index).access.check_there()
        raise MethodNotAllowed("Milvus builds its graphs itself; compact the collection there")

    def back_up(self, directory: Path, *, deadline: Deadline = NO_DEADLINE) -> None:  # noqa: ARG002 - of the seam
        """Refuse: the data are in Milvus."""
        raise MethodNotAllowed(
            "the engine milvus makes no backups: use those of Milvus itself, milvus-backup"
        )

    # --- Data plane -------------------------------------------------------------------------------

    def put_vectors(
        self,
        index: Index,
        batch: VectorBatch,
        *,
        guard: WriteGuard | None = None,
        backlog_wait_s: float | None = None,
        deadline: Deadline = NO_DEADLINE,
        visible: bool = True,
    ) -> bool:
        """Store a batch."""
        return self._opened(index).put(
            batch, guard=guard, patience_s=backlog_wait_s, deadline=deadline, visible=visible
        )

    def wait_until_visible(self, index: Index, *, deadline: Deadline = NO_DEADLINE) -> None:
        """Return once readers see all that was put before."""
        self._opened(index).wait_until_visible(deadline)

    def get_vectors(
        self, index: Index, keys: Sequence[str], *, data: bool, metadata: bool
    ) -> list[Vector]:
        """Return the vectors that exist, in the order of first mention."""
        return self._opened(index).reads.get(keys, data=data, metadata=metadata)

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
        return self._opened(index).reads.page(
            after=after,
            limit=limit,
            bytes_max=bytes_max,
            segment=segment,
            data=data,
            metadata=metadata,
        )

    def delete_vectors(
        self, index: Index, keys: Sequence[str], *, deadline: Deadline = NO_DEADLINE
    ) -> None:
        """Delete vectors."""
        self._opened(index).delete(keys, deadline)

    def query_vectors(
        self, index: Index, query: Query, *, deadline: Deadline = NO_DEADLINE
    ) -> list[list[Hit]]:
        """Return the nearest vectors."""
        return self._opened(index).reads.search(query, deadline)

    def _opened(self, index: Index) -> OpenIndex:
        """Return what works on an index."""
        with self._lock:
            opened = self._open.get(index.index_id)
            if opened is None:
                opened = OpenIndex(
                    index,
                    self._connection,
                    self._catalogue,
                    self._options,
                    on_gone=lambda: self._forget(index),
                )
                self._open[index.index_id] = opened
            return opened

    def _forget(self, index: Index) -> None:
        """Keep nothing for an index that does not exist any more."""
        with self._lock:
            self._open.pop(index.index_id, None)
