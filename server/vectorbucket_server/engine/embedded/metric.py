"""The whole theory of distance, in three functions: preprocess, scan, score.

Rows are preprocessed once, when they are put; queries once, when they come. ``scan`` ranks many
rows quickly, in hnswlib's unit and up to a known error; ``score`` says the final distance of a few
candidates, exactly, in the contract's unit. Whatever plan found the candidates, their distances
come from ``score``, so plans agree with each other.

Rules of this file:

- Nothing else in the house knows what euclidean or cosine means.
- Cosine vectors are normalised here in float64, and hnswlib runs inner product on them: its own
  cosine answered -547,721 for a tiny vector and its parallel.

Source: the three functions are those of qdrant's ``spaces/metric.rs``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from vectorbucket_server.model import DistanceMetric, Float32Array

Float64Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.floating[Any]]

_FLOAT32_EPSILON = float(np.finfo(np.float32).eps)
_FLOAT32_LARGEST = float(np.finfo(np.float32).max)
_FLOAT32_NORMAL = float(np.finfo(np.float32).smallest_normal)


class Metric(ABC):
    """One way to measure distance."""

    space: str
    """What hnswlib calls it: ``l2`` (squared) or ``ip`` (one minus the inner product)."""

    norms_dtype: type[np.floating[Any]]
    """The type of the squared norms: float32 where scans use them, float64 where scores do."""

    product_weight: float
    """By how much a distance in hnswlib's unit shrinks when the inner product grows by one."""

    @abstractmethod
    def preprocess(self, data: Float32Array) -> Float32Array:
        """Return the rows that graph, column and scans work with.

        Args:
            data: float32, shape (n, dimension), as the caller sent it; no zero row under cosine.

        Returns:
            float32, shape (n, dimension), C-contiguous.
        """

    def squared_norms(self, rows: Float32Array) -> FloatArray:
        """Return the squared norms of preprocessed rows: ``norms_dtype``, shape (n,)."""
        with np.errstate(over="ignore"):
            norms: FloatArray = np.einsum("ij,ij->i", rows, rows, dtype=self.norms_dtype)
        return norms

    @abstractmethod
    def from_products(
        self, products: Float32Array, squared_norms: FloatArray, query_squared_norms: FloatArray
    ) -> Float32Array:
        """Turn inner products into distances in hnswlib's unit, in place.

        Args:
            products: float32, shape (q, n), of all queries and all rows; overwritten.
            squared_norms: ``norms_dtype``, shape (n,), of the rows.
            query_squared_norms: float, shape (q,).

        Returns:
            float32, shape (q, n): ``products`` itself.
        """

    def scan(
        self, rows: Float32Array, squared_norms: FloatArray, queries: Float32Array
    ) -> Float32Array:
        """Return approximate distances of all queries to all rows, in hnswlib's unit.

        One product of matrices, at the price of cancellation.

        Args:
            rows: float32, shape (n, dimension), preprocessed.
            squared_norms: ``norms_dtype``, shape (n,), of the rows.
            queries: float32, shape (q, dimension), preprocessed.

        Returns:
            float32, shape (q, n); each within ``scan_error`` of the truth.
        """
        products: Float32Array = queries @ rows.T
        return self.from_products(products, squared_norms, np.einsum("ij,ij->i", queries, queries))

    @abstractmethod
    def score(
        self, rows: Float32Array, squared_norms: FloatArray, queries: Float32Array
    ) -> Float64Array:
        """Return exact distances of each query to its own candidates, in the contract's unit.

        Args:
            rows: float32, shape (q, c, dimension), preprocessed: c candidates a query.
            squared_norms: ``norms_dtype``, shape (q, c), of the rows.
            queries: float32, shape (q, dimension), preprocessed.

        Returns:
            float64, shape (q, c).
        """


class Euclidean(Metric):
    """The square root of the sum of squared differences."""

    space = "l2"
    norms_dtype = np.float32
    product_weight = 2.0

    def preprocess(self, data: Float32Array) -> Float32Array:
        """Return the data as they are."""
        return np.ascontiguousarray(data, dtype=np.float32)

    def from_products(
        self, products: Float32Array, squared_norms: FloatArray, query_squared_norms: FloatArray
    ) -> Float32Array:
        """Return |x|² - 2xq + |q|²."""
        products *= np.float32(-2)
        products += squared_norms
        products += query_squared_norms[:, None].astype(np.float32)
        return products

    def score(
        self,
        rows: Float32Array,
        squared_norms: FloatArray,  # noqa: ARG002 - differences are exact without them
        queries: Float32Array,
    ) -> Float64Array:
        """Return the norms of the differences, in float64."""
        difference = rows.astype(np.float64)
        difference -= queries[:, None, :]
        distances = _dots(difference, difference)
        return np.sqrt(distances, out=distances)


class Cosine(Metric):
    """One minus the cosine of the angle, 0 to 2."""

    space = "ip"
    norms_dtype = np.float64
    product_weight = 1.0

    def preprocess(self, data: Float32Array) -> Float32Array:
        """Return the data scaled to unit length."""
        wide = data.astype(np.float64, order="C")
        wide /= np.sqrt(_dots(wide, wide))[:, None]
        return wide.astype(np.float32)

    def from_products(
        self,
        products: Float32Array,
        squared_norms: FloatArray,  # noqa: ARG002 - rows have unit length
        query_squared_norms: FloatArray,  # noqa: ARG002 - queries too
    ) -> Float32Array:
        """Return one minus the inner product."""
        np.subtract(np.float32(1), products, out=products)
        return products

    def score(
        self, rows: Float32Array, squared_norms: FloatArray, queries: Float32Array
    ) -> Float64Array:
        """Return one minus the cosine, normalised again: float32 rows are not quite unit."""
        wanted = queries.astype(np.float64)
        distances = _dots(rows.astype(np.float64), wanted[:, None, :])
        distances /= np.sqrt(squared_norms * _dots(wanted, wanted)[:, None])
        np.subtract(1.0, distances, out=distances)
        np.maximum(distances, 0.0, out=distances)
        return np.minimum(distances, 2.0, out=distances)


def _dots(left: Float64Array, right: Float64Array) -> Float64Array:
    """Return the inner product of each row with its fellow, whatever rows stand beside them.

    A product of matrices sums in an order that depends on where a row stands: equal vectors would
    differ by a rounding error, and not be ranked by key.

    Args:
        left: float64, shape (..., dimension).
        right: The same, or what broadcasts to it.

    Returns:
        float64, shape (...).
    """
    result: Float64Array = np.matmul(left[..., None, :], right[..., :, None])[..., 0, 0]
    return result


def scan_error(largest_squared_norm: float, query_squared_norm: float, dimension: int) -> float:
    """Return how far a scanned distance can be from the truth, in hnswlib's unit.

    The rounding error of a float32 sum of n products grows with sqrt(n) and with the size of what
    is summed; the factor 8 leaves room for any order of summation. Below the normal numbers a
    product loses up to the smallest of them, whatever its size. Infinite where a step of the sum
    could leave float32: the scan then says nothing.
    """
    scale = largest_squared_norm + query_squared_norm
    if scale > _FLOAT32_LARGEST / 4:
        return math.inf
    relative = _FLOAT32_EPSILON * math.sqrt(dimension) * scale
    return 8.0 * (relative + _FLOAT32_NORMAL * dimension)


METRICS: dict[DistanceMetric, Metric] = {
    DistanceMetric.EUCLIDEAN: Euclidean(),
    DistanceMetric.COSINE: Cosine(),
}
"""Metric by the contract's name."""
