"""Engines that wait or fail when a test says so, and waiting for what nothing signals.

Rules of this file: an engine here is the memory engine with one difference, so that a test which
passes with it has seen the real path.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rpc import WAIT_S
from vectorbucket.errors import RequestTimeout
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Hit, Index, Query, VectorBatch


class FailingEngine(MemoryEngine):
    """Answers every query with an error of the test's choice."""

    error: Exception

    def query_vectors(
        self, index: Index, query: Query, *, deadline: Deadline = NO_DEADLINE
    ) -> list[list[Hit]]:
        del index, query, deadline
        raise self.error


class SlowEngine(MemoryEngine):
    """Puts and queries wait until a test opens the gate, or the caller is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.ended: list[str] = []

    def _wait(self, deadline: Deadline) -> None:
        self.entered.release()
        while not self.gate.wait(0.01):
            try:
                deadline.check()
            except RequestTimeout:
                self.ended.append("gone")
                raise

    def put_vectors(
        self, index: Index, batch: VectorBatch, *, deadline: Deadline = NO_DEADLINE, **how: Any
    ) -> bool:
        self._wait(deadline)
        return super().put_vectors(index, batch, deadline=deadline, **how)

    def query_vectors(
        self, index: Index, query: Query, *, deadline: Deadline = NO_DEADLINE
    ) -> list[list[Hit]]:
        self._wait(deadline)
        return super().query_vectors(index, query, deadline=deadline)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition that nothing signals."""
    pause = threading.Event()
    for _ in range(int(WAIT_S / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it never came true")
