"""Waiting until readers see what was written: Strong reads, shared by the writers that wait.

Milvus makes a Strong read wait until its nodes have caught up with all writes before it; after one
has returned, reads of lesser consistency see those writes, too. A writer is helped by any such
read, a probe, that began after its write. So few of them serve many writers.

Rules of this file: threads and counters; what a probe is, is a function that it is given.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

from vectorbucket.errors import VectorBucketError
from vectorbucket_server.engine.base import Deadline

PROBES_MAX = 4
"""Probes under way at once. With one, a writer that comes while it runs waits for the rest of it
and for the whole of the next."""

_LOOK_AT_DEADLINE_S = 0.1


class Visibility:
    """Lets writers wait until what they wrote is seen. Used by many threads at once."""

    def __init__(self, probe: Callable[[], None]) -> None:
        """Take the probe.

        Args:
            probe: Returns once everything that was written before it began is seen; may raise.
        """
        self._probe = probe
        self._changed = threading.Condition()
        self._running = 0
        self._begun = 0
        self._seen = 0
        """The last of the probes that returned; all before it are of no more use."""
        self._failed = 0
        self._failure: VectorBucketError | None = None
        """The last of the probes that failed, and how: told to all whom it could have helped, who
        would otherwise find out one after the other, each as slowly."""

    def wait(self, deadline: Deadline) -> None:
        """Return once everything that was written before this call is seen.

        Raises:
            RequestTimeout: The deadline passed.
            VectorBucketError: What the probe raised.
        """
        with self._changed:
            wanted = self._begun + 1
            while self._seen < wanted:
                if self._failure is not None and self._failed >= wanted:
                    raise copy.copy(self._failure)
                # With none running, those that could have helped ended in a way nobody can tell.
                if not self._running or (self._begun < wanted and self._running < PROBES_MAX):
                    break
                # Somebody else's probe may help, or fail; either makes a place.
                self._changed.wait(_LOOK_AT_DEADLINE_S)
                deadline.check()
            else:
                return
            self._begun += 1
            mine = self._begun
            self._running += 1
        self._run(mine)

    def _run(self, number: int) -> None:
        """Probe, and tell those whom it helps."""
        seen, failure = 0, None
        try:
            self._probe()
            seen = number
        except VectorBucketError as error:
            failure = copy.copy(error)
            raise
        finally:
            with self._changed:
                self._running -= 1
                self._seen = max(self._seen, seen)
                if failure is not None and number > self._failed:
                    self._failed, self._failure = number, failure
                self._changed.notify_all()
