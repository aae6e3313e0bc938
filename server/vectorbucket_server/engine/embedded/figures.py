"""What an engine tells of itself: gathered from its parts, now and again from the disk.

Rules of this file: it changes nothing, loads nothing, and waits for nobody's lock. The disk is
looked at as a whole now and then only; a file that goes away meanwhile, or that the disk does not
show, is none.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vectorbucket.errors import Corruption, NoSuchVectorIndex
from vectorbucket_server.engine.embedded.budget import MemoryBudget
from vectorbucket_server.engine.embedded.catalog import Catalog
from vectorbucket_server.engine.embedded.checkpoint import METADATA_FILE
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.recovery import load_checkpoints
from vectorbucket_server.engine.embedded.schema import Checkpoint
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import EngineStatistics, IndexStatistics

_LOOK_AGAIN_S = 5.0
"""How long a look at the disk is good, in seconds."""

_LOOKS_SHARE_MAX = 0.02
"""The share of the time that looks may take: a disk with many files is looked at more rarely."""

_BLOCK_BYTES = 512
"""What ``st_blocks`` counts, whatever the file system's blocks are."""


def taken_bytes(directory: Path) -> int:
    """Return the bytes of disk that the files under a directory take; 0 if it is not there.

    Files of rows are made longer than they are filled: what was never written takes nothing.
    """
    total = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += taken_bytes(Path(entry.path))
                else:
                    try:
                        total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
                    except OSError:
                        continue
    except OSError:
        return total
    return total


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What the data directory takes."""

    store_bytes: int
    graph_bytes: int
    free_bytes: int
    """Of its disk."""


class Figures:
    """Counts what an engine holds."""

    def __init__(
        self,
        data_dir: Path,
        rooms: Callable[[], Sequence[OpenIndex]],
        store: Store,
        catalog: Catalog,
        budget: MemoryBudget[OpenIndex],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what is asked.

        Args:
            data_dir: Where ``store`` and ``generations`` are.
            rooms: Returns the indexes that are open.
            store: Names the checkpoints of indexes that are not in memory.
            catalog: Knows the buckets.
            budget: Knows how much memory there is.
            clock: Seconds from any beginning.
        """
        self._data_dir = data_dir
        self._rooms = rooms
        self._store = store
        self._catalog = catalog
        self._budget = budget
        self._clock = clock
        self._looking = threading.Lock()
        self._used = DiskUse(0, 0, 0)
        self._look_at_s = -1.0
        """When the disk is to be looked at again; negative before the first time."""

    def of_engine(self, writes_refused: str) -> EngineStatistics:
        """Return what the engine holds now.

        Args:
            writes_refused: Why the store refuses writes, or nothing.
        """
        counted, held, dead, checkpoints = [], 0, 0, []
        for opened in self._rooms():
            try:
                counted.append(opened.statistics())
            except NoSuchVectorIndex:
                continue  # dropped meanwhile
            except Corruption:
                # Whoever uses the index is told; of the others there is still something to tell.
                counted.append(IndexStatistics(0, 0, is_loaded=False))
            generation = opened.generation
            if generation is None:
                continue
            counts = generation.graph_counts
            held, dead = held + counts[0], dead + counts[1]
            saved_ms = _saved_ms(opened, opened.checkpoints)
            if saved_ms is not None:
                checkpoints.append(saved_ms)
        used = self._disk_use()
        loaded = [one for one in counted if one.is_loaded]
        return EngineStatistics(
            bucket_count=self._catalog.bucket_count(),
            index_count=len(counted),
            loaded_index_count=len(loaded),
            vector_count=sum(one.vector_count for one in counted),
            pending_vector_count=sum(one.pending_vector_count for one in loaded),
            graph_vector_count=held,
            dead_vector_count=dead,
            memory_bytes=sum(one.memory_bytes for one in loaded),
            memory_bytes_max=self._budget.limit_bytes,
            store_bytes=used.store_bytes,
            graph_bytes=used.graph_bytes,
            disk_free_bytes=used.free_bytes,
            checkpoint_oldest_ms=min(checkpoints, default=None),
            writes_refused=writes_refused,
        )

    def of_index(self, opened: OpenIndex) -> IndexStatistics:
        """Return what an index holds now.

        Raises:
            NoSuchVectorIndex: It was dropped.
        """
        statistics = opened.statistics()
        named: Sequence[Checkpoint] = opened.checkpoints
        if not statistics.is_loaded:
            named = load_checkpoints(self._store, opened.index)
        return replace(
            statistics,
            disk_bytes=taken_bytes(opened.directory),
            checkpoint_ms=_saved_ms(opened, named),
        )

    def _disk_use(self) -> DiskUse:
        """Return what the files take, as of some seconds ago at most where there are few."""
        now_s = self._clock()
        # All but the first caller have something to go on with.
        is_first = self._look_at_s < 0
        if now_s >= self._look_at_s and self._looking.acquire(blocking=is_first):
            try:
                self._used = DiskUse(
                    taken_bytes(self._data_dir / "store"),
                    taken_bytes(self._data_dir / "generations"),
                    shutil.disk_usage(self._data_dir).free,
                )
                ended_s = self._clock()
                good_s = max(_LOOK_AGAIN_S, (ended_s - now_s) / _LOOKS_SHARE_MAX)
                self._look_at_s = max(ended_s + good_s, 0.0)
            finally:
                self._looking.release()
        return self._used


def _saved_ms(opened: OpenIndex, named: Sequence[Checkpoint]) -> int | None:
    """Return when the newest of the named checkpoints was written; None if there is none."""
    if not named:
        return None
    directory = opened.directory / str(named[0].generation) / named[0].name
    try:
        # Written last, and kept with its time by whoever copies the files.
        return (directory / METADATA_FILE).stat().st_mtime_ns // 1_000_000
    except OSError:
        return None  # it was replaced meanwhile, or the disk does not show it
