"""Whatever plan runs, the answer is the true one: plans are forced, and every vector looked at.

Method: small generations whose graph, asked broadly, holds nothing back; the oracle measures every
live vector in long double. Plans are given in place of the planner's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lives import Life, names
from oracles import draw_noise, random_filter, random_grid, random_metadata
from searches import (
    FILTERED,
    PLANS,
    RED,
    UNFILTERED,
    answer,
    check,
    fill,
    search_for,
    truth,
)
from vectorbucket.limits import OSS
from vectorbucket_server.engine.embedded import scan
from vectorbucket_server.engine.embedded import search as module
from vectorbucket_server.engine.embedded.planner import (
    ExactScan,
    GraphSearch,
    OverfetchedSearch,
    Plan,
)
from vectorbucket_server.filters.expression import Equals, Expression
from vectorbucket_server.filters.parser import parse
from vectorbucket_server.model import DistanceMetric, Float32Array


@pytest.fixture(autouse=True, params=["coded", "few"])
def fixture_coded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let codes look at small sets too, and once not."""
    if request.param == "coded":
        monkeypatch.setattr(scan, "_FEW_NUMBERS", 0)


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
    life.generation.close()


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
    assert [len(one.slots) for one in ranked] == [5] * 3
    assert all(view.live(one.slots).all() for one in ranked)


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


@pytest.mark.parametrize("metric", DistanceMetric)
@pytest.mark.parametrize("name", ["planned", *FILTERED])
def test_random_filters_find_what_looking_at_every_vector_finds(
    tmp_path: Path, force: Callable[[Plan], None], metric: DistanceMetric, name: str
) -> None:
    life, rng = Life(tmp_path, dimension=6, metric=metric), np.random.default_rng(1)
    life.put(names(400), None, [random_metadata(rng) for _ in range(400)])
    life.index_all()
    again = names(200)[::3]
    life.put(again, None, [random_metadata(rng) for _ in again])
    life.delete(names(80, 300)[::4])
    if name != "planned":
        force(FILTERED[name])
    found = 0
    for number in range(25):
        expression = parse(random_filter(rng), limits=OSS, non_filterable_keys=())
        check(life, draw_noise(2, 6, seed=number), 9, expression)
        found += bool(truth(life, draw_noise(1, 6, seed=1)[0], expression))
    assert found > 12, "filters that match nothing show nothing"
    life.generation.close()


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


def note_breadths(life: Life, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that takes the breadth of every search in the graph."""
    breadths: list[int] = []
    search = life.generation.search

    def note(queries: Float32Array, breadth: int, threads: int) -> object:
        breadths.append(breadth)
        return search(queries, breadth, threads)

    monkeypatch.setattr(life.generation, "search", note)
    return breadths


def test_search_that_finds_too_few_is_widened(
    life: Life, force: Callable[[Plan], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = [{"colour": "red" if number % 3 else "blue"} for number in range(2_000)]
    life.put(names(2_000), draw_noise(2_000, 4, seed=1), colours)
    life.index_all()
    breadths = note_breadths(life, monkeypatch)
    monkeypatch.setattr(module, "go_on", lambda *_, breadth, kept: 4 * breadth + 0 * kept)
    force(OverfetchedSearch(10))
    check(life, draw_noise(2, 4, seed=2), 7, RED)
    assert breadths == [10, 40, 160][: len(breadths)]
    assert len(breadths) > 1


def test_search_that_finds_nothing_is_completed_by_a_scan(
    life: Life, force: Callable[[Plan], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = draw_noise(2_000, 4, seed=1), draw_noise(40, 4, seed=2) + np.float32(1_000)
    life.put(names(2_000), near, [{"colour": "blue"}] * 2_000)
    life.put(names(40, 2_000), far, [{"colour": "red"}] * 40)
    life.index_all()
    life.put(names(3, 3_000), far[:3], [{"colour": "red"}] * 3)
    breadths = note_breadths(life, monkeypatch)
    force(OverfetchedSearch(100))
    check(life, near[:2], 7, RED)
    assert breadths == [100]
    # One query that the search serves and two that it does not, in one call.
    check(life, np.stack([near[0], far[1], near[2]]), 7, RED)


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


@pytest.mark.parametrize(("expression", "name"), PLANS)
@pytest.mark.parametrize("indexed", [0, 150, 400])
def test_hits_of_equal_distance_are_ranked_and_cut_by_key(
    life: Life,
    force: Callable[[Plan], None],
    indexed: int,
    expression: Expression | None,
    name: str,
) -> None:
    # Whole numbers, whose distances are exact, under keys in no order of their slots.
    keys = [names(400)[number] for number in np.random.default_rng(3).permutation(400)]
    rows = random_grid(np.random.default_rng(1), 400, 4)
    life.put(keys, rows, [{"colour": "red"}] * 400)
    life.generation.turn(indexed, 1)
    force((FILTERED if expression else UNFILTERED)[name])
    queries = random_grid(np.random.default_rng(2), 6, 4)
    for top_k in (1, 3, 20, 400):
        found = answer(search_for(life, queries, top_k, expression))
        for query, hits in zip(queries, found, strict=True):
            true = truth(life, query, expression)[:top_k]
            assert hits == sorted(hits)
            if name == "scan" or not indexed:
                assert [key for _, key in hits] == [key for _, key in true]
            elif "narrow" not in name:
                # Which of many equal ones a graph yields first is its own affair.
                assert [far for far, _ in hits] == pytest.approx([far for far, _ in true])


def test_vectors_that_are_all_equal_are_cut_by_key_whatever_the_plan(
    life: Life, force: Callable[[Plan], None]
) -> None:
    keys = [names(60)[number] for number in np.random.default_rng(3).permutation(60)]
    life.put(keys, np.ones((60, 4), np.float32), [{"colour": "red"}] * 60)
    for _ in range(2):
        for expression, name in PLANS:
            force((FILTERED if expression else UNFILTERED)[name])
            for top_k in (1, 7, 59, 60, 99):
                if name != "scan" and life.generation.graphed:
                    continue
                (hits,) = answer(search_for(life, np.zeros((1, 4), np.float32), top_k, expression))
                assert hits == [(2.0, key) for key in names(60)[:top_k]], (name, top_k)
        life.index_all()
