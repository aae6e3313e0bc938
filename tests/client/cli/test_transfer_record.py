"""The record of how far a transfer has come."""

from __future__ import annotations

from pathlib import Path

import pytest

from vectorbucket.cli.connection import BadInput
from vectorbucket.cli.transfer_record import read_record, write_record

TASK = {"bucket": "photos", "filter": {"n": {"$in": (1, 2)}}}


def test_record_comes_back_for_the_same_task(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    assert read_record(path, TASK) is None
    for count in (1, 2):
        write_record(path, TASK, {"count": count, "last_key": "ö\n"})
        assert read_record(path, TASK) == {"count": count, "last_key": "ö\n"}
    assert [one.name for one in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({**TASK, "bucket": "videos"}, 'its bucket is "photos", now it is "videos"'),
        ({"bucket": "photos"}, 'its filter is {"n": {"$in": [1, 2]}}, now it is null'),
        ({**TASK, "data": True}, "its data is null, now it is true"),
    ],
    ids=["another", "less", "more"],
)
def test_record_of_another_task_is_refused(
    tmp_path: Path, task: dict[str, object], words: str
) -> None:
    path = tmp_path / "record.json"
    write_record(path, TASK, {})
    with pytest.raises(BadInput) as caught:
        read_record(path, task)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version":1,"task":1}'])
def test_record_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(BadInput, match="cannot be read as the record of an unfinished transfer"):
        read_record(path, TASK)


def test_record_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text('{"version": 2, "task": {}, "done": {}}')
    with pytest.raises(BadInput, match="has version 2; this program knows version 1"):
        read_record(path, {})
