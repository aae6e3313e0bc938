"""What a filter matches in one view: slots in order, and whether a slot is among them.

Rules of this file:

- Slots at or above the view's count are cut off here and nowhere else.
- A question is answered in the form that is cheapest for it, and made once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

SlotArray = npt.NDArray[np.intp]
ListedArray = npt.NDArray[np.uint32]

_SORTED_SHARE = 32
"""One slot in so many: fewer are sorted, more are marked. Sorting takes 13 ns a slot, marking 1.5,
and a look over all marks 0.25 each (20,000 to 100,000 slots, 2 cores, AVX-512)."""

_ASKED_SHARE = 24
"""Asking a bitmap takes 33 ns a slot, marking all that it holds 1.5 ns each (the same)."""


class Matches:
    """The slots below a count that match a filter; the dead among them are not known here."""

    def __init__(self, listed: BitMap | ListedArray, count: int) -> None:
        """Say what matches.

        Args:
            listed: The slots, and perhaps some from ``count`` on: a bitmap, which is not changed
                here, or uint32 in any order, perhaps twice.
            count: Slots of the reader's view.
        """
        self._count = count
        self._bitmap = listed if isinstance(listed, BitMap) else None
        self._listed = None if isinstance(listed, BitMap) else listed
        self._slots: SlotArray | None = None
        self._marks: npt.NDArray[np.bool_] | None = None
        self._size = len(listed)

    def __len__(self) -> int:
        """Return how many there are: a few more where some are listed twice or above the count."""
        return self._size

    def __iter__(self) -> Iterator[int]:
        """Yield the slots, ascending."""
        return iter(self.slots().tolist())

    def slots(self) -> SlotArray:
        """Return the slots: intp, ascending, each once."""
        if self._slots is None:
            self._slots = self._ordered()
        return self._slots

    def _ordered(self) -> SlotArray:
        if self._bitmap is not None:
            return self._below(np.frombuffer(self._bitmap.to_array(), dtype=np.uint32))
        if self._size * _SORTED_SHARE < self._count:
            assert self._listed is not None  # noqa: S101 - it is one or the other
            ascending = np.sort(self._listed)
            twice = np.count_nonzero(ascending[1:] == ascending[:-1])
            return self._below(np.unique(ascending) if twice else ascending)
        return np.flatnonzero(self._marked())

    def _below(self, ascending: ListedArray) -> SlotArray:
        """Return those of ascending slots that are below the count."""
        if len(ascending) and ascending[-1] >= self._count:
            ascending = ascending[: ascending.searchsorted(self._count)]
        return ascending.astype(np.intp)

    def _marked(self) -> npt.NDArray[np.bool_]:
        """Return whether each slot of the view matches: bool, shape (count,)."""
        if self._marks is None:
            self._marks = np.zeros(self._count, dtype=np.bool_)
            if self._listed is None:
                self._marks[self.slots()] = True
            else:
                slots = self._listed.astype(np.intp)
                try:
                    self._marks[slots] = True
                except IndexError:  # numpy looks anyway; some came after the view was taken
                    self._marks[slots[slots < self._count]] = True
        return self._marks

    def hold(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which of these slots match.

        Args:
            slots: int64, any shape, below the count.

        Returns:
            bool, of the same shape.
        """
        bitmap = self._bitmap if self._marks is None else None
        if bitmap is not None and slots.size * _ASKED_SHARE < self._size:
            held = [slot in bitmap for slot in slots.ravel().tolist()]
            return np.array(held, dtype=np.bool_).reshape(slots.shape)
        result: npt.NDArray[np.bool_] = self._marked()[slots]
        return result
