"""The files that lines about buckets are written to: made, filled, and left for new ones.

Rules of this file: one thread uses it; a line is written whole or not at all, so that a reader
meets half a line only at the end of a file whose process or machine died; the number of open files
is bounded.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from vectorbucket.errors import InvalidRequest
from vectorbucket_server.model import BucketLogging
from vectorbucket_server.observability.log_folders import file_parts, make_file

OPEN_FILES_MAX = 64
"""Files that are open at once; the one that was longest not written to leaves for another."""

Place: TypeAlias = tuple[str, BucketLogging]
"""Whose lines, and where to: what has a file of its own."""


@dataclass(slots=True)
class _OpenFile:
    """A file that is written to."""

    descriptor: int
    opened_s: float
    size_bytes: int = 0


class LogFiles:
    """The open files of a directory."""

    def __init__(
        self,
        directory: Path,
        *,
        rotate_s: float,
        bytes_max: int,
        now_s: Callable[[], float],
        new_unique: Callable[[], str],
    ) -> None:
        """Take what files are made with; see BucketLogs."""
        self._directory = directory
        self._rotate_s = rotate_s
        self._bytes_max = bytes_max
        self._now_s = now_s
        self._new_unique = new_unique
        self._open: OrderedDict[Place, _OpenFile] = OrderedDict()

    def __len__(self) -> int:
        """Return how many files are open."""
        return len(self._open)

    def append(self, place: Place, lines: Sequence[bytes]) -> None:
        """Write lines to the file of a place, or to a new one where that is full.

        Args:
            place: Whose lines, and where to.
            lines: Each with its line feed.

        Raises:
            LinesLost: Some could not be written, and are nowhere.
        """
        done = 0
        try:
            while done < len(lines):
                file = self._file_of(place, len(lines[done]))
                count = self._fitting(file, lines[done:])
                self._write(place, file, b"".join(lines[done : done + count]))
                done += count
        except (OSError, InvalidRequest) as error:
            raise LinesLost(len(lines) - done) from error

    def leave_old(self) -> None:
        """Close the files whose time is over, so that whoever collects them sees them whole."""
        now_s = self._now_s()
        for place in [one for one, file in self._open.items() if self._is_over(file, now_s)]:
            self._leave(place)

    def close(self) -> None:
        """Close all files."""
        for place in list(self._open):
            self._leave(place)

    def _file_of(self, place: Place, size_bytes: int) -> _OpenFile:
        """Return the file that takes the next line of a place, which has so many bytes."""
        now_s = self._now_s()
        file = self._open.get(place)
        if file is not None and (self._is_full(file, size_bytes) or self._is_over(file, now_s)):
            self._leave(place)
            file = None
        if file is None:
            bucket, logging = place
            parts = file_parts(logging, bucket, now_s, self._new_unique())
            while len(self._open) >= OPEN_FILES_MAX:
                self._leave(next(iter(self._open)))
            file = self._open[place] = _OpenFile(make_file(self._directory, parts), now_s)
        self._open.move_to_end(place)
        return file

    def _is_over(self, file: _OpenFile, now_s: float) -> bool:
        # A clock that was set back must not keep a file for ever.
        return not 0 <= now_s - file.opened_s < self._rotate_s

    def _is_full(self, file: _OpenFile, size_bytes: int) -> bool:
        # An empty file takes a line of any length.
        return file.size_bytes > 0 and file.size_bytes + size_bytes > self._bytes_max

    def _fitting(self, file: _OpenFile, lines: Sequence[bytes]) -> int:
        """Return how many lines a file takes; one at least, for which it was chosen."""
        size = file.size_bytes
        for count, line in enumerate(lines):
            size += len(line)
            if count and size > self._bytes_max:
                return count
        return len(lines)

    def _write(self, place: Place, file: _OpenFile, text: bytes) -> None:
        """Write a text whole, or take back what was written of it."""
        rest = memoryview(text)
        try:
            while rest:
                rest = rest[os.write(file.descriptor, rest) :]
        except OSError:
            self._take_back(place, file)
            raise
        file.size_bytes += len(text)

    def _take_back(self, place: Place, file: _OpenFile) -> None:
        """Cut a file to its whole lines; where that fails too, leave it, torn as it is."""
        try:
            os.ftruncate(file.descriptor, file.size_bytes)
        except OSError:
            self._leave(place)

    def _leave(self, place: Place) -> None:
        """Close a file; its place gets a new one with the next line."""
        os.close(self._open.pop(place).descriptor)


class LinesLost(Exception):
    """Lines could not be written; the cause is the operating system's, or an unsafe place."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} lines could not be written")
        self.count = count
