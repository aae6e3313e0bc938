"""The other side of the seam: what an engine is given by those who call it.

Rules of this file: protocols, and the least that fulfils them; base.py is their face, from which
everybody imports them.
"""

from __future__ import annotations

from typing import Protocol


class Deadline(Protocol):
    """How long a caller is willing to wait. Checked between the stages of a call."""

    def check(self) -> None:
        """Return if the caller still waits.

        Raises:
            RequestTimeout: The deadline passed, or the caller cancelled.
        """

    def remaining_s(self) -> float | None:
        """Return the seconds left, or None where there is no deadline."""


class NoDeadline:
    """A caller who waits for ever."""

    def check(self) -> None:
        """Return."""

    def remaining_s(self) -> float | None:
        """Return None."""
        return None


NO_DEADLINE = NoDeadline()


class WriteGuard(Protocol):
    """A say in whether a batch may still be committed.

    Both methods are called under the index's write order: no other write to the index happens
    between them, nor between them and the commit. They must be quick and must not call the engine.
    """

    def admit(self) -> bool:
        """Return whether to commit the batch; False skips it, because it is committed already.

        Raises:
            VectorIndexOperationConflict: The writer was superseded; nothing is committed.
        """

    def committed(self) -> None:
        """Note that the batch is committed (visible; durable when ``put_vectors`` returns)."""


class Observer(Protocol):
    """Whom an engine tells what it does; called on the thread that does it, quick, never raises."""

    def plan_chosen(self, plan: str, query_count: int) -> None:
        """Note by which plan a query call ran, and how many queries it held."""

    def vectors_indexed(self, count: int, seconds: float) -> None:
        """Note that a turn of the indexer put so many vectors into a graph, in so many seconds."""

    def backend_called(self, call: str, outcome: str, seconds: float) -> None:
        """Note a call of what the engine keeps its data in, if that is another service.

        Args:
            call: The name of the call.
            outcome: ``ok``, ``missing``, ``unloaded``, ``rate_limited``, ``unavailable``,
                ``failed``.
            seconds: How long it took.
        """

    def background_failed(self, what: str, error: Exception) -> None:
        """Note that work behind the calls failed; it will be tried again."""

    def background_recovered(self, what: str, seconds: float) -> None:
        """Note that what was said to have failed goes on again, after so many seconds."""


class SilentObserver:
    """An observer that notes nothing."""

    def plan_chosen(self, plan: str, query_count: int) -> None:
        """Ignore it."""

    def vectors_indexed(self, count: int, seconds: float) -> None:
        """Ignore it."""

    def backend_called(self, call: str, outcome: str, seconds: float) -> None:
        """Ignore it."""

    def background_failed(self, what: str, error: Exception) -> None:
        """Ignore it."""

    def background_recovered(self, what: str, seconds: float) -> None:
        """Ignore it."""
