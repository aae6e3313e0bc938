"""A worn generation is replaced by one that holds what lives, and nobody notices but by its speed.

Method: rebuilds are driven step by step, without the indexer's thread, so that every write can come
at a known moment of them. (When a rebuild begins and ends: test_indexer_rebuilds.py.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import pytest

from lives import keys_of, names
from oracles import draw_noise
from rooms import (
    NEVER,
    Notes,
    batch,
    make_index,
    make_options,
    make_room,
    numbered,
    records_of,
    running,
)
from vectorbucket.errors import Corruption, NoSuchVectorIndex
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import rebuild as module
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.rebuild import Rebuild, is_worn
from vectorbucket_server.engine.embedded.saver import Saver
from vectorbucket_server.engine.embedded.schema import Family, label_key
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.filters.expression import Equals
from vectorbucket_server.model import Query

ROWS = 64


@pytest.fixture(name="few", autouse=True)
def fixture_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few dead slots be enough."""
    monkeypatch.setattr(module, "_DEAD_MIN", 10)


class Place:
    """An index, what must be in it, and its rebuild."""

    def __init__(self, store: Store, options: EmbeddedOptions, notes: Notes) -> None:
        self.store, self.options, self.notes = store, options, notes
        self.room = make_room(store, options, make_index(), notes)
        self.expected: dict[str, int] = {}
        self._version = 0

    @property
    def generation(self) -> Generation:
        """Return the one that serves."""
        return self.room.load(NO_DEADLINE)

    def put(self, keys: Sequence[str]) -> None:
        """Put vectors that say which version they are, in their data and in their metadata."""
        self._version += 1
        rows = draw_noise(len(keys), 4, seed=self._version)
        rows[:, 0] = self._version
        metadata = [{"key": key, "version": float(self._version)} for key in keys]
        self.room.put(batch(keys, rows, metadata), None, None, NO_DEADLINE)
        self.expected.update(dict.fromkeys(keys, self._version))

    def delete(self, keys: Sequence[str]) -> None:
        """Delete vectors."""
        self.room.delete(keys, NO_DEADLINE)
        for key in keys:
            self.expected.pop(key, None)

    def index_all(self) -> None:
        """Put everything into the graph, if there is one."""
        while self.generation.has_work:
            self.generation.turn(1_000, 1)

    def rebuild(self) -> Rebuild:
        """Begin a rebuild."""
        return Rebuild(self.room, self.generation, self.store, self.options)

    def rebuilt(self) -> Generation:
        """Rebuild to the end and return what serves then."""
        run_to_the_end(self.rebuild())
        return self.generation

    def check(self) -> None:
        """Check that what serves is what was put: rows, keys, metadata, and what queries find."""
        view = self.generation.view
        slots = view.live_range(0, view.count)
        versions = view.rows[slots][:, 0].astype(int).tolist()
        assert dict(zip(view.keys.at(slots), versions, strict=True)) == self.expected
        assert self.generation.live_count == len(self.expected)
        assert self.room.statistics().vector_count == len(self.expected)
        origin = Query(np.zeros((1, 4), np.float32), 1_000, return_metadata=True)
        (hits,) = self.room.query(origin, NO_DEADLINE)
        found = {hit.key: hit.metadata for hit in hits}
        assert found == {
            key: {"key": key, "version": float(version)} for key, version in self.expected.items()
        }
        for key in sorted(self.expected)[:3]:
            matches = self.generation.metadata_index.matching(Equals("key", key), view.count)
            assert keys_of(view, [s for s in matches if view.live(np.array([s]))[0]]) == [key]


def run_to_the_end(rebuild: Rebuild) -> None:
    """Take steps until the new generation serves."""
    for _ in range(1_000):
        rebuild.step(ROWS, 1)
        if rebuild.is_near(ROWS) and rebuild.finish(ROWS):
            return
    raise AssertionError("the rebuild does not end")


@pytest.fixture(name="make")
def fixture_make(store: Store, options: EmbeddedOptions, notes: Notes) -> Callable[..., Place]:
    """Return how to make a worn index: 400 vectors, of which 100 are left and 50 are new."""

    def make(graph_rows_min: int = 20) -> Place:
        changed = make_options(
            options.data_dir.parent, graph_rows_min=graph_rows_min, ef_construction=50
        )
        place = Place(store, changed, notes)
        place.put(names(400))
        place.index_all()
        place.delete(names(250))
        place.put(names(50, 350))
        place.index_all()
        return place

    return make


@pytest.fixture(name="place", params=[20, NEVER], ids=["with a graph", "without a graph"])
def fixture_place(make: Callable[..., Place], request: pytest.FixtureRequest) -> Place:
    """Return a worn index, with a graph and without one."""
    return make(request.param)


# --- When -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dead", "share", "worn"),
    [(9, 0.0, False), (10, 0.0, True), (20, 0.2, False), (21, 0.2, True), (60, 0.6, False)],
)
def test_generation_is_worn_by_many_dead_and_a_share_of_them(
    room: OpenIndex, dead: int, share: float, *, worn: bool
) -> None:
    room.put(numbered(100)[0], None, None, NO_DEADLINE)
    room.delete([f"k{number}" for number in range(dead)], NO_DEADLINE)
    options = EmbeddedOptions(room.directory, worn_share_max=share)
    assert is_worn(room.load(NO_DEADLINE), options) is worn


def test_rebuilt_generation_is_not_worn(place: Place) -> None:
    assert is_worn(place.generation, place.options)
    assert not is_worn(place.rebuilt(), place.options)


# --- What the new one holds -----------------------------------------------------------------------


def test_new_generation_holds_what_lives_and_nothing_else(place: Place) -> None:
    old = place.generation
    new = place.rebuilt()
    assert new is not old
    assert (new.view.count, new.dead_count) == (150, 0)
    assert new.directory.name == str(int(old.directory.name) + 1)
    assert new.view.seq == old.view.seq
    assert new.has_graph is old.has_graph
    assert new.wants_graph is old.wants_graph
    place.check()
    place.index_all()
    place.check()


def test_writes_at_every_moment_of_a_rebuild_are_in_the_new_generation(place: Place) -> None:
    rebuild = place.rebuild()
    old = place.generation
    for turn in range(30):
        rebuild.step(ROWS, 1)
        place.put([f"new{turn}", f"new{turn - 3}"])  # one is new, one is put over
        place.put(names(2, 260 + 2 * turn))  # in front of the rebuild, and behind it
        place.delete([f"new{turn - 5}", *names(1, 320 + turn)])
    assert rebuild.is_near(ROWS), "where puts never pause, nothing goes into the new graph"
    assert place.generation is old
    run_to_the_end(rebuild)
    assert place.generation is not old
    place.check()
    place.index_all()
    place.check()


def test_vector_that_dies_before_its_turn_stays_out_of_the_new_graph(
    make: Callable[..., Place],
) -> None:
    place = make()
    rebuild = place.rebuild()
    while rebuild._looked_at < place.generation.view.count:
        rebuild.step(ROWS, 1)  # takes rows; the last step puts the first of them into the graph
    place.delete(names(30, 315))
    run_to_the_end(rebuild)
    assert place.generation.dead_count == 30
    place.check()


def test_everything_that_dies_meanwhile_leaves_an_empty_generation(place: Place) -> None:
    rebuild = place.rebuild()
    rebuild.step(ROWS, 1)
    place.delete(sorted(place.expected))
    run_to_the_end(rebuild)
    assert place.generation.live_count == 0
    place.check()
    place.put(names(5))
    place.check()


def test_index_goes_on_after_its_rebuild(place: Place) -> None:
    for _ in range(3):
        place.put(names(200, 100))
        place.delete(names(60, 150))
        place.room.dead_rows.remove()
        assert len(records_of(place.store, Family.ROWS)) == len(place.expected)
        place.rebuilt()
        place.check()
        place.index_all()


# --- The swap -------------------------------------------------------------------------------------


def test_swap_waits_until_no_more_than_a_turn_is_left(place: Place) -> None:
    rebuild = place.rebuild()
    old = place.generation
    assert not rebuild.is_near(ROWS)
    assert not rebuild.finish(ROWS)
    while not rebuild.is_near(ROWS):
        rebuild.step(ROWS, 1)
    place.put(names(ROWS + 1, 5_000))
    assert not rebuild.finish(ROWS), "more came than a turn takes"
    assert place.generation is old
    run_to_the_end(rebuild)
    place.check()


def test_readers_that_have_the_old_generation_finish_with_it(place: Place) -> None:
    old, expected = place.generation, sorted(place.expected)
    view = old.view
    with place.room.reading():
        new = place.rebuilt()
        place.delete(expected[:50])
        assert new is not old
        assert keys_of(view) == expected
        found = old.search(np.zeros((1, 4), np.float32), 400, 1)
        live = [slot for slot in found.slots[0].tolist() if view.live(np.array([slot]))[0]]
        assert keys_of(view, live) == (expected if old.has_graph else [])
        assert not np.isnan(view.rows[view.live_range(0, view.count)]).any()
    place.check()


def test_queries_and_writes_beside_the_swap_see_one_or_the_other(place: Place) -> None:
    keys = sorted(place.expected)
    origin = Query(np.zeros((1, 4), np.float32), 1_000, return_metadata=True)

    def read() -> None:
        for _ in range(60):
            (hits,) = place.room.query(origin, NO_DEADLINE)
            assert sorted(hit.key for hit in hits) == keys

    def write() -> None:
        for start in range(0, 60, 5):
            place.put(keys[start : start + 5])

    with running(read, times=2), running(write):
        for _ in range(4):
            run_to_the_end(place.rebuild())
    place.check()


def test_generation_that_serves_no_more_is_not_replaced(place: Place) -> None:
    rebuild = place.rebuild()
    while not rebuild.is_near(ROWS):
        rebuild.step(ROWS, 1)
    assert place.room.unload()
    place.room.load(NO_DEADLINE)
    assert rebuild.is_outdated
    assert not rebuild.finish(ROWS)
    rebuild.abandon()
    place.check()


# --- The old one's files --------------------------------------------------------------------------


def folders(place: Place) -> list[str]:
    """Return the generations that are on disk."""
    return sorted(path.name for path in place.room.directory.iterdir())


def test_old_generation_is_removed_unless_a_checkpoint_needs_it(place: Place) -> None:
    rebuild = place.rebuild()
    assert folders(place) == ["1", "2"]
    run_to_the_end(rebuild)
    rebuild.sweep()
    assert folders(place) == ["2"]


def test_old_generation_stays_until_the_new_one_is_saved(make: Callable[..., Place]) -> None:
    place = make()
    saver = Saver(lambda: [place.room], place.store, place.options, place.notes)
    assert saver.save(place.room)
    rebuild = place.rebuild()
    run_to_the_end(rebuild)
    rebuild.sweep()
    assert folders(place) == ["1", "2"]
    place.index_all()
    assert saver.save(place.room)
    assert folders(place) == ["2"]
    assert [one.generation for one in place.room.checkpoints] == [2]


def test_old_generation_that_is_being_saved_is_left_to_who_saves_it(place: Place) -> None:
    rebuild = place.rebuild()
    run_to_the_end(rebuild)
    with place.room.saving:
        rebuild.sweep()
    assert folders(place) == ["1", "2"]


# --- Failures -------------------------------------------------------------------------------------


def test_abandoned_rebuild_leaves_nothing_and_harms_nothing(place: Place) -> None:
    rebuild = place.rebuild()
    for _ in range(3):
        rebuild.step(ROWS, 1)
        assert folders(place) == ["1", "2"]
    rebuild.abandon()
    assert folders(place) == ["1"]
    place.check()
    place.rebuilt()
    place.check()


def test_what_a_killed_rebuild_left_is_written_over(place: Place) -> None:
    left = place.room.directory / "2"
    left.mkdir()
    (left / "column.f32").write_bytes(b"\xff" * 10_000)
    place.rebuilt()
    place.check()


def test_row_that_the_store_misses_is_named_and_the_old_generation_serves(place: Place) -> None:
    view = place.generation.view
    label = int(view.labels[view.live_range(0, view.count)[70]])
    made = place.store.batch()
    made.delete(Family.ROWS, label_key(1, label))
    place.store.write(made)
    rebuild, old = place.rebuild(), place.generation
    with pytest.raises(Corruption, match=f"family rows, key {label_key(1, label).hex()}: missing"):
        run_to_the_end(rebuild)
    rebuild.abandon()
    assert place.generation is old


def test_index_that_was_dropped_is_not_swapped(place: Place) -> None:
    rebuild = place.rebuild()
    while not rebuild.is_near(ROWS):
        rebuild.step(ROWS, 1)
    place.room.drop(lambda: None)
    with pytest.raises(NoSuchVectorIndex):
        rebuild.finish(ROWS)
    rebuild.abandon()
    assert folders(place) == ["1"]


def test_outdated_rebuild_that_is_abandoned_takes_nothing_that_serves(place: Place) -> None:
    # Memory that could not follow the store is made again, in a directory of its own.
    rebuild = place.rebuild()
    rebuild.step(ROWS, 1)
    with place.room._mutex:
        place.room.forget()
    serving = place.generation
    assert rebuild.is_outdated
    with suppress(OSError):
        rebuild.step(ROWS, 1)
    rebuild.abandon()
    assert serving.directory.exists()
    place.check()
    place.index_all()
    place.rebuilt()
    place.check()
