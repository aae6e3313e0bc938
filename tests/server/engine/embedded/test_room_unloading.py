"""An index leaves memory when nobody uses it, and comes back with the same answers.

Method: what is unloaded is asked the same before and after. What keeps it from leaving stands in
test_room_users.py.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from oracles import draw_mixture, exact_neighbours
from rooms import (
    NEVER,
    Notes,
    batch,
    eventually,
    make_index,
    make_room,
    numbered,
    records_of,
    restless,
    running,
)
from vectorbucket.errors import Corruption
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import room as module
from vectorbucket_server.engine.embedded.footprint import index_bytes
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.saver import Saver
from vectorbucket_server.engine.embedded.schema import Family, state_key
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.filters.expression import Compare, Comparison
from vectorbucket_server.model import WHOLE, Query

DIMENSION = 8


@pytest.fixture(name="hurried")
def fixture_hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for those who work on an index."""
    monkeypatch.setattr(module, "_LEAVE_WAIT_S", 0.01)


def make_graphed(store: Store, options: EmbeddedOptions, notes: Notes) -> OpenIndex:
    """Return an index that gets a graph with its first vector."""
    settings = replace(options, graph_rows_min=1, ef_construction=50)
    return make_room(store, settings, make_index(DIMENSION), notes)


def put(room: OpenIndex, count: int, *, start: int = 0, seed: int = 1) -> None:
    """Put vectors of a mixture."""
    keys = [f"k{number}" for number in range(start, start + count)]
    metadata = [{"n": float(number)} for number in range(start, start + count)]
    rows = draw_mixture(count, room.index.dimension, seed=seed)
    room.put(batch(keys, rows, metadata), None, None, NO_DEADLINE)


def index_all(room: OpenIndex) -> None:
    """Take turns until there is nothing to do."""
    generation = room.load(NO_DEADLINE)
    while generation.has_work:
        with room.work:
            generation.turn(1_000, 1)


def save(room: OpenIndex, store: Store, notes: Notes) -> None:
    """Write a checkpoint."""
    assert Saver(lambda: [room], store, room._options, notes).save(room)
    assert notes.failures == []


def make_saved(store: Store, options: EmbeddedOptions, notes: Notes, count: int) -> OpenIndex:
    """Return an index with vectors, a graph of all of them, and a checkpoint of it."""
    room = make_graphed(store, options, notes)
    put(room, count)
    index_all(room)
    save(room, store, notes)
    return room


def answers(room: OpenIndex) -> list[Any]:
    """Return what the index says when it is asked for everything."""
    queries = draw_mixture(5, room.index.dimension, seed=1, draw=1)
    return [
        [(hit.key, hit.distance, hit.metadata) for hits in found for hit in hits]
        for found in (
            room.query(Query(queries, 1_000, return_metadata=True), NO_DEADLINE),
            room.query(Query(queries, 20, Compare("n", Comparison.GTE, 30.0)), NO_DEADLINE),
        )
    ]


# --- Going and coming back ------------------------------------------------------------------------


@pytest.mark.parametrize("saved_at", [None, 0, 1, 2])
def test_index_comes_back_with_the_same_answers(
    store: Store, options: EmbeddedOptions, notes: Notes, saved_at: int | None
) -> None:
    room = make_graphed(store, options, notes)
    for step in range(3):
        put(room, 60, start=40 * step, seed=step + 1)
        room.delete([f"k{number}" for number in range(step, 60, 7)], NO_DEADLINE)
        if step < 2:
            index_all(room)
        if step == saved_at:
            save(room, store, notes)
    before, first = answers(room), room.generation
    for _ in range(2):
        assert room.unload()
        assert room.generation is None
        assert answers(room) == before
        assert room.generation is not first
        assert room.load(NO_DEADLINE).has_graph is (saved_at is not None)
    index_all(room)
    assert answers(room) == before
    assert notes.failures == []


def test_index_without_a_graph_comes_back_with_the_same_answers(
    store: Store, options: EmbeddedOptions
) -> None:
    room = make_room(store, replace(options, graph_rows_min=NEVER), make_index(DIMENSION))
    put(room, 100)
    before = answers(room)
    assert room.unload()
    assert answers(room) == before


def test_index_that_is_not_there_cannot_leave(room: OpenIndex) -> None:
    assert room.unload()
    assert not room.unload()


def test_delete_of_an_index_that_is_not_loaded_does_not_load_it_and_is_seen_afterwards(
    store: Store, options: EmbeddedOptions, notes: Notes
) -> None:
    room = make_saved(store, options, notes, 50)
    put(room, 10, start=50)
    assert room.unload()
    gone = {"k3", "k55", "missing"}
    room.delete(sorted(gone), NO_DEADLINE)
    assert room.generation is None
    assert room.statistics().vector_count == 58
    assert room.dead_rows.has_work
    assert room.dead_rows.remove() == 2
    found = {key for key, *_ in answers(room)[0]}
    assert found == {f"k{number}" for number in range(60)} - gone
    assert len(records_of(store, Family.ROWS)) == 58


def test_put_into_an_index_that_left_brings_it_back(room: OpenIndex) -> None:
    room.put(numbered(3)[0], None, None, NO_DEADLINE)
    assert room.unload()
    room.put(numbered(2, start=2)[0], None, None, NO_DEADLINE)
    assert room.generation is not None
    assert room.generation.live_count == 4


def test_put_whose_index_leaves_while_it_waits_brings_it_back(
    room: OpenIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.put(numbered(3)[0], None, None, NO_DEADLINE)
    wait = room.backlog.wait

    def leave_meanwhile(*arguments: Any) -> None:
        assert room.unload()
        wait(*arguments)

    monkeypatch.setattr(room.backlog, "wait", leave_meanwhile)
    room.put(numbered(2, start=2)[0], None, None, NO_DEADLINE)
    assert room.load(NO_DEADLINE).live_count == 4


def test_answers_stay_right_while_the_index_leaves_again_and_again(
    store: Store, options: EmbeddedOptions, notes: Notes
) -> None:
    room = make_saved(store, options, notes, 300)
    rows, queries = draw_mixture(300, DIMENSION, seed=1), draw_mixture(4, DIMENSION, seed=1, draw=1)
    nearest = exact_neighbours(queries, rows, 10, room.index.metric.value)[0]
    expected = [[f"k{number}" for number in line] for line in nearest.tolist()]
    done = threading.Event()
    left, asked = itertools.count(), itertools.count()

    def ask() -> None:
        while not done.is_set():
            hits = room.query(Query(queries, 10, ef_search=300), NO_DEADLINE)
            assert [[hit.key for hit in some] for some in hits] == expected
            next(asked)

    def read() -> None:
        while not done.is_set():
            page = room.page(
                after="", limit=500, bytes_max=10**9, segment=WHOLE, data=True, metadata=True
            )
            assert len(page.items) >= 300

    def overwrite() -> None:
        for number in itertools.count():
            if done.is_set():
                break
            # Far away: they are never among the nearest.
            far = [[1_000.0 + number % 5] * DIMENSION]
            room.put(batch([f"far{number % 5}"], far), None, None, NO_DEADLINE)
            room.dead_rows.remove()
            with room.work:
                generation = room.generation
                if generation is not None and generation.has_work:
                    generation.turn(100, 1)

    with restless(), running(ask, times=2), running(read), running(overwrite):

        def leave() -> bool:
            return room.unload() and next(left) >= 15 and next(asked) >= 30

        eventually(leave, "it left often enough")
        done.set()
    assert notes.failures == []
    assert room.statistics().vector_count == 305


# --- What cannot be trusted -----------------------------------------------------------------------


def test_forgotten_index_is_made_again_from_the_store_and_not_from_its_checkpoint(
    store: Store, options: EmbeddedOptions, notes: Notes
) -> None:
    room = make_saved(store, options, notes, 60)
    before, directory = answers(room), room.load(NO_DEADLINE).directory
    with room._mutex:
        room.forget()
    assert room.generation is None
    again = room.load(NO_DEADLINE)
    assert again.directory != directory
    assert not again.has_graph
    assert answers(room) == before
    assert directory.exists(), "its checkpoint is as good as before"
    assert room.unload()
    assert room.load(NO_DEADLINE).directory == directory
    assert room.load(NO_DEADLINE).has_graph
    assert answers(room) == before


@pytest.mark.usefixtures("hurried")
def test_reader_of_a_forgotten_generation_may_finish(
    store: Store, options: EmbeddedOptions, notes: Notes
) -> None:
    room = make_saved(store, options, notes, 60)
    generation = room.load(NO_DEADLINE)
    view, keys = generation.view, [f"k{number}" for number in range(60)]
    rows = view.rows[:60].tobytes()
    with room.using(NO_DEADLINE):
        with room._mutex:
            room.forget()
        put(room, 500, start=60)
        assert view.rows[:60].tobytes() == rows
        assert view.keys.at(np.arange(60)) == keys
        assert not room.unload(), "the reader might still look"


# --- What it will take ----------------------------------------------------------------------------


def test_index_needs_memory_for_its_vectors_and_their_graph(
    store: Store, options: EmbeddedOptions
) -> None:
    settings = replace(options, graph_rows_min=100)
    room = make_room(store, settings, make_index(DIMENSION), loaded=False)
    assert room.needed_bytes() == 0
    put(room, 99)
    assert room.needed_bytes() == index_bytes(room.index, settings, 99)
    put(room, 1, start=99)
    assert room.needed_bytes() == index_bytes(room.index, settings, 100)
    room.unload()
    assert room.needed_bytes() == index_bytes(room.index, settings, 100)


def test_index_needs_memory_for_the_dead_in_its_checkpoint(
    store: Store, options: EmbeddedOptions, notes: Notes
) -> None:
    room = make_graphed(store, options, notes)
    put(room, 50)
    put(room, 50)
    index_all(room)
    save(room, store, notes)
    assert room.needed_bytes() == index_bytes(room.index, room._options, 100)


def test_what_an_index_needs_is_about_what_it_takes(
    store: Store, options: EmbeddedOptions, notes: Notes
) -> None:
    room = make_graphed(store, options, notes)
    put(room, 5_000)
    needed_bytes = room.needed_bytes()
    assert 0.7 * room.size_bytes < needed_bytes < 1.5 * room.size_bytes


def test_counters_that_are_broken_are_named(room: OpenIndex, store: Store) -> None:
    assert room.unload()
    made = store.batch()
    made.put(Family.CATALOG, state_key(1), b"short")
    store.write(made)
    with pytest.raises(Corruption, match=f"family catalog, key {state_key(1).hex()}"):
        room.load(NO_DEADLINE)
