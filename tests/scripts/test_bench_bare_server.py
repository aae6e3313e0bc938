"""Tests of bench_bare_server.py: the reference answers right, with the service's own measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bench_bare_server
from bench_bare_server import save_bare
from bench_data import distances, draw_dataset, exact_neighbours
from bench_reference import EF_CONSTRUCTION, EF_SEARCH, M, build_bare_graph
from bench_server import start_bare_query_server
from vectorbucket import Client
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.settings import Settings


def test_bare_server_answers_the_nearest_with_their_distances(tmp_path: Path) -> None:
    dataset = draw_dataset(500, 8, seed=1, queries=20)
    queries = dataset.queries * 3  # of another length than the rows
    save_bare(tmp_path / "bare", build_bare_graph(dataset.data), dataset.keys)
    wanted, far = exact_neighbours(queries, dataset.data, 1, "cosine")
    right = 0
    with start_bare_query_server(tmp_path / "bare") as server, Client(server.target) as client:
        for row, place, distance in zip(queries, wanted, far, strict=True):
            hits = client.query_vectors("any", "any", row, top_k=5)
            assert len(hits) == 5
            if hits[0].key == dataset.keys[place[0]]:
                right += 1
                assert hits[0].distance == pytest.approx(distance[0], abs=1e-5)
            places = [dataset.keys.index(hit.key) for hit in hits]
            assert np.all(np.diff(distances(row[None], dataset.data[places], "cosine")[0]) > -1e-6)
    assert right >= 18


def test_bare_server_is_of_the_same_kind_as_the_service() -> None:
    settings = Settings()
    assert settings.unary_workers == bench_bare_server.WORKERS
    options = EmbeddedOptions(Path())
    assert (options.m, options.ef_construction) == (M, EF_CONSTRUCTION)
    assert options.ef_search == EF_SEARCH
