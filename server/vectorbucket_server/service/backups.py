"""The backups in the server's folder: made one at a time, listed, deleted.

A backup is a directory in the folder, named as the backup, that holds what the engine wrote and a
``backup.json`` (engine/backup_file.py). It is made under another name and renamed when it is
complete, so a directory under a backup's name is a whole one.

Rules of this file:

- No path is made of a name that was not checked: none leads out of the folder.
- What is not a backup is neither shown nor removed, but for what a process that was killed has left
  of one: it is found by its name, and keeps files that nobody else has any more on the disk.
- Whoever makes a backup holds the folder, against other servers that have the same one.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from vectorbucket.errors import (
    BackupAlreadyExist,
    InvalidArgument,
    NoSuchBackup,
    QpsLimitExceeded,
    ServiceUnavailable,
)
from vectorbucket_server.engine.backup_file import (
    BACKUP_FILE,
    BackupFile,
    BadBackup,
    held_alone,
    make_folder,
    read_backup_file,
    sync_path,
    write_backup_file,
)
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline, Engine

PARTIAL = ".partial"
"""How the name of a directory ends that is not a backup yet; no backup is called so."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_BUSY_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """A complete backup."""

    name: str
    create_ms: int
    """When it was begun, in milliseconds since the Unix epoch."""
    size_bytes: int
    """Bytes of its files."""
    path: Path
    """Where it is."""


class Backups:
    """The folder of backups."""

    def __init__(self, engine: Engine, folder: Path, now_ms: Callable[[], int]) -> None:
        """Prepare; the folder is made with the first backup.

        Args:
            engine: Whose content is backed up.
            folder: Where backups are.
            now_ms: Returns milliseconds since the Unix epoch.
        """
        self._engine = engine
        self._folder = folder.absolute()
        self._now_ms = now_ms
        self._making = threading.Lock()
        self._deleting = threading.Lock()

    def put(self, name: str, *, deadline: Deadline = NO_DEADLINE) -> BackupInfo:
        """Make a backup, and return when it is complete and on the disk.

        Args:
            name: What it is to be called.
            deadline: Ends it; nothing is left of it then.

        Raises:
            InvalidArgument: The name is not legal.
            MethodNotAllowed: The engine makes no backups.
            BackupAlreadyExist: There is one of this name.
            QpsLimitExceeded: Another one is being made.
            ServiceUnavailable: The disk is full or failing; nothing is left of it.
            RequestTimeout: The deadline passed.
        """
        path = self._path(name)
        if not self._engine.capabilities.backups:
            # It refuses, in its own words: they say what to do instead.
            self._engine.back_up(path, deadline=deadline)
        if not self._making.acquire(blocking=False):
            raise _busy()
        try:
            make_folder(self._folder)
            with held_alone(self._folder) as alone:
                if not alone:  # another server does
                    raise _busy()
                if path.exists():
                    raise BackupAlreadyExist.of(name)
                self._remove_leftovers()
                return self._made(name, path, deadline)
        except OSError as error:
            raise _disk_error(name, error) from error
        finally:
            self._making.release()

    def _remove_leftovers(self) -> None:
        """Remove what was left by processes that were killed; the caller holds the folder."""
        with self._deleting:
            for path in self._folder.iterdir():
                name = path.name.removeprefix(".")
                if name.endswith(PARTIAL) and _is_legal(name.removesuffix(PARTIAL)):
                    shutil.rmtree(path, ignore_errors=True)

    def _made(self, name: str, path: Path, deadline: Deadline) -> BackupInfo:
        """Make a backup; the caller has seen that there is none, and that nobody makes another."""
        partial = path.with_name(name + PARTIAL)
        create_ms = self._now_ms()
        partial.mkdir(mode=0o750)
        try:
            self._engine.back_up(partial, deadline=deadline)
            written = write_backup_file(
                partial,
                version=metadata.version("vectorbucket"),
                create_ms=create_ms,
                check=deadline.check,
            )
            partial.rename(path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_path(self._folder)
        return _info(path, written)

    def list(self) -> list[BackupInfo]:
        """Return all complete backups, ascending by name.

        Raises:
            ServiceUnavailable: The folder cannot be read.
        """
        try:
            paths = sorted(self._folder.iterdir())
        except FileNotFoundError:
            return []  # nothing was made yet
        except OSError as error:
            raise ServiceUnavailable(
                f"the folder of backups cannot be read: {error.strerror}"
            ) from error
        found = []
        for path in paths:
            # What cannot be read is not complete, or was deleted just now.
            with suppress(BadBackup):
                if _is_legal(path.name):
                    found.append(_info(path, read_backup_file(path)))
        return found

    def delete(self, name: str) -> None:
        """Remove a backup.

        Raises:
            InvalidArgument: The name is not legal.
            NoSuchBackup: There is none of this name.
            ServiceUnavailable: The disk is failing; what is left of it is no backup any more.
        """
        path = self._path(name)
        # No legal name starts so: it is neither a backup nor one in the making.
        going = path.with_name(f".{name}{PARTIAL}")
        try:
            with self._deleting:
                if not (path / BACKUP_FILE).is_file():
                    raise NoSuchBackup.of(name)
                if going.exists():
                    shutil.rmtree(going)  # of a process that was killed
                path.rename(going)
                sync_path(self._folder)
                shutil.rmtree(going)
        except OSError as error:
            raise _disk_error(name, error) from error

    def _path(self, name: str) -> Path:
        """Return where a backup of this name is, or would be.

        Raises:
            InvalidArgument: The name is not legal.
        """
        if not _is_legal(name):
            raise InvalidArgument(
                f"the name of a backup is {name[:64]!r}; it must be 1 to 63 letters, digits, '-', "
                f"'_' and '.', begin with a letter or digit, and not end in {PARTIAL!r}",
                field="name",
            )
        return self._folder / name


def _is_legal(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not name.endswith(PARTIAL)


def _info(path: Path, written: BackupFile) -> BackupInfo:
    return BackupInfo(path.name, written.create_ms, written.size_bytes, path)


def _busy() -> QpsLimitExceeded:
    return QpsLimitExceeded(
        "another backup is being made; one is made at a time", retry_after_s=_BUSY_RETRY_S
    )


def _disk_error(name: str, error: OSError) -> ServiceUnavailable:
    return ServiceUnavailable(f"backup {name!r}: the disk refused: {error.strerror}")
