"""The translator beside a server: a child process that is started, watched and stopped.

A process of its own, because parsing a large body would hold this one's interpreter for as long.

Rules of this file: the socket is the server's, so connections wait while the child is started
again, and the address stays; the child holds nothing that outlives it. It reaches its server by a
socket that is theirs alone: whatever is asked of callers on the server's address, and whatever name
its certificate is for, is not asked here.
"""

from __future__ import annotations

import select
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from vectorbucket_server.addresses import split_address
from vectorbucket_server.listening import PrivateSocket, StartFailed, listen
from vectorbucket_server.observability.logs import Log
from vectorbucket_server.observability.metrics import TranslatorState
from vectorbucket_server.translate import READY_LINE, ChildOrder, Translation

_START_S = 60.0
"""How long a child may take until it serves; it takes half a second on an idle machine."""

_STOP_SLACK_S = 5.0
"""How long a child may take to end beyond the grace that requests under way have."""

_AGAIN_AFTER_S = (0.1, 1.0, 5.0, 30.0)
"""Pauses before a child that ended is started again; the last one from then on. A child that served
begins with the first."""


class TranslatorProcess:
    """One translator of a server. Used once: start, then stop."""

    def __init__(self, address: str, log: Log, folders: Iterable[Path] = ()) -> None:
        """Take the address.

        Args:
            address: HOST:PORT to serve REST on.
            log: Is told when the child ends by itself.
            folders: Where the socket to the server may be if not among temporary files.

        Raises:
            StartFailed: The address cannot be had, or there is no place for the socket.
        """
        self._listening = listen(address)
        try:
            self._socket = PrivateSocket(folders)
        except BaseException:
            self._listening.close()
            raise
        host, _ = split_address(address)
        self.address = f"{host}:{self._listening.getsockname()[1]}"
        self._log = log
        self._stopping = threading.Event()
        self._spawning = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._restart_count = 0

    @property
    def grpc_target(self) -> str:
        """Where the server is to serve gRPC for the child, as gRPC names it."""
        return self._socket.target

    @property
    def process_id(self) -> int | None:
        """Of the child that was started last; None before the first."""
        child = self._child
        return None if child is None else child.pid

    def state(self) -> TranslatorState:
        """Return how the child fares."""
        child = self._child
        # Whoever watches it notes its end; asking the system here would take the answer from him.
        is_up = child is not None and child.returncode is None
        return TranslatorState(is_up, self._restart_count)

    def start(self, translation: Translation) -> None:
        """Start the child, and return when it serves.

        Raises:
            StartFailed: It ended before, or took too long; the log says why.
        """
        order = ChildOrder(translation, self._listening.fileno(), str(self._socket.folder))
        self._order = msgspec.json.encode(order) + b"\n"
        self._stop_s = translation.options.drain_grace_s + _STOP_SLACK_S
        try:
            child = self._spawn()
        except OSError as error:
            self.stop()
            raise StartFailed(f"cannot serve REST on {self.address}: {error.strerror}") from error
        if child is None or not _is_serving(child):
            self.stop()
            raise StartFailed(f"cannot serve REST on {self.address}: its process did not start")
        self._watcher = threading.Thread(
            target=self._watch, args=(child,), name="translator", daemon=True
        )
        self._watcher.start()

    def stop(self) -> None:
        """End the child once its requests are done, at most after their grace; idempotent."""
        with self._spawning:
            self._stopping.set()
        child = self._child
        if child is not None and child.stdin is not None and child.stdout is not None:
            child.stdin.close()
            try:
                child.wait(self._stop_s)
            except subprocess.TimeoutExpired:
                self._log.warning("the REST process did not end in time", within_s=self._stop_s)
                child.kill()
                child.wait()
        if self._watcher is not None:
            self._watcher.join()
        if child is not None and child.stdout is not None:
            child.stdout.close()
        self._listening.close()
        self._socket.remove()

    def hurry(self) -> None:
        """Let ``stop`` wait for no request: they are cut. Any thread may call it, at any time."""
        with self._spawning:
            self._stopping.set()
            child = self._child
        if child is not None:
            # It listens to no gentler signal, and holds nothing that it could lose.
            child.kill()

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        """Start the child again whenever it ends by itself."""
        failures = 0
        while True:
            status = child.wait()
            if self._stopping.is_set():
                return
            _close(child)
            told = {"again_after_s": _pause_s(failures)}
            self._log.error("the REST process ended", status=status, **told)
            again, failures = self._again(failures)
            if again is None:
                return
            self._restart_count += 1
            child, failures = again, 0 if _is_serving(again) else failures + 1

    def _again(self, failures: int) -> tuple[subprocess.Popen[bytes] | None, int]:
        """Return a new child, and how often it was tried in vain by now; None when stopping."""
        while not self._stopping.wait(_pause_s(failures)):
            try:
                return self._spawn(), failures
            except OSError as error:  # no process, memory or descriptor is left; for a while
                failures += 1
                told = {"again_after_s": _pause_s(failures)}
                self._log.error("the REST process cannot be started", error=str(error), **told)
        return None, failures

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """Return a child that knows what to do; None when this is stopping."""
        with self._spawning:
            if self._stopping.is_set():
                return None
            child = subprocess.Popen(
                # -P: nothing is imported from the folder that the server was started in.
                [sys.executable, "-P", "-m", "vectorbucket_server.translate"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(self._listening.fileno(),),
                bufsize=0,
                process_group=0,  # what is typed at a terminal is the server's
            )
            self._child = child
            if child.stdin is not None:
                # It ended at once, which whoever waits for it finds.
                with suppress(BrokenPipeError):
                    child.stdin.write(self._order)
            return child


def _pause_s(failures: int) -> float:
    """Return how long to wait before the next try, after so many in vain."""
    return _AGAIN_AFTER_S[min(failures, len(_AGAIN_AFTER_S) - 1)]


def _is_serving(child: subprocess.Popen[bytes]) -> bool:
    """Return whether a child serves, once it does or has ended; one that does neither is killed."""
    if child.stdout is None:
        return False
    said = select.poll()
    said.register(child.stdout, select.POLLIN | select.POLLHUP)
    if said.poll(_START_S * 1000) and child.stdout.read(len(READY_LINE)) == READY_LINE:
        return True
    child.kill()
    return False


def _close(child: subprocess.Popen[bytes]) -> None:
    """Close the pipes to a child that has ended."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
