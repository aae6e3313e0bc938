"""Rows of one width by slot, on disk, mapped read-only: what exact scans read.

A generation has two: its vectors as float32, and their one-byte codes. A second copy of the vectors
in memory would cost as much as the graph; these live in the page cache, which the kernel may take
back.

Rules of this file:

- Rows are written with ``pwrite`` (a full disk is then an error, not a SIGBUS) and read through the
  mapping.
- A row that was published is never written again within a generation.
- A column is a hint: it can be made again from the store, so it is not synced here. A checkpoint
  syncs it, and knows the checksum of the rows that it trusts.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", bound=np.generic)

_GROWTH_BYTES_MIN = 1 << 20
"""The file is made this much longer at least; it is sparse, so this costs no disk."""


class Column(Generic[Number]):
    """An append-only matrix in a file."""

    def __init__(self, path: Path, width: int, dtype: type[Number], *, count: int = 0) -> None:
        """Make an empty column in a new file, or go on with one that holds rows.

        Args:
            path: The file.
            width: Numbers in a row.
            dtype: Their type, little-endian as this machine's.
            count: Rows that an existing file holds and that are kept; 0 makes a new file.

        Raises:
            OSError: The file cannot be made or read.
            ValueError: The file is too short for so many rows.
        """
        self._dtype = np.dtype(dtype)
        self._row_bytes = width * self._dtype.itemsize
        self._width = width
        self._capacity = 0
        fresh = os.O_CREAT | os.O_TRUNC if not count else 0
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC | fresh, 0o600)
        self.rows: npt.NDArray[Number] = np.empty((0, width), dtype=dtype)
        """Shape (capacity, width), read-only: the mapping as it is now. Only rows that were written
        may be read. Whoever needs it for longer keeps a reference: growth makes a new mapping."""
        if count:
            capacity = os.fstat(self._file).st_size // self._row_bytes
            if capacity < count:
                self.close()
                raise ValueError(f"{path.name} has {capacity} rows, not {count}")
            self._map(capacity)

    def write(self, first: int, rows: npt.NDArray[Number]) -> None:
        """Write rows at the slots from ``first`` on.

        Args:
            first: The first slot; slots up to it were written before.
            rows: Shape (n, width), C-contiguous.

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
        self._map(capacity)

    def _map(self, capacity: int) -> None:
        """Map so many rows; the file has them."""
        if not capacity:
            return  # nothing can be mapped
        mapping = mmap.mmap(self._file, capacity * self._row_bytes, mmap.MAP_SHARED, mmap.PROT_READ)
        self.rows = np.frombuffer(mapping, dtype=self._dtype).reshape(capacity, self._width)
        self._capacity = capacity

    def close(self) -> None:
        """Close the file. Mappings live on as long as someone holds ``rows``."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
