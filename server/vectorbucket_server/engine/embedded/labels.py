"""Label ↔ slot: which version of which vector lies where in a generation, and since when dead.

A *label* (uint64) names one version of one vector for ever. A *slot* (uint32) is its place in one
generation. Slots are given in label order, so label → slot is a binary search.

Reading is free of locks. A write appends labels, stamps the slots that died with its seq, and then
publishes ``(seq, count)``; a reader that took ``(seq, count)`` sees a slot as live if it lies below
its count and did not die up to its seq. So each reader sees the index as it was at one moment,
whatever is written meanwhile.

Rules of this file:

- One writer at a time (the index's write mutex); any number of readers.
- Arrays grow by being replaced. A reader that still holds the old ones misses only deaths after its
  seq.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LabelArray = npt.NDArray[np.uint64]

NEVER = np.uint64(2**64 - 1)
"""When a live slot died."""

_BEFORE_ALL = np.uint64(0)
"""When a slot died that was dead before any reader of this process came."""

_CAPACITY_MIN = 1_024


class Labels:
    """The labels of a generation, by slot."""

    def __init__(self) -> None:
        self.count = 0
        """Slots that are taken."""
        self.by_slot: LabelArray = np.empty(0, dtype=np.uint64)
        """uint64, shape (capacity,), ascending up to ``count``: the label at each slot."""
        self.died: LabelArray = np.empty(0, dtype=np.uint64)
        """uint64, shape (capacity,): the seq at which each slot died, NEVER while it lives."""

    def resume(self, labels: LabelArray, dead: npt.NDArray[np.bool_]) -> None:
        """Take the labels of a checkpoint.

        Args:
            labels: uint64, shape (n,), ascending.
            dead: bool, shape (n,): which of them are dead for every reader.
        """
        self.by_slot, self.count = labels, len(labels)
        self.died = np.where(dead, _BEFORE_ALL, NEVER)

    def append(self, labels: LabelArray) -> None:
        """Give the next slots to labels.

        Args:
            labels: uint64, shape (n,), ascending, above all labels so far.
        """
        end = self.count + len(labels)
        if end > len(self.by_slot):
            self._grow(end)
        self.by_slot[self.count : end] = labels
        self.died[self.count : end] = NEVER
        self.count = end

    def _grow(self, needed: int) -> None:
        """Replace the arrays by longer ones."""
        capacity = max(needed, _CAPACITY_MIN, len(self.by_slot) * 3 // 2)
        by_slot = np.empty(capacity, dtype=np.uint64)
        by_slot[: self.count] = self.by_slot[: self.count]
        died = np.full(capacity, NEVER, dtype=np.uint64)
        died[: self.count] = self.died[: self.count]
        self.by_slot, self.died = by_slot, died

    def slots(self, labels: LabelArray) -> npt.NDArray[np.intp]:
        """Return the slots of labels.

        Args:
            labels: uint64, shape (n,), all of them here.

        Raises:
            ValueError: A label is not here: the generation does not fit the store.
        """
        taken = self.by_slot[: self.count]
        found = np.searchsorted(taken, labels)
        if len(labels) and (found.max() >= self.count or (taken[found] != labels).any()):
            raise ValueError("a label has no slot in this generation")
        return found

    def kill(self, slots: npt.NDArray[np.intp], seq: int) -> None:
        """Note that slots died with the change ``seq``."""
        self.died[slots] = seq

    @property
    def size_bytes(self) -> int:
        """Bytes of memory."""
        return self.by_slot.nbytes + self.died.nbytes
