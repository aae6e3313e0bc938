"""Tests of bench_peer_memory.py: of which processes the memory is counted."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from bench_peer_memory import parent_pid, server_memory_bytes, tree_memory_bytes

HOLDS = 64 * 2**20
"""Bytes that the child below holds."""

CHILD = f"held = bytearray(b'x') * {HOLDS}; print('holding', flush=True); input()"


def test_memory_of_a_process_includes_its_descendants() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        own = tree_memory_bytes(child.pid)
        assert own is not None
        assert HOLDS < own < 4 * HOLDS
        together = tree_memory_bytes(os.getpid())
        assert together is not None
        assert together > own
        assert parent_pid(child.pid) == os.getpid()
        child.communicate(b"\n")


def test_memory_of_a_process_that_is_not_there_is_unknown() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    assert tree_memory_bytes(child.pid) is None
    assert parent_pid(child.pid) is None


def test_server_is_found_by_the_port_that_it_listens_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        memory = server_memory_bytes("127.0.0.1", server.getsockname()[1])
    assert memory is not None
    assert memory > 0


def test_server_that_nobody_runs_or_that_is_elsewhere_is_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert server_memory_bytes("192.0.2.1", port) is None
    assert server_memory_bytes("127.0.0.1", port) is None
