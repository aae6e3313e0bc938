"""The folder of backups: complete ones alone, under names that lead nowhere else.

The engine that writes them is a small one of this file; what the real one writes is tested in
tests/server/engine/embedded/test_backup.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rooms import WITHIN_S, GivenUp, refused, running
from vectorbucket.errors import (
    BackupAlreadyExist,
    InvalidArgument,
    MethodNotAllowed,
    NoSuchBackup,
    QpsLimitExceeded,
    RequestTimeout,
    ServiceUnavailable,
)
from vectorbucket_server.engine.backup_file import BACKUP_FILE, read_backup_file
from vectorbucket_server.engine.base import NO_DEADLINE, Capabilities, Deadline
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.service.backups import BackupInfo, Backups

NOW_MS = 1_700_000_000_000


class Writing(MemoryEngine):
    """An engine whose backup is one file, and that does as it is told first."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[Path], object] = lambda _: None

    @property
    def capabilities(self) -> Capabilities:
        """With backups."""
        return replace(super().capabilities, backups=True)

    def back_up(self, directory: Path, *, deadline: Deadline = NO_DEADLINE) -> None:
        """Write the file."""
        assert list(directory.iterdir()) == []
        self.before(directory)
        deadline.check()
        (directory / "store").write_bytes(b"everything")


@pytest.fixture(name="engine")
def fixture_engine() -> Writing:
    """Return the engine."""
    return Writing()


@pytest.fixture(name="backups")
def fixture_backups(engine: Writing, tmp_path: Path) -> Backups:
    """Return the folder, which does not exist yet."""
    return Backups(engine, tmp_path / "deep" / "backups", lambda: NOW_MS)


@pytest.fixture(name="folder")
def fixture_folder(tmp_path: Path) -> Path:
    """Return where it is."""
    return tmp_path / "deep" / "backups"


def test_backup_is_told_as_it_is(backups: Backups, folder: Path) -> None:
    info = backups.put("monday")
    assert info == BackupInfo("monday", NOW_MS, len(b"everything"), folder / "monday")
    assert (folder / "monday" / "store").read_bytes() == b"everything"
    assert read_backup_file(folder / "monday").create_ms == NOW_MS


def test_time_is_that_of_the_beginning(engine: Writing, folder: Path) -> None:
    times = iter(range(5, 100))
    backups = Backups(engine, folder, lambda: next(times))
    engine.before = lambda _: next(times)
    assert backups.put("a").create_ms == 5


def test_no_backups_are_an_empty_list(backups: Backups, folder: Path) -> None:
    assert backups.list() == []
    assert not folder.exists()


def test_list_is_in_the_order_of_names(backups: Backups) -> None:
    for name in ("b", "a", "C", "a.1", "0"):
        backups.put(name)
    assert [one.name for one in backups.list()] == ["0", "C", "a", "a.1", "b"]
    assert backups.list()[2] == replace(backups.list()[4], name="a", path=backups.list()[2].path)


def test_what_is_no_backup_is_not_listed(backups: Backups, folder: Path) -> None:
    backups.put("good")
    (folder / "empty").mkdir()
    (folder / "file").write_text("x")
    (folder / "damaged").mkdir()
    (folder / "damaged" / BACKUP_FILE).write_text("{")
    for name in ("a.partial", ".hidden"):
        (folder / "good").rename(folder / name)
        assert backups.list() == []
        (folder / name).rename(folder / "good")
    assert [one.name for one in backups.list()] == ["good"]


def test_folder_that_cannot_be_read_is_told(engine: Writing, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ServiceUnavailable, match="folder of backups cannot be read: Not a dir"):
        Backups(engine, tmp_path / "file", lambda: 1).list()


@pytest.mark.parametrize("name", ["a", "0", "A-b_c.d", "x" * 63, "2026-11-21", "partial", "a..b"])
def test_legal_names_are_taken(backups: Backups, folder: Path, name: str) -> None:
    assert backups.put(name).path == folder / name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a/b", "/etc", "../a", "-a", "_a", ".a", "a b", "a\n", "ä", "x" * 64),
        *("a.partial", "a\0", "x" * 10_000),
    ],
    ids=range(16),
)
def test_other_names_are_refused_everywhere(backups: Backups, folder: Path, name: str) -> None:
    for call in (backups.put, backups.delete):
        with pytest.raises(InvalidArgument, match="name of a backup is") as caught:
            call(name)
        assert caught.value.field == "name"
        assert len(caught.value.message) < 300
    assert not folder.exists()


def test_name_can_be_taken_once(backups: Backups) -> None:
    backups.put("a")
    with pytest.raises(BackupAlreadyExist, match="'a'"):
        backups.put("a")
    backups.delete("a")
    backups.put("a")


def test_name_of_any_file_is_taken(backups: Backups, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "a").write_text("mine")
    with pytest.raises(BackupAlreadyExist):
        backups.put("a")
    assert (folder / "a").read_text() == "mine"


def test_engine_without_backups_is_not_asked(folder: Path) -> None:
    with pytest.raises(MethodNotAllowed, match="makes no backups"):
        Backups(MemoryEngine(), folder, lambda: 1).put("a")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device"), "'a': the disk refused: No space left on device"),
        (ServiceUnavailable("the store is gone"), "the store is gone"),
        (KeyboardInterrupt("stopped"), "stopped"),
    ],
    ids=["disk", "store", "interrupt"],
)
def test_failure_leaves_nothing(
    backups: Backups,
    engine: Writing,
    folder: Path,
    error: BaseException,
    expected: str,
) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").write_bytes(b"x")
        raise error

    engine.before = fail
    with pytest.raises((ServiceUnavailable, KeyboardInterrupt), match=expected):
        backups.put("a")
    assert list(folder.iterdir()) == []
    engine.before = lambda _: None
    assert backups.put("a").name == "a"


def test_leftovers_of_a_killed_process_make_room(backups: Backups, folder: Path) -> None:
    strangers = ["..partial", "-.partial", ".partial", "a.partial.old", "notes"]
    for name in ("a.partial", ".a.partial", "monday.partial", ".tuesday.partial", *strangers):
        (folder / name / "store").mkdir(parents=True)
    assert backups.list() == []
    backups.put("a")
    assert sorted(path.name for path in folder.iterdir()) == sorted(["a", *strangers])


def test_deleting_that_was_killed_is_finished_by_the_next(backups: Backups, folder: Path) -> None:
    backups.put("a")
    (folder / ".a.partial" / "store").mkdir(parents=True)
    backups.delete("a")
    assert list(folder.iterdir()) == []


def test_folder_of_another_server_that_makes_one_is_left_alone(
    backups: Backups, engine: Writing, folder: Path
) -> None:
    other = Backups(Writing(), folder, lambda: 1)
    refusals: list[object] = []
    engine.before = lambda _: refusals.append(refused(lambda: other.put("a")))
    backups.put("a")
    assert [type(one) for one in refusals] == [QpsLimitExceeded]
    assert other.put("b").name == "b"


@pytest.mark.parametrize("ends", ["engine", "list of files"])
def test_caller_who_has_gone_leaves_nothing(backups: Backups, folder: Path, ends: str) -> None:
    class Gone(GivenUp):
        looks_left = 0 if ends == "engine" else 1

        def check(self) -> None:
            if not self.looks_left:
                super().check()
            self.looks_left -= 1

    with pytest.raises(RequestTimeout):
        backups.put("a", deadline=Gone())
    assert list(folder.iterdir()) == []


def test_backup_has_its_name_only_when_it_is_complete(
    backups: Backups, engine: Writing, folder: Path
) -> None:
    seen = []
    engine.before = lambda directory: seen.append(
        (directory.name, backups.list(), (folder / "a").exists())
    )
    backups.put("a")
    assert seen == [("a.partial", [], False)]


def test_one_backup_is_made_at_a_time(backups: Backups, engine: Writing) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(_: Path) -> None:
        begun.set()
        assert go_on.wait(WITHIN_S)

    engine.before = wait
    with running(lambda: backups.put("a")):
        assert begun.wait(WITHIN_S)
        second = refused(lambda: backups.put("b"))
        missing = refused(lambda: backups.delete("a"))
        go_on.set()
    assert isinstance(second, QpsLimitExceeded)
    assert "another backup is being made" in second.message
    assert second.retry_after_s == 5.0
    assert isinstance(missing, NoSuchBackup)
    assert [one.name for one in backups.list()] == ["a"]


def test_deleted_backup_is_gone_from_the_disk(backups: Backups, folder: Path) -> None:
    backups.put("a")
    backups.put("b")
    backups.delete("a")
    assert [path.name for path in folder.iterdir()] == ["b"]
    with pytest.raises(NoSuchBackup, match="'a'"):
        backups.delete("a")


@pytest.mark.parametrize("name", ["folder", "file"])
def test_what_is_no_backup_is_not_deleted(backups: Backups, folder: Path, name: str) -> None:
    (folder / "folder").mkdir(parents=True)
    (folder / "file").write_text("mine")
    with pytest.raises(NoSuchBackup):
        backups.delete(name)
    assert (folder / name).exists()


def test_damaged_backup_can_be_deleted(backups: Backups, folder: Path) -> None:
    backups.put("a")
    (folder / "a" / BACKUP_FILE).write_text("{")
    backups.delete("a")
    assert list(folder.iterdir()) == []


def test_disk_that_refuses_to_delete_is_told(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups.put("a")

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(ServiceUnavailable, match="'a': the disk refused: Read-only"):
            backups.delete("a")
    assert [one.name for one in backups.list()] == ["a"]
