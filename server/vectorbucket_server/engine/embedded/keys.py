"""The keys of a generation by slot, in a file mapped read-only: what hits are named with.

A query that asks for no metadata needs only the keys of its hits; taking them from here instead of
the store saves a microsecond a hit, at eight bytes of memory a vector.

Rules of this file: as in column.py, an append-only hint, written with ``pwrite``, synced only by a
checkpoint.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

_GROWTH_BYTES_MIN = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class KeyView:
    """The keys as a reader sees them."""

    text: mmap.mmap | bytes
    """All keys, UTF-8, one after the other."""
    starts: npt.NDArray[np.uint64]
    """uint64, shape (capacity + 1,): where each slot's key starts; it ends where the next starts.
    """

    def at(self, slots: npt.NDArray[np.intp]) -> list[str]:
        """Return the keys at slots: intp, shape (n,)."""
        text = self.text
        starts, stops = self.starts.take(slots).tolist(), self.starts.take(slots + 1).tolist()
        return [text[a:b].decode() for a, b in zip(starts, stops, strict=True)]


class Keys:
    """An append-only list of keys in a file."""

    def __init__(self, path: Path, *, starts: npt.NDArray[np.uint64] | None = None) -> None:
        """Make an empty list in a new file, or go on with one that holds keys.

        Args:
            path: The file.
            starts: uint64, shape (count + 1,): where the keys that an existing file holds start,
                and where the last one ends; None makes a new file.

        Raises:
            OSError: The file cannot be made or read.
            ValueError: The file is too short for these keys.
        """
        fresh = os.O_CREAT | os.O_TRUNC if starts is None else 0
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC | fresh, 0o600)
        self._capacity = 0
        self._text: mmap.mmap | bytes = b""
        self._starts = np.zeros(1, dtype=np.uint64) if starts is None else starts
        if starts is not None and starts[-1]:
            capacity = os.fstat(self._file).st_size
            if capacity < starts[-1]:
                self.close()
                raise ValueError(f"{path.name} has {capacity} bytes, not {starts[-1]}")
            self._map(capacity)

    @property
    def view(self) -> KeyView:
        """The keys that were written, as they are now."""
        return KeyView(self._text, self._starts)

    def write(self, first: int, keys: Sequence[bytes]) -> None:
        """Write keys at the slots from ``first`` on, over whatever was written there before.

        Raises:
            OSError: The disk is full or failing; the keys before ``first`` are as they were.
        """
        start = int(self._starts[first])
        text = memoryview(b"".join(keys))
        self._reserve_slots(first, first + len(keys))
        self._reserve_bytes(start + len(text))
        lengths = np.fromiter(map(len, keys), dtype=np.uint64, count=len(keys))
        offset = start
        while text:
            written = os.pwrite(self._file, text, offset)
            text = text[written:]
            offset += written
        self._starts[first + 1 : first + 1 + len(keys)] = start + np.cumsum(
            lengths, dtype=np.uint64
        )

    def _reserve_slots(self, count: int, needed: int) -> None:
        if needed + 1 > len(self._starts):
            grown = np.zeros(max(needed + 1, len(self._starts) * 3 // 2, 1_024), dtype=np.uint64)
            grown[: count + 1] = self._starts[: count + 1]
            self._starts = grown

    def _reserve_bytes(self, needed: int) -> None:
        if needed <= self._capacity:
            return
        capacity = max(needed, self._capacity * 2, _GROWTH_BYTES_MIN)
        os.ftruncate(self._file, capacity)
        self._map(capacity)

    def _map(self, capacity: int) -> None:
        """Map so many bytes; the file has them."""
        if not capacity:
            return  # nothing can be mapped
        self._text = mmap.mmap(self._file, capacity, mmap.MAP_SHARED, mmap.PROT_READ)
        self._capacity = capacity

    @property
    def size_bytes(self) -> int:
        """Bytes of memory; the keys themselves are in the file."""
        return self._starts.nbytes

    def close(self) -> None:
        """Close the file. Views live on."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
