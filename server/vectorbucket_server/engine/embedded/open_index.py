"""One index, open: applies a batch, answers a query.

The life of a write, in order: prepare everything that needs no lock; take the write mutex; read
which labels the keys have; write the column (nobody sees it yet); write the store, in one batch;
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

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from vectorbucket.errors import NoSuchVectorIndex, RequestTimeout, ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline, Observer, WriteGuard
from vectorbucket_server.engine.embedded import recovery
from vectorbucket_server.engine.embedded.dead_rows import DeadRows
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.pending import Backlog
from vectorbucket_server.engine.embedded.reader import Reader
from vectorbucket_server.engine.embedded.schema import (
    Family,
    IndexState,
    LabelArray,
    decode_number,
    encode_change,
    encode_number,
    encode_row,
    encode_state,
    label_key,
    state_key,
    vector_prefix,
)
from vectorbucket_server.engine.embedded.search import Search
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import (
    Float32Array,
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

_LOAD_WAIT_S = 2.0
"""How long, in seconds, a caller waits for an index that another thread is loading."""


class OpenIndex:
    """An index that is in use. Its generation is made on first use."""

    def __init__(
        self,
        index: Index,
        store: Store,
        options: EmbeddedOptions,
        observer: Observer,
        work_came: Callable[[], None],
    ) -> None:
        """Make the room; nothing is read yet.

        Args:
            index: The index.
            store: Where its records are.
            options: Of the engine.
            observer: Is told which plans ran.
            work_came: Called when there is work for the indexer or the reaper.
        """
        self.index = index
        self.queried_s = 0.0
        """When the last query came, on the monotonic clock; the indexer yields to queries."""
        self.put_s = 0.0
        """When the last put was committed, on the same clock; it yields to a burst of puts, too."""
        self._store = store
        self._options = options
        self._observer = observer
        self._work_came = work_came
        self._mutex = threading.Lock()
        self._dropped = False
        self._generation: Generation | None = None
        self._generation_number = 0
        self._state = IndexState(next_label=1, seq=0, vector_count=0)
        self.dead_rows = DeadRows(index.index_id, store)
        self._reader = Reader(index, store)
        self.backlog = Backlog(self._pending_bytes, options.pending_bytes_max)

    # --- Coming and going -------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        """Where the generations of this index are."""
        return self._options.data_dir / "generations" / str(self.index.index_id)

    @property
    def generation(self) -> Generation | None:
        """The generation, if it was made."""
        return self._generation

    def load(self, deadline: Deadline, stop: Deadline = NO_DEADLINE) -> Generation:
        """Return the generation, making it from the store if need be.

        Args:
            deadline: How long the caller waits for someone else who is making it. Whoever has begun
                finishes, or callers with little time would for ever begin anew.
            stop: Ends the making all the same, when the engine closes.

        Raises:
            NoSuchVectorIndex: The index was dropped.
            RequestTimeout: The deadline passed while the generation was made.
            ServiceUnavailable: Someone else is making it, and that takes longer than a moment.
            Corruption: The store's records do not fit together.
        """
        if self._dropped:
            raise self._gone()
        generation = self._generation
        if generation is not None:
            return generation
        left_s = deadline.remaining_s()
        patient = left_s is None or left_s > _LOAD_WAIT_S
        if not self._mutex.acquire(timeout=_LOAD_WAIT_S if patient else max(left_s or 0.0, 0.0)):
            # Whoever waits holds a worker; other indexes need those.
            text = f"index {self.index.name!r} is still being loaded"
            raise ServiceUnavailable(text) if patient else RequestTimeout(text)
        try:
            return self._load_held(stop)
        finally:
            self._mutex.release()

    def _load_held(self, stop: Deadline = NO_DEADLINE) -> Generation:
        """Return the generation; the caller holds the mutex."""
        if self._dropped:
            raise self._gone()
        if self._generation is None:
            self._generation_number += 1
            self._state = recovery.load_state(self._store, self.index)
            self.dead_rows.start_over(recovery.load_dead(self._store, self.index))
            try:
                self._generation = recovery.build_generation(
                    self._store,
                    self.index,
                    self._state,
                    self.directory / str(self._generation_number),
                    self._options,
                    stop=stop,
                )
            except OSError as error:
                raise _disk_error(error) from error
            self._work_came()
        return self._generation

    def drop(self, forget: Callable[[], None]) -> None:
        """Run ``forget``, which removes the definition, and refuse everything from then on.

        Raises:
            NoSuchVectorIndex: The index was dropped already.
        """
        with self._mutex:
            if self._dropped:
                raise self._gone()
            forget()
            self._dropped = True
        self.backlog.shrunk()

    def close(self) -> None:
        """Let go of the generation."""
        with self._mutex:
            if self._generation is not None:
                self._generation.discard()
                self._generation = None

    def _gone(self) -> NoSuchVectorIndex:
        return NoSuchVectorIndex.of(self.index.bucket_name, self.index.name)

    def _pending_bytes(self) -> int:
        generation = self._generation
        if generation is None or self._dropped:
            return 0
        return generation.pending_slots * self.index.dimension * 4

    def statistics(self) -> IndexStatistics:
        """Return what the index holds now; an index that is not loaded is not loaded for that."""
        if self._dropped:
            raise self._gone()
        generation = self._generation
        if generation is None:
            count = recovery.load_state(self._store, self.index).vector_count
            return IndexStatistics(count, count if count >= self._options.graph_rows_min else 0)
        pending = generation.pending_live if generation.wants_graph else 0
        return IndexStatistics(self._state.vector_count, pending)

    # --- Writing ----------------------------------------------------------------------------------

    def put(
        self,
        batch: VectorBatch,
        guard: WriteGuard | None,
        backlog_wait_s: float | None,
        deadline: Deadline,
    ) -> bool:
        """Store a batch; see Engine.put_vectors."""
        generation = self.load(deadline)
        self.backlog.wait(backlog_wait_s, deadline)
        rows = generation.metric.preprocess(batch.data)
        prefix = vector_prefix(self.index.index_id)
        names = [key.encode() for key in batch.keys]
        vector_keys = [prefix + name for name in names]
        records = list(map(encode_row, batch.keys, batch.metadata))
        raw, width = batch.data.astype("<f4", copy=False).tobytes(), self.index.dimension * 4
        data = [raw[start : start + width] for start in range(0, len(raw), width)]
        deadline.check()
        with self._mutex:
            generation = self._load_held()
            admitted = guard is None or guard.admit()
            if admitted:
                self._stage(generation, rows, names)
                self._commit(generation, vector_keys, records, data, batch.metadata)
                self.put_s = time.monotonic()
                if guard is not None:
                    guard.committed()
        self._work_came()
        self._store.sync()
        return admitted

    def delete(self, keys: Sequence[str], deadline: Deadline) -> None:
        """Delete vectors; see Engine.delete_vectors."""
        self.load(deadline)
        prefix = vector_prefix(self.index.index_id)
        vector_keys = [prefix + key.encode() for key in dict.fromkeys(keys)]
        deadline.check()
        with self._mutex:
            self._commit(self._load_held(), vector_keys, [], [], ())
        self._work_came()
        self._store.sync()

    def _stage(self, generation: Generation, rows: Float32Array, names: list[bytes]) -> None:
        """Write rows and keys beside the store, or change nothing; the caller holds the mutex."""
        try:
            generation.stage(rows, names)
        except OSError as error:
            raise _disk_error(error) from error

    def _commit(
        self,
        generation: Generation,
        vector_keys: list[bytes],
        records: list[bytes],
        data: list[bytes],
        metadata: Sequence[Metadata],
    ) -> None:
        """Replace what is stored under the keys by records, or by nothing if there are none.

        The caller holds the mutex and has staged the rows.
        """
        index_id, before = self.index.index_id, self._state
        dead = [
            decode_number(Family.VECTORS, key, value)
            for key, value in zip(
                vector_keys, self._store.get_many(Family.VECTORS, vector_keys), strict=True
            )
            if value is not None
        ]
        if not dead and not records:
            return
        seq, born = before.seq + 1, range(before.next_label, before.next_label + len(records))
        after = IndexState(born.stop, seq, before.vector_count + len(born) - len(dead))
        batch = self._store.batch()
        if born:
            label_keys = [label_key(index_id, label) for label in born]
            batch.put_many(Family.VECTORS, vector_keys, [encode_number(label) for label in born])
            batch.put_many(Family.ROWS, label_keys, records)
            batch.put_many(Family.DATA, label_keys, data)
        else:
            batch.delete_many(Family.VECTORS, vector_keys)
        if dead:
            batch.put(Family.CHANGES, label_key(index_id, seq), encode_change(dead))
        batch.put(Family.CATALOG, state_key(index_id), encode_state(after))
        self._store.write(batch)
        labels: LabelArray = np.array(born, dtype=np.uint64)
        died = np.array(sorted(dead), dtype=np.uint64)
        try:
            generation.commit(seq, labels, metadata, died)
            if dead:
                self.dead_rows.add(seq, died)
            # Last: a reader that enters with this seq must not be given an older view.
            self._state = after
        except BaseException:
            # The store has it and memory does not: make memory again from the store.
            self._generation = None
            generation.discard()
            raise

    # --- Reading ----------------------------------------------------------------------------------

    def _reading(self) -> AbstractContextManager[None]:
        return self.dead_rows.reading(lambda: self._state.seq)

    def get(self, keys: Sequence[str], *, data: bool, metadata: bool) -> list[Vector]:
        """Return vectors by key; see Engine.get_vectors."""
        with self._reading(), self._unless_gone():
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
        with self._reading(), self._unless_gone():
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
        with self._reading(), self._unless_gone():
            # Loaded only now: a generation that was taken before might be older than the seq that
            # this reader entered with, and rows that it shows might be gone.
            generation = self.load(deadline)
            self.queried_s = time.monotonic()
            search = Search(
                generation=generation,
                queries=generation.metric.preprocess(query.vectors),
                top_k=query.top_k,
                filter=query.filter,
                ef_search=self._options.ef_search,
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


def _disk_error(error: OSError) -> ServiceUnavailable:
    """Return the contract's error for a file that cannot be written."""
    return ServiceUnavailable(f"the disk refused a write: {error.strerror}")
