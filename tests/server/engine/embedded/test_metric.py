"""Distances against oracles of higher precision, from the smallest float32 to the largest.

Method: the oracle works on exact decimals of what the caller sent, in numpy's long double; where a
scan promises nothing (its error is infinite) the test asks for nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from oracles import draw_mixture, draw_noise
from vectorbucket_server.engine.embedded.metric import METRICS, scan_error
from vectorbucket_server.model import DistanceMetric, Float32Array

EUCLIDEAN = METRICS[DistanceMetric.EUCLIDEAN]
COSINE = METRICS[DistanceMetric.COSINE]

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)

QUICK = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow],
)

LongArray = npt.NDArray[np.longdouble]


def squared_euclidean(rows: Float32Array, queries: Float32Array) -> LongArray:
    """Return squared distances, shape (q, n)."""
    difference = rows.astype(np.longdouble)[None] - queries.astype(np.longdouble)[:, None]
    result: LongArray = (difference**2).sum(axis=2)
    return result


def cosine(rows: Float32Array, queries: Float32Array) -> LongArray:
    """Return one minus the cosines, shape (q, n)."""
    wide, wanted = rows.astype(np.longdouble), queries.astype(np.longdouble)
    wide /= np.sqrt((wide**2).sum(axis=1, keepdims=True))
    wanted /= np.sqrt((wanted**2).sum(axis=1, keepdims=True))
    result: LongArray = 1 - wanted @ wide.T
    return result


def score_all(metric: DistanceMetric, rows: Float32Array, queries: Float32Array) -> LongArray:
    """Return the metric's final distances of all rows to all queries, shape (q, n)."""
    each = METRICS[metric]
    prepared = each.preprocess(rows)
    return score(metric, np.stack([prepared] * len(queries)), each.preprocess(queries))


def score(metric: DistanceMetric, candidates: Float32Array, queries: Float32Array) -> LongArray:
    """Return final distances of preprocessed candidates, shape (q, c, dimension), to queries."""
    each = METRICS[metric]
    norms = np.stack([each.squared_norms(rows) for rows in candidates])
    return each.score(candidates, norms, queries).astype(np.longdouble)


def matrices(rows: int, dimension: int) -> st.SearchStrategy[Float32Array]:
    """Return matrices of any finite float32, subnormal and huge ones among them."""
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
    return hnp.arrays(np.float32, (rows, dimension), elements=numbers)


def check_scan(metric: DistanceMetric, rows: Float32Array, queries: Float32Array) -> bool:
    """Check that a scan keeps to its error; return whether it promised any."""
    each = METRICS[metric]
    prepared, wanted = each.preprocess(rows), each.preprocess(queries)
    norms, wanted_norms = each.squared_norms(prepared), each.squared_norms(wanted)
    error = scan_error(float(norms.max()), float(wanted_norms.max()), rows.shape[1])
    assert error > 0
    if not np.isfinite(error):
        return False
    approximate = each.scan(prepared, norms, wanted)
    assert approximate.dtype == np.float32
    assert approximate.shape == (len(queries), len(rows))
    oracle = squared_euclidean if metric is DistanceMetric.EUCLIDEAN else cosine
    assert (np.abs(approximate - oracle(prepared, wanted)) <= error).all()
    return True


# --- Preprocessing --------------------------------------------------------------------------------


def test_every_metric_of_the_contract_is_here() -> None:
    assert set(METRICS) == set(DistanceMetric)
    assert {metric.space for metric in METRICS.values()} == {"l2", "ip"}


def test_euclidean_rows_stay_as_they_are() -> None:
    rows = np.array([[0.0, -0.0, SMALLEST], [LARGEST, -LARGEST, 1.5]], dtype=np.float32)
    assert EUCLIDEAN.preprocess(rows).tobytes() == rows.tobytes()


@pytest.mark.parametrize("size", [SMALLEST, 1e-38, 1e-20, 1.0, 1e20, 3.4e38])
@pytest.mark.parametrize("dimension", [1, 7, 4_096])
def test_cosine_rows_get_unit_length_whatever_their_size(size: float, dimension: int) -> None:
    rows = np.full((3, dimension), size, dtype=np.float32)
    rows[1, ::2] *= -1
    rows[2, 1:] = 0
    before = rows.copy()
    unit = COSINE.preprocess(rows)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit.astype(np.float64), axis=1), 1, rtol=1e-6)
    assert (np.sign(unit) == np.sign(rows)).all()
    assert rows.tobytes() == before.tobytes(), "the caller's data are the caller's"


@pytest.mark.parametrize("metric", DistanceMetric)
def test_preprocessed_rows_are_contiguous(metric: DistanceMetric) -> None:
    data = np.asfortranarray(draw_noise(8, 6, seed=1))
    prepared = METRICS[metric].preprocess(data)
    assert prepared.flags.c_contiguous
    assert prepared.dtype == np.float32
    assert METRICS[metric].preprocess(data[::2]).flags.c_contiguous


@pytest.mark.parametrize("metric", DistanceMetric)
def test_no_rows_are_preprocessed_to_no_rows(metric: DistanceMetric) -> None:
    assert METRICS[metric].preprocess(np.empty((0, 5), np.float32)).shape == (0, 5)


def test_squared_norms_are_those_that_scans_and_scores_take() -> None:
    rows = draw_noise(30, 64, seed=1)
    exact = (rows.astype(np.longdouble) ** 2).sum(axis=1)
    assert EUCLIDEAN.squared_norms(rows).dtype == EUCLIDEAN.norms_dtype == np.float32
    np.testing.assert_allclose(EUCLIDEAN.squared_norms(rows), exact, rtol=1e-5)
    assert COSINE.squared_norms(rows).dtype == COSINE.norms_dtype == np.float64
    np.testing.assert_allclose(COSINE.squared_norms(rows), exact, rtol=1e-14)


def test_squared_norm_that_leaves_float32_is_infinite() -> None:
    assert EUCLIDEAN.squared_norms(np.full((2, 3), 3e38, np.float32)).tolist() == [np.inf] * 2


# --- Scanning -------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", DistanceMetric)
@pytest.mark.parametrize("size", [1e-45, 1e-30, 3e-23, 1e-19, 1e-8, 1.0, 1e8, 1e15])
@pytest.mark.parametrize("dimension", [1, 3, 16, 384])
def test_scan_keeps_to_its_error(metric: DistanceMetric, size: float, dimension: int) -> None:
    rows = draw_noise(200, dimension, seed=1)
    rows = (rows.astype(np.float64) * size).astype(np.float32)
    rows[~rows.any(axis=1), 0] = SMALLEST
    rows[1] = rows[0]
    rows[2] = -rows[0]
    assert check_scan(metric, rows, rows[:20])


@pytest.mark.parametrize("metric", DistanceMetric)
@pytest.mark.parametrize("dimension", [384, 1_024, 4_096])
def test_scan_keeps_to_its_error_where_all_rounding_goes_one_way(
    metric: DistanceMetric, dimension: int
) -> None:
    rng = np.random.default_rng(1)
    rows = (1 + rng.random((60, dimension)) * 1e-3).astype(np.float32)
    assert check_scan(metric, rows, rows[:5])
    assert check_scan(metric, np.full((9, dimension), 0.1, np.float32), rows[:5])


@pytest.mark.parametrize("metric", DistanceMetric)
def test_scan_keeps_to_its_error_for_neighbours_closer_than_float32_can_tell(
    metric: DistanceMetric,
) -> None:
    base = draw_mixture(1, 128, seed=1) * np.float32(100)
    rng = np.random.default_rng(2)
    rows = (base * (1 + rng.standard_normal((300, 128)) * 1e-7)).astype(np.float32)
    assert check_scan(metric, rows, base)


@pytest.mark.parametrize("metric", DistanceMetric)
def test_scan_keeps_to_its_error_where_sizes_differ(metric: DistanceMetric) -> None:
    rows = draw_noise(100, 32, seed=1)
    rows *= (10.0 ** np.linspace(-30, 15, 100)).astype(np.float32)[:, None]
    assert check_scan(metric, rows, rows[::7].copy())


@pytest.mark.parametrize("size", [1e17, 1e18, 2.9e18, 9e18, 1.3e19, 1.8e19, 1e25, 3e38])
def test_scan_that_could_leave_float32_promises_nothing(size: float) -> None:
    rows = np.array([[size, 0], [-size, 0], [0, size], [size / 2, 0]], dtype=np.float32)
    promised = check_scan(DistanceMetric.EUCLIDEAN, rows, rows)
    assert promised is (size < 5e18)
    assert check_scan(DistanceMetric.COSINE, rows, rows), "unit length never leaves float32"


@QUICK
@given(st.sampled_from(DistanceMetric), matrices(4, 3), matrices(2, 3))
def test_scan_keeps_to_its_error_for_any_numbers(
    metric: DistanceMetric, rows: Float32Array, queries: Float32Array
) -> None:
    if metric is DistanceMetric.COSINE:
        assume(rows.any(axis=1).all() and queries.any(axis=1).all())
    check_scan(metric, rows, queries)


def test_error_grows_with_size_and_dimension_and_is_never_zero() -> None:
    assert scan_error(0.0, 0.0, 1) > 0
    assert scan_error(1.0, 1.0, 384) < 1e-3
    assert scan_error(1.0, 1.0, 100) < scan_error(1.0, 1.0, 400)
    assert scan_error(1.0, 1.0, 100) < scan_error(1.0, 9.0, 100) == scan_error(9.0, 1.0, 100)
    assert scan_error(float("inf"), 1.0, 4) == float("inf")
    assert scan_error(1.0, float("inf"), 4) == float("inf")


# --- Final distances ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-45, 1e-38, 1e-19, 1.0, 1e19, 3e38])
@pytest.mark.parametrize("metric", DistanceMetric)
def test_final_distance_is_that_of_the_oracle(metric: DistanceMetric, size: float) -> None:
    rng = np.random.default_rng(1)
    rows = (rng.uniform(-1, 1, (40, 24)) * size).astype(np.float32)
    rows[~rows.any(axis=1), 0] = SMALLEST
    far = score_all(metric, rows, rows[:9])
    if metric is DistanceMetric.EUCLIDEAN:
        np.testing.assert_allclose(
            far, np.sqrt(squared_euclidean(rows, rows[:9])), rtol=1e-12, atol=0
        )
    else:
        np.testing.assert_allclose(far, cosine(rows, rows[:9]), rtol=0, atol=3e-7)


@QUICK
@given(matrices(4, 3), matrices(2, 3))
def test_euclidean_distance_is_exact_for_any_numbers(
    rows: Float32Array, queries: Float32Array
) -> None:
    far = score_all(DistanceMetric.EUCLIDEAN, rows, queries)
    exact = np.sqrt(squared_euclidean(rows, queries))
    np.testing.assert_allclose(far, exact, rtol=1e-12, atol=0)


@QUICK
@given(matrices(4, 3), matrices(2, 3))
def test_cosine_distance_is_right_and_within_its_range_for_any_numbers(
    rows: Float32Array, queries: Float32Array
) -> None:
    assume(rows.any(axis=1).all() and queries.any(axis=1).all())
    far = score_all(DistanceMetric.COSINE, rows, queries)
    assert ((far >= 0) & (far <= 2)).all()
    np.testing.assert_allclose(far, cosine(rows, queries), rtol=0, atol=3e-7)


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1.0, 3.0, 1e30])
def test_parallel_vectors_are_at_cosine_distance_zero_and_opposite_ones_at_two(
    factor: float,
) -> None:
    rows = draw_noise(50, 33, seed=1)
    stretched = (rows.astype(np.float64) * factor).astype(np.float32)
    for row, other in zip(rows, stretched, strict=True):
        (same, opposite), *_ = score_all(
            DistanceMetric.COSINE, np.stack([row, -row]), other[None]
        ).tolist()
        assert 0 <= same <= 1e-6
        assert 2 - 1e-6 <= opposite <= 2


def test_tiny_vector_and_its_parallel_are_at_distance_zero() -> None:
    # hnswlib's own cosine answered -547,721 here.
    tiny = np.full((1, 4), 1e-40, np.float32)
    assert score_all(DistanceMetric.COSINE, tiny, np.ones((1, 4), np.float32))[0, 0] <= 1e-6


@pytest.mark.parametrize("metric", DistanceMetric)
def test_equal_vectors_have_equal_distances(metric: DistanceMetric) -> None:
    rows = np.repeat(draw_noise(10, 19, seed=1), 20, axis=0)
    far = score_all(metric, rows, draw_noise(3, 19, seed=2)).reshape(3, 10, 20)
    assert (far == far[:, :, :1]).all()


@pytest.mark.parametrize("metric", DistanceMetric)
@pytest.mark.parametrize("dimension", [1, 3, 100, 128, 384, 385, 4_096])
@pytest.mark.parametrize("count", [2, 5, 18, 61, 300])
def test_distance_does_not_depend_on_the_rows_beside_it(
    metric: DistanceMetric, dimension: int, count: int
) -> None:
    row, query = draw_noise(2, dimension, seed=1)[:, None]
    alone = score_all(metric, row, query)
    many = score_all(metric, np.repeat(row, count, axis=0), np.repeat(query, 3, axis=0))
    assert (many == alone).all()


def test_each_query_is_measured_against_its_own_candidates() -> None:
    queries = np.array([[0, 0], [10, 0]], dtype=np.float32)
    candidates = np.array([[[3, 4], [1, 0]], [[10, 1], [0, 0]]], dtype=np.float32)
    assert score(DistanceMetric.EUCLIDEAN, candidates, queries).tolist() == [[5, 1], [1, 10]]
    wanted = np.array([[4, -3], [0, 1]], dtype=np.float32)
    far = score(DistanceMetric.COSINE, candidates[:, :1], wanted)
    np.testing.assert_allclose(far, [[1.0], [1 - 1 / np.sqrt(101)]], atol=1e-12)


@pytest.mark.parametrize("metric", DistanceMetric)
def test_order_of_final_distances_is_the_order_of_scans_up_to_their_error(
    metric: DistanceMetric,
) -> None:
    rows, queries = draw_noise(500, 16, seed=1), draw_noise(10, 16, seed=2)
    each = METRICS[metric]
    prepared, wanted = each.preprocess(rows), each.preprocess(queries)
    scanned = each.scan(prepared, each.squared_norms(prepared), wanted)
    far = score_all(metric, rows, queries)
    unit = far**2 if metric is DistanceMetric.EUCLIDEAN else far
    np.testing.assert_allclose(scanned, unit, atol=1e-4)
