"""``backup.json``: what makes a directory a backup, and what must be true of its other files.

It is written last, so a directory without it is no backup. It names every other file with size and
checksum, so whoever restores from it knows what is whole.

Rules of this file: it knows nothing of what an engine writes, only that it is files, which it
measures and copies. Files are read a part at a time, however large they are.

Source: FORMAT.md says what is in it.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

BACKUP_FILE = "backup.json"
"""The name of the file, in the backup's directory."""

BACKUP_FORMAT = 1
"""Version of what stands in it."""

_READ_BYTES = 1 << 22

Check = Callable[[], object]
"""Is called before each part of a file, and raises what is to end the work."""


def go_on() -> None:
    """Return: nothing ends the work."""


class BadBackup(Exception):
    """A directory is no backup, or not what its ``backup.json`` says; the message says where."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What must be true of a file."""

    size_bytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class BackupFile:
    """What ``backup.json`` says."""

    version: str
    """Of the server that wrote it."""
    create_ms: int
    """When the backup was begun, in milliseconds since the Unix epoch."""
    files: dict[str, FileFacts]
    """By path in the backup's directory, with ``/``."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(facts.size_bytes for facts in self.files.values())


def write_backup_file(
    directory: Path, *, version: str, create_ms: int, check: Check = go_on
) -> BackupFile:
    """Measure all that is in a directory, and make it a backup, durably.

    Args:
        directory: What an engine has written; synced already.
        version: Of this server.
        create_ms: When the engine was asked.
        check: Is called often.

    Raises:
        OSError: A file cannot be read, or this one not written.
        Exception: What ``check`` raises.
    """
    files = {
        path.relative_to(directory).as_posix(): measure(path, check)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path != directory / BACKUP_FILE
    }
    made = BackupFile(version, create_ms, files)
    said = {
        "format": BACKUP_FORMAT,
        "version": version,
        "create_ms": create_ms,
        "files": {
            path: {"size_bytes": facts.size_bytes, "crc32": facts.crc32}
            for path, facts in files.items()
        },
    }
    with (directory / BACKUP_FILE).open("w", encoding="utf-8") as file:
        json.dump(said, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    sync_path(directory)
    return made


def read_backup_file(directory: Path) -> BackupFile:
    """Return what a backup's ``backup.json`` says.

    Raises:
        BadBackup: There is none, or it is not what this server writes.
    """
    path = directory / BACKUP_FILE
    try:
        said = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BadBackup(f"{directory} is no backup: it has no {BACKUP_FILE}") from None
    except OSError as error:
        raise BadBackup(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise BadBackup(f"{path} is damaged: {error}") from error
    written = said.get("format") if isinstance(said, dict) else None
    if isinstance(written, int) and written > BACKUP_FORMAT:
        raise BadBackup(
            f"{path} has format {written}; this server reads up to {BACKUP_FORMAT}: restore it "
            "with the version that wrote it, or a newer one"
        )
    try:
        return _decode(said)
    except (KeyError, TypeError, ValueError) as error:
        raise BadBackup(f"{path} is damaged: {type(error).__name__} at {error}") from error


def _decode(said: dict[str, Any]) -> BackupFile:
    """Return what a decoded ``backup.json`` says.

    Raises:
        KeyError: A member is missing.
        TypeError: One is of another type.
        ValueError: The format is none, or a path is no path, or leads out of the directory.
    """
    if said["format"] != BACKUP_FORMAT:
        raise ValueError("format")
    if not isinstance(said["files"], dict) or not isinstance(said["version"], str):
        raise TypeError("files or version")
    files = {}
    for path, facts in said["files"].items():
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts or not _is_path(path):
            raise ValueError(f"path {path!r}")
        files[path] = FileFacts(_number(facts["size_bytes"]), _number(facts["crc32"]))
    return BackupFile(said["version"], _number(said["create_ms"]), files)


def _is_path(text: str) -> bool:
    """Return whether a file can have this name."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"number {value!r}")
    return value


def measure(path: Path, check: Check = go_on) -> FileFacts:
    """Return size and checksum of a file.

    Raises:
        OSError: It cannot be read.
        Exception: What ``check`` raises.
    """
    size, crc = 0, 0
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            check()
            size += len(part)
            crc = zlib.crc32(part, crc)
    return FileFacts(size, crc)


def copy_file(
    source: Path, target: Path, size_bytes: int | None = None, check: Check = go_on
) -> FileFacts:
    """Copy a file into a new one, durably; return size and checksum of what was copied.

    The copy has the source's rights, and its time: a graph is as old as it was.

    Args:
        source: What is copied.
        target: Its folder exists, and is to be synced by the caller.
        size_bytes: How much at most; None is all.
        check: Is called often.

    Raises:
        OSError: One cannot be read, or the other not written.
        Exception: What ``check`` raises.
    """
    size, crc = 0, 0
    with source.open("rb") as reader, target.open("xb") as writer:
        facts = os.fstat(reader.fileno())
        os.fchmod(writer.fileno(), facts.st_mode & 0o777)
        while part := reader.read(_part_bytes(size, size_bytes)):
            check()
            writer.write(part)
            size += len(part)
            crc = zlib.crc32(part, crc)
        writer.flush()
        os.utime(writer.fileno(), ns=(facts.st_atime_ns, facts.st_mtime_ns))
        os.fsync(writer.fileno())
    return FileFacts(size, crc)


def _part_bytes(done: int, wanted: int | None) -> int:
    """Return how many bytes to read next."""
    return _READ_BYTES if wanted is None else min(_READ_BYTES, wanted - done)


def difference(found: FileFacts, expected: FileFacts) -> str | None:
    """Return in words what a file has that it should not have, or None if it is as it was."""
    if found.size_bytes != expected.size_bytes:
        return f"has {found.size_bytes} bytes, not {expected.size_bytes}"
    if found.crc32 != expected.crc32:
        return f"has checksum {found.crc32:08x}, not {expected.crc32:08x}"
    return None


def sync_path(path: Path) -> None:
    """Return when a file or directory is on the disk.

    Raises:
        OSError: The disk is failing.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, so that a power cut does not take them away again.

    Raises:
        OSError: It cannot be made.
    """
    if path.is_dir():
        return
    if path != path.parent:
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    with suppress(PermissionError):  # whoever may write there need not be able to read
        sync_path(path.parent)


@contextmanager
def held_alone(folder: Path) -> Iterator[bool]:
    """Yield whether nobody else holds a folder, of this machine or, by NFS, of others.

    Where a file system has no locks, nobody does.

    Raises:
        OSError: The folder cannot be opened.
    """
    handle, alone = os.open(folder, os.O_RDONLY | os.O_CLOEXEC), True
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alone = False
        except OSError:
            alone = True
        yield alone
    finally:
        os.close(handle)
