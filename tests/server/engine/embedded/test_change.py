"""A change is one batch of records: labels, rows, data, what died, and the counters."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from oracles import draw_noise
from rooms import Refusals, batch, numbered, records_of
from vectorbucket.errors import Corruption, ServiceUnavailable
from vectorbucket_server.engine.embedded import change as changes
from vectorbucket_server.engine.embedded.change import Change, Committed
from vectorbucket_server.engine.embedded.schema import (
    Family,
    IndexState,
    decode_change,
    decode_data,
    decode_number,
    decode_row_key,
    decode_row_metadata,
    decode_state,
    label_key,
    state_key,
    vector_prefix,
)
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Metadata

INDEX_ID = 7
EMPTY = IndexState(next_label=1, seq=0, vector_count=0)


def committed(store: Store, change: Change, before: IndexState) -> Committed:
    """Commit a change that changes something."""
    done = changes.commit(store, change, before)
    assert done is not None
    return done


def put(store: Store, count: int, before: IndexState = EMPTY, *, start: int = 0) -> Committed:
    """Put vectors whose keys are numbers."""
    return committed(store, changes.putting(INDEX_ID, numbered(count, start=start)[0]), before)


def labels(store: Store) -> dict[str, int]:
    """Return the label of each key that is stored."""
    prefix = vector_prefix(INDEX_ID)
    return {
        key[len(prefix) :].decode(): decode_number(Family.VECTORS, key, value)
        for key, value in records_of(store, Family.VECTORS).items()
    }


def stored_state(store: Store) -> IndexState:
    """Return the counters that are stored."""
    key = state_key(INDEX_ID)
    return decode_state(key, store.get(Family.CATALOG, key) or b"")


def everything(store: Store) -> list[dict[bytes, bytes]]:
    """Return all records."""
    return [records_of(store, family) for family in Family]


def test_put_writes_a_record_a_family_under_new_labels(store: Store, writes: Refusals) -> None:
    rows = draw_noise(3, 5, seed=1)
    metadata: list[Metadata] = [{"n": 1.0}, {}, {"é": ["x", True]}]
    made = changes.putting(INDEX_ID, batch(["b", "ключ", "a"], rows, metadata))
    done = committed(store, made, IndexState(next_label=40, seq=8, vector_count=2))
    assert writes.written == 1
    assert done.state == stored_state(store) == IndexState(43, 9, 5)
    assert (done.born.tolist(), done.dead.tolist()) == ([40, 41, 42], [])
    assert done.born.dtype == done.dead.dtype == np.uint64
    assert labels(store) == {"b": 40, "ключ": 41, "a": 42}
    for number, key in enumerate(["b", "ключ", "a"]):
        place = label_key(INDEX_ID, 40 + number)
        row, data = records_of(store, Family.ROWS)[place], records_of(store, Family.DATA)[place]
        assert decode_row_key(place, row) == key
        assert decode_row_metadata(place, row) == metadata[number]
        assert decode_data(place, data, 5).tobytes() == rows[number].tobytes()
    assert records_of(store, Family.CHANGES) == {}


def test_overwritten_labels_die_with_the_change(store: Store) -> None:
    first = put(store, 4)
    done = put(store, 3, first.state, start=2)
    assert (done.born.tolist(), done.dead.tolist()) == ([5, 6, 7], [3, 4])
    assert done.state == stored_state(store) == IndexState(8, 2, 5)
    assert labels(store) == {"k0": 1, "k1": 2, "k2": 5, "k3": 6, "k4": 7}
    ((place, value),) = records_of(store, Family.CHANGES).items()
    assert place == label_key(INDEX_ID, 2)
    assert decode_change(place, value).tolist() == [3, 4]
    assert len(records_of(store, Family.ROWS)) == 7, "readers may still want the dead ones"


@pytest.mark.parametrize(
    ("keys", "dead"),
    [
        (["k3", "k1"], [2, 4]),
        (["k2", "missing", "k2"], [3]),
        (["k0", "k1", "k2", "k3"], [1, 2, 3, 4]),
    ],
)
def test_delete_writes_what_died_and_forgets_the_keys(
    store: Store, keys: Sequence[str], dead: Sequence[int]
) -> None:
    before = put(store, 4).state
    done = committed(store, changes.deleting(INDEX_ID, keys), before)
    assert (done.born.tolist(), done.dead.tolist()) == ([], dead)
    assert done.state == stored_state(store) == IndexState(5, 2, 4 - len(dead))
    assert set(labels(store)) == {"k0", "k1", "k2", "k3"} - set(keys)
    assert list(records_of(store, Family.CHANGES)) == [label_key(INDEX_ID, 2)]
    assert len(records_of(store, Family.ROWS)) == 4


@pytest.mark.parametrize(
    "change",
    [
        changes.putting(INDEX_ID, batch([], np.empty((0, 4)))),
        changes.deleting(INDEX_ID, []),
        changes.deleting(INDEX_ID, ["missing"]),
    ],
)
def test_change_of_nothing_is_none_and_writes_nothing(
    store: Store, writes: Refusals, change: Change
) -> None:
    before = put(store, 2).state
    writes.written, stored = 0, everything(store)
    assert changes.commit(store, change, before) is None
    assert writes.written == 0
    assert everything(store) == stored


def test_labels_are_sorted_whatever_the_order_of_the_keys(store: Store) -> None:
    before = put(store, 9).state
    done = committed(store, changes.deleting(INDEX_ID, [f"k{n}" for n in (8, 0, 5, 3)]), before)
    assert done.dead.tolist() == [1, 4, 6, 9]


def test_change_that_was_prepared_early_is_committed_as_things_are_then(store: Store) -> None:
    early = changes.putting(INDEX_ID, numbered(2)[0])
    before = put(store, 2).state
    done = committed(store, early, before)
    assert (done.born.tolist(), done.dead.tolist()) == ([3, 4], [1, 2])
    assert labels(store) == {"k0": 3, "k1": 4}


@pytest.mark.parametrize(
    "change", [changes.putting(INDEX_ID, numbered(3)[0]), changes.deleting(INDEX_ID, ["k0"])]
)
def test_refused_change_leaves_everything_as_it_was(
    store: Store, writes: Refusals, change: Change
) -> None:
    before = put(store, 2).state
    stored = everything(store)
    writes.on = True
    with pytest.raises(ServiceUnavailable):
        changes.commit(store, change, before)
    assert everything(store) == stored
    writes.on = False
    assert committed(store, change, before).state.seq == 2


def test_label_that_cannot_be_read_is_named_and_nothing_is_written(store: Store) -> None:
    before = put(store, 2).state
    place = vector_prefix(INDEX_ID) + b"k1"
    made = store.batch()
    made.put(Family.VECTORS, place, b"short")
    store.write(made)
    stored = everything(store)
    for change in (
        changes.putting(INDEX_ID, numbered(3)[0]),
        changes.deleting(INDEX_ID, ["k0", "k1"]),
    ):
        with pytest.raises(Corruption, match=f"family vectors, key {place.hex()}"):
            changes.commit(store, change, before)
    assert everything(store) == stored


def test_other_indexes_are_left_alone(store: Store) -> None:
    for index_id in (INDEX_ID - 1, INDEX_ID + 1):
        committed(store, changes.putting(index_id, numbered(2)[0]), EMPTY)
    others = everything(store)
    before = put(store, 2).state
    committed(store, changes.deleting(INDEX_ID, ["k0", "k1"]), before)
    for family, records in zip(Family, others, strict=True):
        assert records.items() <= records_of(store, family).items()


def test_data_are_stored_little_endian_and_metadata_as_json(store: Store) -> None:
    rows = np.array([[1.5, -2.0]], dtype=">f4")
    change = changes.putting(INDEX_ID, batch(["a"], rows, [{"n": 1.0}]))
    assert change.data == [np.array([1.5, -2.0], "<f4").tobytes()]
    assert json.loads(change.records[0][3:]) == {"n": 1.0}
    assert committed(store, change, EMPTY).born.tolist() == [1]
