"""Tests of bench_peer_chroma.py: conditions and metadata as the server takes them."""

from __future__ import annotations

from typing import Any

import pytest

from bench_peer_chroma import stored_fields, where_filter
from bench_subject import Condition


@pytest.mark.parametrize(
    ("condition", "where"),
    [
        (None, None),
        (Condition("arch", "eq", "all"), {"arch": {"$eq": "all"}}),
        (Condition("tags", "in_list", "x"), {"tags": {"$contains": "x"}}),
        (
            Condition("size", "range", low=1, high=2.5),
            {"$and": [{"size": {"$gte": 1}}, {"size": {"$lt": 2.5}}]},
        ),
    ],
)
def test_condition_is_written_as_a_where_filter(
    condition: Condition | None, where: dict[str, Any] | None
) -> None:
    assert where_filter(condition) == where


def test_empty_lists_and_empty_metadata_are_left_out() -> None:
    assert stored_fields({"arch": "all", "tags": []}) == {"arch": "all"}
    assert stored_fields({"tags": []}) is None
