"""One index: how broadly it searches, what a failure throws out of memory, and what a drop ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from rooms import (
    Standing,
    batch,
    eventually,
    make_index,
    make_room,
    nothing,
    numbered,
    records_of,
    refused,
    running,
    together,
)
from vectorbucket.errors import Corruption, NoSuchVectorIndex, ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import planner
from vectorbucket_server.engine.embedded.generation import Found, Generation
from vectorbucket_server.engine.embedded.metadata_index import MetadataIndex
from vectorbucket_server.engine.embedded.metric import METRICS
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import Family, label_key
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import (
    WHOLE,
    DistanceMetric,
    Float32Array,
    GraphOptions,
    Metadata,
    Query,
    VectorBatch,
)


def put(room: OpenIndex, made: VectorBatch) -> bool:
    """Put a batch."""
    return room.put(made, None, None, NO_DEADLINE)


def found(room: OpenIndex, top_k: int = 100) -> list[str]:
    """Return the keys that a query for everything finds, nearest to the origin first."""
    asked = Query(np.zeros((1, 4), np.float32), top_k, return_metadata=True)
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
    put(room, numbered(3)[0])
    room.close()
    return make_room(store, options, room.index, loaded=False)


CALLS: dict[str, Callable[[OpenIndex], object]] = {
    "put": lambda room: put(room, numbered(1)[0]),
    "delete": lambda room: room.delete(["k0"], NO_DEADLINE),
    "get": lambda room: room.get(["k0"], data=True, metadata=True),
    "page": listed,
    "query": found,
    "statistics": lambda room: room.statistics(),
    "load": lambda room: room.load(NO_DEADLINE),
}


# --- Breadth --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "breadth"), [((None, None), 20), ((10, None), 10), ((10, 15), 15)]
)
def test_search_is_as_broad_as_the_query_says_or_else_the_index_or_else_the_engine(
    store: Store,
    options: EmbeddedOptions,
    monkeypatch: pytest.MonkeyPatch,
    asked: tuple[int | None, int | None],
    breadth: int,
) -> None:
    of_index, of_query = asked
    index = replace(make_index(), graph=GraphOptions(ef_search=of_index))
    room = make_room(store, replace(options, graph_rows_min=1, ef_search=20), index)
    put(room, numbered(40)[0])
    room.load(NO_DEADLINE).turn(100, 1)
    breadths: list[int] = []
    search = Generation.search

    def noting(self: Generation, queries: Float32Array, k: int, threads: int) -> Found:
        breadths.append(k)
        return search(self, queries, k, threads)

    for name in ("_SCAN_FIXED_S", "_SCORED_FIXED_S"):
        monkeypatch.setattr(planner, name, 10.0)
    monkeypatch.setattr(Generation, "search", noting)
    room.query(Query(np.zeros((1, 4), np.float32), 1, ef_search=of_query), NO_DEADLINE)
    assert breadths == [breadth]


# --- Memory that does not follow the store --------------------------------------------------------


class FailingOnce:
    """Stands before MetadataIndex.add and fails the next call, before or after it worked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
        self.armed = True
        real_add = MetadataIndex.add

        def add(index: MetadataIndex, first_slot: int, metadata: Sequence[Metadata]) -> None:
            armed, self.armed = self.armed, False
            if not armed or after:
                real_add(index, first_slot, metadata)
            if armed:
                raise MemoryError

        monkeypatch.setattr(MetadataIndex, "add", add)


@pytest.mark.parametrize("after", [False, True])
def test_memory_that_failed_to_follow_is_made_again_from_the_store(
    room: OpenIndex, store: Store, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    put(room, numbered(3)[0])
    first = room.generation
    failing = FailingOnce(monkeypatch, after=after)
    with pytest.raises(MemoryError):
        put(room, batch(["k1", "new"], [[8, 0, 0, 0], [9, 0, 0, 0]], [{"n": "x"}] * 2))
    assert not failing.armed
    assert room.generation is None
    put(room, batch(["first of all"], [[6, 0, 0, 0]]))
    room.delete(["first of all"], NO_DEADLINE)
    assert found(room) == ["k0", "k2", "k1", "new"]
    assert room.generation is not first
    assert listed(room) == ["k0", "k1", "k2", "new"]
    assert room.statistics().vector_count == 4
    put(room, batch(["k1"], [[7, 0, 0, 0]]))
    room.delete(["k0"], NO_DEADLINE)
    assert found(room) == ["k2", "k1", "new"]
    assert room.dead_rows.remove() == 4
    assert len(records_of(store, Family.ROWS)) == 3
    assert records_of(store, Family.CHANGES) == {}


def test_reader_that_is_caught_by_the_failure_misses_no_row(
    room: OpenIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = METRICS[DistanceMetric.EUCLIDEAN]
    put(room, numbered(3)[0])
    failing = FailingOnce(monkeypatch, after=False)
    failing.armed = False

    def meanwhile(vectors: Float32Array) -> Float32Array:
        """Overwrite a vector, fail to follow, load again and remove what died."""
        monkeypatch.setattr(generation.rows, "metric", metric)
        failing.armed = True
        assert isinstance(refused(lambda: put(room, numbered(1)[0])), MemoryError)
        put(room, numbered(1, start=9)[0])
        room.dead_rows.remove()
        return metric.preprocess(vectors)

    generation = room.load(NO_DEADLINE)
    monkeypatch.setattr(generation.rows, "metric", Standing(metric, preprocess=meanwhile))
    assert set(found(room)) >= {"k0", "k1", "k2"}


# --- Dropping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("loaded", [True, False])
def test_dropped_index_is_no_such_index(cold: OpenIndex, name: str, *, loaded: bool) -> None:
    if loaded:
        cold.load(NO_DEADLINE)
    cold.drop(nothing)
    with pytest.raises(NoSuchVectorIndex, match=r"'vectors'.*'things'"):
        CALLS[name](cold)


def test_index_is_dropped_once(room: OpenIndex) -> None:
    forgotten: list[bool] = []
    outcomes = together([lambda: room.drop(lambda: forgotten.append(True))] * 10)
    assert forgotten == [True]
    assert outcomes.count(None) == 1
    assert sum(isinstance(one, NoSuchVectorIndex) for one in outcomes) == 9


def test_index_whose_definition_cannot_be_forgotten_stays(room: OpenIndex) -> None:
    put(room, numbered(2)[0])

    def refuse() -> None:
        raise ServiceUnavailable("the store refused a write")

    with pytest.raises(ServiceUnavailable):
        room.drop(refuse)
    assert found(room) == ["k0", "k1"]
    room.drop(nothing)


def test_nothing_is_written_after_a_drop(room: OpenIndex, store: Store) -> None:
    contents: list[dict[bytes, bytes]] = []
    puts = [partial(put, room, numbered(5, start=start)[0]) for start in range(0, 40, 5)]
    drop = partial(room.drop, lambda: contents.append(records_of(store, Family.ROWS)))
    outcomes = together([*puts, drop])
    assert records_of(store, Family.ROWS) == contents[0]
    stored = outcomes.count(True)
    assert len(contents[0]) == 5 * stored
    assert sum(isinstance(one, NoSuchVectorIndex) for one in outcomes) == 8 - stored


def test_writer_that_waits_for_the_indexer_is_told_of_the_drop(
    store: Store, options: EmbeddedOptions
) -> None:
    tight = type(options)(options.data_dir, graph_rows_min=1, pending_bytes_max=1)
    room = make_room(store, tight, make_index())
    put(room, numbered(2)[0])
    outcome: list[object] = []
    with running(lambda: outcome.append(refused(lambda: put(room, numbered(1)[0])))):
        waiters = room.backlog._condition._waiters  # type: ignore[attr-defined]
        eventually(lambda: len(waiters) == 1, "the writer waits")
        room.drop(nothing)
    assert isinstance(outcome[0], NoSuchVectorIndex)


@pytest.mark.parametrize("name", ["get", "page", "query"])
def test_whatever_a_reader_stumbles_over_in_a_dropped_index_is_no_such_index(
    room: OpenIndex, store: Store, name: str
) -> None:
    put(room, numbered(3)[0])
    made = store.batch()
    made.delete(Family.ROWS, label_key(1, 2))
    store.write(made)
    readers: dict[str, Callable[[OpenIndex], object]] = {
        "get": lambda room: room.get(["k1"], data=True, metadata=True),
        "page": listed,
        "query": found,
    }
    reading = readers[name]
    with pytest.raises(Corruption):
        reading(room)

    def drop_meanwhile(*arguments: object, **switches: object) -> object:
        room.drop(nothing)
        return read(*arguments, **switches)

    method = {"get": "get", "page": "page", "query": "hits"}[name]
    read = getattr(room._reader, method)
    setattr(room._reader, method, drop_meanwhile)
    with pytest.raises(NoSuchVectorIndex) as told:
        reading(room)
    assert isinstance(told.value.__cause__, Corruption)


def test_reader_that_was_there_before_the_drop_may_finish(room: OpenIndex) -> None:
    put(room, numbered(3)[0])
    read = room._reader.get

    def drop_meanwhile(*arguments: object, **switches: object) -> object:
        room.drop(nothing)
        assert room.dead_rows.has_readers, "the reaper waits for it"
        return read(*arguments, **switches)  # type: ignore[arg-type]

    room._reader.get = drop_meanwhile  # type: ignore[method-assign, assignment]
    assert len(room.get(["k0", "k1"], data=True, metadata=True)) == 2
    assert not room.dead_rows.has_readers
