"""A server as a child process: started, waited for, stopped or killed.

Rules of this file: the server is the real command with its default settings and a port of its own;
what it logs goes to a file and is shown only when it fails to start.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

SOURCES = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(str(ROOT / one) for one in ("client", "server", "scripts")),
}
"""The environment of a program that imports the checkout's modules."""

_READY = re.compile(r"ready grpc=(\S+)(?: rest=(\S+))?")
_START_WITHIN_S = 60.0
_STOP_WITHIN_S = 60.0
_QUIET_FOR_S = 2.0
"""Longer than a server's saver takes to look again whether a checkpoint is due."""

_QUIET_SHARE = 0.05


class ServerProcess:
    """A running server; as a context, it is stopped at the end."""

    def __init__(self, command: list[str], log: Path) -> None:
        """Start a command and wait until it says that it is ready.

        Args:
            command: Prints a line with ``ready grpc=HOST:PORT`` when it serves.
            log: Where its standard error is appended.

        Raises:
            RuntimeError: It ended, or did not get ready in time; the message ends with its log.
        """
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=SOURCES,
            )
        self.target, self.rest_target = self._wait_until_ready(log)
        """HOST:PORT of gRPC and of REST; the latter is empty where there is none."""

    def _wait_until_ready(self, log: Path) -> tuple[str, str]:
        """Return where the server listens."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        impatience = threading.Timer(_START_WITHIN_S, self._process.kill)
        impatience.start()
        try:
            for line in self._process.stdout:
                if found := _READY.search(line):
                    return found[1], found[2] or ""
        finally:
            impatience.cancel()
        self._close()
        tail = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
        raise RuntimeError(
            f"the server did not start (exit code {self._process.returncode}): {tail}"
        )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def stop(self) -> int:
        """Ask the server to stop, wait for it, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: It did not stop in time; it was killed.
        """
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._close()
        return self._process.returncode

    def kill(self) -> None:
        """End the process where it stands, with SIGKILL."""
        self._process.kill()
        self._close()

    def _close(self) -> None:
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        """Return the running server."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server, unless it was killed.

        Raises:
            RuntimeError: It ended, but neither well nor by being asked to.
        """
        if self._process.returncode is None:
            code = self.stop()
            if error is None and code not in {0, -signal.SIGTERM}:
                raise RuntimeError(f"the server ended with exit code {code}")


def anonymous_bytes(pid: int) -> int:
    """Return the anonymous memory of a process that is in use: RssAnon, without mapped files."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"))
    if found is None:
        raise RuntimeError(f"the system does not say how much memory process {pid} takes")
    return int(found[1]) * 1024


def wait_until_quiet(pid: int, *, children: int = 0) -> None:
    """Return when a process has nothing more to do.

    That is: it and its children used less than 5 % of a core for 2 s, and no child is left that
    writes a checkpoint while the process itself only waits.

    Args:
        pid: Of the process.
        children: How many of its children stay: one, of a server with REST.
    """
    while True:
        before = _cpu_s(pid)
        time.sleep(_QUIET_FOR_S)
        if _children(pid) <= children and _cpu_s(pid) - before < _QUIET_SHARE * _QUIET_FOR_S:
            return


def _children(pid: int) -> int:
    """Return how many children a process has that it has not yet waited for."""
    count = 0
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        # A thread may end meanwhile; its children are then another's.
        with suppress(FileNotFoundError, ProcessLookupError):
            count += len(listed.read_text("utf-8").split())
    return count


def _cpu_s(pid: int) -> float:
    """Return the seconds that a process and the children it has waited for have computed."""
    text = Path(f"/proc/{pid}/stat").read_text("utf-8")
    # The name, in parentheses, may hold anything; user and system time are the 12th and 13th after,
    # and those of the children follow.
    return sum(map(int, text.rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")


StartServer: TypeAlias = Callable[[Path], ServerProcess]
"""How a test starts a server over a data directory."""


def start_server(data_dir: Path, *arguments: str) -> ServerProcess:
    """Start vectorbucket over a data directory, with default settings but for ``arguments``.

    Its log is appended to the file ``server.log`` beside the directory.
    """
    command = [sys.executable, "-m", "vectorbucket_server", "serve"]
    command += ["--grpc-address", "127.0.0.1:0", "--data-dir", str(data_dir), *arguments]
    return ServerProcess(command, data_dir.parent / "server.log")


def start_reference(data_dir: Path) -> ServerProcess:
    """Start the bare stream server of bench_reference.py over a data directory."""
    command = [sys.executable, str(ROOT / "scripts" / "bench_reference.py"), str(data_dir)]
    return ServerProcess(command, data_dir.parent / "reference.log")


def start_bare_query_server(folder: Path) -> ServerProcess:
    """Start the server of bench_bare_server.py over a folder with its graph and keys."""
    command = [sys.executable, str(ROOT / "scripts" / "bench_bare_server.py"), str(folder)]
    return ServerProcess(command, folder / "bare.log")
