"""The exact nearest of vectors that come in parts."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from rooms import GivenUp
from vectorbucket.errors import RequestTimeout
from vectorbucket_server.engine.base import NO_DEADLINE
from vectorbucket_server.engine.milvus.exact import nearest
from vectorbucket_server.model import DistanceMetric, Float32Array, Hit, Vector

EUCLIDEAN, COSINE = DistanceMetric.EUCLIDEAN, DistanceMetric.COSINE
BOTH = pytest.mark.parametrize("metric", [EUCLIDEAN, COSINE], ids=lambda one: one.value)


def matrix(*rows: Sequence[float]) -> Float32Array:
    return np.array(rows, np.float32)


def vectors(rows: Float32Array, first: int = 0) -> list[Vector]:
    return [Vector(f"k{first + n}", row, {"n": float(first + n)}) for n, row in enumerate(rows)]


def distance(metric: DistanceMetric, x: Float32Array, y: Float32Array) -> float:
    """Return a distance as the contract says it, in Python's own arithmetic."""
    pairs: list[tuple[float, float]] = list(zip(x.tolist(), y.tolist(), strict=True))
    if metric is EUCLIDEAN:
        return math.sqrt(sum((a - b) ** 2 for a, b in pairs))
    dot = sum(a * b for a, b in pairs)
    return 1.0 - dot / math.sqrt(sum(a * a for a, _ in pairs) * sum(b * b for _, b in pairs))


@BOTH
@pytest.mark.parametrize("size", [1, 7, 1000], ids=lambda size: f"parts of {size}")
def test_nearest_of_all_parts_are_found_in_order(metric: DistanceMetric, size: int) -> None:
    random = np.random.default_rng(7)
    rows = random.standard_normal((200, 5)).astype(np.float32)
    queries = random.standard_normal((3, 5)).astype(np.float32)
    everything = vectors(rows)
    parts = [everything[start : start + size] for start in range(0, len(everything), size)]
    found = nearest(metric, queries, parts, 10, NO_DEADLINE)
    for query, hits in zip(queries, found, strict=True):
        wanted = heapq.nsmallest(
            10, ((distance(metric, query, row), f"k{n}") for n, row in enumerate(rows))
        )
        assert [hit.key for hit in hits] == [key for _, key in wanted]
        assert [hit.distance for hit in hits] == pytest.approx([far for far, _ in wanted])
        assert [hit.metadata for hit in hits] == [{"n": float(hit.key[1:])} for hit in hits]


@BOTH
def test_equal_distances_are_ordered_by_the_bytes_of_the_key(metric: DistanceMetric) -> None:
    # UTF-16, by which some would order, has the last two the other way round.
    keys = ["a", "b", "é", "\uffff", "\U00010000"]
    same = [Vector(key, matrix([1, 1])[0], {}) for key in reversed(keys)]
    ((*hits,),) = nearest(metric, matrix([1, 1]), [same[:2], same[2:]], 4, NO_DEADLINE)
    assert [hit.key for hit in hits] == keys[:4]


def test_distances_are_in_the_contracts_unit() -> None:
    rows = vectors(matrix([3, 4], [-1, 0], [1, 0]))
    (far,) = nearest(EUCLIDEAN, matrix([0, 0]), [rows[:1]], 1, NO_DEADLINE)
    assert far == [Hit("k0", 5.0, {"n": 0.0})]
    (hits,) = nearest(COSINE, matrix([7, 0]), [rows], 3, NO_DEADLINE)
    assert [(hit.key, round(hit.distance, 12)) for hit in hits] == [
        ("k2", 0.0),
        ("k0", 0.4),
        ("k1", 2.0),
    ]


@BOTH
def test_distance_is_never_beyond_its_bounds(metric: DistanceMetric) -> None:
    one = matrix(np.random.default_rng(3).standard_normal(64).tolist())
    rows = vectors(np.concatenate([one * scale for scale in (1, 3e-5, 7e9)]).astype(np.float32))
    (hits,) = nearest(metric, one, [rows], 3, NO_DEADLINE)
    assert all(hit.distance >= 0 for hit in hits)
    assert metric is EUCLIDEAN or hits[0].distance < 1e-6


def test_numbers_at_the_end_of_float32_are_measured() -> None:
    most = float(np.finfo(np.float32).max)
    (hits,) = nearest(EUCLIDEAN, matrix([most]), [vectors(matrix([-most]))], 1, NO_DEADLINE)
    assert hits[0].distance == 2 * most
    tiny = [1e-45, 0.0]
    (hits,) = nearest(COSINE, matrix(tiny), [vectors(matrix(tiny))], 1, NO_DEADLINE)
    assert hits[0].distance == 0.0


def test_fewer_than_wanted_are_all_there_are() -> None:
    parts: list[list[Vector]] = [[], vectors(matrix([1], [2])), []]
    assert [len(hits) for hits in nearest(EUCLIDEAN, matrix([0], [9]), parts, 5, NO_DEADLINE)] == [
        2,
        2,
    ]
    assert nearest(EUCLIDEAN, matrix([0], [9]), [], 5, NO_DEADLINE) == [[], []]


def test_metadata_that_nobody_asked_for_stays_away() -> None:
    rows = [Vector("a", matrix([1])[0])]
    assert nearest(EUCLIDEAN, matrix([0]), [rows], 1, NO_DEADLINE) == [[Hit("a", 1.0, None)]]


def test_parts_are_fetched_one_at_a_time_and_none_for_a_caller_who_has_gone() -> None:
    fetched = list[int]()

    def parts() -> Iterator[list[Vector]]:
        for number in range(3):
            fetched.append(number)
            yield vectors(matrix([number + 1]), number)

    with pytest.raises(RequestTimeout):
        nearest(EUCLIDEAN, matrix([0]), parts(), 1, GivenUp())
    assert fetched == [0]
