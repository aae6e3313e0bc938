"""The embedded engine: RocksDB and hnswlib in this process, behind the seam of engine/base.py.

Rules of this file: it finds the right room and walks in: definitions are catalog.py's, an index's
vectors open_index.py's, background work indexer.py's, reaper.py's and saver.py's.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from vectorbucket.errors import (
    Corruption,
    NoSuchVectorIndex,
    ServiceUnavailable,
    VectorBucketError,
    VectorIndexOperationConflict,
)
from vectorbucket_server.engine.base import (
    NO_DEADLINE,
    Capabilities,
    Deadline,
    Engine,
    Observer,
    SilentObserver,
    WriteGuard,
)
from vectorbucket_server.engine.embedded.backup import back_up, remove_stage
from vectorbucket_server.engine.embedded.budget import MemoryBudget
from vectorbucket_server.engine.embedded.catalog import Catalog
from vectorbucket_server.engine.embedded.figures import Figures
from vectorbucket_server.engine.embedded.indexer import Indexer
from vectorbucket_server.engine.embedded.mender import Mender
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.reaper import Reaper
from vectorbucket_server.engine.embedded.restore import take_over
from vectorbucket_server.engine.embedded.saver import FAILURES, Saver
from vectorbucket_server.engine.embedded.store import Store
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

_CAPABILITIES = Capabilities(
    read_your_writes=True,
    atomic_batches=True,
    persistent=True,
    exact_search=False,
    filter_pushdown=True,
    backups=True,
    graphs=True,
    visible_at_once=True,
    any_length=True,
)


class EmbeddedEngine(Engine):
    """Buckets, indexes and vectors in a data directory of this machine."""

    def __init__(self, options: EmbeddedOptions, observer: Observer | None = None) -> None:
        """Make the engine; ``open`` opens it.

        Args:
            options: What it can be told.
            observer: Is told which plans ran, what was indexed, and what failed in the background.
        """
        self._options = options
        self._observer = observer or SilentObserver()
        self._generations = options.data_dir / "generations"
        self._lock = threading.Lock()
        self._open: dict[int, OpenIndex] = {}
        self._closed = True
        self._hurried = threading.Event()

    @property
    def capabilities(self) -> Capabilities:
        """Everything but exact search on large indexes."""
        return _CAPABILITIES

    def open(self) -> None:
        """Open the store and start the background threads, the first of which loads the indexes."""
        try:
            self._options.data_dir.mkdir(parents=True, exist_ok=True)
            take_over(self._options.data_dir)
        except OSError as error:
            raise self._unusable(error) from error
        self._store = Store(self._options.data_dir / "store", self._options)
        try:
            self._generations.mkdir(exist_ok=True)
            self._catalog = Catalog(self._store)
            drops = self._catalog.drops()
            self._remove_strangers(drops)
            remove_stage(self._options.data_dir)
        except OSError as error:
            self._store.close()
            raise self._unusable(error) from error
        except (Corruption, ServiceUnavailable):
            self._store.close()
            raise
        threadpool_limits(limits=1, user_api="blas")  # see forked.py
        options, observer, rooms = self._options, self._observer, self._rooms
        self._budget = MemoryBudget(options.memory_bytes_max, rooms, self._before_leaving)
        for index in self._catalog.indexes():
            self._open[index.index_id] = self._room(index)
        self._figures = Figures(options.data_dir, rooms, self._store, self._catalog, self._budget)
        self._indexer = Indexer(rooms, self._store, self._budget, options, observer)
        self._reaper = Reaper(self._store, rooms, self._generations, observer)
        self._saver = Saver(rooms, self._store, options, observer, hurried=self._hurried)
        self._mender = Mender(self._store, observer)
        self._indexer.start()
        self._reaper.start(drops)
        self._saver.start()
        self._mender.start()
        self._closed = False

    def _remove_strangers(self, drops: Sequence[int]) -> None:
        """Remove the generations of indexes that the catalogue does not know.

        A store that was restored from an older copy does not know the newest ones, and will give
        their ids again.
        """
        known = {str(index.index_id) for index in self._catalog.indexes()} | set(map(str, drops))
        for path in self._generations.iterdir():
            if path.name in known:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _before_leaving(self, opened: OpenIndex) -> None:
        """Save an index that is about to leave memory, if bringing it back would be dear."""
        generation = opened.generation
        if (
            generation is None
            or opened.is_busy
            or generation.unsaved < self._options.checkpoint_changes_min
        ):
            return
        try:
            self._saver.save(opened)
        except NoSuchVectorIndex:
            return  # dropped meanwhile
        except FAILURES as error:
            self._observer.background_failed(f"the checkpoint of {opened.index.name!r}", error)

    def _unusable(self, error: OSError) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"the data directory {self._options.data_dir} cannot be used: {error.strerror}"
        )

    def close(self) -> None:
        """Stop the background threads, let go of the graphs, close the store."""
        if self._closed:
            return
        self._closed = True
        self._mender.stop()
        self._indexer.stop()
        self._saver.stop()
        self._reaper.stop()
        self._saver.save_all()
        for opened in self._rooms():
            opened.close()
        self._open.clear()
        self._store.close()

    def hurry(self) -> None:
        """Write no checkpoint any more: the store has everything."""
        self._hurried.set()

    def _room(self, index: Index) -> OpenIndex:
        return OpenIndex(
            index,
            self._store,
            self._options,
            self._observer,
            budget=self._budget,
            work_came=self._work_came,
        )

    def _rooms(self) -> list[OpenIndex]:
        with self._lock:
            return list(self._open.values())

    def _work_came(self) -> None:
        self._indexer.wake()
        self._reaper.wake()

    def _opened(self, index: Index) -> OpenIndex:
        """Return the room of an index, or raise NoSuchVectorIndex."""
        opened = self._open.get(index.index_id)
        if opened is None:
            with self._lock:  # it may be in the catalogue already and its room in the making
                opened = self._open.get(index.index_id)
        if opened is None:
            raise NoSuchVectorIndex.of(index.bucket_name, index.name)
        return opened

    def check(self) -> None:
        """Do nothing: all that it works with is in this process."""

    # --- Control plane ----------------------------------------------------------------------------

    def put_bucket(self, bucket: Bucket, *, buckets_max: int) -> None:
        """Make a bucket."""
        self._store.check_room()
        self._catalog.put_bucket(bucket, buckets_max)
        self._store.sync()

    def get_bucket(self, bucket_name: str) -> Bucket:
        """Return a bucket."""
        return self._catalog.get_bucket(bucket_name)

    def list_buckets(
        self, account_id: str, *, prefix: str = "", after: str = "", limit: int
    ) -> Page[Bucket]:
        """Return a page of the account's buckets."""
        return self._catalog.list_buckets(account_id, prefix, after, limit)

    def delete_bucket(self, bucket_name: str, seen: Bucket | None = None) -> None:
        """Delete an empty bucket."""
        self._catalog.delete_bucket(bucket_name, seen)
        self._store.sync()

    def set_bucket_policy(self, bucket_name: str, policy: str, seen: Bucket | None = None) -> None:
        """Replace a bucket's policy."""
        self._catalog.set_bucket_policy(bucket_name, policy, seen)
        self._store.sync()

    def set_bucket_logging(
        self, bucket_name: str, logging: BucketLogging | None, seen: Bucket | None = None
    ) -> None:
        """Replace where a bucket is logged."""
        self._catalog.set_bucket_logging(bucket_name, logging, seen)
        self._store.sync()

    def put_index(self, index: Index, *, indexes_max: int) -> Index:
        """Make an index."""
        self._store.check_room()
        graph = index.graph
        # Fixed now: the graph of an index is the same whatever the server is told later.
        m, breadth = graph.m or self._options.m, graph.ef_construction
        graph = replace(graph, m=m, ef_construction=breadth or self._options.ef_construction)
        with self._lock:
            made = self._catalog.put_index(replace(index, graph=graph), indexes_max)
            self._open[made.index_id] = self._room(made)
        self._store.sync()
        return made

    def get_index(self, bucket_name: str, index_name: str) -> Index:
        """Return an index."""
        return self._catalog.get_index(bucket_name, index_name)

    def list_indexes(
        self, bucket_name: str, *, prefix: str = "", after: str = "", limit: int
    ) -> Page[Index]:
        """Return a page of the bucket's indexes."""
        return self._catalog.list_indexes(bucket_name, prefix, after, limit)

    def delete_index(self, index: Index) -> None:
        """Delete an index; its records are removed behind."""
        opened = self._opened(index)
        opened.drop(lambda: self._catalog.drop_index(index))
        with self._lock:
            self._open.pop(index.index_id, None)
        # Before the sync, which may fail: the index is gone for this process in any case.
        self._reaper.drop(opened)
        self._store.sync()

    def index_statistics(self, index: Index) -> IndexStatistics:
        """Return what the index holds now."""
        return self._figures.of_index(self._opened(index))

    # --- Operation --------------------------------------------------------------------------------

    def statistics(self) -> EngineStatistics:
        """Return what the engine holds now."""
        return self._figures.of_engine(self._store.writes_refused)

    def load_index(self, index: Index, *, deadline: Deadline = NO_DEADLINE) -> None:
        """Bring an index into memory."""
        self._opened(index).bring(deadline)

    def unload_index(self, index: Index) -> None:
        """Save an index and let it leave memory."""
        opened = self._opened(index)
        if opened.generation is None:
            return
        if opened.is_busy:
            raise _conflict(opened, "its graph is being built anew")
        try:
            self._saver.save(opened)
        except VectorBucketError:
            raise
        except FAILURES as error:
            raise ServiceUnavailable(
                f"index {index.name!r} stays in memory: its checkpoint failed: {error}"
            ) from error
        if not opened.unload() and opened.generation is not None:
            raise _conflict(opened, "it is in use")

    def rebuild_index(self, index: Index) -> None:
        """Begin to build a graph anew."""
        self._indexer.rebuild(self._opened(index))

    def back_up(self, directory: Path, *, deadline: Deadline = NO_DEADLINE) -> None:
        """Write everything into a directory."""
        back_up(self._store, self._rooms(), self._options, directory, deadline)

    # --- Data plane -------------------------------------------------------------------------------

    def put_vectors(
        self,
        index: Index,
        batch: VectorBatch,
        *,
        guard: WriteGuard | None = None,
        backlog_wait_s: float | None = None,
        deadline: Deadline = NO_DEADLINE,
        visible: bool = True,  # noqa: ARG002 - it always is
    ) -> bool:
        """Store a batch."""
        self._store.check_room()
        return self._opened(index).put(batch, guard, backlog_wait_s, deadline)

    def wait_until_visible(self, index: Index, *, deadline: Deadline = NO_DEADLINE) -> None:
        """Do nothing: what was put is seen."""
        deadline.check()
        self._opened(index)

    def get_vectors(
        self, index: Index, keys: Sequence[str], *, data: bool, metadata: bool
    ) -> list[Vector]:
        """Return vectors by key."""
        return self._opened(index).get(keys, data=data, metadata=metadata)

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
        """Return a page of a segment."""
        return self._opened(index).page(
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
        """Return the nearest vectors of each query."""
        return self._opened(index).query(query, deadline)


def _conflict(opened: OpenIndex, why: str) -> VectorIndexOperationConflict:
    """Return the error of whoever wants an index to leave that cannot."""
    index = opened.index
    return VectorIndexOperationConflict(
        f"index {index.name!r} stays in memory: {why}; try again",
        details={"bucket": index.bucket_name, "index_name": index.name},
    )
