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
- One writer at a time; readers beside it. What ``matching`` returns must not be changed.
"""

from __future__ import annotations

import array
import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from vectorbucket_server.engine.embedded.number_lists import NumberList
from vectorbucket_server.filters.expression import (
    And,
    Compare,
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

_PLAIN_CHARACTERS_MAX = 16
"""Strings up to this length are their own key."""

_HASH_BYTES = 16

_NOTHING = BitMap()


def _value_key(value: str | bool) -> ValueKey:  # noqa: FBT001 - a value, not a switch
    """Return what a value is listed under."""
    if isinstance(value, bool) or len(value) <= _PLAIN_CHARACTERS_MAX:
        return value
    return hashlib.blake2b(value.encode(), digest_size=_HASH_BYTES).digest()


class _Field:
    """The lists of one field."""

    __slots__ = ("numbers", "present", "values")

    def __init__(self) -> None:
        self.present = BitMap()
        self.values: dict[ValueKey, int | BitMap] = {}
        self.numbers = NumberList()

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
        else:
            listed.add(slot)

    def equal_to(self, value: MetadataScalar) -> BitMap:
        """Return the slots that have this value, alone or in a list."""
        if isinstance(value, float):
            return _bitmap(self.numbers.between(value, value))
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
        self._fields: dict[str, _Field] = {}

    def add(self, first_slot: int, metadata: Sequence[Metadata]) -> None:
        """List the next slots, one a mapping, from ``first_slot`` on."""
        for slot, mapping in enumerate(metadata, first_slot):
            for name, value in mapping.items():
                if name in self._skipped:
                    continue
                field = self._fields.get(name)
                if field is None:
                    field = self._fields[name] = _Field()
                field.present.add(slot)
                if isinstance(value, str | bool | float):
                    field.add(slot, value)
                else:
                    for element in value:
                        field.add(slot, element)
        for field in self._fields.values():
            field.numbers.publish()

    def matching(self, expression: Expression, count: int) -> BitMap:
        """Return the slots below ``count`` that match, and perhaps some from ``count`` on.

        Args:
            expression: The filter.
            count: Slots of the reader's view.
        """
        return self._EVALUATE[type(expression)](self, expression, count)

    def _field(self, name: str) -> _Field:
        return self._fields.get(name) or _Field()

    def _and(self, expression: And, count: int) -> BitMap:
        return reduce(and_, (self.matching(e, count) for e in expression.operands))

    def _or(self, expression: Or, count: int) -> BitMap:
        return reduce(or_, (self.matching(e, count) for e in expression.operands))

    def _equals(self, expression: Equals, count: int) -> BitMap:  # noqa: ARG002
        return self._field(expression.field).equal_to(expression.value)

    def _not_equals(self, expression: NotEquals, count: int) -> BitMap:
        return _all(count) - self._field(expression.field).equal_to(expression.value)

    def _in(self, expression: In, count: int) -> BitMap:  # noqa: ARG002
        return self._any(expression.field, expression.values)

    def _not_in(self, expression: NotIn, count: int) -> BitMap:
        return _all(count) - self._any(expression.field, expression.values)

    def _any(self, name: str, values: Iterable[MetadataScalar]) -> BitMap:
        field = self._field(name)
        return BitMap.union(*(field.equal_to(value) for value in values), _NOTHING)

    def _exists(self, expression: Exists, count: int) -> BitMap:
        present = self._field(expression.field).present
        return present if expression.present else _all(count) - present

    def _compare(self, expression: Compare, count: int) -> BitMap:  # noqa: ARG002
        numbers = self._field(expression.field).numbers
        return _bitmap(numbers.compared(expression.operator, expression.operand))

    _EVALUATE: ClassVar[dict[type, Callable[[MetadataIndex, Any, int], BitMap]]] = {
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


def _bitmap(slots: npt.NDArray[np.uint32]) -> BitMap:
    """Return slots (uint32, any order, doubles allowed) as a bitmap."""
    return BitMap(array.array("I", slots.tobytes()))
