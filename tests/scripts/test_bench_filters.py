"""Tests of bench_filters.py: levels have their shares and lie where it is said."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from bench_data import Metadata, draw_dataset
from bench_filters import (
    EVERY,
    ONE,
    SHARES,
    SPREADS,
    FilterData,
    Spread,
    conditions,
    filter_data,
    level_bounds,
)
from vectorbucket.limits import Limits

COUNT = 3_000


@cache
def data() -> FilterData:
    """Return a data set with levels."""
    return filter_data(draw_dataset(COUNT, 16, seed=1, queries=200), seed=2)


def matching(level: str, spread: Spread, kind: str) -> set[int]:
    """Return the places of a filter's matches."""
    condition = conditions(level, spread, COUNT)[kind]
    return {place for place, one in enumerate(data().dataset.metadata) if condition.fits(one)}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("level", SHARES)
def test_three_kinds_of_filters_have_the_same_matches(level: str, spread: Spread) -> None:
    found = matching(level, spread, "text")
    assert len(found) == (1 if level == ONE else pytest.approx(SHARES[level] * COUNT, abs=1))
    assert matching(level, spread, "list") == found
    assert matching(level, spread, "range") == found


def test_levels_do_not_overlap() -> None:
    bounds = sorted(level_bounds(COUNT).values())
    assert bounds[0][0] == 0
    assert all(left[1] == right[0] for left, right in pairwise(bounds))
    assert set(level_bounds(COUNT)) == set(SHARES) - {EVERY}


def test_few_vectors_have_levels_of_one_at_least() -> None:
    bounds = level_bounds(20)
    assert all(low < high <= 20 for low, high in bounds.values())


def test_matches_of_a_cluster_lie_together_and_far_from_the_queries() -> None:
    rows, opposite = data().dataset.data, data().opposite
    near = rows[sorted(matching("0.01", "cluster", "text"))]
    anywhere = rows[sorted(matching("0.01", "random", "text"))]
    assert (near @ near.T).mean() > (anywhere @ anywhere.T).mean() + 0.2
    assert (opposite @ near.T).mean() < (opposite @ rows.T).mean()


def test_queries_opposite_a_cluster_are_some_of_the_queries() -> None:
    queries = {row.tobytes() for row in data().dataset.queries}
    assert len(data().opposite) == 40
    assert all(row.tobytes() in queries for row in data().opposite)


def test_same_seed_draws_the_same_levels() -> None:
    again = filter_data(draw_dataset(COUNT, 16, seed=1, queries=200), seed=2)
    assert again.dataset.metadata == data().dataset.metadata
    assert np.array_equal(again.opposite, data().opposite)
    other = filter_data(draw_dataset(COUNT, 16, seed=1, queries=200), seed=3)
    assert other.dataset.metadata != data().dataset.metadata


def test_metadata_are_within_the_limits() -> None:
    limits = Limits()

    def size(metadata: Metadata) -> int:
        return len(json.dumps(metadata))

    largest = max(data().dataset.metadata, key=size)
    assert len(largest) <= limits.metadata_fields_max
    assert size(largest) <= limits.metadata_field_bytes_max
