"""Connections that are cut below whoever serves them."""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rooms import WITHIN_S, in_child
from vectorbucket_server.connections import cut_connections

WHO_HOLDS = """
import fcntl, sys
with open(sys.argv[1], "w") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        print("nobody")
    except OSError:
        print("somebody")
"""


class Listener:
    """A listener on a free port, and connections to it."""

    def __init__(self, stack: ExitStack, family: socket.AddressFamily, host: str) -> None:
        self._stack = stack
        self.socket = stack.enter_context(socket.socket(family))
        self.socket.settimeout(WITHIN_S)
        self.socket.bind((host, 0))
        self.socket.listen()
        self.port: int = self.socket.getsockname()[1]

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Return both ends of a connection, the caller's first."""
        address = self.socket.getsockname()[:2]
        caller = self._stack.enter_context(socket.create_connection(address, WITHIN_S))
        served = self._stack.enter_context(self.socket.accept()[0])
        return caller, served


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["4", "6"]
)
def test_connections_to_a_port_end_after_what_was_written(
    stack: ExitStack, family: socket.AddressFamily, host: str
) -> None:
    listener = Listener(stack, family, host)
    pairs = [listener.connect() for _ in range(3)]
    for _, served in pairs:
        served.sendall(b"answer")
    assert cut_connections(listener.port) == len(pairs)
    for caller, served in pairs:
        assert caller.recv(100) == b"answer"
        assert caller.recv(100) == served.recv(100) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, listener.port), WITHIN_S)


def test_nothing_else_is_cut(stack: ExitStack) -> None:
    cut, kept = (Listener(stack, socket.AF_INET, "127.0.0.1") for _ in range(2))
    cut.connect()
    caller, served = kept.connect()
    first, second = socket.socketpair()
    stack.enter_context(first)
    stack.enter_context(second)
    assert cut_connections(cut.port) == 1
    for one, other in ((caller, served), (first, second)):
        one.sendall(b"still")
        assert other.recv(100) == b"still"


def test_descriptors_stay_open_and_locks_are_kept(stack: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    file = stack.enter_context(path.open("w"))
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    listener = Listener(stack, socket.AF_INET, "127.0.0.1")
    cut_connections(listener.port)
    assert listener.socket.fileno() >= 0
    assert in_child(WHO_HOLDS, path) == "somebody"
    fcntl.lockf(file, fcntl.LOCK_UN)
    assert in_child(WHO_HOLDS, path) == "nobody"


def test_port_at_which_nobody_is_has_nothing_to_cut(stack: ExitStack) -> None:
    listener = Listener(stack, socket.AF_INET, "127.0.0.1")
    port = listener.port
    listener.socket.close()
    assert cut_connections(port) == 0


def test_where_the_system_lists_no_descriptors_nothing_is_cut_and_nothing_fails(
    stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener(stack, socket.AF_INET, "127.0.0.1")
    listener.connect()
    monkeypatch.setattr("vectorbucket_server.connections._DESCRIPTORS", tmp_path / "none")
    assert cut_connections(listener.port) == 0
