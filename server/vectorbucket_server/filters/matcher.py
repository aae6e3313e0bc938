"""Expression → predicate over one vector's metadata. This file is what a filter means.

The truth table: a row is a filter, a column is the value of the field ``f`` ("absent" if there is
no such field), ``x`` where the filter matches. Its test reads it from here::

    filter                      absent  "a"  "b"  1    2    true  []   ["a","b"]  [1,true,"x"]
    {"f":{"$eq":"a"}}           .       x    .    .    .    .     .    x          .
    {"f":{"$eq":1}}             .       .    .    x    .    .     .    .          x
    {"f":{"$eq":true}}          .       .    .    .    .    x     .    .          x
    {"f":{"$ne":"a"}}           x       .    x    x    x    x     x    .          x
    {"f":{"$ne":1}}             x       x    x    .    x    x     x    x          .
    {"f":{"$in":["a",1]}}       .       x    .    x    .    .     .    x          x
    {"f":{"$nin":["a",1]}}      x       .    x    .    x    x     x    .          .
    {"f":{"$gt":1}}             .       .    .    .    x    .     .    .          .
    {"f":{"$gte":1}}            .       .    .    x    x    .     .    .          x
    {"f":{"$lt":2}}             .       .    .    x    .    .     .    .          x
    {"f":{"$lte":2}}            .       .    .    x    x    .     .    .          x
    {"f":{"$exists":true}}      .       x    x    x    x    x     x    x          x
    {"f":{"$exists":false}}     x       .    .    .    .    .     .    .          .

In words: a list matches if any element does; an empty list and an absent field have no value to
match. ``$ne`` and ``$nin`` are the negations of ``$eq`` and ``$in``, so they match wherever those
do not, whatever the type. ``1``, ``"1"`` and ``true`` are three values; numbers are equal by value,
strings byte by byte, case and all.

Rules of this file: predicates are closures, made once a query and called once a vector; they look
the field up, test, and make nothing.

Source: oss-vectors-api, section 4.3 with the decisions of section 0.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, assert_never

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
from vectorbucket_server.model import Metadata

Matcher: TypeAlias = Callable[[Metadata], bool]
"""Whether a vector's metadata match."""

_Test: TypeAlias = Callable[[object], bool]
"""Whether one scalar passes: the value of a field, or an element of its list."""

_COMPARISONS: Mapping[Comparison, Callable[[float, float], bool]] = {
    Comparison.GT: operator.gt,
    Comparison.GTE: operator.ge,
    Comparison.LT: operator.lt,
    Comparison.LTE: operator.le,
}


def compile_matcher(expression: Expression) -> Matcher:  # noqa: PLR0911 - one a node
    """Return the predicate that says whether metadata match an expression."""
    match expression:
        case And(operands):
            return _all(tuple(map(compile_matcher, operands)))
        case Or(operands):
            return _any(tuple(map(compile_matcher, operands)))
        case Equals(field, value):
            return _field(field, _equal_to(value))
        case NotEquals(field, value):
            return _not(_field(field, _equal_to(value)))
        case In(field, values):
            return _field(field, _one_of(values))
        case NotIn(field, values):
            return _not(_field(field, _one_of(values)))
        case Compare(field, comparison, operand):
            return _field(field, _compares(comparison, operand))
        case Exists(field, present):
            return lambda metadata: (field in metadata) is present
        case _:
            assert_never(expression)


def _all(matchers: Sequence[Matcher]) -> Matcher:
    def matches(metadata: Metadata) -> bool:
        for matcher in matchers:  # noqa: SIM110 - all() over a generator takes twice as long
            if not matcher(metadata):
                return False
        return True

    return matches


def _any(matchers: Sequence[Matcher]) -> Matcher:
    def matches(metadata: Metadata) -> bool:
        for matcher in matchers:  # noqa: SIM110 - any() over a generator takes twice as long
            if matcher(metadata):
                return True
        return False

    return matches


def _not(matcher: Matcher) -> Matcher:
    return lambda metadata: not matcher(metadata)


def _field(name: str, test: _Test) -> Matcher:
    """Return the predicate that a field is there and its value, or an element of it, passes."""

    def matches(metadata: Metadata) -> bool:
        value = metadata.get(name)
        if value is None:
            return False
        if isinstance(value, (str, float, bool)):
            return test(value)
        return any(map(test, value))

    return matches


def _equal_to(value: Scalar) -> _Test:
    if isinstance(value, bool):
        return lambda found: found is value
    if isinstance(value, str):
        return lambda found: found == value
    # A boolean equals a number in Python.
    return lambda found: found == value and not isinstance(found, bool)


def _one_of(values: Sequence[Scalar]) -> _Test:
    typed = frozenset((isinstance(value, bool), value) for value in values)
    return lambda found: (isinstance(found, bool), found) in typed


def _compares(comparison: Comparison, operand: float) -> _Test:
    compare = _COMPARISONS[comparison]
    return lambda found: isinstance(found, float) and compare(found, operand)
