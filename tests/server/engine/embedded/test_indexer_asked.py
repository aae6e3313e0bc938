"""Rebuilds that somebody asked for: begun though nothing is worn, refused at once, never forgotten.

Method: as in test_indexer_rebuilds.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lives import names
from oracles import draw_noise
from rebuilding import Place, live
from rooms import NEVER, Notes, batch, eventually, make_options, restless, together
from vectorbucket.errors import MemoryBudgetExceeded, NoSuchVectorIndex
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import budget as budgets
from vectorbucket_server.engine.embedded import indexer as module
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.rebuild import Rebuild
from vectorbucket_server.engine.embedded.store import Store


@pytest.fixture(name="make")
def fixture_make(
    store: Store, options: EmbeddedOptions, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Place]:
    """Return how to make a place where no put goes first and refusals come at once."""
    monkeypatch.setattr(module, "_PUTS_RECENT_S", 0.0)
    monkeypatch.setattr(budgets, "_PATIENCE_S", 0.0)

    def make(graph_rows_min: int = 20) -> Place:
        folder = options.data_dir.parent
        changed = make_options(folder, graph_rows_min=graph_rows_min, turn_rows_idle=50)
        return Place(store, changed, notes)

    return make


@pytest.fixture(name="place")
def fixture_place(make: Callable[..., Place]) -> Place:
    """Return a place whose indexes have a graph."""
    return make()


def is_quiet(place: Place, room: OpenIndex) -> bool:
    """Return whether nothing of a rebuild is left but what the index takes."""
    return (
        not room.is_busy
        and not place.indexer._asked
        and not place.indexer._rebuilds
        and place.budget.taken_bytes == room.size_bytes
    )


def test_index_is_rebuilt_though_it_is_not_worn(place: Place) -> None:
    room = place.make(300, 5)
    old = room.load(NO_DEADLINE)
    place.indexer.rebuild(room)
    assert room.is_busy
    assert room.statistics().is_rebuilding
    assert not room.unload()
    place.rounds()
    new = room.load(NO_DEADLINE)
    assert new is not old
    assert new.dead_count == 0
    assert live(room) == names(295, 5)
    assert is_quiet(place, room)
    assert not room.statistics().is_rebuilding
    place.rounds()
    assert room.generation is new, "once is enough"
    assert place.notes.failures == []


def test_what_is_asked_while_it_is_under_way_begins_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, begin = list[Rebuild](), Rebuild.__init__

    def noted(making: Rebuild, *arguments: object) -> None:
        begun.append(making)
        begin(making, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Rebuild, "__init__", noted)
    room = place.make(300, 5)
    outcomes = together([lambda: place.indexer.rebuild(room)] * 4)
    assert outcomes == [None] * 4
    assert place.indexer._round()
    place.indexer.rebuild(room)
    place.rounds()
    assert len(begun) == 1
    assert is_quiet(place, room)


def test_index_without_a_graph_is_left_as_it_is(make: Callable[..., Place]) -> None:
    place = make(NEVER)
    room = place.make(300, 5)
    old = room.generation
    place.indexer.rebuild(room)
    assert is_quiet(place, room)
    place.rounds()
    assert room.generation is old


def test_index_that_is_not_in_memory_is_loaded_first(place: Place) -> None:
    room = place.make(300, 5)
    assert room.unload()
    place.indexer.rebuild(room)
    assert room.is_busy
    assert room.generation is not None
    place.rounds()
    assert room.load(NO_DEADLINE).dead_count == 0
    assert live(room) == names(295, 5)


def test_index_that_leaves_just_then_is_loaded_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = place.make(300, 5)
    reserve, left = place.budget.reserve, list[bool]()

    def leave_first(tenant: OpenIndex, extra_bytes: int) -> None:
        if not left:
            left.append(room.unload())
        reserve(tenant, extra_bytes)

    monkeypatch.setattr(place.budget, "reserve", leave_first)
    place.indexer.rebuild(room)
    assert left == [True]
    assert room.is_busy
    assert room.generation is not None
    place.rounds()
    assert is_quiet(place, room)


# --- What stops it --------------------------------------------------------------------------------


def test_refusal_for_memory_is_the_callers(place: Place) -> None:
    room = place.make(300, 5)
    old = room.generation
    place.budget.limit_bytes = place.budget.taken_bytes + 10
    with pytest.raises(MemoryBudgetExceeded, match="i1"):
        place.indexer.rebuild(room)
    assert is_quiet(place, room)
    place.rounds()
    assert room.generation is old
    assert place.notes.failures == []


def test_refusal_that_comes_later_is_told_and_ends_it(place: Place) -> None:
    room = place.make(300, 5)
    old = room.load(NO_DEADLINE)
    place.indexer.rebuild(room)
    room.put(batch(names(200, 500), draw_noise(200, 4, seed=2)), None, None, NO_DEADLINE)
    place.budget.limit_bytes = place.budget.taken_bytes
    place.rounds()
    ((what, error),) = place.notes.failures
    assert what == "rebuild of 'i1'"
    assert isinstance(error, MemoryBudgetExceeded)
    assert room.generation is old
    assert not old.has_work, "what waits is indexed"
    assert not room.is_busy
    assert not place.indexer._asked


def test_index_that_is_dropped_before_it_begins_takes_no_memory(place: Place) -> None:
    room = place.make(300, 5)
    place.indexer.rebuild(room)
    room.drop(lambda: None)
    place.rooms.clear()
    place.rounds()
    room.close()
    assert is_quiet(place, room)
    assert place.budget.taken_bytes == 0
    with pytest.raises(NoSuchVectorIndex):
        place.indexer.rebuild(room)
    assert place.budget.taken_bytes == 0


def test_index_that_is_dropped_while_it_asks_for_memory_is_gone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = place.make(300, 5)
    reserve = place.budget.reserve

    def drop_then(tenant: OpenIndex, extra_bytes: int) -> None:
        room.drop(lambda: None)
        reserve(tenant, extra_bytes)

    monkeypatch.setattr(place.budget, "reserve", drop_then)
    with pytest.raises(NoSuchVectorIndex):
        place.indexer.rebuild(room)
    assert is_quiet(place, room)


def test_generation_that_is_lost_before_it_begins_ends_it(place: Place) -> None:
    room = place.make(300, 5)
    place.indexer.rebuild(room)
    with room.frozen():
        room.forget()
    place.rounds()
    assert is_quiet(place, room)
    assert live(room) == names(295, 5)


@pytest.mark.parametrize("kind", [OSError, RuntimeError, MemoryError, ValueError])
def test_rebuild_that_fails_is_told_and_may_be_asked_for_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    room = place.make(300, 5)
    old, error = room.generation, kind("broken")

    def fail(*_: object) -> int:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Rebuild, "step", fail)
        place.indexer.rebuild(room)
        place.rounds()
    assert place.notes.failures == [("indexing of 'i1'", error)]
    assert room.generation is old
    assert is_quiet(place, room)
    place.indexer._left_alone.clear()  # as if it were later
    place.indexer.rebuild(room)
    place.rounds()
    assert room.load(NO_DEADLINE).dead_count == 0


def test_end_of_the_engine_ends_it(place: Place) -> None:
    room = place.make(300, 5)
    old = room.generation
    place.indexer._stopping = True
    place.indexer.rebuild(room)
    place.indexer.start()
    place.indexer.stop()
    assert is_quiet(place, room)
    assert room.generation is old


def test_thread_does_what_callers_ask_for_all_at_once(place: Place) -> None:
    rooms = [place.make(120, 5) for _ in range(3)]
    place.indexer.start()
    try:
        with restless():
            for _ in range(5):
                assert (
                    together(
                        [lambda room=room: place.indexer.rebuild(room) for room in rooms * 2]  # type: ignore[misc]
                    )
                    == [None] * 6
                )
                eventually(lambda: not any(room.is_busy for room in rooms), "all are rebuilt")
    finally:
        place.indexer.stop()
    for room in rooms:
        assert live(room) == names(115, 5)
        assert room.load(NO_DEADLINE).dead_count == 0
    assert place.budget.taken_bytes == sum(room.size_bytes for room in rooms)
    assert place.notes.failures == []
