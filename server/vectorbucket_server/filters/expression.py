"""The nodes of the filter language: what a filter says, once it is parsed.

``str(expression)`` prints compact JSON that the parser reads back to an equal expression.

Rules of this file:

- Nodes are frozen, hashable values. A node checks its own invariants when it is made (a broken one
  is a bug of this program, so it raises ValueError, not an error of the contract).
- Types count: ``true`` is not ``1``, though Python says ``True == 1.0``; numbers are floats.
- It knows no metadata, no profile of limits and no engine.
- A new operator is a row of ``OPERATORS`` and a case here, in the parser, in the matcher and in
  every engine's own evaluation; their tests walk the table, so that none is forgotten.

Source: the language is section 4.3 of oss-vectors-api; three modules, as packaging does markers.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Any, TypeAlias, assert_never

from vectorbucket.limits import INTEGER_MAX

Scalar: TypeAlias = str | float | bool
"""A value that metadata is compared with. Never an int: the contract has only doubles."""


class Comparison(Enum):
    """How ``Compare`` compares; each value is the operator's name."""

    GT = "$gt"
    GTE = "$gte"
    LT = "$lt"
    LTE = "$lte"


@dataclass(frozen=True, slots=True, eq=False)
class _Node:
    """What all nodes share: how they are compared and printed."""

    def _identity(self) -> tuple[object, ...]:
        return tuple(_typed(getattr(self, field.name)) for field in dataclasses.fields(self))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((type(self), self._identity()))

    def __str__(self) -> str:
        # Every node is a member of the union; the type checker cannot see that from here.
        node: Any = self
        return json.dumps(_as_json(node), ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True, eq=False)
class And(_Node):
    """All of one or more expressions hold."""

    operands: tuple[Expression, ...]

    def __post_init__(self) -> None:
        """Check that there is an operand."""
        _check_not_empty(self.operands)


@dataclass(frozen=True, slots=True, eq=False)
class Or(_Node):
    """At least one of one or more expressions holds."""

    operands: tuple[Expression, ...]

    def __post_init__(self) -> None:
        """Check that there is an operand."""
        _check_not_empty(self.operands)


@dataclass(frozen=True, slots=True, eq=False)
class Equals(_Node):
    """The field has this value, alone or in its list."""

    field: str
    value: Scalar

    def __post_init__(self) -> None:
        """Check the field and the value."""
        _check_field(self.field)
        _check_values((self.value,))


@dataclass(frozen=True, slots=True, eq=False)
class NotEquals(_Node):
    """``Equals`` does not hold."""

    field: str
    value: Scalar

    def __post_init__(self) -> None:
        """Check the field and the value."""
        _check_field(self.field)
        _check_values((self.value,))


@dataclass(frozen=True, slots=True, eq=False)
class In(_Node):
    """The field has one of these values, alone or in its list."""

    field: str
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        """Check the field and the values."""
        _check_field(self.field)
        _check_not_empty(self.values)
        _check_values(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class NotIn(_Node):
    """``In`` does not hold."""

    field: str
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        """Check the field and the values."""
        _check_field(self.field)
        _check_not_empty(self.values)
        _check_values(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Compare(_Node):
    """The field has a number, alone or in its list, that compares so with the operand."""

    field: str
    operator: Comparison
    operand: float

    def __post_init__(self) -> None:
        """Check the field and the operand."""
        _check_field(self.field)
        if not isinstance(self.operand, float):
            raise ValueError(f"operand {self.operand!r} is no float")  # noqa: TRY004 - see the rules
        _check_values((self.operand,))


@dataclass(frozen=True, slots=True, eq=False)
class Exists(_Node):
    """Whether the field is there at all is as ``present`` says."""

    field: str
    present: bool

    def __post_init__(self) -> None:
        """Check the field."""
        _check_field(self.field)


Condition: TypeAlias = Equals | NotEquals | In | NotIn | Compare | Exists
"""A node that asks about one field."""

Expression: TypeAlias = And | Or | Condition
"""Any node."""

COMBINERS: Mapping[str, type[And | Or]] = {"$and": And, "$or": Or}
"""Node by name, of the operators that combine expressions."""

OPERATORS: Mapping[str, type[Condition]] = {
    "$eq": Equals,
    "$ne": NotEquals,
    "$in": In,
    "$nin": NotIn,
    "$gt": Compare,
    "$gte": Compare,
    "$lt": Compare,
    "$lte": Compare,
    "$exists": Exists,
}
"""The one table of the operators that ask about a field: node by name."""


def conditions(expression: Expression) -> Iterator[Condition]:
    """Yield the conditions of an expression, from left to right."""
    if isinstance(expression, (And, Or)):
        for operand in expression.operands:
            yield from conditions(operand)
    else:
        yield expression


def fields(expression: Expression) -> frozenset[str]:
    """Return the names of the metadata fields that an expression asks about."""
    return frozenset(condition.field for condition in conditions(expression))


def _typed(value: object) -> object:
    """Return a value that equals another one only if their types fit too, in tuples as well."""
    if isinstance(value, tuple):
        return tuple(map(_typed, value))
    return (bool, value) if isinstance(value, bool) else value


def _check_field(name: str) -> None:
    if not name or name.startswith("$"):
        raise ValueError(f"field {name!r} is no name: it is empty or starts with '$'")


def _check_values(values: Sequence[Scalar]) -> None:
    for value in values:
        if not isinstance(value, (str, float, bool)):
            raise ValueError(f"value {value!r} is no str, float or bool")  # noqa: TRY004 - see the rules
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"value {value!r} is not finite")


def _check_not_empty(members: Sequence[object]) -> None:
    if not members:
        raise ValueError("a node that combines has one operand or more")


# --- Printing -----------------------------------------------------------------------------------


def _as_json(expression: Expression) -> dict[str, Any]:
    """Return the JSON object that parses to the expression.

    It never nests ``$and`` and ``$or`` deeper than the filter did that the expression came from: an
    And that a caller wrote as one object becomes one object again.
    """
    match expression:
        case And(operands):
            if _fit_one_object(operands):
                return _one_object(operands)
            return {"$and": [_as_json(operand) for operand in operands]}
        case Or(operands):
            return {"$or": [_as_json(operand) for operand in operands]}
        case _:
            name, operand = _operation(expression)
            return {expression.field: {name: operand}}


def _fit_one_object(operands: Sequence[Expression]) -> bool:
    """Return whether two or more operands can be the members of one object, in their order."""
    places = [_place(operand) for operand in operands]
    groups = [key for key, _ in groupby(key for key, _ in places)]
    no_member_twice = len(set(places)) == len(places)
    no_field_apart = len(set(groups)) == len(groups)
    return len(operands) > 1 and no_member_twice and no_field_apart


def _place(operand: Expression) -> tuple[str, str]:
    """Return the keys under which an operand of an And stands in an object."""
    match operand:
        case And():
            return "$and", ""
        case Or():
            return "$or", ""
        case _:
            return operand.field, _operation(operand)[0]


def _one_object(operands: Sequence[Expression]) -> dict[str, Any]:
    """Return operands that fit as the members of one object."""
    members: dict[str, Any] = {}
    for operand in operands:
        key, name = _place(operand)
        if isinstance(operand, (And, Or)):
            members[key] = [_as_json(inner) for inner in operand.operands]
        else:
            members.setdefault(key, {})[name] = _operation(operand)[1]
    return members


def _operation(condition: Condition) -> tuple[str, Any]:
    """Return the name of a condition's operator and its operand, as JSON has them."""
    match condition:
        case Equals(value=value):
            return "$eq", _printed(value)
        case NotEquals(value=value):
            return "$ne", _printed(value)
        case In(values=values):
            return "$in", [_printed(value) for value in values]
        case NotIn(values=values):
            return "$nin", [_printed(value) for value in values]
        case Compare(operator=operator, operand=operand):
            return operator.value, _printed(operand)
        case Exists(present=present):
            return "$exists", present
        case _:
            assert_never(condition)


def _printed(value: Scalar) -> str | float | bool:
    """Return a value as it is printed: integral numbers without a fraction.

    Those beyond ``INTEGER_MAX`` keep it, because the parser refuses such integers.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) <= INTEGER_MAX:
        return int(value)
    return value
