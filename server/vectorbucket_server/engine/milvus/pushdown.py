"""Filters, keys and list segments as Milvus' boolean expressions, and the document they ask about.

For each filterable field of a vector the document ``filterable`` has a member ``=NAME``: the
field's scalars, each as a short string (a *token*) that begins with its type. The least and the
greatest number stand beside it, so that "any element is greater" asks about one number::

    {"colour": "red", "size": [3.0, 0.5, "L"], "sold": true, "tags": []}

    {"=colour": ["sred"], "=size": ["n3", "n0.5", "sL"], "<size": 0.5, ">size": 3.0,
     "=sold": ["t"], "=tags": [""]}

    token   value
    s…      a string of up to 32 bytes of UTF-8, as it is
    h…      a longer string, by its hash
    n…      a number, in the shortest decimal that reads back as the same double
    t, f    true, false
    (empty) the list is empty; so no answer rests on what a server takes an empty list for

So equality, of numbers too, is equality of strings, and integers are never compared with doubles:
``json_contains(…, 1)`` does not find ``1.0``. A document is rarely twice as long as the metadata,
and whatever the limits of OSS allow fits in a field of Milvus.

Rules of this file:

- It is pure: text and dictionaries, no pymilvus, no server.
- What an expression means is filters/matcher.py's truth table; where they differ, this is wrong.
- A condition on a member that is not there is false in 2.3.5, and may be null elsewhere. So it is
  negated only together with the question whether the member exists, which is right either way.
- Nothing of a caller reaches an expression but through ``_literal`` or ``_name``.

Source: tried with milvus 2.3.5. It finds no member whose name is not ASCII and leaves escapes in
names as they are, hence ``_name``; strings it reads exactly. Of 20,000 rows with six fields it
evaluated a condition, less the call, in 4 to 5 ms; with members nested by field in about as much,
with all fields' tokens in one list in 5 to 11, with bare values asked about twice, as scalar and as
list, in 4 to 8.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias, assert_never

from vectorbucket_server.engine.milvus.definitions import FILTERABLE, HASH, KEY
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
    Scalar,
)
from vectorbucket_server.model import Metadata, MetadataValue, Segment

FilterableDocument: TypeAlias = dict[str, list[str] | float]
"""What stands in ``FILTERABLE``: tokens, and least and greatest numbers."""

_HASH_BYTES = 24
_PLAIN_BYTES_MAX = _HASH_BYTES * 4 // 3
"""Longer strings are hashed: then the hash, in base64, is not the longer one. 192 bits, so that
nobody finds two strings of one hash."""

_EMPTY = ""
"""The token of a list without elements."""

_PLAIN_NAME = re.compile(rf"[\w.-]{{1,{_PLAIN_BYTES_MAX}}}", re.ASCII)
_NOT_PLAIN = re.compile(r'[^ -~]|["\\]')
_BEYOND_BMP = 0x10000

_EXTREMES: Mapping[Comparison, tuple[str, str]] = {
    Comparison.GT: (">", ">"),
    Comparison.GTE: (">", ">="),
    Comparison.LT: ("<", "<"),
    Comparison.LTE: ("<", "<="),
}
"""How a member begins that holds the extreme number of a field, and Milvus' operator."""


# --- The document -------------------------------------------------------------------------------


def filterable_document(
    metadata: Metadata, non_filterable_keys: Collection[str]
) -> FilterableDocument:
    """Return what ``FILTERABLE`` holds for one vector, derived from its metadata.

    Args:
        metadata: All of it.
        non_filterable_keys: The fields to leave out.
    """
    document: FilterableDocument = {}
    for field, value in metadata.items():
        if field in non_filterable_keys:
            continue
        name, scalars = _name(field), _scalars(value)
        document["=" + name] = list(dict.fromkeys(map(_token, scalars))) or [_EMPTY]
        numbers = [scalar for scalar in scalars if isinstance(scalar, float)]
        if numbers:
            document["<" + name] = min(numbers) + 0.0
            document[">" + name] = max(numbers) + 0.0
    return document


def _scalars(value: MetadataValue) -> Sequence[Scalar]:
    return (value,) if isinstance(value, (str, float, bool)) else value


def _token(scalar: Scalar) -> str:
    """Return the token of a scalar; two are the same where the scalars are equal, type and all."""
    if isinstance(scalar, bool):
        return "t" if scalar else "f"
    if isinstance(scalar, float):
        # The sum is what makes 0.0 of -0.0.
        return "n" + repr(scalar + 0.0).removesuffix(".0")
    is_short = len(scalar) <= _PLAIN_BYTES_MAX and len(scalar.encode()) <= _PLAIN_BYTES_MAX
    return "s" + scalar if is_short else "h" + _hashed(scalar)


@lru_cache(maxsize=1024)
def _name(field: str) -> str:
    """Return what a field is called in the names of its members: letters that mean nothing.

    A plain name is itself; any other is hashed, after a character that no plain name has.
    """
    return field if _PLAIN_NAME.fullmatch(field) else "#" + _hashed(field)


def _hashed(text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES).digest()
    return urlsafe_b64encode(digest).decode()


# --- Expressions --------------------------------------------------------------------------------


def boolean_expression(expression: Expression) -> str:  # noqa: PLR0911 - one a node
    """Return a filter as Milvus' boolean expression over ``FILTERABLE``.

    It can stand in a conjunction as it is: what combines stands in parentheses, and a comparison
    binds closer than ``and``.
    """
    match expression:
        case And(operands):
            return _combined(" and ", list(map(boolean_expression, operands)))
        case Or(operands):
            return _combined(" or ", list(map(boolean_expression, operands)))
        case Equals(field, value):
            return _has_any(field, (value,))
        case NotEquals(field, value):
            return _has_none(field, (value,))
        case In(field, values):
            return _has_any(field, values)
        case NotIn(field, values):
            return _has_none(field, values)
        case Compare(field, comparison, operand):
            extreme, operator = _EXTREMES[comparison]
            return f"{_member(extreme, field)} {operator} {operand + 0.0!r}"
        case Exists(field, present):
            return _exists(field) if present else f"(not {_exists(field)})"
        case _:
            assert_never(expression)


def keys_expression(keys: Sequence[str]) -> str:
    """Return the expression of the rows that have one of these keys."""
    return f"{KEY} in [{', '.join(map(_literal, keys))}]"


def after_expression(after: str, segment: Segment) -> str:
    """Return the expression of a segment's rows whose key is after another, as bytes of UTF-8.

    Args:
        after: A key, or the empty string, which is before all keys.
        segment: Which share of the keys.
    """
    later = f"{KEY} > {_literal(after)}"
    if segment.count == 1:
        return later
    return f"{later} and {HASH} % {segment.count} == {segment.position}"


def _combined(word: str, operands: Sequence[str]) -> str:
    """Return expressions combined two by two, in their order.

    So a thousand are ten levels deep. A chain has as many levels as operands, and by its
    users' reports some servers refuse fifty, and others take time that grows with the square.
    """
    if len(operands) == 1:
        return operands[0]
    middle = len(operands) // 2
    return f"({_combined(word, operands[:middle])}{word}{_combined(word, operands[middle:])})"


def _has_any(field: str, values: Sequence[Scalar]) -> str:
    tokens = [_literal(token) for token in dict.fromkeys(map(_token, values))]
    if len(tokens) == 1:
        return f"json_contains({_member('=', field)}, {tokens[0]})"
    return f"json_contains_any({_member('=', field)}, [{', '.join(tokens)}])"


def _has_none(field: str, values: Sequence[Scalar]) -> str:
    return f"(not ({_exists(field)} and {_has_any(field, values)}))"


def _exists(field: str) -> str:
    """Return the question whether a field is there; Milvus wants the parentheses."""
    return f"(exists {_member('=', field)})"


def _member(first: str, field: str) -> str:
    return f'{FILTERABLE}["{first}{_name(field)}"]'


def _literal(text: str) -> str:
    """Return a string as a literal: printable ASCII as it is, all else as escapes.

    Milvus' parser reads literals as Go does; a line break in one would end it.
    """
    return f'"{_NOT_PLAIN.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\u{code:04x}" if code < _BEYOND_BMP else f"\\U{code:08x}"
