"""The graph finds neighbours, grows, hides the dead, says when it finds too few, and is saved."""

from __future__ import annotations

import errno
from pathlib import Path

import hnswlib
import numpy as np
import pytest

from oracles import draw_mixture, draw_noise, exact_neighbours
from rooms import files_no_longer_than
from vectorbucket_server.engine.embedded.graph import Graph, SlotArray, graph_bytes
from vectorbucket_server.model import DistanceMetric, Float32Array


def make_graph(
    dimension: int, *, space: str = "l2", capacity: int = 64, ef_construction: int = 100
) -> Graph:
    """Return an empty graph that has to grow soon."""
    return Graph(
        space=space, dimension=dimension, m=16, ef_construction=ef_construction, capacity=capacity
    )


def slots_of(count: int, start: int = 0) -> SlotArray:
    """Return slots from ``start`` on, uint32 of shape (count,)."""
    return np.arange(start, start + count, dtype=np.uint32)


def filled(rows: Float32Array, *, space: str = "l2") -> Graph:
    """Return a graph of rows whose slots are their positions."""
    graph = make_graph(rows.shape[1], space=space)
    graph.add(rows, slots_of(len(rows)), threads=1)
    return graph


def found_slots(graph: Graph, queries: Float32Array, k: int) -> list[list[int]]:
    """Return the slots that a search finds."""
    found = graph.search(queries, k, threads=1)
    assert found is not None
    result: list[list[int]] = found[0].tolist()
    return result


def recall(
    graph: Graph, rows: Float32Array, queries: Float32Array, *, breadth: int, among: SlotArray
) -> float:
    """Return which share of the ten nearest of ``among`` a search finds, 0 to 1."""
    exact = exact_neighbours(queries, rows[among], 10, DistanceMetric.EUCLIDEAN.value)[0]
    found = [slots[:10] for slots in found_slots(graph, queries, breadth)]
    hits = sum(
        len({*some} & {*wanted}) for some, wanted in zip(found, among[exact].tolist(), strict=True)
    )
    return hits / (10 * len(queries))


def test_new_graph_is_empty() -> None:
    graph = make_graph(8)
    assert (graph.size, graph.live) == (0, 0)
    assert graph.search(draw_noise(1, 8, seed=1), 1, threads=1) is None


@pytest.mark.parametrize("space", ["l2", "ip"])
def test_every_row_is_found_by_itself(space: str) -> None:
    rows = draw_mixture(2_000, 32, seed=1)
    graph = filled(rows, space=space)
    # At k = 64 as the engine asks; a row that a narrow search misses would be no news.
    nearest = [slots[0] for slots in found_slots(graph, rows, 64)]
    assert np.mean(np.array(nearest) == np.arange(2_000)) >= 0.999


def test_distances_ascend_and_are_squared_for_l2() -> None:
    rows = draw_noise(300, 8, seed=1)
    queries = draw_noise(20, 8, seed=2)
    found = filled(rows).search(queries, 20, threads=1)
    assert found is not None
    slots, distances = found
    assert slots.shape == distances.shape == (20, 20)
    assert (np.diff(distances, axis=1) >= 0).all()
    squared = ((rows[slots.astype(np.intp)] - queries[:, None, :]) ** 2).sum(axis=2)
    np.testing.assert_allclose(distances, squared, rtol=1e-5)


def test_distance_is_one_minus_the_product_for_ip() -> None:
    rows = draw_mixture(300, 8, seed=1)
    found = filled(rows, space="ip").search(rows[:5], 3, threads=1)
    assert found is not None
    products = (rows[found[0].astype(np.intp)] * rows[:5, None, :]).sum(axis=2)
    np.testing.assert_allclose(found[1], 1 - products, atol=1e-6)


def test_graph_finds_most_of_the_nearest() -> None:
    rows = draw_mixture(3_000, 48, seed=3)
    queries = draw_mixture(100, 48, seed=3, draw=1)
    found = recall(filled(rows), rows, queries, breadth=64, among=slots_of(3_000))
    assert found >= 0.97


def test_slots_need_not_be_dense() -> None:
    graph = make_graph(4)
    slots = np.array([7, 2**32 - 1, 0, 2**31], dtype=np.uint32)
    graph.add(np.eye(4, dtype=np.float32), slots, threads=1)
    assert [found[0] for found in found_slots(graph, np.eye(4, dtype=np.float32), 4)] == [
        7,
        2**32 - 1,
        0,
        2**31,
    ]


def test_graph_grows_when_it_is_full() -> None:
    rows = draw_mixture(500, 8, seed=1)
    graph = make_graph(8, capacity=1)
    for first in range(0, 500, 50):
        graph.add(rows[first : first + 50], slots_of(50, first), threads=1)
        assert graph.size == graph.live == first + 50
        assert found_slots(graph, rows[first : first + 1], 20)[0][0] == first


def test_growth_leaves_room_so_that_it_is_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = make_graph(4, capacity=64)
    capacities: list[int] = []
    grow = Graph.grow

    def growing(self: Graph, capacity: int) -> None:
        capacities.append(capacity)
        grow(self, capacity)

    monkeypatch.setattr(Graph, "grow", growing)
    rows = draw_noise(2_000, 4, seed=1)
    for first in range(0, 2_000, 10):
        graph.add(rows[first : first + 10], slots_of(10, first), threads=1)
    assert len(capacities) < 12
    assert capacities == sorted(capacities)


def test_graph_never_shrinks() -> None:
    graph = filled(draw_noise(100, 4, seed=1))
    capacity = graph._index.max_elements
    graph.grow(10)
    assert graph._index.max_elements == capacity
    graph.grow(capacity * 2)
    assert graph._index.max_elements == capacity * 2
    assert graph.size == 100


def test_dead_slot_is_never_found_again() -> None:
    rows = draw_mixture(400, 8, seed=1)
    graph = filled(rows)
    for slot in range(0, 400, 3):
        graph.mark_dead(slot)
    assert (graph.size, graph.live) == (400, 266)
    for found in found_slots(graph, rows, 50):
        assert not any(slot % 3 == 0 for slot in found)


def test_dead_slots_still_lead_to_their_neighbours() -> None:
    rows = draw_mixture(1_000, 16, seed=2)
    graph = filled(rows)
    for slot in range(0, 1_000, 2):
        graph.mark_dead(slot)
    alive = slots_of(1_000)[1::2]
    assert recall(graph, rows, rows[alive], breadth=64, among=alive) >= 0.97


@pytest.mark.parametrize("asked", [11, 40, 1_000])
def test_asking_for_more_than_there_are_finds_nothing(asked: int) -> None:
    graph = filled(draw_noise(10, 4, seed=1))
    assert graph.search(draw_noise(2, 4, seed=2), 10, threads=1) is not None
    assert graph.search(draw_noise(2, 4, seed=2), asked, threads=1) is None


def test_asking_for_more_than_are_alive_finds_nothing() -> None:
    graph = filled(draw_noise(30, 4, seed=1))
    for slot in range(20):
        graph.mark_dead(slot)
    assert graph.live == 10
    assert graph.search(draw_noise(1, 4, seed=2), 11, threads=1) is None
    assert sorted(found_slots(graph, draw_noise(1, 4, seed=2), 10)[0]) == list(range(20, 30))


def test_graph_of_dead_slots_finds_nothing() -> None:
    graph = filled(draw_noise(5, 4, seed=1))
    for slot in range(5):
        graph.mark_dead(slot)
    assert graph.live == 0
    assert graph.search(draw_noise(1, 4, seed=2), 1, threads=1) is None


class BrokenLibrary:
    """What stands for an hnswlib that fails in its own way."""

    def knn_query(self, *_: object, **__: object) -> None:
        """Fail."""
        raise RuntimeError("Cannot allocate the visited list")


def test_other_failures_are_not_taken_for_finding_nothing() -> None:
    graph = filled(draw_noise(10, 4, seed=1))
    graph._index = BrokenLibrary()
    with pytest.raises(RuntimeError, match="visited list"):
        graph.search(draw_noise(1, 4, seed=2), 1, threads=1)


def test_row_of_a_wrong_dimension_is_refused() -> None:
    graph = filled(draw_noise(10, 4, seed=1))
    with pytest.raises(RuntimeError, match="dimension"):
        graph.add(draw_noise(1, 5, seed=2), slots_of(1, 10), threads=1)
    assert graph.size == 10


def test_larger_k_makes_the_search_broader() -> None:
    # Noise is hard for a graph, so that breadth shows.
    rows, queries = draw_noise(3_000, 48, seed=1), draw_noise(50, 48, seed=2)
    graph = filled(rows)
    recalls = [
        recall(graph, rows, queries, breadth=breadth, among=slots_of(3_000))
        for breadth in (10, 50, 400)
    ]
    assert recalls[0] + 0.1 < recalls[1]
    assert recalls[1] + 0.02 < recalls[2]


@pytest.mark.parametrize("breadth", [1, 3, 80])
def test_breadth_by_k_finds_what_hnswlibs_own_breadth_finds(breadth: int) -> None:
    rows, queries = draw_noise(2_000, 32, seed=1), draw_noise(40, 32, seed=2)
    own = hnswlib.Index(space="l2", dim=32)
    own.init_index(max_elements=2_000, M=16, ef_construction=100, random_seed=100)
    own.add_items(rows, slots_of(2_000), num_threads=1)
    own.set_ef(breadth)
    expected = own.knn_query(queries, k=1, num_threads=1)[0].tolist()
    assert [slots[:1] for slots in found_slots(filled(rows), queries, breadth)] == expected


def test_build_can_be_repeated() -> None:
    rows, queries = draw_noise(1_000, 16, seed=1), draw_noise(20, 16, seed=2)
    assert found_slots(filled(rows), queries, 30) == found_slots(filled(rows), queries, 30)


def test_threads_change_nothing_about_a_search() -> None:
    rows, queries = draw_noise(1_000, 16, seed=1), draw_noise(200, 16, seed=2)
    graph = filled(rows)
    found = graph.search(queries, 30, threads=2)
    assert found is not None
    assert found[0].tolist() == found_slots(graph, queries, 30)


# --- Files and sizes ------------------------------------------------------------------------------


def loaded(
    path: Path, dimension: int, *, space: str = "l2", capacity: int = 500, marked: int = 0
) -> Graph:
    """Return the graph of a file."""
    return Graph.load(
        path, space=space, dimension=dimension, m=16, capacity=capacity, marked=marked
    )


@pytest.mark.parametrize("space", ["l2", "ip"])
def test_loaded_graph_finds_what_the_saved_one_found(tmp_path: Path, space: str) -> None:
    rows, queries = draw_noise(500, 16, seed=1), draw_noise(50, 16, seed=2)
    graph = filled(rows, space=space)
    for slot in range(0, 500, 5):
        graph.mark_dead(slot)
    graph.save(tmp_path / "graph")
    again = loaded(tmp_path / "graph", 16, space=space, marked=100)
    assert (again.size, again.live) == (500, 400)
    assert again.size_bytes == graph.size_bytes
    for k in (1, 40):
        assert found_slots(again, queries, k) == found_slots(graph, queries, k)


def test_loaded_graph_is_gone_on_with(tmp_path: Path) -> None:
    rows = draw_mixture(900, 8, seed=1)
    filled(rows[:300]).save(tmp_path / "graph")
    again = loaded(tmp_path / "graph", 8, capacity=301)
    again.mark_dead(7)
    again.add(rows[300:], slots_of(600, 300), threads=1)
    assert (again.size, again.live) == (900, 899)
    nearest = [slots[0] for slots in found_slots(again, rows, 64)]
    assert np.mean(np.array(nearest) == np.arange(900)) >= 0.99
    assert nearest[7] != 7


def test_graph_of_nothing_is_saved_and_loaded(tmp_path: Path) -> None:
    make_graph(4).save(tmp_path / "graph")
    again = loaded(tmp_path / "graph", 4)
    assert (again.size, again.live) == (0, 0)
    again.add(draw_noise(3, 4, seed=1), slots_of(3), threads=1)
    assert len(found_slots(again, draw_noise(1, 4, seed=1), 3)[0]) == 3


def test_file_that_is_cut_short_by_a_full_disk_is_an_error(tmp_path: Path) -> None:
    graph = filled(draw_noise(500, 16, seed=1))
    with (
        files_no_longer_than(20_000),
        pytest.raises(OSError, match="graph has 20000 bytes") as told,
    ):
        graph.save(tmp_path / "graph")
    assert told.value.errno == errno.ENOSPC
    graph.save(tmp_path / "graph")
    assert loaded(tmp_path / "graph", 16).size == 500


def test_graph_that_cannot_be_written_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises((OSError, RuntimeError)):
        filled(draw_noise(5, 4, seed=1)).save(tmp_path / "missing" / "graph")


def test_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        loaded(tmp_path / "missing", 4)
    (tmp_path / "graph").write_bytes(b"")
    with pytest.raises(RuntimeError):
        loaded(tmp_path / "graph", 4)


def test_size_grows_with_slots_dimension_and_links() -> None:
    graph = filled(draw_noise(100, 8, seed=1))
    assert graph.size_bytes == graph_bytes(100, 8, 16)
    assert make_graph(8).size_bytes == graph_bytes(0, 8, 16) > 2_500_000
    one_slot = graph_bytes(101, 8, 16) - graph_bytes(100, 8, 16)
    assert one_slot > 8 * 4 + 16 * 8
    assert graph_bytes(101, 9, 16) - graph_bytes(100, 9, 16) == one_slot + 4
    assert graph_bytes(101, 8, 17) - graph_bytes(100, 8, 17) == one_slot + 8
