"""What a value of a body has to be: readers that return it as that, or refuse it.

Rules of this file: whatever road a body came by, a reader gives the same; wrong values are refused
with their path in the words of the JSON, members that nobody asks for are passed over. A member
that is null is as one that is absent, except in metadata and filters: there null is a value, and
refused by whoever knows of values. No Python object is made of a number in a vector, where the body
came by the quick road; and before there are messages of many things, they are counted.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vectorbucket.errors import VectorBucketError, VectorIndexParameterInvalid
from vectorbucket_server.rest.oss.bodies import ARRAYS, OBJECTS, Document, Odd
from vectorbucket_server.rest.oss.words import Huge, cut, described

Members: TypeAlias = Mapping[str, Any]
"""The members of an object."""

ELEMENTS_READ_MAX = 200_000
"""Elements of an array that are made into messages, vectors and keys among them: no limit of the
server comes near, but a lifted one."""

METADATA_VALUES_MAX = 1_000_000
"""Values of metadata in a body, elements of lists among them, that are made into messages: they
take 70 bytes and a microsecond each. The largest batch has ten fields for each of 500 vectors."""

_MEMBERS_LOOKED_UP_MAX = 64
"""Members of an object up to which the quick road reads it: it finds each by going through all."""

_INT32_MAX = 2**31 - 1
_DOUBLE_MAX = sys.float_info.max


class Reader:
    """Reads one body.

    Each method takes a value and its path, and returns the value as what it has to be, or raises:
    on the quick road ``Odd``, on the careful one an error with the path.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._error: type[VectorBucketError] = VectorIndexParameterInvalid
        self._metadata_values = 0

    def root(self, *, error: type[VectorBucketError] = VectorIndexParameterInvalid) -> Members:
        """Return the members of the whole body, without those that are null.

        Args:
            error: What wrong values in it are from now on.
        """
        self._error = error
        return self.members(self._document.root, "the body")

    def refused(self, path: str, problem: str) -> VectorBucketError | Odd:
        """Return the error about a value."""
        if self._document.quick:
            return Odd()
        return self._error(f"{path} {problem}", field=path)

    def wrong(self, path: str, expectation: str, value: object) -> VectorBucketError | Odd:
        """Return the error about a value of the wrong type."""
        if self._document.quick:
            return Odd()
        return self.refused(path, f"must be {expectation}, and is {described(value)}")

    def members(self, value: object, path: str) -> Members:
        """Return the members of an object, without those that are null."""
        members = self.all_members(value, path)
        if None in members.values():
            return {name: one for name, one in members.items() if one is not None}
        return members

    def all_members(self, value: object, path: str) -> Members:
        """Return the members of an object; on the quick road, those inside are not read yet."""
        if isinstance(value, dict):
            return value
        if not isinstance(value, OBJECTS):
            raise self.wrong(path, "an object", value)
        names = list(value)
        if len(names) > _MEMBERS_LOOKED_UP_MAX or len(set(names)) < len(names):
            raise Odd
        try:
            return {name: value[name] for name in names}
        except KeyError:
            # A name with a zero character in it, which cannot be looked up.
            raise Odd from None

    def pass_over(self, members: Members, known: frozenset[str]) -> None:
        """Pass over members that nobody knows; what is inside may need a look on the way."""
        for name in members.keys() - known:
            if self._document.quick and isinstance(members[name], (*OBJECTS, *ARRAYS)):
                raise Odd

    def plain_members(self, value: object, path: str) -> dict[str, Any]:
        """Return the members of an object that has no objects in it, lists read."""
        if isinstance(value, dict):
            members = value
        elif not isinstance(value, OBJECTS):
            raise self.wrong(path, "an object", value)
        else:
            members = dict(value.items())
            if len(members) != len(value):
                raise Odd
        self.count_metadata(len(members))
        return members

    def count_metadata(self, count: int) -> None:
        """Count values of metadata, before they are made into messages.

        Raises:
            VectorIndexParameterInvalid: With these, the body has more of them than it may.
        """
        self._metadata_values += count
        if self._metadata_values > METADATA_VALUES_MAX:
            found = self._metadata_values
            raise _too_many("the body", "values of metadata or more", found, METADATA_VALUES_MAX)

    def elements(self, value: object, path: str) -> Iterator[Any]:
        """Return the elements of an array, one by one.

        Raises:
            VectorIndexParameterInvalid: There are too many; on the quick road, too.
        """
        if not isinstance(value, ARRAYS):
            raise self.wrong(path, "an array", value)
        if len(value) > ELEMENTS_READ_MAX:
            raise _too_many(path, "elements", len(value), ELEMENTS_READ_MAX)
        return iter(value)

    def strings(self, value: object, path: str) -> list[str]:
        """Return the elements of an array of strings."""
        texts = list(self.elements(value, path))
        for position, text in enumerate(texts):
            if not isinstance(text, str):
                raise self.wrong(f"{path}[{position}]", "a string", text)
        return texts

    def string(self, members: Members, name: str, path: str = "") -> str:
        """Return a member that is a string; empty if it is absent."""
        value = members.get(name, "")
        if not isinstance(value, str):
            raise self.wrong(f"{path}{name}", "a string", value)
        return value

    def boolean(self, members: Members, name: str) -> bool:
        """Return a member that is true or false; false if it is absent."""
        value = members.get(name, False)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false", value)
        return value

    def integer(self, members: Members, name: str) -> int:
        """Return a member that is an integer, as far as 32 bits hold; 0 if it is absent."""
        value = members.get(name, 0)
        if isinstance(value, float) and value.is_integer() and abs(value) <= _INT32_MAX:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "an integer", value)
        if abs(value) > _INT32_MAX:
            found = cut(str(value))
            raise self.refused(name, f"is {found}; it must be within ±{_INT32_MAX}")
        return value

    def float32_bytes(self, value: object, path: Callable[[], str]) -> bytes:
        """Return an array of numbers as little-endian float32.

        Args:
            value: The array.
            path: Makes its path, when it is needed.
        """
        if not isinstance(value, ARRAYS):
            raise self.wrong(path(), "an array of numbers", value)
        if isinstance(value, list):
            doubles = np.fromiter(self._numbers(value, path()), np.float64, len(value))
        else:
            doubles = self._doubles(value)
        with np.errstate(over="ignore"):
            floats = doubles.astype("<f4")
        if not np.isfinite(floats).all():
            position = int(np.argmin(np.isfinite(floats)))
            found, limit = described(value[position]), np.finfo(np.float32).max
            raise self.refused(f"{path()}[{position}]", f"is {found}; float32 ends at ±{limit}")
        return floats.tobytes()

    def _doubles(self, array: Any) -> NDArray[np.float64]:
        """Return the numbers of an array without making Python objects of them."""
        if self._document.arrays_may_nest and not all(type(one) in {int, float} for one in array):
            raise Odd
        try:
            return np.frombuffer(array.as_buffer(of_type="d"), np.float64)
        except TypeError:
            raise Odd from None

    def _numbers(self, elements: list[Any], path: str) -> Iterator[float]:
        """Yield the numbers of a list."""
        for position, element in enumerate(elements):
            if isinstance(element, Huge):
                yield math.inf
            elif isinstance(element, bool) or not isinstance(element, int | float):
                raise self.wrong(f"{path}[{position}]", "a number", element)
            else:
                yield element if abs(element) <= _DOUBLE_MAX else math.inf


def _too_many(path: str, things: str, found: int, limit: int) -> VectorIndexParameterInvalid:
    """Return the error about more of something than is worth a closer look."""
    return VectorIndexParameterInvalid(
        f"{path} has {found} {things}; the limit is {limit}",
        field=path,
        details={"value": str(found), "limit": str(limit)},
    )
