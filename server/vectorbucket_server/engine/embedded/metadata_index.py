"""Which slots match a filter: inverted lists from metadata to slots.

Strings and booleans: value → roaring bitmap of slots. Numbers: (value, slot) pairs in the order of
the values, so that a range is two binary searches. Fields: a bitmap of the slots that have them.

Slots are only ever added, because a slot's metadata never changes; a reader needs no lock and cuts
the answer at the count of its view. Dead slots stay in until the generation is made anew; whoever
reads checks them against its view.

Memory is bounded a value: one that was seen once stores its slot, the second slot makes it a bitmap
(about 310 bytes); a long value is keyed by a 128-bit hash of it.

Rules of this file:

- It knows expressions and slots, no vectors, labels or distances.
- It means the same as filters/matcher.py for every expression; a test holds the two together.
- One writer at a time; readers beside it. Listed bitmaps are never handed out to be changed.
"""

from __future__ import annotations

import array
import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import reduce
from operator import and_
from typing import Any, ClassVar, TypeAlias

import numpy as np
from pyroaring import BitMap

from vectorbucket_server.engine.embedded.matches import ListedArray, Matches
from vectorbucket_server.engine.embedded.number_lists import NumberList
from vectorbucket_server.filters.expression import (
    And,
    Compare,
    Comparison,
    Equals,
    Exists,
    Expression,
    In,
    NotEquals,
    NotIn,
    Or,
)
from vectorbucket_server.model import Metadata, MetadataScalar

ValueKey: TypeAlias = str | bytes | bool
"""A short string, the hash of a long one, or a boolean."""

Listed: TypeAlias = BitMap | ListedArray
"""Slots as they are listed: a bitmap, or uint32 in any order, perhaps twice."""

_PLAIN_CHARACTERS_MAX = 16
"""Strings up to this length are their own key."""

_HASH_BYTES = 16

_VALUE_BYTES = 145
"""What a value costs that was seen once, with its key and its place in the table (measured: 136
bytes where every vector has a short string of its own, 150 where a long one)."""

_BITMAP_BYTES = 145
"""What the bitmap costs on top (measured: 290 bytes a value that two vectors have)."""

_LISTING_BYTES = 1
"""What one more slot in a bitmap costs: two bytes where they are few, an eighth where many."""

_NOTHING = BitMap()


def _value_key(value: str | bool) -> ValueKey:  # noqa: FBT001 - a value, not a switch
    """Return what a value is listed under."""
    if isinstance(value, bool) or len(value) <= _PLAIN_CHARACTERS_MAX:
        return value
    return hashlib.blake2b(value.encode(), digest_size=_HASH_BYTES).digest()


class Field:
    """The lists of one field: who has it, who has which text or boolean, and the numbers."""

    __slots__ = ("_bitmaps", "_listings", "numbers", "present", "values")

    def __init__(self) -> None:
        self.present = BitMap()
        self.values: dict[ValueKey, int | BitMap] = {}
        self.numbers = NumberList()
        self._bitmaps = 0
        self._listings = 0

    def recount(self) -> None:
        """Count anew what the values take; for whoever filled them in without ``add``."""
        bitmaps = [one for one in self.values.values() if isinstance(one, BitMap)]
        self._bitmaps, self._listings = len(bitmaps), sum(map(len, bitmaps)) - 2 * len(bitmaps)

    @property
    def size_bytes(self) -> int:
        """Bytes of memory, about; counted, not measured."""
        values = len(self.values) * _VALUE_BYTES + self._bitmaps * _BITMAP_BYTES
        listings = (self._listings + len(self.present) // 8) * _LISTING_BYTES
        return values + listings + self.numbers.size_bytes

    def add(self, slot: int, value: MetadataScalar) -> None:
        """List a slot under a value."""
        if isinstance(value, float):
            self.numbers.add(value, slot)
            return
        key = _value_key(value)
        listed = self.values.get(key)
        if listed is None:
            self.values[key] = slot
        elif isinstance(listed, int):
            if listed != slot:
                self.values[key] = BitMap((listed, slot))
                self._bitmaps += 1
        else:
            listed.add(slot)
            self._listings += 1

    def equal_to(self, value: MetadataScalar) -> Listed:
        """Return the slots that have this value, alone or in a list."""
        if isinstance(value, float):
            return self.numbers.between(value, value)
        listed = self.values.get(_value_key(value))
        if listed is None:
            return _NOTHING
        return BitMap((listed,)) if isinstance(listed, int) else listed


class MetadataIndex:
    """The inverted lists of a generation."""

    def __init__(self, non_filterable_keys: Collection[str]) -> None:
        """Make empty lists.

        Args:
            non_filterable_keys: Fields that are not listed, because no filter may name them.
        """
        self._skipped = frozenset(non_filterable_keys)
        self.fields: dict[str, Field] = {}
        """The lists of each field, by its name."""

    def resume(self, fields: dict[str, Field]) -> None:
        """Take the lists of a checkpoint."""
        for field in fields.values():
            field.recount()
        self.fields = fields

    def add(self, first_slot: int, metadata: Sequence[Metadata]) -> None:
        """List the next slots, one a mapping, from ``first_slot`` on."""
        for slot, mapping in enumerate(metadata, first_slot):
            for name, value in mapping.items():
                if name in self._skipped:
                    continue
                field = self.fields.get(name)
                if field is None:
                    field = self.fields[name] = Field()
                field.present.add(slot)
                if isinstance(value, str | bool | float):
                    field.add(slot, value)
                else:
                    for element in value:
                        field.add(slot, element)
        for field in self.fields.values():
            field.numbers.publish()

    @property
    def size_bytes(self) -> int:
        """Bytes of memory, about."""
        return sum(field.size_bytes for field in list(self.fields.values()))

    def matching(self, expression: Expression, count: int) -> Matches:
        """Return the slots below ``count`` that match.

        Args:
            expression: The filter.
            count: Slots of the reader's view.
        """
        return Matches(self._listed(expression, count), count)

    def _listed(self, expression: Expression, count: int) -> Listed:
        """Return the slots below ``count`` that match, and perhaps some from ``count`` on."""
        return self._EVALUATE[type(expression)](self, expression, count)

    def _bitmap(self, expression: Expression, count: int) -> BitMap:
        return _as_bitmap(self._listed(expression, count), count)

    def _field(self, name: str) -> Field:
        return self.fields.get(name) or Field()

    def _and(self, expression: And, count: int) -> Listed:
        ranges: dict[str, list[tuple[Comparison, float]]] = {}
        parts: list[Listed] = []
        for operand in expression.operands:
            if isinstance(operand, Compare) and self._field(operand.field).numbers.is_single:
                # Both ends of a range at once: many slots lie beyond each that are not in it.
                ends = ranges.setdefault(operand.field, [])
                ends.append((operand.operator, operand.operand))
            else:
                parts.append(self._listed(operand, count))
        parts += [self._field(name).numbers.compared(ends) for name, ends in ranges.items()]
        if len(parts) == 1:
            return parts[0]
        return reduce(and_, (_as_bitmap(part, count) for part in parts))

    def _or(self, expression: Or, count: int) -> Listed:
        if len(expression.operands) == 1:
            return self._listed(expression.operands[0], count)
        return BitMap.union(*(self._bitmap(e, count) for e in expression.operands))

    def _equals(self, expression: Equals, count: int) -> Listed:  # noqa: ARG002
        return self._field(expression.field).equal_to(expression.value)

    def _not_equals(self, expression: NotEquals, count: int) -> Listed:
        equal = self._field(expression.field).equal_to(expression.value)
        return _all(count) - _as_bitmap(equal, count)

    def _in(self, expression: In, count: int) -> Listed:
        return self._any(expression.field, expression.values, count)

    def _not_in(self, expression: NotIn, count: int) -> Listed:
        return _all(count) - self._any(expression.field, expression.values, count)

    def _any(self, name: str, values: Iterable[MetadataScalar], count: int) -> BitMap:
        field = self._field(name)
        listed = (_as_bitmap(field.equal_to(value), count) for value in values)
        return BitMap.union(*listed, _NOTHING)

    def _exists(self, expression: Exists, count: int) -> Listed:
        present = self._field(expression.field).present
        return present if expression.present else _all(count) - present

    def _compare(self, expression: Compare, count: int) -> Listed:  # noqa: ARG002
        numbers = self._field(expression.field).numbers
        return numbers.compared([(expression.operator, expression.operand)])

    _EVALUATE: ClassVar[dict[type, Callable[[MetadataIndex, Any, int], Listed]]] = {
        And: _and,
        Or: _or,
        Equals: _equals,
        NotEquals: _not_equals,
        In: _in,
        NotIn: _not_in,
        Exists: _exists,
        Compare: _compare,
    }
    """How each node is evaluated. A test fails if a node is missing."""


def _all(count: int) -> BitMap:
    """Return every slot of a view."""
    return BitMap(range(count))


def _as_bitmap(listed: Listed, count: int) -> BitMap:
    """Return the slots below ``count``, and perhaps others, as a bitmap not to be changed."""
    if isinstance(listed, BitMap):
        return listed
    # Slots in order go into a bitmap at 4 ns each, others at 27.
    ascending = Matches(listed, count).slots().astype(np.uint32)
    return BitMap(array.array("I", ascending.tobytes()))
