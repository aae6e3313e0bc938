"""The disk under the data directory: whether it has room for puts, and whether it takes bytes.

Puts end while there is still room for what must go on: RocksDB's flushes and merges, checkpoints,
and deletes, which are small and make room. So a full disk hardly ever meets a write halfway.

Rules of this file: it looks and says; who refuses what is the store's and the engine's.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_TRIAL_BYTES = 1 << 20
"""More than a file system keeps inside its own records."""


class DiskSpace:
    """The free space of the file system that holds a directory."""

    def __init__(self, directory: Path, free_bytes_min: int) -> None:
        """Take what to look at.

        Args:
            directory: Any directory on the disk.
            free_bytes_min: Free bytes below which puts are refused; 0 refuses none.
        """
        self._directory = directory
        self._free_bytes_min = free_bytes_min

    def free_bytes(self) -> int:
        """Return the bytes that this process may still write to the disk.

        Raises:
            OSError: The file system does not answer.
        """
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize

    def refusal(self) -> str:
        """Return why puts are refused, in words; empty if there is room."""
        if not self._free_bytes_min:
            return ""
        try:
            free_bytes = self.free_bytes()
        except OSError as error:
            return (
                f"puts are refused: the free space of the disk that holds {self._directory} is not "
                f"known: {error.strerror}"
            )
        if free_bytes >= self._free_bytes_min:
            return ""
        return (
            f"puts are refused: the disk that holds {self._directory} has {free_bytes} bytes left, "
            f"less than disk_free_bytes_min, {self._free_bytes_min}; they go on by themselves when "
            "there is room again: make some, delete vectors or indexes, or use a larger disk"
        )

    def refusal_of(self, what: str, needed_bytes: int) -> str:
        """Return why something that takes so much of the disk is not begun; empty if it may be.

        It may not if it would take what RocksDB needs to go on: half of what puts leave.

        Args:
            what: In words, to begin a sentence with.
            needed_bytes: How much it will take, about.
        """
        if not self._free_bytes_min:
            return ""
        free_bytes = self.free_bytes()
        left_bytes = self._free_bytes_min // 2
        if free_bytes - needed_bytes >= left_bytes:
            return ""
        return (
            f"{what} takes {needed_bytes} bytes, and the disk that holds {self._directory} has "
            f"{free_bytes} left, of which {left_bytes} are kept for the store"
        )

    def try_out(self, needed_bytes: int) -> None:
        """Return if there is so much room and the disk takes bytes.

        Raises:
            OSError: There is not, or it does not.
        """
        free_bytes = self.free_bytes()
        if free_bytes < needed_bytes:
            raise OSError(f"{free_bytes} bytes are free, and {needed_bytes} are needed")
        # It has no name, so nothing is left of it whatever happens.
        with tempfile.TemporaryFile(dir=self._directory, buffering=0) as file:
            left = memoryview(bytes(_TRIAL_BYTES))
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
