"""Tests of bench_peer_pgvector.py: what a condition is in SQL."""

from __future__ import annotations

import pytest

from bench_peer_pgvector import quoted, where_clause
from bench_subject import Condition


@pytest.mark.parametrize(
    ("condition", "clause", "values"),
    [
        (None, "", ()),
        (Condition("arch", "eq", "it's"), 'WHERE "arch" = %s', ("it's",)),
        (Condition("tags", "in_list", "x"), 'WHERE "tags" @> ARRAY[%s]::text[]', ("x",)),
        (
            Condition("size", "range", low=1, high=2.5),
            'WHERE "size" >= %s AND "size" < %s',
            (1, 2.5),
        ),
    ],
)
def test_condition_is_a_clause_with_placeholders(
    condition: Condition | None, clause: str, values: tuple[str | float, ...]
) -> None:
    assert where_clause(condition) == (clause, values)


def test_name_cannot_leave_its_quotes_nor_be_a_placeholder() -> None:
    assert quoted('a"b%s') == '"a""b%%s"'
