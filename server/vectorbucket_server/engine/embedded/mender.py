"""The background thread that has a store take writes again that refused them.

Rules of this file:

- It decides when; store.py knows how.
- The observer is told once that writes are refused, and once that they are taken again: not of
  every try in between.
- Tries come at growing intervals. A store that only wants room is looked after every second: that
  costs nothing, and callers wait.
"""

from __future__ import annotations

import threading
import time

from vectorbucket.errors import VectorBucketError
from vectorbucket_server.engine.base import Observer
from vectorbucket_server.engine.embedded.store import Store

_PAUSE_FIRST_S = 0.5
_PAUSE_MAX_S = 30.0
"""The longest pause, in seconds, between two tries to open the store anew: that may read a whole
write-ahead log, with everything else standing still."""

_LOOK_AGAIN_S = 1.0
"""How often, in seconds, it is looked whether there is room."""

_CALM_S = 60.0
"""A store that fails again within so many seconds is tried at the intervals of before."""

_FAILURES = (VectorBucketError, OSError, RuntimeError, MemoryError)
"""What a try may end with. None of it may end the thread."""


class Mender:
    """The thread, and what wakes it."""

    def __init__(self, store: Store, observer: Observer) -> None:
        """Make the mender; ``start`` starts it.

        Args:
            store: What is mended.
            observer: Is told when writes begin to be refused, and when they are taken again.
        """
        self._store = store
        self._observer = observer
        self._condition = threading.Condition()
        self._woken = False
        self._stopping = False
        self._pause_s = _PAUSE_FIRST_S
        self._mended_s = -_CALM_S
        self._thread = threading.Thread(target=self._run, name="mender", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._store.when_refused = self.wake
        self._thread.start()

    def stop(self) -> None:
        """Finish the try under way and end the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join()

    def wake(self) -> None:
        """Say that the store refuses writes."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._woken or self._stopping)
                self._woken = False
                if self._stopping:
                    return
            began_s = time.monotonic()
            if began_s - self._mended_s > _CALM_S:
                self._pause_s = _PAUSE_FIRST_S
            self._observer.background_failed("writes", RuntimeError(self._store.writes_refused))
            if not self._mended():
                return
            self._mended_s = time.monotonic()
            self._observer.background_recovered("writes", self._mended_s - began_s)

    def _mended(self) -> bool:
        """Return once writes are taken again; False if the thread is to end first."""
        while True:
            pause_s = _LOOK_AGAIN_S
            if not self._store.is_full:
                pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, _PAUSE_MAX_S)
            with self._condition:
                if self._condition.wait_for(lambda: self._stopping, pause_s):
                    return False
            try:
                self._store.mend()
            except _FAILURES:
                continue
            return True
