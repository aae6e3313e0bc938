"""Tests of bench_peer_milvus.py: what a condition is in the server's boolean language."""

from __future__ import annotations

import pytest

from bench_peer_milvus import boolean_expression
from bench_subject import Condition


@pytest.mark.parametrize(
    ("condition", "expression"),
    [
        (None, ""),
        (Condition("arch", "eq", "all"), 'arch == "all"'),
        (Condition("arch", "eq", 'dou"ble\\'), 'arch == "dou\\"ble\\\\"'),
        (Condition("tags", "in_list", "x"), 'json_contains(tags, "x")'),
        (Condition("size", "range", low=1, high=2.5), "size >= 1.0 and size < 2.5"),
    ],
)
def test_condition_is_written_as_a_boolean_expression(
    condition: Condition | None, expression: str
) -> None:
    assert boolean_expression(condition) == expression
