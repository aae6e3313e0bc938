"""Tests of auth/credentials.py: a file that changes, breaks, disappears and comes back.

Method: the clock is the test's; nothing waits. How often it is looked at, and that nobody waits for
it, test_watched_files.py says.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rooms import together
from vectorbucket_server.auth.credentials import (
    BadCredentials,
    Credentials,
    CredentialsFile,
)
from vectorbucket_server.auth.watched_files import FILE_BYTES_MAX, stamp_of


def text_of(name: str, secret: str = "one") -> str:  # noqa: S107 - a test's
    """Return a file with one credential."""
    keys = f'access_key_id = "ak"\naccess_key_secret = "{secret}"'
    return f'[[credential]]\nname = "{name}"\naccount_id = "1"\n{keys}\n'


class Watched:
    """A credentials file, its clock, and what it told of failures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.write_text(text_of("ann"))
        self.now_s = 100.0
        self.failures: list[str] = []
        self.file = CredentialsFile(
            path,
            on_failure=lambda error: self.failures.append(str(error)),
            clock=lambda: self.now_s,
        )

    def later(self, seconds: float = 1.0) -> Credentials:
        """Return what is in force when some time has passed."""
        self.now_s += seconds
        return self.file.current()

    def put(self, text: str) -> None:
        """Put another file in place, as careful editors do."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)

    def secret(self) -> str:
        """Return the secret that is in force a second later."""
        credential = self.later().by_access_key_id("ak")
        assert credential is not None
        return credential.access_key_secret


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A file with one credential, named ann."""
    return Watched(tmp_path / "credentials.toml")


def name_of(credentials: Credentials) -> str:
    """Return the name of the one that has the access key."""
    credential = credentials.by_access_key_id("ak")
    assert credential is not None
    return credential.name


# --- A file that changes ------------------------------------------------------------------------


def test_file_that_is_as_it_was_is_the_same_credentials(watched: Watched) -> None:
    first = watched.file.current()
    assert all(watched.later() is first for _ in range(5))
    os.utime(watched.path)
    watched.put(text_of("ann"))
    assert all(watched.later() is first for _ in range(5))
    assert watched.failures == []


def test_file_put_in_place_is_in_force_a_second_later(watched: Watched) -> None:
    first = watched.file.current()
    watched.put(text_of("bob"))
    assert watched.later(0.9) is first
    second = watched.later(0.1)
    assert name_of(second) == "bob"
    assert second.version > first.version


def test_file_written_over_within_the_same_second_is_noticed(watched: Watched) -> None:
    for secret in ("two", "six", "ten"):
        watched.path.write_text(text_of("ann", secret))
        assert watched.secret() == secret


def test_file_written_twice_within_one_tick_of_the_disks_clock_is_noticed(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.path.write_text(text_of("ann", "two"))
    frozen = stamp_of(watched.path)
    monkeypatch.setattr("vectorbucket_server.auth.credentials.stamp_of", lambda _path: frozen)
    assert watched.secret() == "two"
    watched.path.write_text(text_of("ann", "six"))
    assert watched.secret() == "six"


def test_file_that_keeps_the_time_of_the_old_one_is_noticed(watched: Watched) -> None:
    before = watched.path.stat()
    watched.later()
    watched.later()
    watched.put(text_of("ann", "two"))
    os.utime(watched.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watched.secret() == "two"


def test_link_to_another_file_is_noticed(watched: Watched, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(text_of("bob"))
    watched.path.unlink()
    watched.path.symlink_to(other)
    assert name_of(watched.later()) == "bob"


def test_versions_rise_with_each_change(watched: Watched) -> None:
    versions = [watched.file.current().version]
    for name in ("bob", "eve", "bob"):
        watched.put(text_of(name))
        versions.append(watched.later().version)
    assert versions == sorted(set(versions))


# --- A file that cannot be used -----------------------------------------------------------------


def no_file(path: Path, make: Callable[[Path], object]) -> None:
    """Put something in place of a file that is none."""
    path.unlink()
    make(path)


BREAKS: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "empty": lambda path: path.write_text(""),
    "half written": lambda path: path.write_text(text_of("bob")[:40]),
    "no TOML": lambda path: path.write_text("[["),
    "no UTF-8": lambda path: path.write_bytes(b"\xff"),
    "huge": lambda path: path.write_text("#" * (FILE_BYTES_MAX + 1)),
    "a directory": lambda path: no_file(path, Path.mkdir),
    "a pipe": lambda path: no_file(path, os.mkfifo),
    "a circle": lambda path: no_file(path, lambda link: link.symlink_to(link)),
}


@pytest.mark.parametrize("how", BREAKS)
def test_broken_file_leaves_the_old_in_force_and_is_told_once(watched: Watched, how: str) -> None:
    first = watched.file.current()
    BREAKS[how](watched.path)
    assert all(watched.later() is first for _ in range(5))
    (failure,) = watched.failures
    assert failure.startswith(str(watched.path))


@pytest.mark.parametrize("how", BREAKS)
def test_file_that_was_broken_is_in_force_once_it_is_whole(watched: Watched, how: str) -> None:
    BREAKS[how](watched.path)
    watched.later()
    if watched.path.is_dir():
        watched.path.rmdir()
    watched.put(text_of("bob"))
    assert name_of(watched.later()) == "bob"
    assert len(watched.failures) == 1


def test_each_break_is_told(watched: Watched) -> None:
    for _ in range(3):
        watched.path.unlink()
        watched.later()
        watched.later()
        watched.put(text_of("ann"))
        watched.later()
    assert len(watched.failures) == 3


def test_file_that_comes_back_as_it_was_is_the_same_credentials(watched: Watched) -> None:
    first, aside = watched.file.current(), watched.path.with_suffix(".aside")
    watched.later()
    for _ in range(2):
        watched.path.rename(aside)
        assert watched.later() is first
        aside.rename(watched.path)
        assert watched.later() is first
    assert len(watched.failures) == 2


@pytest.mark.parametrize("how", BREAKS)
def test_server_does_not_start_with_a_file_that_cannot_be_used(tmp_path: Path, how: str) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text(text_of("ann"))
    BREAKS[how](path)
    with pytest.raises(BadCredentials, match=r"credentials\.toml: "):
        CredentialsFile(path, on_failure=lambda _error: None)


def test_file_that_disappears_while_it_is_looked_at_is_told(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = watched.file.current()
    monkeypatch.setattr("vectorbucket_server.auth.credentials.stamp_of", lambda _path: (1,))
    watched.path.unlink()
    assert all(watched.later() is first for _ in range(3))
    (failure,) = watched.failures
    assert "cannot be read: No such file" in failure


@pytest.mark.parametrize("looks", range(1, 6))
def test_file_that_could_not_be_opened_for_a_while_is_in_force_once_it_can(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    first = watched.file.current()
    watched.put(text_of("bob"))
    with monkeypatch.context() as full:

        def no_descriptor(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        full.setattr(Path, "open", no_descriptor)
        assert all(watched.later() is first for _ in range(looks))
    assert name_of(watched.later()) == "bob"
    (failure,) = watched.failures
    assert "cannot be read: Too many open files" in failure


def test_secret_of_a_broken_file_is_not_told(watched: Watched) -> None:
    watched.put(text_of("ann", "hunter2") + 'owner = "yes"\n')
    watched.later()
    assert "credential[0].owner: expected bool, not str" in watched.failures[0]
    assert "hunter2" not in watched.failures[0]


# --- Many at once -------------------------------------------------------------------------------


def test_many_threads_see_one_file_or_the_other_whole(tmp_path: Path) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text(text_of("name0", "name0"))
    failures: list[BadCredentials] = []
    file = CredentialsFile(path, on_failure=failures.append, look_again_s=0)

    def write() -> None:
        for number in range(200):
            fresh = path.with_suffix(".new")
            fresh.write_text(text_of(f"name{number}", f"name{number}"))
            fresh.replace(path)

    def read() -> int:
        versions = []
        for _ in range(500):
            credentials = file.current()
            credential = credentials.by_access_key_id("ak")
            assert credential is not None
            assert credential.access_key_secret == credential.name
            versions.append(credentials.version)
        assert versions == sorted(versions)
        return versions[-1]

    assert [one for one in together([write, read, read, read]) if isinstance(one, Exception)] == []
    assert failures == []
    assert name_of(file.current()) == "name199"
