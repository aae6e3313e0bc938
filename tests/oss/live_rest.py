"""Real servers with a REST listener, as processes.

Rules of this file: a process is started as an operator starts it, and known by what he sees: its
ready line, its log, its end.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from house import ROOT
from rooms import WITHIN_S, eventually

ACCOUNT_ID = "1234567890"
REGION = "cn-hangzhou"
ACCESS_KEY_ID = "test-ak"
ACCESS_KEY_SECRET = "test-sk"  # noqa: S105 - of the reference, section 7.5

OWNER = f"""\
[[credential]]
name = "owner"
account_id = "{ACCOUNT_ID}"
access_key_id = "{ACCESS_KEY_ID}"
access_key_secret = "{ACCESS_KEY_SECRET}"
owner = true
"""
"""The smallest file of credentials that works."""

Flags: TypeAlias = tuple[str, ...]
"""Arguments of ``vectorbucket-server serve``."""


def milvus_flags(uri: str, database: str = "default", **options: float) -> Flags:
    """Return the arguments of a server on Milvus; ``options`` are of the engine."""
    said = [f"{name}={value}" for name, value in options.items()]
    engine = ("--engine", "milvus", "--milvus-uri", uri, "--milvus-database", database)
    return (*engine, *(part for one in said for part in ("--milvus", one)))


_READY = re.compile(
    r"vectorbucket-server ready(?: grpc=(?P<grpc>\S+))?(?: rest=(?P<rest>\S+))?"
    r"(?: metrics=(?P<metrics>\S+))?\n"
)


class LiveProcess:
    """A command of ours that runs, and what it says."""

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str]) -> None:
        self.folder = folder
        """Of everything that it writes."""
        self._log = folder / f"{arguments[0]}.log"
        path = os.pathsep.join(str(ROOT / root) for root in ("client", "server"))
        ours = {k: v for k, v in os.environ.items() if not k.startswith("VECTORBUCKET_")}
        with self._log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "vectorbucket_server", *arguments],
                env={**ours, "PYTHONPATH": path, **environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self.popen.stdout is not None
        self.ready = self.popen.stdout.readline()
        """The line on standard output; empty when the command ended without one."""

    @property
    def grpc_address(self) -> str:
        """HOST:PORT of the gRPC listener."""
        return self._address("grpc")

    @property
    def rest_address(self) -> str:
        """HOST:PORT of the REST listener."""
        return self._address("rest")

    @property
    def metrics_address(self) -> str:
        """HOST:PORT of the listener for metrics."""
        return self._address("metrics")

    def _address(self, door: str) -> str:
        ready = _READY.fullmatch(self.ready)
        assert ready, f"not ready: {self.ready!r} {self.said()}"
        assert ready[door]
        return ready[door]

    def said(self) -> str:
        """Return everything on standard error so far."""
        return self._log.read_text()

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """Return the lines of the log so far, or those of one event."""
        whole = [line for line in self.said().splitlines(keepends=True) if line.endswith("\n")]
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in lines if not event or line["event"] == event]

    def has_said(self, text: str) -> bool:
        """Return whether the log has a text."""
        return text in self.said()

    def translator_ids(self) -> list[int]:
        """Return the process ids of the translators that this process started and that run."""
        return [
            one
            for one in _children(self.popen.pid)
            if b"vectorbucket_server.translate" in _command_line(one)
        ]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(WITHIN_S)


def is_running(process_id: int) -> bool:
    """Return whether a process is there and has not ended."""
    return _state(process_id)[:1] not in ("", "Z")


def _children(parent: int) -> list[int]:
    numbers = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [one for one in numbers if _state(one).split()[1:2] == [str(parent)]]


def _state(process_id: int) -> str:
    """Return what the kernel tells of a process, from its state on; empty if it is gone."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(") ")[2]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _command_line(process_id: int) -> bytes:
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@contextmanager
def command(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[LiveProcess]:
    """Run a command of ours while the block runs; its log is a file in the folder."""
    started = LiveProcess(folder, *arguments, environment=environment or {})
    try:
        yield started
    finally:
        translators = started.translator_ids()
        started.popen.kill()
        started.popen.communicate()
        # They end by themselves, which is under test elsewhere; nothing is left for the next test.
        eventually(lambda: not any(map(is_running, translators)), "the translator has ended")


@contextmanager
def serving(folder: Path, *flags: str, credentials: str = OWNER) -> Iterator[LiveProcess]:
    """Run a server with both listeners while the block runs.

    Args:
        folder: For its data, its log and the file of credentials.
        flags: More of ``vectorbucket-server serve``.
        credentials: Text of the file; empty: nobody is asked.
    """
    given = []
    if credentials:
        given = ["--credentials", str(write_credentials(folder, credentials))]
    places = ["--data-dir", str(folder / "data"), "--bucket-log-dir", str(folder / "logs")]
    listeners = ["--grpc-address", "127.0.0.1:0", "--rest-address", "127.0.0.1:0"]
    with command(folder, "serve", *listeners, *places, *given, *flags) as server:
        assert server.ready, server.said()
        yield server


def write_credentials(folder: Path, text: str) -> Path:
    """Write the file of credentials, in one step for whoever reads it, and return its path."""
    written, path = folder / "credentials.new", folder / "credentials.toml"
    written.write_text(text)
    written.chmod(0o600)
    written.replace(path)
    return path
