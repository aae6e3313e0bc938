"""Bytes of a body -> a JSON object, by one of two roads.

The *quick road* is simdjson, which makes no Python object of a number in an array. It knows neither
which member stands twice inside what nobody reads, nor where a number is that it cannot hold. So
whatever is odd on it is left to the *careful road*, the standard library's parser, which reads the
body again, finds every duplicate, and can name the place of everything. Both give the same answers;
only the careful one gives refusals, but for bodies that are too large to be read twice.

Rules of this file: a body that is no JSON object is MalformedJson, whichever way it fails to be
one; nothing of what its members are is judged here. It stays bounded what a body costs, however it
is made.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import simdjson

from vectorbucket.errors import MalformedJson, VectorIndexParameterInvalid
from vectorbucket_server.rest.oss.words import Huge, described, shown

OBJECTS = (dict, simdjson.Object)
ARRAYS = (list, simdjson.Array)
"""What objects and arrays of JSON are, by either road."""

ELEMENTS_MAX = 0xFFFFFF
"""Elements of an array that simdjson counts right; pysimdjson writes past its memory beyond."""

CONTAINERS_MAX = 1_000_000
"""Objects and arrays of a body. Each costs the careful road microseconds and hundreds of bytes; the
largest batch has four a vector."""

TEXTS_MAX = 4_000_000
"""Texts of a body, names of members too. As Python objects they take some 60 bytes each; a batch of
the largest size has under 20 names a vector, and the values that ``reader`` lets it have."""

EXPLAINED_BYTES_MAX = 1024 * 1024
"""Bodies up to this size are looked at closely enough to say exactly what is wrong with them."""

_COUNTED_AT_ONCE_BYTES = 1024 * 1024
_BRACKETS_LOOKED_AT_MAX = 20_000
_INTEGER_CHARACTERS_MAX = 400
_NUMBER_PROBLEM = re.compile(r"NUMBER_ERROR|BIGINT_ERROR|NUMBER_OUT_OF_RANGE")
_HALF_OF_A_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")


class Odd(Exception):
    """The quick road has come to something that it cannot judge; no error, but a change of road."""


@dataclass(frozen=True, slots=True)
class Document:
    """A body that is a JSON object."""

    root: Any
    """One of OBJECTS."""
    quick: bool
    """Whether it came by the quick road; then what is odd about it is not to be judged."""
    arrays_may_nest: bool
    """Whether arrays may stand directly in arrays, which simdjson takes for one."""


def parse_quickly(body: bytes) -> Document:
    """Return a JSON object by the quick road.

    Raises:
        Odd: It is none, or has something in it that this road cannot judge.
        MalformedJson: It is none, and too large to be worth a closer look.
        VectorIndexParameterInvalid: It has more in it than anything can need.
    """
    _check_can_be_held(body)
    try:
        root = simdjson.Parser().parse(body)
    except (ValueError, RuntimeError) as error:
        if len(body) > EXPLAINED_BYTES_MAX and not _NUMBER_PROBLEM.match(str(error)):
            raise MalformedJson(f"the body is not JSON: {_without_code(error)}") from None
        raise Odd from None
    if not isinstance(root, simdjson.Object):
        raise Odd
    return Document(root, quick=True, arrays_may_nest=_arrays_may_nest(body))


def parse_carefully(body: bytes) -> Document:
    """Return a JSON object by the careful road.

    Raises:
        MalformedJson: It is none, or a member stands twice somewhere in it.
        VectorIndexParameterInvalid: It has more in it than anything can need.
    """
    _check_can_be_held(body)
    if not body.strip():
        raise MalformedJson("the body is empty; it must be a JSON object")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedJson(f"the body is not UTF-8: byte {error.start}") from None
    # Python calls for every number, where there is something to call.
    explained = len(body) <= EXPLAINED_BYTES_MAX
    try:
        root = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_int=_integer if explained else None,
            parse_float=_float if explained else None,
        )
    except RecursionError:
        raise MalformedJson("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(f"the body is not JSON: {error}") from None
    except ValueError:
        # The only other one: what Python takes for an integer ends at some thousand digits.
        raise VectorIndexParameterInvalid(
            "the body has an integer of thousands of digits, which no double can hold"
        ) from None
    if not isinstance(root, dict):
        raise MalformedJson(f"the body is {described(root)}; it must be a JSON object")
    if _HALF_OF_A_PAIR.search(body):
        _refuse_half_pairs(root)
    return Document(root, quick=False, arrays_may_nest=True)


def _check_can_be_held(body: bytes) -> None:
    """Raise an error if a body has more in it than can be counted, or held as Python objects.

    Mostly it is enough to count every byte that could matter. Texts are full of those when they
    hold JSON themselves, so that then only what is outside of texts is counted.
    """
    if len(body) <= CONTAINERS_MAX:
        return
    containers = body.count(b"{") + body.count(b"[")
    if _are_few(containers, body.count(b","), body.count(b'"') // 2):
        return
    if not _are_few(*_counts_outside_texts(body)):
        raise VectorIndexParameterInvalid(
            f"the body has over {ELEMENTS_MAX} values, {CONTAINERS_MAX} objects and arrays, or "
            f"{TEXTS_MAX} texts; no request has that many"
        )


def _are_few(containers: int, commas: int, texts: int) -> bool:
    return containers <= CONTAINERS_MAX and commas < ELEMENTS_MAX and texts <= TEXTS_MAX


def _counts_outside_texts(body: bytes) -> tuple[int, int, int]:
    """Return how many containers begin in a body, and how many commas and texts are in it.

    Takes 8 ms a megabyte, most of which others need not wait for. Of what is no JSON, the numbers
    mean nothing.
    """
    containers = commas = quotes = begin = 0
    while begin < len(body):
        part = body[begin : begin + _COUNTED_AT_ONCE_BYTES]
        if (len(part) - len(part.rstrip(b"\\"))) % 2 and begin + len(part) < len(body):
            part = part[:-1]  # it belongs to the byte that comes next
        begin += len(part)
        # Pairs of backslashes first, so that what is left before a quote makes it part of a text.
        part = part.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        octets = np.frombuffer(part, np.uint8)
        is_quote = octets == ord('"')
        inside = np.logical_xor.accumulate(is_quote)
        outside = inside if quotes % 2 else ~inside
        quotes += int(np.count_nonzero(is_quote))
        is_begin = (octets == ord("{")) | (octets == ord("["))
        containers += int(np.count_nonzero(is_begin & outside))
        commas += int(np.count_nonzero((octets == ord(",")) & outside))
    return containers, commas, quotes // 2


def _without_code(error: Exception) -> str:
    """Return what simdjson says, without its name for it."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return str(error).partition(": ")[2] or "it cannot be read"


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
    return Huge(text) if len(text) > _INTEGER_CHARACTERS_MAX else int(text)


def _float(text: str) -> float | Huge:
    number = float(text)
    return Huge(text) if math.isinf(number) else number


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
