"""An index that has filled the memory budget: it comes back after a start, and can shrink again.

Method: a whole engine with its threads and a budget for one small index.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.subject import wait_until_indexed
from oracles import draw_mixture
from rooms import BUCKET, Notes, batch, eventually, opened_engine, put_index, refused
from vectorbucket.errors import MemoryBudgetExceeded
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.rebuild import Rebuild
from vectorbucket_server.model import Index, Query

DIMENSION = 16
PER_BATCH = 500
LIMIT = 4_500_000
"""Bytes: the fixed part of a graph, and some thousand vectors."""

OPTIONS = {"memory_bytes_max": LIMIT, "graph_rows_min": 50, "checkpoint_changes_min": 1_000}


def fill(engine: EmbeddedEngine, index: Index) -> int:
    """Put until there is no memory left; return how many were stored."""
    for first in range(0, 100_000, PER_BATCH):
        keys = [f"k{number}" for number in range(first, first + PER_BATCH)]
        rows = draw_mixture(PER_BATCH, DIMENSION, seed=first)
        try:
            engine.put_vectors(index, batch(keys, rows))
        except MemoryBudgetExceeded:
            return first
    raise AssertionError("there was always room")


def query(engine: EmbeddedEngine, index: Index, top_k: int) -> list[str]:
    """Return the keys that are nearest to a point."""
    asked = Query(np.zeros((1, DIMENSION), np.float32), top_k)
    return [hit.key for hit in engine.query_vectors(index, asked)[0]]


@pytest.fixture(name="stored")
def fixture_stored(tmp_path: Path, notes: Notes) -> int:
    """Fill an index in a data directory; return how many vectors it took."""
    with opened_engine(tmp_path, notes, **OPTIONS) as engine:
        index = put_index(engine, "full", DIMENSION)
        stored = fill(engine, index)
        wait_until_indexed(engine, index)
        return stored


def test_index_that_was_filled_comes_back_after_a_start(
    stored: int, tmp_path: Path, notes: Notes
) -> None:
    assert stored > 1_000
    with opened_engine(tmp_path, notes, **OPTIONS) as engine:
        index = engine.get_index(BUCKET.name, "full")
        assert len(query(engine, index, 10)) == 10
        assert engine.index_statistics(index).vector_count == stored


def test_index_that_was_filled_can_be_emptied_and_filled_again(
    stored: int, tmp_path: Path, notes: Notes
) -> None:
    with opened_engine(tmp_path, notes, **OPTIONS) as engine:
        index = engine.get_index(BUCKET.name, "full")
        query(engine, index, 1)
        for first in range(20, stored, PER_BATCH):
            last = min(first + PER_BATCH, stored)
            engine.delete_vectors(index, [f"k{number}" for number in range(first, last)])
        more = batch([f"n{number}" for number in range(100)], draw_mixture(100, DIMENSION, seed=7))
        eventually(
            lambda: refused(lambda: engine.put_vectors(index, more)) is True, "it can be put again"
        )
        kept = {f"k{number}" for number in range(20)} | {f"n{number}" for number in range(100)}
        assert set(query(engine, index, 200)) == kept


def test_rebuild_is_not_begun_for_a_generation_that_has_left(
    tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take the directory of the one that came in its place."""
    begun: list[str] = []
    make = Rebuild.__init__

    def noting(self: Rebuild, *arguments: object) -> None:
        begun.append("one")
        make(self, *arguments)  # type: ignore[arg-type]

    with opened_engine(tmp_path, notes, **{**OPTIONS, "memory_bytes_max": 10**9}) as engine:
        index = put_index(engine, "worn", DIMENSION)
        engine.put_vectors(
            index, batch([f"k{n}" for n in range(400)], draw_mixture(400, 16, seed=1))
        )
        engine._indexer.stop()
        (room,) = engine._rooms()
        gone = room.generation
        assert gone is not None
        assert room.unload()
        query(engine, index, 1)
        monkeypatch.setattr(Rebuild, "__init__", noting)
        monkeypatch.setattr(engine._indexer, "_wants_rebuild", lambda *_: True)
        assert engine._indexer._rebuilding(room, gone) is None
        assert begun == []
        assert not room.is_busy
        assert engine._budget.taken_bytes == room.size_bytes
