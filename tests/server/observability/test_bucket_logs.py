"""Bucket logging: lines, and what happens to them when the disk or the queue is full."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rooms import WITHIN_S
from stubborn import eventually
from vectorbucket_server.model import BucketLogging
from vectorbucket_server.observability import bucket_logs
from vectorbucket_server.observability.bucket_logs import BucketLogs
from vectorbucket_server.observability.logs import CallRecord

AUDIT = BucketLogging("audit", "app/")
MOMENT_S = 1_782_911_045.75

Lines = Callable[[], list[dict[str, Any]]]


def record_of(number: int = 0, **fields: Any) -> CallRecord:
    return CallRecord(f"{number:024X}", "QueryVectors", code="OK", **fields)


@pytest.fixture
def told() -> list[str]:
    """What the operator was told."""
    return []


@pytest.fixture
def logs(tmp_path: Path, told: list[str]) -> Iterator[BucketLogs]:
    numbers = itertools.count()
    logs = BucketLogs(
        tmp_path / "logs",
        rotate_s=3600,
        bytes_max=10**6,
        now_s=lambda: MOMENT_S,
        new_unique=lambda: f"{next(numbers):04}",
        on_failure=told.append,
    )
    yield logs
    logs.close()


@pytest.fixture
def lines(tmp_path: Path) -> Lines:
    """Return the lines of all files, those of one file in their order."""

    def read() -> list[dict[str, Any]]:
        made = sorted(path for path in (tmp_path / "logs").rglob("*") if path.is_file())
        return [json.loads(line) for path in made for line in path.read_text().splitlines()]

    return read


class SlowDisk:
    """Stands before ``os.write``: waits while it is shut, and refuses while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.full = False
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, descriptor: int, text: bytes) -> int:
        self.entered.set()
        assert self.open.wait(WITHIN_S)
        if self.full:
            raise OSError(28, "No space left on device")
        return self._write(descriptor, text)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.open.set()


def test_line_says_who_did_what_to_what_and_with_what_outcome(
    logs: BucketLogs, lines: Lines
) -> None:
    record = CallRecord(
        "0123456789ABCDEF01234567",
        "PutVectors",
        principal="writer",
        peer="ipv4:192.0.2.7:50051",
        bucket="photos",
        index_name="faces",
        batch_count=3,
        rejected_batch_count=1,
        vector_count=20,
        request_bytes=4_000,
        code="PERMISSION_DENIED",
        reason="AccessDenied",
        message="not for your eyes",
        latency_ms=1.5,
    )
    logs.note(record, "photos", AUDIT)
    logs.close()
    assert lines() == [
        {
            "time": "2026-07-01T13:04:05.750Z",
            "request_id": "0123456789ABCDEF01234567",
            "principal": "writer",
            "remote_address": "192.0.2.7:50051",
            "method": "PutVectors",
            "bucket": "photos",
            "index_name": "faces",
            "batch_count": 3,
            "rejected_batch_count": 1,
            "vector_count": 20,
            "query_count": 0,
            "request_bytes": 4_000,
            "code": "PERMISSION_DENIED",
            "reason": "AccessDenied",
            "latency_ms": 1.5,
        }
    ]


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.7:1", "192.0.2.7:1"),
        ("ipv6:%5B::1%5D:1", "[::1]:1"),
        ("unix:/run/x", "unix:/run/x"),
        ("", ""),
    ],
)
def test_address_is_one_that_people_write(
    logs: BucketLogs, lines: Lines, peer: str, address: str
) -> None:
    logs.note(record_of(peer=peer), "photos", AUDIT)
    logs.close()
    assert lines()[0]["remote_address"] == address


def test_name_without_an_end_is_cut_and_a_torn_one_stays_one_line(
    logs: BucketLogs, lines: Lines
) -> None:
    logs.note(record_of(index_name='a\n"b\x00' + "x" * 10**6), "photos", AUDIT)
    logs.close()
    (line,) = lines()
    assert line["index_name"].startswith('a\n"b\x00x')
    assert len(line["index_name"]) == bucket_logs.TEXT_CHARACTERS_MAX


def test_file_is_where_the_logging_says(logs: BucketLogs, tmp_path: Path) -> None:
    logs.note(record_of(), "photos", AUDIT)
    logs.close()
    made = tmp_path / "logs" / "audit" / "app" / "photos2026-07-01-13-04-05-0000"
    assert made.is_file()


def test_lines_arrive_without_anybody_closing(logs: BucketLogs, lines: Lines) -> None:
    logs.note(record_of(1), "photos", AUDIT)
    eventually(lambda: len(lines()) == 1)
    logs.note(record_of(2), "photos", AUDIT)
    eventually(lambda: len(lines()) == 2)


def test_many_callers_at_once_lose_nothing(logs: BucketLogs, lines: Lines, told: list[str]) -> None:
    def call(start: int) -> None:
        for number in range(start, start + 500):
            logs.note(record_of(number), "photos", AUDIT)

    callers = [threading.Thread(target=call, args=(500 * n,)) for n in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(WITHIN_S)
    logs.close()
    assert {line["request_id"] for line in lines()} == {f"{n:024X}" for n in range(2_000)}
    assert told == []


def test_note_returns_while_the_disk_hangs(logs: BucketLogs, lines: Lines, disk: SlowDisk) -> None:
    for number in range(100):
        logs.note(record_of(number), "photos", AUDIT)
    assert disk.entered.wait(WITHIN_S)
    assert lines() == []
    disk.open.set()
    logs.close()
    assert len(lines()) == 100


def test_lines_that_find_the_queue_full_are_counted_and_told_of_once(
    logs: BucketLogs,
    lines: Lines,
    disk: SlowDisk,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bucket_logs, "QUEUE_LINES_MAX", 10)
    logs.note(record_of(0), "photos", AUDIT)
    assert disk.entered.wait(WITHIN_S)
    for number in range(1, 18):
        logs.note(record_of(number), "photos", AUDIT)
    assert told == ["lines of bucket logs are being lost: 10 lines wait already"]
    disk.open.set()
    eventually(lambda: len(lines()) == 12)
    logs.note(record_of(99), "photos", AUDIT)
    eventually(lambda: len(told) == 2)
    assert told[1] == "lines of bucket logs are written again; 7 were lost"
    logs.close()
    assert [line["lost_lines"] for line in lines() if "lost_lines" in line] == [7]
    assert [line["request_id"] for line in lines() if "request_id" in line] == [
        f"{number:024X}" for number in [*range(11), 99]
    ]


def test_lines_that_the_disk_refuses_are_counted_until_it_takes_some_again(
    logs: BucketLogs, lines: Lines, disk: SlowDisk, told: list[str]
) -> None:
    disk.full = True
    disk.open.set()
    for number in range(3):
        disk.entered.clear()
        logs.note(record_of(number), "photos", AUDIT)
        assert disk.entered.wait(WITHIN_S)
    eventually(lambda: len(told) == 1)
    assert told == ["lines of bucket logs are being lost: [Errno 28] No space left on device"]
    eventually(lambda: sum(logs._lost.values()) == 3)
    disk.full = False
    logs.note(record_of(3), "photos", AUDIT)
    eventually(lambda: len(told) == 2)
    assert told[1] == "lines of bucket logs are written again; 3 were lost"
    logs.close()
    gap, line = lines()
    assert gap == {"time": "2026-07-01T13:04:05.750Z", "bucket": "photos", "lost_lines": 3}
    assert line["request_id"] == f"{3:024X}"


def test_place_that_cannot_be_written_takes_nothing_from_the_others(
    logs: BucketLogs, lines: Lines, told: list[str]
) -> None:
    logs.note(record_of(1), "photos", BucketLogging("audit", "../"))
    logs.note(record_of(2), "videos", BucketLogging("audit"))
    logs.close()
    assert [line["request_id"] for line in lines()] == [f"{2:024X}"]
    assert "'..'" in told[0]


def test_closing_twice_or_unused_is_nothing(logs: BucketLogs, lines: Lines) -> None:
    logs.close()
    logs.close()
    logs.note(record_of(), "photos", AUDIT)
    assert lines() == []


def test_nothing_is_made_before_there_is_a_line(logs: BucketLogs, tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
    before = threading.active_count()
    logs.note(record_of(), "photos", AUDIT)
    assert threading.active_count() == before + 1
    logs.close()
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_directory_that_cannot_be_made_is_told(
    logs: BucketLogs, tmp_path: Path, told: list[str]
) -> None:
    (tmp_path / "logs").write_text("a file")
    logs.note(record_of(), "photos", AUDIT)
    logs.close()
    assert len(told) == 1
    assert "logs" in told[0]
