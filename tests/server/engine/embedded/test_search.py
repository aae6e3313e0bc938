"""Whatever plan runs, the answer is the true one: plans are forced, and every vector looked at.

Method: small generations whose graph, asked broadly, holds nothing back; the oracle measures every
live vector in long double. Plans are given in place of the planner's choice.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lives import Life, keys_of, names
from oracles import draw_mixture, draw_noise, random_grid
from rooms import GivenUp, eventually, restless, running
from vectorbucket.errors import RequestTimeout
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
from vectorbucket_server.engine.embedded import search as module
from vectorbucket_server.engine.embedded.generation import View
from vectorbucket_server.engine.embedded.planner import (
    ExactScan,
    GraphSearch,
    OverfetchedSearch,
    Plan,
)
from vectorbucket_server.engine.embedded.search import Search
from vectorbucket_server.filters.expression import Equals, Expression
from vectorbucket_server.filters.matcher import compile_matcher
from vectorbucket_server.model import DistanceMetric, Float32Array

RED = Equals("colour", "red")

UNFILTERED: dict[str, Plan] = {
    "scan": ExactScan(0),
    "graph": GraphSearch(400),
    "narrow graph": GraphSearch(12),
}
FILTERED: dict[str, Plan] = {
    "scan": ExactScan(0),
    "overfetched": OverfetchedSearch(400),
    "narrow overfetched": OverfetchedSearch(12),
}
PLANS = [(None, name) for name in UNFILTERED] + [(RED, name) for name in FILTERED]
"""A filter, or none, and the name of a plan that may run for it."""


@pytest.fixture(name="life")
def fixture_life(tmp_path: Path) -> Iterator[Life]:
    """Yield an empty generation of dimension 4."""
    life = Life(tmp_path)
    yield life
    life.generation.discard()


@pytest.fixture(name="force")
def fixture_force(monkeypatch: pytest.MonkeyPatch) -> Callable[[Plan], None]:
    """Return how to decide which plan runs."""
    return lambda plan: monkeypatch.setattr(module, "choose", lambda *_: plan)


def search_for(
    life: Life,
    queries: Float32Array,
    top_k: int,
    expression: Expression | None = None,
    *,
    deadline: Deadline = NO_DEADLINE,
) -> Search:
    """Return a search that was not run yet."""
    return Search(
        generation=life.generation,
        queries=life.generation.metric.preprocess(queries),
        top_k=top_k,
        filter=expression,
        ef_search=64,
        threads=1,
        deadline=deadline,
    )


def answer(search: Search) -> list[list[tuple[float, str]]]:
    """Return (distance, key) of what a search finds, as it ranks them, ties at the cut included."""
    _, view, ranked = search.run()
    return [
        list(zip(distances[valid].tolist(), view.keys.at(slots[valid]), strict=True))
        for slots, distances, valid in zip(
            ranked.slots, ranked.distances, ranked.valid, strict=True
        )
    ]


def truth(
    life: Life, query: Float32Array, expression: Expression | None = None
) -> list[tuple[float, str]]:
    """Return (distance, key) of every vector that takes part, nearest first, then by key."""
    matches = compile_matcher(expression) if expression else lambda _: True
    wanted = query.astype(np.longdouble)
    found = []
    for key in life.labels:
        if not matches(life.metadata[key]):
            continue
        row = life.rows[key].astype(np.longdouble)
        if life.metric is DistanceMetric.EUCLIDEAN:
            far = np.sqrt(((row - wanted) ** 2).sum())
        else:
            far = 1 - (row @ wanted) / np.sqrt((row @ row) * (wanted @ wanted))
        found.append((float(far), key))
    return sorted(found)


def check(
    life: Life,
    queries: Float32Array,
    top_k: int,
    expression: Expression | None = None,
) -> None:
    """Run a search and compare it with the truth, distance by distance."""
    # Under cosine a row is rounded to float32 once more, when it is scaled.
    slack = 3e-7 if life.metric is DistanceMetric.COSINE else 0.0
    found = answer(search_for(life, queries, top_k, expression))
    assert len(found) == len(queries)
    for query, hits in zip(queries, found, strict=True):
        true = truth(life, query, expression)
        distances = {key: far for far, key in true}
        assert len(hits) >= min(top_k, len(true))
        assert len({key for _, key in hits}) == len(hits)
        assert [far for far, _ in hits] == sorted(far for far, _ in hits)
        for position, (far, key) in enumerate(hits[:top_k]):
            assert far == pytest.approx(distances[key], rel=1e-9, abs=slack)
            assert far == pytest.approx(true[position][0], rel=1e-9, abs=slack)


def fill(life: Life, count: int, *, indexed: int, red: float = 0.4) -> None:
    """Put noise of which some is red, put a part of it into the graph, and let some of it die.

    Every ninth is overwritten, every seventh deleted: before its turn, and after.
    """
    keys, rng = names(count), np.random.default_rng(count)
    colours = [{"colour": "red" if rng.random() < red else "blue"} for _ in keys]
    dimension = life.generation.view.rows.shape[1]
    life.put(keys, draw_noise(count, dimension, seed=3), colours)
    life.delete(keys[::7][::2])
    while life.generation.graphed < indexed:
        life.generation.turn(min(50, indexed - life.generation.graphed), 1)
    life.delete(keys[::7][1::2])
    again = [key for key in keys[::9] if key in life.labels]
    life.put(again, draw_noise(len(again), dimension, seed=4), [{"colour": "red"} for _ in again])


# --- Every plan -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("expression", "name"), PLANS)
@pytest.mark.parametrize("metric", DistanceMetric)
@pytest.mark.parametrize("indexed", [0, 150, 300])
def test_every_plan_finds_the_true_nearest(  # noqa: PLR0917 - a table's columns
    tmp_path: Path,
    force: Callable[[Plan], None],
    metric: DistanceMetric,
    indexed: int,
    expression: Expression | None,
    name: str,
) -> None:
    life = Life(tmp_path, dimension=6, metric=metric)
    fill(life, 300, indexed=indexed)
    force((FILTERED if expression else UNFILTERED)[name])
    for top_k in (1, 10, 1_000):
        # A narrow search is only as good as the graph, unless it is asked for more than it has.
        if "narrow" not in name or top_k > 10:
            check(life, draw_noise(7, 6, seed=5), top_k, expression)
    life.generation.discard()


@pytest.mark.parametrize(("expression", "name"), PLANS)
def test_plan_that_ran_is_returned_with_the_view_of_its_answer(
    life: Life, force: Callable[[Plan], None], expression: Expression | None, name: str
) -> None:
    fill(life, 200, indexed=120)
    wanted = (FILTERED if expression else UNFILTERED)[name]
    force(wanted)
    plan, view, ranked = search_for(life, draw_noise(3, 4, seed=1), 5, expression).run()
    assert plan == wanted
    assert view.seq == life.seq
    assert view.live(ranked.slots[ranked.valid]).all()


@pytest.mark.parametrize(("expression", "name"), PLANS)
def test_many_queries_find_what_each_finds_alone(
    life: Life, force: Callable[[Plan], None], expression: Expression | None, name: str
) -> None:
    fill(life, 250, indexed=150)
    force((FILTERED if expression else UNFILTERED)[name])
    queries = draw_noise(30, 4, seed=1)
    together = answer(search_for(life, queries, 6, expression))
    for query, hits in zip(queries, together, strict=True):
        assert answer(search_for(life, query[None], 6, expression)) == [hits]


@pytest.mark.parametrize(("expression", "name"), PLANS)
@pytest.mark.parametrize("floats", [1, 64, 5_000])
def test_answer_does_not_depend_on_the_size_of_blocks(  # noqa: PLR0917 - a table's columns
    life: Life,
    force: Callable[[Plan], None],
    monkeypatch: pytest.MonkeyPatch,
    floats: int,
    expression: Expression | None,
    name: str,
) -> None:
    fill(life, 250, indexed=150)
    force((FILTERED if expression else UNFILTERED)[name])
    queries = draw_noise(9, 4, seed=1)
    whole = answer(search_for(life, queries, 6, expression))
    monkeypatch.setattr(module, "_BLOCK_FLOATS", floats)
    in_blocks = answer(search_for(life, queries, 6, expression))
    assert [[key for _, key in hits] for hits in in_blocks] == [
        [key for _, key in hits] for hits in whole
    ]


def test_planner_is_asked_with_the_numbers_of_the_index(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def note(*arguments: object) -> Plan:
        asked.extend(arguments)
        return ExactScan(0)

    monkeypatch.setattr(module, "choose", note)
    fill(life, 100, indexed=60)
    search_for(life, draw_noise(1, 4, seed=1), 5, RED).run()
    statistics, top_k, ef_search = asked
    red = sum(life.metadata[key] == {"colour": "red"} for key in life.labels)
    assert (top_k, ef_search) == (5, 64)
    assert statistics.live == len(life.labels)  # type: ignore[attr-defined]
    assert statistics.graph_rows == 60  # type: ignore[attr-defined]
    assert statistics.dimension == 4  # type: ignore[attr-defined]
    assert red <= statistics.matching <= 100 + len(life.labels)  # type: ignore[attr-defined]


# --- Few, none, far, dead -------------------------------------------------------------------------


@pytest.mark.parametrize("expression", [None, RED])
@pytest.mark.parametrize("queries", [1, 3])
def test_empty_index_answers_every_query_with_nothing(
    life: Life, expression: Expression | None, queries: int
) -> None:
    assert answer(search_for(life, draw_noise(queries, 4, seed=1), 5, expression)) == [[]] * queries


@pytest.mark.parametrize(("expression", "name"), PLANS)
def test_index_whose_vectors_all_died_answers_with_nothing(
    life: Life, force: Callable[[Plan], None], expression: Expression | None, name: str
) -> None:
    life.put(names(40), None, [{"colour": "red"}] * 40)
    life.generation.turn(30, 1)
    life.delete(names(40))
    force((FILTERED if expression else UNFILTERED)[name])
    assert answer(search_for(life, draw_noise(2, 4, seed=1), 5, expression)) == [[], []]
    life.index_all()
    assert answer(search_for(life, draw_noise(2, 4, seed=1), 5, expression)) == [[], []]


@pytest.mark.parametrize("name", FILTERED)
def test_filter_that_nothing_matches_answers_with_nothing(
    life: Life, force: Callable[[Plan], None], name: str
) -> None:
    fill(life, 100, indexed=80)
    force(FILTERED[name])
    assert answer(search_for(life, draw_noise(2, 4, seed=1), 5, Equals("colour", "no"))) == [[], []]


@pytest.mark.parametrize("name", FILTERED)
def test_matches_that_are_all_pending_are_found(
    life: Life, force: Callable[[Plan], None], name: str
) -> None:
    life.put(names(100), None, [{"colour": "blue"}] * 100)
    life.index_all()
    life.put(names(20, 100), None, [{"colour": "red"}] * 20)
    force(FILTERED[name])
    check(life, draw_noise(4, 4, seed=1), 8, RED)


@pytest.mark.parametrize("name", FILTERED)
def test_matches_that_all_died_are_not_found(
    life: Life, force: Callable[[Plan], None], name: str
) -> None:
    life.put(names(100), None, [{"colour": "red" if n < 30 else "blue"} for n in range(100)])
    life.index_all()
    life.delete(names(30))
    force(FILTERED[name])
    for _ in range(2):
        assert answer(search_for(life, draw_noise(2, 4, seed=1), 8, RED)) == [[], []]
        life.index_all()


@pytest.mark.parametrize("name", FILTERED)
def test_matches_far_from_the_query_are_found(
    life: Life, force: Callable[[Plan], None], name: str
) -> None:
    near, far = draw_noise(300, 4, seed=1), draw_noise(40, 4, seed=2) + np.float32(1_000)
    life.put(names(300), near, [{"colour": "blue"}] * 300)
    life.put(names(40, 300), far, [{"colour": "red"}] * 40)
    life.index_all()
    force(FILTERED[name])
    check(life, near[:5], 7, RED)


def test_search_that_finds_too_few_is_widened_and_then_replaced_by_a_scan(
    life: Life, force: Callable[[Plan], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = draw_noise(2_000, 4, seed=1), draw_noise(40, 4, seed=2) + np.float32(1_000)
    life.put(names(2_000), near, [{"colour": "blue"}] * 2_000)
    life.put(names(40, 2_000), far, [{"colour": "red"}] * 40)
    life.index_all()
    breadths: list[int] = []
    search = life.generation.search

    def note(queries: Float32Array, breadth: int, threads: int) -> object:
        breadths.append(breadth)
        return search(queries, breadth, threads)

    monkeypatch.setattr(life.generation, "search", note)
    force(OverfetchedSearch(10))
    check(life, near[:2], 7, RED)
    assert breadths[0] == 10
    assert len(breadths) > 1
    assert breadths == sorted(set(breadths))
    assert breadths[-1] <= 2_040


def test_search_in_a_graph_of_mostly_dead_vectors_still_finds_top_k(
    life: Life, force: Callable[[Plan], None]
) -> None:
    life.put(names(300))
    life.index_all()
    life.delete(names(290))
    force(GraphSearch(12))
    check(life, draw_noise(3, 4, seed=1), 10)
    life.index_all()
    check(life, draw_noise(3, 4, seed=1), 10)
    check(life, draw_noise(3, 4, seed=1), 11)


# --- Ties -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", [None, RED])
@pytest.mark.parametrize("metric", DistanceMetric)
def test_scan_returns_all_that_equal_the_last_hit(
    tmp_path: Path,
    force: Callable[[Plan], None],
    metric: DistanceMetric,
    expression: Expression | None,
) -> None:
    life = Life(tmp_path, metric=metric)
    rows = random_grid(np.random.default_rng(1), 400, 4)
    life.put(names(400), rows, [{"colour": "red"}] * 400)
    force(ExactScan(0))
    queries = random_grid(np.random.default_rng(2), 6, 4)
    for top_k in (1, 3, 20):
        for query, hits in zip(
            queries, answer(search_for(life, queries, top_k, expression)), strict=True
        ):
            true = truth(life, query, expression)
            cut = true[top_k - 1][0] + 1e-9
            kept = {key for far, key in hits if far <= hits[top_k - 1][0]}
            assert kept >= {key for far, key in true if far <= cut - 2e-9}
            if metric is DistanceMetric.EUCLIDEAN:
                assert kept == {key for far, key in true if far <= cut}
    life.generation.discard()


def test_ranked_says_whether_there_are_ties(life: Life, force: Callable[[Plan], None]) -> None:
    rows = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [3, 0, 0, 0], [0, 0, 0, 4]], np.float32)
    life.put(names(4), rows)
    force(ExactScan(0))
    origin = np.zeros((1, 4), np.float32)
    assert search_for(life, origin, 3).run()[2].has_ties
    assert not search_for(life, rows[2:3], 1).run()[2].has_ties


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
    life.generation.discard()


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
    life.generation.discard()


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
    views: list[View] = []

    def ask() -> None:
        for _ in range(200):
            _, view, ranked = search_for(life, draw_noise(1, 4, seed=1), 1_000).run()
            views.append(view)
            found = keys_of(view, ranked.slots[ranked.valid].tolist())
            assert found == keys_of(view), f"at seq {view.seq}"

    with restless(), running(ask):
        for number in range(200):
            life.put(names(3, 50 + number * 3))
            life.delete(names(2, 50 + number * 3))
    assert len({view.seq for view in views}) > 1
