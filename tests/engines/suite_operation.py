"""What the manual of the seam says of operation: statistics, loading, unloading, rebuilding.

Rules of this file: those of suite.py. Graphs that are built all the time may keep an index from
leaving for a while: whoever wants it to leave tries until it may.
"""

from __future__ import annotations

import time

import numpy as np

from engines.subject import ONE, THREE, TWO, Subject, raises_as
from oracles import random_grid
from vectorbucket.errors import (
    MethodNotAllowed,
    NoSuchVectorIndex,
    VectorIndexOperationConflict,
)
from vectorbucket_server.model import EngineStatistics, Index

_WITHIN_S = 30.0
"""How long something may take that these tests wait for; far more than it needs."""

COUNT = 200


def unload(subject: Subject, index: Index) -> None:
    """Let an index leave memory, as soon as it may."""
    given_up = time.monotonic() + _WITHIN_S
    while True:
        try:
            subject.engine.unload_index(index)
        except VectorIndexOperationConflict:
            assert time.monotonic() < given_up, "it never may leave"
            time.sleep(0.002)
        else:
            return


def wait_until_rebuilt(subject: Subject, index: Index) -> None:
    """Return once no rebuild is under way."""
    given_up = time.monotonic() + _WITHIN_S
    while subject.engine.index_statistics(index).is_rebuilding:
        assert time.monotonic() < given_up, "it is rebuilt for ever"
        time.sleep(0.002)


def filled(subject: Subject, name: str = "vectors") -> Index:
    """Make an index whose first half was replaced and whose last quarter was deleted."""
    index = subject.put_index(name)
    keys = [f"k{number:03}" for number in range(COUNT)]
    rows = random_grid(np.random.default_rng(50), COUNT, 4)
    metadata = [{"n": float(number % 5)} for number in range(COUNT)]
    subject.put(index, keys, rows + 9, metadata)
    subject.settle(index)
    subject.put(index, keys[: COUNT // 2], rows[: COUNT // 2], metadata[: COUNT // 2])
    subject.engine.delete_vectors(index, keys[COUNT * 3 // 4 :])
    return index


def answers(subject: Subject, index: Index) -> list[list[tuple[str, float]]]:
    """Return what queries for everything find: no graph can miss any of it."""
    return [
        [(hit.key, round(hit.distance, 4)) for hit in hits]
        for raw_filter in (None, {"n": 2}, {"n": {"$gt": 0}})
        for hits in [subject.query(index, ONE, top_k=1_000, raw_filter=raw_filter)]
    ]


class Operation:
    """What operators see is so, and what they do to an index changes nothing that it holds."""

    def test_statistics_count_what_is_there_as_soon_as_it_is(self, subject: Subject) -> None:
        engine = subject.engine

        def counts() -> tuple[int, int, int]:
            now = engine.statistics()
            assert 0 <= now.loaded_index_count <= now.index_count
            assert 0 <= now.pending_vector_count <= now.vector_count
            assert 0 <= now.dead_vector_count <= now.graph_vector_count
            return now.bucket_count, now.index_count, now.vector_count

        assert counts() == (0, 0, 0)
        subject.put_bucket("empty")
        first, second = subject.put_index("first"), subject.put_index("second")
        assert counts() == (2, 2, 0)
        subject.put(first, ["a", "b", "c"], [ONE, TWO, THREE])
        subject.put(second, ["a"], [ONE])
        subject.put(first, ["a"], [TWO])
        assert counts() == (2, 2, 4)
        engine.delete_vectors(first, ["b", "missing"])
        assert counts() == (2, 2, 3)
        engine.delete_index(first)
        assert counts() == (2, 1, 1)
        engine.delete_bucket("empty")
        assert counts() == (1, 1, 1)
        if engine.capabilities.persistent:
            subject.restart()
            engine = subject.engine
            assert counts() == (1, 1, 1)

    def test_statistics_of_an_engine_are_those_of_its_indexes(self, subject: Subject) -> None:
        indexes = [filled(subject, f"i{number}") for number in range(2)]
        for index in indexes:
            subject.engine.load_index(index)
            subject.settle(index)
        each = [subject.engine.index_statistics(index) for index in indexes]
        whole: EngineStatistics = subject.engine.statistics()
        assert whole.loaded_index_count == 2
        assert whole.vector_count == sum(one.vector_count for one in each) == COUNT * 3 // 2
        for one in each:
            assert 0 <= one.dead_share <= 1
            assert (one.checkpoint_ms or whole.checkpoint_oldest_ms or 0) >= 0
        assert whole.writes_refused == ""

    def test_index_that_left_memory_answers_as_before(self, subject: Subject) -> None:
        index, other = filled(subject), filled(subject, "other")
        if not subject.engine.capabilities.graphs:
            with raises_as(MethodNotAllowed):
                subject.engine.unload_index(index)
            return
        content, found = subject.content(index), answers(subject, index)
        for _ in range(2):
            unload(subject, index)
            statistics = subject.engine.index_statistics(index)
            assert not statistics.is_loaded
            assert (statistics.memory_bytes, statistics.dead_share) == (0, 0.0)
            assert statistics.vector_count == len(content)
            assert subject.content(index) == content
            assert answers(subject, index) == found
            assert subject.engine.index_statistics(index).is_loaded
        assert answers(subject, other) == found

    def test_index_that_left_memory_takes_writes(self, subject: Subject) -> None:
        index = filled(subject)
        if not subject.engine.capabilities.graphs:
            return
        unload(subject, index)
        unload(subject, index)  # of one that is not there nothing is wanted
        subject.engine.delete_vectors(index, ["k000"])
        assert not subject.engine.index_statistics(index).is_loaded
        subject.put(index, ["k001", "new"], [TWO, THREE])
        unload(subject, index)
        subject.engine.load_index(index)
        assert subject.engine.index_statistics(index).is_loaded
        assert [one.key for one in subject.get(index, "k000", "k001", "new")] == ["k001", "new"]
        assert subject.query(index, THREE, top_k=1)[0].key == "new"
        subject.restart()
        assert subject.engine.index_statistics(index).vector_count == COUNT * 3 // 4

    def test_loading_is_the_same_twice(self, subject: Subject) -> None:
        index = filled(subject)
        content = subject.content(index)
        for _ in range(2):
            subject.engine.load_index(index)
            statistics = subject.engine.index_statistics(index)
            assert statistics.is_loaded
            assert statistics.vector_count == len(content)
        assert subject.content(index) == content

    def test_rebuilt_index_holds_and_answers_what_it_did_and_nothing_dead(
        self, subject: Subject
    ) -> None:
        index = filled(subject)
        if not subject.engine.capabilities.graphs:
            with raises_as(MethodNotAllowed):
                subject.engine.rebuild_index(index)
            return
        content, found = subject.content(index), answers(subject, index)
        subject.settle(index)
        for again in range(3):
            if again:
                unload(subject, index)
            subject.engine.rebuild_index(index)
            subject.engine.rebuild_index(index)  # under way: nothing is begun
            subject.put(index, ["k001"], [THREE])
            subject.engine.delete_vectors(index, ["k002"])
            wait_until_rebuilt(subject, index)
            subject.put(
                index,
                ["k001", "k002"],
                [_row(content[key][0]) for key in _TWO_KEYS],
                [content[key][1] for key in _TWO_KEYS],
            )
            assert subject.content(index) == content
            assert answers(subject, index) == found
        subject.engine.rebuild_index(index)
        wait_until_rebuilt(subject, index)
        assert subject.engine.index_statistics(index).dead_share == 0.0
        assert answers(subject, index) == found
        subject.restart()
        assert subject.content(index) == content
        assert answers(subject, index) == found

    def test_deleted_index_is_not_operated(self, subject: Subject) -> None:
        old = filled(subject)
        subject.engine.delete_index(old)
        subject.put(subject.put_index(), ["a"], [ONE])
        for call in (
            subject.engine.load_index,
            subject.engine.unload_index,
            subject.engine.rebuild_index,
        ):
            with raises_as(NoSuchVectorIndex):
                call(old)

    def test_index_may_be_deleted_while_it_is_rebuilt(self, subject: Subject) -> None:
        if not subject.engine.capabilities.graphs:
            return
        for number in range(5):
            index = filled(subject, f"i{number}")
            subject.engine.rebuild_index(index)
            subject.engine.delete_index(index)
            with raises_as(NoSuchVectorIndex):
                subject.engine.index_statistics(index)
        kept = filled(subject)
        subject.engine.rebuild_index(kept)
        wait_until_rebuilt(subject, kept)
        assert len(subject.keys(kept)) == COUNT * 3 // 4


_TWO_KEYS = ("k001", "k002")


def _row(data: bytes) -> list[float]:
    """Return a row of its bytes."""
    numbers: list[float] = np.frombuffer(data, np.float32).tolist()
    return numbers
