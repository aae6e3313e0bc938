"""Rows: what a file may say, and how what is wrong with it is named."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from vectorbucket.cli.rows import BadRow, Row, row_of, rows_of_columns

GOOD = ("a", [1, 2.5], {"n": 1, "t": ["x", True, 2.5], "s": "ö"})


def test_good_row_has_what_the_file_says() -> None:
    row = row_of(7, GOOD, 2)
    assert isinstance(row, Row)
    assert (row.number, row.key, row.metadata) == (7, "a", GOOD[2])
    assert row.data.dtype == np.float32
    assert row.data.tolist() == [1, 2.5]


def test_data_may_stand_in_the_member_that_oss_gives_it() -> None:
    row = row_of(1, ("a", {"float32": [1, 2]}, None), 2)
    assert isinstance(row, Row)
    assert row.data.tolist() == [1, 2]
    assert row.metadata is None


BAD: dict[str, tuple[tuple[Any, Any, Any], str, str]] = {
    "no key": ((None, [1, 2], None), "key", "key is missing"),
    "key of another kind": ((7, [1, 2], None), "key", "key is a number; it must be text"),
    "half a character": (("\ud800", [1, 2], None), "key", "key is no Unicode text"),
    "no data": (("a", None, None), "data", "data is missing"),
    "short": (("a", [1], None), "data", "data has 1 numbers; the index takes 2"),
    "NaN": (("a", [1, float("nan")], None), "data", "holds nan at position 1"),
    "too large": (("a", [1, 1e39], None), "data", "holds 1e+39 at position 1"),
    "text": (("a", ["1", "2"], None), "data", "it must hold numbers"),
    "nested": (("a", [[1, 2]], None), "data", "it must be a list of numbers"),
    "other member": (("a", {"float64": [1, 2]}, None), "data", "it must be 'float32' alone"),
    "metadata of another kind": (("a", [1, 2], [1]), "metadata", "is a list"),
    "null": (("a", [1, 2], {"x": None}), "metadata.x", "is None"),
    "object": (("a", [1, 2], {"x": {}}), "metadata.x", "is a dict"),
    "list in a list": (("a", [1, 2], {"x": [1, []]}), "metadata.x[1]", "is a list"),
    "large integer": (("a", [1, 2], {"x": 2**53 + 1}), "metadata.x", "exact within"),
    "half a value": (("a", [1, 2], {"x": "\ud800"}), "metadata", "no Unicode text"),
    "half a name": (("a", [1, 2], {"\ud800": 1}), "metadata", "no Unicode text"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_row_names_its_field(case: str) -> None:
    parts, field, words = BAD[case]
    row = row_of(3, parts, 2)
    assert isinstance(row, BadRow)
    assert (row.number, row.field) == (3, field)
    assert words in row.problem
    assert row.key == (parts[0] if isinstance(parts[0], str) else None)


def test_columns_are_rows_and_a_bad_one_spoils_no_other() -> None:
    data = np.array([[1, 2], [np.nan, 0], [3, 4], [5, 6], [7, 8], [1e39, 0]])
    keys = ["a", "b", None, "d", "e", "f"]
    metadata = [json.dumps({"n": 1}), None, None, "{", json.dumps({"x": None}), ""]
    rows = list(rows_of_columns(11, keys, data, metadata))
    assert [row.number for row in rows] == list(range(11, 17))
    first = rows[0]
    assert isinstance(first, Row)
    assert (first.key, first.data.tolist(), first.metadata) == ("a", [1, 2], {"n": 1})
    problems = [(row.key, row.field) for row in rows if isinstance(row, BadRow)]
    assert problems == [
        ("b", "data"),
        (None, "key"),
        ("d", "metadata"),
        ("e", "metadata.x"),
        ("f", "data"),
    ]


def test_column_of_metadata_is_json_without_nan() -> None:
    (row,) = rows_of_columns(1, ["a"], np.ones((1, 2)), ['{"x": NaN}'])
    assert isinstance(row, BadRow)
    assert row.problem == "metadata is no JSON: it holds NaN; numbers must be finite"
    (row,) = rows_of_columns(1, ["a"], np.ones((1, 2)), ["[" * 100_000])
    assert isinstance(row, BadRow)
    assert row.field == "metadata"


@pytest.mark.parametrize("kind", ["<f2", "<f8", ">f4", "<i4", "u1"])
def test_numbers_of_any_type_become_float32(kind: str) -> None:
    data = np.array([[1, 2], [3, 4]], kind)
    rows = list(rows_of_columns(1, ["a", "b"], data, [None, None]))
    assert [row.data.tolist() for row in rows if isinstance(row, Row)] == [[1, 2], [3, 4]]
    assert all(row.data.dtype == np.dtype("<f4") for row in rows if isinstance(row, Row))
