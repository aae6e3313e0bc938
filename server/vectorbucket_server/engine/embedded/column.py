"""The vectors of a generation by slot, on disk, mapped read-only: what exact scans read.

A second copy of the vectors in memory would cost as much as the graph; this one lives in the page
cache, which the kernel may take back.

Rules of this file:

- Rows are written with ``pwrite`` (a full disk is then an error, not a SIGBUS) and read through the
  mapping.
- A row that was published is never written again within a generation.
- The column is a hint: it can be made again from the store, so it is not synced here.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np

from vectorbucket_server.model import Float32Array

_GROWTH_BYTES_MIN = 1 << 20
"""The file is made this much longer at least; it is sparse, so this costs no disk."""


class Column:
    """An append-only matrix of float32 rows in a file."""

    def __init__(self, path: Path, dimension: int) -> None:
        """Make an empty column in a new file.

        Raises:
            OSError: The file cannot be made.
        """
        self._row_bytes = dimension * 4
        self._dimension = dimension
        self._capacity = 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.rows: Float32Array = np.empty((0, dimension), dtype=np.float32)
        """float32, shape (capacity, dimension), read-only: the mapping as it is now. Only rows that
        were written may be read. Whoever needs it for longer keeps a reference: growth makes a new
        mapping."""

    def write(self, first: int, rows: Float32Array) -> None:
        """Write rows at the slots from ``first`` on.

        Args:
            first: The first slot; slots up to it were written before.
            rows: float32, shape (n, dimension), C-contiguous, preprocessed.

        Raises:
            OSError: The disk is full or failing; nothing that was published has changed.
        """
        if not len(rows):
            return  # memoryview casts no view of nothing
        self._reserve(first + len(rows))
        view = memoryview(rows.data).cast("B")
        offset = first * self._row_bytes
        while view:
            written = os.pwrite(self._file, view, offset)
            view = view[written:]
            offset += written

    def _reserve(self, count: int) -> None:
        """Make the file and the mapping long enough for ``count`` rows."""
        if count <= self._capacity:
            return
        growth = max(
            count * self._row_bytes, _GROWTH_BYTES_MIN, self._capacity * self._row_bytes * 2
        )
        capacity = growth // self._row_bytes
        os.ftruncate(self._file, capacity * self._row_bytes)
        mapping = mmap.mmap(self._file, capacity * self._row_bytes, mmap.MAP_SHARED, mmap.PROT_READ)
        self.rows = np.frombuffer(mapping, dtype=np.float32).reshape(capacity, self._dimension)
        self._capacity = capacity

    def close(self) -> None:
        """Close the file. Mappings live on as long as someone holds ``rows``."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
