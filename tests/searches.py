"""Searches over a life, and the truth about them from looking at every vector.

Rules of this file: plans are values given in place of the planner's choice; the oracle measures in
long double what was put, not what the engine made of it.
"""

from __future__ import annotations

import numpy as np
import pytest

from lives import Life, names
from oracles import draw_noise
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline
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
    """Return (distance, key) of the hits of each query, as a search ranks them."""
    _, view, ranked = search.run()
    return [
        list(zip(one.distances.tolist(), view.keys.at(one.slots), strict=True)) for one in ranked
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
        assert len(hits) == min(top_k, len(true))
        assert len({key for _, key in hits}) == len(hits)
        assert hits == sorted(hits, key=lambda hit: (hit[0], hit[1].encode()))
        for position, (far, key) in enumerate(hits):
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
