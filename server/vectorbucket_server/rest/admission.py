"""How many bytes are held at once, of bodies or of answers.

Rules of this file: for one event loop, so nothing is locked; nobody waits here, whoever is over the
bound is refused at once; what is too small to matter is not counted, so that no flood of large ones
can keep out a query.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from vectorbucket.errors import QpsLimitExceeded

SMALL_BYTES = 64 * 1024
"""What has up to so many bytes is not counted: the number of connections bounds what it takes."""


class Budget:
    """A bound on the bytes that are held for all requests."""

    def __init__(self, bytes_max: int, held: str) -> None:
        """Hold nothing.

        Args:
            bytes_max: The bound.
            held: What is held, for whoever is refused: ``bodies that are being worked on``.
        """
        self._bytes_max = bytes_max
        self._held = held
        self.bytes_held = 0
        """Bytes that are counted now."""

    def share(self) -> Share:
        """Return the share of one request, empty; a context that gives it back at its end."""
        return Share(self)

    def take(self, size_bytes: int, held_bytes: int) -> None:
        """Count more bytes for somebody who holds some.

        What is larger than the whole budget fits when it is alone.

        Raises:
            QpsLimitExceeded: They do not fit beside those of others.
        """
        others_bytes = self.bytes_held - held_bytes
        if others_bytes and self.bytes_held + size_bytes > self._bytes_max:
            raise QpsLimitExceeded(
                f"there are {others_bytes} bytes of {self._held}; this one has at least "
                f"{held_bytes + size_bytes}, and the limit is {self._bytes_max}",
                details={"limit": str(self._bytes_max)},
            )
        self.bytes_held += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Count bytes no more."""
        self.bytes_held -= size_bytes


class Share:
    """What one request holds of a budget."""

    __slots__ = ("_budget", "_held_bytes")

    def __init__(self, budget: Budget) -> None:
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
