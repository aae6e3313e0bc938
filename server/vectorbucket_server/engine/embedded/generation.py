"""One generation of an index: column, labels, bitmaps and graph that belong together, by slot.

Every vector takes the next slot when it is put. The graph holds a prefix of the slots, ``[0,
graphed)``; the rest is *pending*: scanned exactly until the indexer has put it into the graph. A
generation is a
hint: it can be made again from the store at any time.

Who may do what, and when:

- ``stage`` and ``commit`` are for the one writer that holds the index's write mutex.
- ``turn`` is for the one indexer thread that works on this generation. It alone changes the graph.
- ``search`` and ``view`` are for any number of readers.

Rules of this file: it orders memory, not disk: the store is written by open_index.py between
``stage`` and ``commit``.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from vectorbucket_server.engine.embedded.column import Column
from vectorbucket_server.engine.embedded.graph import Graph
from vectorbucket_server.engine.embedded.keys import Keys, KeyView
from vectorbucket_server.engine.embedded.labels import LabelArray, Labels
from vectorbucket_server.engine.embedded.metadata_index import MetadataIndex
from vectorbucket_server.engine.embedded.metric import METRICS, FloatArray
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.rwlock import ReadWriteLock
from vectorbucket_server.model import Float32Array, Index, Metadata

SlotArray = npt.NDArray[np.intp]

_GRAPH_CAPACITY_MIN = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The index as it was at one moment: what a reader takes once and then trusts."""

    seq: int
    """The last change that this view contains."""
    count: int
    """Slots below it exist."""
    labels: LabelArray
    """uint64, shape (capacity,): label by slot."""
    died: LabelArray
    """uint64, shape (capacity,): the seq at which each slot died."""
    rows: Float32Array
    """float32, shape (capacity, dimension), preprocessed, read-only."""
    squared_norms: FloatArray
    """The metric's ``norms_dtype``, shape (capacity,), of the rows."""
    keys: KeyView
    """Key by slot."""
    largest_squared_norm: float
    """Of all rows so far; bounds the error of a scan."""

    def live(self, slots: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Return which of these slots, all below ``count``, are live in this view."""
        result: npt.NDArray[np.bool_] = self.died[slots] > self.seq
        return result

    def live_range(self, start: int, stop: int) -> SlotArray:
        """Return the live slots in ``[start, stop)``, ascending."""
        return np.flatnonzero(self.died[start:stop] > self.seq) + start


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search in the graph found, and the view that it is true in."""

    view: View
    graphed: int
    """Slots below it were in the graph; the caller scans the others."""
    slots: npt.NDArray[np.int64]
    """int64, shape (q, k), nearest first; dead ones may be among them. k may be less than asked."""


class Generation:
    """Column, labels, bitmaps and graph of one index."""

    def __init__(self, directory: Path, index: Index, options: EmbeddedOptions) -> None:
        """Make an empty generation in a directory of its own, which must not exist.

        Raises:
            OSError: The directory cannot be made.
        """
        directory.mkdir(parents=True)
        self.directory = directory
        self.metric = METRICS[index.metric]
        self._dimension = index.dimension
        self._options = options
        self._column = Column(directory / "column.f32", index.dimension)
        self._labels = Labels()
        self._keys = Keys(directory / "keys")
        self._squared_norms: FloatArray = np.empty(0, dtype=self.metric.norms_dtype)
        self._largest_squared_norm = 0.0
        self.metadata_index = MetadataIndex(index.non_filterable_keys)
        self._lock = ReadWriteLock()
        self._graph: Graph | None = None
        self._dead_in_graph: deque[int] = deque()
        self._absent = BitMap()  # slots below graphed that were dead before their turn
        self.graphed = 0
        """Slots below it are in the graph, or were dead before their turn came."""
        self.live_count = 0
        """Live slots."""
        self.view = self._seen(0)
        """The newest view; replaced as a whole by each commit."""

    # --- The writer -------------------------------------------------------------------------------

    def stage(self, rows: Float32Array, keys: Sequence[bytes]) -> None:
        """Write rows and keys where ``commit`` will place them; nobody sees them yet.

        Args:
            rows: float32, shape (n, dimension), preprocessed.
            keys: n keys, UTF-8.

        Raises:
            OSError: The disk is full or failing; the generation is as before.
        """
        first = self._labels.count
        self._column.write(first, rows)
        self._keys.write(first, keys)
        end = first + len(rows)
        if end > len(self._squared_norms):
            capacity = max(end, len(self._squared_norms) * 3 // 2, 1_024)
            grown = np.empty(capacity, dtype=self.metric.norms_dtype)
            grown[:first] = self._squared_norms[:first]
            self._squared_norms = grown
        self._squared_norms[first:end] = self.metric.squared_norms(rows)

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
        first = self._labels.count
        slots = np.empty(0, dtype=np.intp)
        if len(dead):
            slots = self._labels.slots(dead)
            self._labels.kill(slots, seq)
        if len(labels):
            self._labels.append(labels)
            self.metadata_index.add(first, metadata)
            largest = float(self._squared_norms[first : self._labels.count].max())
            self._largest_squared_norm = max(self._largest_squared_norm, largest)
        self.live_count += len(labels) - len(dead)
        self.view = self._seen(seq)
        # Queued only now: what the graph hides as dead must be dead in every view that a reader can
        # still take, or the reader would miss a key between its old version and its new one.
        self._dead_in_graph.extend(slots.tolist())

    def _seen(self, seq: int) -> View:
        """Return what a reader sees from now on."""
        return View(
            seq,
            self._labels.count,
            self._labels.by_slot,
            self._labels.died,
            self._column.rows,
            self._squared_norms,
            self._keys.view,
            self._largest_squared_norm,
        )

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
        view = self.view
        return len(view.live_range(min(self.graphed, view.count), view.count))

    @property
    def has_work(self) -> bool:
        """Whether a turn would do something."""
        return bool(self.pending_slots or (self._graph is not None and self._dead_in_graph))

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
                self._graph.add(view.rows[alive], alive.astype(np.uint32), threads=threads)
            if len(alive) < stop - start:
                self._absent.update(set(range(start, stop)).difference(alive.tolist()))
            self.graphed = stop
            self._mark_dead()
        return len(alive)

    def _new_graph(self) -> Graph:
        return Graph(
            space=self.metric.space,
            dimension=self._dimension,
            m=self._options.m,
            ef_construction=self._options.ef_construction,
            capacity=max(self.view.count * 5 // 4, _GRAPH_CAPACITY_MIN),
        )

    def _mark_dead(self) -> None:
        """Mark the dead slots that the graph holds; the caller holds the write lock."""
        assert self._graph is not None  # noqa: S101 - turn made it
        later = []
        while self._dead_in_graph:
            slot = self._dead_in_graph.popleft()
            if slot >= self.graphed:
                later.append(slot)
            elif slot not in self._absent:
                self._graph.mark_dead(slot)
        self._dead_in_graph.extend(later)

    # --- The readers ------------------------------------------------------------------------------

    @property
    def has_graph(self) -> bool:
        """Whether there is a graph with something in it."""
        return self._graph is not None and self._graph.live > 0

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
                    return Found(view, graphed, found[0].astype(np.int64))
                k //= 2
        return Found(view, graphed, np.empty((len(queries), 0), dtype=np.int64))

    # --- The end ----------------------------------------------------------------------------------

    def discard(self) -> None:
        """Close and remove the files. Readers that hold a view may finish with it."""
        self._column.close()
        self._keys.close()
        shutil.rmtree(self.directory, ignore_errors=True)
