"""A readers–writer lock that is fair both ways.

Many readers or one writer. A waiting writer stops new readers; when a writer is done, all readers
that waited go before the next writer. So neither side starves: a reader waits for at most one
writer, a writer for at most the readers of one phase. ("Phase-fair", after Brandenburg and
Anderson, 2010.)

Rules of this file: knows nothing of what it guards. hnswlib needs it because its search and insert
must not overlap.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager


class ReadWriteLock:
    """Many readers or one writer, in phases. Not reentrant."""

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._readers_active = 0
        self._readers_waiting = 0
        self._readers_admitted = 0
        self._writer_active = False
        self._writers_waiting = 0
        self._phase = 0
        self._reading = _Side(self.acquire_read, self.release_read)
        self._writing = _Side(self.acquire_write, self.release_write)

    def read(self) -> AbstractContextManager[None]:
        """Hold the lock beside other readers."""
        return self._reading

    def write(self) -> AbstractContextManager[None]:
        """Hold the lock alone."""
        return self._writing

    def acquire_read(self) -> None:
        """Begin to read; ``release_read`` ends it."""
        with self._condition:
            if self._writer_active or self._writers_waiting:
                phase = self._phase
                self._readers_waiting += 1
                while self._phase == phase:
                    self._condition.wait()
                self._readers_admitted -= 1
            self._readers_active += 1

    def release_read(self) -> None:
        """End what ``acquire_read`` began."""
        with self._condition:
            self._readers_active -= 1
            if not self._readers_active and self._writers_waiting:
                self._condition.notify_all()

    def acquire_write(self) -> None:
        """Begin to write; ``release_write`` ends it."""
        with self._condition:
            self._writers_waiting += 1
            while self._writer_active or self._readers_active or self._readers_admitted:
                self._condition.wait()
            self._writers_waiting -= 1
            self._writer_active = True

    def release_write(self) -> None:
        """End what ``acquire_write`` began."""
        with self._condition:
            self._writer_active = False
            # The readers that wait now go first, whatever writers wait with them.
            self._phase += 1
            self._readers_admitted = self._readers_waiting
            self._readers_waiting = 0
            self._condition.notify_all()


class _Side:
    """One side of a lock as a context; it has no state of its own, so one serves every thread.

    A generator would cost each query two microseconds.
    """

    __slots__ = ("_acquire", "_release")

    def __init__(self, acquire: Callable[[], None], release: Callable[[], None]) -> None:
        self._acquire = acquire
        self._release = release

    def __enter__(self) -> None:
        self._acquire()

    def __exit__(self, *error: object) -> None:
        self._release()
