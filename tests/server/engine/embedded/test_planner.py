"""Statistics in, a plan out: tables of what is clear, and what holds wherever the costs cross."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorbucket_server.engine.embedded.planner import (
    ExactScan,
    GraphSearch,
    OverfetchedSearch,
    Plan,
    Statistics,
    choose,
)

EF = 64

QUICK = settings(derandomize=True, database=None, deadline=None, max_examples=300)


def plan_for(
    live: int,
    *,
    matching: int | None = None,
    graph_rows: int | None = None,
    dimension: int = 384,
    top_k: int = 10,
    ef_search: int = EF,
) -> Plan:
    """Return the plan of an index whose graph holds everything, unless said otherwise."""
    statistics = Statistics(live, live if graph_rows is None else graph_rows, matching, dimension)
    return choose(statistics, top_k, ef_search)


@pytest.mark.parametrize(
    ("live", "matching", "plan"),
    [
        (0, None, ExactScan(0)),
        (1, None, ExactScan(1)),
        (5_000_000, None, ExactScan(5_000_000)),
        (100, 0, ExactScan(0)),
        (100, 7, ExactScan(7)),
        (5_000_000, 4_000_000, ExactScan(4_000_000)),
    ],
)
def test_index_without_a_graph_is_scanned(live: int, matching: int | None, plan: Plan) -> None:
    assert plan_for(live, matching=matching, graph_rows=0) == plan


@pytest.mark.parametrize(
    ("live", "top_k", "plan"),
    [
        (100, 1, ExactScan(100)),
        (100_000, 1, GraphSearch(EF)),
        (100_000, 63, GraphSearch(EF)),
        (100_000, 64, GraphSearch(EF)),
        (100_000, 100, GraphSearch(100)),
        (1_000_000, 1_000, GraphSearch(1_000)),
        (20_000, 20_000, ExactScan(20_000)),
    ],
)
def test_query_without_a_filter_asks_the_graph_of_a_large_index(
    live: int, top_k: int, plan: Plan
) -> None:
    assert plan_for(live, top_k=top_k) == plan


@pytest.mark.parametrize(
    ("share", "kind"),
    [
        (0.5, OverfetchedSearch),
        (0.1, OverfetchedSearch),
        (0.05, ExactScan),
        (0.02, ExactScan),
        (0.0, ExactScan),
    ],
)
def test_plan_under_a_filter_is_the_one_that_was_measured_to_be_quicker(
    share: float, kind: type[Plan]
) -> None:
    # 63,666 × 384, top 10, matches at random: the table in the first measurements.
    assert isinstance(plan_for(63_666, matching=int(63_666 * share)), kind)


def test_scan_under_a_filter_is_of_the_matches() -> None:
    assert plan_for(1_000_000, matching=12) == ExactScan(12)
    assert plan_for(1_000_000, matching=0) == ExactScan(0)


@pytest.mark.parametrize("top_k", [1, 10, 100])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.2])
def test_overfetched_search_asks_for_enough_that_top_k_should_match(
    top_k: int, share: float
) -> None:
    plan = plan_for(10_000_000, matching=int(10_000_000 * share), top_k=top_k)
    assert isinstance(plan, OverfetchedSearch)
    assert plan.breadth >= EF
    assert plan.breadth * share >= 4 * top_k - 1


def test_filter_that_everything_matches_costs_no_more_than_a_few_times_top_k() -> None:
    plan = plan_for(10_000_000, matching=10_000_000, top_k=10)
    assert isinstance(plan, OverfetchedSearch)
    assert plan.breadth <= 10 * EF


def test_dead_slots_among_the_matches_do_not_raise_the_share_above_all() -> None:
    assert plan_for(1_000_000, matching=3_000_000) == plan_for(1_000_000, matching=1_000_000)


@pytest.mark.parametrize("matching", [None, 0, 5])
def test_index_whose_vectors_all_died_is_planned_nevertheless(matching: int | None) -> None:
    assert isinstance(plan_for(0, matching=matching, graph_rows=1_000), ExactScan)


def test_more_dimensions_make_a_scan_dearer() -> None:
    # At a few thousand vectors, where both cost about the same at 384 dimensions.
    kinds = [type(plan_for(2_000, dimension=dimension)) for dimension in (2, 16, 4_096)]
    assert kinds[0] is ExactScan
    assert kinds == sorted(kinds, key=[ExactScan, GraphSearch].index)


def test_broader_searches_make_a_scan_more_likely() -> None:
    assert isinstance(plan_for(50_000, ef_search=16), GraphSearch)
    assert isinstance(plan_for(50_000, ef_search=50_000), ExactScan)


STATISTICS = {
    "live": st.integers(0, 10**8),
    "dimension": st.integers(1, 4_096),
    "top_k": st.integers(1, 10_000),
    "ef_search": st.integers(1, 1_000),
}


@QUICK
@given(**STATISTICS, matching=st.none() | st.integers(0, 10**8), has_graph=st.booleans())
def test_plan_fits_what_was_asked(
    *,
    live: int,
    dimension: int,
    top_k: int,
    ef_search: int,
    matching: int | None,
    has_graph: bool,
) -> None:
    plan = plan_for(
        live,
        matching=matching,
        graph_rows=live if has_graph else 0,
        dimension=dimension,
        top_k=top_k,
        ef_search=ef_search,
    )
    match plan:
        case ExactScan(rows):
            assert rows == (live if matching is None else matching)
        case GraphSearch(breadth):
            assert has_graph
            assert matching is None
            assert breadth == max(ef_search, top_k)
        case OverfetchedSearch(breadth):
            assert has_graph
            assert matching
            assert breadth >= max(ef_search, top_k)


@QUICK
@given(**STATISTICS)
def test_fewer_matches_never_turn_a_scan_into_a_search(
    live: int, dimension: int, top_k: int, ef_search: int
) -> None:
    scanned = True
    for matching in sorted(live * step // 64 for step in range(65)):
        plan = plan_for(
            live, matching=matching, dimension=dimension, top_k=top_k, ef_search=ef_search
        )
        scans = isinstance(plan, ExactScan)
        assert scanned or not scans
        scanned = scans


def test_plans_have_names_of_their_own() -> None:
    names = {plan.name for plan in (ExactScan, GraphSearch, OverfetchedSearch)}
    assert names == {"exact_scan", "graph_search", "overfetched_search"}
