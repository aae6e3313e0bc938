"""What an engine tells of itself: exact counts, and bytes as of a look that is not long ago."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oracles import draw_noise
from rooms import (
    MANY,
    NEVER,
    Notes,
    batch,
    eventually,
    numbered,
    opened_engine,
    put_index,
)
from vectorbucket.errors import NoSuchVectorIndex
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.figures import Figures, taken_bytes
from vectorbucket_server.engine.embedded.schema import Family, state_key
from vectorbucket_server.model import Bucket, Index


def filled(
    engine: EmbeddedEngine, name: str = "vectors", count: int = 200, dead: int = 50
) -> Index:
    """Make an index in which some are dead and nothing is pending."""
    index = put_index(engine, name)
    keys = [f"k{number}" for number in range(count)]
    engine.put_vectors(index, batch(keys, draw_noise(count, 4, seed=1)))
    eventually(lambda: engine.index_statistics(index).pending_vector_count == 0, "it is indexed")
    engine.delete_vectors(index, keys[:dead])
    return index


# --- Bytes ----------------------------------------------------------------------------------------


def test_files_take_what_was_written_of_them(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "deep" / "deeper" / "file").write_bytes(b"x" * 100_000)
    with (tmp_path / "deep" / "sparse").open("wb") as file:
        file.truncate(10**9)
        os.fsync(file.fileno())
    (tmp_path / "link").symlink_to(tmp_path / "deep")
    assert 100_000 <= taken_bytes(tmp_path) < 300_000


def test_what_is_not_there_takes_nothing(tmp_path: Path) -> None:
    assert taken_bytes(tmp_path / "missing") == 0
    (tmp_path / "file").write_bytes(b"x")
    assert taken_bytes(tmp_path / "file") == 0


def figures_of(engine: EmbeddedEngine, clock: Callable[[], float]) -> Figures:
    """Return an engine's figures as they are by another clock."""
    data_dir, parts = engine._options.data_dir, (engine._store, engine._catalog, engine._budget)
    return Figures(data_dir, engine._rooms, *parts, clock=clock)


def test_disk_is_looked_at_now_and_then(tmp_path: Path) -> None:
    now_s = [0.0]
    with opened_engine(tmp_path) as engine:
        figures, data_dir = figures_of(engine, lambda: now_s[0]), engine._options.data_dir
        before = figures.of_engine("")
        (data_dir / "generations" / "more").write_bytes(b"x" * 100_000)
        (data_dir / "store" / "more").write_bytes(b"x" * 100_000)
        assert figures.of_engine("").graph_bytes == before.graph_bytes
        now_s[0] += 60
        after = figures.of_engine("")
    assert after.graph_bytes >= before.graph_bytes + 100_000
    assert after.store_bytes >= before.store_bytes + 100_000
    assert 0 < after.disk_free_bytes < before.disk_free_bytes * 2


def test_dear_looks_are_rare(tmp_path: Path) -> None:
    now_s = itertools.count(0.0, 10.0)  # a look takes ten seconds
    with opened_engine(tmp_path) as engine:
        figures = figures_of(engine, lambda: next(now_s))
        figures.of_engine("")
        assert figures._look_at_s == 10.0 + 10.0 / 0.02


def test_only_one_caller_looks_at_a_time(tmp_path: Path) -> None:
    with opened_engine(tmp_path) as engine:
        figures = figures_of(engine, lambda: now_s[0])
        now_s = [0.0]
        before = figures.of_engine("")
        now_s[0] += 60
        (engine._options.data_dir / "store" / "more").write_bytes(b"x" * 100_000)
        with figures._looking:  # by somebody else
            assert figures.of_engine("").store_bytes == before.store_bytes
        assert figures.of_engine("").store_bytes >= before.store_bytes + 100_000


# --- One index ------------------------------------------------------------------------------------


def test_index_in_memory_says_what_is_dead_and_what_it_takes(tmp_path: Path) -> None:
    with opened_engine(tmp_path, graph_rows_min=20) as engine:
        index = filled(engine)
        seen = engine.index_statistics(index)
        assert (seen.vector_count, seen.pending_vector_count) == (150, 0)
        assert seen.dead_share == 0.25
        assert seen.is_loaded
        assert seen.memory_bytes == engine._opened(index).size_bytes > 0
        assert seen.disk_bytes >= 200 * 4 * 4
        assert seen.checkpoint_ms is None
        before_ms = time.time_ns() // 1_000_000 - 1
        assert engine._saver.save(engine._opened(index))
        saved = engine.index_statistics(index)
        assert saved.disk_bytes > seen.disk_bytes
        assert saved.checkpoint_ms is not None
        assert before_ms <= saved.checkpoint_ms <= time.time_ns() // 1_000_000


def test_index_that_left_memory_says_what_is_on_the_disk(tmp_path: Path) -> None:
    with opened_engine(tmp_path, graph_rows_min=20) as engine:
        index = filled(engine)
        engine.unload_index(index)
        seen = engine.index_statistics(index)
        assert not seen.is_loaded
        assert (seen.vector_count, seen.memory_bytes, seen.dead_share) == (150, 0, 0.0)
        assert seen.disk_bytes > 0
        assert seen.checkpoint_ms is not None
        whole = engine.statistics()
        assert (whole.loaded_index_count, whole.memory_bytes) == (0, 0)
        assert (whole.vector_count, whole.pending_vector_count) == (150, 0)
        assert whole.checkpoint_oldest_ms is None
        kept = seen.checkpoint_ms
    with opened_engine(tmp_path, graph_rows_min=20) as engine:
        eventually(lambda: engine.statistics().loaded_index_count == 1, "it is loaded")
        seen = engine.index_statistics(engine.get_index("things", "vectors"))
        assert seen.checkpoint_ms == engine.statistics().checkpoint_oldest_ms == kept


def test_index_without_a_graph_has_nothing_dead_in_it(tmp_path: Path) -> None:
    with opened_engine(tmp_path, graph_rows_min=NEVER) as engine:
        index = filled(engine)
        assert engine.index_statistics(index).dead_share == 0.0
        whole = engine.statistics()
        assert (whole.graph_vector_count, whole.dead_vector_count) == (0, 0)


def test_what_waits_for_the_graph_is_not_in_it(tmp_path: Path) -> None:
    with opened_engine(tmp_path, graph_rows_min=20) as engine:
        index = filled(engine)
        generation = engine._opened(index).generation
        assert generation is not None
        assert generation.graph_counts == (200, 50)
        with engine._opened(index).work:  # no turn until the counts were taken
            engine.put_vectors(index, numbered(30, start=1_000)[0])
            assert generation.graph_counts == (200, 50)
            assert engine.index_statistics(index).pending_vector_count == 30
            engine.delete_vectors(index, ["k1000", "k60"])
            assert generation.graph_counts == (200, 51)
            assert engine.index_statistics(index).pending_vector_count == 29
        eventually(lambda: not generation.has_work, "it is indexed")
        # What died before its turn never goes in.
        assert generation.graph_counts == (229, 51)


# --- All of them ----------------------------------------------------------------------------------


def test_engine_sums_up_its_indexes(tmp_path: Path, notes: Notes) -> None:
    with opened_engine(tmp_path, notes, graph_rows_min=20, memory_bytes_max=10**9) as engine:
        engine.put_bucket(Bucket("others", "222", 5), buckets_max=MANY)
        first, second = filled(engine, "first"), filled(engine, "second", 100, 10)
        never_used = put_index(engine, "third")
        seen = engine.statistics()
        assert (seen.bucket_count, seen.index_count, seen.loaded_index_count) == (2, 3, 2)
        assert (seen.vector_count, seen.pending_vector_count) == (240, 0)
        assert (seen.graph_vector_count, seen.dead_vector_count) == (300, 60)
        each = [engine.index_statistics(index) for index in (first, second, never_used)]
        assert seen.memory_bytes == sum(one.memory_bytes for one in each)
        assert seen.memory_bytes_max == 10**9
        times = []
        for index in (second, first):
            assert engine._saver.save(engine._opened(index))
            times.append(engine.index_statistics(index).checkpoint_ms)
        assert engine.statistics().checkpoint_oldest_ms == times[0]
    assert notes.failures == []


def test_dropped_index_is_not_counted(tmp_path: Path) -> None:
    with opened_engine(tmp_path, graph_rows_min=20) as engine:
        index, kept = filled(engine), filled(engine, "kept")
        opened = engine._opened(index)
        rooms = engine._rooms()
        engine.delete_index(index)
        engine._figures._rooms = lambda: rooms  # as of a moment before
        assert opened in rooms
        assert (engine.statistics().index_count, engine.statistics().vector_count) == (1, 150)
        with pytest.raises(NoSuchVectorIndex):
            engine._figures.of_index(opened)
        assert engine.index_statistics(kept).vector_count == 150


def test_index_whose_counters_are_broken_hides_no_other(tmp_path: Path) -> None:
    with opened_engine(tmp_path, graph_rows_min=20) as engine:
        filled(engine)
        broken = put_index(engine, "broken")
        made = engine._store.batch()
        made.put(Family.CATALOG, state_key(broken.index_id), b"\x00")
        engine._store.write(made)
        seen = engine.statistics()
        assert (seen.index_count, seen.loaded_index_count, seen.vector_count) == (2, 1, 150)
