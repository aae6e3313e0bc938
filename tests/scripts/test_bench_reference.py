"""Tests of bench_reference.py: the references do what the bench says that they do."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from rocksdict import Options, Rdict

from bench_data import draw_dataset, exact_neighbours
from bench_reference import build_bare_graph, put_bare, unit_rows
from bench_server import start_reference
from vectorbucket.v1 import vector_pb2


def test_bare_server_keeps_three_records_of_every_vector_it_acknowledged(tmp_path: Path) -> None:
    dataset = draw_dataset(1_200, 4, seed=1, queries=1)
    server = start_reference(tmp_path / "data")
    answered_s = put_bare(server.target, dataset)
    # Killed, not stopped: what was answered is durable.
    server.kill()
    assert len(answered_s) == 3
    assert answered_s == sorted(answered_s)
    store = Rdict(str(tmp_path / "data"), options=Options(raw_mode=True))
    for position in (0, 499, 500, 1_199):
        label = bytes(store[b"v" + dataset.keys[position].encode()] or b"")
        assert struct.unpack(">Q", label) == (position + 1,)
        assert store[b"d" + label] == dataset.data[position].tobytes()
        row = vector_pb2.Vector.FromString(bytes(store[b"r" + label] or b""))
        assert row.key == dataset.keys[position]
        assert row.metadata["section"].string_value == dataset.metadata[position]["section"]
        tags = [value.string_value for value in row.metadata["tags"].list_value.values]
        assert tags == dataset.metadata[position]["tags"]
    store.close()


def test_bare_graph_finds_what_is_nearest() -> None:
    dataset = draw_dataset(1_500, 16, seed=2, queries=50)
    graph = build_bare_graph(dataset.data)
    assert graph.build_s > 0
    wanted, _ = exact_neighbours(dataset.queries, dataset.data, 1, "cosine")
    found = [graph.search(row, 5) for row in unit_rows(dataset.queries)]
    assert all(len(row) == 5 for row in found)
    assert np.mean([row[0] == one[0] for row, one in zip(found, wanted, strict=True)]) > 0.95


def test_bare_graph_finds_the_same_for_many_as_for_one() -> None:
    dataset = draw_dataset(1_000, 16, seed=2, queries=30)
    graph = build_bare_graph(dataset.data)
    rows = unit_rows(dataset.queries)
    found = graph.search_many(rows, 5)
    assert found.shape == (30, 5)
    assert all(
        one.tolist() == graph.search(row, 5).tolist() for row, one in zip(rows, found, strict=True)
    )


def test_unit_rows_have_length_one_and_the_same_direction() -> None:
    rows = unit_rows(np.array([[3, 4], [0, -2]], np.float32))
    assert rows.dtype == np.float32
    assert rows.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, -1]]
