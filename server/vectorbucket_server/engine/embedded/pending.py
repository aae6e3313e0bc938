"""The bound on what waits for the graph: writers that are ahead of the indexer wait here.

What is pending is found by exact scans, so too much of it makes queries slow; and the indexer takes
as long for a vector as several puts. Past the bound, puts slow to the indexer's pace.

Rules of this file: it counts nothing itself; it asks, and is told when the answer may have changed.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from vectorbucket.errors import QpsLimitExceeded
from vectorbucket_server.engine.base import Deadline

_LOOK_AGAIN_S = 0.1
"""How often, in seconds, a waiting writer looks whether its caller still waits."""


class Backlog:
    """Where writers wait until fewer bytes are pending."""

    def __init__(self, pending_bytes: Callable[[], int], bytes_max: int) -> None:
        """Bound what the function counts.

        Args:
            pending_bytes: Returns the bytes of vectors that wait for the graph now.
            bytes_max: Past it, writers wait.
        """
        self._pending_bytes = pending_bytes
        self._bytes_max = bytes_max
        self._condition = threading.Condition()

    def wait(self, wait_s: float | None, deadline: Deadline) -> None:
        """Return when no more than the bound is pending.

        Args:
            wait_s: The longest to wait, in seconds; None means as long as the deadline allows.
            deadline: The caller's.

        Raises:
            QpsLimitExceeded: ``wait_s`` passed.
            RequestTimeout: The deadline passed.
        """
        if self._pending_bytes() <= self._bytes_max:
            return
        until = math.inf if wait_s is None else time.monotonic() + wait_s
        with self._condition:
            while (pending := self._pending_bytes()) > self._bytes_max:
                deadline.check()
                left_s = until - time.monotonic()
                if left_s <= 0:
                    raise QpsLimitExceeded(
                        f"{pending} bytes of vectors wait for the graph; the limit is "
                        f"{self._bytes_max}; retry when the indexer has caught up",
                        details={"limit": str(self._bytes_max)},
                    )
                remaining_s = deadline.remaining_s()
                if remaining_s is not None:
                    left_s = min(left_s, remaining_s)
                self._condition.wait(min(left_s, _LOOK_AGAIN_S))

    @property
    def is_moderate(self) -> bool:
        """Whether less than half of the bound is pending."""
        return 2 * self._pending_bytes() < self._bytes_max

    def shrunk(self) -> None:
        """Say that less is pending than before."""
        with self._condition:
            self._condition.notify_all()
