"""Tests of filters/parser.py: what is a filter, and what limits hold.

What is no filter, and why, is in test_parser_refusals.py.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given

from filter_cases import (
    FILTERS,
    NEARLY_FILTERS,
    REPEATABLE,
    Json,
    is_legal,
    parsed,
    refusal,
)
from vectorbucket.errors import VectorIndexParameterInvalid
from vectorbucket.limits import INTEGER_MAX, OSS, UNLIMITED, Limits, MetadataTypes
from vectorbucket_server.filters.expression import (
    COMBINERS,
    OPERATORS,
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
from vectorbucket_server.filters.parser import parse

STRINGS_ONLY = dataclasses.replace(OSS, metadata_types=MetadataTypes.STRINGS)

A = Equals("a", "x")
B = Equals("b", "y")


def nested(levels: int, innermost: Json) -> Json:
    """Return a filter in so many levels of ``$and`` and ``$or`` by turns."""
    raw = innermost
    for level in range(levels):
        raw = {"$and" if level % 2 else "$or": [raw]}
    return raw


# --- What is a filter ---------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [None, {}])
def test_empty_filter_matches_everything(raw: Mapping[str, object] | None) -> None:
    assert parse(raw, limits=OSS) is None


OPERANDS: dict[str, tuple[Json, Expression]] = {
    "$eq": ("x", Equals("a", "x")),
    "$ne": (True, NotEquals("a", value=True)),
    "$in": (["x", 1, False], In("a", ("x", 1.0, False))),
    "$nin": ((2.5,), NotIn("a", (2.5,))),
    "$gt": (1, Compare("a", Comparison.GT, 1.0)),
    "$gte": (-1.5, Compare("a", Comparison.GTE, -1.5)),
    "$lt": (0, Compare("a", Comparison.LT, 0.0)),
    "$lte": (1e300, Compare("a", Comparison.LTE, 1e300)),
    "$exists": (False, Exists("a", present=False)),
}
"""A legal operand of every operator, and what it makes."""


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_is_parsed(name: str) -> None:
    operand, expression = OPERANDS[name]
    assert parsed({"a": {name: operand}}) == expression
    assert type(expression) is OPERATORS[name]


@pytest.mark.parametrize("name", COMBINERS)
def test_every_combiner_is_parsed(name: str) -> None:
    assert parsed({name: [{"a": "x"}, {"b": "y"}]}) == COMBINERS[name]((A, B))
    assert parsed({name: [{"a": "x"}]}) == COMBINERS[name]((A,))
    assert parsed({name: ({"a": "x"},)}) == COMBINERS[name]((A,))


@pytest.mark.parametrize(
    ("raw", "expression"),
    [
        ({"a": "x"}, A),
        ({"a": True}, Equals("a", value=True)),
        ({"a": 1}, Equals("a", 1.0)),
        ({"a": ""}, Equals("a", "")),
        ({"a": "x", "b": {"$eq": "y"}}, And((A, B))),
        (
            {"n": {"$gte": 1, "$lt": 5}},
            And((Compare("n", Comparison.GTE, 1.0), Compare("n", Comparison.LT, 5.0))),
        ),
        ({"$or": [{"a": "x", "b": "y"}]}, Or((And((A, B)),))),
        ({"$and": [{"a": "x"}], "b": "y"}, And((And((A,)), B))),
        ({"b": "y", "$or": [{"a": "x"}], "$and": [{"b": "y"}]}, And((B, Or((A,)), And((B,))))),
        ({"a": {"$in": ["x", "x"]}}, In("a", ("x", "x"))),
        ({"a.b c": "x"}, Equals("a.b c", "x")),
        ({"and": "x"}, Equals("and", "x")),
        ({"é": "🜁"}, Equals("é", "🜁")),
    ],
)
def test_filter_is_parsed_as_it_is_written(raw: Json, expression: Expression) -> None:
    assert parsed(raw) == expression


@pytest.mark.parametrize("raw", [1, 1.0])
def test_numbers_become_floats_and_booleans_stay(raw: float) -> None:
    number = parsed({"a": raw})
    assert isinstance(number, Equals)
    assert type(number.value) is float
    assert number != parsed({"a": True})


@pytest.mark.parametrize("number", [INTEGER_MAX, -INTEGER_MAX, 0, 1e300, 2.0**60])
def test_number_that_a_double_holds_is_taken(number: float) -> None:
    assert parsed({"a": number}) == Equals("a", float(number))


# --- Limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [OSS, UNLIMITED, dataclasses.replace(OSS, filter_levels_max=3)])
def test_filter_may_have_so_many_levels_and_no_more(limits: Limits) -> None:
    levels = limits.filter_levels_max
    assert is_legal(nested(levels, {"a": {"$gt": 1, "$lt": 2}}), limits)
    error = refusal(nested(levels + 1, {"a": "x"}), limits)
    assert f"nested {levels + 1} levels deep; the limit is {levels}" in error.message
    assert error.details == {"value": str(levels + 1), "limit": str(levels)}


def test_levels_are_counted_by_branch() -> None:
    deep = nested(7, {"a": "x"})
    assert is_legal({"$and": [deep, deep, {"b": "y"}], "b": "y"})
    assert refusal({"$and": [{"b": "y"}, {"$or": [deep]}]}).field == (
        "filter.$and[1].$or[0].$or[0].$and[0].$or[0].$and[0].$or[0].$and[0].$or"
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda count: {"a": {"$in": ["x"] * count}},
        lambda count: {"a": {"$nin": [1] * (count - 1)}, "b": True},
        lambda count: {"$or": [{"a": "x"}] * count},
        lambda count: {f"f{n}": {"$exists": True} for n in range(count)},
        lambda count: {"$and": [{"a": {"$gt": 1, "$lte": 2}}] * (count // 2)} | _odd(count),
        lambda count: {"$or": [{"a": {"$in": ["x"] * (count // 2)}}] * 2} | _odd(count),
    ],
)
def test_filter_may_have_so_many_operands_and_no_more(make: Any) -> None:
    limit = OSS.filter_operands_max
    assert is_legal(make(limit))
    error = refusal(make(limit + 1))
    assert f"the filter has {limit + 1} operands up to here; the limit is {limit}" in error.message
    assert error.details == {"value": str(limit + 1), "limit": str(limit)}


def _odd(count: int) -> dict[str, Json]:
    """Return one more condition if the count is odd."""
    return {"b": "y"} if count % 2 else {}


@pytest.mark.parametrize("text", ["x", "é", '"'])
def test_filter_may_have_so_many_bytes_and_no_more(text: str) -> None:
    limit = OSS.filter_bytes_max
    frame = len('{"a":{"$eq":""}}')
    size = len(json.dumps(text, ensure_ascii=False).encode()) - 2
    fitting = text * ((limit - frame) // size)
    assert is_legal({"a": fitting})
    error = refusal({"a": fitting + text})
    assert f"bytes as compact JSON; the limit is {limit}" in error.message
    assert error.field == "filter"


def test_limits_hold_before_anything_is_walked() -> None:
    endless: list[Json] = []
    endless.append(endless)
    huge = [endless] * 100_000
    for raw in ({"a": {"$in": huge}}, {"$and": huge}, {"a": huge}):
        assert (refusal(raw).field or "").startswith("filter")


def test_filter_of_any_depth_is_refused_without_recursion() -> None:
    depth = 100_000
    operand: Json = "x"
    for _ in range(depth):
        operand = [operand]
    members: Json = {"a": 1}
    for _ in range(depth):
        members = {"a": members}
    for raw in (nested(depth, {"a": 1}), {"a": operand}, {"a": {"$in": operand}}, members):
        assert (refusal(raw).field or "").startswith("filter")


def test_largest_legal_filter_is_parsed_and_read_back() -> None:
    raw = {"$or": [{f"field{n % 7}": {"$eq": f"value {n}"}} for n in range(1024)]}
    expression = parsed(raw)
    assert isinstance(expression, Or)
    assert len(expression.operands) == 1024
    assert parsed(json.loads(str(expression))) == expression


# --- Metadata that are strings only -------------------------------------------------------------


def test_strings_are_taken_where_metadata_are_strings_only() -> None:
    raw = {"a": {"$in": ["x", "y"]}, "b": {"$exists": False}, "c": "z"}
    assert parsed(raw, STRINGS_ONLY) == parsed(raw)


@pytest.mark.parametrize("operand", [1, 2.5, True])
@pytest.mark.parametrize("name", ["$eq", "$ne", "$in", "$nin"])
def test_other_operands_are_refused_where_metadata_are_strings_only(
    name: str, operand: float
) -> None:
    is_list = name in {"$in", "$nin"}
    error = refusal({"a": {name: ["x", operand] if is_list else operand}}, STRINGS_ONLY)
    assert error.field == (f"filter.a.{name}[1]" if is_list else f"filter.a.{name}")
    assert "expected a string, as metadata_types is 'strings'" in error.message


def test_expected_list_is_one_of_strings_where_metadata_are_strings_only() -> None:
    error = refusal({"type": {"$nin": "comedy"}}, STRINGS_ONLY)
    assert error.message == (
        "filter.type.$nin: expected a list of strings, found the string 'comedy'"
    )


@pytest.mark.parametrize("name", [comparison.value for comparison in Comparison])
@pytest.mark.parametrize("operand", [1, "1"])
def test_comparisons_are_refused_where_metadata_are_strings_only(
    name: str, operand: float | str
) -> None:
    error = refusal({"a": {name: operand}}, STRINGS_ONLY)
    assert error.message == (
        f"filter.a.{name}: it compares numbers, and metadata_types is 'strings'"
    )


# --- Properties ---------------------------------------------------------------------------------


@REPEATABLE
@given(FILTERS)
def test_printed_filter_is_nested_no_deeper_than_the_caller_wrote_it(raw: dict[str, Json]) -> None:
    tightest = next(
        limits
        for limits in (dataclasses.replace(OSS, filter_levels_max=n) for n in range(1, 20))
        if is_legal(raw, limits)
    )
    expression = parsed(raw, tightest)
    assert parsed(json.loads(str(expression)), tightest) == expression


@REPEATABLE
@given(NEARLY_FILTERS)
def test_anything_like_json_is_accepted_or_refused(raw: Json) -> None:
    for limits in (OSS, STRINGS_ONLY):
        refused: VectorIndexParameterInvalid | None = None
        expression: Expression | None = None
        try:
            expression = parse(raw, limits=limits, non_filterable_keys=("g",))
        except VectorIndexParameterInvalid as error:
            refused = error
        if refused is not None:
            assert (refused.field or "").startswith("filter")
            assert refused.message.encode()
        elif expression is not None:
            assert parsed(json.loads(str(expression)), limits) == expression


def test_drawn_filters_are_of_both_kinds() -> None:
    # What the property above is worth: a fair share of each kind is drawn, of many faults.
    legal: list[Json] = []
    faults: set[str] = set()

    @REPEATABLE
    @given(NEARLY_FILTERS)
    def draw(raw: Json) -> None:
        if not raw or is_legal(raw):
            legal.append(raw)
        else:
            faults.add(refusal(raw).message.split(": ")[-1])

    draw()
    assert len(legal) >= 30
    assert len(faults) >= 30
