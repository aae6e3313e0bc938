"""Dead rows wait until every reader that may want them is gone, and go with their record.

Method: rows are written as open_index.py would, and readers enter and leave by hand, so that each
order of events is one that the test chose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rooms import Refusals, batch, make_index, make_room, numbered, records_of, running
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded.dead_rows import DeadRows
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import load_dead
from vectorbucket_server.engine.embedded.schema import Family, LabelArray, encode_change, label_key
from vectorbucket_server.engine.embedded.store import Batch, Store

INDEX = make_index()
OTHER_ID = INDEX.index_id + 1


@pytest.fixture(name="dead")
def fixture_dead(store: Store) -> DeadRows:
    """Return the dead rows of an index."""
    return DeadRows(INDEX.index_id, store)


def labels_of(numbers: Sequence[int]) -> LabelArray:
    """Return labels, uint64 of shape (n,)."""
    return np.array(numbers, dtype=np.uint64)


def write_rows(store: Store, numbers: Sequence[int], index_id: int = INDEX.index_id) -> None:
    """Write rows and data of labels."""
    made = store.batch()
    for number in numbers:
        made.put(Family.ROWS, label_key(index_id, number), b"row")
        made.put(Family.DATA, label_key(index_id, number), b"data")
    store.write(made)


def kill(dead: DeadRows, store: Store, seq: int, numbers: Sequence[int]) -> None:
    """Note deaths in store and memory."""
    made = store.batch()
    made.put(Family.CHANGES, label_key(INDEX.index_id, seq), encode_change(numbers))
    store.write(made)
    dead.add(seq, labels_of(numbers))


def left(store: Store, family: Family, index_id: int = INDEX.index_id) -> list[int]:
    """Return the labels (or seqs) that a family still holds of an index."""
    numbers = range(1, 10_000)
    keys = [label_key(index_id, number) for number in numbers]
    found = records_of(store, family)
    return [number for number, key in zip(numbers, keys, strict=True) if key in found]


def test_nothing_dead_is_nothing_to_do(dead: DeadRows, writes: Refusals) -> None:
    assert not dead.has_work
    assert dead.remove() == 0
    assert writes.written == 0


def test_rows_data_and_their_record_go_in_one_batch(
    dead: DeadRows, store: Store, writes: Refusals
) -> None:
    write_rows(store, range(1, 6))
    write_rows(store, range(1, 6), OTHER_ID)
    kill(dead, store, 2, [2, 4])
    writes.written = 0
    assert dead.has_work
    assert dead.remove() == 2
    assert writes.written == 1
    assert left(store, Family.ROWS) == left(store, Family.DATA) == [1, 3, 5]
    assert left(store, Family.CHANGES) == []
    assert left(store, Family.ROWS, OTHER_ID) == [1, 2, 3, 4, 5]
    assert not dead.has_work


def test_many_rows_go_in_bounded_batches_and_their_record_with_the_last(
    dead: DeadRows, store: Store, writes: Refusals
) -> None:
    write_rows(store, range(1, 5_000))
    kill(dead, store, 3, range(1, 4_501))
    writes.written = 0
    for done in (0, 1, 2):
        writes.refuse_after(done)
        with pytest.raises(ServiceUnavailable):
            dead.remove()
        assert left(store, Family.ROWS) == list(range(done * 2_000 + 1, 5_000))
        assert left(store, Family.CHANGES) == [3], "who finds it at a start removes them again"
        assert dead.has_work
    writes.on = False
    writes.written = 0
    assert dead.remove() == 4_500
    assert writes.written == 3
    assert left(store, Family.DATA) == list(range(4_501, 5_000))
    assert left(store, Family.CHANGES) == []


def test_reader_that_entered_before_holds_rows_back(dead: DeadRows, store: Store) -> None:
    write_rows(store, [1, 2])
    with dead.reading(lambda: 4):
        kill(dead, store, 5, [1])
        assert dead.remove() == 0
        assert left(store, Family.ROWS) == [1, 2]
        assert left(store, Family.CHANGES) == [5]
        assert dead.has_work
    assert dead.remove() == 1
    assert left(store, Family.ROWS) == [2]


def test_reader_that_entered_after_holds_nothing_back(dead: DeadRows, store: Store) -> None:
    write_rows(store, [1, 2])
    kill(dead, store, 5, [1])
    with dead.reading(lambda: 5):
        assert dead.remove() == 1


def test_rows_go_up_to_the_oldest_reader(dead: DeadRows, store: Store) -> None:
    write_rows(store, range(1, 5))
    for seq in range(1, 5):
        kill(dead, store, seq, [seq])
    with dead.reading(lambda: 4):
        with dead.reading(lambda: 2):
            assert dead.remove() == 2
            assert left(store, Family.ROWS) == [3, 4]
            assert left(store, Family.CHANGES) == [3, 4]
        assert dead.remove() == 2
    assert left(store, Family.ROWS) == []


def test_reader_that_fails_leaves_nevertheless(dead: DeadRows, store: Store) -> None:
    write_rows(store, [1])
    kill(dead, store, 1, [1])
    with pytest.raises(ServiceUnavailable), dead.reading(lambda: 0):
        raise ServiceUnavailable("in the middle of a read")
    assert not dead.has_readers
    assert dead.remove() == 1


def test_readers_of_the_same_seq_leave_one_by_one(dead: DeadRows, store: Store) -> None:
    write_rows(store, [1])
    first, second = dead.reading(lambda: 0), dead.reading(lambda: 0)
    first.__enter__()
    second.__enter__()
    kill(dead, store, 1, [1])
    for reader in (first, second):
        assert dead.remove() == 0
        assert dead.has_readers
        reader.__exit__(None, None, None)
    assert not dead.has_readers
    assert dead.remove() == 1


def test_what_was_left_is_found_at_the_next_start(dead: DeadRows, store: Store) -> None:
    write_rows(store, range(1, 6))
    kill(dead, store, 2, [1])
    kill(dead, store, 9, [5, 3])
    again = DeadRows(INDEX.index_id, store)
    again.start_over(load_dead(store, INDEX))
    with again.reading(lambda: 5):
        assert again.remove() == 1
    assert left(store, Family.ROWS) == [2, 3, 4, 5]
    assert again.remove() == 2
    assert left(store, Family.ROWS) == [2, 4]
    assert left(store, Family.CHANGES) == []


def test_starting_over_in_the_middle_of_a_removal_loses_nothing(
    dead: DeadRows, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(store, range(1, 4))
    kill(dead, store, 1, [1])
    kill(dead, store, 2, [2])
    write = store.write

    def start_over_meanwhile(made: Batch) -> None:
        write(made)
        dead.start_over(load_dead(store, INDEX))

    monkeypatch.setattr(store, "write", start_over_meanwhile)
    assert dead.remove() == 2
    monkeypatch.setattr(store, "write", write)
    dead.remove()
    assert left(store, Family.ROWS) == [3]
    assert left(store, Family.CHANGES) == []


def test_rows_of_overwritten_and_deleted_vectors_go_and_no_others(
    room: OpenIndex, store: Store, options: EmbeddedOptions
) -> None:
    room.put(numbered(10)[0], None, None, NO_DEADLINE)
    room.put(numbered(4)[0], None, None, NO_DEADLINE)
    room.delete(["k3", "k4", "missing"], NO_DEADLINE)
    room.close()
    again = make_room(store, options, INDEX)
    assert again.dead_rows.remove() == 4 + 2
    assert left(store, Family.ROWS) == left(store, Family.DATA) == [6, 7, 8, 9, 10, 11, 12, 13]
    keys = [f"k{number}" for number in range(10)]
    found = again.get(keys, data=True, metadata=True)
    assert [vector.key for vector in found] == ["k0", "k1", "k2", *keys[5:]]


def test_readers_miss_nothing_while_rows_are_overwritten_and_removed(room: OpenIndex) -> None:
    keys = [f"k{number}" for number in range(30)]
    versions = 80

    def put(version: int) -> None:
        rows = [[float(version)] * 4] * len(keys)
        room.put(batch(keys, rows, [{"v": float(version)}] * len(keys)), None, None, NO_DEADLINE)

    put(0)
    done: list[bool] = []

    def read() -> None:
        while not done:
            found = room.get(keys, data=True, metadata=True)
            assert len(found) == len(keys), "a key was missed"
            for vector in found:
                assert vector.data is not None
                assert vector.metadata == {"v": float(vector.data[0])}

    def remove() -> None:
        while not done:
            room.dead_rows.remove()

    with running(read, times=2), running(remove):
        for version in range(1, versions):
            put(version)
        done.append(True)
    room.dead_rows.remove()
    assert not room.dead_rows.has_work
