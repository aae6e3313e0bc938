"""Views of one moment, pending ranges, and a graph that never hides what a view still shows.

Method: ``Life`` plays the one writer, so a test says which keys live and what a view must show; the
indexer's turns are taken by hand, and in threads where the race itself is under test.
"""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from house import ROOT
from lives import NO_LABELS, Life, keys_of, names
from oracles import draw_noise
from rooms import (
    NEVER,
    files_no_longer_than,
    running,
)
from vectorbucket_server.engine.embedded.generation import Found, Generation
from vectorbucket_server.engine.embedded.graph import Graph
from vectorbucket_server.filters.expression import Equals
from vectorbucket_server.model import DistanceMetric, Float32Array


def found_by(generation: Generation, breadth: int = 10_000) -> Found:
    """Return what a search for everything finds."""
    return generation.search(np.zeros((1, 4), dtype=np.float32), breadth, 1)


# --- Views ----------------------------------------------------------------------------------------


def test_new_generation_is_empty(life: Life) -> None:
    generation = life.generation
    assert (generation.view.seq, generation.view.count, generation.live_count) == (0, 0, 0)
    assert keys_of(generation.view) == []
    assert not generation.has_graph
    assert not generation.has_work
    assert generation.view.largest_squared_norm == 0


def test_committed_vectors_are_in_the_next_view(life: Life) -> None:
    rows = draw_noise(3, 4, seed=1)
    life.put(["a", "b", "c"], rows)
    view = life.generation.view
    assert (view.seq, view.count, life.generation.live_count) == (1, 3, 3)
    assert keys_of(view) == ["a", "b", "c"]
    assert view.rows[:3].tobytes() == rows.tobytes()
    assert view.labels[:3].tolist() == [1, 2, 3]
    np.testing.assert_allclose(view.squared_norms[:3], (rows**2).sum(axis=1), rtol=1e-6)
    assert view.largest_squared_norm == pytest.approx((rows**2).sum(axis=1).max())


def test_view_stays_as_it_was_whatever_is_written(life: Life) -> None:
    life.put(["a", "b"])
    before = life.generation.view
    life.put(["b", "c"])
    middle = life.generation.view
    life.delete(["a"])
    life.put(names(5_000))
    assert keys_of(before) == ["a", "b"]
    assert before.live_range(0, before.count).tolist() == [0, 1]
    assert keys_of(middle) == ["a", "b", "c"]
    assert middle.live_range(0, middle.count).tolist() == [0, 2, 3]
    assert keys_of(life.generation.view) == sorted(["b", "c", *names(5_000)])
    assert life.generation.live_count == 5_002


def test_overwrite_is_seen_as_one_change(life: Life) -> None:
    keys = names(50)
    life.put(keys)
    done = threading.Event()
    wrong: list[int] = []

    def read() -> None:
        while not done.is_set():
            view = life.generation.view
            if keys_of(view) != keys:
                wrong.append(view.seq)

    with running(read, times=2):
        for _ in range(300):
            life.put(keys)
        done.set()
    assert wrong == []


def test_live_tells_slot_by_slot_in_any_shape(life: Life) -> None:
    life.put(names(6))
    life.delete(["k0001", "k0004"])
    view = life.generation.view
    slots = np.array([[0, 1, 2], [5, 4, 3]])
    assert view.live(slots).tolist() == [[True, False, True], [True, False, True]]
    assert view.live_range(1, 5).tolist() == [2, 3]
    assert view.live_range(3, 3).tolist() == []


def test_staged_batch_is_seen_by_nobody_and_overwritten_by_the_next(life: Life) -> None:
    life.put(["a"], np.ones((1, 4), np.float32))
    before = life.generation.view
    life.stage(["never", "ever"], np.full((2, 4), 9, np.float32))
    assert life.generation.view is before
    assert not life.generation.metadata_index.matching(Equals("key", "never"), 10)
    life.put(["b"], np.full((1, 4), 2, np.float32))
    view = life.generation.view
    assert keys_of(view) == ["a", "b"]
    assert view.rows[:2].tolist() == [[1] * 4, [2] * 4]
    assert view.squared_norms[:2].tolist() == [4, 16]
    assert view.largest_squared_norm == 16


def test_label_that_is_not_here_is_refused(life: Life) -> None:
    life.put(["a"])
    with pytest.raises(ValueError, match="no slot"):
        life.generation.commit(2, NO_LABELS, [], np.array([7], dtype=np.uint64))


def test_norm_that_leaves_float32_makes_the_largest_infinite(life: Life) -> None:
    life.put(["a"], np.full((1, 4), 3e38, np.float32))
    assert life.generation.view.largest_squared_norm == np.inf


def test_rows_are_preprocessed_by_the_metric(tmp_path: Path) -> None:
    life = Life(tmp_path, metric=DistanceMetric.COSINE)
    life.put(["a"], np.array([[3, 0, 4, 0]], np.float32))
    np.testing.assert_allclose(life.generation.view.rows[0], [0.6, 0, 0.8, 0], rtol=1e-6)
    assert life.generation.view.largest_squared_norm == pytest.approx(1)
    life.generation.close()


def wishes(generation: Generation) -> tuple[bool, int, bool]:
    """Return whether a generation wants a graph, what is pending, and whether there is work."""
    return generation.wants_graph, generation.pending_slots, generation.has_work


# --- Pending --------------------------------------------------------------------------------------


def test_small_index_wants_no_graph_and_nothing_is_pending(tmp_path: Path) -> None:
    life = Life(tmp_path, graph_rows_min=10)
    life.put(names(9))
    generation = life.generation
    assert wishes(generation) == (False, 0, False)
    life.put(names(1, 9))
    assert wishes(generation) == (True, 10, True)
    generation.close()


def test_index_that_shrank_keeps_its_graph(tmp_path: Path) -> None:
    life = Life(tmp_path, graph_rows_min=10)
    life.put(names(10))
    life.index_all()
    life.delete(names(9))
    assert life.generation.wants_graph
    life.put(names(3, 20))
    assert life.generation.pending_slots == 3
    life.generation.close()


def test_what_is_pending_is_a_range_that_turns_eat_from_its_start(life: Life) -> None:
    life.put(names(100))
    generation = life.generation
    for turn in range(1, 4):
        assert generation.turn(30, 1) == 30
        assert generation.graphed == 30 * turn
        assert generation.pending_slots == generation.pending_live == 100 - 30 * turn
    life.put(names(5, 100))
    assert generation.turn(30, 1) == 15
    assert (generation.pending_slots, generation.pending_live) == (0, 0)
    assert not generation.has_work
    assert generation.turn(30, 1) == 0


def test_dead_slots_wait_in_the_range_and_do_not_count_as_pending(life: Life) -> None:
    life.put(names(10))
    life.delete(names(4))
    assert (life.generation.pending_slots, life.generation.pending_live) == (10, 6)
    assert life.generation.turn(6, 1) == 2
    assert (life.generation.pending_slots, life.generation.pending_live) == (4, 4)


# --- The graph ------------------------------------------------------------------------------------


def test_search_without_a_graph_finds_nothing(life: Life) -> None:
    life.put(names(3))
    found = life.generation.search(np.zeros((2, 4), np.float32), 5, 1)
    assert found.slots.shape == (2, 0)
    assert found.graphed == 0
    assert found.view is life.generation.view


def test_search_finds_what_is_in_the_graph_and_the_rest_is_said_to_be_pending(life: Life) -> None:
    life.put(names(20))
    life.generation.turn(12, 1)
    found = found_by(life.generation)
    assert sorted(found.slots[0].tolist()) == list(range(12))
    assert found.graphed == 12
    assert found.view.count == 20


def test_search_finds_the_nearest_first_and_no_more_than_asked(life: Life) -> None:
    rows = np.zeros((9, 4), np.float32)
    rows[:, 0] = [5, 3, 8, 1, 2, 9, 4, 7, 6]
    life.put(names(9), rows)
    life.index_all()
    found = found_by(life.generation, 4)
    assert found.slots.tolist() == [[3, 4, 1, 6]]


def test_vector_that_died_before_its_turn_never_comes_into_the_graph(life: Life) -> None:
    life.put(names(10))
    life.delete(["k0002", "k0003"])
    life.index_all()
    found = found_by(life.generation)
    assert sorted(found.slots[0].tolist()) == [0, 1, 4, 5, 6, 7, 8, 9]
    assert life.generation.graphed == 10


def test_vector_that_died_after_its_turn_is_hidden_by_the_next(life: Life) -> None:
    life.put(names(10))
    life.index_all()
    life.delete(["k0002"])
    found = found_by(life.generation)
    assert 2 in found.slots[0]
    assert not found.view.live(found.slots)[0].all(), "whoever asks sees that it is dead"
    assert life.generation.has_work
    life.index_all()
    assert 2 not in found_by(life.generation).slots[0]
    assert not life.generation.has_work


def test_vector_that_died_while_it_was_pending_is_hidden_whenever_its_turn_comes(
    life: Life,
) -> None:
    life.put(names(10))
    life.generation.turn(4, 1)
    life.delete(["k0001", "k0006"])
    life.generation.turn(2, 1)
    life.delete(["k0005", "k0009"])
    life.index_all()
    assert sorted(found_by(life.generation).slots[0].tolist()) == [0, 2, 3, 4, 7, 8]


def test_overwritten_vectors_leave_one_version_each(life: Life) -> None:
    for _ in range(8):
        life.put(names(40))
        life.generation.turn(25, 1)
    life.index_all()
    found = found_by(life.generation)
    assert found.view.live(found.slots).all()
    assert keys_of(found.view, found.slots[0].tolist()) == names(40)


def test_graph_whose_vectors_all_died_counts_as_none(life: Life) -> None:
    life.put(names(10))
    life.index_all()
    assert found_by(life.generation).slots.shape == (1, 10)
    life.delete(names(10))
    life.index_all()
    assert not life.generation.has_graph
    assert found_by(life.generation).slots.shape == (1, 0)
    life.put(names(2))
    life.index_all()
    assert sorted(found_by(life.generation).slots[0].tolist()) == [10, 11]


def test_vectors_that_all_died_while_pending_leave_an_empty_graph(life: Life) -> None:
    life.put(names(10))
    life.delete(names(10))
    assert life.generation.turn(100, 1) == 0
    assert not life.generation.has_graph
    assert not life.generation.has_work


def test_search_asks_for_less_where_the_graph_cannot_find_enough(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.put(names(40))
    life.index_all()
    asked: list[int] = []
    search = Graph.search

    def short_sighted(self: Graph, queries: Float32Array, k: int, *, threads: int) -> object:
        asked.append(k)
        return search(self, queries, k, threads=threads) if k <= 6 else None

    monkeypatch.setattr(Graph, "search", short_sighted)
    assert found_by(life.generation, 100).slots.shape == (1, 5)
    assert asked == [40, 20, 10, 5]
    monkeypatch.setattr(Graph, "search", lambda *_, **__: None)
    assert found_by(life.generation, 100).slots.shape == (1, 0)


def test_turn_that_fails_half_way_loses_nothing_and_can_be_repeated(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.put(names(10))
    life.generation.turn(4, 1)
    add = Graph.add

    def fail_halfway(self: Graph, rows: Float32Array, slots: object, *, threads: int) -> None:
        add(self, rows[:3], slots[:3], threads=threads)  # type: ignore[index]
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Graph, "add", fail_halfway)
    with pytest.raises(RuntimeError):
        life.generation.turn(4, 1)
    assert (life.generation.graphed, life.generation.pending_slots) == (0, 10), "begun anew"
    monkeypatch.setattr(Graph, "add", add)
    life.delete(["k0005"])
    life.index_all()
    found = found_by(life.generation)
    alive = found.slots[0][found.view.live(found.slots)[0]]
    assert keys_of(found.view, alive.tolist()) == [key for key in names(10) if key != "k0005"]


# --- Files ----------------------------------------------------------------------------------------


def test_generation_needs_a_directory_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "generation").mkdir()
    with pytest.raises(FileExistsError):
        Life(tmp_path)


def test_every_file_of_a_generation_is_in_the_format_page(life: Life) -> None:
    life.put(["a"])
    files = sorted(path.name for path in life.generation.directory.iterdir())
    page = (ROOT / "server" / "FORMAT.md").read_text(encoding="utf-8")
    assert files == ["codes.i8", "column.f32", "keys"]
    for name in files:
        assert re.search(rf"^ +{name} ", page, re.MULTILINE), "the drawing shows it"
        assert re.search(rf"^`{name}`: ", page, re.MULTILINE), "and it is described"


def test_closed_generation_leaves_its_files_and_its_views_to_their_readers(tmp_path: Path) -> None:
    life = Life(tmp_path, graph_rows_min=NEVER)
    rows = draw_noise(3, 4, seed=1)
    life.put(["a", "b", "c"], rows)
    view = life.generation.view
    life.generation.close()
    assert len(list((tmp_path / "generation").iterdir())) == 3
    shutil.rmtree(tmp_path / "generation")
    assert keys_of(view) == ["a", "b", "c"]
    assert view.rows[:3].tobytes() == rows.tobytes()
    life.generation.close()


def test_full_disk_leaves_the_generation_as_it_was(life: Life) -> None:
    life.put(["a", "b"])
    before = life.generation.view
    with files_no_longer_than(10_000), pytest.raises(OSError, match="large"):
        life.stage(names(5_000), draw_noise(5_000, 4, seed=9))
    assert life.generation.view is before
    assert keys_of(before) == ["a", "b"]
    life.put(["b", *names(5_000)])
    assert keys_of(life.generation.view) == ["a", "b", *names(5_000)]
