"""Whether a client takes what it is sent.

Rules of this file: it is told what waits and what time it is, and knows neither a connection nor a
clock.
"""

from __future__ import annotations

import math

LOOKS = 4
"""How often it is looked while an answer waits, within the time that a client may pause."""


class Outflow:
    """What waits to be sent on one connection."""

    __slots__ = ("_end_s", "_moved_s", "_pause_s", "_unsent_bytes")

    def __init__(self, pause_s: float) -> None:
        """Have nothing to send.

        Args:
            pause_s: For how long a client may take nothing.
        """
        self._pause_s = pause_s
        self._unsent_bytes = math.inf
        self._moved_s = math.inf
        self._end_s = math.inf

    def add(self) -> None:
        """Know that something was added to what waits."""
        self._unsent_bytes = math.inf

    def begin(self, unsent_bytes: int, now_s: float, within_s: float) -> None:
        """Begin to wait for a client to take a large answer, which it has to within a time."""
        self._unsent_bytes, self._moved_s = unsent_bytes, now_s
        self._end_s = now_s + within_s

    def end(self) -> None:
        """Know that the client has taken it, nearly."""
        self._end_s = math.inf

    def is_stuck(self, unsent_bytes: int, now_s: float) -> bool:
        """Return whether the client takes nothing of what waits, or takes it too slowly."""
        if unsent_bytes != self._unsent_bytes:
            # It was added to, or taken from; which of the two, and when, is not known exactly.
            self._unsent_bytes, self._moved_s = unsent_bytes, now_s
        return unsent_bytes > 0 and now_s >= min(self._moved_s + self._pause_s, self._end_s)

    def look_at_s(self, now_s: float) -> float:
        """Return when to look next."""
        if self._end_s == math.inf:
            return now_s + self._pause_s
        return min(now_s + self._pause_s / LOOKS, self._end_s)
