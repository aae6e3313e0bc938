"""The background thread that writes checkpoints, and the one way to write one.

A checkpoint is due when a graph has changed much since the last one, or a little long ago: so a
crash costs minutes of indexing at most, and writing stays a small multiple of what was put.

Rules of this file:

- It decides when; checkpoint.py knows how. The index is held only while the child is forked.
- A checkpoint exists from the moment the store names it. Two of a generation are kept, and nothing
  else.
- A failure is told to the observer and tried again later.
"""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from vectorbucket.errors import NoSuchVectorIndex, VectorBucketError
from vectorbucket_server.engine.base import Observer
from vectorbucket_server.engine.embedded import checkpoint as checkpoints
from vectorbucket_server.engine.embedded.forked import Child, ChildFailed
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import graph_m, sweep
from vectorbucket_server.engine.embedded.schema import (
    Checkpoint,
    Family,
    checkpoints_key,
    encode_checkpoints,
)
from vectorbucket_server.engine.embedded.store import Store

_LOOK_AGAIN_S = 1.0
"""How often to look whether a checkpoint is due."""

_AFTER_FAILURE_S = 30.0
"""How long an index whose checkpoint failed is left alone."""

_KEPT = 2
"""Checkpoints of an index: the newest, and one to fall back to."""

_SMALL_SHARE = 0.01
"""Changes below this share of the index wait for more, however old they are."""

_PATIENCE_S = 120.0
_PATIENCE_BYTES_PER_S = 10e6
"""How long a child may take: this long, and as if the disk wrote so slowly."""

FAILURES = (VectorBucketError, ChildFailed, OSError, RuntimeError, MemoryError, ValueError)
"""What may go wrong while a checkpoint is written. None of it may end a thread."""


def is_due(generation: Generation, since_s: float, options: EmbeddedOptions) -> bool:
    """Return whether a generation should be saved.

    Args:
        generation: What would be saved.
        since_s: Seconds since it was saved or made.
        options: Of the engine.
    """
    if not generation.has_graph:
        return False
    unsaved, live = generation.unsaved, generation.live_count
    much = max(options.checkpoint_changes_min, options.checkpoint_changes_share * live)
    if unsaved >= much:
        return True
    return since_s >= options.checkpoint_interval_s and unsaved > _SMALL_SHARE * live


def has_outlived(generation: Generation, checkpoints: Sequence[Checkpoint]) -> bool:
    """Return whether checkpoints are only of generations before, and this one needs none.

    An index that has become small has no graph: what it had would be loaded at every start.
    """
    own = int(generation.directory.name)
    return not generation.wants_graph and any(one.generation != own for one in checkpoints)


class Saver:
    """The thread, and ``save`` for those who cannot wait for it."""

    def __init__(
        self,
        indexes: Callable[[], Sequence[OpenIndex]],
        store: Store,
        options: EmbeddedOptions,
        observer: Observer,
        *,
        hurried: threading.Event | None = None,
    ) -> None:
        """Make the saver; ``start`` starts its thread.

        Args:
            indexes: Returns the indexes that are open.
            store: Where checkpoints are named.
            options: Of the engine.
            observer: Is told of failures.
            hurried: Is set when nothing is to be saved any more; what is being saved is given up.
        """
        self._hurried = hurried or threading.Event()
        self._indexes = indexes
        self._store = store
        self._options = options
        self._observer = observer
        self._condition = threading.Condition()
        self._stopping = False
        self._failed_s: dict[int, float] = {}
        self._thread = threading.Thread(target=self._run, name="saver", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the checkpoint under way and end the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join()

    def save_all(self) -> None:
        """Save every index that changed by more than a little; for the end."""
        for opened in self._indexes():
            if self._hurried.is_set():
                return
            generation = opened.generation
            if generation is not None and is_due(generation, math.inf, self._options):
                self._try(opened)

    def _run(self) -> None:
        while True:
            with self._condition:
                if self._condition.wait_for(lambda: self._stopping, _LOOK_AGAIN_S):
                    return
            for opened in self._indexes():
                if self._stopping:
                    return
                if self._is_due(opened):
                    self._try(opened)

    def _is_due(self, opened: OpenIndex) -> bool:
        generation, now = opened.generation, time.monotonic()
        if generation is None or opened.is_busy:
            return False
        if now - self._failed_s.get(opened.index.index_id, -_AFTER_FAILURE_S) < _AFTER_FAILURE_S:
            return False
        if has_outlived(generation, opened.checkpoints):
            return True
        return is_due(generation, now - opened.saved_s, self._options)

    def _try(self, opened: OpenIndex) -> None:
        """Save an index, and tell the observer if that failed."""
        self._failed_s.pop(opened.index.index_id, None)
        try:
            self.save(opened)
        except NoSuchVectorIndex:
            return  # dropped meanwhile
        except FAILURES as error:
            if self._hurried.is_set():
                return
            self._failed_s[opened.index.index_id] = time.monotonic()
            what = f"the checkpoint of {opened.index.name!r}"
            self._observer.background_failed(what, error)

    def save(self, opened: OpenIndex) -> bool:
        """Write a checkpoint of an index; return False if there was nothing to write.

        Raises:
            ChildFailed: It could not be written; whatever was written of it is removed.
            OSError: The same, or there was no room for a child.
            ServiceUnavailable: The store could not name it, or there is no room for it.
        """
        with opened.saving:
            with opened.frozen() as (generation, state):
                if generation is not None and has_outlived(generation, opened.checkpoints):
                    self._keep(opened, generation, [])
                    return False
                if generation is None or not generation.has_graph or not generation.unsaved:
                    return False
                # One that fills the disk would fail, and whatever else is written meanwhile.
                self._store.check_room_for("the checkpoint", generation.size_bytes)
                saved, name = generation.unsaved, checkpoints.free_name(generation.directory)
                held, index, m = generation, opened.index, graph_m(opened.index, self._options)
                child = Child(
                    lambda: msgspec.json.encode(checkpoints.write(held, index, state, m, name))
                )
            patience_s = _PATIENCE_S + generation.size_bytes / _PATIENCE_BYTES_PER_S
            try:
                written = msgspec.json.decode(
                    child.wait(patience_s, self._hurried), type=Checkpoint
                )
                # Those of a generation that was replaced would keep its rows, most of them dead.
                older = [one for one in opened.checkpoints if one.generation == written.generation]
                named = [written, *older][:_KEPT]
                self._name(opened, named)
            except FAILURES:
                shutil.rmtree(generation.directory / name, ignore_errors=True)
                raise
            # From here on the store may name it, whatever fails.
            generation.unsaved -= saved
            self._keep(opened, generation, named)
            return True

    def _name(self, opened: OpenIndex, named: list[Checkpoint]) -> None:
        """Let the store say which checkpoints exist."""
        batch = self._store.batch()
        key = checkpoints_key(opened.index.index_id)
        batch.put(Family.CATALOG, key, encode_checkpoints(named))
        self._store.write(batch)

    def _keep(self, opened: OpenIndex, generation: Generation, named: list[Checkpoint]) -> None:
        """Remove all checkpoints but those named, once that they are named is on the disk."""
        if not named:
            self._name(opened, named)
        opened.checkpoints, opened.saved_s = named, time.monotonic()
        self._store.sync()
        sweep(opened.directory, named, below=int(generation.directory.name))
