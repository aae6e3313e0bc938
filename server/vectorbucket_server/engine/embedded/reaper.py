"""The background thread that removes what nobody can see: dead rows and dropped indexes.

Rules of this file:

- What it does is never waited for, may be done twice, and is found again at the next start if it
  was not done: the store's ``changes`` and ``d/`` records say what is left.
- A failure is told to the observer and tried again later.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from vectorbucket.errors import VectorBucketError
from vectorbucket_server.engine.base import Observer
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.schema import (
    Family,
    checkpoints_key,
    drop_key,
    index_range,
    state_key,
)
from vectorbucket_server.engine.embedded.store import Store

_LOOK_AGAIN_S = 1.0
"""How soon to look again when readers or a failure were in the way."""


class Reaper:
    """The thread, and what wakes it."""

    def __init__(
        self,
        store: Store,
        indexes: Callable[[], Sequence[OpenIndex]],
        generations: Path,
        observer: Observer,
    ) -> None:
        """Make the reaper; ``start`` starts it.

        Args:
            store: Where records are removed.
            indexes: Returns the indexes that are open.
            generations: The directory that holds one directory an index.
            observer: Is told of failures.
        """
        self._store = store
        self._indexes = indexes
        self._generations = generations
        self._observer = observer
        self._dropped: dict[int, OpenIndex | None] = {}
        self._condition = threading.Condition()
        self._woken = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)

    def start(self, dropped: Sequence[int]) -> None:
        """Start the thread; ``dropped`` are indexes whose removal an earlier process began."""
        self._dropped.update(dict.fromkeys(dropped))
        self._woken = True
        self._thread.start()

    def stop(self) -> None:
        """Finish what is under way and end the thread; the rest is done at the next start."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join()

    def wake(self) -> None:
        """Say that something died."""
        if self._woken:
            return
        with self._condition:
            self._woken = True
            self._condition.notify()

    def drop(self, opened: OpenIndex) -> None:
        """Remove the records and files of a dropped index once its readers are gone."""
        with self._condition:
            self._dropped[opened.index.index_id] = opened
            self._woken = True
            self._condition.notify()

    def _run(self) -> None:
        again = False
        while True:
            with self._condition:
                if not (self._woken or self._stopping):
                    self._condition.wait(_LOOK_AGAIN_S if again else None)
                self._woken = False
                if self._stopping:
                    return
            again = self._reap()

    def _reap(self) -> bool:
        """Remove what can be removed now; return whether something is left."""
        if not self._store.takes_writes:
            return True  # which is told of once, and not by everybody who would write
        left = False
        for opened in self._indexes():
            if opened.dead_rows.has_work:
                self._try(opened.dead_rows.remove)
                left = left or opened.dead_rows.has_work
        with self._condition:
            dropped = list(self._dropped.items())
        for index_id, was_open in dropped:
            read = was_open is not None and was_open.dead_rows.has_readers
            if read or not self._try(partial(self._remove_index, index_id, was_open)):
                left = True
        return left

    def _try(self, remove: Callable[[], object]) -> bool:
        """Remove something; return False, and tell the observer, if that failed."""
        try:
            remove()
        except (VectorBucketError, OSError, RuntimeError, MemoryError, ValueError) as error:
            self._observer.background_failed("removal of dead rows", error)
            return False
        return True

    def _remove_index(self, index_id: int, opened: OpenIndex | None) -> None:
        """Remove everything of an index, and last the record that says that it is being dropped."""
        if opened is not None:
            opened.close()
        batch = self._store.batch()
        start, stop = index_range(index_id)
        for family in (Family.VECTORS, Family.ROWS, Family.DATA, Family.CHANGES):
            batch.delete_range(family, start, stop)
        batch.delete(Family.CATALOG, state_key(index_id))
        batch.delete(Family.CATALOG, checkpoints_key(index_id))
        self._store.write(batch)
        directory = self._generations / str(index_id)
        while directory.exists():
            # The indexer may be removing a generation that it was building, at the same time.
            with suppress(FileNotFoundError):
                shutil.rmtree(directory)
        batch = self._store.batch()
        batch.delete(Family.CATALOG, drop_key(index_id))
        self._store.write(batch)
        with self._condition:
            del self._dropped[index_id]
