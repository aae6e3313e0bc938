"""A data directory made of a backup: a copy of it, every byte verified on the way.

Everything is copied into a folder of the new data directory, and moved to where a server looks only
when it is complete and on the disk; the store comes last. So what a restore that was killed has
left is nothing that a server takes for anything: neither for good, nor for an empty directory.

Rules of this file: the backup is only read. Nothing is linked: a server writes to what it is given,
and a backup may be restored twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.backup_file import (
    BACKUP_FILE,
    BackupFile,
    copy_file,
    difference,
    held_alone,
    make_folder,
    read_backup_file,
    sync_path,
)

PARTIAL = "restore.partial"
"""The folder in the new data directory, until it is complete."""

_STORE = "store"
_GENERATIONS = "generations"
_CURRENT = f"{_STORE}/CURRENT"
_OF_THE_DISK = "lost+found"
"""What an empty disk has in it."""

OnProgress = Callable[[int, int], None]
"""Is told how many bytes are copied, and of how many."""


class CannotRestore(Exception):
    """Nothing was restored; the message says why, and what to do."""


def take_over(data_dir: Path) -> None:
    """Return if a server may begin to use a directory.

    Raises:
        ServiceUnavailable: It is a backup, or a restore into it has not come to its end.
    """
    if (data_dir / BACKUP_FILE).exists():
        raise ServiceUnavailable(
            f"{data_dir} is a backup, and would be none any more if it were written to: make a "
            "data directory of it with vectorbucket-server restore"
        )
    partial = data_dir / PARTIAL
    if partial.exists() and not (data_dir / _STORE).exists():
        raise ServiceUnavailable(
            f"a restore into {data_dir} is under way, or was killed: wait for it, or run it again; "
            f"to begin with nothing instead, remove {partial}"
        )
    with suppress(OSError):  # it is not there, or it is not for us to remove
        partial.rmdir()


def restore(backup: Path, data_dir: Path, on_progress: OnProgress) -> BackupFile:
    """Make a data directory of a backup.

    Args:
        backup: The backup's directory.
        data_dir: Missing, or empty.
        on_progress: Is told now and then how far it is.

    Raises:
        BadBackup: It is no backup.
        CannotRestore: It is damaged, the data directory is not empty, or its disk is full or
            failing.
    """
    written = read_backup_file(backup)
    _check_files(backup, written)
    try:
        make_folder(data_dir)
        with held_alone(data_dir) as alone:
            if not alone:
                raise CannotRestore(f"another restore into {data_dir} is under way")
            partial = _prepare(data_dir, written)
            try:
                _copy(backup, written, partial, on_progress)
                _move(partial, data_dir)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise CannotRestore(
            f"{error.filename or data_dir} cannot be written or read: {error.strerror}; nothing "
            "was restored: mend that and run it again"
        ) from error
    return written


def _check_files(backup: Path, written: BackupFile) -> None:
    """Return if a backup has all its files, by their sizes.

    Raises:
        CannotRestore: It has not.
    """
    if _CURRENT not in written.files:
        raise CannotRestore(f"{backup} was made by another engine: it has no {_CURRENT}")
    for name, facts in written.files.items():
        if Path(name).parts[0] not in (_STORE, _GENERATIONS):
            raise CannotRestore(f"{backup} was made by another engine: it has {name}")
        try:
            size_bytes = (backup / name).stat().st_size
        except OSError as error:
            raise _damaged(backup / name, f"cannot be read: {error.strerror}") from error
        if size_bytes != facts.size_bytes:
            raise _damaged(backup / name, f"has {size_bytes} bytes, not {facts.size_bytes}")


def _damaged(path: Path, what: str) -> CannotRestore:
    return CannotRestore(
        f"the backup is damaged: {path} {what}; restore another one (vectorbucket-server check "
        "says all that is wrong with this one)"
    )


def _prepare(data_dir: Path, written: BackupFile) -> Path:
    """Return an empty folder in the data directory.

    Raises:
        CannotRestore: Something else is in it, or it will not fit.
        OSError: It cannot be made.
    """
    partial = data_dir / PARTIAL
    there = {path.name for path in data_dir.iterdir()} - {_OF_THE_DISK}
    killed = PARTIAL in there and _STORE not in there
    others = sorted(there - {PARTIAL, _GENERATIONS} if killed else there)
    if others:
        raise CannotRestore(
            f"{data_dir} is not empty: it has {', '.join(others[:3])}; name a data directory that "
            "is empty or does not exist"
        )
    if killed:
        # In this order: without the second, the first would be somebody's.
        for path in (data_dir / _GENERATIONS, partial):
            if path.exists():
                shutil.rmtree(path)
    free_bytes = shutil.disk_usage(data_dir).free
    if written.size_bytes > free_bytes:
        raise CannotRestore(
            f"the backup has {written.size_bytes} bytes, and the disk of {data_dir} has "
            f"{free_bytes} left: make room, or name a data directory on another disk"
        )
    partial.mkdir()
    return partial


def _copy(backup: Path, written: BackupFile, partial: Path, on_progress: OnProgress) -> None:
    """Copy all files of a backup, durably, and verify their checksums.

    Raises:
        CannotRestore: One is not what was written.
        OSError: The disk is full or failing.
    """
    done, total = 0, written.size_bytes
    (partial / _GENERATIONS).mkdir()
    for name, facts in written.files.items():
        on_progress(done, total)
        target = partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if wrong := difference(copy_file(backup / name, target), facts):
            raise _damaged(backup / name, wrong)
        done += facts.size_bytes
    for path in [*partial.rglob("*"), partial]:
        if path.is_dir():
            sync_path(path)
    on_progress(total, total)


def _move(partial: Path, data_dir: Path) -> None:
    """Move what is complete to where a server looks for it, the store last."""
    generations = data_dir / _GENERATIONS
    (partial / _GENERATIONS).rename(generations)
    try:
        sync_path(data_dir)
        (partial / _STORE).rename(data_dir / _STORE)
    except BaseException:
        if not (data_dir / _STORE).exists():
            shutil.rmtree(generations, ignore_errors=True)
        raise
    sync_path(data_dir)
