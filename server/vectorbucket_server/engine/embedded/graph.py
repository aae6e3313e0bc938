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

import hnswlib
import numpy as np
import numpy.typing as npt

from vectorbucket_server.model import Float32Array

SlotArray = npt.NDArray[np.uint32]

_SEED = 100
"""hnswlib draws each vector's level from this seed; fixed, so that a build can be repeated."""


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
        self._marked = 0

    @property
    def live(self) -> int:
        """Slots that a search can return."""
        return int(self._index.element_count) - self._marked

    @property
    def size(self) -> int:
        """Slots that the graph holds, marked ones included."""
        return int(self._index.element_count)

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
