"""Tests of oracles.py: what judges others is judged by hand here."""

from __future__ import annotations

import json

import numpy as np
import pytest

from oracles import (
    FILTERABLE,
    Metadata,
    RawFilter,
    f32,
    matches,
    random_filter,
    random_grid,
    random_metadata,
)

BOOK: Metadata = {"title": "It", "pages": 1138.0, "sold": True, "tags": ["horror", 1.0, False]}

TRUTH: list[tuple[RawFilter, bool]] = [
    ({}, True),
    ({"title": "It"}, True),
    ({"title": "it"}, False),
    ({"title": {"$ne": "it"}}, True),
    ({"pages": 1138}, True),
    ({"pages": "1138"}, False),
    ({"pages": {"$gte": 1138, "$lt": 1139}}, True),
    ({"pages": {"$gt": 1138}}, False),
    ({"pages": {"$lte": 1137.5}}, False),
    ({"title": {"$gt": 0}}, False),
    ({"sold": True}, True),
    ({"sold": 1}, False),
    ({"sold": {"$gte": 0}}, False),
    ({"tags": "horror"}, True),
    ({"tags": {"$ne": "horror"}}, False),
    ({"tags": {"$nin": ["comedy", True]}}, True),
    ({"tags": {"$in": ["comedy", False]}}, True),
    ({"tags": {"$lt": 2}}, True),
    ({"tags": {"$lt": 1}}, False),
    ({"missing": {"$eq": "x"}}, False),
    ({"missing": {"$ne": "x"}}, True),
    ({"missing": {"$nin": ["x"]}}, True),
    ({"missing": {"$in": ["x"]}}, False),
    ({"missing": {"$lt": 1e300}}, False),
    ({"missing": {"$exists": False}}, True),
    ({"tags": {"$exists": True}, "missing": {"$exists": True}}, False),
    ({"$or": [{"title": "x"}, {"sold": True}]}, True),
    ({"$and": [{"title": "x"}, {"sold": True}]}, False),
    ({"$and": [{"$or": [{"title": "It"}]}], "pages": {"$gt": 1}}, True),
]


@pytest.mark.parametrize(("raw_filter", "expected"), TRUTH, ids=json.dumps)
def test_filter_is_judged_by_the_contracts_truth_table(
    raw_filter: RawFilter, *, expected: bool
) -> None:
    assert matches(raw_filter, BOOK) is expected


def test_empty_list_is_there_and_equals_nothing() -> None:
    for raw_filter, expected in (
        ({"tags": {"$exists": True}}, True),
        ({"tags": {"$nin": ["x"]}}, True),
        ({"tags": "x"}, False),
    ):
        assert matches(raw_filter, {"tags": []}) is expected


def test_random_filters_ask_about_every_field_and_match_some_of_everything() -> None:
    rng = np.random.default_rng(1)
    metadata = [random_metadata(rng) for _ in range(50)]
    shares = []
    text = ""
    for _ in range(300):
        raw_filter = random_filter(rng)
        text += json.dumps(raw_filter)
        shares.append(sum(matches(raw_filter, one) for one in metadata) / len(metadata))
    assert all(f'"{field}"' in text for field in FILTERABLE)
    assert all(f'"${name}"' in text for name in ("eq", "nin", "exists", "and", "or", "gte"))
    assert sum(0 < share < 1 for share in shares) > 120


def test_random_metadata_hold_every_type_of_value() -> None:
    rng = np.random.default_rng(2)
    values = [value for _ in range(100) for value in random_metadata(rng).values()]
    assert {type(value) for value in values} == {str, float, bool, list}
    elements = [element for value in values if isinstance(value, list) for element in value]
    assert {type(element) for element in elements} == {str, float, bool}
    assert [] in values


def test_same_seed_draws_the_same() -> None:
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(20):
        assert random_filter(first) == random_filter(second)
        assert random_metadata(first) == random_metadata(second)


def test_grid_has_no_zero_row_and_many_ties() -> None:
    rows = random_grid(np.random.default_rng(4), 500, 3)
    assert rows.dtype == np.float32
    assert rows.any(axis=1).all()
    assert np.array_equal(rows, rows.round())
    assert len(np.unique(rows, axis=0)) < 125


def test_f32_makes_rows_that_a_batch_takes() -> None:
    rows = f32([[1.0, 2.5], [3.0, 4.0]])
    assert rows.dtype == np.float32
    assert rows.shape == (2, 2)
    assert rows.flags.c_contiguous
