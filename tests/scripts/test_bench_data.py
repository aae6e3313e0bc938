"""Tests of bench_data.py: the same seed draws the same, neighbours are the true ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench_data import (
    distances,
    draw_dataset,
    draw_mixture,
    draw_noise,
    draw_rows,
    draw_uniform,
    exact_neighbours,
    load_dataset,
    moved_rows,
    recall_at_k,
)


@pytest.mark.parametrize(("count", "dimension"), [(1, 1), (7, 3), (50, 16), (200, 100)])
def test_mixture_is_drawn_in_any_size_and_dimension(count: int, dimension: int) -> None:
    rows = draw_mixture(count, dimension, seed=1)
    assert rows.shape == (count, dimension)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(count), abs=1e-5)


def test_same_seed_draws_the_same_and_another_does_not() -> None:
    first = draw_mixture(100, 8, seed=1)
    assert np.array_equal(first, draw_mixture(100, 8, seed=1))
    assert not np.array_equal(first, draw_mixture(100, 8, seed=2))
    assert not np.array_equal(first, draw_mixture(100, 8, seed=1, draw=1))
    assert np.array_equal(draw_noise(5, 8, seed=1), draw_noise(5, 8, seed=1))


def test_two_draws_of_a_mixture_lie_in_the_same_clusters() -> None:
    data = draw_mixture(2_000, 64, seed=1, clusters=5)
    near = draw_mixture(50, 64, seed=1, draw=1, clusters=5)
    far = draw_mixture(50, 64, seed=2, clusters=5)
    to_near = exact_neighbours(near, data, 1, "cosine")[1].mean()
    to_far = exact_neighbours(far, data, 1, "cosine")[1].mean()
    assert to_near < to_far / 2


def test_rows_of_a_cluster_differ_in_few_directions() -> None:
    rows = draw_mixture(400, 100, seed=3, clusters=1)
    shares = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    assert shares[:20].sum() / shares.sum() > 0.99


def test_uniform_noise_fills_its_cube_alike() -> None:
    rows = draw_uniform(2_000, 3, seed=1)
    assert rows.dtype == np.float32
    assert rows.shape == (2_000, 3)
    assert rows.flags.c_contiguous
    assert -1 <= rows.min() < -0.99
    assert 0.99 < rows.max() <= 1
    assert abs(rows.mean()) < 0.05
    assert np.array_equal(rows, draw_uniform(2_000, 3, seed=1))
    assert not np.array_equal(rows, draw_uniform(2_000, 3, seed=1, draw=1))


def test_moved_rows_lie_as_far_from_where_they_lay_as_is_said() -> None:
    rows = draw_mixture(500, 64, seed=1) * 3
    moved = moved_rows(rows, 0.1, np.random.default_rng(1))
    assert moved.dtype == np.float32
    assert moved.flags.c_contiguous
    assert np.linalg.norm(moved - rows, axis=1).mean() == pytest.approx(0.3, rel=0.05)


def test_rows_are_of_the_distribution_that_is_named() -> None:
    mixture = draw_rows(20, 4, seed=1, draw=2)
    assert np.array_equal(mixture, draw_mixture(20, 4, seed=1, draw=2))
    uniform = draw_rows(20, 4, seed=1, draw=2, distribution="uniform")
    assert np.array_equal(uniform, draw_uniform(20, 4, seed=1, draw=2))
    dataset = draw_dataset(20, 4, seed=1, queries=5, distribution="uniform")
    assert np.array_equal(dataset.data, draw_uniform(20, 4, seed=1))
    assert np.array_equal(dataset.queries, draw_uniform(5, 4, seed=1, draw=1))
    with pytest.raises(ValueError, match="distribution is 'normal'; it is mixture or uniform"):
        draw_rows(1, 1, seed=1, distribution="normal")


def test_dataset_has_the_shares_that_filters_are_measured_at() -> None:
    dataset = draw_dataset(4_000, 4, seed=1, queries=10)
    for field, value, share in (("arch", "all", 0.49), ("section", "python", 0.067)):
        found = sum(one[field] == value for one in dataset.metadata) / 4_000
        assert found == pytest.approx(share, abs=0.03)
    assert 1 <= sum(one["section"] == "electronics" for one in dataset.metadata) <= 40
    assert len(set(dataset.keys)) == 4_000
    assert (dataset.dimension, dataset.queries.shape) == (4, (10, 4))


def test_first_vectors_of_a_dataset_keep_what_belongs_to_them() -> None:
    dataset = draw_dataset(20, 4, seed=1)
    part = dataset.first(3)
    assert (part.keys, part.metadata) == (dataset.keys[:3], dataset.metadata[:3])
    assert np.array_equal(part.data, dataset.data[:3])
    assert np.array_equal(part.queries, dataset.queries)


def save_sample(folder: Path, keys: int, **arrays: np.ndarray) -> Path:
    """Write a sample and return the path of its .npz."""
    path = folder / "sample.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    lines = [json.dumps({"key": f"k{number}", "metadata": {"n": number}}) for number in range(keys)]
    path.with_suffix(".jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_sample_is_loaded_as_float32_with_its_keys(tmp_path: Path) -> None:
    path = save_sample(
        tmp_path,
        3,
        vectors=np.eye(3, 4, dtype=np.float16),
        queries=np.ones((2, 4), np.float32),
        query_text=np.array(["a", "b"]),
    )
    sample = load_dataset(path)
    assert sample.keys == ("k0", "k1", "k2")
    assert sample.metadata[2] == {"n": 2}
    assert sample.data.dtype == np.float32
    assert sample.data.shape == (3, 4)
    assert sample.query_texts == ("a", "b")
    assert load_dataset(path, count=2).keys == ("k0", "k1")


def test_sample_without_queries_asks_for_its_own_vectors(tmp_path: Path) -> None:
    sample = load_dataset(save_sample(tmp_path, 3, vectors=np.eye(3, dtype=np.float32)))
    assert np.array_equal(sample.queries, sample.data)
    assert sample.query_texts == ()


def test_sample_whose_files_do_not_fit_is_refused(tmp_path: Path) -> None:
    path = save_sample(tmp_path, 2, vectors=np.eye(3, dtype=np.float32))
    with pytest.raises(ValueError, match=r"3 vectors; its \.jsonl has 2 lines"):
        load_dataset(path)


def test_distances_are_in_the_contracts_unit() -> None:
    data = np.array([[3, 4], [0, 2], [-1, 0]], np.float32)
    query = np.array([[1, 0]], np.float32)
    assert distances(query, data, "euclidean")[0] == pytest.approx([np.sqrt(20), np.sqrt(5), 2])
    assert distances(query, data, "cosine")[0] == pytest.approx([0.4, 1, 2])
    with pytest.raises(ValueError, match="metric is 'dot'"):
        distances(query, data, "dot")


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_exact_neighbours_are_those_of_a_full_sort(metric: str) -> None:
    data = draw_noise(300, 5, seed=5)
    queries = draw_noise(1_100, 5, seed=6)
    found, far = exact_neighbours(queries, data, 7, metric)
    every = distances(queries, data, metric)
    assert np.array_equal(found, np.argsort(every, axis=1, kind="stable")[:, :7])
    # Products of blocks round otherwise than products of the whole.
    assert np.allclose(far, np.sort(every, axis=1)[:, :7], rtol=0, atol=1e-12)


def test_neighbours_of_equal_distance_come_by_place() -> None:
    found, _ = exact_neighbours(
        np.ones((1, 2), np.float32), np.ones((5, 2), np.float32), 3, "cosine"
    )
    assert found.tolist() == [[0, 1, 2]]


def test_recall_counts_what_was_found_of_what_was_wanted() -> None:
    assert recall_at_k([["a", "b"], ["c"]], [["a", "b"], ["c"]]) == 1.0
    assert recall_at_k([["a", "x"], ["y"]], [["b", "a"], ["c", "d"]]) == 0.25
    assert recall_at_k([["a", "a"]], [["a", "b"]]) == 0.5
    assert recall_at_k([[]], [[]]) == 1.0
    with pytest.raises(ValueError, match="zip"):
        recall_at_k([["a"]], [])
