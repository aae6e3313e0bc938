"""The store moves bytes: batches whole, scans of one moment, errors of the contract.

What is synced, and for whom, stands in test_store_sync.py.
"""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from rooms import (
    Standing,
    in_child,
    make_options,
    opened_store,
    records_of,
    running,
)
from vectorbucket.errors import Corruption, ServiceUnavailable
from vectorbucket_server.engine.embedded.schema import Family
from vectorbucket_server.engine.embedded.store import Store

ROWS = Family.ROWS


def put(store: Store, records: dict[bytes, bytes], family: Family = ROWS) -> None:
    """Write records together."""
    made = store.batch()
    made.put_many(family, list(records), list(records.values()))
    store.write(made)


def numbered(count: int, size: int = 1) -> dict[bytes, bytes]:
    """Return records whose keys ascend."""
    return {f"{number:05}".encode(): bytes([number % 256]) * size for number in range(count)}


# --- Reading and writing --------------------------------------------------------------------------


def test_what_was_written_is_read_back_as_bytes(store: Store) -> None:
    records = {b"\0": b"", b"k": b"\0\xff" * 100, b"\xff" * 16: b"x" * 3_000_000}
    put(store, records)
    assert records_of(store, ROWS) == records
    for key, value in records.items():
        assert store.get(ROWS, key) == value


def test_missing_key_is_none(store: Store) -> None:
    assert store.get(ROWS, b"missing") is None


def test_many_are_read_in_the_order_they_are_asked_for(store: Store) -> None:
    put(store, {b"a": b"1", b"b": b"2", b"empty": b""})
    asked = [b"b", b"missing", b"a", b"b", b"empty", b""]
    assert store.get_many(ROWS, asked) == [b"2", None, b"1", b"2", b"", None]
    assert store.get_many(ROWS, []) == []


def test_families_are_apart(store: Store) -> None:
    for family in Family:
        put(store, {b"k": family.value.encode()}, family)
    for family in Family:
        assert records_of(store, family) == {b"k": family.value.encode()}
    made = store.batch()
    made.delete(ROWS, b"k")
    store.write(made)
    assert [family for family in Family if store.get(family, b"k") is None] == [ROWS]


def test_later_put_replaces_the_earlier(store: Store) -> None:
    put(store, {b"k": b"1"})
    put(store, {b"k": b"2"})
    made = store.batch()
    made.put(ROWS, b"l", b"1")
    made.put(ROWS, b"l", b"2")
    store.write(made)
    assert records_of(store, ROWS) == {b"k": b"2", b"l": b"2"}


def test_deletes_remove_and_forgive(store: Store) -> None:
    put(store, numbered(6))
    made = store.batch()
    made.delete(ROWS, b"00000")
    made.delete(ROWS, b"missing")
    made.delete_many(ROWS, [b"00002", b"00003", b"missing"])
    store.write(made)
    assert list(records_of(store, ROWS)) == [b"00001", b"00004", b"00005"]


def test_range_is_deleted_up_to_its_end(store: Store) -> None:
    put(store, numbered(10))
    put(store, numbered(10), Family.DATA)
    made = store.batch()
    made.delete_range(ROWS, b"00002", b"00008")
    store.write(made)
    assert list(records_of(store, ROWS)) == [b"00000", b"00001", b"00008", b"00009"]
    assert len(records_of(store, Family.DATA)) == 10


def test_keys_and_values_of_different_numbers_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="shorter"):
        store.batch().put_many(ROWS, [b"a", b"b"], [b"1"])


# --- Batches --------------------------------------------------------------------------------------


def test_batch_is_seen_when_it_was_written_and_not_before(store: Store) -> None:
    made = store.batch()
    made.put(ROWS, b"k", b"v")
    assert store.get(ROWS, b"k") is None
    store.write(made)
    assert store.get(ROWS, b"k") == b"v"


def test_batch_is_used_once(store: Store) -> None:
    made = store.batch()
    made.put(ROWS, b"k", b"v")
    store.write(made)
    with pytest.raises(ServiceUnavailable, match="consumed"):
        store.write(made)


def test_empty_batch_is_written(store: Store) -> None:
    store.write(store.batch())
    store.sync()


def test_readers_see_a_batch_whole(store: Store) -> None:
    keys = [f"{number}".encode() for number in range(20)]
    put(store, dict.fromkeys(keys, b"0"))
    done = threading.Event()
    torn: list[set[bytes | None]] = []

    def read() -> None:
        while not done.is_set():
            seen = {value for _, value in store.scan(ROWS, b"", b"\xff")}
            if len(seen) != 1:
                torn.append({*seen})

    with running(read, times=2):
        for version in range(300):
            put(store, dict.fromkeys(keys, str(version).encode()))
        done.set()
    assert torn == []


def test_refused_batch_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("No space left on device")

    put(store, {b"a": b"1"})
    monkeypatch.setattr(store, "_db", Standing(store._db, write=refuse))
    with pytest.raises(ServiceUnavailable, match=r"refused a write: No space left") as told:
        put(store, {b"a": b"2", b"b": b"2"})
    assert isinstance(told.value.__cause__, OSError)
    assert records_of(store, ROWS) == {b"a": b"1"}


# --- Scans ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "stop", "first", "last"),
    [
        (b"", b"\xff", 0, 9),
        (b"00003", b"00006", 3, 5),
        (b"00003", b"00003\0", 3, 3),
        (b"00003\0", b"00006\0", 4, 6),
        (b"0000", b"00002", 0, 1),
        (b"00009", b"zz", 9, 9),
    ],
)
def test_scan_goes_from_its_start_up_to_its_end(
    store: Store, start: bytes, stop: bytes, first: int, last: int
) -> None:
    put(store, numbered(10))
    expected = list(numbered(10).items())[first : last + 1]
    assert list(store.scan(ROWS, start, stop)) == expected


@pytest.mark.parametrize(("start", "stop"), [(b"a", b"b"), (b"00003", b"00003"), (b"9", b"1")])
def test_scan_of_nothing_yields_nothing(store: Store, start: bytes, stop: bytes) -> None:
    put(store, numbered(10))
    assert list(store.scan(ROWS, start, stop)) == []


def test_scan_is_of_the_moment_of_its_first_step(store: Store) -> None:
    put(store, numbered(5))
    begun, not_begun = store.scan(ROWS, b"", b"\xff"), store.scan(ROWS, b"", b"\xff")
    assert next(begun) == (b"00000", b"\0")
    made = store.batch()
    made.delete(ROWS, b"00001")
    made.put(ROWS, b"00002", b"new")
    made.put(ROWS, b"00007", b"new")
    store.write(made)
    assert list(begun) == list(numbered(5).items())[1:]
    assert [key for key, _ in not_begun] == [b"00000", b"00002", b"00003", b"00004", b"00007"]


def test_scan_that_is_left_halfway_is_in_nobodys_way(tmp_path: Path) -> None:
    with opened_store(tmp_path) as store:
        put(store, numbered(100))
        assert len(list(itertools.islice(store.scan(ROWS, b"", b"\xff"), 3))) == 3
    with opened_store(tmp_path) as store:
        assert len(records_of(store, ROWS)) == 100


def test_size_is_that_of_the_table_files(store: Store) -> None:
    assert store.size_bytes() == 0
    put(store, {b"k": b"v" * 100}, Family.DATA)
    store._families[Family.DATA].flush()
    assert 100 < store.size_bytes() < 10_000


# --- Opening and closing --------------------------------------------------------------------------


@pytest.mark.parametrize("sync_writes", [True, False])
def test_what_was_written_outlives_the_store(tmp_path: Path, *, sync_writes: bool) -> None:
    for number in range(3):
        with opened_store(tmp_path, sync_writes=sync_writes) as store:
            assert records_of(store, ROWS) == numbered(number)
            put(store, numbered(number + 1))


def test_files_hold_the_bytes_as_they_were_given(store: Store, tmp_path: Path) -> None:
    put(store, {b"some key": b"some value"})
    logs = [path.read_bytes() for path in (tmp_path / "data" / "store").glob("*.log")]
    assert any(b"some key\x0asome value" in log for log in logs), "a pickle would frame them"


OPEN_AGAIN = """
import sys
from pathlib import Path
from rooms import opened_store, refused

def open_again():
    with opened_store(Path(sys.argv[1])):
        return "opened"

print(repr(refused(open_again)))
"""


def test_second_process_is_told_that_the_store_is_in_use(store: Store, tmp_path: Path) -> None:
    put(store, {b"k": b"v"})
    told = in_child(OPEN_AGAIN, tmp_path)
    assert told.startswith("ServiceUnavailable(")
    assert f"{tmp_path / 'data' / 'store'} is in use by another process" in told
    assert store.get(ROWS, b"k") == b"v"


def test_next_process_may_open_what_was_closed(tmp_path: Path) -> None:
    with opened_store(tmp_path):
        pass
    assert in_child(OPEN_AGAIN, tmp_path) == "'opened'"


def test_second_store_in_one_process_is_refused(store: Store, tmp_path: Path) -> None:
    options = make_options(tmp_path)
    with pytest.raises(ServiceUnavailable, match="in use"):
        Store(options.data_dir / "store", options)
    put(store, {b"k": b"v"})


def test_store_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServiceUnavailable, match=r"file/store cannot be opened: .*Not a directory"):
        Store(tmp_path / "file" / "store", make_options(tmp_path))


@pytest.mark.parametrize("folder", ["plain", "a lock, a block and a clock"])
def test_broken_manifest_is_corruption(tmp_path: Path, folder: str) -> None:
    with opened_store(tmp_path / folder) as store:
        put(store, {b"k": b"v"})
    (manifest,) = (tmp_path / folder / "data" / "store").glob("MANIFEST-*")
    content = bytearray(manifest.read_bytes())
    content[20] ^= 0xFF
    manifest.write_bytes(content)
    with pytest.raises(Corruption, match=r"cannot be opened: .*checksum mismatch"):
        Store(manifest.parent, make_options(tmp_path / folder))


def test_broken_block_is_corruption_with_its_place(tmp_path: Path) -> None:
    with opened_store(tmp_path) as store:
        put(store, numbered(100, 100), Family.DATA)
        store._families[Family.DATA].flush()
    (table,) = (
        path for path in (tmp_path / "data" / "store").glob("*.sst") if path.stat().st_size > 9_000
    )
    content = bytearray(table.read_bytes())
    for position in range(100, 8_000, 100):
        content[position] ^= 0xFF
    table.write_bytes(content)
    with opened_store(tmp_path) as store:
        for read in (
            lambda: store.get(Family.DATA, b"00001"),
            lambda: store.get_many(Family.DATA, [b"00001", b"00002"]),
            lambda: list(store.scan(Family.DATA, b"00001", b"9")),
        ):
            with pytest.raises(Corruption, match=f"family data, key {b'00001'.hex()}"):
                read()
        assert records_of(store, ROWS) == {}, "other families are unharmed"


def test_read_of_a_store_that_fails_is_the_contracts_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("Input/output error")

    broken = Standing(store._families[ROWS], get=fail, iter=fail)
    monkeypatch.setitem(store._families, ROWS, broken)
    for read in (lambda: store.get(ROWS, b"k"), lambda: store.get_many(ROWS, [b"k"])):
        with pytest.raises(ServiceUnavailable, match="family rows: Input/output error"):
            read()


# --- Copies, and reading only ---------------------------------------------------------------------


def test_checkpoint_holds_what_was_written_before_and_nothing_else(
    store: Store, tmp_path: Path
) -> None:
    for family in Family:
        put(store, numbered(100), family)
    store.checkpoint(tmp_path / "copy")
    put(store, {b"later": b""})
    copy = Store(tmp_path / "copy", make_options(tmp_path), read_only=True)
    assert {family: records_of(copy, family) for family in Family} == {
        family: numbered(100) for family in Family
    }
    copy.close()
    assert store.get(ROWS, b"later") == b""


def test_checkpoint_that_cannot_be_written_is_told(store: Store, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    with pytest.raises(ServiceUnavailable, match="the store could not be copied"):
        store.checkpoint(tmp_path / "copy")
    put(store, {b"k": b"v"})
    assert store.get(ROWS, b"k") == b"v"


def test_store_that_is_only_read_takes_no_writes(tmp_path: Path) -> None:
    with opened_store(tmp_path) as store:
        put(store, {b"k": b"v"})
    options = make_options(tmp_path)
    reader = Store(options.data_dir / "store", options, read_only=True)
    with pytest.raises(ServiceUnavailable, match="refused a write"):
        put(reader, {b"k": b"w"})
    assert reader.get(ROWS, b"k") == b"v"
    reader.close()


def test_store_that_is_only_read_must_exist(tmp_path: Path) -> None:
    with pytest.raises((Corruption, ServiceUnavailable), match="cannot be opened"):
        Store(tmp_path / "store", make_options(tmp_path), read_only=True)
    assert not (tmp_path / "store" / "CURRENT").exists()


def test_sizes_are_told_by_family(tmp_path: Path) -> None:
    with opened_store(tmp_path) as store:
        put(store, numbered(1_000, 100), Family.DATA)
        store.checkpoint(tmp_path / "copy")  # which writes table files
        sizes = store.sizes_bytes()
        assert sizes[Family.DATA] > 100_000
        assert sizes[ROWS] == 0
        assert store.size_bytes() == sum(sizes.values())
