"""The exact nearest of vectors that were fetched: for the few queries that Milvus leaves short.

Rules of this file: numpy, float64; what is fetched is looked at part by part and forgotten.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from vectorbucket_server.engine.base import Deadline
from vectorbucket_server.model import DistanceMetric, Float32Array, Hit, Vector


def nearest(
    metric: DistanceMetric,
    queries: Float32Array,
    parts: Iterable[Sequence[Vector]],
    top_k: int,
    deadline: Deadline,
) -> list[list[Hit]]:
    """Return for each query its nearest vectors, nearest first, those of equal distance by key.

    Args:
        metric: What near means.
        queries: float32, shape (q, dimension).
        parts: All vectors that take part, with their data, some at a time.
        top_k: Hits wanted for each query.
        deadline: Checked before each part.

    Raises:
        RequestTimeout: The deadline passed.
    """
    results: list[list[Hit]] = [[] for _ in queries]
    for part in parts:
        deadline.check()
        if not part:
            continue
        rows = np.stack([vector.data for vector in part if vector.data is not None])
        for number, measured in enumerate(_distances(metric, queries, rows)):
            hits = [
                Hit(vector.key, float(distance), vector.metadata)
                for vector, distance in zip(part, measured, strict=True)
            ]
            results[number] = heapq.nsmallest(
                top_k, results[number] + hits, key=lambda hit: (hit.distance, hit.key.encode())
            )
    return results


def _distances(
    metric: DistanceMetric, queries: Float32Array, rows: Float32Array
) -> npt.NDArray[np.float64]:
    """Return distances in the contract's unit: float64, shape (q, n)."""
    x, y = queries.astype(np.float64), rows.astype(np.float64)
    if metric is DistanceMetric.EUCLIDEAN:
        return np.stack([np.linalg.norm(y - one, axis=1) for one in x])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    clipped: npt.NDArray[np.float64] = np.clip(1.0 - x @ y.T, 0.0, 2.0)
    return clipped
