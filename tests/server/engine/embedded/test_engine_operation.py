"""What operators ask of the embedded engine: saved before it leaves, refused while it is in use.

What every engine promises of it is in tests/engines/suite_operation.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oracles import draw_noise
from rooms import Notes, batch, eventually, nearest_keys, opened_engine, put_index, running
from saving import begin_and_fail, instead_of_writing
from vectorbucket.errors import (
    MemoryBudgetExceeded,
    RequestTimeout,
    ServiceUnavailable,
    VectorIndexOperationConflict,
)
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import budget as budgets
from vectorbucket_server.engine.embedded import room as rooms_module
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.graph import Graph
from vectorbucket_server.engine.embedded.rebuild import Rebuild
from vectorbucket_server.model import Index

KEYS = [f"k{number}" for number in range(200)]


@pytest.fixture(name="graphed")
def fixture_graphed(tmp_path: Path, notes: Notes) -> Iterator[EmbeddedEngine]:
    """Yield an engine with an index of 200 vectors, all of them in its graph."""
    with opened_engine(tmp_path, notes, graph_rows_min=20) as engine:
        index = put_index(engine)
        engine.put_vectors(index, batch(KEYS, draw_noise(200, 4, seed=1)))
        eventually(lambda: not engine.index_statistics(index).pending_vector_count, "is indexed")
        yield engine


@pytest.fixture(name="index")
def fixture_index(graphed: EmbeddedEngine) -> Index:
    """Return its index."""
    return graphed.get_index("things", "vectors")


def is_loaded(engine: EmbeddedEngine, index: Index) -> bool:
    """Return whether an index is in memory."""
    return engine.index_statistics(index).is_loaded


# --- Unloading ------------------------------------------------------------------------------------


def test_index_is_saved_before_it_leaves_however_little_changed(
    graphed: EmbeddedEngine, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, load = list[Path](), Graph.load

    def noted(path: Path, **named: Any) -> Graph:
        loaded.append(path)
        return load(path, **named)

    monkeypatch.setattr(Graph, "load", noted)
    found = nearest_keys(graphed, index)
    graphed.unload_index(index)
    assert not is_loaded(graphed, index)
    assert nearest_keys(graphed, index) == found
    assert len(loaded) == 1, "it came back from its checkpoint"
    assert graphed.index_statistics(index).pending_vector_count == 0


def test_index_in_use_stays(
    graphed: EmbeddedEngine, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms_module, "_LEAVE_WAIT_S", 0.01)
    with graphed._opened(index).using(NO_DEADLINE):
        with pytest.raises(VectorIndexOperationConflict, match="'vectors' stays in memory") as told:
            graphed.unload_index(index)
        assert told.value.details == {"bucket": "things", "index_name": "vectors"}
        assert is_loaded(graphed, index)
    graphed.unload_index(index)
    assert not is_loaded(graphed, index)


def test_index_that_is_rebuilt_stays(
    graphed: EmbeddedEngine, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_step, step = threading.Event(), Rebuild.step

    def held(making: Rebuild, rows_max: int, threads: int) -> int:
        assert may_step.wait(30)
        return step(making, rows_max, threads)

    monkeypatch.setattr(Rebuild, "step", held)
    graphed.rebuild_index(index)
    try:
        assert graphed.index_statistics(index).is_rebuilding
        with pytest.raises(VectorIndexOperationConflict, match="built anew"):
            graphed.unload_index(index)
    finally:
        may_step.set()
    eventually(lambda: not graphed.index_statistics(index).is_rebuilding, "it is rebuilt")
    graphed.unload_index(index)
    assert sorted(nearest_keys(graphed, index)) == sorted(KEYS)


def test_index_that_cannot_be_saved_stays(
    graphed: EmbeddedEngine, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        instead_of_writing(patch, begin_and_fail)
        with pytest.raises(ServiceUnavailable, match="'vectors' stays in memory"):
            graphed.unload_index(index)
    assert is_loaded(graphed, index)
    graphed.unload_index(index)
    assert not is_loaded(graphed, index)


# --- Loading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["_mutex", "_coming"])
def test_whoever_asks_waits_as_long_as_somebody_else_is_loading_it(
    graphed: EmbeddedEngine, index: Index, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(rooms_module, "_WAIT_S", 0.001)
    graphed.unload_index(index)
    asked: list[int] = []

    class Patient:
        def check(self) -> None:
            asked.append(1)

        def remaining_s(self) -> None:
            return None

    lock = getattr(graphed._opened(index), name)
    lock.acquire()
    with running(lambda: graphed.load_index(index, deadline=Patient())):
        try:
            eventually(lambda: len(asked) > 3, "it goes on asking")
            assert not is_loaded(graphed, index)
        finally:
            lock.release()
    assert is_loaded(graphed, index)


def test_whoever_waits_for_a_loading_may_give_up(
    graphed: EmbeddedEngine, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms_module, "_WAIT_S", 0.001)
    graphed.unload_index(index)

    class Late:
        def check(self) -> None:
            raise RequestTimeout("the call's deadline passed")

        def remaining_s(self) -> None:
            return None

    with graphed._opened(index)._mutex, pytest.raises(RequestTimeout):
        graphed.load_index(index, deadline=Late())
    assert not is_loaded(graphed, index)


def test_failure_to_load_is_told_at_once(
    graphed: EmbeddedEngine, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphed.unload_index(index)
    opened, tried = graphed._opened(index), list[int]()

    def fail(*_: object) -> None:
        tried.append(1)
        raise ServiceUnavailable("the disk refused")

    with monkeypatch.context() as patch:
        patch.setattr(opened, "_load_held", fail)
        with pytest.raises(ServiceUnavailable, match="the disk refused"):
            graphed.load_index(index)
    assert len(tried) == 1
    graphed.load_index(index)


def test_index_that_does_not_fit_is_refused(
    graphed: EmbeddedEngine, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "_PATIENCE_S", 0.0)
    graphed.unload_index(index)
    graphed._budget.limit_bytes = 1_000
    for call in (graphed.load_index, graphed.rebuild_index):
        with pytest.raises(MemoryBudgetExceeded):
            call(index)
    assert graphed._budget.taken_bytes == 0
    assert not is_loaded(graphed, index)
