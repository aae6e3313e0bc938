"""Tests of bench_server.py: servers are waited for, stopped and killed, and failures are shown."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from bench_server import ServerProcess, anonymous_bytes, start_server, wait_until_quiet
from vectorbucket import Client


def command(code: str) -> list[str]:
    """Return a command that runs some Python."""
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_real_server_is_started_stopped_and_exits_with_zero(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data")
    with Client(server.target) as client:
        client.put_vector_bucket("started")
    assert alive(server.pid)
    assert server.stop() == 0
    assert not alive(server.pid)
    assert (tmp_path / "server.log").exists()


def test_context_stops_its_server_even_when_the_block_fails(tmp_path: Path) -> None:
    code = "import time; print('ready grpc=here:1', flush=True); time.sleep(60)"
    server = ServerProcess(command(code), tmp_path / "log")
    assert server.target == "here:1"
    with pytest.raises(KeyError), server:
        raise KeyError
    assert not alive(server.pid)
    assert server.stop() == -signal.SIGTERM


def test_server_that_crashes_on_its_way_out_is_no_success(tmp_path: Path) -> None:
    code = (
        "import os, signal, time; signal.signal(signal.SIGTERM, lambda *_: os._exit(7));"
        "print('ready grpc=a:3', flush=True); time.sleep(60)"
    )
    server = ServerProcess(command(code), tmp_path / "log")
    with pytest.raises(RuntimeError, match="ended with exit code 7"), server:
        pass


def test_killed_server_is_gone_and_can_be_killed_again(tmp_path: Path) -> None:
    code = "import time; print('x ready grpc=a:2 y', flush=True); time.sleep(60)"
    server = ServerProcess(command(code), tmp_path / "log")
    server.kill()
    assert not alive(server.pid)
    server.kill()
    assert server.stop() == -signal.SIGKILL


def test_server_that_does_not_start_is_shown_with_its_log(tmp_path: Path) -> None:
    code = "import sys; print('hello'); sys.exit('no disk')"
    with pytest.raises(RuntimeError, match=r"did not start \(exit code 1\): no disk"):
        ServerProcess(command(code), tmp_path / "log")


def test_anonymous_memory_is_that_of_the_process(tmp_path: Path) -> None:
    code = "import time; a = b'x' * {}; print('ready grpc=a:1', flush=True); time.sleep(60)"
    with (
        ServerProcess(command(code.format(1)), tmp_path / "small") as small,
        ServerProcess(command(code.format(50_000_000)), tmp_path / "large") as large,
    ):
        more = anonymous_bytes(large.pid) - anonymous_bytes(small.pid)
    assert more == pytest.approx(50_000_000, rel=0.05)


def test_process_that_works_is_waited_for(tmp_path: Path) -> None:
    done = tmp_path / "done"
    code = (
        "import pathlib, time; print('ready grpc=a:1', flush=True); end = time.time() + 1\n"
        "while time.time() < end: pass\n"
        f"pathlib.Path({str(done)!r}).touch(); time.sleep(60)"
    )
    with ServerProcess(command(code), tmp_path / "log") as busy:
        wait_until_quiet(busy.pid)
        assert done.exists()


def test_child_that_only_waits_is_waited_for(tmp_path: Path) -> None:
    done = tmp_path / "done"
    code = (
        "import os, pathlib, time; child = os.fork()\n"
        "if not child:\n"
        f"    time.sleep(3); pathlib.Path({str(done)!r}).touch(); os._exit(0)\n"
        "print('ready grpc=a:1', flush=True); os.waitpid(child, 0); time.sleep(60)"
    )
    with ServerProcess(command(code), tmp_path / "log") as parent:
        wait_until_quiet(parent.pid)
        assert done.exists()
