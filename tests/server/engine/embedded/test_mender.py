"""Writes that were refused are taken again: who is told, and when it is tried.

Method: a real store, whose RocksDB fails when a test says so.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rooms import Gate, Notes, Standing, eventually, records_of, refused
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.embedded import mender as menders
from vectorbucket_server.engine.embedded.mender import Mender
from vectorbucket_server.engine.embedded.schema import Family
from vectorbucket_server.engine.embedded.store import Store

ROWS = Family.ROWS


class Witness(Notes):
    """An observer that remembers recoveries, too."""

    def __init__(self) -> None:
        super().__init__()
        self.recoveries: list[str] = []

    def background_recovered(self, what: str, seconds: float) -> None:
        """Remember a recovery."""
        assert seconds >= 0
        self.recoveries.append(what)


@pytest.fixture(name="notes")
def fixture_notes() -> Witness:
    """Return an observer that remembers."""
    return Witness()


def write_and_sync(store: Store, key: bytes) -> None:
    """Write a record durably."""
    made = store.batch()
    made.put(ROWS, key, b"v")
    store.write(made)
    store.sync()


@pytest.fixture(name="mender")
def fixture_mender(
    store: Store, notes: Witness, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mender]:
    """Yield a mender at work, which does not wait long."""
    monkeypatch.setattr(menders, "_PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(menders, "_LOOK_AGAIN_S", 0.001)
    mender = Mender(store, notes)
    mender.start()
    yield mender
    mender.stop()


@pytest.mark.usefixtures("mender")
def test_store_whose_sync_failed_is_mended_and_both_is_told_once(
    store: Store, notes: Witness
) -> None:
    write_and_sync(store, b"a")
    for times in (1, 2):
        Gate(store).failing = True
        assert isinstance(refused(lambda: write_and_sync(store, b"b")), ServiceUnavailable)
        eventually(lambda: not store.writes_refused, "writes are taken again")
        write_and_sync(store, b"c")
        assert sorted(records_of(store, ROWS)) == [b"a", b"b", b"c"]
        eventually(lambda: len(notes.recoveries) == len(notes.failures), "it is told")
        assert notes.recoveries == ["writes"] * times
        assert [what for what, _ in notes.failures] == ["writes"] * times
    assert "Input/output error" in str(notes.failures[0][1])


@pytest.mark.usefixtures("mender")
def test_it_is_tried_until_it_works_and_told_of_once(
    store: Store, notes: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    mend = store.mend

    def fail_at_first() -> None:
        tries.append(1)
        if len(tries) < 5:
            raise ServiceUnavailable("not yet")
        mend()

    monkeypatch.setattr(store, "mend", fail_at_first)
    Gate(store).failing = True
    refused(lambda: write_and_sync(store, b"a"))
    eventually(lambda: notes.recoveries, "writes are taken again")
    assert len(tries) == 5
    assert len(notes.failures) == 1
    assert list(records_of(store, ROWS)) == [b"a"]


def test_pauses_grow_and_are_kept_for_a_store_that_fails_again_soon(
    store: Store, notes: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    mender = Mender(store, notes)
    mender._condition = Standing(  # type: ignore[assignment]
        mender._condition,
        __enter__=mender._condition.__enter__,
        wait_for=lambda _, seconds: waited.append(seconds),
    )
    monkeypatch.setattr(Standing, "__enter__", lambda self: self, raising=False)
    monkeypatch.setattr(Standing, "__exit__", lambda *_: None, raising=False)
    outcomes = iter([*[ServiceUnavailable("not yet")] * 8, None, None])

    def mend() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(store, "mend", mend)
    assert mender._mended()
    assert waited == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert mender._mended()
    assert waited[9:] == [30]


def test_store_that_only_wants_room_is_looked_after_often(
    store: Store, notes: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as during:
        during.setattr(store, "_db", Standing(store._db, write=refuse))
        assert isinstance(refused(lambda: write_and_sync(store, b"a")), ServiceUnavailable)
    assert store.is_full
    monkeypatch.setattr(menders, "_LOOK_AGAIN_S", 0.001)
    monkeypatch.setattr(menders, "_PAUSE_FIRST_S", 1e9)
    mender = Mender(store, notes)
    mender.start()
    mender.wake()
    eventually(lambda: notes.recoveries, "writes are taken again")
    mender.stop()
    write_and_sync(store, b"a")
    assert mender._pause_s == 1e9, "looking costs nothing, and makes nobody wait longer"


def test_mender_ends_while_nothing_helps(
    store: Store, notes: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(menders, "_PAUSE_FIRST_S", 1e9)
    mender = Mender(store, notes)
    mender.start()
    Gate(store).failing = True
    refused(lambda: write_and_sync(store, b"a"))
    eventually(lambda: notes.failures, "it is told")
    mender.stop()
    assert not mender._thread.is_alive()
    assert notes.recoveries == []
