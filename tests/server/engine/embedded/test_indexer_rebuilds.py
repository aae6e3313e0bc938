"""When worn generations are built anew, what stops it, and that the old one serves all the while.

Method: as in test_indexer_bursts.py, rounds are called without the indexer's thread where the order
matters; the thread itself runs in the others. (What a rebuild makes: test_rebuild.py.)
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lives import names
from oracles import draw_noise
from rebuilding import Place, live
from rooms import NEVER, Notes, batch, eventually, make_options, running
from vectorbucket.errors import MemoryBudgetExceeded
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import budget as budgets
from vectorbucket_server.engine.embedded import indexer as module
from vectorbucket_server.engine.embedded import rebuild
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.rebuild import Rebuild
from vectorbucket_server.engine.embedded.schema import Family, state_key
from vectorbucket_server.engine.embedded.store import Store


@pytest.fixture(name="soon", autouse=True)
def fixture_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few dead slots be enough, no put go first, and refusals come at once."""
    monkeypatch.setattr(rebuild, "_DEAD_MIN", 10)
    monkeypatch.setattr(module, "_PUTS_RECENT_S", 0.0)
    monkeypatch.setattr(budgets, "_PATIENCE_S", 0.0)


@pytest.fixture(name="make")
def fixture_make(store: Store, options: EmbeddedOptions, notes: Notes) -> Callable[..., Place]:
    """Return how to make a place."""

    def make(graph_rows_min: int = 20, **changes: object) -> Place:
        folder = options.data_dir.parent
        changed = make_options(folder, graph_rows_min=graph_rows_min, turn_rows_idle=50, **changes)
        return Place(store, changed, notes)

    return make


@pytest.fixture(name="place", params=[20, NEVER], ids=["with a graph", "without a graph"])
def fixture_place(make: Callable[..., Place], request: pytest.FixtureRequest) -> Place:
    """Return a place whose indexes have a graph, and one whose have none."""
    return make(request.param)


# --- From beginning to end ------------------------------------------------------------------------


def test_worn_index_is_built_anew_and_its_old_files_go(place: Place) -> None:
    worn = place.make()
    old = worn.generation
    place.rounds()
    assert worn.generation is not old
    assert worn.load(NO_DEADLINE).dead_count == 0
    assert live(worn) == names(150, 150)
    assert [path.name for path in worn.directory.iterdir()] == ["2"]
    assert not worn.is_busy
    assert place.budget.taken_bytes == worn.size_bytes
    assert place.notes.failures == []


def test_index_that_is_not_worn_is_left_as_it_is(place: Place) -> None:
    room = place.make(300, 9)
    old = room.generation
    place.rounds()
    assert room.generation is old


def test_index_is_busy_and_its_memory_reserved_while_it_is_rebuilt(place: Place) -> None:
    worn = place.make()
    assert place.indexer._round()
    assert worn.is_busy
    generation = worn.load(NO_DEADLINE)
    alive = generation.live_count / generation.view.count
    assert place.budget.taken_bytes >= int((1 + alive) * worn.size_bytes)
    assert not worn.unload()
    place.rounds()
    assert not worn.is_busy


def test_thread_rebuilds_beside_writers_and_readers(place: Place) -> None:
    room = place.make(300, 0)
    place.indexer.start()
    try:

        def write() -> None:
            for number in range(80):
                keys = names(20, number * 20 % 300)
                rows = draw_noise(20, 4, seed=number)
                room.put(batch(keys, rows), None, None, NO_DEADLINE)
                place.indexer.wake()

        def read() -> None:
            for _ in range(80):
                assert live(room) == names(300)

        with running(write), running(read):
            pass
        place.indexer.wake()
        eventually(lambda: not room.is_busy and not room.load(NO_DEADLINE).has_work, "it is quiet")
    finally:
        place.indexer.stop()
    assert int(room.load(NO_DEADLINE).directory.name) > 2
    assert len(list(room.directory.iterdir())) == 1
    assert live(room) == names(300)
    assert place.notes.failures == []


def test_small_index_that_is_put_over_for_ever_stays_small(make: Callable[..., Place]) -> None:
    place = make(NEVER)
    room = place.make(30, 0)
    for number in range(40):
        rows = draw_noise(30, 4, seed=number)
        room.put(batch(names(30), rows), None, None, NO_DEADLINE)
        place.rounds()
        assert room.load(NO_DEADLINE).view.count <= 60
        assert len(list(room.directory.iterdir())) == 1
    assert live(room) == names(30)


def test_old_graph_is_fed_while_much_waits_for_it(make: Callable[..., Place]) -> None:
    place = make(pending_bytes_max=200 * 16)
    worn = place.make()
    old = worn.load(NO_DEADLINE)
    assert place.indexer._round()
    worn.put(batch(names(150, 500), draw_noise(150, 4, seed=2)), None, None, NO_DEADLINE)
    assert not worn.backlog.is_moderate
    graphed = old.graphed
    assert place.indexer._round()
    assert old.graphed == graphed + 50
    place.rounds()
    assert worn.generation is not old
    assert live(worn) == sorted(names(150, 150) + names(150, 500))


# --- What stops it --------------------------------------------------------------------------------


def test_rebuild_without_memory_is_told_and_the_old_one_goes_on(place: Place) -> None:
    worn = place.make()
    old = worn.load(NO_DEADLINE)
    place.budget.limit_bytes = place.budget.taken_bytes + 15_500  # for what is put below
    place.rounds()
    ((what, error),) = place.notes.failures
    assert what == "rebuild of 'i1'"
    assert isinstance(error, MemoryBudgetExceeded)
    assert not worn.is_busy
    assert worn.generation is old
    worn.put(batch(names(10, 500), draw_noise(10, 4, seed=2)), None, None, NO_DEADLINE)
    place.rounds()
    assert worn.generation is old, "it is not tried again at once"
    assert not old.has_work, "what is put meanwhile is indexed"
    assert old.has_graph is old.wants_graph
    assert len(place.notes.failures) == 1
    place.budget.limit_bytes = 10**9
    place.indexer._refused = dict.fromkeys(place.indexer._refused, 0.0)  # as if it were later
    place.rounds()
    assert worn.generation is not old
    assert live(worn) == sorted(names(150, 150) + names(10, 500))
    assert not place.indexer._refused


def test_thread_tries_again_by_itself_when_memory_was_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AFTER_FAILURE_S", 0.005)
    worn = place.make()
    old = worn.generation
    place.budget.limit_bytes = place.budget.taken_bytes
    place.indexer.wake()
    place.indexer.start()
    try:
        eventually(lambda: len(place.notes.failures) >= 2, "it was refused twice")
        assert worn.generation is old
        place.budget.limit_bytes = 10**9
        eventually(lambda: worn.generation is not old, "it is rebuilt")
    finally:
        place.indexer.stop()
    assert live(worn) == names(150, 150)


@pytest.mark.parametrize("kind", [OSError, RuntimeError, MemoryError, ValueError])
def test_rebuild_that_fails_is_told_thrown_away_and_begun_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    worn = place.make()
    old, error, step = worn.generation, kind("broken"), Rebuild.step

    def fail(making: Rebuild, rows_max: int, threads: int) -> int:
        if making._looked_at:
            raise error
        return step(making, rows_max, threads)

    monkeypatch.setattr(Rebuild, "step", fail)
    place.rounds()
    assert place.notes.failures == [("indexing of 'i1'", error)]
    assert worn.generation is old
    assert [path.name for path in worn.directory.iterdir()] == ["1"]
    assert not worn.is_busy
    assert place.budget.taken_bytes == worn.size_bytes
    assert live(worn) == names(150, 150)
    monkeypatch.setattr(Rebuild, "step", step)
    place.indexer._left_alone.clear()  # as if it were later
    place.rounds()
    assert worn.generation is not old
    assert live(worn) == names(150, 150)


def test_directory_that_cannot_be_made_is_told_and_gives_the_memory_back(place: Place) -> None:
    worn = place.make()
    (worn.directory / "2").write_bytes(b"a file")
    place.rounds()
    ((what, error),) = place.notes.failures
    assert what == "indexing of 'i1'"
    assert isinstance(error, FileExistsError)
    assert not worn.is_busy
    assert place.budget.taken_bytes == worn.size_bytes


@pytest.mark.parametrize("is_listed", [True, False])
def test_rebuild_of_a_dropped_index_is_thrown_away_with_its_memory(
    place: Place, *, is_listed: bool
) -> None:
    worn, other = place.make(), place.make(50, 0)
    assert place.indexer._round()
    worn.drop(lambda: None)
    if not is_listed:
        place.rooms.remove(worn)
    for _ in range(20):  # to an end of the rebuild that would be
        place.indexer._round()
    place.rooms[:] = [other]
    worn.close()
    place.rounds()
    assert [path.name for path in worn.directory.iterdir()] == ["1"]
    assert place.budget.taken_bytes == other.size_bytes
    assert place.notes.failures == []


def test_rebuild_of_an_index_that_was_made_again_from_the_store_is_thrown_away(
    place: Place,
) -> None:
    worn = place.make()
    assert place.indexer._round()
    with worn._mutex:
        worn.forget()
    place.rounds()
    fresh = worn.load(NO_DEADLINE)
    place.rounds()
    assert worn.generation is fresh
    assert fresh.dead_count == 0
    assert fresh.directory.exists()
    assert live(worn) == names(150, 150)
    worn.put(batch(names(10)[:5], draw_noise(5, 4, seed=3)), None, None, NO_DEADLINE)
    place.rounds()
    assert place.notes.failures == []


def test_stopping_throws_the_rebuild_under_way_away(place: Place) -> None:
    worn = place.make(3_000, 1_500)
    old = worn.generation
    assert place.indexer._round()
    place.indexer._stopping = True
    place.indexer.start()
    place.indexer.stop()
    assert worn.generation is old
    assert [path.name for path in worn.directory.iterdir()] == ["1"]
    assert place.budget.taken_bytes == worn.size_bytes


# --- Memory at the start --------------------------------------------------------------------------


def test_index_that_does_not_fit_is_not_loaded_before_it_is_used(
    make: Callable[..., Place],
) -> None:
    place = make(NEVER)
    large, small = place.make(3_000, 0), place.make(10, 0)
    for room in place.rooms:
        room.close()
    place.budget.limit_bytes = large.needed_bytes() - 1
    place.indexer._load()
    assert large.generation is None
    assert small.generation is not None
    assert place.notes.failures == []


def test_index_whose_records_are_gone_because_it_was_dropped_is_no_failure(
    make: Callable[..., Place],
) -> None:
    place = make(NEVER)
    dropped, sound = place.make(10, 0), place.make(10, 0)
    for room in place.rooms:
        room.close()
    dropped.drop(lambda: None)
    gone = place.store.batch()
    gone.delete(Family.CATALOG, state_key(dropped.index.index_id))
    place.store.write(gone)
    place.indexer._load()
    assert sound.generation is not None
    assert place.notes.failures == []
