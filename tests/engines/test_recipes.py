"""Tests of recipes.py: each engine is in the state that its name says, or the suite tests less."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engines.recipes import RECIPES, Recipe, WatchingObserver, opened
from engines.subject import Subject, wait_until_indexed
from oracles import draw_mixture
from vectorbucket_server.engine.embedded.recovery import load_checkpoints
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Index


def put_and_query(subject: Subject, settle: Callable[[Index], None]) -> None:
    """Put, let it settle, and query with and without a filter."""
    index = subject.put_index(dimension=8)
    data = draw_mixture(300, 8, seed=90)
    keys = [f"k{number}" for number in range(300)]
    subject.put(index, keys, data, [{"even": number % 2 == 0} for number in range(300)])
    settle(index)
    for row in data[:5]:
        subject.query(index, row, top_k=3)
        subject.query(index, row, top_k=3, raw_filter={"even": True})


def test_scanning_engine_has_no_graph(tmp_path: Path) -> None:
    with opened(RECIPES["embedded-scanning"], tmp_path) as (subject, observer):
        put_and_query(subject, subject.settle)
        assert set(observer.plans) == {"exact_scan"}
        assert observer.indexed == 0


def test_indexed_engine_answers_from_its_graph(tmp_path: Path) -> None:
    with opened(RECIPES["embedded-indexed"], tmp_path) as (subject, observer):
        put_and_query(subject, subject.settle)
        assert observer.plans == {"graph_search": 5, "overfetched_search": 5}
        assert observer.indexed == 300


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.eager])
def test_eager_engine_asks_its_graph_however_few_vectors_there_are(
    name: str, tmp_path: Path
) -> None:
    with opened(RECIPES[name], tmp_path) as (subject, observer):
        put_and_query(subject, partial(wait_until_indexed, subject.engine))
        assert observer.plans == {"graph_search": 5, "overfetched_search": 5}


def test_indexing_engine_indexes_while_puts_go_on(tmp_path: Path) -> None:
    with opened(RECIPES["embedded-indexing"], tmp_path) as (subject, observer):
        index = subject.put_index()
        rng = np.random.default_rng(91)
        for number in range(2_000):
            subject.put(index, [f"k{number}"], rng.standard_normal((1, 4)))
            if observer.indexed:
                break
        assert observer.indexed > 0


def test_restless_engine_rebuilds_and_saves_while_puts_go_on(tmp_path: Path) -> None:
    with opened(RECIPES["embedded-restless"], tmp_path) as (subject, _):
        index = subject.put_index()
        rng = np.random.default_rng(92)
        for _ in range(2_000):
            subject.put(index, [f"k{number}" for number in range(50)], rng.normal(size=(50, 4)))
            saved = load_checkpoints(subject.engine._store, index)  # type: ignore[attr-defined]
            if any(checkpoint.generation > 1 for checkpoint in saved):
                return
        raise AssertionError("no rebuilt graph was ever saved")


def test_failure_behind_the_scenes_is_a_failure_of_the_test(tmp_path: Path) -> None:
    def failing(_: Path, observer: WatchingObserver) -> MemoryEngine:
        observer.background_failed("indexing", RuntimeError("no room"))
        return MemoryEngine()

    with pytest.raises(AssertionError, match="no room"), opened(Recipe(failing), tmp_path):
        pass
