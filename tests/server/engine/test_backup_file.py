"""What ``backup.json`` says is what is there, and nothing in it leads elsewhere."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from vectorbucket_server.engine import backup_file as module
from vectorbucket_server.engine.backup_file import (
    BACKUP_FILE,
    BadBackup,
    FileFacts,
    copy_file,
    difference,
    held_alone,
    make_folder,
    measure,
    read_backup_file,
    sync_path,
    write_backup_file,
)

CREATE_MS = 1_700_000_000_123


@pytest.fixture(name="folder")
def fixture_folder(tmp_path: Path) -> Path:
    """Return a folder with two files, one of them in a folder of its own."""
    folder = tmp_path / "made"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "long").write_bytes(bytes(range(256)) * 40)
    (folder / "empty").write_bytes(b"")
    return folder


def test_what_was_written_is_read_again(folder: Path) -> None:
    written = write_backup_file(folder, version="1.2.3", create_ms=CREATE_MS)
    assert read_backup_file(folder) == written
    assert (written.version, written.create_ms) == ("1.2.3", CREATE_MS)
    assert written.size_bytes == 10_240


def test_file_is_the_documented_json(folder: Path) -> None:
    write_backup_file(folder, version="1.2.3", create_ms=CREATE_MS)
    content = (folder / "a" / "long").read_bytes()
    assert json.loads((folder / BACKUP_FILE).read_text()) == {
        "format": 1,
        "version": "1.2.3",
        "create_ms": CREATE_MS,
        "files": {
            "a/long": {"size_bytes": 10_240, "crc32": zlib.crc32(content)},
            "empty": {"size_bytes": 0, "crc32": 0},
        },
    }


def test_backup_file_never_names_itself(folder: Path) -> None:
    write_backup_file(folder, version="1", create_ms=1)
    assert BACKUP_FILE not in write_backup_file(folder, version="1", create_ms=1).files


def test_folder_without_the_file_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(BadBackup, match=r"is no backup: it has no backup\.json"):
        read_backup_file(tmp_path)


def test_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / BACKUP_FILE).mkdir()
    with pytest.raises(BadBackup, match="cannot be read: Is a directory"):
        read_backup_file(tmp_path)


GOOD: dict[str, Any] = {
    "format": 1,
    "version": "1",
    "create_ms": 5,
    "files": {"x": {"size_bytes": 1, "crc32": 2}},
}


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"7",
        b"[" * 100_000,
        *(
            json.dumps({**GOOD, **wrong}).encode()
            for wrong in (
                {"format": 0},
                {"format": "1"},
                {"version": 1},
                {"create_ms": -1},
                {"create_ms": "5"},
                {"create_ms": True},
                {"files": ["x"]},
                {"files": {"x": 1}},
                {"files": {"x": {"size_bytes": 1}}},
                {"files": {"x": {"size_bytes": 1.5, "crc32": 2}}},
            )
        ),
        *(
            json.dumps({name: GOOD[name] for name in GOOD if name != left_out}).encode()
            for left_out in GOOD
        ),
    ],
    ids=range(20),
)
def test_file_that_says_anything_else_is_damaged(tmp_path: Path, said: bytes) -> None:
    (tmp_path / BACKUP_FILE).write_bytes(said)
    with pytest.raises(BadBackup, match=r"backup\.json is damaged"):
        read_backup_file(tmp_path)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../../x", "", "a\0b", "\ud800"], ids=range(6)
)
def test_no_path_leads_out_of_the_backup(tmp_path: Path, path: str) -> None:
    said = {**GOOD, "files": {path: {"size_bytes": 1, "crc32": 2}}}
    (tmp_path / BACKUP_FILE).write_text(json.dumps(said))
    with pytest.raises(BadBackup, match="damaged: ValueError at path"):
        read_backup_file(tmp_path)


def test_newer_format_is_told_apart_from_damage(tmp_path: Path) -> None:
    (tmp_path / BACKUP_FILE).write_text(json.dumps({"format": 2}))
    with pytest.raises(BadBackup, match="format 2; this server reads up to 1: restore it with"):
        read_backup_file(tmp_path)


@pytest.mark.parametrize("part_bytes", [1, 7, 10_240, 1 << 20])
def test_parts_make_no_difference(
    folder: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    monkeypatch.setattr(module, "_READ_BYTES", part_bytes)
    source, target = folder / "a" / "long", folder / "copy"
    content = source.read_bytes()
    whole = FileFacts(len(content), zlib.crc32(content))
    assert measure(source) == whole
    assert copy_file(source, target) == whole
    assert target.read_bytes() == content


@pytest.mark.parametrize("size_bytes", [0, 1, 5_000, 10_240, 20_000])
def test_copy_goes_as_far_as_it_is_told(folder: Path, size_bytes: int) -> None:
    source, target = folder / "a" / "long", folder / "copy"
    content = source.read_bytes()[:size_bytes]
    assert copy_file(source, target, size_bytes) == FileFacts(len(content), zlib.crc32(content))
    assert target.read_bytes() == content


def test_copy_may_be_read_by_the_same_people(folder: Path) -> None:
    source = folder / "empty"
    source.chmod(0o600)
    copy_file(source, folder / "copy")
    assert (folder / "copy").stat().st_mode & 0o777 == 0o600


def test_copy_is_as_old_as_what_was_copied(folder: Path) -> None:
    source = folder / "a" / "long"
    os.utime(source, ns=(5, 1_700_000_000_123_456_789))
    copy_file(source, folder / "copy")
    assert (folder / "copy").stat().st_mtime_ns == 1_700_000_000_123_456_789


def test_whoever_has_gone_is_seen_at_each_part(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ_BYTES", 1_000)
    source, looks = folder / "a" / "long", iter(range(5))
    with pytest.raises(StopIteration):
        copy_file(source, folder / "copy", check=lambda: next(looks))
    assert (folder / "copy").stat().st_size == 5_000
    for work in (
        lambda: measure(source, lambda: next(looks)),
        lambda: write_backup_file(folder, version="1", create_ms=1, check=lambda: next(looks)),
    ):
        with pytest.raises(StopIteration):
            work()
    assert not (folder / BACKUP_FILE).exists()


def test_copy_never_overwrites(folder: Path) -> None:
    with pytest.raises(FileExistsError):
        copy_file(folder / "empty", folder / "a" / "long")
    assert (folder / "a" / "long").stat().st_size == 10_240


def test_difference_is_told_in_words() -> None:
    facts = FileFacts(5, 0xAB)
    assert difference(facts, facts) is None
    assert difference(FileFacts(4, 0xAB), facts) == "has 4 bytes, not 5"
    assert difference(FileFacts(5, 0xAC), facts) == "has checksum 000000ac, not 000000ab"


def test_sync_of_what_is_not_there_fails(tmp_path: Path) -> None:
    sync_path(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_path(tmp_path / "nowhere")


def test_folders_are_made_with_those_above_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(module, "sync_path", synced.append)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert synced == [tmp_path, tmp_path / "a"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def test_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with held_alone(tmp_path) as first:
        with held_alone(tmp_path) as second:
            assert (first, second) == (True, False)
        with held_alone(tmp_path) as third:
            assert not third
    with held_alone(tmp_path) as last:
        assert last


def test_folder_without_locks_is_held_by_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module.fcntl, "flock", refuse)  # type: ignore[attr-defined]
    with held_alone(tmp_path) as alone:
        assert alone
