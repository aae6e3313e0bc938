"""JSON-like dict → expression. The docstring of each method is its rule of the grammar.

Rules of this file:

- What a caller can get wrong raises VectorIndexParameterInvalid; its message starts with the path
  of the fault, as in ``filter.$and[1].type.$nin: expected a list of …, found …``.
- Limits are enforced while parsing: nothing is walked further than they allow, so neither a deep
  nor a long filter can hurt, and what is found is described without looking inside it.
- The result says what the filter said: nothing is simplified.

Source: oss-vectors-api, section 4.3 with the decisions of section 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence

from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.limits import INTEGER_MAX, Limits, MetadataTypes
from vectorbucket_server.filters.expression import (
    COMBINERS,
    OPERATORS,
    And,
    Compare,
    Comparison,
    Condition,
    Equals,
    Exists,
    Expression,
    In,
    NotEquals,
    NotIn,
    Scalar,
)
from vectorbucket_server.naming import check_metadata_key, shown

_PLAIN_NAME = re.compile(r"\$?[\w-]{1,64}", re.ASCII)
_INTEGER_BITS_SHOWN = 256


def parse(
    raw: Mapping[str, object] | None,
    *,
    limits: Limits,
    non_filterable_keys: Collection[str] = (),
) -> Expression | None:
    """Return the expression of a filter, or None if it is absent or empty and so matches all.

    Args:
        raw: The filter, as ``json.loads`` returns it; nothing in it is trusted.
        limits: The limits in force; those named ``filter_…`` and ``metadata_types`` apply.
        non_filterable_keys: Metadata fields of the index that no filter may ask about.

    Raises:
        VectorIndexParameterInvalid: It is no filter, is over a limit, or asks about such a field.
    """
    return _Parser(limits, non_filterable_keys).filter(raw)


class _Parser:
    """One filter on its way to an expression."""

    def __init__(self, limits: Limits, non_filterable_keys: Collection[str]) -> None:
        self._limits = limits
        self._non_filterable_keys = frozenset(non_filterable_keys)
        self._strings_only = limits.metadata_types is MetadataTypes.STRINGS
        self._kinds = "strings" if self._strings_only else "strings, numbers or booleans"
        self._operand_count = 0

    def filter(self, raw: object) -> Expression | None:
        """Rule: ``filter := null | {} | expression``."""
        if raw is None or (isinstance(raw, Mapping) and not raw):
            return None
        expression = self._expression(raw, "filter", 0)
        size, limit = len(str(expression).encode()), self._limits.filter_bytes_max
        if size > limit:
            raise _over("filter", f"it has {size} bytes as compact JSON", size, limit)
        return expression

    def _expression(self, raw: object, path: str, level: int) -> Expression:
        """Rule: ``expression := { member, … }``, one or more; all of them hold."""
        if not isinstance(raw, Mapping) or not raw:
            raise _expected(path, "an object with a condition in it", raw)
        members: list[Expression] = []
        for name, operand in raw.items():
            members += self._member(name, operand, path, level)
        return members[0] if len(members) == 1 else And(tuple(members))

    def _member(self, name: object, raw: object, path: str, level: int) -> Sequence[Expression]:
        """Rule: ``member := "$and": operands | "$or": operands | field: conditions``."""
        if not isinstance(name, str):
            raise _expected(path, "names that are strings", name)
        place = _below(path, name)
        if name in COMBINERS:
            return [COMBINERS[name](self._operands(raw, place, level + 1))]
        if name.startswith("$"):
            known = ", ".join(COMBINERS)
            raise _invalid(place, f"unknown operator; expected {known} or the name of a field")
        check_metadata_key(name, path, self._limits)
        if name in self._non_filterable_keys:
            raise _invalid(
                place, f"{shown(name)} is a non-filterable metadata key of the index", name
            )
        return self._conditions(name, raw, place)

    def _operands(self, raw: object, path: str, level: int) -> tuple[Expression, ...]:
        """Rule: ``operands := [ expression, … ]``, one or more, a level deeper."""
        limit = self._limits.filter_levels_max
        if level > limit:
            raise _over(path, f"$and and $or are nested {level} levels deep", level, limit)
        return tuple(
            self._expression(element, f"{path}[{position}]", level)
            for position, element in enumerate(_elements(raw, path, "objects"))
        )

    def _conditions(self, field: str, raw: object, path: str) -> Sequence[Condition]:
        """Rule: ``conditions := scalar | { operator: operand, … }``, one or more; all hold."""
        if not isinstance(raw, Mapping):
            return [Equals(field, self._scalar(raw, path))]
        if not raw:
            raise _expected(path, "an object with an operator in it", raw)
        return [self._condition(field, name, operand, path) for name, operand in raw.items()]

    def _condition(self, field: str, name: object, operand: object, path: str) -> Condition:
        """Rule: which operand an operator takes.

        ``"$eq": scalar | "$ne": scalar | "$in": scalars | "$nin": scalars | "$gt": number |
        "$gte": number | "$lt": number | "$lte": number | "$exists": boolean``
        """
        place = f"{path}.{name}"
        match name:
            case "$eq":
                return Equals(field, self._scalar(operand, place))
            case "$ne":
                return NotEquals(field, self._scalar(operand, place))
            case "$in":
                return In(field, self._scalars(operand, place))
            case "$nin":
                return NotIn(field, self._scalars(operand, place))
            case "$gt" | "$gte" | "$lt" | "$lte":
                return Compare(field, Comparison(name), self._number(operand, place))
            case "$exists":
                return Exists(field, self._boolean(operand, place))
            case _:
                known = ", ".join(OPERATORS)
                raise _invalid(_below(path, name), f"unknown operator; expected one of {known}")

    def _scalars(self, raw: object, path: str) -> tuple[Scalar, ...]:
        """Rule: ``scalars := [ scalar, … ]``, one or more."""
        elements = _elements(raw, path, self._kinds)
        # Before the elements are looked at: there may be millions.
        self._count_operands(len(elements), path)
        return tuple(
            self._value(element, f"{path}[{position}]") for position, element in enumerate(elements)
        )

    def _scalar(self, raw: object, path: str) -> Scalar:
        """Rule: ``scalar := value``."""
        self._count_operands(1, path)
        return self._value(raw, path)

    def _value(self, raw: object, path: str) -> Scalar:
        """Rule: ``value := string | number | boolean``; with ``metadata_types`` strings, string."""
        if isinstance(raw, str):
            return _text(raw, path)
        if self._strings_only:
            raise _expected(path, "a string, as metadata_types is 'strings'", raw)
        if isinstance(raw, bool):
            return raw
        if isinstance(raw, (int, float)):
            return _double(raw, path)
        raise _expected(path, "a string, a number or a boolean", raw)

    def _number(self, raw: object, path: str) -> float:
        """Rule: ``number``, as JSON has it; with ``metadata_types`` strings, none."""
        self._count_operands(1, path)
        if self._strings_only:
            raise _invalid(path, "it compares numbers, and metadata_types is 'strings'")
        if isinstance(raw, bool) or not isinstance(raw, (int, float)):
            raise _expected(path, "a number", raw)
        return _double(raw, path)

    def _boolean(self, raw: object, path: str) -> bool:
        """Rule: ``boolean := true | false``."""
        self._count_operands(1, path)
        if not isinstance(raw, bool):
            raise _expected(path, "true or false", raw)
        return raw

    def _count_operands(self, count: int, path: str) -> None:
        """Count leaf operands, each element of a list as one, before they are looked at."""
        self._operand_count += count
        limit = self._limits.filter_operands_max
        if self._operand_count > limit:
            found = f"the filter has {self._operand_count} operands up to here"
            raise _over(path, found, self._operand_count, limit)


def _elements(raw: object, path: str, kinds: str) -> Sequence[object]:
    """Return the elements of a list that has one or more."""
    if not isinstance(raw, (list, tuple)) or not raw:
        raise _expected(path, f"a list of {kinds}", raw)
    return raw


def _text(raw: str, path: str) -> str:
    """Return a string, if it is Unicode text: JSON can spell half of a surrogate pair."""
    if not raw.isascii():
        try:
            raw.encode()
        except UnicodeEncodeError:
            raise _invalid(path, f"{shown(raw)} is no Unicode text", shown(raw)) from None
    return raw


def _double(raw: float, path: str) -> float:
    """Return a number as a double, if it is one.

    Floats beyond ``INTEGER_MAX`` pass: they are doubles already, and no stored number is as large.
    """
    if isinstance(raw, int) and abs(raw) > INTEGER_MAX:
        found = _found(raw).removeprefix("the number ")
        raise _over(path, f"the integer {found} is beyond ±2^53", found, INTEGER_MAX)
    if not math.isfinite(raw):
        raise _expected(path, "a finite number", raw)
    return float(raw)


def _below(path: str, name: object) -> str:
    """Return the path of a member; a name that is not plain stands in brackets."""
    if not isinstance(name, str):
        return f"{path}[{_found(name)}]"
    return f"{path}.{name}" if _PLAIN_NAME.fullmatch(name) else f"{path}[{shown(name)}]"


def _found(value: object) -> str:  # noqa: PLR0911 - one a kind
    """Return what a value is, in words of bounded length."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {shown(value)}"
        case int() if value.bit_length() > _INTEGER_BITS_SHOWN:
            return f"the number of {value.bit_length()} bits"
        case int() | float():
            return f"the number {value}"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case Mapping():
            return "an object" if value else "an empty object"
        case _:
            return f"a value of type {type(value).__name__}"


def _invalid(path: str, problem: str, value: str | None = None) -> VectorIndexParameterInvalid:
    details = {} if value is None else {"value": value}
    return VectorIndexParameterInvalid(f"{path}: {problem}", field=path, details=details)


def _expected(path: str, expectation: str, raw: object) -> VectorIndexParameterInvalid:
    return _invalid(path, f"expected {expectation}, found {_found(raw)}")


def _over(path: str, found: str, value: object, limit: int) -> VectorIndexParameterInvalid:
    return VectorIndexParameterInvalid(
        f"{path}: {found}; the limit is {limit}",
        field=path,
        details={"value": str(value), "limit": str(limit)},
    )
