"""How a query will run: statistics in, a plan value out.

    no graph                ExactScan
    no filter               GraphSearch, or ExactScan where the index is small or top_k large
    filter                  ExactScan over the matches, or OverfetchedSearch, which asks the graph
                            for so many that top_k matches should be among them

Always whichever is estimated to be quicker. A plan is only a guess: whoever runs it looks at what
it found and asks ``go_on`` what to do when that is too little.

Rules of this file: pure; no clock, no graph, no bitmap. The constants are measured, and their
source stands beside them.

Source: the single decision of qdrant's ``hnsw/read_view/dispatch.rs``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias


@dataclass(frozen=True, slots=True)
class ExactScan:
    """Look at every vector that takes part."""

    name: ClassVar[str] = "exact_scan"
    rows: int
    """How many take part, about."""


@dataclass(frozen=True, slots=True)
class GraphSearch:
    """Ask the graph; scan what is pending."""

    name: ClassVar[str] = "graph_search"
    breadth: int
    """How many to ask for."""


@dataclass(frozen=True, slots=True)
class OverfetchedSearch:
    """Ask the graph for more than wanted, keep what matches; scan what is pending and matches."""

    name: ClassVar[str] = "overfetched_search"
    breadth: int
    """How many to ask for."""


Plan: TypeAlias = ExactScan | GraphSearch | OverfetchedSearch

# Seconds of one thread (2 cores, AVX-512, hnswlib 0.8.0 with m = 16, simsimd 6.5.16), on the sample
# of 20,000 × 384 and on mixtures of 100,000 × 128 and 50,000 × 768. Only their ratios matter. Other
# work ran on the cores; ranges are of the 5th percentile and the median. Gathered rows are taken to
# cost more than the least that was measured, because they suffer most from such work.
#
#   graph, breadth 64 / 200         128–195 / 321–528 µs   124–148 / 396–443   443–536 / 1,460–1,630
#   codes of all rows               293 µs                 780                 1,470–1,730
#   codes of half the rows, gathered 283                   840–1,150           3,070–3,600
#   codes of a tenth, gathered      59                     134                 284–313
_GRAPH_FIXED_S = 25e-6
_STEP_FIXED_S = 0.5e-6
_STEP_NUMBER_S = 2.0e-9
"""For each number of a row and each doubling of the graph beyond ``_CACHED_ROWS``: the larger the
graph, the more of its rows come from memory and the farther is the way."""
_CACHED_ROWS = 5_000

_SCAN_FIXED_S = 60e-6
_ROW_FIXED_S = 5e-9
_ROW_NUMBER_S = 28e-12
_GATHER_NUMBER_S = 80e-12
"""What a row's numbers cost on top when the rows lie apart and are copied together first."""
_SCORED_FIXED_S = 15e-6
_SCORED_ROW_S = 10e-9
_SCORED_NUMBER_S = 0.7e-9
"""What it takes to score all that takes part at once, which is quicker where it is little: within a
fifth at 65,000 to 260,000 numbers and 128 to 768 dimensions, a third too little at 16."""
_SEEN_S = 1.5e-9
"""What looking up a slot that matches costs, whatever the dimension."""

_OVERFETCH_GROWTH = 0.25
"""How much broader than by the share alone an overfetched search is, for each halving of the share:
what a search finds is less and less sure towards its end. Ten nearest that match at random, with 8
and 12 times as many matches come across as wanted: the sample 0.998 and 0.998 at a share of 0.5,
0.999 and 1.000 at 0.1; the mixture of 100,000 × 128 0.999 and 1.000, and 0.989 and 0.994; that of
50,000 × 768, whose clusters hold 50, 0.999 and 0.999, and 0.954 and 0.983: a scan is quicker there.
"""

_SURE_MAX = 4.0
_SURE_SHARE = 0.6
"""An answer is taken for good where the search would have been broad enough, but for this share,
without a filter and for as many as were found up to its last match; broader than four times that is
broad enough always. So matches may lie twice as far apart around the query as they do on average.
Where they lie together, as with ``arch = all`` in the sample, 8 times as many as wanted have a
recall of 0.979 by themselves, and 0.999 where those that are not sure are scanned for."""

_WIDEN_MIN = 2
_GRAPH_SHARE_MAX = 4
"""A search broader than the graph / 4 is no search any more."""

_RISK = 1.2
"""How many times quicker than a scan a search must be: it may come in vain, where matches and query
lie apart, and then the scan comes on top."""


class Statistics(NamedTuple):
    """What a plan depends on."""

    live: int
    """Live vectors of the index."""
    graph_rows: int
    """Slots that the graph holds; 0 if there is none."""
    matching: int | None
    """Slots that match the filter; None without a filter."""
    dimension: int
    queries: int = 1
    """Queries in the call: they share what is read."""


def choose(statistics: Statistics, top_k: int, ef_search: int) -> Plan:
    """Return the plan that is estimated to be the quickest.

    Args:
        statistics: Of the index and of the filter's matches.
        top_k: Hits wanted.
        ef_search: The least breadth of a search in the graph.
    """
    if statistics.matching is None:
        breadth = breadth_for(top_k, ef_search)
        if not statistics.graph_rows or _scan_s(statistics) < _graph_s(breadth, statistics):
            return ExactScan(statistics.live)
        return GraphSearch(breadth)
    matching = statistics.matching
    if not statistics.graph_rows or not matching:
        return ExactScan(matching)
    share = min(1.0, matching / max(statistics.live, 1))
    breadth = _overfetched(top_k, ef_search, share)
    if _scan_s(statistics) < _RISK * _graph_s(breadth, statistics):
        return ExactScan(matching)
    return OverfetchedSearch(breadth)


def breadth_for(top_k: int, ef_search: int) -> int:
    """Return how broad a search must be that top_k of what it finds are the nearest.

    A breadth of top_k alone has a recall of 0.967 at top_k 100, twice that 0.992 (the sample); at
    the default of 96 this is 96 up to a top_k of 24, 148 at 50, and 248 at 100.
    """
    return max(ef_search, ef_search // 2 + 2 * top_k)


def is_sure(top_k: int, ef_search: int, *, breadth: int, last: int) -> bool:
    """Return whether an overfetched answer is to be trusted.

    Args:
        top_k: Hits wanted.
        ef_search: The least breadth of a search in the graph.
        breadth: Of the search.
        last: How many were found up to the last match of the answer.
    """
    broad_enough = min(_SURE_MAX, _SURE_SHARE * breadth_for(top_k, ef_search) / top_k)
    return last * broad_enough <= breadth


def go_on(
    statistics: Statistics, top_k: int, ef_search: int, *, breadth: int, kept: int
) -> int | None:
    """Return how broad to search after a search that found too few; None when a scan is due.

    Args:
        statistics: Of the index and of the filter's matches.
        top_k: Hits wanted.
        ef_search: The least breadth of a search in the graph.
        breadth: Of that search.
        kept: How many of what it found take part, for the query that is worst off.
    """
    wider = max(_overfetched(top_k, ef_search, (kept + 0.5) / breadth), _WIDEN_MIN * breadth)
    too_wide = wider * _GRAPH_SHARE_MAX > statistics.graph_rows
    return None if too_wide or _scan_s(statistics) < _graph_s(wider, statistics) else wider


def _overfetched(top_k: int, ef_search: int, share: float) -> int:
    """Return how broad a search must be that a share of what it finds holds the nearest top_k."""
    growth = 1.0 - _OVERFETCH_GROWTH * math.log2(share)
    return math.ceil(breadth_for(top_k, ef_search) * growth / share)


def _graph_s(breadth: int, statistics: Statistics) -> float:
    """Return the estimated seconds a query of a search of this breadth."""
    doublings = max(1.0, math.log2(max(statistics.graph_rows, 1) / _CACHED_ROWS))
    step_s = _STEP_FIXED_S + statistics.dimension * _STEP_NUMBER_S * doublings
    return _GRAPH_FIXED_S + breadth * step_s


def _scan_s(statistics: Statistics) -> float:
    """Return the estimated seconds a query of a scan of all that takes part."""
    live, matching, dimension = statistics.live, statistics.matching, statistics.dimension
    row_s = _ROW_FIXED_S + dimension * _ROW_NUMBER_S
    rows = live if matching is None else matching
    scored_s = _SCORED_FIXED_S + rows * (_SCORED_ROW_S + dimension * _SCORED_NUMBER_S)
    if matching is None:
        return min(scored_s, _SCAN_FIXED_S + live * row_s)
    gathered_s = matching * (row_s + dimension * _GATHER_NUMBER_S / statistics.queries)
    whole_s = max(live, matching) * row_s
    return min(scored_s, _SCAN_FIXED_S + min(gathered_s, whole_s) + matching * _SEEN_S)
