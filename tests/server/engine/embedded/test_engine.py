"""The engine as a whole: what it keeps, what it refuses to open, and its users against its threads.

What every engine promises stands in tests/engines; here is what only this one has: a disk, threads
behind the calls, and rooms that come and go.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engines.subject import wait_until_indexed
from oracles import draw_mixture
from rooms import (
    BUCKET,
    MANY,
    NEVER,
    WITHIN_S,
    Gate,
    GivenUp,
    Notes,
    Standing,
    all_vectors,
    batch,
    eventually,
    make_options,
    nearest_keys,
    numbered,
    opened_engine,
    put_index,
    running,
    together,
)
from vectorbucket.errors import (
    NoSuchVectorIndex,
    RequestTimeout,
    ServiceUnavailable,
)
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
from vectorbucket_server.engine.embedded import reaper
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.schema import (
    Family,
    index_range,
)
from vectorbucket_server.model import BucketLogging, Index, Query


def records(engine: EmbeddedEngine, index: Index, family: Family) -> int:
    """Return how many records a family holds of an index."""
    return len(list(engine._store.scan(family, *index_range(index.index_id))))


def empty(engine: EmbeddedEngine, index: Index, family: Family) -> bool:
    """Return whether a family holds nothing of an index."""
    return records(engine, index, family) == 0


# --- Definitions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda engine: put_index(engine, "new"),
        lambda engine: engine.put_bucket(
            type(BUCKET)("new", BUCKET.account_id, 5), buckets_max=MANY
        ),
        lambda engine: engine.delete_bucket("empty"),
        lambda engine: engine.set_bucket_policy("empty", "{}"),
        lambda engine: engine.set_bucket_logging("empty", BucketLogging("logs")),
        lambda engine: engine.set_bucket_logging("empty", None),
        lambda engine: engine.delete_index(engine.get_index(BUCKET.name, "old")),
    ],
)
def test_change_of_a_definition_is_synced_before_it_returns(
    engine: EmbeddedEngine, call: Callable[[EmbeddedEngine], object]
) -> None:
    put_index(engine, "old")
    engine.put_bucket(type(BUCKET)("empty", BUCKET.account_id, 5), buckets_max=MANY)
    gate = Gate(engine._store)
    call(engine)
    assert gate.done == 1


def test_index_whose_drop_could_not_be_synced_is_removed_nevertheless(
    engine: EmbeddedEngine,
) -> None:
    index = put_index(engine)
    engine.put_vectors(index, numbered(3)[0])
    gate = Gate(engine._store)
    gate.failing = True
    with pytest.raises(ServiceUnavailable, match="unknown"):
        engine.delete_index(index)
    with pytest.raises(NoSuchVectorIndex):
        engine.delete_index(index)
    gate.failing = False
    eventually(partial(empty, engine, index, Family.ROWS), "its records are gone")
    eventually(lambda: not engine._catalog.drops(), "and so is the note")


def test_index_is_usable_as_soon_as_it_is_in_the_catalogue(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    room = engine._room

    def slowly(index: Index) -> OpenIndex:
        begun.set()
        assert go_on.wait(WITHIN_S)
        return room(index)

    monkeypatch.setattr(engine, "_room", slowly)
    counts: list[int] = []

    def use() -> None:
        index = engine.get_index(BUCKET.name, "vectors")
        counts.append(engine.index_statistics(index).vector_count)

    with running(lambda: put_index(engine)):
        assert begun.wait(WITHIN_S)
        with running(use):
            eventually(engine._lock.locked, "the maker holds the lock")
            go_on.set()
    assert counts == [0]


def test_index_made_again_under_its_name_starts_empty(engine: EmbeddedEngine) -> None:
    first = put_index(engine)
    engine.put_vectors(first, numbered(3)[0])
    engine.delete_index(first)
    second = put_index(engine, dimension=2)
    assert nearest_keys(engine, second) == []
    for call in (
        lambda: engine.put_vectors(first, numbered(3)[0]),
        lambda: engine.get_vectors(first, ["k0"], data=True, metadata=True),
        lambda: engine.delete_vectors(first, ["k0"]),
        lambda: nearest_keys(engine, first),
        lambda: engine.index_statistics(first),
        lambda: engine.delete_index(first),
        lambda: all_vectors(engine, first),
    ):
        with pytest.raises(NoSuchVectorIndex):
            call()
    assert engine.index_statistics(second).vector_count == 0


# --- Behind the calls -----------------------------------------------------------------------------


def test_vectors_come_into_the_graph_behind_the_puts(tmp_path: Path) -> None:
    notes = Notes()
    rows = draw_mixture(3_000, 16, seed=1)
    with opened_engine(tmp_path, notes, graph_rows_min=1_000) as engine:
        index = put_index(engine, dimension=16)
        for first in range(0, 3_000, 500):
            keys = [f"k{number}" for number in range(first, first + 500)]
            engine.put_vectors(index, batch(keys, rows[first : first + 500]))
            asked = Query(np.ascontiguousarray(rows[first : first + 3]), 1)
            assert [hits[0].key for hits in engine.query_vectors(index, asked)] == keys[:3]
        wait_until_indexed(engine, index)
        assert engine.index_statistics(index).pending_vector_count == 0
        asked = Query(rows, 10)
        nearest = [hits[0].key for hits in engine.query_vectors(index, asked)]
        right = sum(key == f"k{number}" for number, key in enumerate(nearest))
        assert right >= 2_997, "every vector is its own nearest"
    assert sum(notes.turns) == 3_000
    assert notes.failures == []


def test_small_index_has_nothing_pending(engine: EmbeddedEngine) -> None:
    index = put_index(engine)
    engine.put_vectors(index, numbered(50)[0])
    statistics = engine.index_statistics(index)
    assert (statistics.vector_count, statistics.pending_vector_count) == (50, 0)


def test_rows_of_overwritten_vectors_are_removed_behind(engine: EmbeddedEngine) -> None:
    index = put_index(engine)
    for _ in range(5):
        engine.put_vectors(index, numbered(10)[0])
    eventually(lambda: records(engine, index, Family.ROWS) == 10, "only rows that live are left")
    eventually(lambda: records(engine, index, Family.DATA) == 10, "only data that live are left")
    eventually(partial(empty, engine, index, Family.CHANGES), "no change is left")


def test_deadline_that_passes_while_the_index_is_loaded_is_a_timeout(
    engine: EmbeddedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = put_index(engine)
    engine.put_vectors(index, numbered(3)[0])
    engine.close()
    go_on, begun = threading.Event(), threading.Event()
    load = OpenIndex._load_held

    def slowly(room: OpenIndex, stop: Deadline = NO_DEADLINE) -> object:
        begun.set()
        assert go_on.wait(WITHIN_S)
        return load(room, stop)

    monkeypatch.setattr(OpenIndex, "_load_held", slowly)
    again = EmbeddedEngine(make_options(tmp_path))
    again.open()
    assert begun.wait(WITHIN_S)
    asked = Query(np.zeros((1, 4), np.float32), 5)
    for call in (
        lambda: again.query_vectors(index, asked, deadline=GivenUp()),
        lambda: again.put_vectors(index, numbered(1)[0], deadline=GivenUp()),
    ):
        with pytest.raises(RequestTimeout, match="still being loaded"):
            call()
    with pytest.raises(RequestTimeout):
        again.delete_vectors(index, ["k0"], deadline=GivenUp())
    assert len(again.get_vectors(index, ["k0"], data=True, metadata=True)) == 1
    go_on.set()
    assert nearest_keys(again, index) == ["k0", "k1", "k2"]
    again.close()


# --- Races ----------------------------------------------------------------------------------------


def use_until_dropped(call: Callable[[], object], dropping: threading.Event) -> None:
    """Repeat a call until the index is gone; whatever else it raises is a failure."""
    while True:
        try:
            call()
        except NoSuchVectorIndex:
            assert dropping.is_set()
            return


@pytest.mark.parametrize("graph_rows_min", [1, NEVER])
def test_index_may_be_dropped_at_any_moment_under_its_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph_rows_min: int
) -> None:
    monkeypatch.setattr(reaper, "_LOOK_AGAIN_S", 0.005)
    notes = Notes()
    with opened_engine(tmp_path, notes, graph_rows_min=graph_rows_min) as engine:
        index = put_index(engine)
        engine.put_vectors(index, numbered(30)[0])
        dropping = threading.Event()
        calls: list[Callable[[], object]] = [
            partial(engine.put_vectors, index, numbered(5)[0]),
            partial(engine.delete_vectors, index, ["k1", "k7"]),
            partial(engine.get_vectors, index, ["k0", "k9"], data=True, metadata=True),
            partial(all_vectors, engine, index),
            partial(nearest_keys, engine, index),
            partial(engine.index_statistics, index),
        ]
        outcomes: list[object] = []
        users = [partial(use_until_dropped, call, dropping) for call in calls]
        with running(lambda: outcomes.extend(together(users))):
            eventually(lambda: engine.index_statistics(index).vector_count != 30, "it is used")
            dropping.set()
            engine.delete_index(index)
        assert outcomes == [None] * len(calls)
        for family in (Family.VECTORS, Family.ROWS, Family.DATA, Family.CHANGES):
            eventually(partial(empty, engine, index, family), "its records are gone")
    assert notes.failures == []


def test_readers_see_whole_versions_while_two_writers_overwrite(tmp_path: Path) -> None:
    notes = Notes()
    keys = [f"k{number}" for number in range(12)]
    with opened_engine(tmp_path, notes, graph_rows_min=1) as engine:
        index = put_index(engine)
        done = threading.Event()
        versions = itertools.count(1)

        def write_once() -> None:
            version = float(next(versions))
            rows = [[version, position, 0, 0] for position in range(12)]
            engine.put_vectors(index, batch(keys, rows, [{"v": version}] * 12))

        def write() -> None:
            for _ in range(60):
                write_once()
            done.set()

        def read() -> None:
            asked = Query(np.zeros((1, 4), np.float32), 12, return_metadata=True)
            while not done.is_set():
                got = engine.get_vectors(index, keys, data=True, metadata=True)
                assert [vector.key for vector in got] == keys
                assert len({vector.metadata["v"] for vector in got if vector.metadata}) == 1
                (hits,) = engine.query_vectors(index, asked)
                assert sorted(hit.key for hit in hits) == sorted(keys)
                assert len({hit.metadata["v"] for hit in hits if hit.metadata}) == 1
                for hit in hits:
                    assert hit.metadata
                    position = keys.index(hit.key)
                    assert hit.distance == pytest.approx(
                        np.hypot(float(str(hit.metadata["v"])), position)
                    )

        write_once()
        with running(read, times=2), running(write, times=2):
            pass
        assert engine.index_statistics(index).vector_count == 12
    assert notes.failures == []


def test_ties_at_the_cut_are_broken_by_key(engine: EmbeddedEngine) -> None:
    index = put_index(engine)
    keys = [f"k{number:02}" for number in np.random.default_rng(1).permutation(40).tolist()]
    engine.put_vectors(index, batch(keys, [[0, 3, 4, 0]] * 40))
    for top_k in (1, 7, 39, 40, 50):
        assert nearest_keys(engine, index, top_k) == sorted(keys)[:top_k]


def test_memory_that_fails_to_follow_the_store_is_made_again(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = put_index(engine)
    engine.put_vectors(index, numbered(3)[0])
    (room,) = engine._rooms()
    generation = room.load(NO_DEADLINE)

    def fail(*_: object) -> None:
        raise MemoryError

    lists = generation.metadata_index
    monkeypatch.setattr(generation.rows, "metadata_index", Standing(lists, add=fail))
    with pytest.raises(MemoryError):
        engine.put_vectors(index, numbered(2, start=2)[0])
    assert nearest_keys(engine, index) == ["k0", "k1", "k2", "k3"]
    engine.put_vectors(index, numbered(1, start=4)[0])
    assert nearest_keys(engine, index) == ["k0", "k1", "k2", "k3", "k4"]
