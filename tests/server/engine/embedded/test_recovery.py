"""A generation made again from the store is what was put; what does not fit is named, not guessed.

Method: an index is filled through open_index.py, its generation thrown away, and its records
broken by hand, one way at a time. (What is found of checkpoints: test_recovery_resumed.py.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from oracles import draw_noise
from rooms import (
    GivenUp,
    Notes,
    Refusals,
    batch,
    files_no_longer_than,
    make_index,
    make_room,
    records_of,
)
from vectorbucket.errors import Corruption, RequestTimeout
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import recovery
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import Recovery
from vectorbucket_server.engine.embedded.schema import (
    Family,
    IndexState,
    encode_number,
    encode_row,
    encode_state,
    label_key,
    state_key,
    vector_prefix,
)
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.filters.expression import Equals
from vectorbucket_server.model import DistanceMetric, Index

INDEX = make_index()
ROWS = draw_noise(10, 4, seed=1)
NEW = draw_noise(2, 4, seed=2)


@pytest.fixture(name="filled")
def fixture_filled(room: OpenIndex, store: Store) -> Store:
    """Return a store of eight vectors: 1 to 10 were put, 11 went over 3, and 4 and 5 died."""
    keys = [f"k{number}" for number in range(10)]
    room.put(
        batch(keys, ROWS, [{"n": float(number)} for number in range(10)]), None, None, NO_DEADLINE
    )
    room.put(batch(["k2"], NEW[:1], [{"n": "new"}]), None, None, NO_DEADLINE)
    room.delete(["k3", "k4"], NO_DEADLINE)
    room.close()
    return store


@pytest.fixture(name="build")
def fixture_build(
    store: Store, options: EmbeddedOptions, notes: Notes, tmp_path: Path
) -> Iterator[Callable[[Index], Generation]]:
    """Yield how to make a generation from the store."""
    made: list[Generation] = []

    def build(index: Index = INDEX) -> Generation:
        recovered = Recovery(store, index, options, notes).run(
            recovery.load_state(store, index),
            tmp_path / "built" / str(index.index_id),
            stop=NO_DEADLINE,
        )
        assert recovered.checkpoints == []
        assert notes.failures == []
        made.append(recovered.generation)
        return made[-1]

    yield build
    for generation in made:
        generation.close()


Build = Callable[..., Generation]


def put(store: Store, family: Family, key: bytes, value: bytes | None) -> None:
    """Set a record, or remove it."""
    made = store.batch()
    if value is None:
        made.delete(family, key)
    else:
        made.put(family, key, value)
    store.write(made)


def content(generation: Generation) -> dict[str, tuple[int, list[float]]]:
    """Return label and row by key of all that is live."""
    view = generation.view
    slots = view.live_range(0, view.count)
    return {
        key: (int(view.labels[slot]), view.rows[slot].tolist())
        for key, slot in zip(view.keys.at(slots), slots.tolist(), strict=True)
    }


EXPECTED = {
    **{f"k{number}": (number + 1, ROWS[number].tolist()) for number in (0, 1, 5, 6, 7, 8, 9)},
    "k2": (11, NEW[0].tolist()),
}


# --- What fits ------------------------------------------------------------------------------------


def test_state_is_what_was_written_last(filled: Store) -> None:
    assert recovery.load_state(filled, INDEX) == IndexState(next_label=12, seq=3, vector_count=8)


def test_dead_labels_are_found_in_the_order_of_their_deaths(filled: Store) -> None:
    found = [(seq, labels.tolist()) for seq, labels in recovery.load_dead(filled, INDEX)]
    assert [seq for seq, _ in found] == [2, 3]
    assert [sorted(labels) for _, labels in found] == [[3], [4, 5]]


@pytest.mark.parametrize("rows_per_chunk", [1, 3, 8, 1_000])
def test_generation_holds_what_the_store_holds(
    filled: Store, build: Build, monkeypatch: pytest.MonkeyPatch, rows_per_chunk: int
) -> None:
    assert filled.get(Family.ROWS, label_key(1, 3)), "dead rows are to be passed over"
    monkeypatch.setattr(recovery, "_ROWS_PER_CHUNK", rows_per_chunk)
    generation = build()
    assert content(generation) == EXPECTED
    assert generation.view.seq == 3
    assert generation.view.count == generation.live_count == 8
    assert generation.graphed == 0
    index = generation.metadata_index
    assert [
        int(generation.view.labels[slot]) for slot in index.matching(Equals("n", "new"), 8)
    ] == [11]
    assert len(index.matching(Equals("n", 6.0), 8)) == 1
    assert len(index.matching(Equals("n", 2.0), 8)) == 0  # fmt: skip


@pytest.mark.usefixtures("filled")
def test_slots_are_given_in_the_order_of_labels(build: Build) -> None:
    view = build().view
    assert view.labels[: view.count].tolist() == [1, 2, 6, 7, 8, 9, 10, 11]


def test_rows_are_preprocessed_by_the_metric(store: Store, options: EmbeddedOptions) -> None:
    index = make_index(metric=DistanceMetric.COSINE, index_id=5)
    room = make_room(store, options, index)
    room.put(batch(["a"], [[3, 0, 4, 0]]), None, None, NO_DEADLINE)
    room.close()
    generation = room.load(NO_DEADLINE)
    np.testing.assert_allclose(generation.view.rows[0], [0.6, 0, 0.8, 0], rtol=1e-6)
    assert room.get(["a"], data=True, metadata=False)[0].data is not None


def test_non_filterable_fields_are_not_listed_again(store: Store, options: EmbeddedOptions) -> None:
    index = make_index(index_id=5, non_filterable_keys=("note",))
    room = make_room(store, options, index)
    room.put(batch(["a"], ROWS[:1], [{"note": "x", "n": "y"}]), None, None, NO_DEADLINE)
    room.close()
    generation = room.load(NO_DEADLINE)
    assert set(generation.metadata_index.fields) == {"n"}


def test_empty_index_is_built_empty(room: OpenIndex, build: Build) -> None:
    room.put(batch(["a"], ROWS[:1]), None, None, NO_DEADLINE)
    room.delete(["a"], NO_DEADLINE)
    generation = build()
    assert (generation.view.seq, generation.view.count, generation.live_count) == (2, 0, 0)
    assert content(generation) == {}


def test_indexes_beside_it_are_not_mixed_in(
    filled: Store, build: Build, options: EmbeddedOptions
) -> None:
    for index_id in (0, 2, 256):
        other = make_room(filled, options, make_index(index_id=index_id))
        other.put(batch(["k0", "other"], NEW), None, None, NO_DEADLINE)
        other.close()
    assert content(build()) == EXPECTED
    assert set(content(build(make_index(index_id=2)))) == {"k0", "other"}


def test_building_only_reads(filled: Store, build: Build, writes: Refusals) -> None:
    before = {family: records_of(filled, family) for family in Family}
    writes.written = 0
    build()
    list(recovery.load_dead(filled, INDEX))
    assert writes.written == 0
    assert {family: records_of(filled, family) for family in Family} == before


@pytest.mark.usefixtures("filled")
def test_what_a_full_disk_left_half_made_is_removed_by_the_next(
    build: Build, tmp_path: Path
) -> None:
    with files_no_longer_than(1_000), pytest.raises(OSError, match="large"):
        build()
    built = tmp_path / "built" / "1"
    assert len(list(built.iterdir())) == 1
    generation = build()
    assert content(generation) == EXPECTED
    assert list(built.iterdir()) == [generation.directory]


def test_building_ends_when_it_is_told_to(
    filled: Store, options: EmbeddedOptions, notes: Notes, tmp_path: Path
) -> None:
    state = recovery.load_state(filled, INDEX)
    with pytest.raises(RequestTimeout):
        Recovery(filled, INDEX, options, notes).run(state, tmp_path / "built", stop=GivenUp())
    assert notes.failures == []


# --- What does not fit ----------------------------------------------------------------------------

STATE = state_key(INDEX.index_id)
K6 = vector_prefix(1) + b"k6"
FIRST, MIDDLE, LAST = (label_key(1, label) for label in (1, 7, 11))

DAMAGE: dict[str, tuple[Family, bytes, bytes | None]] = {
    "state is missing": (Family.CATALOG, STATE, None),
    "state is cut": (Family.CATALOG, STATE, b"\0" * 23),
    "label is cut": (Family.VECTORS, K6, b"\0" * 7),
    "first row is missing": (Family.ROWS, FIRST, None),
    "row in the middle is missing": (Family.ROWS, MIDDLE, None),
    "last row is missing": (Family.ROWS, LAST, None),
    "row is cut": (Family.ROWS, MIDDLE, b"\0\5k"),
    "metadata are cut": (Family.ROWS, MIDDLE, encode_row("k6", {}) + b'{"n":'),
    "first data are missing": (Family.DATA, FIRST, None),
    "data in the middle are missing": (Family.DATA, MIDDLE, None),
    "last data are missing": (Family.DATA, LAST, None),
    "data are cut": (Family.DATA, MIDDLE, b"\0" * 15),
    "data are of another dimension": (Family.DATA, MIDDLE, b"\0" * 20),
}
"""What is wrong: the record that is changed, and to what; it is the one to be named."""


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_record_is_named(filled: Store, build: Build, name: str) -> None:
    family, key, value = DAMAGE[name]
    before = filled.get(family, key)
    assert before is not None
    put(filled, family, key, value)
    with pytest.raises(Corruption, match=f"family {family.value}, key {key.hex()}: "):
        build()
    put(filled, family, key, before)
    assert content(build()) == EXPECTED


@pytest.mark.parametrize("count", [7, 9, 0, 2**64 - 1])
def test_count_that_is_not_that_of_the_keys_is_named(
    filled: Store, build: Build, count: int
) -> None:
    put(filled, Family.CATALOG, STATE, encode_state(IndexState(12, 3, count)))
    with pytest.raises(Corruption, match=f"family vectors.*8 keys and counts {count} vectors"):
        build()


def test_key_that_is_missing_is_noticed(filled: Store, build: Build) -> None:
    put(filled, Family.VECTORS, K6, None)
    with pytest.raises(Corruption, match=r"family vectors.*7 keys and counts 8 vectors"):
        build()


@pytest.mark.parametrize("next_label", [1, 11])
def test_label_that_was_not_given_yet_is_named(
    filled: Store, build: Build, next_label: int
) -> None:
    put(filled, Family.CATALOG, STATE, encode_state(IndexState(next_label, 3, 8)))
    with pytest.raises(
        Corruption,
        match=f"key {STATE.hex()}: label 11 exists and the next one would be {next_label}",
    ):
        build()


def test_label_of_two_keys_is_noticed(filled: Store, build: Build) -> None:
    put(filled, Family.VECTORS, K6, encode_number(8))
    with pytest.raises(Corruption, match=f"family rows, key {label_key(1, 8).hex()}: "):
        build()


@pytest.mark.parametrize(
    ("key", "value"), [(label_key(1, 5), b"\0" * 9), (label_key(1, 5) + b"\0", b"\0" * 8)]
)
def test_damaged_change_is_named(filled: Store, key: bytes, value: bytes) -> None:
    put(filled, Family.CHANGES, key, value)
    with pytest.raises(Corruption, match=f"family changes, key {key.hex()}: "):
        list(recovery.load_dead(filled, INDEX))


def test_what_a_failed_building_left_is_removed_by_the_next(
    filled: Store, build: Build, tmp_path: Path
) -> None:
    data = filled.get(Family.DATA, LAST)
    put(filled, Family.DATA, LAST, None)
    for _ in range(3):
        with pytest.raises(Corruption):
            build()
    built = tmp_path / "built" / "1"
    assert len(list(built.iterdir())) == 1
    put(filled, Family.DATA, LAST, data)
    assert content(build()) == EXPECTED
