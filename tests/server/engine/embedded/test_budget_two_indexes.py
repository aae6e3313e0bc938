"""Two indexes of which only one fits into memory: each leaves for the other, every answer is right.

Method: a whole engine with its threads, so that indexing, checkpoints and removal go on meanwhile.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from engines.subject import wait_until_indexed
from oracles import draw_mixture, exact_neighbours
from rooms import (
    Notes,
    all_vectors,
    batch,
    eventually,
    opened_engine,
    put_index,
    refused,
    restless,
    running,
)
from vectorbucket.errors import MemoryBudgetExceeded
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.model import Float32Array, Index, Query

DIMENSION = 16
COUNT = 1_500
LIMIT = 5_000_000
"""Bytes: room for one of the indexes and not for two."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An index, and queries whose answers are known."""

    index: Index
    queries: Float32Array
    expected: list[list[str]]

    def check(self, engine: EmbeddedEngine) -> None:
        """Ask, and compare."""
        asked = Query(self.queries, 10, ef_search=200)
        hits = engine.query_vectors(self.index, asked)
        assert [[hit.key for hit in some] for some in hits] == self.expected


def make_asked(engine: EmbeddedEngine, name: str, seed: int) -> Asked:
    """Make an index of a mixture."""
    index = put_index(engine, name, DIMENSION)
    rows = draw_mixture(COUNT, DIMENSION, seed=seed)
    queries = draw_mixture(4, DIMENSION, seed=seed, draw=1)
    for first in range(0, COUNT, 500):
        keys = [f"{name}{number}" for number in range(first, first + 500)]
        engine.put_vectors(index, batch(keys, rows[first : first + 500]))
    nearest = exact_neighbours(queries, rows, 10, index.metric.value)[0]
    return Asked(
        index, queries, [[f"{name}{place}" for place in line] for line in nearest.tolist()]
    )


def room_of(engine: EmbeddedEngine, asked: Asked) -> OpenIndex:
    """Return the room of an index."""
    return engine._open[asked.index.index_id]


@pytest.fixture(name="tight")
def fixture_tight(tmp_path: Path, notes: Notes) -> Iterator[EmbeddedEngine]:
    """Yield an engine with little memory; its indexes have graphs and are saved when they leave."""
    changes = {"graph_rows_min": 100, "memory_bytes_max": LIMIT, "checkpoint_changes_min": 500}
    with opened_engine(tmp_path, notes, ef_construction=50, **changes) as engine:
        yield engine
    assert notes.failures == []


def test_queries_alternate_and_every_answer_is_right(tight: EmbeddedEngine) -> None:
    both = [make_asked(tight, "a", 1), make_asked(tight, "b", 2)]
    for _ in range(4):
        for asked, other in (both, both[::-1]):
            asked.check(tight)
            wait_until_indexed(tight, asked.index)
            assert room_of(tight, asked).generation is not None
            assert room_of(tight, other).generation is None, "only one of them fits"
            assert 0 < tight._budget.taken_bytes <= LIMIT


def test_index_that_left_with_a_checkpoint_comes_back_with_its_graph(tight: EmbeddedEngine) -> None:
    first = make_asked(tight, "a", 1)
    first.check(tight)
    wait_until_indexed(tight, first.index)
    second = make_asked(tight, "b", 2)
    second.check(tight)
    wait_until_indexed(tight, second.index)
    first.check(tight)
    (room, generation) = (room_of(tight, first), room_of(tight, first).generation)
    assert len(room.checkpoints) == 1
    assert generation is not None
    assert generation.has_graph
    assert generation.graphed == COUNT


def test_answers_are_right_while_both_are_asked_and_one_is_written(
    tight: EmbeddedEngine, notes: Notes
) -> None:
    both = [make_asked(tight, "a", 1), make_asked(tight, "b", 2)]
    done = threading.Event()
    counts = [itertools.count(), itertools.count()]
    seen = [0, 0]

    def ask(place: int) -> None:
        while not done.is_set():
            both[place].check(tight)
            assert tight._budget.taken_bytes <= LIMIT
            seen[place] = next(counts[place])

    def write() -> None:
        for number in itertools.count():
            if done.is_set():
                break
            # Far away: they are never among the nearest.
            key, far = f"far{number % 20}", np.full((1, DIMENSION), 1_000 + number, np.float32)
            tight.put_vectors(both[0].index, batch([key], far))
            if number % 10 == 9:
                tight.delete_vectors(both[0].index, [key])

    with restless(), running(lambda: ask(0)), running(lambda: ask(1)), running(write):
        eventually(lambda: min(seen) >= 40, "both were asked often enough")
        done.set()
    assert notes.failures == []
    for asked in both:
        asked.check(tight)
    assert len(all_vectors(tight, both[1].index)) == COUNT


def test_index_that_fits_not_even_alone_is_refused_and_leaves_the_others_in_peace(
    tmp_path: Path, notes: Notes
) -> None:
    with opened_engine(tmp_path, notes, graph_rows_min=100) as engine:
        large, small = make_asked(engine, "a", 1), put_index(engine, "small")
        engine.put_vectors(small, batch(["s"], np.ones((1, 4))))
        engine.query_vectors(small, Query(np.ones((1, 4), np.float32), 1))
    with opened_engine(tmp_path, notes, graph_rows_min=100, memory_bytes_max=1_000_000) as engine:
        asked = Query(np.ones((1, 4), np.float32), 1)
        assert engine.query_vectors(small, asked)[0][0].key == "s"
        loaded = engine._open[small.index_id].generation
        for _ in range(3):
            outcome = refused(lambda: large.check(engine))
            assert isinstance(outcome, MemoryBudgetExceeded)
            assert outcome.details["index_name"] == "a"
            assert outcome.details["limit_bytes"] == "1000000"
        assert engine.index_statistics(large.index).vector_count == COUNT
        assert len(engine.get_vectors(large.index, ["a7"], data=True, metadata=True)) == 1
        assert engine._open[small.index_id].generation is loaded is not None
        engine.delete_index(large.index)
    assert notes.failures == []
