"""What a real Milvus makes of the expressions of engine/milvus/pushdown.py: what the matcher does.

All rows stand in one collection, put once; each test asks many filters and compares the keys that
it finds with those whose metadata ``compile_matcher`` lets through.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymilvus import MilvusClient

import oracles
from filter_cases import EXPRESSIONS, FILTERS, NUMBERS, REPEATABLE, parsed
from milvus_server import MilvusServer
from pushdown_rows import EDGES, TRICKY, Rows, drawn, metadata_of_all_kinds, truth_table
from vectorbucket.limits import FILTER_LEVELS_CEILING, OSS
from vectorbucket_server.engine.milvus.pushdown import (
    after_expression,
    boolean_expression,
    keys_expression,
)
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
)
from vectorbucket_server.model import Segment

DEEP = replace(OSS, filter_levels_max=FILTER_LEVELS_CEILING)
"""Limits under which every drawn filter is legal."""

ASKING = settings(
    REPEATABLE, max_examples=100, database=None, suppress_health_check=list(HealthCheck)
)
"""How a property is run that asks the server once or twice an example."""


@pytest.fixture(name="rows", scope="module")
def fixture_rows(milvus_server: MilvusServer) -> Iterator[Rows]:
    """Rows of all kinds, under keys of all kinds."""
    kinds = list(metadata_of_all_kinds())
    tricky = (text for text in TRICKY if len(text.encode()) <= OSS.key_bytes_max)
    texts = [*tricky, "é" * 512, "x" * 1024, *drawn(st.text(min_size=1, max_size=9), len(kinds))]
    keys = dict.fromkeys([*texts, *(f"row {n}" for n in range(len(kinds)))])
    client = MilvusClient(milvus_server.uri)
    name = f"pushdown_{uuid.uuid4().hex}"
    yield Rows(client, name, dict(zip(keys, kinds, strict=False)))
    client.drop_collection(name)
    client.close()


def test_half_of_the_rows_are_sealed(rows: Rows) -> None:
    assert rows.sealed_count() == (len(rows.rows) + 1) // 2


def test_truth_table_holds_in_milvus(rows: Rows) -> None:
    keys = list(rows.rows)[: len(truth_table()[0]) - 1]
    for row, *cells in truth_table()[1:]:
        found = rows.found(boolean_expression(parsed(json.loads(row))))
        assert ["x" if key in found else "." for key in keys] == cells, row


@ASKING
@given(raw=FILTERS)
def test_milvus_agrees_with_the_matcher(rows: Rows, raw: dict[str, Any]) -> None:
    rows.check(parsed(raw, DEEP))


@ASKING
@given(expression=EXPRESSIONS)
def test_milvus_agrees_on_any_expression_that_can_be_made(
    rows: Rows, expression: Expression
) -> None:
    rows.check(expression)


def test_milvus_agrees_on_the_engines_workload(rows: Rows) -> None:
    rng = np.random.default_rng(1)
    found = sum(rows.check(parsed(oracles.random_filter(rng))) for _ in range(100))
    assert 0.05 < found / 100 / len(rows.rows) < 0.95


def test_every_string_is_found_and_only_itself(rows: Rows) -> None:
    for value in TRICKY:
        assert rows.check(Equals("f", value)) >= 2
    rows.check(In("f", TRICKY))
    rows.check(NotIn("f", TRICKY[::2]))


def test_every_name_is_found_and_only_itself(rows: Rows) -> None:
    for metadata in rows.rows.values():
        for name in metadata.keys() & set(TRICKY):
            assert rows.check(Exists(name, present=True)) >= 1
            assert rows.check(And((NotEquals(name, "b"), Exists(name, present=True)))) >= 1


@pytest.mark.parametrize("comparison", Comparison)
def test_numbers_compare_exactly(rows: Rows, comparison: Comparison) -> None:
    for number in EDGES:
        for operand in (number, math.nextafter(number, 1.0)):
            rows.check(Compare("f", comparison, operand))


def test_numbers_are_equal_by_value_alone(rows: Rows) -> None:
    for number in EDGES:
        assert rows.check(Equals("f", number)) >= 2
        rows.check(NotEquals("f", math.nextafter(number, 1.0)))


@ASKING
@given(number=NUMBERS, comparison=st.sampled_from(Comparison))
def test_any_number_compares(rows: Rows, number: float, comparison: Comparison) -> None:
    rows.check(Compare("f", comparison, number))


def test_longest_lists_are_understood(rows: Rows) -> None:
    values = (*TRICKY, *(f"value {n}" for n in range(OSS.filter_operands_max - len(TRICKY))))
    assert rows.check(In("f", values)) >= len(TRICKY)
    rows.check(NotIn("f", values))
    rows.check(Or(tuple(Equals("f", value) for value in values)))
    rows.check(And(tuple(NotEquals("g", value) for value in values)))


def test_deepest_nesting_is_understood(rows: Rows) -> None:
    expression: Expression = Equals("f", 1.0)
    for level in range(FILTER_LEVELS_CEILING):
        conditions = tuple(Equals("f", f"{level} {n}") for n in range(14))
        fitting = (expression, *conditions) if level % 2 else (*conditions, expression)
        others = tuple(NotEquals("f", condition.value) for condition in conditions)
        expression = Or(fitting) if level % 2 else And((*others, expression))
    assert rows.check(expression) >= 2


def test_keys_are_found_and_only_they(rows: Rows) -> None:
    keys = list(rows.rows)
    for key in keys[:200]:
        assert rows.found(keys_expression([key])) == {key}
    assert rows.found(keys_expression(keys)) == set(keys)
    assert rows.found(keys_expression([*keys[::3], "no key"])) == set(keys[::3])


@ASKING
@given(key=st.text(min_size=1, max_size=20))
def test_key_that_is_not_there_finds_nothing(rows: Rows, key: str) -> None:
    assert rows.found(keys_expression([key])) == ({key} & rows.rows.keys())


@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_keys_of_a_segment_come_after_a_key_in_bytes(rows: Rows, count: int) -> None:
    for after in ["", *list(rows.rows)[:: 31 * count]]:
        segments = [Segment(position, count) for position in range(count)]
        for segment in segments:
            assert rows.found(after_expression(after, segment)) == {
                key
                for key in rows.rows
                if key.encode() > after.encode() and segment.holds(key.encode())
            }
