"""A child does its work and ends, whatever happens; what it was given it does not hold.

Method: real children of this process, and for the parent's death a process in between. A child that
must not end waits for a signal that never comes.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from rooms import WITHIN_S, eventually, in_child, running
from vectorbucket_server.engine.embedded import forked
from vectorbucket_server.engine.embedded.forked import Child, ChildFailed


def wait_for_ever() -> bytes:
    """Work that does not end by itself."""
    while True:
        signal.pause()


def is_gone(process: int) -> bool:
    """Return whether a child was waited for: not even a zombie of it is left."""
    try:
        os.waitpid(process, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def fail_with(error: BaseException) -> Callable[[], bytes]:
    """Return work that raises."""

    def work() -> bytes:
        raise error

    return work


# --- What comes back ------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [b"", b"=", b"!", b"done", b"\0\xff" * 100_000])
def test_answer_comes_back_byte_for_byte(answer: bytes) -> None:
    child = Child(lambda: answer)
    assert child.wait(WITHIN_S) == answer
    assert is_gone(child._process)


def test_child_sees_memory_as_it_was_and_changes_nothing_of_it() -> None:
    words = ["before"]

    def work() -> bytes:
        words.append("in the child")
        return f"{os.getppid()} {words}".encode()

    child = Child(work)
    words.append("after")
    assert child.wait(WITHIN_S) == f"{os.getpid()} ['before', 'in the child']".encode()
    assert words == ["before", "after"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        ValueError("grün"),
        MemoryError(),
        RuntimeError("x" * 3_000_000),
        KeyboardInterrupt(),
        SystemExit(0),
        ValueError("\udcff"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exception_of_the_work_comes_back_with_its_words(error: BaseException) -> None:
    child = Child(fail_with(error))
    with pytest.raises(ChildFailed) as raised:
        child.wait(WITHIN_S)
    told = f"{type(error).__name__}: {error}".encode(errors="replace").decode()
    assert str(raised.value) == told[: forked._ANSWER_BYTES_MAX // 2]
    assert is_gone(child._process)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_child_that_is_killed_has_failed(number: signal.Signals) -> None:
    child = Child(wait_for_ever)
    os.kill(child._process, number)
    with pytest.raises(ChildFailed, match=f"status {-number}$"):
        child.wait(WITHIN_S)
    assert is_gone(child._process)


def test_answer_of_a_child_that_was_killed_while_it_gave_it_is_not_believed() -> None:
    # More than a pipe holds: the child stands in the middle of its answer until somebody reads.
    child = Child(lambda: b"x" * 1_000_000)
    select.select([child._answer], [], [], WITHIN_S)
    os.kill(child._process, signal.SIGKILL)
    with pytest.raises(ChildFailed, match=f"status {-signal.SIGKILL}$"):
        child.wait(WITHIN_S)
    assert is_gone(child._process)


def test_answer_that_is_too_long_is_refused_and_not_cut() -> None:
    child = Child(lambda: b"x" * (2 * forked._ANSWER_BYTES_MAX))
    with pytest.raises(ChildFailed, match=r"status 1$"):
        child.wait(WITHIN_S)
    assert is_gone(child._process)


def test_child_that_ends_without_a_word_has_failed() -> None:
    child = Child(lambda: os._exit(0))
    with pytest.raises(ChildFailed, match=r"status 0$"):
        child.wait(WITHIN_S)


# --- Patience -------------------------------------------------------------------------------------


@pytest.mark.parametrize("patience_s", [0.0, 0.01])
def test_child_that_takes_too_long_is_killed_and_leaves_no_zombie(patience_s: float) -> None:
    child = Child(wait_for_ever)
    with pytest.raises(ChildFailed, match="did not end in 0 seconds"):
        child.wait(patience_s)
    assert is_gone(child._process)


def test_child_that_nobody_waits_for_any_more_is_killed() -> None:
    hurried = threading.Event()
    child = Child(wait_for_ever)
    with running(hurried.set), pytest.raises(ChildFailed, match="nobody waits"):
        child.wait(WITHIN_S, hurried)
    assert is_gone(child._process)


def test_child_that_stops_in_the_middle_of_its_answer_is_killed() -> None:
    child = Child(lambda: b"x" * 1_000_000)
    select.select([child._answer], [], [], WITHIN_S)
    os.kill(child._process, signal.SIGSTOP)
    with pytest.raises(ChildFailed, match="did not end"):
        child.wait(0.01)
    assert is_gone(child._process)


def test_child_that_does_not_heed_its_parents_words_is_killed_all_the_same() -> None:
    ready, told = os.pipe()

    def work() -> bytes:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        return wait_for_ever()

    child = Child(work)
    os.close(told)
    assert select.select([ready], [], [], WITHIN_S)[0], "it runs"
    os.close(ready)
    os.kill(child._process, signal.SIGTERM)
    with pytest.raises(ChildFailed):
        child.wait(0.0)
    assert is_gone(child._process)


# --- What a child holds ---------------------------------------------------------------------------


def open_descriptors() -> set[int]:
    """Return the descriptors that are open in this process."""
    most = 4_096
    return {number for number in range(most) if _is_open(number)}


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_child_holds_nothing_of_its_parent_but_its_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, (tmp_path / "file").open("w") as file:
        held = {listening.fileno(), file.fileno(), *os.pipe()}
        far = os.dup2(file.fileno(), 900)
        child = Child(lambda: json.dumps(sorted(open_descriptors() - {0, 1, 2})).encode())
        (answer,) = json.loads(child.wait(WITHIN_S))
        assert answer not in held | {far}
        assert all(map(_is_open, held | {far})), "in the parent they are open still"
        for number in held - {listening.fileno(), file.fileno()} | {far}:
            os.close(number)


def test_pipe_whose_other_end_the_parent_closes_is_closed() -> None:
    reading, writing = os.pipe()
    child = Child(wait_for_ever)
    try:
        os.close(writing)
        assert select.select([reading], [], [], WITHIN_S)[0], "the child holds the pipe"
        assert os.read(reading, 1) == b""
    finally:
        os.close(reading)
        with pytest.raises(ChildFailed):
            child.wait(0.0)


def test_waiting_leaves_no_descriptor_open() -> None:
    before = open_descriptors()
    Child(lambda: b"done").wait(WITHIN_S)
    for work in (fail_with(ValueError()), wait_for_ever):
        with pytest.raises(ChildFailed):
            Child(work).wait(0.0)
    assert open_descriptors() == before


def test_descriptors_above_those_of_select_do(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_048), hard))
    opened: list[int] = []
    try:
        while not opened or opened[-1] < 1_024:
            opened.append(os.open(tmp_path, os.O_RDONLY))
        assert Child(lambda: b"done").wait(WITHIN_S) == b"done"
    finally:
        for number in opened:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_system_without_room_for_a_child_is_an_error_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = open_descriptors()
    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(OSError, match="unavailable"):
        Child(lambda: b"")
    assert open_descriptors() == before


def test_child_gives_way_to_its_parent() -> None:
    child = Child(lambda: str(os.nice(0)).encode())
    assert int(child.wait(WITHIN_S)) == min(os.nice(0) + forked._NICENESS, 19)


def test_nothing_that_the_parent_does_at_its_end_is_done_by_the_child() -> None:
    program = """
import atexit, sys
from vectorbucket_server.engine.embedded.forked import Child
atexit.register(print, "the end")
sys.stdout.write("begun, ")
Child(lambda: b"").wait(60)
"""
    assert in_child(program) == "begun, the end"


# --- Beside threads -------------------------------------------------------------------------------


def test_children_of_a_process_with_busy_threads_end() -> None:
    # A lock that a thread holds at the fork is held for ever in the child: it must need none.
    over = threading.Event()

    def busy() -> None:
        while not over.is_set():
            sorted(map(str, range(100)))

    with running(busy, times=4):
        try:
            for number in range(20):
                word = b"%d" % number
                assert Child(partial(bytes, word)).wait(WITHIN_S) == word
        finally:
            over.set()


# --- The parent's death ---------------------------------------------------------------------------

DYING_PARENT = """
import os, signal, sys
from vectorbucket_server.engine.embedded.forked import Child

def work():
    os.write(1, f"{os.getpid()}".encode())  # told once it is at work
    while True:
        signal.pause()

child = Child(work)
os.read(0, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_child_of_a_traced_thread_calls_no_tracer() -> None:
    """A tracer that takes a lock waits for ever in a child that was forked while it was held."""
    parent, lock = os.getpid(), threading.Lock()

    def trace(_frame: object, event: str, _argument: object) -> None:
        if event == "call" and os.getpid() != parent:
            lock.acquire()

    answers: list[bytes] = []

    def fork() -> None:
        sys.settrace(trace)
        try:
            answers.append(Child(lambda: b"done").wait(WITHIN_S))
        finally:
            sys.settrace(None)

    with lock:
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
    assert answers == [b"done"]


def test_child_dies_with_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DYING_PARENT],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        child = int(os.read(parent.stdout.fileno(), 100))
        assert not _is_dead(child)
        parent.stdin.write(b".")
        parent.stdin.flush()
        assert parent.wait(WITHIN_S) == -signal.SIGKILL
        eventually(lambda: _is_dead(child), "the child is dead")
        assert parent.stdout.read() == b"", "nobody holds its output any more"


def _is_dead(process: int) -> bool:
    """Return whether a process that is not ours has ended; a zombie has."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2]
    except FileNotFoundError:
        return True
    return state.split()[0] in {"Z", "X"}
