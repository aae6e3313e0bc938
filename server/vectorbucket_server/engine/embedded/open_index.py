"""One index, open: applies a change, answers a query.

The life of a write, in order: prepare everything that needs no lock; take the write mutex; read
which labels the keys have; write the rows (nobody sees them yet); write the store, in one batch;
make it visible; release; sync. Store order = seq order = visible order, because all three happen
under one mutex.

Readers take no mutex: they enter (dead_rows.py), take a view or labels, and fetch rows that never
change.

Rules of this file:

- The store is written before memory follows; if memory fails to follow, it is thrown away and made
  again.
- The sync is outside the mutex, so one slow disk sync never keeps another writer or reader waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from vectorbucket_server.engine.base import Deadline, Observer, WriteGuard
from vectorbucket_server.engine.embedded import change as changes
from vectorbucket_server.engine.embedded.budget import MemoryBudget
from vectorbucket_server.engine.embedded.change import Change
from vectorbucket_server.engine.embedded.footprint import vector_bytes
from vectorbucket_server.engine.embedded.generation import Generation, disk_error
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.pending import Backlog
from vectorbucket_server.engine.embedded.reader import Reader
from vectorbucket_server.engine.embedded.recovery import BeingLoaded, load_state
from vectorbucket_server.engine.embedded.room import Room
from vectorbucket_server.engine.embedded.search import Search
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import (
    Hit,
    Index,
    IndexStatistics,
    Metadata,
    Page,
    Query,
    Segment,
    Vector,
    VectorBatch,
)


class OpenIndex(Room):
    """An index that is in use."""

    def __init__(
        self,
        index: Index,
        store: Store,
        options: EmbeddedOptions,
        observer: Observer,
        *,
        budget: MemoryBudget[Any],
        work_came: Callable[[], None],
    ) -> None:
        """Make it; nothing is read yet. The arguments are Room's."""
        super().__init__(index, store, options, observer, budget=budget, work_came=work_came)
        self.queried_s = 0.0
        """When the last query came, on the monotonic clock; the indexer yields to queries."""
        self.put_s = 0.0
        """When the last put was committed, on the same clock; it yields to a burst of puts, too."""
        self._reader = Reader(index, store)
        self.backlog = Backlog(self._pending_bytes, options.pending_bytes_max)

    def drop(self, forget: Callable[[], None]) -> None:
        """Run ``forget``, which removes the definition, and refuse everything from then on.

        Raises:
            NoSuchVectorIndex: The index was dropped already.
        """
        super().drop(forget)
        self.backlog.shrunk()

    def _pending_bytes(self) -> int:
        generation = self._generation
        if generation is None or self._dropped:
            return 0
        return generation.pending_slots * self.index.dimension * 4

    def statistics(self) -> IndexStatistics:
        """Return what the index holds now; an index that is not loaded is not loaded for that."""
        with self._unless_gone():
            generation, state = self._generation, self._known
            if generation is None or state is None:
                count = (state or load_state(self._store, self.index)).vector_count
                pending = count if count >= self._options.graph_rows_min else 0
                return IndexStatistics(count, pending, is_loaded=False)
            held, dead = generation.graph_counts
            return IndexStatistics(
                state.vector_count,
                generation.pending_live if generation.wants_graph else 0,
                dead_share=dead / held if held else 0.0,
                is_rebuilding=self.is_busy,
                memory_bytes=generation.size_bytes,
            )

    def bring(self, deadline: Deadline) -> Generation:
        """Return the generation, however long somebody else is at loading it.

        Raises:
            RequestTimeout: The deadline passed meanwhile.
            VectorBucketError: As for ``load``.
        """
        while True:
            try:
                return self.load(deadline)
            except BeingLoaded:
                # Unlike other callers, whoever asks for this holds no thread that those need.
                deadline.check()

    # --- Writing ----------------------------------------------------------------------------------

    def put(
        self,
        batch: VectorBatch,
        guard: WriteGuard | None,
        backlog_wait_s: float | None,
        deadline: Deadline,
    ) -> bool:
        """Store a batch; see Engine.put_vectors."""
        metric = self.load(deadline).metric  # and no more: a writer may wait for long
        self.backlog.wait(backlog_wait_s, deadline)
        rows = metric.preprocess(batch.data)
        names = [key.encode() for key in batch.keys]
        change = changes.putting(self.index.index_id, batch)
        deadline.check()
        with self._admitted(deadline, len(batch) * vector_bytes(self.index, self._options)):
            generation = self._load_held()
            admitted = guard is None or guard.admit()
            if admitted:
                try:
                    generation.stage(rows, names)
                except OSError as error:
                    raise disk_error(self.index.name, error) from error
                self._commit(change, batch.metadata)
                self.put_s = time.monotonic()
                if guard is not None:
                    guard.committed()
        self._work_came()
        self._store.sync()
        return admitted

    def delete(self, keys: Sequence[str], deadline: Deadline) -> None:
        """Delete vectors; see Engine.delete_vectors. An index is not loaded for that."""
        change = changes.deleting(self.index.index_id, keys)
        deadline.check()
        with self._writing(deadline):
            if self._dropped:
                raise self._gone()
            self._commit(change, ())
        self._work_came()
        self._store.sync()

    def _commit(self, change: Change, metadata: Sequence[Metadata]) -> None:
        """Write a change to the store, then to memory; the caller holds the mutex, has staged."""
        committed = changes.commit(self._store, change, self._state())
        if committed is None:
            return
        generation, state = self._generation, committed.state
        try:
            if generation is not None:
                generation.commit(state.seq, committed.born, metadata, committed.dead)
            if len(committed.dead):
                self.dead_rows.add(state.seq, committed.dead)
            # Last: a reader that enters with this seq must not be given an older view.
            self._known = state
        except BaseException:
            self.forget()  # the store has it and memory does not
            raise

    # --- Reading ----------------------------------------------------------------------------------

    def get(self, keys: Sequence[str], *, data: bool, metadata: bool) -> list[Vector]:
        """Return vectors by key; see Engine.get_vectors."""
        with self.reading(), self._unless_gone():
            return self._reader.get(keys, data=data, metadata=metadata)

    def page(
        self,
        *,
        after: str,
        limit: int,
        bytes_max: int,
        segment: Segment,
        data: bool,
        metadata: bool,
    ) -> Page[Vector]:
        """Return a page; see Engine.list_vectors."""
        with self.reading(), self._unless_gone():
            return self._reader.page(
                after=after,
                limit=limit,
                bytes_max=bytes_max,
                segment=segment,
                data=data,
                metadata=metadata,
            )

    def query(self, query: Query, deadline: Deadline) -> list[list[Hit]]:
        """Return the nearest vectors; see Engine.query_vectors."""
        # Loaded only when it reads: a generation that was taken before might be older than the seq
        # that this reader entered with, and rows that it shows might be gone.
        with self.reading(), self._unless_gone(), self.using(deadline) as generation:
            self.queried_s = time.monotonic()
            search = Search(
                generation=generation,
                queries=generation.metric.preprocess(query.vectors),
                top_k=query.top_k,
                filter=query.filter,
                ef_search=query.ef_search or self.index.graph.ef_search or self._options.ef_search,
                threads=self._options.threads() if len(query.vectors) > 1 else 1,
                deadline=deadline,
            )
            plan, view, ranked = search.run()
            self._observer.plan_chosen(plan.name, len(query.vectors))
            return self._reader.hits(view, ranked, query)

    def _unless_gone(self) -> AbstractContextManager[None]:
        return _UnlessGone(self)


class _UnlessGone:
    """Turns whatever a reader stumbles over in a dropped index into NoSuchVectorIndex."""

    def __init__(self, opened: OpenIndex) -> None:
        self._opened = opened

    def __enter__(self) -> None:
        if self._opened._dropped:  # noqa: SLF001 - the same room
            raise self._opened._gone()  # noqa: SLF001

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._opened._dropped and isinstance(error, Exception):  # noqa: SLF001
            raise self._opened._gone() from error  # noqa: SLF001
