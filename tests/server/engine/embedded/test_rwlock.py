"""Readers share, a writer is alone, and neither keeps the other out for ever.

Method: threads are brought into a known state by waiting until the lock counts them as waiting;
what they do then is written to a list while they hold the lock, so its order is the lock's order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from rooms import WITHIN_S, eventually, restless, running
from vectorbucket_server.engine.embedded.rwlock import ReadWriteLock


@pytest.fixture(name="lock")
def fixture_lock() -> ReadWriteLock:
    """Return a lock that nobody holds."""
    return ReadWriteLock()


def reader(lock: ReadWriteLock, name: str, log: list[str]) -> Callable[[], None]:
    """Return a call that reads once."""

    def read() -> None:
        with lock.read():
            log.append(name)

    return read


def writer(lock: ReadWriteLock, name: str, log: list[str]) -> Callable[[], None]:
    """Return a call that writes once."""

    def write() -> None:
        with lock.write():
            log.append(name)

    return write


def waiting(lock: ReadWriteLock, *, readers: int, writers: int) -> None:
    """Return once so many threads wait for the lock."""
    eventually(
        lambda: (lock._readers_waiting, lock._writers_waiting) == (readers, writers),
        f"{readers} readers and {writers} writers wait",
    )


def test_readers_hold_the_lock_at_the_same_time(lock: ReadWriteLock) -> None:
    inside = threading.Barrier(4)

    def read() -> None:
        with lock.read():
            inside.wait(WITHIN_S)  # passes only if all four are inside at once

    with running(read, times=4):
        pass


def test_writer_waits_until_the_last_reader_is_done(lock: ReadWriteLock) -> None:
    log: list[str] = []
    first, second = lock.read(), lock.read()
    first.__enter__()
    second.__enter__()
    with running(writer(lock, "writer", log)):
        waiting(lock, readers=0, writers=1)
        first.__exit__(None, None, None)
        waiting(lock, readers=0, writers=1)
        log.append("second reader")
        second.__exit__(None, None, None)
    assert log == ["second reader", "writer"]


def test_reader_waits_until_the_writer_is_done(lock: ReadWriteLock) -> None:
    log: list[str] = []
    held = lock.write()
    held.__enter__()
    with running(reader(lock, "reader", log)):
        waiting(lock, readers=1, writers=0)
        log.append("writer")
        held.__exit__(None, None, None)
    assert log == ["writer", "reader"]


def test_writer_waits_until_the_other_writer_is_done(lock: ReadWriteLock) -> None:
    log: list[str] = []
    held = lock.write()
    held.__enter__()
    with running(writer(lock, "second", log)):
        waiting(lock, readers=0, writers=1)
        log.append("first")
        held.__exit__(None, None, None)
    assert log == ["first", "second"]


def test_waiting_writer_goes_before_readers_that_come_later(lock: ReadWriteLock) -> None:
    log: list[str] = []
    held = lock.read()
    held.__enter__()
    with running(writer(lock, "writer", log)):
        waiting(lock, readers=0, writers=1)
        with running(reader(lock, "late reader", log), times=2):
            waiting(lock, readers=2, writers=1)
            held.__exit__(None, None, None)
    assert log == ["writer", "late reader", "late reader"]


def test_waiting_readers_all_go_before_the_next_writer(lock: ReadWriteLock) -> None:
    # Often, because a writer that does not wait for them would still lose most races.
    for _ in range(30):
        log: list[str] = []
        inside = threading.Barrier(3)

        def read(log: list[str] = log, inside: threading.Barrier = inside) -> None:
            with lock.read():
                inside.wait(WITHIN_S)  # they go together, not one after each writer
                log.append("reader")

        held = lock.write()
        held.__enter__()
        with restless(), running(writer(lock, "writer", log), times=2):
            waiting(lock, readers=0, writers=2)
            with running(read, times=3):
                waiting(lock, readers=3, writers=2)
                held.__exit__(None, None, None)
        assert log == ["reader"] * 3 + ["writer"] * 2


def test_reader_of_the_next_phase_does_not_overtake_the_writer(lock: ReadWriteLock) -> None:
    log: list[str] = []
    admitted, go_on = threading.Event(), threading.Event()

    def read() -> None:
        with lock.read():
            log.append("first reader")
            admitted.set()
            assert go_on.wait(WITHIN_S)

    held = lock.write()
    held.__enter__()
    with running(read), running(writer(lock, "writer", log)):
        waiting(lock, readers=1, writers=1)
        held.__exit__(None, None, None)
        assert admitted.wait(WITHIN_S)
        with running(reader(lock, "second reader", log)):
            waiting(lock, readers=1, writers=1)
            go_on.set()
    assert log == ["first reader", "writer", "second reader"]


def test_readers_that_never_pause_do_not_starve_a_writer(lock: ReadWriteLock) -> None:
    done = threading.Event()
    both = threading.Semaphore(0)

    def read() -> None:
        both.release()
        while not done.is_set():
            with lock.read():
                pass

    with running(read, times=4):
        for _ in range(4):
            assert both.acquire(timeout=WITHIN_S)
        for _ in range(100):
            with lock.write():
                pass
        done.set()


def test_writers_that_never_pause_do_not_starve_a_reader(lock: ReadWriteLock) -> None:
    done = threading.Event()
    both = threading.Semaphore(0)

    def write() -> None:
        both.release()
        while not done.is_set():
            with lock.write():
                pass

    with running(write, times=4):
        for _ in range(4):
            assert both.acquire(timeout=WITHIN_S)
        for _ in range(100):
            with lock.read():
                pass
        done.set()


def test_nobody_is_ever_beside_a_writer(lock: ReadWriteLock) -> None:
    inside = {"readers": 0, "writers": 0}
    counting = threading.Lock()
    most = {"readers": 0, "writers": 0}

    def note(who: str, change: int) -> None:
        with counting:
            inside[who] += change
            most[who] = max(most[who], inside[who])
            assert inside["writers"] <= 1
            assert not (inside["writers"] and inside["readers"])

    def read() -> None:
        for _ in range(300):
            with lock.read():
                note("readers", 1)
                note("readers", -1)

    def write() -> None:
        for _ in range(150):
            with lock.write():
                note("writers", 1)
                note("writers", -1)

    with running(read, times=3), running(write, times=2):
        pass
    assert inside == {"readers": 0, "writers": 0}
    assert most["writers"] == 1
    assert most["readers"] >= 1


@pytest.mark.parametrize("kind", ["read", "write"])
def test_exception_in_the_block_releases_the_lock(lock: ReadWriteLock, kind: str) -> None:
    with pytest.raises(ValueError, match="inside"), getattr(lock, kind)():
        raise ValueError("inside")
    log: list[str] = []
    with running(writer(lock, "writer", log)):
        pass
    with running(reader(lock, "reader", log)):
        pass
    assert log == ["writer", "reader"]


def test_exception_of_a_writer_lets_waiting_readers_in(lock: ReadWriteLock) -> None:
    log: list[str] = []
    held = lock.write()
    held.__enter__()
    with running(reader(lock, "reader", log), times=2):
        waiting(lock, readers=2, writers=0)
        error = ValueError("inside")
        assert not held.__exit__(ValueError, error, None)
    assert log == ["reader", "reader"]
