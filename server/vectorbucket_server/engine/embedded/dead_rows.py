"""The rows of dead labels, and the readers that may still want them.

Rows under a label never change, so a reader that holds labels can fetch their rows whenever it
likes. An overwrite or delete therefore leaves the old rows where they are; they are removed once
every reader that began before is gone. (Removing them at once lost 732 of 114,285 concurrent gets
when it was tried.)

Rules of this file:

- A reader enters with a seq, and takes its view or its labels only after that. A label that died up
  to a seq is out of sight of every reader that entered with that seq or a later one, and of all who
  will come.
- The records of ``changes`` are the durable twin of what waits here, and go in the same batch as
  the rows.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from vectorbucket_server.engine.embedded.schema import Family, LabelArray, label_key
from vectorbucket_server.engine.embedded.store import Store

_LABELS_PER_BATCH = 2_000


class DeadRows:
    """What died in an index and waits for its removal."""

    def __init__(self, index_id: int, store: Store) -> None:
        self._index_id = index_id
        self._store = store
        self._waiting: deque[tuple[int, LabelArray]] = deque()
        self._entered: dict[int, int] = {}
        self._tickets = itertools.count()

    def start_over(self, waiting: Iterable[tuple[int, LabelArray]]) -> None:
        """Take what the store says waits for its removal, in order of seq."""
        self._waiting = deque(waiting)

    def add(self, seq: int, labels: LabelArray) -> None:
        """Note that labels (uint64, shape (n,)) died with the change ``seq``; ascending by seq."""
        self._waiting.append((seq, labels))

    def reading(self, seq: Callable[[], int]) -> AbstractContextManager[None]:
        """Keep what dies from now on, until the reader is done.

        Args:
            seq: Returns the newest seq.
        """
        return _Reader(self._entered, next(self._tickets), seq)

    @property
    def has_readers(self) -> bool:
        """Whether somebody reads now."""
        return bool(self._entered)

    @property
    def has_work(self) -> bool:
        """Whether something waits for its removal."""
        return bool(self._waiting)

    def remove(self) -> int:
        """Remove the rows that nobody can want any more; return how many labels went.

        Raises:
            ServiceUnavailable: The store failed; what was not removed still waits.
        """
        removed = 0
        waiting = self._waiting  # start_over may put another in its place meanwhile
        while waiting:
            seq, labels = waiting[0]
            # A copy, because readers come and go; one who comes now enters with a newer seq.
            if any(entered < seq for entered in list(self._entered.values())):
                break
            for first in range(0, len(labels), _LABELS_PER_BATCH):
                batch = self._store.batch()
                for label in labels[first : first + _LABELS_PER_BATCH].tolist():
                    key = label_key(self._index_id, label)
                    batch.delete(Family.ROWS, key)
                    batch.delete(Family.DATA, key)
                if first + _LABELS_PER_BATCH >= len(labels):
                    batch.delete(Family.CHANGES, label_key(self._index_id, seq))
                self._store.write(batch)
            waiting.popleft()
            removed += len(labels)
        return removed


class _Reader:
    """One reader's stay. Not a generator: that would cost each query two microseconds."""

    __slots__ = ("_entered", "_seq", "_ticket")

    def __init__(self, entered: dict[int, int], ticket: int, seq: Callable[[], int]) -> None:
        self._entered = entered
        self._ticket = ticket
        self._seq = seq

    def __enter__(self) -> None:
        self._entered[self._ticket] = self._seq()

    def __exit__(self, *error: object) -> None:
        del self._entered[self._ticket]
