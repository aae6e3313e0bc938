"""Tests of bench_peer_qdrant_edge.py: what a condition is in the engine's words."""

from __future__ import annotations

from bench_peer_qdrant_edge import match_of
from bench_subject import Condition


def test_text_is_matched_by_its_value() -> None:
    assert match_of(Condition("arch", "eq", "all")) == {"match": {"value": "all"}}


def test_list_is_matched_by_the_value_of_an_element() -> None:
    assert match_of(Condition("tags", "in_list", "role::program")) == {
        "match": {"value": "role::program"}
    }


def test_range_holds_its_low_end_and_not_its_high_one() -> None:
    assert match_of(Condition("size", "range", low=1, high=2.5)) == {"range": {"gte": 1, "lt": 2.5}}
