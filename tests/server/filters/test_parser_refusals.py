"""Tests of filters/parser.py: what is no filter, and that the error names its place and reason."""

from __future__ import annotations

import pytest

from filter_cases import Json, parsed, refusal
from vectorbucket.limits import INTEGER_MAX
from vectorbucket_server.filters.expression import Equals

SCALAR = "a string, a number or a boolean"
LIST = "a list of strings, numbers or booleans"
KNOWN = "$eq, $ne, $in, $nin, $gt, $gte, $lt, $lte, $exists"


REFUSALS: list[tuple[Json, str, str]] = [
    # The filter itself.
    ([], "filter", "expected an object with a condition in it, found an empty list"),
    ("", "filter", "expected an object with a condition in it, found the string ''"),
    (False, "filter", "expected an object with a condition in it, found false"),
    # Combiners.
    ({"$and": []}, "filter.$and", "expected a list of objects, found an empty list"),
    ({"$or": []}, "filter.$or", "expected a list of objects, found an empty list"),
    ({"$or": {"a": 1}}, "filter.$or", "expected a list of objects, found an object"),
    ({"$and": None}, "filter.$and", "expected a list of objects, found null"),
    (
        {"$and": [{"a": 1}, {}]},
        "filter.$and[1]",
        "expected an object with a condition in it, found an empty object",
    ),
    (
        {"$or": ["a"]},
        "filter.$or[0]",
        "expected an object with a condition in it, found the string 'a'",
    ),
    (
        {"$not": [{"a": 1}]},
        "filter.$not",
        "unknown operator; expected $and, $or or the name of a field",
    ),
    (
        {"$eq": "x"},
        "filter.$eq",
        "unknown operator; expected $and, $or or the name of a field",
    ),
    # Operators of a field.
    ({"a": {}}, "filter.a", "expected an object with an operator in it, found an empty object"),
    ({"a": {"$like": "x"}}, "filter.a.$like", f"unknown operator; expected one of {KNOWN}"),
    ({"a": {"b": "x"}}, "filter.a.b", f"unknown operator; expected one of {KNOWN}"),
    ({"a": {"$and": []}}, "filter.a.$and", f"unknown operator; expected one of {KNOWN}"),
    ({"a": {"$eq": 1, "": 2}}, "filter.a['']", f"unknown operator; expected one of {KNOWN}"),
    # Operands.
    ({"a": None}, "filter.a", f"expected {SCALAR}, found null"),
    ({"a": ["x"]}, "filter.a", f"expected {SCALAR}, found a list"),
    ({"a": {"$eq": None}}, "filter.a.$eq", f"expected {SCALAR}, found null"),
    ({"a": {"$eq": ["x"]}}, "filter.a.$eq", f"expected {SCALAR}, found a list"),
    ({"a": {"$ne": None}}, "filter.a.$ne", f"expected {SCALAR}, found null"),
    ({"a": {"$ne": []}}, "filter.a.$ne", f"expected {SCALAR}, found an empty list"),
    ({"a": {"$ne": {"$eq": 1}}}, "filter.a.$ne", f"expected {SCALAR}, found an object"),
    ({"a": {"$in": []}}, "filter.a.$in", f"expected {LIST}, found an empty list"),
    ({"a": {"$nin": []}}, "filter.a.$nin", f"expected {LIST}, found an empty list"),
    ({"a": {"$nin": "x"}}, "filter.a.$nin", f"expected {LIST}, found the string 'x'"),
    ({"a": {"$in": ["x", None]}}, "filter.a.$in[1]", f"expected {SCALAR}, found null"),
    ({"a": {"$in": [["x"]]}}, "filter.a.$in[0]", f"expected {SCALAR}, found a list"),
    ({"a": {"$exists": 1}}, "filter.a.$exists", "expected true or false, found the number 1"),
    (
        {"a": {"$exists": "true"}},
        "filter.a.$exists",
        "expected true or false, found the string 'true'",
    ),
    ({"a": {"$gt": "1"}}, "filter.a.$gt", "expected a number, found the string '1'"),
    ({"a": {"$gte": True}}, "filter.a.$gte", "expected a number, found true"),
    ({"a": {"$lt": [1]}}, "filter.a.$lt", "expected a number, found a list"),
    ({"a": {"$lte": None}}, "filter.a.$lte", "expected a number, found null"),
    # Numbers that are none.
    ({"a": float("nan")}, "filter.a", "expected a finite number, found the number nan"),
    (
        {"a": {"$gt": float("inf")}},
        "filter.a.$gt",
        "expected a finite number, found the number inf",
    ),
    (
        {"a": {"$in": [1, -float("inf")]}},
        "filter.a.$in[1]",
        "expected a finite number, found the number -inf",
    ),
    # Not JSON at all.
    ({"a": b"x"}, "filter.a", f"expected {SCALAR}, found a value of type bytes"),
    ({1: "x"}, "filter", "expected names that are strings, found the number 1"),
    ({"a": {2: "x"}}, "filter.a[the number 2]", f"unknown operator; expected one of {KNOWN}"),
]
"""What is no filter, the path of its fault, and what is wrong there."""


@pytest.mark.parametrize(("raw", "path", "problem"), REFUSALS)
def test_what_is_no_filter_is_refused_with_its_place(raw: Json, path: str, problem: str) -> None:
    error = refusal(raw)
    assert error.message == f"{path}: {problem}"
    assert error.field == path


def test_path_leads_through_all_levels() -> None:
    raw = {"$and": [{"a": 1}, {"$or": [{"type": {"$nin": "comedy"}}]}]}
    error = refusal(raw)
    assert error.field == "filter.$and[1].$or[0].type.$nin"
    assert error.message.startswith("filter.$and[1].$or[0].type.$nin: expected a list of")


@pytest.mark.parametrize(
    ("name", "path"),
    [("a b", "filter['a b']"), ("x.y", "filter['x.y']"), ("a-b_1", "filter.a-b_1")],
)
def test_field_that_is_no_plain_word_stands_in_brackets(name: str, path: str) -> None:
    assert refusal({name: None}).field == path


@pytest.mark.parametrize(
    "integer", [INTEGER_MAX + 1, -INTEGER_MAX - 1, 10**30], ids=["above", "below", "far"]
)
def test_integer_beyond_the_doubles_is_refused_and_named(integer: int) -> None:
    for raw in ({"a": integer}, {"a": {"$gt": integer}}, {"a": {"$in": ["x", integer]}}):
        error = refusal(raw)
        assert f"the integer {integer} is beyond ±2^53; the limit is {INTEGER_MAX}" in error.message
        assert error.details == {"value": str(integer), "limit": str(INTEGER_MAX)}


def test_integer_too_long_to_print_is_named_by_its_size() -> None:
    assert "the integer of 16610 bits is beyond ±2^53" in refusal({"a": 10**5000}).message


@pytest.mark.parametrize("text", ["\ud800", "é\udfff"])
def test_half_a_surrogate_pair_is_no_text(text: str) -> None:
    for raw in ({"a": text}, {text: "x"}, {"a": {"$in": ["x", text]}}, {"a": {text: 1}}):
        error = refusal(raw)
        # The message can be sent, though the value cannot.
        assert error.message.encode()
        assert (error.field or "").encode()


def test_long_values_are_shown_shortened() -> None:
    for raw in ({"a": {"$gt": "v" * 10_000}}, {"a": {"$" + "o" * 10_000: 1}}, {"n" * 200: None}):
        assert len(refusal(raw).message) < 300


@pytest.mark.parametrize("name", ["", "n" * 256, "é" * 128])
def test_field_that_no_metadata_can_have_is_refused(name: str) -> None:
    error = refusal({"$or": [{name: "x"}]})
    assert error.message.startswith("filter.$or[0] has a field")
    assert error.field == "filter.$or[0]"


def test_field_of_the_longest_name_is_taken() -> None:
    assert parsed({"n" * 255: "x"}) == Equals("n" * 255, "x")


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"source": "x"}, "filter.source"),
        ({"$and": [{"a": 1}, {"source": {"$exists": True}}]}, "filter.$and[1].source"),
        ({"a.b": {"$ne": "x"}}, "filter['a.b']"),
    ],
)
def test_non_filterable_key_is_refused_and_named(raw: Json, path: str) -> None:
    error = refusal(raw)
    key = "a.b" if "a.b" in path else "source"
    assert error.message == f"{path}: '{key}' is a non-filterable metadata key of the index"
    assert error.details == {"value": key}
