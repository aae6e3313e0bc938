"""``rebuild``: the graphs of a data directory made anew, by an engine that nobody calls.

What the store says of an index's checkpoints is removed, so that the engine makes its graph from
the vectors as it does for one that never had any, and writes a checkpoint of it.

Rules of this file: the store's vectors are only read. An interrupted rebuild costs time: the server
makes what is missing when it starts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from vectorbucket.errors import ServiceUnavailable, VectorIndexOperationConflict
from vectorbucket_server.engine.base import SilentObserver
from vectorbucket_server.engine.embedded.at_rest import opened_at_rest
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import load_checkpoints, load_state
from vectorbucket_server.engine.embedded.restore import take_over
from vectorbucket_server.engine.embedded.schema import (
    INDEX_PREFIX,
    Family,
    checkpoints_key,
    decode_index,
)
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Index

_LOOK_S = 0.1
"""How often, in seconds, it is looked how far the engine is."""

_STUCK_S = 60.0
"""How long, in seconds, nothing may go into a graph after the engine told of a failure."""

OnProgress = Callable[[Index, int, int], None]
"""Is told of an index how many vectors are in its graph, and how many there are."""


class _Failures(SilentObserver):
    """Remembers what failed last."""

    def __init__(self) -> None:
        self.last = ""

    def background_failed(self, what: str, error: Exception) -> None:
        """Remember a failure."""
        self.last = f"{what}: {error}"


def indexes_at_rest(data_dir: Path, options: EmbeddedOptions) -> list[Index]:
    """Return the indexes of a data directory that no server uses.

    Raises:
        ServiceUnavailable: It cannot be opened: a server uses it, say.
        Corruption: A record is broken.
    """
    with opened_at_rest(data_dir, options) as rest:
        records = rest.store.scan(Family.CATALOG, INDEX_PREFIX, INDEX_PREFIX + b"\xff")
        return [decode_index(key, value) for key, value in records]


def rebuild(indexes: Sequence[Index], options: EmbeddedOptions, on_progress: OnProgress) -> None:
    """Make the graphs of indexes anew, and save them.

    Args:
        indexes: Of the data directory.
        options: Of the engine; they name the directory.
        on_progress: Is told now and then how far it is.

    Raises:
        ServiceUnavailable: A server uses the directory, it is a backup, or the disk is full or
            failing.
        Corruption: Vectors are damaged; check says which.
    """
    take_over(options.data_dir)
    _forget_checkpoints(indexes, options)
    failures = _Failures()
    engine = EmbeddedEngine(options, failures)
    engine.open()
    try:
        for index in indexes:
            engine.load_index(index)
            _wait(engine, index, failures, on_progress)
            # If it cannot leave just now, it is saved at the end.
            with suppress(VectorIndexOperationConflict):
                engine.unload_index(index)
    finally:
        engine.close()
    _check_saved(indexes, options, failures)


def _forget_checkpoints(indexes: Sequence[Index], options: EmbeddedOptions) -> None:
    store = Store(options.data_dir / "store", options)
    try:
        batch = store.batch()
        for index in indexes:
            batch.delete(Family.CATALOG, checkpoints_key(index.index_id))
        store.write(batch)
    finally:
        store.close()


def _check_saved(indexes: Sequence[Index], options: EmbeddedOptions, failures: _Failures) -> None:
    """Return if every index that wants a graph has a checkpoint.

    Raises:
        ServiceUnavailable: One has none.
    """
    with opened_at_rest(options.data_dir, options) as rest:
        for index in indexes:
            wants_graph = load_state(rest.store, index).vector_count >= options.graph_rows_min
            if wants_graph and not load_checkpoints(rest.store, index):
                raise ServiceUnavailable(
                    f"the graph of index {index.name!r} was not saved: {failures.last}"
                )


def _wait(
    engine: EmbeddedEngine, index: Index, failures: _Failures, on_progress: OnProgress
) -> None:
    """Return when all vectors of an index are in its graph, or it needs none.

    Raises:
        ServiceUnavailable: That does not come to an end.
    """
    pause, least, since_s = threading.Event(), -1, time.monotonic()
    while True:
        statistics = engine.index_statistics(index)
        pending, total = statistics.pending_vector_count, statistics.vector_count
        on_progress(index, total - pending, total)
        if not pending:
            return
        if pending != least:
            least, since_s = pending, time.monotonic()
        elif failures.last and time.monotonic() - since_s > _STUCK_S:
            raise ServiceUnavailable(f"index {index.name!r} cannot be built: {failures.last}")
        pause.wait(_LOOK_S)
