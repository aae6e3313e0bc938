"""A store on a disk that is full or failing: what it refuses, and how it comes to take it again.

Method: RocksDB fails when a test says so, with the words that it has for it; what really happens on
such a disk is in tests/durability/test_disk_full.py.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rooms import (
    WITHIN_S,
    Standing,
    files_no_longer_than,
    in_child,
    opened_store,
    records_of,
    refused,
)
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.embedded.schema import Family
from vectorbucket_server.engine.embedded.store import Store

ROWS = Family.ROWS

ENORMOUS = 1 << 60
"""More bytes than any disk has."""


def put(store: Store, records: dict[bytes, bytes]) -> None:
    """Write records together."""
    made = store.batch()
    made.put_many(ROWS, list(records), list(records.values()))
    store.write(made)


def fail(store: Store, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let one write fail, with these words of RocksDB's."""

    def refuse(*_: object) -> None:
        raise OSError(text)

    with monkeypatch.context() as during:
        during.setattr(store, "_db", Standing(store._db, write=refuse))
        with pytest.raises(ServiceUnavailable, match=text):
            put(store, {b"refused": b"v"})


def test_store_with_room_refuses_nothing(store: Store) -> None:
    assert store.writes_refused == ""
    assert store.takes_writes
    store.check_room()
    store.check_room_for("the checkpoint", 1_000)
    store.mend()


def test_disk_with_too_little_room_takes_no_puts_and_everything_else(tmp_path: Path) -> None:
    with opened_store(tmp_path, disk_free_bytes_min=ENORMOUS) as store:
        with pytest.raises(ServiceUnavailable, match="less than disk_free_bytes_min") as told:
            store.check_room()
        assert told.value.retry_after_s == 5
        assert store.writes_refused == told.value.message
        with pytest.raises(ServiceUnavailable, match=r"the checkpoint takes 10 bytes"):
            store.check_room_for("the checkpoint", 10)
        assert store.takes_writes
        put(store, {b"k": b"v"})
        store.sync()


def test_room_is_looked_at_again_after_a_moment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter(["no room", "still none", "", "no room again"])
    monkeypatch.setattr(store, "_space", Standing(store._space, refusal=lambda: next(said)))
    assert store.writes_refused == "no room"
    assert store.writes_refused == "still none", "a refusal is looked into every time"
    assert store.writes_refused == ""
    monkeypatch.setattr(store, "_room_seen_s", time.monotonic() + WITHIN_S)
    assert store.writes_refused == "", "that there is room is believed for a moment"
    monkeypatch.setattr(store, "_room_seen_s", time.monotonic() - 1)
    assert store.writes_refused == "no room again"


def test_merges_that_fall_far_behind_end_puts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = Standing(store._families[ROWS], property_value=lambda _: "75")
    monkeypatch.setitem(store._families, ROWS, behind)
    with pytest.raises(ServiceUnavailable, match=r"75 files of the store .* wait to be merged, 75"):
        store.check_room()


def test_after_a_write_that_failed_none_is_tried(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, {b"before": b"v"})
    called: list[int] = []
    store.when_refused = lambda: called.append(1)
    fail(store, monkeypatch, "Input/output error")
    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match=r"fails: look after it; .*Input/output error"):
            put(store, {b"k": b"v"})
    assert called == [1]
    assert not store.is_full
    assert not store.takes_writes
    assert list(records_of(store, ROWS)) == [b"before"]
    store.mend()
    assert store.writes_refused == ""
    put(store, {b"after": b"v"})
    store.sync()
    assert list(records_of(store, ROWS)) == [b"after", b"before"]


def test_full_store_is_left_to_rocksdb_while_it_may_go_on_by_itself(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, {b"before": b"v"})
    before = store._db
    fail(store, monkeypatch, "No space left on device")
    assert store.is_full
    assert "is full: make room; " in store.writes_refused
    goes_on = store.goes_on
    monkeypatch.setattr(store, "goes_on", lambda: False)
    with pytest.raises(ServiceUnavailable, match="RocksDB has not noticed yet"):
        store.mend()
    monkeypatch.setattr(store, "goes_on", goes_on)
    store.mend()
    assert store._db is before
    put(store, {b"after": b"v"})
    assert list(records_of(store, ROWS)) == [b"after", b"before"]


def test_full_store_that_rocksdb_forgets_is_opened_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, {b"before": b"v"})
    before = store._db
    fail(store, monkeypatch, "No space left on device")
    monkeypatch.setattr(store, "goes_on", lambda: False)
    monkeypatch.setattr("vectorbucket_server.engine.embedded.store.OWN_RESUMPTION_S", 0.0)
    store.mend()
    assert store._db is not before
    put(store, {b"after": b"v"})
    assert list(records_of(store, ROWS)) == [b"after", b"before"]


def test_nothing_is_opened_anew_before_the_disk_takes_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, {b"before": b"v"})
    before = store._db
    fail(store, monkeypatch, "Input/output error")
    with (
        files_no_longer_than(100_000),
        pytest.raises(ServiceUnavailable, match=r"takes nothing yet: .*large"),
    ):
        store.mend()
    assert store._db is before
    assert list(records_of(store, ROWS)) == [b"before"]
    store.mend()
    put(store, {b"after": b"v"})


def test_store_that_refuses_writes_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened_store(tmp_path) as store:
        put(store, {b"k": b"v"})
        fail(store, monkeypatch, "Input/output error")
    with opened_store(tmp_path) as store:
        assert list(records_of(store, ROWS)) == [b"k"]


def test_error_that_is_kept_keeps_no_store_open(store: Store) -> None:
    put(store, {b"a": b"1", b"b": b"2"})
    made = store.batch()
    made.put(ROWS, b"c", b"3")
    store.write(made)
    kept = refused(lambda: store.write(made))
    assert isinstance(kept, ServiceUnavailable)
    assert next(store.scan(ROWS, b"", b"x")) == (b"a", b"1")
    # Opening anew closes what nobody holds, and would wait for the batch, the error or the scan.
    started_s = time.monotonic()
    store.open_anew()
    assert time.monotonic() - started_s < 5
    assert made is not None
    assert len(records_of(store, ROWS)) == 3


FILL = """
import sys
from pathlib import Path
from rooms import files_no_longer_than, make_options, refused
from vectorbucket_server.engine.embedded.schema import Family
from vectorbucket_server.engine.embedded.store import Store

options = make_options(Path(sys.argv[1]), sync_writes=False)
options.data_dir.mkdir()
store = Store(options.data_dir / "store", options)
with files_no_longer_than(100_000):
    for number in range(10):
        made = store.batch()
        made.put(Family.ROWS, b"%d" % number, b"")
        made.put(Family.DATA, b"%d" % number, bytes(30_000))
        if outcome := refused(lambda: store.write(made)):
            print(number, repr(outcome))
            break
    print(repr(refused(store.close)))
"""


def test_full_disk_refuses_a_batch_and_keeps_what_came_before(tmp_path: Path) -> None:
    write, close = in_child(FILL, tmp_path).splitlines()
    assert write.startswith("3 ServiceUnavailable('the store refused a write: ")
    assert close.startswith("ServiceUnavailable('the store could not close: ")
    with opened_store(tmp_path) as store:
        assert list(records_of(store, ROWS)) == [b"0", b"1", b"2"]
        assert list(records_of(store, Family.DATA)) == [b"0", b"1", b"2"]
        put(store, {b"3": b""})


def test_disk_limit_of_these_tests_ends_with_its_block(tmp_path: Path) -> None:
    with files_no_longer_than(10), pytest.raises(OSError, match="large"):
        (tmp_path / "file").write_bytes(b"x" * 11)
    (tmp_path / "file").write_bytes(b"x" * 11)
