"""Metadata of all kinds, and a collection of a real Milvus that holds what is derived from it.

Rules of this file: it stands between the expressions and a real server, with pymilvus itself and
nothing of ours but what is tested; what is drawn is the same in every run.
"""

from __future__ import annotations

import inspect
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pymilvus import DataType, MilvusClient

import oracles
from filter_cases import METADATA, NAMES, SCALARS
from vectorbucket.limits import OSS
from vectorbucket_server.engine.milvus.definitions import FILTERABLE, HASH, KEY
from vectorbucket_server.engine.milvus.pushdown import (
    after_expression,
    boolean_expression,
    filterable_document,
)
from vectorbucket_server.filters import matcher
from vectorbucket_server.filters.expression import Expression
from vectorbucket_server.filters.matcher import compile_matcher
from vectorbucket_server.model import WHOLE, Metadata

T = TypeVar("T")

TRICKY = (
    *('"', "'", "\\", '\\"', "\\'", "a\\", "\\\\", "\\n", "\\u0041", "%", "a%", "_", "a_b", "%s"),
    *("\0", "a\0b", "\t", "\n", "\r\n", "\x01\x1f\x7f\x80\x9f", "\u2028", "\ufeff", "\ufffd"),
    *("é", "e\u0301", "漢字", "漢\"'字\\", "😀", "\ud7ff", "\ue000", "\uffff", "\U0010ffff"),
    *("a.b", "a/b", "~", "~0", "~1", "a~1b", "a[0]", "[", "]", '["a"]', "{x}", "(", " ", "  a "),
    *("0", "-1", "1.0", "true", "null", "and", "exists", "s", "sa", "h", "n1", "t", "#", "=a", "A"),
    *("a" * 31, "a" * 32, "a" * 33, "é" * 16, "é" * 17, "x" * 2000, "x" * 1999 + "y", "漢" * 340),
)
"""Text that has a meaning in JSON, in its pointers, in Milvus' expressions or in Go."""

EDGES = (
    *(0.0, -0.0, 1.0, -1.0, 0.1, 0.1 + 0.2, 0.3, 1 / 3, 5e-324, -5e-324, 2.2250738585072014e-308),
    *(2.0**53 - 1, 2.0**53, 2.0**53 + 2, -(2.0**53), 2.0**63, -(2.0**63), 2.0**64),
    *(1e15, 1e16, 1e17, 1e21, 1e22, 1e23, 1e300, -1e300, 1.7976931348623157e308, 1e-7, 123456.789),
    *(math.nextafter(1.0, 2.0), math.nextafter(1.0, 0.0), math.nextafter(2.0**63, 0.0)),
)
"""Numbers at which integers, doubles or their printed forms change."""

WILD: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    NAMES, SCALARS | st.lists(SCALARS, max_size=3), max_size=3
)
"""Metadata of any names and any values."""


def drawn(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """Return about as many values of a strategy, the same in every run."""
    values: list[T] = []

    @settings(derandomize=True, deadline=None, database=None, max_examples=count)
    @given(strategy)
    def collect(value: T) -> None:
        values.append(value)

    collect()
    return values


def columns_of_the_truth_table() -> list[dict[str, Any]]:
    """Return the metadata that the columns of the matcher's table are about."""
    return [
        {} if column == "absent" else {"f": json.loads(column, parse_int=float)}
        for column in truth_table()[0][1:]
    ]


def truth_table() -> list[list[str]]:
    """Return the table of the matcher's docstring: words by line, the first line the columns."""
    lines = (inspect.getdoc(matcher) or "").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("    filter "))
    return [line.split() for line in lines[start : lines.index("", start)]]


def metadata_of_all_kinds() -> Iterator[Metadata]:
    """Yield the metadata of the rows."""
    yield from columns_of_the_truth_table()
    yield from drawn(METADATA, 100)
    yield from drawn(WILD, 100)
    yield from ({"f": value} for value in (*TRICKY, *EDGES))
    yield from ({name: "a"} for name in TRICKY if len(name.encode()) <= OSS.metadata_key_bytes_max)
    yield {"f": list(EDGES)}
    yield {"f": list(TRICKY)}
    rng = np.random.default_rng(0)
    yield from (oracles.random_metadata(rng) for _ in range(100))


class Rows:
    """Metadata by key, in a collection of a real server and here."""

    def __init__(self, client: MilvusClient, name: str, rows: Mapping[str, Metadata]) -> None:
        """Make the collection and put the rows into it."""
        self.rows = rows
        self._client, self._name = client, name
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field(KEY, DataType.VARCHAR, is_primary=True, max_length=1024)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
        schema.add_field(FILTERABLE, DataType.JSON)
        schema.add_field(HASH, DataType.INT64)
        client.create_collection(name, schema=schema)
        records = [self._record(key, metadata) for key, metadata in rows.items()]
        # Half of them go into a sealed segment and half into a growing one: Milvus reads those by
        # ways of their own.
        client.insert(name, records[::2])
        client.flush(name)
        exact = client.prepare_index_params()
        exact.add_index("vector", index_type="FLAT", metric_type="L2")
        client.create_index(name, exact)
        client.load_collection(name)
        client.insert(name, records[1::2])
        # Reads after this one need not wait for what was put.
        assert self.found(after_expression("", WHOLE), consistency_level="Strong") == rows.keys()

    @staticmethod
    def _record(key: str, metadata: Metadata) -> dict[str, Any]:
        return {
            KEY: key,
            "vector": [0.0, 0.0],
            FILTERABLE: filterable_document(metadata, ()),
            HASH: zlib.crc32(key.encode()),
        }

    def sealed_count(self) -> int:
        """Return how many rows are in sealed segments; Milvus lists no others."""
        return sum(segment.num_rows for segment in self._client.list_loaded_segments(self._name))

    def found(self, said: str, *, consistency_level: str = "Eventually") -> set[str]:
        """Return the keys of the rows that an expression finds."""
        found = self._client.query(
            self._name,
            filter=said,
            output_fields=[KEY],
            limit=16_384,
            consistency_level=consistency_level,
        )
        return {row[KEY] for row in found}

    def check(self, expression: Expression) -> int:
        """Assert that a filter finds what it should, and return how much that is."""
        matches = compile_matcher(expression)
        wanted = {key for key, metadata in self.rows.items() if matches(metadata)}
        assert self.found(boolean_expression(expression)) == wanted, str(expression)
        return len(wanted)
