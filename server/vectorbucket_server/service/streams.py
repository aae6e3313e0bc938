"""Which PutVectors stream is the current one of its id, and which batches that id has stored.

A caller whose connection broke opens a new stream with the same id and sends again what was not
answered. The old stream may still be alive on the server, with a message in its hands; so every
batch is committed under a guard, which the engine asks in the index's order of writes.

Rules of this file: a number counts as stored only from ``committed()`` on, so a rejected batch
never does; memory is bounded: ids of closed streams are forgotten, oldest first, and so are the
lowest ranges of numbers of one id. What was forgotten is applied again when it is sent again, and
then so is everything after it, which is correct because a put replaces.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from vectorbucket.errors import VectorIndexOperationConflict

IDS_MAX = 4096
"""Closed streams that are remembered; at most a few MiB."""

RANGES_MAX = 64
"""Ranges of stored batch numbers that an id keeps. A caller who counts by one needs one range, and
one more for each batch that was rejected."""

StreamName: TypeAlias = tuple[int, str]
"""index_id and stream_id."""


class StoredNumbers:
    """The batch numbers that a stream id has stored: ranges, ascending."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __contains__(self, number: int) -> bool:
        """Return whether the number is stored."""
        position = bisect_right(self._firsts, number) - 1
        return position >= 0 and number <= self._lasts[position]

    def add(self, number: int) -> None:
        """Add a number, and forget all above it.

        A number below stored ones arrives when it was rejected before, or forgotten. The batches
        after it were then applied before it; they must be applied again when they are sent again,
        or an older version of a vector would win.
        """
        while self._firsts and self._firsts[-1] > number:
            del self._firsts[-1], self._lasts[-1]
        if self._lasts and self._lasts[-1] >= number - 1:
            self._lasts[-1] = number
        else:
            self._firsts.append(number)
            self._lasts.append(number)
        if len(self._firsts) > RANGES_MAX:
            del self._firsts[0], self._lasts[0]

    def __len__(self) -> int:
        """Return the number of ranges."""
        return len(self._firsts)


@dataclass(eq=False)
class _Entry:
    """What is known of one stream id."""

    current: PutStream | None = None
    stored: StoredNumbers = field(default_factory=StoredNumbers)


class StreamRegistry:
    """The streams of a server, open and lately closed."""

    def __init__(self, ids_max: int = IDS_MAX) -> None:
        self._ids_max = ids_max
        self._lock = threading.Lock()
        self._open: dict[StreamName, _Entry] = {}
        self._closed: OrderedDict[StreamName, _Entry] = OrderedDict()

    def open(self, index_id: int, stream_id: str, on_superseded: Callable[[], None]) -> PutStream:
        """Return a new stream, which is from now on the current one of its id.

        Args:
            index_id: The index that it writes to.
            stream_id: The id that its caller gave it.
            on_superseded: Called once, on another thread, when a newer stream takes its place.
        """
        name = (index_id, stream_id)
        with self._lock:
            entry = self._open.get(name) or self._closed.pop(name, None) or _Entry()
            self._open[name] = entry
            older = entry.current
            entry.current = stream = PutStream(self, name, entry, on_superseded)
        if older is not None:
            older.superseded()
        return stream

    def close(self, stream: PutStream) -> None:
        """Note that a stream ended; its numbers are kept for the one that may resume it."""
        with self._lock:
            if not stream.is_current:
                return
            stream.entry.current = None
            self._closed[stream.name] = self._open.pop(stream.name)
            while len(self._closed) > self._ids_max:
                self._closed.popitem(last=False)


class PutStream:
    """One open PutVectors stream."""

    def __init__(
        self,
        registry: StreamRegistry,
        name: StreamName,
        entry: _Entry,
        on_superseded: Callable[[], None],
    ) -> None:
        self.name = name
        self.entry = entry
        self._registry = registry
        self._on_superseded = on_superseded

    @property
    def is_current(self) -> bool:
        """Whether no newer stream has taken this one's place."""
        return self.entry.current is self

    def guard(self, batch_number: int) -> BatchGuard:
        """Return the say that this stream has in the commit of one of its batches."""
        return BatchGuard(self, batch_number)

    def superseded(self) -> None:
        """Tell whoever reads this stream that a newer one took its place."""
        self._on_superseded()

    def close(self) -> None:
        """End the stream."""
        self._registry.close(self)


class BatchGuard:
    """The WriteGuard (engine/base.py) of one batch of a stream.

    The engine lets no other write to the index in between ``admit`` and ``committed``, so the
    entry, which all streams of one id and index share, needs no lock of its own here.
    """

    def __init__(self, stream: PutStream, batch_number: int) -> None:
        self._stream = stream
        self._batch_number = batch_number

    def admit(self) -> bool:
        """Return whether to commit the batch; False if its number is stored already.

        Raises:
            VectorIndexOperationConflict: A newer stream took this one's place.
        """
        if not self._stream.is_current:
            raise superseded_error(self._stream.name[1])
        return self._batch_number not in self._stream.entry.stored

    def committed(self) -> None:
        """Note that the batch is stored."""
        self._stream.entry.stored.add(self._batch_number)


def superseded_error(stream_id: str) -> VectorIndexOperationConflict:
    """Return the error that ends a stream when a newer one has its id."""
    return VectorIndexOperationConflict(
        f"a newer stream with stream_id {stream_id!r} took this one's place",
        details={"stream_id": stream_id},
    )
