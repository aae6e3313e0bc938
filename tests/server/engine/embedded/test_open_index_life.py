"""One index comes into memory, is thrown out of it by a failure, and is dropped under its users."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from rooms import (
    GivenUp,
    Notes,
    Standing,
    batch,
    eventually,
    make_index,
    make_room,
    numbered,
    records_of,
    refused,
    running,
    together,
)
from vectorbucket.errors import Corruption, NoSuchVectorIndex, RequestTimeout, ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded import open_index, recovery
from vectorbucket_server.engine.embedded.generation import Generation
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
    IndexStatistics,
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


def nothing() -> None:
    """Stand for work that need not be told."""


@pytest.fixture(name="cold")
def fixture_cold(store: Store, options: EmbeddedOptions) -> OpenIndex:
    """Return an index of three vectors that is not in memory."""
    room = make_room(store, options, make_index())
    put(room, numbered(3)[0])
    room.close()
    return OpenIndex(room.index, store, options, Notes(), nothing)


class Builds:
    """Stands before the making of generations: counts, holds and fails it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.error: Exception | None = None
        self._build = recovery.build_generation
        monkeypatch.setattr(recovery, "build_generation", self)

    def __call__(self, *arguments: Any, **switches: Any) -> Generation:
        """Make a generation, when the test lets it."""
        self.count += 1
        assert self.go_on.wait(30)
        if self.error is not None:
            raise self.error
        return self._build(*arguments, **switches)


@pytest.fixture(name="builds")
def fixture_builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    """Return what stands before the making of generations."""
    return Builds(monkeypatch)


CALLS: dict[str, Callable[[OpenIndex], object]] = {
    "put": lambda room: put(room, numbered(1)[0]),
    "delete": lambda room: room.delete(["k0"], NO_DEADLINE),
    "get": lambda room: room.get(["k0"], data=True, metadata=True),
    "page": listed,
    "query": found,
    "statistics": lambda room: room.statistics(),
    "load": lambda room: room.load(NO_DEADLINE),
}


# --- Loading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_index_is_loaded_by_the_first_call_that_needs_it(
    cold: OpenIndex, builds: Builds, name: str
) -> None:
    assert cold.generation is None
    for _ in range(2):
        CALLS[name](cold)
    assert builds.count == (0 if name in {"get", "page", "statistics"} else 1)


def test_racing_callers_load_the_index_once(cold: OpenIndex, builds: Builds) -> None:
    outcomes = together([lambda: found(cold)] * 10)
    assert outcomes == [["k0", "k1", "k2"]] * 10
    assert builds.count == 1


def test_deadline_that_passes_while_another_loads_is_a_timeout(
    cold: OpenIndex, builds: Builds
) -> None:
    builds.go_on.clear()
    with running(lambda: found(cold)):
        eventually(lambda: builds.count, "somebody loads")
        for call in (
            lambda: cold.load(GivenUp()),
            lambda: cold.query(Query(np.zeros((1, 4), np.float32), 1), GivenUp()),
            lambda: cold.put(numbered(1)[0], None, None, GivenUp()),
            lambda: cold.delete(["k0"], GivenUp()),
        ):
            with pytest.raises(RequestTimeout, match="'vectors' is still being loaded"):
                call()
        assert listed(cold) == ["k0", "k1", "k2"], "listings need no generation"
        assert cold.statistics().vector_count == 3, "neither do counts"
        builds.go_on.set()
    assert found(cold) == ["k0", "k1", "k2"]
    assert builds.count == 1


def test_caller_with_time_waits_a_moment_for_another_who_loads_and_then_is_told_to_come_back(
    cold: OpenIndex, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_index, "_LOAD_WAIT_S", 0.01)
    builds.go_on.clear()
    with running(lambda: cold.load(NO_DEADLINE)):
        eventually(lambda: builds.count, "somebody loads")
        with pytest.raises(ServiceUnavailable, match="'vectors' is still being loaded"):
            found(cold)
        builds.go_on.set()
    assert found(cold) == ["k0", "k1", "k2"]


def test_loading_that_is_told_to_stop_leaves_nothing_behind(cold: OpenIndex) -> None:
    with pytest.raises(RequestTimeout):
        cold.load(NO_DEADLINE, stop=GivenUp())
    assert cold.generation is None
    assert not list(cold.directory.iterdir())
    assert found(cold) == ["k0", "k1", "k2"]


@pytest.mark.parametrize(("graph_rows_min", "pending"), [(3, 3), (4, 0)])
def test_index_that_is_not_loaded_is_counted_nevertheless(
    cold: OpenIndex, store: Store, options: EmbeddedOptions, graph_rows_min: int, pending: int
) -> None:
    settings = replace(options, graph_rows_min=graph_rows_min)
    room = OpenIndex(cold.index, store, settings, Notes(), nothing)
    assert room.statistics() == IndexStatistics(3, pending)
    assert room.generation is None
    room.load(NO_DEADLINE)
    assert room.statistics() == IndexStatistics(3, pending)


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
    cold: OpenIndex, builds: Builds, error: Exception, kind: type[Exception]
) -> None:
    builds.error = error
    for _ in range(2):
        with pytest.raises(kind):
            found(cold)
    assert cold.generation is None
    builds.error = None
    assert found(cold) == ["k0", "k1", "k2"]
    assert builds.count == 3


def test_closed_index_lets_go_of_its_files_and_comes_back_when_it_is_used(cold: OpenIndex) -> None:
    cold.load(NO_DEADLINE)
    assert list(cold.directory.iterdir())
    cold.close()
    cold.close()
    assert cold.generation is None
    assert not list(cold.directory.iterdir())
    assert found(cold) == ["k0", "k1", "k2"]


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
    first = room.directory / "1"
    assert first.exists()
    failing = FailingOnce(monkeypatch, after=after)
    with pytest.raises(MemoryError):
        put(room, batch(["k1", "new"], [[8, 0, 0, 0], [9, 0, 0, 0]], [{"n": "x"}] * 2))
    assert not failing.armed
    assert room.generation is None
    assert not first.exists(), "the old generation's files are of no use"
    put(room, batch(["first of all"], [[6, 0, 0, 0]]))
    room.delete(["first of all"], NO_DEADLINE)
    assert found(room) == ["k0", "k2", "k1", "new"]
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
        monkeypatch.setattr(generation, "metric", metric)
        failing.armed = True
        assert isinstance(refused(lambda: put(room, numbered(1)[0])), MemoryError)
        put(room, numbered(1, start=9)[0])
        room.dead_rows.remove()
        return metric.preprocess(vectors)

    generation = room.load(NO_DEADLINE)
    monkeypatch.setattr(generation, "metric", Standing(metric, preprocess=meanwhile))
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
