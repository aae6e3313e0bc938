"""Processes that die between two chosen instructions, again and again in one directory.

What was acknowledged is there, what was under way is there whole or not at all, whatever was the
last instruction. (tests/durability/test_kill.py kills a whole server at any instruction.)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from durability.crash_child import DIMENSION, POINTS, open_index, options
from durability.crashes import Crash
from durability.ledger import Ledger, self_queries
from engines.subject import content_of, list_all, wait_until_indexed
from long_runs import Rounds
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.graph import Graph
from vectorbucket_server.engine.embedded.recovery import load_checkpoints
from vectorbucket_server.model import Query


def check(data_dir: Path, ledger: Ledger, seed: int) -> None:
    """Open what a crash left behind and check that it is what may be there, to every read."""
    engine = EmbeddedEngine(options(data_dir))
    engine.open()
    try:
        index = open_index(engine)
        ledger.settle(content_of(list(list_all(engine, index))))
        assert engine.index_statistics(index).vector_count == len(ledger.settled)
        if seed % 2:
            wait_until_indexed(engine, index)
        keys, queries = self_queries(ledger.settled, DIMENSION, 20, seed)
        found = engine.query_vectors(index, Query(queries, 1, return_metadata=True))
        assert [hits[0].key for hits in found] == keys
        got = engine.get_vectors(index, keys, data=True, metadata=True)
        assert [vector.data.tobytes() for vector in got if vector.data is not None] == [
            row.tobytes() for row in queries
        ]
    finally:
        engine.close()


def test_crash_at_any_point_loses_nothing_and_leaves_no_half(
    crash: Crash, tmp_path: Path, rounds: Rounds
) -> None:
    rng = np.random.default_rng(40)
    ledger = Ledger(DIMENSION)
    data_dir = tmp_path / "data"
    for seed in range(rounds(1, 15) * len(POINTS)):
        point = list(POINTS)[seed % len(POINTS)]
        nth = int(rng.integers(1, POINTS[point].comings_max + 1))
        crash(data_dir, seed, point, nth, ledger)
        check(data_dir, ledger, seed)
    assert ledger.acknowledged > 30


@pytest.mark.parametrize(
    ("point", "nth", "counts"),
    [
        ("before a child is waited for that writes a checkpoint", 1, {0}),
        ("after a child is waited for that writes a checkpoint", 1, {0}),
        ("before a checkpoint is named", 2, {1}),
        ("after a checkpoint is named", 1, {1}),
        ("after a checkpoint is named", 3, {1, 2}),  # 1 if a rebuild came before
        ("before the last step of a rebuild", 4, {0, 1, 2}),
        ("after the old generation goes", 4, {0, 1, 2}),
    ],
)
def test_start_after_a_crash_goes_on_with_the_checkpoint_that_the_store_names(  # noqa: PLR0917 - a table's columns
    crash: Crash,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    nth: int,
    counts: set[int],
) -> None:
    ledger, data_dir = Ledger(DIMENSION), tmp_path / "data"
    crash(data_dir, 5, point, nth, ledger)
    loads: list[Path] = []
    load = Graph.load

    def noted(path: Path, **named: Any) -> Graph:
        loads.append(path)
        return load(path, **named)

    monkeypatch.setattr(Graph, "load", noted)
    # Nothing is saved before the end, so what is named is what the crash left.
    engine = EmbeddedEngine(replace(options(data_dir), checkpoint_changes_min=1_000_000))
    engine.open()
    try:
        index = open_index(engine)
        (opened,) = engine._rooms()
        opened.load(NO_DEADLINE)
        generations = data_dir / "generations" / str(index.index_id)
        checkpoints = [
            generations / str(one.generation) / one.name
            for one in load_checkpoints(engine._store, index)
        ]
        assert len(checkpoints) in counts
        assert loads == [path / "graph.hnsw" for path in checkpoints[:1]]
        left = generations.glob("*/checkpoint-*")
        assert sorted(left) == sorted(checkpoints), "what was half written is gone"
        assert len(list(generations.iterdir())) == 1, "what was half rebuilt is gone"
    finally:
        engine.close()
    check(data_dir, ledger, 1)
