"""Commit groups: one sync for all who wrote before it began, and the truth for each of them.

Method: a gate stands before RocksDB's sync, so that a test decides when each one ends and how.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rooms import WITHIN_S, Gate, eventually, make_options, opened_store, refused, running
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.embedded.schema import Family
from vectorbucket_server.engine.embedded.store import Store


@pytest.fixture(name="gate")
def fixture_gate(store: Store) -> Iterator[Gate]:
    """Yield the gate before the store's sync, open."""
    gate = Gate(store)
    yield gate
    gate.failing = False
    gate.open()


def write(store: Store, key: bytes = b"k") -> None:
    """Write a record."""
    made = store.batch()
    made.put(Family.ROWS, key, b"v")
    store.write(made)


def write_and_sync(store: Store, key: bytes = b"k") -> None:
    """Write a record durably."""
    write(store, key)
    store.sync()


def waiting(store: Store) -> int:
    """Return how many threads wait for another's sync."""
    return len(store._condition._waiters)  # type: ignore[attr-defined]


def test_sync_of_a_write_syncs_once(store: Store, gate: Gate) -> None:
    write_and_sync(store)
    assert gate.done == 1


def test_sync_of_nothing_new_does_nothing(store: Store, gate: Gate) -> None:
    store.sync()
    assert gate.begun == 0
    write(store)
    write(store)
    for _ in range(3):
        store.sync()
    assert gate.done == 1


def test_those_who_wrote_while_one_syncs_are_synced_together(store: Store, gate: Gate) -> None:
    gate.shut()
    with running(lambda: write_and_sync(store)):
        gate.reached(1)
        with running(lambda: write_and_sync(store), times=7):
            eventually(lambda: waiting(store) == 7, "seven wait")
            gate.let_one_through()
            gate.reached(2)
            gate.let_one_through()
    assert gate.done == 2


def test_sync_ends_with_what_covers_it_and_waits_for_no_other(store: Store, gate: Gate) -> None:
    gate.shut()
    with running(lambda: write_and_sync(store)) as later:
        gate.reached(1)
        with running(store.sync) as early:  # its write is the one that is being synced
            eventually(lambda: waiting(store) == 1, "the early one waits")
            write(store)
            with running(store.sync):
                eventually(lambda: waiting(store) == 2, "the late one waits too")
                gate.let_one_through()
                gate.reached(2)
                for thread in (*early, *later):
                    thread.join(WITHIN_S)
                    assert not thread.is_alive(), "it waits for a sync that it does not need"
                gate.let_one_through()
    assert gate.done == 2


def test_sync_never_ends_before_its_own_write_is_covered(store: Store, gate: Gate) -> None:
    gate.shut()
    ended = threading.Event()

    def write_late() -> None:
        write_and_sync(store)
        ended.set()

    with running(lambda: write_and_sync(store)):
        gate.reached(1)
        with running(write_late):
            eventually(lambda: waiting(store) == 1, "the late one waits")
            gate.let_one_through()
            gate.reached(2)
            assert not ended.is_set(), "the first sync had begun before it wrote"
            gate.let_one_through()
    assert ended.is_set()


def test_many_writers_all_return_and_share_their_syncs(store: Store, gate: Gate) -> None:
    names = iter(range(8))

    def write_many() -> None:
        name = next(names)
        for number in range(20):
            write_and_sync(store, f"{name}/{number}".encode())

    gate.shut()
    with running(write_many, times=8):
        eventually(lambda: waiting(store) == 7, "one syncs, seven wait")
        gate.open()
    assert gate.done <= 160 - 6, "the seven were led by one of them"
    assert len(list(store.scan(Family.ROWS, b"", b"\xff"))) == 160


def test_reads_and_writes_go_on_while_one_syncs(store: Store, gate: Gate) -> None:
    gate.shut()
    with running(lambda: write_and_sync(store, b"first")):
        gate.reached(1)
        write(store, b"second")
        assert store.get(Family.ROWS, b"second") == b"v"
        assert store.get(Family.ROWS, b"first") == b"v"
        gate.let_one_through()


def test_sync_that_fails_is_told_to_its_caller(store: Store, gate: Gate) -> None:
    gate.failing = True
    write(store)
    with pytest.raises(ServiceUnavailable, match=r"durable is unknown: Input/output error"):
        store.sync()
    assert store.get(Family.ROWS, b"k") == b"v", "memory follows the store"


def test_after_a_sync_that_failed_nothing_is_acknowledged_before_the_store_is_mended(
    store: Store, gate: Gate
) -> None:
    gate.failing = True
    write(store, b"before")
    assert isinstance(refused(store.sync), ServiceUnavailable)
    # The next sync of the same log would succeed, and what the failed one left out be lost.
    gate.failing = False
    for call in (store.sync, lambda: write(store), store.check_room):
        with pytest.raises(ServiceUnavailable, match=r"fails: look after it.*Input/output error"):
            call()
    assert gate.begun == 1
    assert store.get(Family.ROWS, b"before") == b"v"
    store.mend()
    store.sync()
    write_and_sync(store, b"after")
    assert [key for key, _ in store.scan(Family.ROWS, b"", b"x")] == [b"after", b"before"]


def test_those_who_waited_for_a_sync_that_failed_are_told_so_too(store: Store, gate: Gate) -> None:
    gate.shut()
    gate.failing = True
    outcomes: list[object] = []
    with running(lambda: outcomes.append(refused(lambda: write_and_sync(store)))):
        gate.reached(1)
        gate.failing = False
        with running(lambda: outcomes.append(refused(lambda: write_and_sync(store))), times=4):
            eventually(lambda: waiting(store) == 4, "four wait")
            gate.let_one_through()
    assert len(outcomes) == 5
    assert all(isinstance(one, ServiceUnavailable) for one in outcomes)
    assert gate.begun == 1


def test_write_that_was_refused_wants_no_sync(store: Store, gate: Gate) -> None:
    made = store.batch()
    store.write(made)
    store.sync()
    with pytest.raises(ServiceUnavailable):
        store.write(made)
    store.sync()
    assert gate.done == 1


def test_store_that_does_not_sync_writes_never_does(tmp_path: Path) -> None:
    with opened_store(tmp_path, sync_writes=False) as store:
        gate = Gate(store)
        write_and_sync(store)
    assert gate.begun == 0


def test_closing_syncs_what_was_not(tmp_path: Path) -> None:
    with opened_store(tmp_path) as store:
        gate = Gate(store)
        write(store)
    assert gate.done == 1


def test_store_whose_last_sync_fails_is_closed_nevertheless(tmp_path: Path) -> None:
    options = make_options(tmp_path)
    options.data_dir.mkdir()
    store = Store(options.data_dir / "store", options)
    Gate(store).failing = True
    write(store)
    with pytest.raises(ServiceUnavailable, match="unknown"):
        store.close()
    with opened_store(tmp_path) as again:
        assert again.get(Family.ROWS, b"k") == b"v"
