"""Tests of filters/matcher.py: the truth table of its docstring, and agreement with an oracle.

The oracle is ``oracles.matches``: it reads the raw filter, knows neither parser nor expression, and
is held to the same table.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import oracles
from filter_cases import FILTERS, METADATA, REPEATABLE
from vectorbucket.limits import FILTER_LEVELS_CEILING, OSS
from vectorbucket_server.filters import matcher
from vectorbucket_server.filters.expression import COMBINERS, OPERATORS
from vectorbucket_server.filters.matcher import compile_matcher
from vectorbucket_server.filters.parser import parse
from vectorbucket_server.model import Metadata

ABSENT = "absent"

DEEP = replace(OSS, filter_levels_max=FILTER_LEVELS_CEILING)
"""Limits under which every drawn filter is legal."""


def matches(raw: dict[str, Any], metadata: Metadata) -> bool:
    """Return whether the compiled filter matches."""
    expression = parse(raw, limits=OSS)
    assert expression is not None
    return compile_matcher(expression)(metadata)


def truth_table() -> Iterator[tuple[str, str, bool]]:
    """Yield the cells of the docstring's table: filter, value of ``f``, whether it matches."""
    lines = (inspect.getdoc(matcher) or "").splitlines()
    start = next(n for n, line in enumerate(lines) if line.split()[:1] == ["filter"])
    columns = lines[start].split()[1:]
    for line in lines[start + 1 :]:
        if not line.strip():
            return
        row, *cells = line.split()
        for column, cell in zip(columns, cells, strict=True):
            yield row, column, {"x": True, ".": False}[cell]


TABLE = list(truth_table())


def metadata_of(column: str) -> dict[str, Any]:
    """Return the metadata that a column of the table is about; numbers are floats in metadata."""
    if column == ABSENT:
        return {"other": "a"}
    return {"f": json.loads(column, parse_int=float)}


def test_table_has_a_row_of_every_operator_and_a_column_of_every_kind() -> None:
    operators = {name for row, _, _ in TABLE for name in json.loads(row)["f"]}
    assert operators == OPERATORS.keys()
    columns = list(dict.fromkeys(column for _, column, _ in TABLE))
    kinds = {type(metadata_of(column).get("f")) for column in columns}
    assert kinds == {type(None), str, float, bool, list}
    assert len(TABLE) == 13 * len(columns)


@pytest.mark.parametrize(("row", "column", "expected"), TABLE)
def test_truth_table_holds(row: str, column: str, expected: bool) -> None:  # noqa: FBT001 - a cell
    assert matches(json.loads(row), metadata_of(column)) is expected


@pytest.mark.parametrize(("row", "column", "expected"), TABLE)
def test_truth_table_holds_for_the_oracle(
    row: str,
    column: str,
    expected: bool,  # noqa: FBT001 - a cell
) -> None:
    assert oracles.matches(json.loads(row), metadata_of(column)) is expected


@REPEATABLE
@given(FILTERS, METADATA)
def test_matcher_agrees_with_the_oracle(raw: dict[str, Any], metadata: dict[str, Any]) -> None:
    expression = parse(raw, limits=DEEP)
    assert expression is not None
    assert compile_matcher(expression)(metadata) is oracles.matches(raw, metadata)


@pytest.mark.parametrize("seed", range(3))
def test_matcher_agrees_with_the_oracle_on_the_engines_workload(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [oracles.random_metadata(rng) for _ in range(60)]
    found = 0
    for _ in range(60):
        raw = oracles.random_filter(rng)
        wanted = [oracles.matches(raw, row) for row in rows]
        assert [matches(raw, row) for row in rows] == wanted
        found += sum(wanted)
    # Neither all nor nothing, or the workload would tell little.
    assert 0.1 < found / 3600 < 0.9


@pytest.mark.parametrize("name", [*OPERATORS, *COMBINERS])
def test_every_operator_can_match_and_can_fail(name: str) -> None:
    operands: dict[str, Any] = {"$in": [2], "$nin": [2], "$exists": True}
    raw: dict[str, Any] = {"f": {name: operands.get(name, 2)}}
    if name in COMBINERS:
        raw = {name: [{"f": {"$gte": 2}}, {"f": {"$gte": 3}}]}
    outcomes = {matches(raw, metadata) for metadata in ({"f": 1.0}, {"f": 2.0}, {"f": 3.0}, {})}
    assert outcomes == {True, False}


@pytest.mark.parametrize(
    ("stored", "operand"),
    [("1", 1), (1.0, "1"), (True, 1), (1.0, True), (False, 0), (True, "true"), ("A", "a")],
)
def test_values_that_only_look_alike_are_not_equal(stored: Any, operand: Any) -> None:
    for metadata in ({"f": stored}, {"f": [stored]}, {"f": ["other", stored]}):
        assert not matches({"f": operand}, metadata)
        assert not matches({"f": {"$in": [operand, "another"]}}, metadata)
        assert matches({"f": {"$ne": operand}}, metadata)
        assert matches({"f": {"$nin": [operand, "another"]}}, metadata)


def test_numbers_are_equal_by_value() -> None:
    assert matches({"f": 1}, {"f": 1.0})
    assert matches({"f": 0.0}, {"f": -0.0})
    assert matches({"f": {"$in": [-0.0]}}, {"f": 0.0})
    assert not matches({"f": 2**53}, {"f": 2.0**53 - 1})


def test_equal_strings_are_equal_byte_by_byte() -> None:
    composed, decomposed = "é", "e\u0301"
    assert matches({"f": composed}, {"f": composed})
    assert not matches({"f": composed}, {"f": decomposed})
    assert not matches({"f": "a"}, {"f": "a "})


def test_empty_string_is_a_value() -> None:
    assert matches({"f": ""}, {"f": ""})
    assert matches({"f": {"$exists": True}}, {"f": ""})
    assert not matches({"f": ""}, {})


def test_range_over_a_list_may_be_met_by_two_elements() -> None:
    # Each condition asks for any element, as in the languages that this one follows.
    assert matches({"f": {"$gt": 5, "$lt": 2}}, {"f": [1.0, 9.0]})
    assert not matches({"f": {"$gt": 5, "$lt": 2}}, {"f": [3.0, 4.0]})


def test_negation_of_a_list_is_that_no_element_equals() -> None:
    assert not matches({"f": {"$ne": "a"}}, {"f": ["a", "b"]})
    assert matches({"f": {"$ne": "c"}}, {"f": ["a", "b"]})
    assert not matches({"f": {"$nin": ["b", "c"]}}, {"f": ["a", "b"]})


def test_combinations_nest() -> None:
    raw = {"$or": [{"$and": [{"f": "a"}, {"g": {"$gt": 1}}]}, {"g": {"$exists": False}}]}
    assert matches(raw, {"f": "a", "g": 2.0})
    assert not matches(raw, {"f": "a", "g": 1.0})
    assert not matches(raw, {"f": "b", "g": 2.0})
    assert matches(raw, {"f": "b"})


def test_compiled_filter_keeps_no_state_between_vectors() -> None:
    expression = parse({"f": {"$in": ["a", 1]}}, limits=OSS)
    assert expression is not None
    compiled = compile_matcher(expression)
    rows: list[Metadata] = [{"f": "a"}, {"f": "b"}, {}, {"f": [1.0]}]
    assert [compiled(row) for row in rows] == [True, False, False, True]
    assert [compiled(row) for row in reversed(rows)] == [True, False, False, True]


def test_what_is_no_node_is_a_loud_bug() -> None:
    foreign: Any = "no node"
    with pytest.raises(AssertionError, match="unreachable"):
        compile_matcher(foreign)
