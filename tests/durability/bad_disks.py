"""Disks that a test can fill or break under a running server, and mend again.

A small tmpfs in a mount namespace of its own is a disk that fills: it is there as long as a process
holds the namespace, so it outlives the servers that use it. A limit to the size of files, set from
outside on a running process, is a disk that fails: RocksDB takes "file too large" for an error of
the device, as it would EIO, and not for want of room.

Rules of this file: what the server is told by its disk is real; nothing of the server is replaced.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from bench_server import ServerProcess
from rooms import WITHIN_S

OPTIONS = (
    "write_buffer_bytes=4194304",
    "wal_bytes_max=8388608",
    "graph_rows_min=50",
    "checkpoint_changes_min=200",
    "checkpoint_changes_share=0",
)
"""Options of an engine that soon writes everything that it can write."""

_BALLAST_BYTES = 1 << 18


class Disk:
    """An ordinary disk, which nobody here can fill."""

    def __init__(self, place: Path) -> None:
        """Take a directory on it that does not exist yet."""
        self.place = place
        self.data_dir = place / "data"
        """Where servers keep what they are given."""
        self.log = place.with_suffix(".log")
        """What they say, on another disk."""
        self._prefix: list[str] = []
        place.mkdir()

    def start(self, *options: str) -> ServerProcess:
        """Start a server with OPTIONS and more whose data are on this disk."""
        command = [*self._prefix, sys.executable, "-m", "vectorbucket_server", "serve"]
        command += ["--grpc-address", "127.0.0.1:0", "--data-dir", str(self.data_dir)]
        for option in (*OPTIONS, *options):
            command += ["--embedded", option]
        return ServerProcess(command, self.log)


class SmallDisk(Disk):
    """A tmpfs that only the servers of a test see."""

    def __init__(self, place: Path, size_bytes: int) -> None:
        """Make it.

        Args:
            place: Where it is mounted, an empty directory.
            size_bytes: Its size.

        Raises:
            OSError: This process may not, or this system cannot.
        """
        super().__init__(place)
        program = f'mount -t tmpfs -o size={size_bytes} tmpfs "$1" && echo ready && exec cat'
        mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
        joined = ["--user", "--preserve-credentials"] if mapped else []
        command = ["unshare", *mapped, "--mount", "sh", "-c", program, "sh", str(place)]
        self._holder = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            _, said = self._holder.communicate()
            raise OSError(f"no mount namespace is to be had: {said}")
        self._prefix = ["nsenter", "--target", str(self._holder.pid), *joined, "--mount", "--"]
        self._ballast = Path(f"/proc/{self._holder.pid}/root{place}/ballast")

    def free_bytes(self) -> int:
        """Return the free bytes of the disk."""
        found = os.statvfs(self._ballast.parent)
        return found.f_bavail * found.f_frsize

    def fill(self, free_bytes: int) -> None:
        """Leave so many bytes free."""
        with self._ballast.open("ab", buffering=0) as ballast, suppress(OSError):
            # The servers take and give back meanwhile.
            while (left := self.free_bytes() - free_bytes) > 0:
                ballast.write(bytes(min(left, _BALLAST_BYTES)))

    def relieve(self) -> None:
        """Take away what filled it."""
        self._ballast.unlink()

    def __enter__(self) -> Self:
        """Return the disk."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of it; it is gone with the last server."""
        self._holder.communicate(timeout=WITHIN_S)  # ends it, and closes its pipes


def small_disk(place: Path, size_bytes: int) -> SmallDisk | str:
    """Return a small disk, or why none is to be had here."""
    missing = [one for one in ("unshare", "nsenter", "mount") if shutil.which(one) is None]
    if missing:
        return f"{', '.join(missing)} is missing"
    try:
        return SmallDisk(place, size_bytes)
    except OSError as error:
        return str(error)


@contextmanager
def failing_writes(server: ServerProcess, size_bytes: int) -> Iterator[None]:
    """Let every write of a server fail that makes a file longer than so many bytes."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)
