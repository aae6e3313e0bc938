"""What was found out and is believed for a while, so that not every call asks again.

Rules of this file: it knows nothing of what it remembers. The time counts from before the question:
what is believed is never older than it may be. That something is absent is never remembered. Of
many who ask about the same at once, one does; the others look at what he found, and ask themselves
only if that was nothing, which may have come about since, or if he gets no answer in time: whoever
waited for all before him would wait as many times as long as a call may take.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_TURNS = 64
"""Locks; names share them."""

_TURN_S = 1.0
"""Seconds for which somebody waits for what others find out, before he asks himself."""

_KEPT_MAX = 100_000
"""Names that are remembered before those whose time has passed are looked for and forgotten."""


class Remembered(Generic[T]):
    """What a question about a name was answered with, for some seconds. Used by many threads."""

    def __init__(
        self, ask: Callable[[str], T | None], seconds: float, clock: Callable[[], float]
    ) -> None:
        """Take what is needed.

        Args:
            ask: Answers for a name; None: there is nothing.
            seconds: How long an answer is believed.
            clock: Seconds that never go back.
        """
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._turns = tuple(threading.Lock() for _ in range(_TURNS))
        self._answers: dict[str, tuple[float, T]] = {}

    def get(self, name: str) -> T | None:
        """Return what is believed about a name, or is found out now."""
        believed = self.believed(name, self._seconds)
        if believed is not None:
            return believed
        turn = self._turns[hash(name) % _TURNS]
        is_mine = turn.acquire(timeout=_TURN_S)
        try:
            believed = self.believed(name, self._seconds)
            return self.ask(name) if believed is None else believed
        finally:
            if is_mine:
                turn.release()

    def believed(self, name: str, seconds: float) -> T | None:
        """Return what was found out about a name within the last seconds; None: nothing was."""
        kept = self._answers.get(name)
        if kept is None or self._clock() - kept[0] >= seconds:
            return None
        return kept[1]

    def ask(self, name: str) -> T | None:
        """Find out about a name, whatever is believed of it, and remember that."""
        asked_s = self._clock()
        answer = self._ask(name)
        with self._lock:
            kept = self._answers.get(name)
            if kept is None or kept[0] <= asked_s:
                if answer is None:
                    self._answers.pop(name, None)
                else:
                    self._answers[name] = asked_s, answer
                    self._make_room()
        return answer

    def forget(self, name: str) -> None:
        """Believe nothing about a name any more."""
        with self._lock:
            self._answers.pop(name, None)

    def _make_room(self) -> None:
        if len(self._answers) <= _KEPT_MAX:
            return
        now_s = self._clock()
        self._answers = {
            name: kept for name, kept in self._answers.items() if now_s - kept[0] < self._seconds
        }
