"""Files of bucket logs: when a new one is made, and what happens when the disk refuses."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from open_files import open_in
from vectorbucket_server.model import BucketLogging
from vectorbucket_server.observability import log_files
from vectorbucket_server.observability.log_files import LinesLost, LogFiles, Place

AUDIT: Place = ("photos", BucketLogging("audit", "app/"))


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now_s = 1_782_911_045.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def files_in(folder: Path, clock: Clock, *, bytes_max: int = 1_000) -> LogFiles:
    numbers = itertools.count()
    return LogFiles(
        folder,
        rotate_s=60,
        bytes_max=bytes_max,
        now_s=clock,
        new_unique=lambda: f"{next(numbers):04}",
    )


def texts(folder: Path) -> list[bytes]:
    """Return what the files hold, in the order in which they were made."""
    made = (path for path in folder.rglob("*") if path.is_file())
    return [path.read_bytes() for path in sorted(made, key=lambda path: path.name[-4:])]


def test_lines_of_a_place_follow_each_other_in_one_file(tmp_path: Path, clock: Clock) -> None:
    files = files_in(tmp_path, clock)
    files.append(AUDIT, [b"one\n", b"two\n"])
    files.append(AUDIT, [b"three\n"])
    assert texts(tmp_path) == [b"one\ntwo\nthree\n"]
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert path == tmp_path / "audit" / "app" / "photos2026-07-01-13-04-05-0000"


def test_lines_are_there_before_the_file_is_closed(tmp_path: Path, clock: Clock) -> None:
    files = files_in(tmp_path, clock)
    files.append(AUDIT, [b"one\n"])
    assert (texts(tmp_path), len(files)) == ([b"one\n"], 1)


def test_every_place_has_a_file_of_its_own(tmp_path: Path, clock: Clock) -> None:
    files = files_in(tmp_path, clock)
    places = [
        ("photos", BucketLogging("audit")),
        ("videos", BucketLogging("audit")),
        ("photos", BucketLogging("audit", "other-")),
    ]
    for number, place in enumerate(places):
        files.append(place, [b"%d\n" % number])
    assert texts(tmp_path) == [b"0\n", b"1\n", b"2\n"]


def test_full_file_is_left_for_a_new_one(tmp_path: Path, clock: Clock) -> None:
    files = files_in(tmp_path, clock, bytes_max=10)
    files.append(AUDIT, [b"123\n", b"456\n", b"789\n"])
    files.append(AUDIT, [b"0\n"])
    files.append(AUDIT, [b"12345\n"])
    assert texts(tmp_path) == [b"123\n456\n", b"789\n0\n", b"12345\n"]


def test_line_longer_than_a_file_has_one_to_itself(tmp_path: Path, clock: Clock) -> None:
    files = files_in(tmp_path, clock, bytes_max=5)
    files.append(AUDIT, [b"1\n", b"123456789\n", b"2\n"])
    assert texts(tmp_path) == [b"1\n", b"123456789\n", b"2\n"]


@pytest.mark.parametrize("step_s", [60.0, -1.0])
def test_file_whose_time_is_over_is_left_for_a_new_one(
    tmp_path: Path, clock: Clock, step_s: float
) -> None:
    files = files_in(tmp_path, clock)
    files.append(AUDIT, [b"one\n"])
    clock.now_s += step_s
    files.append(AUDIT, [b"two\n"])
    assert texts(tmp_path) == [b"one\n", b"two\n"]


def test_file_whose_time_is_over_is_closed_without_a_line(tmp_path: Path, clock: Clock) -> None:
    files = files_in(tmp_path, clock)
    files.append(AUDIT, [b"one\n"])
    clock.now_s += 59
    files.leave_old()
    assert len(files) == 1
    clock.now_s += 1
    files.leave_old()
    assert len(files) == 0


def test_number_of_open_files_is_bounded(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "OPEN_FILES_MAX", 3)
    files = files_in(tmp_path, clock)
    places = [(f"bucket-{number}", BucketLogging("audit")) for number in range(5)]
    for place in places:
        files.append(place, [b"line\n"])
        files.append(places[0], [b"often\n"])
        assert len(files) <= 3
    assert open_in(tmp_path) == 3
    # What is written to often stays open; the others left for each other.
    assert texts(tmp_path).count(b"line\noften\n" + b"often\n" * 4) == 1
    files.close()
    assert open_in(tmp_path) == 0


class Disk:
    """Stands before ``os.write``: takes so many bytes more, then is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free_bytes = 10**9
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, descriptor: int, text: bytes) -> int:
        if not self.free_bytes:
            raise OSError(28, "No space left on device")
        count = self._write(descriptor, text[: self.free_bytes])
        self.free_bytes -= count
        return count


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_what_does_not_fit_on_the_disk_leaves_no_half_line(
    tmp_path: Path, clock: Clock, disk: Disk
) -> None:
    files = files_in(tmp_path, clock)
    files.append(AUDIT, [b"one\n"])
    disk.free_bytes = 6
    with pytest.raises(LinesLost) as caught:
        files.append(AUDIT, [b"two\n", b"three\n"])
    assert caught.value.count == 2
    assert isinstance(caught.value.__cause__, OSError)
    assert texts(tmp_path) == [b"one\n"]
    disk.free_bytes = 10**9
    files.append(AUDIT, [b"four\n"])
    assert texts(tmp_path) == [b"one\nfour\n"]


def test_full_disk_does_not_fill_with_empty_files(tmp_path: Path, clock: Clock, disk: Disk) -> None:
    files = files_in(tmp_path, clock)
    disk.free_bytes = 0
    for _ in range(5):
        with pytest.raises(LinesLost):
            files.append(AUDIT, [b"one\n"])
    assert texts(tmp_path) == [b""]


def test_lines_of_files_that_were_filled_before_the_failure_are_not_counted_as_lost(
    tmp_path: Path, clock: Clock, disk: Disk
) -> None:
    files = files_in(tmp_path, clock, bytes_max=8)
    disk.free_bytes = 8
    with pytest.raises(LinesLost) as caught:
        files.append(AUDIT, [b"one\n", b"two\n", b"three\n"])
    assert caught.value.count == 1
    assert texts(tmp_path) == [b"one\ntwo\n", b""]


def test_file_that_cannot_be_cut_is_left_torn_and_not_written_to_again(
    tmp_path: Path, clock: Clock, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    files = files_in(tmp_path, clock)
    with monkeypatch.context() as broken:
        broken.setattr(os, "ftruncate", refuse)
        disk.free_bytes = 2
        with pytest.raises(LinesLost):
            files.append(AUDIT, [b"one\n"])
    disk.free_bytes = 10**9
    files.append(AUDIT, [b"two\n"])
    assert texts(tmp_path) == [b"on", b"two\n"]


def test_place_that_is_not_safe_loses_its_lines_and_makes_nothing(
    tmp_path: Path, clock: Clock
) -> None:
    files = files_in(tmp_path / "logs", clock)
    (tmp_path / "logs").mkdir()
    with pytest.raises(LinesLost):
        files.append(("photos", BucketLogging("audit", "../../")), [b"one\n"])
    assert [path.name for path in tmp_path.rglob("*")] == ["logs"]


def test_directory_that_is_gone_is_made_again(tmp_path: Path, clock: Clock) -> None:
    files = files_in(tmp_path / "gone", clock)
    files.append(AUDIT, [b"one\n"])
    assert texts(tmp_path / "gone") == [b"one\n"]


def test_folder_that_cannot_be_made_loses_the_lines(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "audit").write_text("a file")
    files = files_in(tmp_path, clock)
    with pytest.raises(LinesLost):
        files.append(AUDIT, [b"one\n"])
    (tmp_path / "audit").unlink()
    files.append(AUDIT, [b"two\n"])
    assert texts(tmp_path) == [b"two\n"]
