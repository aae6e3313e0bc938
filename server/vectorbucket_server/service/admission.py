"""How much is worked on at once: permits for streaming calls, and a budget of message bytes.

Rules of this file: what is over its bound is refused or waits here and nowhere else; nothing is
held by a caller who waits for something else of this file; messages too small to matter never wait,
so that no stream of large ones can hold up a query.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from vectorbucket.errors import QpsLimitExceeded
from vectorbucket_server.engine.base import Deadline

SMALL_BYTES = 64 * 1024
"""Messages up to this size are not counted: the number of workers bounds what they take, a few MiB.
"""

TURN_POLL_S = 0.05
"""How often one who waits for his turn looks whether his caller still waits."""


class StreamPermits:
    """A bounded number of streaming calls, counted by their workers."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a permit while the block runs.

        Raises:
            QpsLimitExceeded: None is free; at once, without waiting.
        """
        if not self._free.acquire(blocking=False):
            raise QpsLimitExceeded(
                f"{self._count} streaming calls are open; the limit is {self._count}",
                details={"limit": str(self._count)},
            )
        try:
            yield
        finally:
            self._free.release()


class ByteBudget:
    """A bound on the bytes of all messages that are being worked on; first come, first served."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes_held = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size_bytes: int, deadline: Deadline, wait_s: float | None) -> Iterator[None]:
        """Hold bytes of the budget while the block runs, waiting for them in turn.

        A message larger than the whole budget has its turn when it is alone.

        Args:
            size_bytes: How many bytes the message has.
            deadline: Until when the caller waits.
            wait_s: The longest wait; None means as long as the deadline allows.

        Raises:
            RequestTimeout: The deadline passed, or the caller cancelled, before it had its turn.
            QpsLimitExceeded: It had no turn within ``wait_s``.
        """
        if size_bytes <= SMALL_BYTES:
            yield
            return
        self._take(size_bytes, deadline, wait_s)
        try:
            yield
        finally:
            self._give_back(size_bytes)

    def _take(self, size_bytes: int, deadline: Deadline, wait_s: float | None) -> None:
        """Wait for a turn and take the bytes."""
        end_s = None if wait_s is None else time.monotonic() + wait_s
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or not self._fits(size_bytes):
                    deadline.check()
                    if end_s is not None and time.monotonic() >= end_s:
                        raise QpsLimitExceeded(
                            f"messages of {self._bytes_held} bytes are being worked on; this one "
                            f"has {size_bytes} more, and the limit is {self._bytes_max}",
                            details={"value": str(size_bytes), "limit": str(self._bytes_max)},
                        )
                    self._changed.wait(TURN_POLL_S)
                self._bytes_held += size_bytes
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _fits(self, size_bytes: int) -> bool:
        return not self._bytes_held or self._bytes_held + size_bytes <= self._bytes_max

    def _give_back(self, size_bytes: int) -> None:
        with self._changed:
            self._bytes_held -= size_bytes
            self._changed.notify_all()
