"""What a start takes from checkpoints: the newest good one and the changes since, never a bad one.

Method: an index is filled and saved as an engine does it, without background threads; then its
files or the store's record of them are changed, and it is opened again.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lives import keys_of, names
from oracles import draw_noise
from rooms import Notes, batch, make_index, make_options, make_room
from vectorbucket.errors import Corruption
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import (
    Recovery,
    load_checkpoints,
    load_state,
    sweep,
)
from vectorbucket_server.engine.embedded.saver import Saver
from vectorbucket_server.engine.embedded.schema import (
    Checkpoint,
    Family,
    checkpoints_key,
    encode_checkpoints,
)
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.filters.expression import Equals
from vectorbucket_server.model import DistanceMetric

INDEX = make_index()
KEY = checkpoints_key(INDEX.index_id)


class Place:
    """An index with a graph, and how it is saved, closed and opened again."""

    def __init__(self, store: Store, options: EmbeddedOptions, notes: Notes) -> None:
        self.store, self.options, self.notes = store, options, notes
        self.room = make_room(store, options, INDEX, notes)

    def put(self, keys: list[str], version: int = 0) -> None:
        """Put vectors that say which version they are."""
        rows = draw_noise(len(keys), 4, seed=version)
        metadata = [{"version": float(version)}] * len(keys)
        self.room.put(batch(keys, rows, metadata), None, None, NO_DEADLINE)

    def index_all(self) -> None:
        """Put everything into the graph."""
        generation = self.room.load(NO_DEADLINE)
        while generation.has_work:
            generation.turn(1_000, 1)

    def save(self) -> Checkpoint:
        """Write a checkpoint and return it."""
        assert Saver(lambda: [self.room], self.store, self.options, self.notes).save(self.room)
        return self.named()[0]

    def named(self) -> list[Checkpoint]:
        """Return the checkpoints that the store names."""
        return load_checkpoints(self.store, INDEX)

    def name(self, checkpoints: list[Checkpoint]) -> None:
        """Let the store name others."""
        made = self.store.batch()
        made.put(Family.CATALOG, KEY, encode_checkpoints(checkpoints))
        self.store.write(made)

    def reopen(self) -> OpenIndex:
        """Open the index as a new process does."""
        self.room.close()
        self.room = make_room(self.store, self.options, INDEX, self.notes)
        return self.room

    def versions(self) -> dict[str, float]:
        """Return by key the version that the generation holds, by its lists of metadata."""
        generation = self.room.load(NO_DEADLINE)
        view = generation.view
        found: dict[str, float] = {}
        for version in range(5):
            matches = generation.metadata_index.matching(
                Equals("version", float(version)), view.count
            )
            slots = np.array([slot for slot in matches if view.live(np.array([slot]))[0]], int)
            found.update(dict.fromkeys(view.keys.at(slots), float(version)))
        assert len(found) == generation.live_count
        return found


@pytest.fixture(name="place")
def fixture_place(store: Store, tmp_path: Path, notes: Notes) -> Place:
    """Return an index of 200 vectors, two of them dead, that was saved twice."""
    place = Place(store, make_options(tmp_path, graph_rows_min=10), notes)
    place.put(names(150))
    place.index_all()
    place.save()
    place.put(names(50, 150))
    place.room.delete(names(2), NO_DEADLINE)
    place.index_all()
    place.save()
    return place


EXPECTED = dict.fromkeys(names(198, 2), 0.0)


# --- What is resumed ------------------------------------------------------------------------------


def test_graph_is_there_at_once_and_not_built_again(place: Place, notes: Notes) -> None:
    room = place.reopen()
    generation = room.load(NO_DEADLINE)
    assert generation.graphed == generation.view.count == 200
    assert generation.has_graph
    assert generation.pending_slots == generation.unsaved == 0
    assert place.versions() == EXPECTED
    assert room.checkpoints == place.named()
    assert notes.failures == []


def test_changes_since_the_checkpoint_are_there_and_wait_for_the_graph(
    place: Place, notes: Notes
) -> None:
    place.put(names(30, 180), version=1)  # twenty of them over others
    place.room.delete(names(5, 10), NO_DEADLINE)
    generation = place.reopen().load(NO_DEADLINE)
    assert generation.graphed == 200
    assert generation.pending_slots == 30
    expected = EXPECTED | dict.fromkeys(names(30, 180), 1.0)
    assert place.versions() == {k: v for k, v in expected.items() if k not in names(5, 10)}
    assert generation.unsaved == 30 + 20 + 5
    assert generation.view.seq == load_state(place.store, INDEX).seq
    place.index_all()
    found = generation.search(draw_noise(1, 4, seed=0), 300, 1)
    assert keys_of(generation.view, found.slots[0].tolist()) == sorted(place.versions())
    assert notes.failures == []


def test_index_can_be_resumed_again_and_again(place: Place, notes: Notes) -> None:
    for version in range(1, 5):
        place.put(names(20, version * 10), version)
        place.index_all()
        place.save()
        before = place.versions()
        place.reopen()
        assert place.versions() == before
        assert place.room.load(NO_DEADLINE).directory.name == "1"
    assert notes.failures == []


def test_rows_of_a_resumed_index_are_those_that_were_put(place: Place) -> None:
    place.put(names(30, 180), version=1)
    view = place.reopen().load(NO_DEADLINE).view
    slots = view.live_range(0, view.count)
    got = place.room.get(view.keys.at(slots), data=True, metadata=False)
    np.testing.assert_array_equal(view.rows[slots], [vector.data for vector in got])


# --- What is not believed -------------------------------------------------------------------------


def harm(place: Place, checkpoint: Checkpoint) -> None:
    """Flip a byte of a checkpoint's graph."""
    path = place.room.directory / "1" / checkpoint.name / "graph.hnsw"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_bad_checkpoint_is_told_and_the_one_before_it_resumed(place: Place, notes: Notes) -> None:
    newest, older = place.named()
    harm(place, newest)
    generation = place.reopen().load(NO_DEADLINE)
    assert place.versions() == EXPECTED
    assert generation.graphed == older.count == 150
    assert place.room.checkpoints == [older]
    ((what, error),) = notes.failures
    assert what == "loading of a checkpoint of 'vectors'"
    assert newest.name in str(error)
    place.index_all()
    third = place.save()
    assert place.named() == [third, older]
    place.reopen()
    assert place.versions() == EXPECTED
    assert len(notes.failures) == 1


def test_index_whose_checkpoints_are_all_bad_comes_from_the_store(
    place: Place, notes: Notes
) -> None:
    for checkpoint in place.named():
        harm(place, checkpoint)
    generation = place.reopen().load(NO_DEADLINE)
    assert place.versions() == EXPECTED
    assert (generation.graphed, generation.view.count) == (0, 198)
    assert generation.directory.name == "2"
    assert place.room.checkpoints == []
    assert [what for what, _ in notes.failures] == ["loading of a checkpoint of 'vectors'"] * 2
    place.index_all()
    assert place.save().generation == 2
    assert [path.name for path in place.room.directory.iterdir()] == ["2"]


@pytest.mark.parametrize("field", ["seq", "next_label"])
def test_checkpoint_that_is_newer_than_the_store_is_not_believed(
    place: Place, notes: Notes, field: str
) -> None:
    newest, older = place.named()
    state = load_state(place.store, INDEX)
    place.name([replace(newest, **{field: getattr(state, field) + 1}), older])
    assert place.reopen().load(NO_DEADLINE).graphed == older.count
    assert place.versions() == EXPECTED
    ((_, error),) = notes.failures
    assert "newer than the store" in str(error)


def test_checkpoint_without_a_vector_that_it_should_hold_is_not_believed(
    place: Place, notes: Notes
) -> None:
    newest, older = place.named()
    place.name([replace(older, next_label=newest.next_label), older])
    assert place.reopen().load(NO_DEADLINE).graphed == older.count
    assert place.versions() == EXPECTED
    ((_, error),) = notes.failures
    assert "missing in the checkpoint" in str(error)


def test_checkpoint_of_another_shape_is_not_believed(place: Place, notes: Notes) -> None:
    newest, _ = place.named()
    others = [
        replace(newest, dimension=3),
        replace(newest, metric=DistanceMetric.COSINE),
        replace(newest, m=8),
    ]
    place.name(others)
    assert place.reopen().load(NO_DEADLINE).graphed == 0
    assert place.versions() == EXPECTED
    assert len(notes.failures) == 3


@pytest.mark.parametrize("value", [b"", b"{", b'[{"generation":1}]', b"\xff"])
def test_record_of_checkpoints_that_cannot_be_read_is_named(place: Place, value: bytes) -> None:
    made = place.store.batch()
    made.put(Family.CATALOG, KEY, value)
    place.store.write(made)
    with pytest.raises(Corruption, match=f"family catalog, key {KEY.hex()}"):
        place.reopen()


def test_deleting_every_file_costs_time_and_nothing_else(place: Place, notes: Notes) -> None:
    shutil.rmtree(place.room.directory)
    assert place.reopen().load(NO_DEADLINE).graphed == 0
    assert place.versions() == EXPECTED
    assert len(notes.failures) == 2


def test_checkpoint_that_is_not_to_be_resumed_stays_as_it_is(place: Place, notes: Notes) -> None:
    named = place.named()
    recovery = Recovery(place.store, INDEX, place.options, notes)
    recovered = recovery.run(
        load_state(place.store, INDEX), place.room.directory, stop=NO_DEADLINE, resume=False
    )
    assert recovered.generation.directory.name == "2"
    assert recovered.generation.graphed == 0
    assert recovered.checkpoints == named
    recovered.generation.close()
    place.reopen()
    assert place.room.load(NO_DEADLINE).graphed == 200
    assert notes.failures == []


# --- What is swept --------------------------------------------------------------------------------


def stray(place: Place, name: str) -> Path:
    """Make a directory that nobody knows of."""
    path = place.room.directory / name
    path.mkdir(parents=True)
    (path / "file").write_bytes(b"stray")
    return path


@pytest.mark.parametrize("name", ["2", "7", "1/checkpoint-3", "1/checkpoint-99"])
def test_what_the_store_does_not_name_is_removed_at_the_start(place: Place, name: str) -> None:
    path = stray(place, name)
    place.reopen()
    assert not path.exists()
    assert place.versions() == EXPECTED


def test_directory_that_was_swept_gives_its_number_to_nobody(place: Place, notes: Notes) -> None:
    # A rebuild that does not know yet that it is outdated throws its directory away later.
    stray(place, "2")
    recovery = Recovery(place.store, INDEX, place.options, notes)
    recovered = recovery.run(
        load_state(place.store, INDEX), place.room.directory, stop=NO_DEADLINE, resume=False
    )
    recovered.generation.close()
    assert recovered.generation.directory.name == "3"


@pytest.mark.parametrize(
    ("below", "left"),
    [
        (None, {"2/checkpoint-3"}),
        (1, {"1/checkpoint-1", "2/checkpoint-3", "3/checkpoint-1"}),
        (2, {"2/checkpoint-3", "3/checkpoint-1"}),
        (3, {"2/checkpoint-3", "3/checkpoint-1"}),
        (4, {"2/checkpoint-3"}),
    ],
)
def test_sweeping_keeps_what_is_named_and_what_is_newer(
    place: Place, tmp_path: Path, below: int | None, left: set[str]
) -> None:
    base = tmp_path / "swept"
    for name in ("1/checkpoint-1", "2/checkpoint-2", "2/checkpoint-3", "3/checkpoint-1"):
        (base / name).mkdir(parents=True)
    (base / "2" / "column.f32").write_bytes(b"rows")
    named = replace(place.named()[0], generation=2, name="checkpoint-3")
    sweep(base, [named], below=below)
    assert {path.relative_to(base).as_posix() for path in base.glob("*/checkpoint-*")} == left
    assert (base / "2" / "column.f32").exists()


def test_sweeping_what_is_not_there_is_no_failure(tmp_path: Path) -> None:
    sweep(tmp_path / "nowhere", [], below=None)
