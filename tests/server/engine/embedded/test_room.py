"""An index comes into memory, stays while it is used, leaves, and comes back as it was.

Unloading, counting and replacing are here, too; two indexes that compete for memory stand in
test_budget_two_indexes.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rooms import (
    GivenUp,
    batch,
    eventually,
    make_budget,
    make_index,
    make_room,
    nothing,
    numbered,
    refused,
    running,
    together,
)
from vectorbucket.errors import (
    Corruption,
    MemoryBudgetExceeded,
    NoSuchVectorIndex,
    RequestTimeout,
    ServiceUnavailable,
)
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import room as module
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import Recovered, Recovery
from vectorbucket_server.engine.embedded.schema import Family, state_key
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import WHOLE, IndexStatistics, Query


def put(room: OpenIndex, count: int, *, start: int = 0) -> bool:
    """Put vectors whose key and first number are their number."""
    return room.put(numbered(count, start=start)[0], None, None, NO_DEADLINE)


def found(room: OpenIndex) -> list[str]:
    """Return the keys that a query for everything finds, nearest to the origin first."""
    asked = Query(np.zeros((1, 4), np.float32), 1_000, return_metadata=True)
    return [hit.key for hit in room.query(asked, NO_DEADLINE)[0]]


def listed(room: OpenIndex) -> list[str]:
    """Return all keys by a listing."""
    page = room.page(
        after="", limit=1_000, bytes_max=10**9, segment=WHOLE, data=True, metadata=True
    )
    return [vector.key for vector in page.items]


@pytest.fixture(name="cold")
def fixture_cold(store: Store, options: EmbeddedOptions) -> OpenIndex:
    """Return an index of three vectors that is not in memory."""
    room = make_room(store, options, make_index())
    put(room, 3)
    room.close()
    return make_room(store, options, room.index, loaded=False)


class Loads:
    """Stands before the loading of indexes: counts, holds and fails it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.error: Exception | None = None
        run = Recovery.run

        def counted(recovery: Recovery, *arguments: Any, **switches: Any) -> Recovered:
            self.count += 1
            assert self.go_on.wait(30)
            if self.error is not None:
                raise self.error
            return run(recovery, *arguments, **switches)

        monkeypatch.setattr(Recovery, "run", counted)


@pytest.fixture(name="loads")
def fixture_loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    """Return what stands before the loading of indexes."""
    return Loads(monkeypatch)


# --- Loading --------------------------------------------------------------------------------------

CALLS: dict[str, tuple[Callable[[OpenIndex], object], bool]] = {
    "put": (lambda room: put(room, 1), True),
    "delete": (lambda room: room.delete(["k0"], NO_DEADLINE), False),
    "get": (lambda room: room.get(["k0"], data=True, metadata=True), False),
    "page": (listed, False),
    "query": (found, True),
    "statistics": (lambda room: room.statistics(), False),
    "load": (lambda room: room.load(NO_DEADLINE), True),
}
"""Call by name, and whether it needs the index in memory."""


@pytest.mark.parametrize("name", CALLS)
def test_index_is_loaded_by_the_first_call_that_needs_it(
    cold: OpenIndex, loads: Loads, name: str
) -> None:
    assert cold.generation is None
    call, needs_it = CALLS[name]
    for _ in range(2):
        call(cold)
    assert loads.count == needs_it
    assert (cold.generation is not None) is needs_it


def test_racing_callers_load_the_index_once(cold: OpenIndex, loads: Loads) -> None:
    outcomes = together([lambda: found(cold)] * 10)
    assert outcomes == [["k0", "k1", "k2"]] * 10
    assert loads.count == 1


def test_deadline_that_passes_while_another_loads_is_a_timeout(
    cold: OpenIndex, loads: Loads
) -> None:
    loads.go_on.clear()
    with running(lambda: found(cold)):
        eventually(lambda: loads.count, "somebody loads")
        for call in (
            lambda: cold.load(GivenUp()),
            lambda: cold.query(Query(np.zeros((1, 4), np.float32), 1), GivenUp()),
            lambda: cold.put(numbered(1)[0], None, None, GivenUp()),
        ):
            with pytest.raises(RequestTimeout, match="'vectors' is still being loaded"):
                call()
        assert listed(cold) == ["k0", "k1", "k2"], "listings need no generation"
        assert cold.statistics().vector_count == 3, "neither do counts"
        loads.go_on.set()
    assert found(cold) == ["k0", "k1", "k2"]
    assert loads.count == 1


@pytest.mark.parametrize("name", ["put", "delete", "query", "load"])
def test_caller_with_time_waits_a_moment_for_another_who_loads_and_then_is_told_to_come_back(
    cold: OpenIndex, loads: Loads, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(module, "_WAIT_S", 0.01)
    loads.go_on.clear()
    with running(lambda: cold.load(NO_DEADLINE)):
        eventually(lambda: loads.count, "somebody loads")
        with pytest.raises(ServiceUnavailable, match="'vectors' is still being loaded"):
            CALLS[name][0](cold)
        loads.go_on.set()
    assert found(cold) == ["k0", "k1", "k2"]


def test_loading_that_is_told_to_stop_leaves_nothing_in_memory(cold: OpenIndex) -> None:
    with pytest.raises(RequestTimeout):
        cold.load(NO_DEADLINE, stop=GivenUp())
    assert cold.generation is None
    assert found(cold) == ["k0", "k1", "k2"]
    assert len(list(cold.directory.iterdir())) == 1, "what was begun in vain is removed"


@pytest.mark.parametrize(("graph_rows_min", "pending"), [(3, 3), (4, 0)])
def test_index_that_is_not_loaded_is_counted_nevertheless(
    cold: OpenIndex, store: Store, options: EmbeddedOptions, graph_rows_min: int, pending: int
) -> None:
    settings = replace(options, graph_rows_min=graph_rows_min)
    room = make_room(store, settings, cold.index, loaded=False)
    assert room.statistics() == IndexStatistics(3, pending, is_loaded=False)
    assert room.generation is None
    size_bytes = room.load(NO_DEADLINE).size_bytes
    assert room.statistics() == IndexStatistics(3, pending, memory_bytes=size_bytes)


def test_caller_who_has_given_up_gets_an_index_that_is_loaded(cold: OpenIndex) -> None:
    cold.load(NO_DEADLINE)
    assert cold.load(GivenUp()) is cold.generation


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Corruption("family rows, key 00: missing"), Corruption),
        (OSError(28, "No space left on device"), ServiceUnavailable),
        (MemoryError(), MemoryError),
    ],
)
def test_loading_that_fails_is_told_and_tried_again(
    cold: OpenIndex, loads: Loads, error: Exception, kind: type[Exception]
) -> None:
    loads.error = error
    for _ in range(2):
        with pytest.raises(kind):
            found(cold)
    assert cold.generation is None
    assert cold._budget.taken_bytes == 0
    loads.error = None
    assert found(cold) == ["k0", "k1", "k2"]
    assert loads.count == 3


def test_closed_index_comes_back_when_it_is_used(cold: OpenIndex) -> None:
    cold.load(NO_DEADLINE)
    cold.close()
    cold.close()
    assert cold.generation is None
    assert found(cold) == ["k0", "k1", "k2"]


@pytest.mark.parametrize("name", ["put", "query", "load", "statistics"])
def test_index_whose_records_are_removed_under_its_caller_is_no_such_index(
    cold: OpenIndex, store: Store, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    get = store.get

    def drop_meanwhile(family: Family, key: bytes) -> bytes | None:
        if not cold.is_dropped:
            cold.drop(nothing)
            made = store.batch()
            made.delete(Family.CATALOG, state_key(cold.index.index_id))
            store.write(made)
        return get(family, key)

    monkeypatch.setattr(store, "get", drop_meanwhile)
    with pytest.raises(NoSuchVectorIndex):
        CALLS[name][0](cold)


# --- Memory ---------------------------------------------------------------------------------------


def test_index_that_does_not_fit_is_refused_by_name_and_read_nevertheless(
    cold: OpenIndex, store: Store, options: EmbeddedOptions
) -> None:
    room = make_room(store, options, cold.index, budget=make_budget(100), loaded=False)
    for name in ("load", "query", "put"):
        with pytest.raises(MemoryBudgetExceeded, match="'vectors' needs 420 bytes"):
            CALLS[name][0](room)
    assert room.generation is None
    assert listed(room) == ["k0", "k1", "k2"]
    room.delete(["k1"], NO_DEADLINE)
    assert len(room.get(["k0", "k1"], data=True, metadata=True)) == 1
    assert room.statistics().vector_count == 2


def test_put_that_does_not_fit_stores_nothing(cold: OpenIndex, store: Store) -> None:
    room = make_room(store, cold._options, cold.index, budget=make_budget(200_000))
    with pytest.raises(MemoryBudgetExceeded, match="limit is 200000 bytes"):
        put(room, 1_000, start=10)
    assert found(room) == listed(room) == ["k0", "k1", "k2"]
    put(room, 1, start=3)
    assert found(room) == ["k0", "k1", "k2", "k3"]


def test_sizes_are_noted_when_an_index_comes_and_goes(cold: OpenIndex) -> None:
    budget = cold._budget
    assert (cold.size_bytes, budget.taken_bytes) == (0, 0)
    cold.load(NO_DEADLINE)
    assert budget.taken_bytes == cold.size_bytes > 0
    assert cold.unload()
    assert (cold.size_bytes, budget.taken_bytes) == (0, 0)
    cold.load(NO_DEADLINE)
    cold.close()
    assert budget.taken_bytes == 0


def test_put_into_an_index_that_was_dropped_meanwhile_takes_no_memory(
    room: OpenIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit = room._budget.admit

    def drop_meanwhile(*arguments: Any) -> None:
        room.drop(nothing)
        room.close()
        admit(*arguments)

    monkeypatch.setattr(room._budget, "admit", drop_meanwhile)
    with pytest.raises(NoSuchVectorIndex):
        put(room, 1)
    assert room._budget.taken_bytes == 0


def test_use_is_noted_when_the_index_is_needed(cold: OpenIndex) -> None:
    for name, (call, needs_it) in CALLS.items():
        before, cold.used_s = cold.used_s, -1.0
        call(cold)
        assert (cold.used_s >= before) is needs_it, name
        cold.used_s = max(before, cold.used_s)


# --- Held still and replaced ----------------------------------------------------------------------


def test_frozen_index_lets_nobody_write_and_everybody_read(room: OpenIndex) -> None:
    put(room, 2)
    with room.frozen() as (generation, state):
        assert generation is room.generation
        assert (state.seq, state.vector_count) == (1, 2)
        outcome = refused(lambda: room.put(numbered(1)[0], None, None, GivenUp()))
        assert isinstance(outcome, RequestTimeout)
        assert found(room) == listed(room) == ["k0", "k1"]
        assert not room.work.acquire(blocking=False)
    put(room, 1, start=2)


def test_index_that_is_not_loaded_may_be_frozen_and_a_dropped_one_not(cold: OpenIndex) -> None:
    with cold.frozen() as (generation, state):
        assert generation is None
        assert state.vector_count == 3
    cold.drop(nothing)
    with pytest.raises(NoSuchVectorIndex), cold.frozen():
        pass


def test_generation_is_swapped_for_another_if_it_is_still_there(room: OpenIndex) -> None:
    put(room, 3)
    old = room.load(NO_DEADLINE)
    new = type(old)(old.directory.with_name("2"), room.index, room._options)
    new.stage(np.array([[7, 0, 0, 0]], np.float32), [b"k0"])
    new.commit(1, np.array([1], np.uint64), [{}], np.empty(0, np.uint64))
    with room.frozen():
        assert not room.swap(new, old)
        assert room.swap(old, new)
        assert not room.swap(old, new)
    assert room.generation is new
    assert found(room) == ["k0"]
    assert room._budget.taken_bytes == new.size_bytes
    room.put(batch(["k9"], [[9, 0, 0, 0]]), None, None, NO_DEADLINE)
    assert found(room) == ["k0", "k9"]
