"""One generation of an index: rows and the graph that belongs to them, by slot.

Every vector takes the next slot when it is put. The graph holds a prefix of the slots, ``[0,
graphed)``; the rest is *pending*: scanned exactly until the indexer has put it into the graph. A
generation is a hint: it can be made again from the store at any time.

Who may do what, and when:

- ``stage``, ``commit`` and ``publish`` are for the one writer that holds the index's write mutex.
- ``turn`` is for the one thread that works on this generation, under the index's work lock. It
  alone changes the graph.
- ``search`` and ``view`` are for any number of readers.

Rules of this file: it orders memory, not disk: the store is written by open_index.py between
``stage`` and ``commit``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.embedded.graph import Graph, graph_bytes
from vectorbucket_server.engine.embedded.labels import LabelArray
from vectorbucket_server.engine.embedded.metadata_index import MetadataIndex
from vectorbucket_server.engine.embedded.metric import Metric
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.rows import Rows, SavedRows, SlotArray, View
from vectorbucket_server.engine.embedded.rwlock import ReadWriteLock
from vectorbucket_server.model import Float32Array, Index, Metadata

_GRAPH_CAPACITY_MIN = 4_096

_MARKS_MAX = 4_096
"""Dead slots that a turn marks at most: two milliseconds. Readers look for the dead themselves."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search in the graph found, and the view that it is true in."""

    view: View
    graphed: int
    """Slots below it were in the graph; the caller scans the others."""
    slots: npt.NDArray[np.int64]
    """int64, shape (q, k), nearest first; dead ones may be among them. k may be less than asked."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedGraph:
    """What a checkpoint holds of a graph beside its file."""

    graph: Graph
    """Loaded."""
    graphed: int
    """Slots below it are in the graph, or were dead before their turn came."""
    absent: BitMap
    """The slots below ``graphed`` that the graph does not hold."""
    marked: BitMap
    """The slots that the graph hides as dead."""


class Generation:
    """Rows and graph of one index."""

    def __init__(
        self,
        directory: Path,
        index: Index,
        options: EmbeddedOptions,
        *,
        rows: SavedRows | None = None,
        graph: SavedGraph | None = None,
    ) -> None:
        """Make an empty generation in a new directory, or go on with a checkpoint's.

        Args:
            directory: The generation's; it must exist exactly if there is a checkpoint.
            index: Whose generation it is.
            options: Of the engine.
            rows: The rows of a checkpoint.
            graph: The graph of the same checkpoint.

        Raises:
            OSError: The directory or a file cannot be made or read.
            ValueError: A file does not hold what the checkpoint says.
        """
        if rows is None:
            directory.mkdir(parents=True)
        self.directory = directory
        self._index = index
        self._options = options
        self._m = index.graph.m or options.m
        self.rows = Rows(directory, index, rows)
        self._lock = ReadWriteLock()
        self._graph: Graph | None = None
        self._to_mark: deque[int] = deque()
        """Slots that died and are to be hidden by the graph once it holds them."""
        self.absent = BitMap()
        """Slots below ``graphed`` that were dead before their turn."""
        self.marked = BitMap()
        """Slots that the graph hides as dead."""
        self.graphed = 0
        """Slots below it are in the graph, or were dead before their turn came."""
        self.unsaved = 0
        """What a checkpoint would add to the last one: vectors that came, went into the graph, or
        died since."""
        if rows is not None and graph is not None:
            self._graph, self.graphed = graph.graph, graph.graphed
            self.absent, self.marked = graph.absent, graph.marked
            self._to_mark.extend(np.flatnonzero(rows.dead).tolist())

    @property
    def metric(self) -> Metric:
        """How distances are measured."""
        return self.rows.metric

    @property
    def metadata_index(self) -> MetadataIndex:
        """The inverted lists."""
        return self.rows.metadata_index

    @property
    def view(self) -> View:
        """The newest view."""
        return self.rows.view

    @property
    def live_count(self) -> int:
        """Live slots."""
        return self.rows.live_count

    # --- The writer -------------------------------------------------------------------------------

    def stage(self, rows: Float32Array, keys: Sequence[bytes]) -> None:
        """Write rows and keys where ``commit`` will place them; nobody sees them yet.

        Args:
            rows: float32, shape (n, dimension), preprocessed.
            keys: n keys, UTF-8.

        Raises:
            OSError: The disk is full or failing; the generation is as before.
        """
        self.rows.stage(rows, keys)

    def commit(
        self, seq: int, labels: LabelArray, metadata: Sequence[Metadata], dead: LabelArray
    ) -> None:
        """Make staged rows visible and dead labels invisible, at once.

        Args:
            seq: The number of the change.
            labels: uint64, shape (n,): the labels of the n staged rows, ascending.
            metadata: One mapping a label.
            dead: uint64, shape (d,): labels that died.
        """
        self.metadata_index.add(self.view.count, metadata)
        self.publish(seq, labels, dead)

    def publish(self, seq: int, labels: LabelArray, dead: LabelArray) -> None:
        """Do as ``commit`` with rows whose metadata are in the lists already."""
        slots = self.rows.publish(seq, labels, dead)
        self.unsaved += len(labels) + len(dead)
        # Queued only now: what the graph hides as dead must be dead in every view that a reader can
        # still take, or the reader would miss a key between its old version and its new one.
        self._to_mark.extend(slots.tolist())

    # --- The indexer ------------------------------------------------------------------------------

    @property
    def wants_graph(self) -> bool:
        """Whether this index has, or should have, a graph."""
        return self._graph is not None or self.live_count >= self._options.graph_rows_min

    @property
    def pending_slots(self) -> int:
        """Slots that wait for the graph; none if the index needs no graph."""
        return self.view.count - self.graphed if self.wants_graph else 0

    @property
    def pending_live(self) -> int:
        """Live slots that wait for the graph."""
        view, graphed = self.view, self.graphed
        return len(view.live_range(graphed, view.count)) if graphed < view.count else 0

    @property
    def has_work(self) -> bool:
        """Whether a turn would do something."""
        return bool(self.pending_slots or (self._graph is not None and self._to_mark))

    def turn(self, rows_max: int, threads: int) -> int:
        """Put up to ``rows_max`` pending slots into the graph; return how many went in.

        What died meanwhile is marked.
        Queries wait while it lasts.
        """
        if self._graph is None:
            self._graph = self._new_graph()
        with self._lock.write():
            # The view is taken inside the hold: readers that come after it see this one or a newer
            # one, so what is dead in it is dead for them all. What dies later is queued and marked
            # later.
            view = self.view
            start, stop = self.graphed, min(self.graphed + rows_max, view.count)
            alive = view.live_range(start, stop)
            if len(alive):
                self._add(self._graph, view.rows[alive], alive, threads)
            if len(alive) < stop - start:
                self.absent.update(set(range(start, stop)).difference(alive.tolist()))
            self.unsaved += stop - start
            self.graphed = stop
            self._mark_dead()
        return len(alive)

    def _add(self, graph: Graph, rows: Float32Array, slots: SlotArray, threads: int) -> None:
        """Put rows into the graph; where that fails half-way, nobody knows which went in."""
        size = graph.size
        try:
            graph.add(rows, slots.astype(np.uint32), threads=threads)
        except Exception:
            if graph.size != size:
                self._graph, self.graphed = None, 0
                self.absent, self.marked = BitMap(), BitMap()
            raise

    def _new_graph(self) -> Graph:
        return Graph(
            space=self.metric.space,
            dimension=self._index.dimension,
            m=self._m,
            ef_construction=self._index.graph.ef_construction or self._options.ef_construction,
            capacity=max(self.view.count * 5 // 4, _GRAPH_CAPACITY_MIN),
        )

    def _mark_dead(self) -> None:
        """Mark the dead slots that the graph holds; the caller holds the write lock."""
        assert self._graph is not None  # noqa: S101 - turn made it
        for _ in range(min(len(self._to_mark), _MARKS_MAX)):
            slot = self._to_mark.popleft()
            # One that is still to have its turn is dead by then, and never goes in.
            if slot < self.graphed and slot not in self.absent and slot not in self.marked:
                self._graph.mark_dead(slot)
                self.marked.add(slot)

    @property
    def dead_count(self) -> int:
        """Slots that nobody will see again."""
        return self.view.count - self.live_count

    @property
    def graph_counts(self) -> tuple[int, int]:
        """Vectors that the graph holds, and how many of them are dead; a moment's look."""
        if self._graph is None:
            return 0, 0
        held = max(self.graphed - len(self.absent), 0)
        # Writers and the indexer do not wait for whoever counts.
        return held, min(max(held - (self.live_count - self.pending_live), 0), held)

    @property
    def size_bytes(self) -> int:
        """Bytes of memory, about, that it takes once nothing is pending any more.

        What waits for the graph was admitted already (budget.py) and will come.
        """
        graph = 0
        if self.wants_graph:
            graph = graph_bytes(self.view.count, self._index.dimension, self._m)
        return graph + self.rows.size_bytes

    def save_graph(self, path: Path) -> bool:
        """Write the graph to a file; return False if there is none.

        Nothing may change the graph meanwhile. The caller holds the interpreter as long as it
        takes, so this is for a process that has nothing else to do (checkpoint.py).

        Raises:
            OSError: The file is not whole.
        """
        if self._graph is None:
            return False
        self._graph.save(path)
        return True

    # --- The readers ------------------------------------------------------------------------------

    @property
    def has_graph(self) -> bool:
        """Whether there is a graph with something in it."""
        graph = self._graph  # once: it may be replaced between two looks
        return graph is not None and graph.live > 0

    def search(self, queries: Float32Array, breadth: int, threads: int) -> Found:
        """Return the slots of the graph that are nearest to each query.

        The view is taken while the graph is held: every slot that the graph hides as dead is dead
        in it, so that no key is missed between its old version and its new one.

        Args:
            queries: float32, shape (q, dimension), C-contiguous, preprocessed.
            breadth: How many to find, and how broad to search; 1 or more.
            threads: How many to use.
        """
        with self._lock.read():
            view, graphed, graph = self.view, self.graphed, self._graph
            k = min(breadth, graph.live) if graph is not None else 0
            while k and graph is not None:
                found = graph.search(queries, k, threads=threads)
                if found is not None:
                    return Found(view, graphed, found[0].view(np.int64))
                k //= 2
        return Found(view, graphed, np.empty((len(queries), 0), dtype=np.int64))

    # --- The end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the files, and leave them. Readers that hold a view may finish with it."""
        self.rows.close()


def disk_error(index_name: str, error: OSError) -> ServiceUnavailable:
    """Return the contract's error for a file of an index that cannot be written or read."""
    place = f" at {Path(error.filename).name}" if error.filename else ""
    return ServiceUnavailable(f"index {index_name!r}: the disk refused{place}: {error.strerror}")
