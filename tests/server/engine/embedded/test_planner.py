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
    breadth_for,
    choose,
    go_on,
    is_sure,
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
        (100_000, 16, GraphSearch(EF)),
        (100_000, 50, GraphSearch(132)),
        (100_000, 100, GraphSearch(232)),
        (1_000_000, 1_000, GraphSearch(2_032)),
        (20_000, 20_000, ExactScan(20_000)),
    ],
)
def test_query_without_a_filter_asks_the_graph_of_a_large_index(
    live: int, top_k: int, plan: Plan
) -> None:
    assert plan_for(live, top_k=top_k) == plan


@pytest.mark.parametrize(
    ("top_k", "breadth"), [(1, 64), (10, 64), (16, 64), (17, 66), (50, 132), (100, 232)]
)
def test_breadth_grows_with_top_k(top_k: int, breadth: int) -> None:
    assert breadth_for(top_k, EF) == breadth


@pytest.mark.parametrize(
    ("live", "dimension", "share", "kind"),
    [
        (20_000, 384, 0.5, ExactScan),
        (20_000, 384, 0.1, ExactScan),
        (63_666, 384, 0.5, OverfetchedSearch),
        (63_666, 384, 0.1, ExactScan),
        (63_666, 384, 0.02, ExactScan),
        (100_000, 128, 0.5, OverfetchedSearch),
        (100_000, 128, 0.1, ExactScan),
        (50_000, 768, 0.5, OverfetchedSearch),
        (50_000, 768, 0.05, ExactScan),
        (100_000, 128, 0.0, ExactScan),
    ],
)
def test_plan_under_a_filter_is_the_one_that_was_measured_to_be_quicker(
    live: int, dimension: int, share: float, kind: type[Plan]
) -> None:
    # Top 10, matches at random.
    assert isinstance(plan_for(live, matching=int(live * share), dimension=dimension), kind)


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
    assert plan.breadth * share >= breadth_for(top_k, EF)


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
            assert breadth >= max(ef_search, 2 * top_k)
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


def statistics_of(matching: int, live: int = 5_000_000, dimension: int = 128) -> Statistics:
    """Return the statistics of a large index whose graph holds everything."""
    return Statistics(live, live, matching, dimension)


def test_search_that_found_nothing_is_followed_by_a_scan() -> None:
    # As many again would be found in vain.
    few = statistics_of(50_000, live=100_000)
    assert go_on(few, 10, EF, breadth=160, kept=0) is None


def test_search_that_found_some_is_widened_as_far_as_those_were_apart() -> None:
    wider = go_on(statistics_of(2_500_000), 10, EF, breadth=160, kept=20)
    assert wider is not None
    assert 160 * 3 <= wider <= 160 * 6


def test_search_that_nearly_found_enough_is_twice_as_broad() -> None:
    assert go_on(statistics_of(5_000_000), 10, EF, breadth=160, kept=1_000) == 320


@given(
    live=st.integers(1, 10**8),
    share=st.floats(0, 1),
    top_k=st.integers(1, 10_000),
    breadth=st.integers(1, 100_000),
    found=st.floats(0, 1),
)
@QUICK
def test_search_is_widened_a_few_times_at_most(
    live: int, share: float, top_k: int, breadth: int, found: float
) -> None:
    wider = go_on(
        statistics_of(int(live * share), live),
        top_k,
        EF,
        breadth=breadth,
        kept=int(breadth * found),
    )
    assert wider is None or 2 * breadth <= wider <= live / 4


def test_search_without_a_filter_that_met_the_dead_is_widened_too() -> None:
    unfiltered = Statistics(1_000_000, 1_100_000, None, 128)
    assert go_on(unfiltered, 10, EF, breadth=64, kept=5) is not None
    assert go_on(Statistics(100, 1_000, None, 128), 10, EF, breadth=64, kept=5) is None


@pytest.mark.parametrize(
    ("top_k", "breadth", "last", "sure"),
    [
        (10, 160, 20, True),
        (10, 160, 41, True),
        (10, 160, 42, False),
        (100, 580, 200, True),
        (100, 580, 400, True),
        (100, 580, 450, False),
        (1, 128, 32, True),
        (1, 128, 33, False),
    ],
)
def test_answer_is_sure_that_was_found_early(
    top_k: int, breadth: int, last: int, *, sure: bool
) -> None:
    assert is_sure(top_k, EF, breadth=breadth, last=last) is sure


@pytest.mark.parametrize("share", [1.0, 0.5, 0.2])
@pytest.mark.parametrize("top_k", [1, 10, 50, 100])
def test_matches_as_far_apart_as_on_average_are_sure(share: float, top_k: int) -> None:
    plan = plan_for(10_000_000, matching=int(10_000_000 * share), top_k=top_k)
    assert isinstance(plan, OverfetchedSearch)
    assert is_sure(top_k, EF, breadth=plan.breadth, last=int(1.5 * top_k / share))


def test_many_queries_share_what_a_scan_reads() -> None:
    one = Statistics(1_000_000, 1_000_000, 150_000, 128)
    many = Statistics(1_000_000, 1_000_000, 150_000, 128, queries=100)
    assert isinstance(choose(one, 10, EF), OverfetchedSearch)
    assert isinstance(choose(many, 10, EF), ExactScan)


def test_plans_have_names_of_their_own() -> None:
    names = {plan.name for plan in (ExactScan, GraphSearch, OverfetchedSearch)}
    assert names == {"exact_scan", "graph_search", "overfetched_search"}
