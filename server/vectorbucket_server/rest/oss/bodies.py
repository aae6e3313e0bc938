"""Bytes of a body -> values: JSON on two roads, and what a value has to be.

The *quick road* is simdjson, which makes no Python object of a number in an array. It knows neither
which member stands twice inside what nobody reads, nor where a number is that it cannot hold. So
whatever is odd on it is left to the *careful road*, the standard library's parser, which reads the
body again, finds every duplicate, and can name the place of everything. Both give the same answers;
only the careful one gives refusals.

Rules of this file: a body that is no JSON is MalformedJson; one that is, and says something else
than it should, is the error that the reader names, with the path in the words of the JSON. Members
that nobody asks for are passed over. What is found is described, never repeated at length.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import simdjson
from numpy.typing import NDArray

from vectorbucket.errors import MalformedJson, VectorBucketError, VectorIndexParameterInvalid

Members: TypeAlias = Mapping[str, Any]
"""The members of an object."""

ELEMENTS_MAX = 0xFFFFFF
"""Elements of an array that simdjson counts right; pysimdjson writes past its memory beyond."""

ABSENT = object()
"""What a reader gets for a member that is not there."""

_MEMBERS_LOOKED_UP_MAX = 64
"""Members of an object up to which the quick road reads it: it finds each by going through all."""

_BRACKETS_LOOKED_AT_MAX = 20_000
_CHARACTERS_SHOWN = 64
_INT64 = (-(2**63), 2**64 - 1)
_INT32_MAX = 2**31 - 1
_INTEGER_DIGITS_SAFE = 18
_HALF_OF_A_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")


class Odd(Exception):
    """The quick road has come to something that it cannot judge; no error, but a change of road."""


@dataclass(frozen=True, slots=True)
class Huge:
    """A number of the body that no double, or no 64-bit integer, can hold."""

    text: str

    @property
    def is_integer(self) -> bool:
        """Whether it is written without fraction and exponent."""
        return self.text.lstrip("-").isdigit()

    @property
    def number(self) -> float:
        """The nearest double; infinite if it is past all of them."""
        return float(self.text)


def parse_quickly(body: bytes) -> Body:
    """Return a JSON object by the quick road.

    Raises:
        Odd: It is none, or has something in it that this road cannot judge.
    """
    if len(body) > 2 * ELEMENTS_MAX and body.count(b",") >= ELEMENTS_MAX:
        raise Odd
    try:
        root = simdjson.Parser().parse(body)
    except (ValueError, RuntimeError):
        # ValueError is also what text that is no UTF-8 ends with.
        raise Odd from None
    if not isinstance(root, simdjson.Object):
        raise Odd
    return Body(root, quick=True, arrays_may_nest=_arrays_may_nest(body))


def parse_carefully(body: bytes) -> Body:
    """Return a JSON object by the careful road.

    Raises:
        MalformedJson: It is none, or a member stands twice somewhere in it.
        VectorIndexParameterInvalid: It has more in it than anything can need.
    """
    if body.count(b",") >= ELEMENTS_MAX:
        raise VectorIndexParameterInvalid(
            f"the body has over {ELEMENTS_MAX} values, more than one request can hold"
        )
    if not body.strip():
        raise MalformedJson("the body is empty; it must be a JSON object")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedJson(f"the body is not UTF-8: byte {error.start}") from None
    try:
        root = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except RecursionError:
        raise MalformedJson("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(f"the body is not JSON: {error}") from None
    if not isinstance(root, dict):
        raise MalformedJson(f"the body is {described(root)}; it must be a JSON object")
    if _HALF_OF_A_PAIR.search(body):
        _refuse_half_pairs(root)
    return Body(root, quick=False, arrays_may_nest=True)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object, none of them twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise MalformedJson(f"the body is no JSON to rely on: {shown(twice)} stands twice")
    return members


def _no_constant(constant: str) -> None:
    """Refuse what Python writes for numbers that JSON does not have."""
    raise MalformedJson(f"the body is not JSON: {constant} is no JSON number")


def _integer(text: str) -> int | Huge:
    if len(text) <= _INTEGER_DIGITS_SAFE:
        return int(text)
    if len(text) > _CHARACTERS_SHOWN:
        return Huge(text)
    number = int(text)
    return number if _INT64[0] <= number <= _INT64[1] else Huge(text)


def _float(text: str) -> float | Huge:
    number = float(text)
    return Huge(text) if np.isinf(number) else number


def _refuse_half_pairs(root: object) -> None:
    """Raise MalformedJson if a text is no Unicode: JSON can spell half of a surrogate pair."""
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise MalformedJson(
                    f"the body is not JSON: {shown(value)} is no Unicode text"
                ) from None


def _arrays_may_nest(body: bytes) -> bool:
    """Return whether an array may stand directly in another one, which simdjson would flatten.

    There it comes after a bracket or a comma. Texts can look like that, too.
    """
    if body.count(b"[") > _BRACKETS_LOOKED_AT_MAX:
        return True
    at = body.find(b"[")
    while at >= 0:
        if body[max(0, at - 16) : at].rstrip()[-1:] in {b"", b"[", b","}:
            return True
        at = body.find(b"[", at + 1)
    return False


# --- What a value has to be ---------------------------------------------------------------------


class Body:
    """A JSON object and how to read what is in it.

    A reader takes a value and its path, and returns the value as what it has to be, or raises: on
    the quick road ``Odd``, on the careful one the error that the reader's user has chosen.
    """

    def __init__(self, root: Any, *, quick: bool, arrays_may_nest: bool) -> None:
        self._root = root
        self._quick = quick
        self._arrays_may_nest = arrays_may_nest
        self._error: type[VectorBucketError] = VectorIndexParameterInvalid

    def root(self, *, error: type[VectorBucketError] = VectorIndexParameterInvalid) -> Members:
        """Return the members of the whole body.

        Args:
            error: What wrong values in it are from now on.
        """
        self._error = error
        return self.members(self._root, "the body")

    def refused(self, path: str, problem: str) -> VectorBucketError | Odd:
        """Return the error about a value."""
        if self._quick:
            return Odd()
        return self._error(f"{path} {problem}", field=path)

    def wrong(self, path: str, expectation: str, value: object) -> VectorBucketError | Odd:
        """Return the error about a value of the wrong type."""
        if self._quick:
            return Odd()
        return self.refused(path, f"must be {expectation}, and is {described(value)}")

    def members(self, value: object, path: str) -> Members:
        """Return the members of an object; on the quick road, those inside are not read yet."""
        if isinstance(value, dict):
            return value
        if not isinstance(value, simdjson.Object):
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
            if isinstance(members[name], simdjson.Object | simdjson.Array):
                raise Odd

    def plain_members(self, value: object, path: str) -> dict[str, Any]:
        """Return the members of an object that has no objects in it, lists read."""
        if isinstance(value, dict):
            return value
        if not isinstance(value, simdjson.Object):
            raise self.wrong(path, "an object", value)
        members = dict(value.items())
        if len(members) != len(value):
            raise Odd
        return members

    def elements(self, value: object, path: str) -> Iterator[Any]:
        """Return the elements of an array, one by one."""
        if not isinstance(value, list | simdjson.Array):
            raise self.wrong(path, "an array", value)
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
            raise self.refused(name, f"is {value}; it must be within ±{_INT32_MAX}")
        return value

    def float32_bytes(self, value: object, path: Callable[[], str]) -> bytes:
        """Return an array of numbers as little-endian float32.

        Args:
            value: The array.
            path: Makes its path, when it is needed.
        """
        if isinstance(value, simdjson.Array):
            doubles = self._doubles(value)
        elif isinstance(value, list):
            doubles = np.fromiter(self._numbers(value, path()), np.float64, len(value))
        else:
            raise self.wrong(path(), "an array of numbers", value)
        with np.errstate(over="ignore"):
            floats = doubles.astype("<f4")
        if not np.isfinite(floats).all():
            position = int(np.argmin(np.isfinite(floats)))
            found, limit = described(value[position]), np.finfo(np.float32).max
            raise self.refused(f"{path()}[{position}]", f"is {found}; float32 ends at ±{limit}")
        return floats.tobytes()

    def _doubles(self, array: simdjson.Array) -> NDArray[np.float64]:
        """Return the numbers of an array without making Python objects of them."""
        if self._arrays_may_nest and not all(type(one) in {int, float} for one in array):
            raise Odd
        try:
            return np.frombuffer(array.as_buffer(of_type="d"), np.float64)
        except TypeError:
            raise Odd from None

    def _numbers(self, elements: list[Any], path: str) -> Iterator[float]:
        """Yield the numbers of a list."""
        for position, element in enumerate(elements):
            if isinstance(element, Huge):
                yield element.number
            elif isinstance(element, bool) or not isinstance(element, int | float):
                raise self.wrong(f"{path}[{position}]", "a number", element)
            else:
                yield float(element)


# --- Words --------------------------------------------------------------------------------------


def shown(text: str) -> str:
    """Return a text fit for a message: quoted, escaped, at most about 64 characters of it."""
    if len(text) <= _CHARACTERS_SHOWN:
        return repr(text)
    return f"{text[:_CHARACTERS_SHOWN]!r}… ({len(text)} characters)"


def described(value: object) -> str:  # noqa: PLR0911 - one a kind
    """Return what a value is, in words of bounded length."""
    if value is ABSENT:
        return "missing"
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {shown(value)}"
        case int() | float():
            return f"the number {value}"
        case Huge():
            return f"the number {value.text[:_CHARACTERS_SHOWN]}"
        case list():
            return "an array"
        case _:
            return "an object"
