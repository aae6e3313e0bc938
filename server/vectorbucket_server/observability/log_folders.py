"""Where lines about a bucket go: which folders and file names its logging stands for.

Rules of this file: what callers choose (a target, a prefix) never leads out of the directory that
the operator chose: it is checked when it is put and again when a file is made, every folder is
opened from the one above it, and no symbolic link is followed on the way; a file is only ever made,
never opened again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from vectorbucket.limits import UNLIMITED
from vectorbucket_server.model import BucketLogging
from vectorbucket_server.naming import check_bucket_name, check_logging

_FOLDER_MODE = 0o750
_FILE_MODE = 0o640


def file_parts(logging: BucketLogging, bucket: str, opened_s: float, unique: str) -> list[str]:
    """Return the folders of a file, and last its name.

    The name is ``<TargetPrefix><SourceBucket>YYYY-mm-DD-HH-MM-SS-UniqueString``, as OSS has it.

    Args:
        logging: The target and the prefix.
        bucket: Whose requests are logged.
        opened_s: When the file is made: seconds since the Unix epoch.
        unique: What no other file of the same second has.

    Raises:
        InvalidRequest: The target or the prefix is none that could have been put.
    """
    check_bucket_name(bucket, UNLIMITED)
    check_logging(logging, UNLIMITED)
    stamp = datetime.fromtimestamp(opened_s, UTC).strftime("%Y-%m-%d-%H-%M-%S")
    path = f"{logging.target_prefix}{bucket}{stamp}-{unique}"
    return [logging.target_bucket, *(part for part in path.split("/") if part not in {"", "."})]


def make_file(directory: Path, parts: Sequence[str]) -> int:
    """Make a file inside a directory, with the folders on the way, and return its descriptor.

    Args:
        directory: Where to, made where it is missing; the only part that may be a symbolic link.
        parts: Folders, and last the file's name.

    Raises:
        OSError: It cannot be made: it exists, a part is a link or no folder, the disk is full.
    """
    directory.mkdir(parents=True, exist_ok=True)
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = _open_folder(part, folder)
            os.close(folder)
            folder = inner
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(parts[-1], how, _FILE_MODE, dir_fd=folder)
    finally:
        os.close(folder)


def _open_folder(name: str, above: int) -> int:
    """Return the descriptor of a folder, which is made where it is missing."""
    how = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, how, dir_fd=above)
    except FileNotFoundError:
        os.mkdir(name, _FOLDER_MODE, dir_fd=above)
        return os.open(name, how, dir_fd=above)
