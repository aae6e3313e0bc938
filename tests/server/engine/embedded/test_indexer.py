"""Turns: whose, after which failure, and until when.

Method: real indexes over a store, and the indexer's own thread; a turn is noted, held or failed by
standing before ``Generation.turn``. (Rebuilds: test_indexer_rebuilds.py.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from lives import names
from oracles import draw_noise
from rooms import (
    NEVER,
    WITHIN_S,
    Notes,
    batch,
    eventually,
    make_budget,
    make_index,
    make_room,
    numbered,
    running,
)
from vectorbucket.errors import Corruption
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import indexer as module
from vectorbucket_server.engine.embedded import pending as backlog
from vectorbucket_server.engine.embedded import recovery
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.indexer import Indexer, Pace
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.store import Store


@pytest.fixture(name="no_bursts", autouse=True)
def fixture_no_bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no put go before a turn; that some do is tested in test_indexer_bursts.py."""
    monkeypatch.setattr(module, "_PUTS_RECENT_S", 0.0)


# --- The thread -----------------------------------------------------------------------------------


class Turns:
    """Stands before the turns of all generations: notes them, holds and fails them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: list[tuple[Generation, int]] = []
        self.failing: dict[Generation, Exception] = {}
        self.go_on = threading.Event()
        self.go_on.set()
        turn = Generation.turn

        def noted(generation: Generation, rows_max: int, threads: int) -> int:
            self.taken.append((generation, rows_max))
            assert self.go_on.wait(WITHIN_S)
            if generation in self.failing:
                raise self.failing[generation]
            return turn(generation, rows_max, threads)

        monkeypatch.setattr(Generation, "turn", noted)

    def of(self, room: OpenIndex) -> list[int]:
        """Return the sizes of the turns that an index was given."""
        return [rows for generation, rows in self.taken if generation is room.generation]


@pytest.fixture(name="turns")
def fixture_turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    """Return what stands before every turn."""
    return Turns(monkeypatch)


@pytest.fixture(name="make")
def fixture_make(store: Store, options: EmbeddedOptions, notes: Notes) -> Callable[..., OpenIndex]:
    """Return how to make an index that gets a graph with its first vector; numbers are its id."""

    def make(index_id: int, *, graph_rows_min: int = 1, **changes: object) -> OpenIndex:
        settings = {"indexer_threads": 1, "graph_rows_min": graph_rows_min, **changes}
        eager = EmbeddedOptions(options.data_dir, **settings)  # type: ignore[arg-type]
        return make_room(store, eager, make_index(name=f"i{index_id}", index_id=index_id), notes)

    return make


def put(room: OpenIndex, count: int, start: int = 0) -> None:
    """Put noise."""
    made = batch(names(count, start), draw_noise(count, 4, seed=start))
    room.put(made, None, None, NO_DEADLINE)


def make_indexer(rooms: list[OpenIndex], options: EmbeddedOptions, notes: Notes) -> Indexer:
    """Return an indexer of these indexes that was not started."""
    # Only a rebuild asks the store; where there are no indexes there is none.
    store = rooms[0]._store if rooms else cast("Store", None)
    return Indexer(lambda: rooms, store, make_budget(rooms=rooms), options, notes)


@contextmanager
def working(rooms: list[OpenIndex], options: EmbeddedOptions, notes: Notes) -> Iterator[Indexer]:
    """Yield an indexer that works on indexes, and knows that there is work; stop it at the end."""
    indexer = make_indexer(rooms, options, notes)
    indexer.wake()
    indexer.start()
    try:
        yield indexer
    finally:
        indexer.stop()


def pending(room: OpenIndex) -> int:
    """Return what is pending."""
    return room.statistics().pending_vector_count


def test_indexes_are_loaded_at_the_start(
    make: Callable[..., OpenIndex], options: EmbeddedOptions, notes: Notes
) -> None:
    rooms = [make(number) for number in (1, 2, 3)]
    for room in rooms:
        put(room, 4)
        room.close()
    with working(rooms, options, notes):
        eventually(lambda: all(room.generation for room in rooms), "all are loaded")
    assert notes.failures == []


@pytest.mark.parametrize("kind", [Corruption, MemoryError, OSError, RuntimeError, ValueError])
def test_index_that_cannot_be_loaded_is_told_and_hinders_no_other(
    make: Callable[..., OpenIndex],
    options: EmbeddedOptions,
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Exception],
) -> None:
    broken, sound = make(1), make(2)
    put(sound, 5)
    sound.close()
    error = kind("broken")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(broken, "load", fail)
    with working([broken, sound], options, notes) as indexer:
        eventually(lambda: sound.generation, "the other is loaded")
        indexer.wake()
        eventually(lambda: pending(sound) == 0, "the other is indexed")
    assert notes.failures == [("loading of 'i1'", error)]


def test_index_that_was_dropped_before_it_was_loaded_is_no_failure(
    make: Callable[..., OpenIndex], options: EmbeddedOptions, notes: Notes
) -> None:
    dropped, sound = make(1), make(2)
    dropped.drop(lambda: None)
    sound.close()
    with working([dropped, sound], options, notes):
        eventually(lambda: sound.generation, "the other is loaded")
    assert notes.failures == []


def test_what_is_pending_is_indexed_when_the_indexer_is_woken(
    make: Callable[..., OpenIndex], options: EmbeddedOptions, notes: Notes
) -> None:
    room = make(1)
    with working([room], options, notes) as indexer:
        for start in range(0, 300, 100):
            put(room, 100, start)
            indexer.wake()
            eventually(lambda: pending(room) == 0, "everything is indexed")
        room.delete(names(10), NO_DEADLINE)
        indexer.wake()
        eventually(lambda: not room.load(NO_DEADLINE).has_work, "the dead are hidden")
    assert sum(notes.turns) == 300
    assert notes.failures == []


def test_small_index_is_left_alone(
    make: Callable[..., OpenIndex], options: EmbeddedOptions, notes: Notes, turns: Turns
) -> None:
    small, large = make(1, graph_rows_min=NEVER), make(2)
    put(small, 50)
    put(large, 50)
    with working([small, large], options, notes):
        eventually(lambda: pending(large) == 0, "the large one is indexed")
    assert turns.of(small) == []


def test_indexes_take_turns(
    make: Callable[..., OpenIndex], options: EmbeddedOptions, notes: Notes, turns: Turns
) -> None:
    rooms = [make(number) for number in (1, 2)]
    for room in rooms:
        put(room, 40)
    slow = EmbeddedOptions(options.data_dir, turn_rows_idle=10, indexer_threads=1)
    with working(rooms, slow, notes):
        eventually(lambda: not any(map(pending, rooms)), "both are indexed")
    owners = [generation is rooms[0].generation for generation, _ in turns.taken]
    assert owners == [True, False] * 4
    assert notes.turns == [10] * 8


def test_turns_are_short_while_there_are_queries(
    make: Callable[..., OpenIndex], options: EmbeddedOptions, notes: Notes, turns: Turns
) -> None:
    asked, quiet = make(1), make(2)
    asked.queried_s = time.monotonic() + 10 * WITHIN_S  # as if a query had come just now
    put(asked, 300)
    put(quiet, 300)
    with working([asked, quiet], options, notes):
        eventually(lambda: not pending(asked) and not pending(quiet), "both are indexed")
    assert turns.of(asked)[0] == Pace(options).rows(queried_recently=True)
    assert turns.of(quiet) == [256, 256]
    assert turns.of(asked)[0] < 256


def test_writer_that_waits_is_told_after_a_turn(
    make: Callable[..., OpenIndex],
    options: EmbeddedOptions,
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlog, "_LOOK_AGAIN_S", 10 * WITHIN_S)
    room = make(1, pending_bytes_max=10 * 16)
    with working([room], options, notes) as indexer:
        for start in range(0, 200, 20):
            put(room, 20, start)
            indexer.wake()
    assert room.statistics().vector_count == 200


# --- Failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError, OSError, ValueError])
def test_turn_that_fails_is_told_and_tried_again_without_being_asked(  # noqa: PLR0917 - fixtures
    make: Callable[..., OpenIndex],
    options: EmbeddedOptions,
    notes: Notes,
    turns: Turns,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Exception],
) -> None:
    monkeypatch.setattr(module, "_AFTER_FAILURE_S", 0.01)
    room = make(1)
    put(room, 20)
    error = kind("no room for the graph")
    turns.failing[room.load(NO_DEADLINE)] = error
    with working([room], options, notes):
        eventually(lambda: len(notes.failures) >= 2, "it failed and was tried again")
        assert pending(room) == 20
        turns.failing.clear()
        eventually(lambda: pending(room) == 0, "it was tried again and worked")
    assert set(notes.failures) == {("indexing of 'i1'", error)}


def test_index_that_failed_is_left_alone_while_others_go_on(
    make: Callable[..., OpenIndex], options: EmbeddedOptions, notes: Notes, turns: Turns
) -> None:
    broken, sound = make(1), make(2)
    put(broken, 20)
    turns.failing[broken.load(NO_DEADLINE)] = RuntimeError("broken")
    with working([broken, sound], options, notes) as indexer:
        for start in range(0, 100, 20):
            put(sound, 20, start)
            indexer.wake()
            eventually(lambda: pending(sound) == 0, "the other is indexed")
    assert len(turns.of(broken)) == 1
    assert len(notes.failures) == 1


# --- The end --------------------------------------------------------------------------------------


def test_stopping_finishes_the_turn_under_way_and_begins_no_other(
    make: Callable[..., OpenIndex], options: EmbeddedOptions, notes: Notes, turns: Turns
) -> None:
    room = make(1)
    put(room, 1_000)
    turns.go_on.clear()
    indexer = make_indexer([room], options, notes)
    indexer.wake()
    indexer.start()
    eventually(lambda: turns.taken, "a turn is under way")
    with running(indexer.stop) as stopping:
        eventually(lambda: indexer._stopping, "it is told to stop")
        assert stopping[0].is_alive()
        turns.go_on.set()
    assert not indexer._thread.is_alive()
    assert notes.turns == [256]
    assert len(turns.taken) == 1
    assert pending(room) == 744


def test_stopping_ends_the_loading_after_the_index_at_hand(
    make: Callable[..., OpenIndex],
    options: EmbeddedOptions,
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = make(1), make(2)
    second.close()
    begun, go_on = threading.Event(), threading.Event()

    def hold(*_: object, **__: object) -> None:
        begun.set()
        assert go_on.wait(WITHIN_S)

    monkeypatch.setattr(first, "load", hold)
    indexer = make_indexer([first, second], options, notes)
    indexer.start()
    assert begun.wait(WITHIN_S)
    with running(indexer.stop):
        eventually(lambda: indexer._stopping, "it is told to stop")
        go_on.set()
    assert second.generation is None


def test_stopping_ends_a_loading_that_takes_long(
    make: Callable[..., OpenIndex],
    options: EmbeddedOptions,
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "_ROWS_PER_CHUNK", 1)
    room, other = make(1), make(2)
    put(room, 100)
    for one in (room, other):
        one.close()
    begun, go_on = threading.Event(), threading.Event()
    stage = Generation.stage

    def hold(generation: Generation, *arguments: Any) -> None:
        begun.set()
        assert go_on.wait(WITHIN_S)
        stage(generation, *arguments)

    monkeypatch.setattr(Generation, "stage", hold)
    indexer = make_indexer([room, other], options, notes)
    indexer.start()
    assert begun.wait(WITHIN_S)
    with running(indexer.stop):
        eventually(lambda: indexer._stopping, "it is told to stop")
        go_on.set()
    assert (room.generation, other.generation) == (None, None)
    assert notes.failures == []
    monkeypatch.setattr(Generation, "stage", stage)
    assert room.load(NO_DEADLINE).live_count == 100


def test_what_is_known_of_a_dropped_index_is_forgotten(
    make: Callable[..., OpenIndex], options: EmbeddedOptions, notes: Notes, turns: Turns
) -> None:
    rooms = [make(1), make(2)]
    for room in rooms:
        put(room, 20)
    turns.failing[rooms[0].load(NO_DEADLINE)] = RuntimeError("broken")
    with working(rooms, options, notes) as indexer:
        eventually(lambda: notes.failures and pending(rooms[1]) == 0, "both had a turn")
        assert set(indexer._left_alone) == {1}
        assert set(indexer._paces) == {1, 2}
        last = rooms.pop()
        rooms.clear()
        indexer.wake()
        eventually(lambda: not indexer._paces and not indexer._left_alone, "it forgets")
    assert last.index.index_id == 2


def test_idle_indexer_stops_at_once(options: EmbeddedOptions, notes: Notes) -> None:
    with working([], options, notes) as indexer:
        indexer.wake()
        indexer.wake()
    assert not indexer._thread.is_alive()
    indexer.wake()


def test_index_that_is_closed_meanwhile_is_passed_over(
    make: Callable[..., OpenIndex], options: EmbeddedOptions, notes: Notes
) -> None:
    closed, sound = make(1), make(2)
    closed.put(numbered(5)[0], None, None, NO_DEADLINE)
    with working([closed, sound], options, notes) as indexer:
        eventually(lambda: pending(closed) == 0, "it is indexed")
        closed.close()
        put(sound, 5)
        indexer.wake()
        eventually(lambda: pending(sound) == 0, "the other is indexed")
    assert notes.failures == []
