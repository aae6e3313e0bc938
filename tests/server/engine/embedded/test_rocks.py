"""A RocksDB is opened for whom it may concern, and anew under those who read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from rocksdict import WriteBatch

from rooms import make_options, refused
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.embedded import rocks
from vectorbucket_server.engine.embedded.rocks import Access, Rocks, write_buffer_bytes
from vectorbucket_server.engine.embedded.schema import Family

ROWS = Family.ROWS


def make(folder: Path, access: Access = Access.WRITING) -> Rocks:
    """Return the RocksDB of a folder, open."""
    options = make_options(folder)
    options.data_dir.mkdir(exist_ok=True)
    return Rocks(options.data_dir / "store", options, access)


def put(opened: Rocks, *keys: bytes) -> None:
    """Write records."""
    made = WriteBatch(raw_mode=True)
    for key in keys:
        made.put(key, b"v", opened._handles[ROWS])
    opened._db.write(made, opened._write_options)


def keys_of(opened: Rocks) -> list[bytes]:
    """Return all keys of a family."""
    rows = opened._families[ROWS].iter()
    rows.seek(b"")
    found = []
    while rows.valid():
        found.append(rows.key())
        rows.next()
    return found


def test_one_writes_and_others_read_what_was_there_when_they_came(tmp_path: Path) -> None:
    writer = make(tmp_path)
    put(writer, b"a")
    readers = [make(tmp_path, access) for access in (Access.READING, Access.VERIFYING)]
    put(writer, b"b")
    for reader in readers:
        assert keys_of(reader) == [b"a"]
        with pytest.raises(Exception, match="read only"):
            put(reader, b"c")
    assert keys_of(writer) == [b"a", b"b"]
    with pytest.raises(ServiceUnavailable, match="in use"):
        make(tmp_path)
    writer.let_go()


@pytest.mark.parametrize("access", [Access.READING, Access.VERIFYING])
def test_what_is_not_there_is_made_by_writers_only(tmp_path: Path, access: Access) -> None:
    with pytest.raises(ServiceUnavailable, match="cannot be opened"):
        make(tmp_path, access)


def test_what_was_opened_anew_holds_the_same_and_is_written(tmp_path: Path) -> None:
    opened = make(tmp_path)
    put(opened, b"a", b"b")
    before = opened._db
    opened.open_anew()
    assert opened._db is not before
    assert keys_of(opened) == [b"a", b"b"]
    put(opened, b"c")
    opened.let_go()
    again = make(tmp_path)
    assert keys_of(again) == [b"a", b"b", b"c"]
    again.let_go()


def test_opening_anew_empties_the_logs(tmp_path: Path) -> None:
    opened = make(tmp_path)
    put(opened, *(b"%06d" % number for number in range(1_000)))
    buffer_bytes = write_buffer_bytes(make_options(tmp_path))
    assert opened.reopening_bytes() > buffer_bytes + 1_000 * 7
    opened.open_anew()
    assert opened.reopening_bytes() == buffer_bytes
    opened.let_go()


def test_readers_go_on_until_they_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rocks, "_LAST_READERS_S", 0.05)
    opened = make(tmp_path)
    put(opened, b"a", b"b")
    reader = opened._families[ROWS].iter()
    reader.seek(b"")
    with pytest.raises(ServiceUnavailable, match="in use"):
        opened.open_anew()
    # Both who came before and who comes now read; nobody writes.
    assert reader.key() == b"a"
    assert keys_of(opened) == [b"a", b"b"]
    assert not opened.goes_on()
    reader.next()
    assert reader.key() == b"b"
    del reader
    opened.open_anew()
    put(opened, b"c")
    assert keys_of(opened) == [b"a", b"b", b"c"]
    opened.let_go()


def test_view_in_between_is_let_go_of_without_complaint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rocks, "_LAST_READERS_S", 0.0)
    opened = make(tmp_path)
    put(opened, b"a")
    reader = opened._families[ROWS].iter()
    assert isinstance(refused(opened.open_anew), ServiceUnavailable)
    opened.let_go()
    del reader
    again = make(tmp_path)
    assert keys_of(again) == [b"a"]
    again.let_go()


def test_store_with_other_writes_than_it_was_left_with_is_not_gone_on_with(tmp_path: Path) -> None:
    opened = make(tmp_path)
    put(opened, b"a")
    opened._seq_left = opened._db.latest_sequence_number() + 1
    opened._use(opened._open(Access.READING))
    with pytest.raises(ServiceUnavailable, match=r"has 1 writes on the disk and 2 .* restart"):
        opened.open_anew()
    assert keys_of(opened) == [b"a"], "it can still be read"


def test_healthy_one_goes_on_and_nothing_is_counted_for_asking(tmp_path: Path) -> None:
    opened = make(tmp_path)
    put(opened, b"a")
    seq = opened._db.latest_sequence_number()
    assert opened.goes_on()
    assert opened._db.latest_sequence_number() == seq
    opened.let_go()
