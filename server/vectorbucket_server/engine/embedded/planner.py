"""How a query will run: statistics in, a plan value out.

    no graph                          ExactScan
    no filter                         GraphSearch, or ExactScan where top_k wants a large share of
    all
    filter                            whichever is estimated cheaper: ExactScan over the matches, or
                                      OverfetchedSearch, which asks the graph for so many that top_k
                                      matches should be among them

A plan is only a guess at the cheapest way: whoever runs it widens or falls back to an exact scan
rather than return too few.

Rules of this file: pure; no clock, no graph, no bitmap. The constants are measured, and their
source stands beside them.

Source: the single decision of qdrant's ``hnsw/read_view/dispatch.rs``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, TypeAlias


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

# Seconds, at 384 dimensions, on the machine of the first measurements (2 cores, AVX-512): graph
# search 117 µs at breadth 32 and 525 µs at 200; a gathered row of an exact scan 0.2 µs, a
# contiguous one 0.1 µs. Only their ratios matter. The part of a row's cost that does not grow with
# the dimension is small.
_GRAPH_FIXED_S = 45e-6
_GRAPH_STEP_S = 2.4e-6
_GATHERED_ROW_S = 0.2e-6
_CONTIGUOUS_ROW_S = 0.1e-6
_SCAN_FIXED_S = 15e-6
_MEASURED_DIMENSION = 384

_OVERFETCH = 4
"""Candidates asked for, for each match wanted, at random matches: recall 0.99 (first measurements).
"""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a plan depends on."""

    live: int
    """Live vectors of the index."""
    graph_rows: int
    """Slots that the graph holds; 0 if there is none."""
    matching: int | None
    """Slots that match the filter; None without a filter."""
    dimension: int


def choose(statistics: Statistics, top_k: int, ef_search: int) -> Plan:
    """Return the plan that is estimated to be the cheapest.

    Args:
        statistics: Of the index and of the filter's matches.
        top_k: Hits wanted.
        ef_search: The least breadth of a search in the graph.
    """
    scale = statistics.dimension / _MEASURED_DIMENSION
    if statistics.matching is None:
        breadth = max(ef_search, top_k)
        scan_s = _SCAN_FIXED_S + statistics.live * _CONTIGUOUS_ROW_S * scale
        if not statistics.graph_rows or scan_s < _graph_s(breadth, scale):
            return ExactScan(statistics.live)
        return GraphSearch(breadth)
    matching = statistics.matching
    scan_s = _SCAN_FIXED_S + matching * _GATHERED_ROW_S * scale
    share = min(1.0, matching / max(statistics.live, 1))
    if not statistics.graph_rows or not matching:
        return ExactScan(matching)
    breadth = max(ef_search, math.ceil(_OVERFETCH * top_k / share))
    if scan_s < _graph_s(breadth, scale):
        return ExactScan(matching)
    return OverfetchedSearch(breadth)


def _graph_s(breadth: int, scale: float) -> float:
    """Return the estimated seconds of a search of this breadth."""
    return _GRAPH_FIXED_S + breadth * _GRAPH_STEP_S * scale
