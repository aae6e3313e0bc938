"""Searches at the ends of float32, of a caller's patience, and beside a writer."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lives import Life, keys_of, names
from oracles import draw_mixture, draw_noise
from rooms import GivenUp, eventually, restless, running
from searches import (
    FILTERED,
    PLANS,
    UNFILTERED,
    answer,
    check,
    fill,
    search_for,
)
from vectorbucket.errors import RequestTimeout
from vectorbucket_server.engine.embedded import scan
from vectorbucket_server.engine.embedded.planner import (
    ExactScan,
    GraphSearch,
    Plan,
)
from vectorbucket_server.filters.expression import Expression
from vectorbucket_server.model import DistanceMetric


@pytest.fixture(autouse=True)
def fixture_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let codes look at small sets too."""
    monkeypatch.setattr(scan, "_FEW_NUMBERS", 0)


# --- Numbers at the ends of float32 ---------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [1e-45, 1e-38, 1e-30, 3e-23, 1e-20, 1e18, 9e18, 1.5e19, 1e30, 3e38]
)
@pytest.mark.parametrize("metric", DistanceMetric)
def test_scan_is_exact_where_squares_leave_float32(
    tmp_path: Path, force: Callable[[Plan], None], metric: DistanceMetric, size: float
) -> None:
    life = Life(tmp_path, metric=metric)
    rng = np.random.default_rng(1)
    rows = (rng.uniform(-1, 1, (120, 4)) * size).astype(np.float32)
    rows[~rows.any(axis=1), 0] = 1e-45
    life.put(names(120), rows)
    force(ExactScan(0))
    queries = rows[:6].copy()
    queries[3:, 0] *= np.float32(0.5)
    queries[~queries.any(axis=1), 0] = 1e-45
    check(life, queries, 5)
    life.generation.close()


@pytest.mark.parametrize("size", [1e-30, 1e18, 9e18, 1e30, 3e38])
def test_one_vector_of_another_size_spoils_no_answer(
    life: Life, force: Callable[[Plan], None], size: float
) -> None:
    rows = draw_noise(100, 4, seed=1)
    rows[50] = size
    life.put(names(100), rows)
    force(ExactScan(0))
    check(life, draw_noise(5, 4, seed=2), 7)
    check(life, rows[49:51], 7)


def test_neighbours_that_float32_cannot_tell_apart_are_ranked_exactly(
    tmp_path: Path, force: Callable[[Plan], None]
) -> None:
    life = Life(tmp_path, dimension=64)
    base = draw_mixture(1, 64, seed=1)[0] * np.float32(100)
    rows = np.tile(base, (200, 1))
    rows[np.arange(200), np.arange(200) % 64] += np.linspace(1e-5, 1e-3, 200, dtype=np.float32)
    life.put(names(200), rows)
    for plan in (ExactScan(0), GraphSearch(400)):
        force(plan)
        check(life, base[None], 5)
        life.index_all()
    life.generation.close()


# --- Deadlines and races --------------------------------------------------------------------------


@pytest.mark.parametrize(("expression", "name"), PLANS)
def test_caller_who_has_given_up_gets_no_answer(
    life: Life, force: Callable[[Plan], None], expression: Expression | None, name: str
) -> None:
    fill(life, 100, indexed=60)
    force((FILTERED if expression else UNFILTERED)[name])
    with pytest.raises(RequestTimeout):
        search_for(life, draw_noise(1, 4, seed=1), 5, expression, deadline=GivenUp()).run()


@pytest.mark.parametrize(("expression", "name"), PLANS)
def test_no_key_is_missed_or_doubled_while_it_is_overwritten(
    life: Life, force: Callable[[Plan], None], expression: Expression | None, name: str
) -> None:
    keys = names(24)
    life.put(keys, None, [{"colour": "red"}] * 24)
    force((FILTERED if expression else UNFILTERED)[name])
    done = threading.Event()
    wrong: list[list[str]] = []
    checks = itertools.count()
    query = draw_noise(1, 4, seed=1)

    def index() -> None:
        while not done.is_set():
            life.generation.turn(5, 1)

    def ask() -> None:
        while not done.is_set():
            (hits,) = answer(search_for(life, query, 24, expression))
            found = sorted(key for _, key in hits)
            if found != keys:
                wrong.append(found)
            next(checks)

    with restless(), running(index), running(ask, times=2):
        numbers = itertools.count()

        def overwrite() -> bool:
            number = next(numbers)
            some = [keys[number % 24], keys[number * 5 % 24 - 1]][: 1 + number % 2]
            life.put(some, None, [{"colour": "red"}] * len(some))
            return number > 100 and next(checks) > 60

        eventually(overwrite, "enough was overwritten and looked for")
        done.set()
    assert wrong == []


def test_answer_belongs_to_one_view_though_vectors_come_and_go(life: Life) -> None:
    life.put(names(50))
    seqs: set[int] = set()
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            _, view, ranked = search_for(life, draw_noise(1, 4, seed=1), 1_000).run()
            found = keys_of(view, ranked[0].slots.tolist())
            assert found == keys_of(view), f"at seq {view.seq}"
            seqs.add(view.seq)

    numbers = itertools.count(50, 3)

    def come_and_go() -> bool:
        number = next(numbers)
        life.put(names(3, number))
        life.delete(names(2, number))
        return len(seqs) > 50

    with restless(), running(ask):
        eventually(come_and_go, "many views were looked at")
        done.set()
