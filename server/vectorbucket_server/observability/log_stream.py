"""The stream that the server's own lines go to, which may be a file on a full disk.

Rules of this file: a line that cannot be written costs nobody his call. It is lost, and the next
line that can be written is preceded by one that says how many were.
"""

from __future__ import annotations

import threading
from typing import TextIO

import msgspec


class LogStream:
    """Writes lines to a stream, as far as it takes them. Used by many threads."""

    def __init__(self, stream: TextIO) -> None:
        """Take the stream that lines go to."""
        self._stream = stream
        self._lock = threading.Lock()
        self._lost = 0

    @property
    def lost_count(self) -> int:
        """Writes that failed since the last one that did not."""
        return self._lost

    def write(self, text: str) -> int:
        """Write a line, or lose it; return how long it is."""
        with self._lock:
            try:
                if self._lost:
                    note = {"event": "log lines were lost", "count": self._lost, "level": "warning"}
                    self._stream.write(msgspec.json.encode(note).decode() + "\n")
                    self._stream.flush()
                    self._lost = 0
                self._stream.write(text)
                self._stream.flush()
            except OSError:
                self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: every line is flushed when it is written."""
