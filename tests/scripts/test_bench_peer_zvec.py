"""Tests of bench_peer_zvec.py: what a condition is in the engine's filter language."""

from __future__ import annotations

import pytest

from bench_peer_zvec import filter_text
from bench_subject import Condition


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (Condition("arch", "eq", "all"), "arch = 'all'"),
        (Condition("arch", "eq", "it's"), "arch = 'it\\'s'"),
        (Condition("arch", "eq", "back\\slash"), "arch = 'back\\slash'"),
        (Condition("tags", "in_list", "role::program"), "tags contain_any ('role::program')"),
        (Condition("size", "range", low=1, high=2.5), "size >= 1.0 and size < 2.5"),
    ],
)
def test_condition_is_written_in_the_filter_language(condition: Condition, text: str) -> None:
    assert filter_text(condition) == text
