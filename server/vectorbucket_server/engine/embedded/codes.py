"""One byte a number: rows as codes that SIMD kernels scan. The only importer of simsimd.

A row is kept as ``scale × codes``, with one scale a row and codes from -127 to 127. Each number is
rounded up or down at a threshold that was drawn for its dimension and is fixed for ever. So what a
number loses is less than its scale and zero on average, whatever the data are, and losses do not
add up over the dimensions: the inner product of a query and a row is known up to ``product_errors``
but for a chance of about 3 in 100 million, and whoever scores again all that can be near by that
measure has the exact answer. Rounding to the nearest lost the nearest of rows that lie in a narrow
cone, because there all rows lose alike.

Rules of this file:

- It knows numbers: no slots, metrics, filters or plans.
- Thresholds never change, so a row has the same codes in every process. Queries have thresholds of
  their own: with the rows', the losses of both would go together and not cancel.

Source: rounding at random thresholds is dithering; the bound on sums of independent losses of range
1 is Hoeffding's inequality, at six standard deviations.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import simsimd

from vectorbucket_server.model import Float32Array

CodeArray = npt.NDArray[np.int8]
Float64Array = npt.NDArray[np.float64]
Floats = TypeVar("Floats", float, Float64Array)

_LARGEST_CODE = np.float32(126.5)
"""What the largest number of a row becomes before the threshold is added: 127 is not passed."""

_SCALE_MIN = np.finfo(np.float32).smallest_normal
_SCALE_MAX = np.finfo(np.float32).max

_DEVIATIONS = 6.0
"""Chance that a product errs by more: 2 × exp(-6² / 2) = 3e-8."""

_ROUNDING = 1.001
"""Codes are made in float32, which adds up to this factor to what is lost."""


@dataclass(frozen=True, slots=True, eq=False)
class CodedQueries:
    """Queries as codes."""

    codes: CodeArray
    """int8, shape (q, dimension)."""
    scales: Float32Array
    """float32, shape (q,)."""
    squared_norms: Float64Array
    """float64, shape (q,), of the queries as they were."""


@cache
def _thresholds(use: str, dimension: int) -> Float32Array:
    """Return the share from which a number is rounded up, by dimension, drawn from a fixed seed.

    Returns:
        float32, shape (dimension,): what is added before rounding down, 0 or more, less than 1.
    """
    drawn = hashlib.shake_256(use.encode()).digest(2 * dimension)
    return np.frombuffer(drawn, dtype="<u2").astype(np.float32) / np.float32(1 << 16)


def encode(rows: Float32Array) -> tuple[CodeArray, Float32Array]:
    """Return the codes of rows and their scales.

    Args:
        rows: float32, shape (n, dimension), preprocessed.

    Returns:
        codes: int8, shape (n, dimension), -127 to 127.
        scales: float32, shape (n,), positive and finite: a row is about ``scale × codes``. No scale
            is below the normal numbers, so numbers that are tiny beside those become 0 or 1. A row
            with a number that is not finite has codes of zero and the largest scale, so that its
            products are taken to be anything.
    """
    return _encode(rows, _thresholds("rows", rows.shape[1]))


def encode_queries(queries: Float32Array) -> CodedQueries:
    """Return the codes of queries: float32, shape (q, dimension), preprocessed."""
    codes, scales = _encode(queries, _thresholds("queries", queries.shape[1]))
    wide = queries.astype(np.float64)
    return CodedQueries(codes, scales, np.add.reduce(wide * wide, axis=1))


def _encode(rows: Float32Array, thresholds: Float32Array) -> tuple[CodeArray, Float32Array]:
    """Return codes and scales; see ``encode``."""
    largest = np.maximum.reduce(np.abs(rows), axis=1)
    scales = np.maximum(largest / _LARGEST_CODE, _SCALE_MIN)
    finite = np.isfinite(largest)
    if np.count_nonzero(finite) < len(rows):
        rows = np.where(finite[:, None], rows, np.float32(0))
        scales = np.where(finite, scales, _SCALE_MAX)
    scaled = rows * (np.float32(1) / scales)[:, None]
    scaled += thresholds
    np.floor(scaled, out=scaled)
    return scaled.astype(np.int8), scales


def products(queries: CodeArray, rows: CodeArray, *, threads: int) -> Float32Array:
    """Return the inner products of the codes of all queries and all rows.

    Releases the interpreter lock.

    Args:
        queries: int8, shape (q, dimension), C-contiguous; q is 1 or more.
        rows: int8, shape (n, dimension), C-contiguous; n is 1 or more.
        threads: How many to use.

    Returns:
        float32, shape (q, n), C-contiguous, the caller's own: whole numbers, up to rounding.
    """
    # Never with ``out``: simsimd 6.5.16 then returns None without counting the reference, and the
    # process aborts after some thousand calls.
    found = simsimd.cdist(queries, rows, "dot", out_dtype="float32", threads=threads)
    return np.asarray(found).reshape(len(queries), len(rows))


def product_errors(
    queries: CodedQueries, number: int, scales: Floats, squared_norms: Floats
) -> Floats:
    """Return how far ``products``, times both scales, can be from the products of the numbers.

    With the losses e of the row and f of the query, in units of their scales, the product of codes
    differs by ``scale × e · query + query_scale × f · (row + scale × e)``. Each e and f is zero on
    average and has a range of 1.

    Args:
        queries: Some queries.
        number: Which of them.
        scales: float64, shape (n,), of the rows; or of one.
        squared_norms: float64, shape (n,), of the rows; or of one.

    Returns:
        float64, shape (n,); or one number.
    """
    lost, query_lost = scales * scales, queries.scales.item(number) ** 2
    of_lost = queries.squared_norms.item(number) + query_lost * (queries.codes.shape[1] / 4)
    result: Floats = (lost * of_lost + squared_norms * query_lost) ** 0.5
    return result * (_DEVIATIONS / 2 * _ROUNDING)
