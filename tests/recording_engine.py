"""The memory engine, which notes every commit and lets a test step in before one.

Rules of this file: it is the real engine; it only tells what happens and waits where it is told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from vectorbucket_server.engine.base import NO_DEADLINE, Deadline, WriteGuard
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Index, VectorBatch

WAIT_S = 20.0
"""Seconds after which a wait has failed."""


class RecordingEngine(MemoryEngine):
    """A memory engine whose writes can be watched.

    Attributes:
        commits: The keys of each batch that was committed, in the order of commits.
        before_put: Called on the server's thread right before each commit, outside the engine's
            lock.
    """

    def __init__(self) -> None:
        super().__init__()
        self._noted = threading.Condition()
        self.commits: list[tuple[str, ...]] = []
        self.before_put: Callable[[VectorBatch], None] | None = None

    def put_vectors(
        self,
        index: Index,
        batch: VectorBatch,
        *,
        guard: WriteGuard | None = None,
        backlog_wait_s: float | None = None,
        deadline: Deadline = NO_DEADLINE,
        visible: bool = True,  # noqa: ARG002 - it always is
    ) -> bool:
        """Store a batch, and note it if it was committed."""
        deadline.check()
        if self.before_put is not None:
            self.before_put(batch)
        # The deadline was checked: who waited here stands right before the commit.
        committed = super().put_vectors(index, batch, guard=guard, backlog_wait_s=backlog_wait_s)
        if committed:
            with self._noted:
                self.commits.append(batch.keys)
                self._noted.notify_all()
        return committed

    def wait_for_commits(self, count: int) -> Sequence[tuple[str, ...]]:
        """Return the commits once there are so many."""
        with self._noted:
            assert self._noted.wait_for(lambda: len(self.commits) >= count, WAIT_S)
            return list(self.commits)


class Gate:
    """Where threads wait until the test opens it, and the test until one has come."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()

    def pass_through(self) -> None:
        """Wait until the gate is open."""
        self._reached.set()
        assert self._opened.wait(WAIT_S)

    def wait_until_reached(self) -> None:
        """Wait until a thread has come to the gate."""
        assert self._reached.wait(WAIT_S)

    def open(self) -> None:
        """Let all threads through, now and later."""
        self._opened.set()
