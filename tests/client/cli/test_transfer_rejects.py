"""The file of rows that could not be put."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from vectorbucket.cli.rows import BadRow, Row
from vectorbucket.cli.transfer_rejects import Rejects, bad_row


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_row_is_written_with_place_reason_and_text(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    rejects = Rejects(path, "line", 0)
    assert not path.exists()
    rejects.write(BadRow(3, "data", "data has 1 numbers", "a", '{"key": "a\ud800"}'))
    rejects.write(BadRow(4, "", "is no JSON"))
    rejects.close()
    assert rejects.count == 2
    assert lines(path) == [
        {
            "line": 3,
            "field": "data",
            "reason": "data has 1 numbers",
            "key": "a",
            "text": '{"key": "a\ud800"}',
        },
        {"line": 4, "field": "", "reason": "is no JSON"},
    ]


def test_row_that_the_server_refused_can_be_imported_from_its_text() -> None:
    row = Row(7, "a", np.array([1, 0.1], np.float32), {"n": 1})
    bad = bad_row(row, "data", "data is a zero vector")
    assert (bad.number, bad.field, bad.problem, bad.key) == (
        7,
        "data",
        "data is a zero vector",
        "a",
    )
    assert json.loads(bad.raw or "") == {
        "key": "a",
        "data": {"float32": [1, 0.1]},
        "metadata": {"n": 1},
    }


def test_resumed_file_keeps_what_was_done_and_drops_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    rejects = Rejects(path, "row", 0)
    for number in (2, 9, 5, 10):
        rejects.write(BadRow(number, "key", "key is missing"))
    rejects.flush()
    rejects.close()
    with path.open("a") as torn:
        torn.write('{"row": 1, "fie')
    resumed = Rejects(path, "row", 9)
    assert resumed.count == 3
    resumed.write(BadRow(11, "key", "key is missing"))
    resumed.close()
    assert [line["row"] for line in lines(path)] == [2, 9, 5, 11]
    assert resumed.count == 4


def test_new_run_begins_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    path.write_text("of an earlier run\n")
    assert Rejects(path, "row", 0).count == 0
    assert not path.exists()
    assert Rejects(path, "row", 5).count == 0
