"""The HNSW graph of a generation: slots that find their neighbours. The only importer of hnswlib.

Rules of this file:

- It knows slots and preprocessed rows, nothing else: no labels, keys or metadata.
- It takes no lock. hnswlib's search may run beside searches; ``add``, ``mark_dead`` and ``grow``
  must run alone (upper levels can otherwise be read past their end): generation.py holds the lock.
- hnswlib's ``ef`` is one number for the whole graph, so breadth is passed as k: ``set_ef(1)`` once,
  then ask for as many neighbours as the search should be broad, and cut. Same recall, same time.

Source: hnswlib 0.8.0, its README and bindings.
"""

from __future__ import annotations

import errno
from pathlib import Path

import hnswlib
import numpy as np
import numpy.typing as npt

from vectorbucket_server.model import Float32Array

SlotArray = npt.NDArray[np.uint32]

_SEED = 100
"""hnswlib draws each vector's level from this seed; fixed, so that a build can be repeated."""


_FIXED_BYTES = 2_600_000
"""An empty graph: hnswlib's 65,536 locks."""

_BESIDE_BYTES = 112
"""A slot's share of hnswlib's locks, label table and upper levels; see README, sizing."""


def graph_bytes(size: int, dimension: int, m: int) -> int:
    """Return the memory that a graph of ``size`` slots takes, about, in bytes."""
    return _FIXED_BYTES + size * (4 * dimension + 8 * m + _BESIDE_BYTES)


class Graph:
    """One hnswlib index that grows by itself."""

    def __init__(
        self, *, space: str, dimension: int, m: int, ef_construction: int, capacity: int
    ) -> None:
        """Make an empty graph.

        Args:
            space: ``l2`` or ``ip``, as metric.py says.
            dimension: Numbers in a row.
            m: Links of a vector.
            ef_construction: Breadth of the search for them.
            capacity: Slots to reserve memory for.
        """
        self._index = hnswlib.Index(space=space, dim=dimension)
        self._index.init_index(
            max_elements=capacity, M=m, ef_construction=ef_construction, random_seed=_SEED
        )
        self._index.set_ef(1)
        self._dimension, self._m = dimension, m
        self._marked = 0

    @classmethod
    def load(
        cls, path: Path, *, space: str, dimension: int, m: int, capacity: int, marked: int
    ) -> Graph:
        """Return the graph that ``save`` wrote.

        hnswlib believes every byte of the file and crashes later if one is wrong: the caller has
        verified its checksum. Holds the interpreter lock: about 3.6 ms a megabyte.

        Args:
            path: The file.
            space: As when it was made.
            dimension: As when it was made.
            m: As when it was made.
            capacity: Slots to reserve memory for, at least as many as the file holds.
            marked: How many slots were marked dead.

        Raises:
            RuntimeError: hnswlib cannot read the file.
        """
        graph = cls.__new__(cls)
        graph._index = hnswlib.Index(space=space, dim=dimension)  # noqa: SLF001 - its own class
        graph._index.load_index(str(path), max_elements=capacity)  # noqa: SLF001
        graph._index.set_ef(1)  # noqa: SLF001
        graph._dimension, graph._m, graph._marked = dimension, m, marked  # noqa: SLF001
        return graph

    def save(self, path: Path) -> None:
        """Write the graph to a file. Holds the interpreter lock: about 2 ms a megabyte.

        Raises:
            OSError: The file is not whole: hnswlib does not notice a full disk.
        """
        self._index.save_index(str(path))
        expected, written = self._index.index_file_size(), path.stat().st_size
        if written != expected:
            raise OSError(errno.ENOSPC, f"{path.name} has {written} bytes, not {expected}")

    @property
    def live(self) -> int:
        """Slots that a search can return."""
        return int(self._index.element_count) - self._marked

    @property
    def size(self) -> int:
        """Slots that the graph holds, marked ones included."""
        return int(self._index.element_count)

    @property
    def size_bytes(self) -> int:
        """Bytes of memory, about: links, a copy of each row, and what hnswlib keeps beside them."""
        return graph_bytes(self.size, self._dimension, self._m)

    def grow(self, capacity: int) -> None:
        """Reserve memory for so many slots in all. Moves the whole graph, so grow rarely."""
        if capacity > self._index.max_elements:
            self._index.resize_index(capacity)

    def add(self, rows: Float32Array, slots: SlotArray, *, threads: int) -> None:
        """Put rows into the graph.

        Args:
            rows: float32, shape (n, dimension), preprocessed.
            slots: uint32, shape (n,), none of them in the graph yet.
            threads: How many to use; hnswlib uses one for 4 × threads rows or fewer.
        """
        needed = self.size + len(slots)
        if needed > self._index.max_elements:
            self.grow(max(needed, self._index.max_elements * 3 // 2))
        self._index.add_items(rows, slots, num_threads=threads)

    def mark_dead(self, slot: int) -> None:
        """Keep a slot as a way-point and never return it again."""
        self._index.mark_deleted(slot)
        self._marked += 1

    def search(
        self, queries: Float32Array, k: int, *, threads: int
    ) -> tuple[npt.NDArray[np.uint64], Float32Array] | None:
        """Return the nearest slots of each query, nearest first.

        Args:
            queries: float32, shape (q, dimension), C-contiguous, preprocessed.
            k: Neighbours a query, 1 <= k <= live. Also the breadth of the search.
            threads: How many to use.

        Returns:
            Slots, uint64, shape (q, k), and distances, float32, shape (q, k), ascending, in
            hnswlib's unit (squared for l2); or None when hnswlib found fewer than k for some query,
            as happens when many slots are marked: ask for fewer, or scan.
        """
        try:
            slots, distances = self._index.knn_query(queries, k=k, num_threads=threads)
        except RuntimeError as error:
            if "Cannot return the results" in str(error):
                return None
            raise
        return slots, distances
