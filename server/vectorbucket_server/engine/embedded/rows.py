"""The rows of a generation: everything about its slots but the graph.

Numbers, one-byte codes, labels, keys and the lists of metadata, slot by slot. A commit publishes
all of it at once, as one ``View``: what a reader takes once and then trusts, whatever is written
meanwhile.

Rules of this file:

- One writer at a time (the index's write mutex); any number of readers, without a lock.
- A row that was published never changes. Slots only ever die.
- Files are in the generation's directory, and hints: a checkpoint says how many of their rows are
  to be trusted after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vectorbucket_server.engine.embedded import codes
from vectorbucket_server.engine.embedded.column import Column
from vectorbucket_server.engine.embedded.keys import Keys, KeyView
from vectorbucket_server.engine.embedded.labels import LabelArray, Labels
from vectorbucket_server.engine.embedded.metadata_index import MetadataIndex
from vectorbucket_server.engine.embedded.metric import METRICS, FloatArray
from vectorbucket_server.model import Float32Array, Index

SlotArray = npt.NDArray[np.intp]

COLUMN_FILE = "column.f32"
CODES_FILE = "codes.i8"
KEYS_FILE = "keys"


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
    codes: npt.NDArray[np.int8]
    """int8, shape (capacity, dimension), read-only: the rows in one byte a number (codes.py)."""
    code_scales: Float32Array
    """float32, shape (capacity,): what one step of a row's codes is worth."""
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
class SavedRows:
    """What a checkpoint holds of the rows beside their files. All arrays have ``count`` entries."""

    labels: LabelArray
    """uint64, ascending."""
    dead: npt.NDArray[np.bool_]
    """bool: which are dead for every reader."""
    code_scales: Float32Array
    """float32."""
    squared_norms: FloatArray
    """The metric's ``norms_dtype``."""
    key_starts: npt.NDArray[np.uint64]
    """uint64, one more entry than the others."""
    metadata_index: MetadataIndex
    """The lists of these slots."""


class Rows:
    """Slots of one generation, in memory and in its files."""

    def __init__(self, directory: Path, index: Index, saved: SavedRows | None = None) -> None:
        """Make empty rows in a new directory, or go on with those of a checkpoint.

        Args:
            directory: The generation's; it must exist.
            index: Whose rows they are.
            saved: What a checkpoint says; the files are then there already.

        Raises:
            OSError: A file cannot be made or read.
            ValueError: A file does not hold what the checkpoint says.
        """
        self.metric = METRICS[index.metric]
        count = 0 if saved is None else len(saved.labels)
        self._labels = Labels()
        self._column = Column(directory / COLUMN_FILE, index.dimension, np.float32, count=count)
        self._codes = Column(directory / CODES_FILE, index.dimension, np.int8, count=count)
        self._keys = Keys(directory / KEYS_FILE, starts=None if saved is None else saved.key_starts)
        self._squared_norms: FloatArray = np.empty(0, dtype=self.metric.norms_dtype)
        self._code_scales: Float32Array = np.empty(0, dtype=np.float32)
        self._largest_squared_norm = 0.0
        self.metadata_index = MetadataIndex(index.non_filterable_keys)
        self.live_count = 0
        """Live slots."""
        if saved is not None:
            self._labels.resume(saved.labels, saved.dead)
            self._squared_norms, self._code_scales = saved.squared_norms, saved.code_scales
            self._largest_squared_norm = float(saved.squared_norms.max(initial=0.0))
            self.metadata_index = saved.metadata_index
            self.live_count = count - int(np.count_nonzero(saved.dead))
        self.view = self._seen(0)
        """The newest view; replaced as a whole by each commit."""

    def stage(self, rows: Float32Array, keys: Sequence[bytes]) -> None:
        """Write rows and keys where ``publish`` will place them; nobody sees them yet.

        Args:
            rows: float32, shape (n, dimension), preprocessed.
            keys: n keys, UTF-8.

        Raises:
            OSError: The disk is full or failing; the rows are as before.
        """
        first = self._labels.count
        coded, scales = codes.encode(rows)
        self._column.write(first, rows)
        self._codes.write(first, coded)
        self._keys.write(first, keys)
        end = first + len(rows)
        if end > len(self._squared_norms):
            capacity = max(end, len(self._squared_norms) * 3 // 2, 1_024)
            self._squared_norms = _longer(self._squared_norms, first, capacity)
            self._code_scales = _longer(self._code_scales, first, capacity)
        self._squared_norms[first:end] = self.metric.squared_norms(rows)
        self._code_scales[first:end] = scales

    def publish(self, seq: int, labels: LabelArray, dead: LabelArray) -> SlotArray:
        """Make staged rows visible and dead labels invisible, at once.

        Args:
            seq: The number of the change.
            labels: uint64, shape (n,): the labels of the n staged rows, ascending. Their metadata
                are in the lists already.
            dead: uint64, shape (d,): labels that died.

        Returns:
            The slots that died: intp, shape (d,).
        """
        first = self._labels.count
        slots = np.empty(0, dtype=np.intp)
        if len(dead):
            slots = self._labels.slots(dead)
            self._labels.kill(slots, seq)
        if len(labels):
            self._labels.append(labels)
            largest = float(self._squared_norms[first : self._labels.count].max())
            self._largest_squared_norm = max(self._largest_squared_norm, largest)
        self.live_count += len(labels) - len(dead)
        self.view = self._seen(seq)
        return slots

    def _seen(self, seq: int) -> View:
        """Return what a reader sees from now on."""
        return View(
            seq,
            self._labels.count,
            self._labels.by_slot,
            self._labels.died,
            self._column.rows,
            self._codes.rows,
            self._code_scales,
            self._squared_norms,
            self._keys.view,
            self._largest_squared_norm,
        )

    @property
    def size_bytes(self) -> int:
        """Bytes of memory, about; the files are the page cache's."""
        arrays = self._squared_norms.nbytes + self._code_scales.nbytes
        return (
            self._labels.size_bytes
            + self._keys.size_bytes
            + arrays
            + self.metadata_index.size_bytes
        )

    def close(self) -> None:
        """Close the files. Readers that hold a view may finish with it."""
        self._column.close()
        self._codes.close()
        self._keys.close()


def _longer(array: FloatArray, count: int, capacity: int) -> FloatArray:
    """Return a copy of the first ``count`` entries in an array of this capacity."""
    grown = np.empty(capacity, dtype=array.dtype)
    grown[:count] = array[:count]
    return grown
