"""What bad input gets: queries and filters, at a real server.

Method: each case is a request and what its refusal must say: the field, and the words that name
the value and the limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from rpc import (
    COSINE,
    Stubs,
    assert_parameter_refused,
    query_request,
    refused,
    some_vectors,
)


def nested(levels: int) -> dict[str, Any]:
    """Return a filter of so many levels of $and."""
    raw: dict[str, Any] = {"a": "x"}
    for _ in range(levels):
        raw = {"$and": [raw]}
    return raw


BAD_FILTERS: Mapping[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "an unknown operator": ({"a": {"$like": "x"}}, ("filter.a", "$like")),
    "an unknown combiner": ({"$not": [{"a": "x"}]}, ("filter", "$not")),
    "an empty $and": ({"$and": []}, ("filter.$and",)),
    "an $or that is no list": ({"$or": {"a": "x"}}, ("filter.$or",)),
    "an empty $in": ({"a": {"$in": []}}, ("filter.a.$in",)),
    "a list for $eq": ({"a": {"$eq": ["x"]}}, ("filter.a.$eq",)),
    "null for $eq": ({"a": {"$eq": None}}, ("filter.a.$eq",)),
    "a text for $gt": ({"a": {"$gt": "x"}}, ("filter.a.$gt",)),
    "a number for $exists": ({"a": {"$exists": 1}}, ("filter.a.$exists",)),
    "NaN for $gt": ({"a": {"$gt": math.nan}}, ("filter.a.$gt",)),
    "infinity for $eq": ({"a": math.inf}, ("filter.a",)),
    "an empty operator object": ({"a": {}}, ("filter.a",)),
    "a fault deep inside": (
        {"$and": [{"a": "x"}, {"type": {"$nin": "comedy"}}]},
        ("filter.$and[1].type.$nin",),
    ),
    "9 levels": (nested(9), ("filter", "8")),
    "18 levels": (nested(18), ("filter", "8")),
    "1,025 operands": ({"a": {"$in": ["x"] * 1025}}, ("filter", "1024")),
    "more than 64 KB": ({"a": {"$in": ["x" * 1000] * 66}}, ("filter", "65536")),
    "a non-filterable key": ({"blob": "x"}, ("blob",)),
    "a non-filterable key deep inside": (
        {"$or": [{"a": "x"}, {"note": {"$exists": True}}]},
        ("note",),
    ),
}


@pytest.mark.parametrize(("raw", "words"), BAD_FILTERS.values(), ids=BAD_FILTERS)
def test_bad_filter_is_refused_with_the_place_of_its_fault(
    with_index: Stubs, raw: dict[str, Any], words: tuple[str, ...]
) -> None:
    refusal = refused(lambda: with_index.vectors.QueryVectors(query_request(filter=raw)))
    assert_parameter_refused(refusal, refusal.field, words)
    assert (refusal.field or "").startswith("filter")
    assert len(refusal.message.encode()) <= 600


def test_huge_filter_is_refused_before_it_is_looked_at(with_index: Stubs) -> None:
    raw = {"a": {"$in": ["x" * 100_000] * 30}}
    refusal = refused(lambda: with_index.vectors.QueryVectors(query_request(filter=raw)))
    assert_parameter_refused(refusal, "filter", ("65536",))


@pytest.mark.parametrize(
    ("request_fields", "field", "words"),
    [
        ({"top_k": 0}, "top_k", ("0", "1 to 100")),
        ({"top_k": 101}, "top_k", ("101", "1 to 100")),
        ({"top_k": -1}, "top_k", ("-1", "1 to 100")),
        ({"ef_search": 0}, "ef_search", ("0", "1 to 10000")),
        ({"ef_search": 10_001}, "ef_search", ("10001", "1 to 10000")),
        ({"numbers": (1, 2, 3)}, "query_vector", ("3 numbers", "dimension is 4")),
        ({"numbers": ()}, "query_vector", ("missing",)),
        ({"numbers": (1, 2, 3, math.nan)}, "query_vector", ("nan", "position 3")),
        ({"numbers": (1, 2, 3, math.inf)}, "query_vector", ("inf", "position 3")),
    ],
)
def test_bad_query_is_refused(
    with_index: Stubs, request_fields: dict[str, Any], field: str, words: tuple[str, ...]
) -> None:
    numbers = request_fields.pop("numbers", (1, 2, 3, 4))
    request = query_request(numbers, **request_fields)
    assert_parameter_refused(
        refused(lambda: with_index.vectors.QueryVectors(request)), field, words
    )


def test_zero_query_is_refused_under_cosine(stubs: Stubs) -> None:
    stubs.make_index(metric=COSINE)
    refusal = refused(lambda: stubs.vectors.QueryVectors(query_request((0, 0, 0, 0))))
    assert_parameter_refused(refusal, "query_vector", ("zero vector", "cosine"))


def test_empty_filter_matches_everything(with_index: Stubs) -> None:
    with_index.put(*some_vectors(3))
    filters: tuple[dict[str, Any] | None, ...] = (None, {})
    for raw in filters:
        hits = with_index.vectors.QueryVectors(query_request(filter=raw)).vectors
        assert len(hits) == 3
