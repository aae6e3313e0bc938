"""A generation that goes on where a checkpoint left it, and what it says of itself for the next.

Method: what a checkpoint holds is taken from a view, as checkpoint.py takes it; hnswlib's file and
the lists go over the disk, as they do there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyroaring import BitMap

from lives import NO_LABELS, Life, keys_of, names
from rooms import NEVER, make_index, make_options
from vectorbucket_server.engine.embedded import metadata_file
from vectorbucket_server.engine.embedded.generation import Generation, SavedGraph
from vectorbucket_server.engine.embedded.graph import Graph, SlotArray, graph_bytes
from vectorbucket_server.engine.embedded.rows import SavedRows
from vectorbucket_server.filters.expression import Equals
from vectorbucket_server.model import Float32Array


def resume(life: Life, folder: Path) -> None:
    """Let the life go on with a generation that was made from a checkpoint of the one it has."""
    old, view, count = life.generation, life.generation.view, life.generation.view.count
    rows = SavedRows(
        view.labels[:count].copy(),
        view.died[:count] <= view.seq,
        view.code_scales[:count].copy(),
        view.squared_norms[:count].copy(),
        view.keys.starts[: count + 1].copy(),
        metadata_file.decode(metadata_file.encode(old.metadata_index), ()),
    )
    assert old.save_graph(folder / "graph")
    graph = Graph.load(
        folder / "graph",
        space=old.metric.space,
        dimension=4,
        m=16,
        capacity=count + 1,
        marked=len(old.marked),
    )
    saved = SavedGraph(graph, old.graphed, old.absent.copy(), old.marked.copy())
    old.close()
    options = make_options(folder, graph_rows_min=1, ef_construction=50)
    life.generation = Generation(old.directory, make_index(), options, rows=rows, graph=saved)
    life.generation.publish(life.seq, NO_LABELS, NO_LABELS)


def found(life: Life) -> list[str]:
    """Return the keys of what a search for everything finds and is alive, sorted."""
    result = life.generation.search(np.zeros((1, 4), np.float32), 10_000, 1)
    alive = result.slots[0][result.view.live(result.slots)[0]]
    return keys_of(result.view, alive.tolist())


def test_resumed_generation_is_what_it_was(life: Life, tmp_path: Path) -> None:
    life.put(names(40))
    life.delete(["k0003"])
    life.generation.turn(30, 1)
    life.delete(["k0004", "k0035"])
    life.generation.turn(1, 1)
    before = life.generation
    resume(life, tmp_path)
    again = life.generation
    assert again.graphed == before.graphed == 31
    assert again.absent == before.absent == BitMap([3])
    assert again.marked == before.marked == BitMap([4])
    assert (again.view.seq, again.live_count, again.dead_count) == (3, 37, 3)
    assert again.has_graph
    assert again.has_work
    assert (again.pending_slots, again.pending_live) == (9, 8)
    assert found(life) == [key for key in names(31) if key not in {"k0003", "k0004"}]


def test_resumed_generation_is_gone_on_with(life: Life, tmp_path: Path) -> None:
    life.put(names(40))
    life.generation.turn(20, 1)
    resume(life, tmp_path)
    life.put(names(20, 30))
    life.delete(["k0000", "k0049"])
    life.index_all()
    left = [key for key in names(50) if key not in {"k0000", "k0049"}]
    assert found(life) == left == keys_of(life.generation.view)
    view = life.generation.view
    slots = life.generation.metadata_index.matching(Equals("key", "k0031"), view.count).slots()
    assert keys_of(view, [slot for slot in slots.tolist() if view.live(np.array([slot]))[0]]) == [
        "k0031"
    ]


def test_slots_that_died_before_a_resumption_are_marked_once_and_never_twice(
    life: Life, tmp_path: Path
) -> None:
    life.put(names(10))
    life.delete(["k0009"])
    life.generation.turn(10, 1)
    life.delete(["k0001"])
    life.generation.turn(10, 1)
    life.delete(["k0002"])
    for _ in range(2):
        resume(life, tmp_path)
        life.index_all()
        assert (life.generation.absent, life.generation.marked) == (BitMap([9]), BitMap([1, 2]))
    assert not life.generation.has_work
    assert found(life) == [names(10)[slot] for slot in (0, 3, 4, 5, 6, 7, 8)]


def test_directory_must_be_there_exactly_if_there_is_a_checkpoint(
    life: Life, tmp_path: Path
) -> None:
    life.put(names(3))
    life.index_all()
    life.generation.directory.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        resume(life, tmp_path)


def test_generation_without_a_graph_saves_none(tmp_path: Path) -> None:
    life = Life(tmp_path, graph_rows_min=NEVER)
    life.put(names(3))
    assert not life.generation.save_graph(tmp_path / "graph")
    assert not (tmp_path / "graph").exists()
    life.generation.close()


def test_slots_of_the_graph_and_those_it_lacks_are_all_that_had_their_turn(life: Life) -> None:
    for _ in range(6):
        life.put(names(30))
        life.delete(["k0007", "k0019"])
        life.generation.turn(17, 1)
        generation = life.generation
        size = generation._graph.size if generation._graph is not None else 0
        assert size + len(generation.absent) == generation.graphed
        assert not generation.absent & generation.marked


def test_what_a_checkpoint_would_add_is_counted(life: Life) -> None:
    generation = life.generation
    assert generation.unsaved == 0
    life.put(names(10))
    assert generation.unsaved == 10
    generation.turn(4, 1)
    assert generation.unsaved == 14
    life.delete(["k0001", "k0008"])
    assert generation.unsaved == 16
    life.index_all()
    assert generation.unsaved == 22
    life.put(["k0000"])
    assert generation.unsaved == 24, "one came and one died"


def test_rows_may_be_published_whose_metadata_are_listed_already(life: Life) -> None:
    life.put(["a"])
    life.stage(["b"], np.ones((1, 4), np.float32))
    life.generation.metadata_index.add(1, [{"key": "b"}])
    life.generation.publish(5, np.array([9], np.uint64), np.array([1], np.uint64))
    assert life.generation.view.seq == 5
    assert keys_of(life.generation.view) == ["b"]


def test_size_counts_the_graph_that_pending_vectors_will_have(tmp_path: Path) -> None:
    life = Life(tmp_path, graph_rows_min=100)
    life.put(names(99))
    without = life.generation.size_bytes
    assert without == life.generation.rows.size_bytes < 200_000
    life.put(names(1, 99))
    expected = graph_bytes(100, 4, 16) + life.generation.rows.size_bytes
    assert life.generation.size_bytes == expected
    life.index_all()
    assert life.generation.size_bytes == expected, "indexing takes nothing that was not counted"
    life.generation.close()


def test_turn_that_failed_half_way_begins_the_graph_anew(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went in before the failure and died before the next turn must not be miscounted."""
    life.put(names(20))
    life.generation.turn(10, 1)
    add = Graph.add

    def add_half(graph: Graph, rows: Float32Array, slots: SlotArray, *, threads: int) -> None:
        add(graph, rows[:5], slots[:5], threads=threads)
        raise RuntimeError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(Graph, "add", add_half)
        with pytest.raises(RuntimeError, match="no room"):
            life.generation.turn(10, 1)
    assert life.generation.graphed == 0
    life.delete(names(3, 10))
    life.generation.turn(20, 1)
    assert life.generation.graphed == 20
    assert life.generation.absent == BitMap(range(10, 13))
    found = life.generation.search(np.zeros((1, 4), np.float32), 20, 1)
    assert sorted(found.slots[0].tolist()) == [*range(10), *range(13, 20)]
