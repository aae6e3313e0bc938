"""The numbers of one metadata field: (value, slot) pairs in the order of the values.

New pairs go to a small unsorted tail that a reader scans whole; when it has grown to a share of the
sorted part, the two are merged. So adding costs O(log n) merges, a range two binary searches and a
look at the tail.

Rules of this file:

- One writer; readers beside it take everything from one tuple, which each ``publish`` replaces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vectorbucket_server.filters.expression import Comparison

SlotArray = npt.NDArray[np.uint32]
Float64Array = npt.NDArray[np.float64]

_TAIL_MIN = 4_096
_TAIL_SHARE = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """What a reader sees."""

    values: Float64Array
    """float64, ascending."""
    slots: SlotArray
    """uint32, of the same length."""
    tail_values: Float64Array
    """float64, in no order."""
    tail_slots: SlotArray
    """uint32, of the same length."""


def _empty() -> _Pairs:
    values, slots = np.empty(0, dtype=np.float64), np.empty(0, dtype=np.uint32)
    return _Pairs(values, slots, values, slots)


class NumberList:
    """The pairs of one field."""

    __slots__ = ("_last", "_new", "_pairs", "is_single")

    def __init__(self) -> None:
        self._pairs = _empty()
        self._new: list[tuple[float, int]] = []
        self._last = -1
        self.is_single = True
        """Whether no slot has two numbers. Two bounds are one range only then: a list may hold one
        number above the lower bound and another one below the upper."""

    @classmethod
    def of(cls, values: Float64Array, slots: SlotArray) -> NumberList:
        """Return the list of these pairs: float64 ascending, and uint32 of the same length."""
        made, none = cls(), _empty()
        made._pairs = _Pairs(values, slots, none.values, none.slots)
        made.is_single = not len(slots) or int(np.bincount(slots).max()) == 1
        return made

    def pairs(self) -> tuple[Float64Array, SlotArray]:
        """Return what readers see: values (float64, ascending), and the slot of each (uint32)."""
        seen = self._pairs
        values = np.concatenate([seen.values, seen.tail_values])
        slots = np.concatenate([seen.slots, seen.tail_slots])
        order = np.argsort(values, kind="stable")
        return values[order], slots[order]

    @property
    def size_bytes(self) -> int:
        """Bytes of memory."""
        seen = self._pairs
        return (len(seen.values) + len(seen.tail_values)) * (8 + 4)

    def add(self, value: float, slot: int) -> None:
        """Add a pair, of the last slot or a new one; readers see it after ``publish``."""
        if slot == self._last:
            self.is_single = False
        self._last = slot
        self._new.append((value, slot))

    def publish(self) -> None:
        """Show readers what was added."""
        if not self._new:
            return
        old = self._pairs
        tail_values = np.concatenate([old.tail_values, [value for value, _ in self._new]])
        tail_slots = np.concatenate(
            [old.tail_slots, np.array([slot for _, slot in self._new], dtype=np.uint32)]
        )
        self._new = []
        if len(tail_values) <= max(_TAIL_MIN, len(old.values) // _TAIL_SHARE):
            self._pairs = _Pairs(old.values, old.slots, tail_values, tail_slots)
            return
        values = np.concatenate([old.values, tail_values])
        slots = np.concatenate([old.slots, tail_slots])
        order = np.argsort(values, kind="stable")
        none = _empty()
        self._pairs = _Pairs(values[order], slots[order], none.values, none.slots)

    def between(
        self, low: float, high: float, *, open_low: bool = False, open_high: bool = False
    ) -> SlotArray:
        """Return the slots of numbers from ``low`` to ``high``, in any order, perhaps twice.

        Args:
            low: The least value.
            high: The largest value.
            open_low: Whether ``low`` itself is left out.
            open_high: Whether ``high`` itself is left out.

        Returns:
            uint32, shape (n,); not to be changed.
        """
        pairs = self._pairs
        start = pairs.values.searchsorted(low, side="right" if open_low else "left")
        stop = pairs.values.searchsorted(high, side="left" if open_high else "right")
        tail = pairs.tail_values
        if not len(tail):
            return pairs.slots[start:stop]
        above = tail > low if open_low else tail >= low
        below = tail < high if open_high else tail <= high
        found, new = pairs.slots[start:stop], pairs.tail_slots[above & below]
        return np.concatenate([found, new]) if len(new) else found

    def compared(self, comparisons: Iterable[tuple[Comparison, float]]) -> SlotArray:
        """Return the slots of numbers that compare so with all these operands; see ``between``."""
        low, high, open_low, open_high = -np.inf, np.inf, False, False
        for comparison, operand in comparisons:
            match comparison:
                case Comparison.GT if operand >= low:
                    low, open_low = operand, True
                case Comparison.GTE if operand > low:
                    low, open_low = operand, False
                case Comparison.LT if operand <= high:
                    high, open_high = operand, True
                case Comparison.LTE if operand < high:
                    high, open_high = operand, False
        return self.between(low, high, open_low=open_low, open_high=open_high)
