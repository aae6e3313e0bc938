"""Filters at known shares: metadata whose matches are drawn at random, or tied to a cluster.

Every vector belongs to one *level* at random and to one by its place among the others; a level is
that share of all vectors. A text, a list of texts and a number each say the level, so that three
filters of different kinds have the same matches and the same true neighbours.

Rules of this file: numpy and the standard library only; what is drawn depends on the seed and the
vectors, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from bench_data import Dataset, Float32Array, Metadata, PositionArray
from bench_subject import Condition

Spread: TypeAlias = Literal["random", "cluster"]

SPREADS: tuple[Spread, ...] = ("random", "cluster")
"""How the matches of a filter lie: anywhere, or around one place, far from where queries point."""

ONE = "one"
EVERY = "1"

SHARES: Mapping[str, float] = {
    EVERY: 1.0,
    "0.5": 0.5,
    "0.1": 0.1,
    "0.05": 0.05,
    "0.01": 0.01,
    "0.001": 0.001,
    ONE: 0.0,
}
"""Share of the vectors that match, by level; ``one`` is a single vector."""

_CENTRES = 16
"""Places among which the farthest from the matches is looked for."""

_OPPOSITE_QUERIES = 100

_QUERY_SHARE_MAX = 0.2
"""The most of the queries that count as near a centre."""


@dataclass(frozen=True, slots=True)
class FilterData:
    """A data set to measure filters on."""

    dataset: Dataset
    """The vectors and queries of another, with metadata of its own."""
    opposite: Float32Array
    """float32, shape (q, dimension): those of the queries that are nearest to the centre that is
    farthest from the vectors whose levels are tied to a cluster."""


def filter_data(dataset: Dataset, *, seed: int) -> FilterData:
    """Return a data set with metadata to filter by.

    At random, the ranks of the vectors are a permutation. Tied to a cluster, they ascend with the
    distance from a vector that the seed chooses. A level is a range of ranks; small levels come
    first, so that the single match tied to a cluster is the middle of it.
    """
    rng = np.random.default_rng([seed, 4])
    count = len(dataset.keys)
    rows = dataset.data / np.linalg.norm(dataset.data, axis=1, keepdims=True)
    centres = _centres(rows, rng)
    anchor = centres[0]
    farthest = centres[np.argmin(centres @ anchor)]
    by_distance = np.argsort(-(rows @ anchor), kind="stable")
    ranks = {"random": rng.permutation(count), "cluster": _places(by_distance)}
    bounds = level_bounds(count)
    names = _names_by_rank(count, bounds)
    metadata = tuple(
        _metadata({spread: int(ranks[spread][place]) for spread in SPREADS}, names)
        for place in range(count)
    )
    queries = dataset.queries / np.linalg.norm(dataset.queries, axis=1, keepdims=True)
    few = max(1, min(_OPPOSITE_QUERIES, int(_QUERY_SHARE_MAX * len(queries))))
    nearest = np.argsort(-(queries @ farthest), kind="stable")[:few]
    opposite = np.ascontiguousarray(dataset.queries[nearest])
    return FilterData(replace(dataset, metadata=metadata), opposite)


def level_bounds(count: int) -> dict[str, tuple[int, int]]:
    """Return for each level but the whole the ranks that it has: from, and to but not including.

    A level is as large as its share says, one vector at least, and they do not overlap.
    """
    bounds = {}
    start = 0
    for name, share in reversed(list(SHARES.items())):
        if name != EVERY:
            size = max(1, round(share * count))
            bounds[name] = (start, min(start + size, count))
            start = bounds[name][1]
    return bounds


def conditions(level: str, spread: Spread, count: int) -> dict[str, Condition]:
    """Return the filters that have a level's matches, by kind: text, list, range."""
    low, high = (0, count) if level == EVERY else level_bounds(count)[level]
    text = Condition("every", "eq", EVERY) if level == EVERY else None
    return {
        "text": text or Condition(f"{spread}_text", "eq", level),
        "list": Condition(f"{spread}_list", "in_list", level),
        "range": Condition(f"{spread}_rank", "range", low=float(low), high=float(high)),
    }


def _centres(rows: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Return the middles of groups of vectors around a few that are drawn, of unit length."""
    drawn = rows[rng.choice(len(rows), size=min(_CENTRES, len(rows)), replace=False)]
    groups = np.argmax(rows @ drawn.T, axis=1)
    middles = np.stack([rows[groups == group].mean(axis=0) for group in np.unique(groups)])
    return np.asarray(middles / np.linalg.norm(middles, axis=1, keepdims=True), np.float32)


def _places(order: PositionArray) -> PositionArray:
    """Return for each position its place in an order."""
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return places


def _names_by_rank(count: int, bounds: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return each rank's level; those of no level are the rest."""
    names = ["rest"] * count
    for name, (low, high) in bounds.items():
        names[low:high] = [name] * (high - low)
    return names


def _metadata(ranks: Mapping[Spread, int], names: list[str]) -> Metadata:
    """Return what a vector with these ranks says of its levels."""
    metadata: Metadata = {"every": EVERY}
    for spread, rank in ranks.items():
        metadata[f"{spread}_text"] = names[rank]
        metadata[f"{spread}_list"] = [EVERY, names[rank]]
        metadata[f"{spread}_rank"] = float(rank)
    return metadata
