"""How many bytes of bodies are held at once.

Rules of this file: for one event loop, so nothing is locked; nobody waits here, whoever is over the
bound is refused at once; bodies too small to matter are not counted, so that no flood of large ones
can keep out a query.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from vectorbucket.errors import QpsLimitExceeded

SMALL_BYTES = 64 * 1024
"""Bodies of up to this size are not counted: the number of connections bounds what they take."""


class BodyBudget:
    """A bound on the bytes of all bodies that are held."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.bytes_held = 0
        """Bytes that are counted now."""

    def share(self) -> BodyShare:
        """Return the share of one request, empty; a context that gives it back at its end."""
        return BodyShare(self)

    def take(self, size_bytes: int, held_bytes: int) -> None:
        """Count more bytes for somebody who holds some.

        What is larger than the whole budget fits when it is alone.

        Raises:
            QpsLimitExceeded: They do not fit beside those of others.
        """
        others_bytes = self.bytes_held - held_bytes
        if others_bytes and self.bytes_held + size_bytes > self._bytes_max:
            raise QpsLimitExceeded(
                f"bodies of {others_bytes} bytes are being worked on; this one has at least "
                f"{held_bytes + size_bytes}, and the limit is {self._bytes_max}",
                details={"limit": str(self._bytes_max)},
            )
        self.bytes_held += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Count bytes no more."""
        self.bytes_held -= size_bytes


class BodyShare:
    """What one request holds of a budget."""

    __slots__ = ("_budget", "_held_bytes")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._held_bytes = 0

    def grow_to(self, size_bytes: int) -> None:
        """Hold at least so many bytes.

        Raises:
            QpsLimitExceeded: They do not fit.
        """
        if size_bytes > SMALL_BYTES and size_bytes > self._held_bytes:
            self._budget.take(size_bytes - self._held_bytes, self._held_bytes)
            self._held_bytes = size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._budget.give_back(self._held_bytes)
