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
    def scan(
        self, rows: Float32Array, squared_norms: FloatArray, queries: Float32Array
    ) -> Float32Array:
        """Return approximate distances of all queries to all rows, in hnswlib's unit.

        Args:
            rows: float32, shape (n, dimension), preprocessed.
            squared_norms: ``norms_dtype``, shape (n,), of the rows.
            queries: float32, shape (q, dimension), preprocessed.

        Returns:
            float32, shape (q, n); each within ``scan_error`` of the truth.
        """

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

    def preprocess(self, data: Float32Array) -> Float32Array:
        """Return the data as they are."""
        return np.ascontiguousarray(data, dtype=np.float32)

    def scan(
        self, rows: Float32Array, squared_norms: FloatArray, queries: Float32Array
    ) -> Float32Array:
        """Return |x|² - 2xq + |q|²: one product of matrices, at the price of cancellation."""
        squared: Float32Array = queries @ rows.T
        squared *= -2.0
        squared += squared_norms
        squared += np.einsum("ij,ij->i", queries, queries)[:, None]
        return squared

    def score(
        self,
        rows: Float32Array,
        squared_norms: FloatArray,  # noqa: ARG002 - differences are exact without them
        queries: Float32Array,
    ) -> Float64Array:
        """Return the norms of the differences, in float64."""
        difference = rows.astype(np.float64)
        difference -= queries[:, None, :]
        result: Float64Array = np.sqrt(np.einsum("qcd,qcd->qc", difference, difference))
        return result


class Cosine(Metric):
    """One minus the cosine of the angle, 0 to 2."""

    space = "ip"
    norms_dtype = np.float64

    def preprocess(self, data: Float32Array) -> Float32Array:
        """Return the data scaled to unit length."""
        norms = np.sqrt(np.einsum("ij,ij->i", data, data, dtype=np.float64))
        return np.ascontiguousarray(data / norms[:, None], dtype=np.float32)

    def scan(
        self,
        rows: Float32Array,
        squared_norms: FloatArray,  # noqa: ARG002 - rows have unit length
        queries: Float32Array,
    ) -> Float32Array:
        """Return one minus the inner product."""
        product: Float32Array = queries @ rows.T
        np.subtract(1.0, product, out=product)
        return product

    def score(
        self, rows: Float32Array, squared_norms: FloatArray, queries: Float32Array
    ) -> Float64Array:
        """Return one minus the cosine, normalised again: float32 rows are not quite unit."""
        wanted = queries.astype(np.float64)
        distances: Float64Array = np.matmul(rows.astype(np.float64), wanted[:, :, None])[:, :, 0]
        distances /= np.sqrt(squared_norms * np.einsum("qd,qd->q", wanted, wanted)[:, None])
        np.subtract(1.0, distances, out=distances)
        return np.clip(distances, 0.0, 2.0, out=distances)


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
