"""Bytes that come in parts, held in little more memory than they have.

Rules of this file: what came in one part, or in large ones, is not copied before somebody wants the
whole; a list of tiny parts would take many times what is in them, so these are joined.
"""

from __future__ import annotations

_LIST_BYTES = 64 * 1024
"""A part that has this size is not added to."""


class Parts:
    """Bytes, in the order in which they came."""

    __slots__ = ("_parts", "size_bytes")

    def __init__(self) -> None:
        self._parts: list[bytes | bytearray] = []
        self.size_bytes = 0
        """How many there are."""

    def add(self, part: bytes) -> None:
        """Put bytes behind the others."""
        self.size_bytes += len(part)
        if not self._parts or len(self._parts[-1]) >= _LIST_BYTES:
            self._parts.append(part)
            return
        last = self._parts[-1]
        if isinstance(last, bytes):
            last = self._parts[-1] = bytearray(last)
        last += part

    def take(self) -> bytes:
        """Return all bytes in one, and hold none of them any more."""
        parts, self._parts, self.size_bytes = self._parts, [], 0
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
