"""The calls that are under way: from the moment gRPC tells of one until its last byte has left.

gRPC's own way to stop a server tells clients to go, and cancels what they send until they have
heard it: those calls end with CANCELLED, which nobody tries again. So a server that stops first
refuses calls by itself, and waits here until those that it took are done; only then are connections
cut and gRPC stopped.

Rules of this file: it counts, and knows nothing of what it counts. Every call that began is
followed, by whoever serves it, on whatever thread.
"""

from __future__ import annotations

import threading
import time

import grpc

_LOOK_EVERY_S = 0.05
"""How often one who waits looks whether he is to wait any longer."""


class OpenCalls:
    """How many calls are under way; one for a server."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def begin(self) -> None:
        """Count a call that gRPC told of."""
        with self._changed:
            self._count += 1

    def end(self) -> None:
        """Count it no longer."""
        with self._changed:
            self._count -= 1
            if not self._count:
                self._changed.notify_all()

    def follow(self, context: grpc.ServicerContext) -> None:
        """Count a call that began until gRPC says that nothing of it is left."""
        if not context.add_callback(self.end):
            self.end()

    def wait_until_none(self, timeout_s: float, hurried: threading.Event) -> bool:
        """Return whether no call is under way, once that is so or nobody waits any longer.

        Args:
            timeout_s: Seconds to wait.
            hurried: Ends the waiting when it is set.
        """
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while self._count:
                left_s = end_s - time.monotonic()
                if left_s <= 0 or hurried.is_set():
                    return False
                self._changed.wait(min(left_s, _LOOK_EVERY_S))
        return True
