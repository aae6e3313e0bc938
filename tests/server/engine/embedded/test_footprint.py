"""What an index is said to take grows with what takes it, and is what the parts say themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rooms import make_index, make_options
from vectorbucket_server.engine.embedded.footprint import index_bytes, vector_bytes
from vectorbucket_server.engine.embedded.graph import graph_bytes
from vectorbucket_server.model import GraphOptions


def test_index_takes_its_graph_from_the_size_on_that_has_one(tmp_path: Path) -> None:
    index, options = make_index(), make_options(tmp_path, graph_rows_min=100)
    without, with_graph = index_bytes(index, options, 99), index_bytes(index, options, 100)
    graph = graph_bytes(100, index.dimension, options.m)
    assert with_graph - without > graph
    assert with_graph - without - graph < graph
    assert index_bytes(index, options, 0) == 0


def test_more_links_take_more(tmp_path: Path) -> None:
    options = make_options(tmp_path, graph_rows_min=1)
    plain = make_index()
    dense = replace(plain, graph=GraphOptions(m=64))
    assert index_bytes(dense, options, 1_000) > index_bytes(plain, options, 1_000)
    assert vector_bytes(dense, options) - vector_bytes(plain, options) == 8 * (64 - options.m)


def test_one_more_vector_takes_no_more_than_is_asked_for_it(tmp_path: Path) -> None:
    index, options = make_index(), make_options(tmp_path, graph_rows_min=1)
    more = index_bytes(index, options, 1_001) - index_bytes(index, options, 1_000)
    assert 0 < more <= vector_bytes(index, options)
