"""The disk is looked at, and said to have room or not, in words that a caller can act on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rooms import files_no_longer_than
from vectorbucket_server.engine.embedded.disk_space import DiskSpace

ENORMOUS = 1 << 60
"""More bytes than any disk has."""


def test_disk_with_room_refuses_nothing(tmp_path: Path) -> None:
    for free_bytes_min in (0, 1):
        assert DiskSpace(tmp_path, free_bytes_min).refusal() == ""


def test_free_bytes_are_those_of_the_file_system(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    free_bytes = DiskSpace(tmp_path, 0).free_bytes()
    assert 0 < free_bytes <= found.f_blocks * found.f_frsize


def test_refusal_names_place_bytes_limit_and_what_to_do(tmp_path: Path) -> None:
    refusal = DiskSpace(tmp_path, ENORMOUS).refusal()
    assert f"the disk that holds {tmp_path} has " in refusal
    assert f" bytes left, less than disk_free_bytes_min, {ENORMOUS}; " in refusal
    assert "make some, delete vectors or indexes, or use a larger disk" in refusal


def test_disk_that_does_not_answer_has_no_room(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert DiskSpace(gone, 0).refusal() == "", "it is not asked"
    refusal = DiskSpace(gone, 1).refusal()
    assert refusal.endswith(f"holds {gone} is not known: No such file or directory")


def test_what_would_take_what_the_store_needs_is_not_begun(tmp_path: Path) -> None:
    assert DiskSpace(tmp_path, 0).refusal_of("the checkpoint", ENORMOUS) == ""
    space = DiskSpace(tmp_path, 1_000)
    assert space.refusal_of("the checkpoint", 1_000) == ""
    refusal = space.refusal_of("the checkpoint", ENORMOUS)
    assert refusal.startswith(f"the checkpoint takes {ENORMOUS} bytes, and the disk that holds ")
    assert refusal.endswith(" left, of which 500 are kept for the store")


def test_disk_that_takes_bytes_is_left_as_it_was(tmp_path: Path) -> None:
    DiskSpace(tmp_path, 0).try_out(1_000)
    assert list(tmp_path.iterdir()) == []


def test_disk_without_so_much_room_is_not_tried(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=f"bytes are free, and {ENORMOUS} are needed"):
        DiskSpace(tmp_path, 0).try_out(ENORMOUS)


def test_disk_that_takes_no_bytes_is_noticed_and_left_as_it_was(tmp_path: Path) -> None:
    with files_no_longer_than(100_000), pytest.raises(OSError, match="large"):
        DiskSpace(tmp_path, 0).try_out(1_000)
    assert list(tmp_path.iterdir()) == []
