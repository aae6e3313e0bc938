"""What was made of files stays in force until a change of them is good, whatever they hold.

Method: the clock is the test's; nothing waits. Of real files that change there is more in
test_credentials_file.py and tests/server/test_tls.py.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from vectorbucket_server.auth.watched_files import (
    FILE_BYTES_MAX,
    UnusableFile,
    Watched,
    content_of,
    stamp_of,
)


class Shelf:
    """What stands there, which may be no good; watched, with a clock and all that was told."""

    def __init__(self) -> None:
        self.stamp = 0
        self.content = "a"
        self.faults: dict[str, Exception] = {}
        self.calls: list[str] = []
        self.made: list[tuple[str, str | None]] = []
        self.failures: list[str] = []
        self.now_s = 100.0
        self.watched: Watched[str, str] = Watched(
            stamp=lambda: self._seen("stamp", self.stamp),
            read=lambda: self._seen("read", self.content),
            make=self._make,
            fault=UnusableFile,
            on_failure=lambda error: self.failures.append(str(error)),
            clock=lambda: self.now_s,
            look_again_s=1.0,
        )

    def _seen(self, what: str, found: object) -> str:
        self.calls.append(what)
        if what in self.faults:
            raise self.faults[what]
        return str(found)

    def _make(self, content: str, before: str | None) -> str:
        self._seen("make", content)
        self.made.append((content, before))
        return content.upper()

    def put(self, content: str) -> None:
        """Put something else there."""
        self.content = content
        self.stamp += 1

    def later(self, seconds: float = 1.0) -> str:
        """Return what is in force when some time has passed."""
        self.now_s += seconds
        return self.watched.current()


@pytest.fixture
def shelf() -> Shelf:
    """A shelf with an ``a`` on it."""
    return Shelf()


# --- One file -----------------------------------------------------------------------------------


def test_file_that_was_written_or_replaced_has_another_stamp(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"one")
    stamps = [stamp_of(path)]
    assert stamp_of(path) == stamps[0]
    path.write_bytes(b"three")
    stamps.append(stamp_of(path))
    other.write_bytes(b"three")
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    other.replace(path)
    stamps.append(stamp_of(path))
    assert len(set(stamps)) == 3


def test_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * FILE_BYTES_MAX)
    assert content_of(path) == path.read_bytes()
    path.write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    with pytest.raises(UnusableFile, match=rf"^has over {FILE_BYTES_MAX} bytes$"):
        content_of(path)


@pytest.mark.parametrize("look", [stamp_of, content_of], ids=["stamp", "content"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        (Path.mkdir, "is no file"),
        (os.mkfifo, "is no file"),
    ],
    ids=["nothing", "folder", "pipe"],
)
def test_what_is_no_file_is_told_and_never_waited_for(
    tmp_path: Path,
    look: Callable[[Path], object],
    make: Callable[[Path], object] | None,
    words: str,
) -> None:
    path = tmp_path / "file"
    if make is not None:
        make(path)
    with pytest.raises(UnusableFile, match=f"^{words}$"):
        look(path)


def test_file_that_may_not_be_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptor(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    path = tmp_path / "file"
    path.write_bytes(b"x")
    monkeypatch.setattr(Path, "open", no_descriptor)
    with pytest.raises(UnusableFile, match=r"^cannot be read: Too many open files$"):
        content_of(path)


# --- Changes ------------------------------------------------------------------------------------


def test_change_is_made_of_what_was_before(shelf: Shelf) -> None:
    assert shelf.watched.current() == "A"
    shelf.put("b")
    assert [shelf.later(), shelf.later()] == ["B", "B"]
    assert shelf.made == [("a", None), ("b", "A")]


def test_same_content_is_not_made_again(shelf: Shelf) -> None:
    first = shelf.watched.current()
    shelf.put("a")
    assert shelf.later() is first
    assert len(shelf.made) == 1


def test_change_is_read_once_more_and_then_no_more(shelf: Shelf) -> None:
    for _ in range(5):
        shelf.later()
    assert shelf.calls.count("read") == 2, "at first, and once the clock of the disk went on"
    shelf.put("b")
    for _ in range(5):
        shelf.later()
    assert shelf.calls.count("read") == 4


def test_second_change_that_looks_like_the_first_is_found_at_the_next_look(shelf: Shelf) -> None:
    shelf.put("b")
    assert shelf.later() == "B"
    shelf.content = "c"
    assert shelf.later() == "C"


def test_files_are_looked_at_once_in_a_while(shelf: Shelf) -> None:
    shelf.calls.clear()
    shelf.put("b")
    assert shelf.later(0.9) == "A"
    assert shelf.calls == []
    assert shelf.later(0.1) == "B"
    shelf.calls.clear()
    for _ in range(80):
        shelf.later(0.0625)
    assert shelf.calls.count("stamp") == 5


# --- What cannot be used ------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["stamp", "read", "make"])
def test_what_cannot_be_used_at_first_is_raised(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Shelf._seen

    def fail(shelf: Shelf, what: str, found: object) -> str:
        if what == where:
            raise UnusableFile("broken")
        return seen(shelf, what, found)

    monkeypatch.setattr(Shelf, "_seen", fail)
    with pytest.raises(UnusableFile, match="broken"):
        Shelf()


@pytest.mark.parametrize("where", ["stamp", "read", "make"])
def test_change_that_cannot_be_used_leaves_what_was_and_is_told_once(
    shelf: Shelf, where: str
) -> None:
    shelf.put("b")
    shelf.faults[where] = UnusableFile("broken")
    assert [shelf.later() for _ in range(5)] == ["A"] * 5
    assert shelf.failures == ["broken"]
    # Another change, or another reason, is told as well.
    shelf.put("c")
    shelf.later()
    shelf.faults[where] = UnusableFile("gone")
    shelf.put("d")
    shelf.later()
    assert shelf.failures[-1] == "gone"
    shelf.faults.clear()
    shelf.put("e")
    assert shelf.later() == "E"


@pytest.mark.parametrize("where", ["stamp", "read"])
def test_what_could_not_be_read_is_read_once_it_can_be(shelf: Shelf, where: str) -> None:
    shelf.later()
    assert shelf.calls.count("read") == 2, "what was before is settled"
    shelf.put("b")
    shelf.faults[where] = UnusableFile("broken")
    for _ in range(3):
        shelf.later()
    shelf.faults.clear()
    assert shelf.later() == "B"
    shelf.put("c")
    shelf.faults[where] = UnusableFile("broken")
    shelf.later()
    assert shelf.failures == ["broken"] * 2, "it was good in between"


def test_content_that_is_no_good_is_read_no_more_than_any_other(shelf: Shelf) -> None:
    shelf.put("b")
    shelf.faults["make"] = UnusableFile("broken")
    shelf.calls.clear()
    for _ in range(5):
        shelf.later()
    assert shelf.calls.count("make") == 2


def test_files_that_come_back_as_they_were_are_the_same(shelf: Shelf) -> None:
    first = shelf.later()
    for _ in range(2):
        shelf.faults["stamp"] = UnusableFile("gone")
        assert shelf.later() is first
        shelf.faults.clear()
        assert shelf.later() is first
    assert shelf.failures == ["gone"] * 2
    assert len(shelf.made) == 1


def test_mistake_of_another_kind_is_raised_and_the_next_look_is_good(shelf: Shelf) -> None:
    shelf.put("b")
    shelf.faults["read"] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        shelf.later()
    shelf.faults.clear()
    assert shelf.later() == "B"
    assert shelf.failures == []


# --- Many at once -------------------------------------------------------------------------------


def test_nobody_waits_for_somebody_elses_look() -> None:
    begun, go_on, now_s = threading.Event(), threading.Event(), [100.0]
    contents = iter(["a", "b"])

    def slowly() -> str:
        content = next(contents)
        if content == "b":
            begun.set()
            assert go_on.wait(30)
        return content

    failures: list[UnusableFile] = []
    watched: Watched[str, str] = Watched(
        stamp=lambda: now_s[0],
        read=slowly,
        make=lambda content, _before: content,
        fault=UnusableFile,
        on_failure=failures.append,
        clock=lambda: now_s[0],
    )
    now_s[0] += 1
    looker = threading.Thread(target=watched.current)
    looker.start()
    assert begun.wait(30)
    now_s[0] += 1
    assert watched.current() == "a"
    go_on.set()
    looker.join(30)
    assert watched._value == "b"
    assert failures == []
