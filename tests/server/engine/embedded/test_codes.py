"""Codes lose little and no way in particular: products are known as well as they say, on any data.

Method: rows of every kind that rounding could go wrong on; the truth is a product in float64. What
may fail once in 30 million draws is drawn from fixed seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorbucket_server.engine.embedded import codes
from vectorbucket_server.model import Float32Array

QUICK = settings(derandomize=True, database=None, deadline=None, max_examples=60)

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = 1e-45


def normal(count: int, dimension: int, seed: int) -> Float32Array:
    """Return noise."""
    return np.random.default_rng(seed).standard_normal((count, dimension), np.float32)


def narrow(count: int, dimension: int, seed: int) -> Float32Array:
    """Return rows that differ from one another by a thousandth of their length."""
    return normal(1, dimension, seed) + normal(count, dimension, seed + 1) * np.float32(1e-3)


def constant(count: int, dimension: int, seed: int) -> Float32Array:
    """Return rows of one number each."""
    return np.repeat(normal(count, 1, seed), dimension, axis=1)


def spiked(count: int, dimension: int, seed: int) -> Float32Array:
    """Return rows of which one number is far larger than the others."""
    rows = normal(count, dimension, seed)
    rows[np.arange(count), np.arange(count) % dimension] *= 1_000
    return rows


def sized(size: float) -> Callable[[int, int, int], Float32Array]:
    """Return what draws rows whose numbers are below a size."""

    def draw(count: int, dimension: int, seed: int) -> Float32Array:
        rng = np.random.default_rng(seed)
        return (rng.uniform(-1, 1, (count, dimension)) * size).astype(np.float32)

    return draw


KINDS = {
    "normal": normal,
    "narrow": narrow,
    "constant": constant,
    "spiked": spiked,
    "zero": sized(0.0),
    "denormal": sized(1e-42),
    "tiny": sized(1e-36),
    "small": sized(1e-20),
    "huge": sized(1e18),
    "largest": sized(LARGEST),
}


Errors: TypeAlias = codes.Float64Array


def errors_of(rows: Float32Array, queries: Float32Array) -> tuple[Errors, Errors]:
    """Return how far each product was off, and how far it said that it can be."""
    row_codes, scales = codes.encode(rows)
    coded = codes.encode_queries(queries)
    products = codes.products(coded.codes, row_codes, threads=1).astype(np.float64)
    products *= scales.astype(np.float64) * coded.scales[:, None].astype(np.float64)
    true = queries.astype(np.float64) @ rows.astype(np.float64).T
    norms = np.square(rows, dtype=np.float64).sum(axis=1)
    return np.abs(products - true), bounds_of(coded, scales, norms)


def bounds_of(queries: codes.CodedQueries, scales: Float32Array, norms: Errors) -> Errors:
    """Return the errors of all queries and all rows."""
    numbers, wide = range(len(queries.codes)), scales.astype(np.float64)
    return np.array([codes.product_errors(queries, number, wide, norms) for number in numbers])


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(dimension=st.integers(1, 300), seed=st.integers(0, 1_000), same=st.booleans())
def test_product_is_known_as_well_as_it_is_said_to_be(
    kind: str, dimension: int, seed: int, *, same: bool
) -> None:
    rows = KINDS[kind](20, dimension, seed)
    queries = rows[:3] if same else KINDS[kind](3, dimension, seed + 7)
    off, bound = errors_of(rows, queries)
    assert (off <= bound).all()


def test_bound_is_close_enough_to_be_of_use() -> None:
    off, bound = errors_of(normal(2_000, 384, 1), normal(5, 384, 2))
    assert off.max() > bound.max() / 4
    assert bound.max() < 0.1 * 384


def test_bound_of_one_row_is_that_of_each() -> None:
    scales, norms = np.array([0.5, 3.0]), np.array([1.0, 70.0])
    queries = codes.encode_queries(normal(4, 30, 1))
    for number in range(4):
        bounds = codes.product_errors(queries, number, scales, norms)
        assert bounds.shape == (2,)
        of_one = codes.product_errors(queries, number, 3.0, 70.0)
        assert isinstance(of_one, float)
        assert of_one == pytest.approx(bounds[1])


def test_bound_grows_with_scale_and_length() -> None:
    queries = codes.encode_queries(normal(2, 30, 1))
    bound = codes.product_errors(queries, 1, 0.5, 9.0)
    assert codes.product_errors(queries, 1, 0.6, 9.0) > bound
    assert codes.product_errors(queries, 1, 0.5, 10.0) > bound


@pytest.mark.parametrize("kind", ["normal", "narrow", "constant"])
def test_losses_cancel_over_the_dimensions(kind: str) -> None:
    rows = KINDS[kind](50, 4_096, 3)
    row_codes, scales = codes.encode(rows)
    lost = row_codes * scales[:, None] - rows
    assert (np.abs(lost) < scales[:, None] * 1.001).all()
    # A sum of 4,096 losses of one sign would be 2,048 scales; by chance it is about 26.
    assert (np.abs(lost.sum(axis=1)) < 200 * scales).all()


def test_losses_of_queries_and_rows_do_not_go_together() -> None:
    rows = narrow(1, 4_096, 5)
    (row_codes, scales), coded = codes.encode(rows), codes.encode_queries(rows)
    of_row = row_codes[0] - rows[0] / scales[0]
    of_query = coded.codes[0] - rows[0] / coded.scales[0]
    assert abs(np.corrcoef(of_row, of_query)[0, 1]) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_codes_keep_within_a_byte_and_scales_within_float32(kind: str) -> None:
    row_codes, scales = codes.encode(KINDS[kind](200, 33, 1))
    assert row_codes.dtype == np.int8
    assert scales.dtype == np.float32
    assert row_codes.min() >= -127
    assert (np.isfinite(scales) & (scales >= np.finfo(np.float32).smallest_normal)).all()


@pytest.mark.parametrize("number", [LARGEST, -LARGEST, SMALLEST, -SMALLEST, 1.0, -1.0, 0.0])
def test_row_of_one_extreme_number_is_coded(number: float) -> None:
    for dimension in (1, 2, 1_000):
        row_codes, scales = codes.encode(np.full((1, dimension), number, np.float32))
        lost = row_codes.astype(np.float64) * float(scales[0]) - np.float32(number)
        assert (np.abs(lost) <= float(scales[0]) * 1.001).all()
        assert (np.abs(row_codes.astype(int)) <= 127).all()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_row_that_is_not_finite_could_be_anything(number: float) -> None:
    rows = normal(3, 8, 1)
    rows[1, 4] = number
    row_codes, scales = codes.encode(rows)
    assert not row_codes[1].any()
    assert scales[1] == np.float32(LARGEST)
    query = codes.encode_queries(rows[:1])
    assert bounds_of(query, scales, np.ones(3))[0, 1] > LARGEST
    others = [0, 2]
    assert np.array_equal(row_codes[others], codes.encode(rows[others])[0])


def test_codes_of_a_row_do_not_depend_on_its_company() -> None:
    rows = normal(50, 24, 1)
    together, scales = codes.encode(rows)
    for position in (0, 17, 49):
        alone, scale = codes.encode(rows[position : position + 1])
        assert np.array_equal(alone[0], together[position])
        assert scale[0] == scales[position]


def test_codes_are_the_same_for_ever() -> None:
    # They are in files: a change of the thresholds would spoil what was written before.
    row_codes, scales = codes.encode(np.array([[1.0, -0.5, 0.25, 0.3]], np.float32))
    assert row_codes.tolist() == [[127, -63, 32, 38]]
    assert scales.tolist() == [np.float32(1 / 126.5)]


def test_no_rows_have_no_codes() -> None:
    row_codes, scales = codes.encode(np.empty((0, 5), np.float32))
    assert row_codes.shape == (0, 5)
    assert scales.shape == (0,)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("queries", "rows"), [(1, 1), (1, 77), (5, 1), (6, 40)])
@pytest.mark.parametrize("dimension", [1, 3, 64, 129, 4_096])
def test_products_are_those_of_whole_numbers(
    threads: int, queries: int, rows: int, dimension: int
) -> None:
    rng = np.random.default_rng(dimension)
    left = rng.integers(-127, 128, (queries, dimension), dtype=np.int8)
    right = rng.integers(-127, 128, (rows, dimension), dtype=np.int8)
    right[0] = left[0] = 127
    found = codes.products(left, right, threads=threads)
    assert found.shape == (queries, rows)
    assert found.dtype == np.float32
    assert found == pytest.approx(left.astype(np.int64) @ right.astype(np.int64).T, rel=1e-6)


def test_products_belong_to_the_caller() -> None:
    rows = codes.encode(normal(40, 16, 1))[0]
    rows.flags.writeable = False
    first = codes.products(rows[:2], rows, threads=1)
    kept = first.copy()
    first_again = [codes.products(rows[2:4], rows, threads=1) for _ in range(50)]
    assert np.array_equal(first, kept)
    first[:] = 0
    assert first_again[-1].any()


def test_many_products_take_nothing_from_the_interpreter() -> None:
    # With simsimd's ``out`` each call takes a reference to None that nobody gave.
    rows = codes.encode(normal(4, 8, 1))[0]
    before = sys.getrefcount(None)
    for _ in range(2_000):
        codes.products(rows[:1], rows, threads=1)
    assert abs(sys.getrefcount(None) - before) < 1_000
