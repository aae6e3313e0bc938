"""Which of these slots can be among the nearest: exact scans without looking at every number.

The codes of the slots are looked at first; all that the error of codes leaves in doubt goes on,
through float32 where it is much, to be scored exactly by the caller. So nothing is lost but for the
chance that codes.py names.

Rules of this file:

- It returns slots, never distances: those come from ``Metric.score`` alone.
- Arrays stay bounded: scans go in blocks, and a deadline is looked at between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vectorbucket_server.engine.base import Deadline
from vectorbucket_server.engine.embedded import codes
from vectorbucket_server.engine.embedded.metric import (
    Float64Array,
    FloatArray,
    Metric,
    scan_error,
)
from vectorbucket_server.engine.embedded.rows import SlotArray, View
from vectorbucket_server.model import Float32Array

_Number = TypeVar("_Number", bound=np.generic)

_FEW_NUMBERS = 1 << 16
"""Numbers that are not worth a scan: scoring them all is as quick (170 rows at 384 dimensions; both
take 60 to 80 µs at 128 to 768, and half as many numbers at 16)."""

_BLOCK_FLOATS = 1 << 22
"""Floats that one block of a scan may hold: 16 MB."""

_CACHED_FLOATS = 1 << 17
"""Distances that are looked at together: half a megabyte stays in a core's cache."""

_THREADED_NUMBERS = 1 << 27
"""Pairs of numbers to multiply that are worth several threads. Beside other work on the cores, two
threads took four times as long as one for a quarter of that, and a fifth less for this."""

_GATHERED_BYTES = 1 << 21
"""Bytes of codes that are copied together at once: less costs calls, more leaves the caches."""

_DOUBTFUL = 128
"""Candidates that are scored at once; more are looked at in float32 first."""

_SPARED_NUMBERS = 1 << 13
"""Numbers of candidates beyond top_k that are scored sooner than looked at once more, which takes
10 µs (the sample has 6 such candidates, median, in 1,130 slots)."""

_COLUMN_MAX = 64

_APART_MAX = 6
"""In a row, so many eight-byte numbers are as quick to look at as one that lies apart (200 to 9,200
of 20,000)."""


@dataclass(slots=True, eq=False)
class _Errors:
    """How far distances by codes can be from the truth, in hnswlib's unit."""

    weight: float
    """Of a product in a distance."""
    rounding: float
    """What float32 adds."""
    queries: codes.CodedQueries
    scales: Float32Array
    """float32, shape (n,), of the rows."""
    norms: FloatArray
    """float, shape (n,), squared, of the rows."""
    _worst: tuple[float, float] | None = None

    def largest(self, number: int) -> float:
        """Return an error of a query that none exceeds: as if each row were as bad as the worst."""
        if self._worst is None:
            scale, norm = np.maximum.reduce(self.scales), np.maximum.reduce(self.norms)
            self._worst = float(scale), float(norm)
        error = codes.product_errors(self.queries, number, *self._worst)
        return self.weight * error + self.rounding

    def at(self, positions: SlotArray, number: int) -> Float64Array:
        """Return the errors of a query and the rows at positions: float64, shape (n,)."""
        scales = self.scales.take(positions).astype(np.float64)
        norms = self.norms.take(positions).astype(np.float64)
        errors = codes.product_errors(self.queries, number, scales, norms)
        errors *= self.weight
        errors += self.rounding
        return errors


def live(view: View, slots: SlotArray) -> SlotArray:
    """Return those of ascending slots, all below the view's count, that are live in the view."""
    if not len(slots):
        return slots
    first, last = int(slots[0]), int(slots[-1]) + 1
    if last - first > _APART_MAX * len(slots):
        alive = view.live(slots)
        return slots if np.count_nonzero(alive) == len(alive) else slots[alive]
    alive = view.died[first:last] > view.seq
    return slots if np.count_nonzero(alive) == len(alive) else slots[alive.take(slots - first)]


@dataclass(slots=True, eq=False)
class Scan:
    """A scan of some slots for the nearest of each query."""

    metric: Metric
    view: View
    slots: SlotArray
    """intp, ascending, live in the view."""
    top_k: int
    threads: int
    """How many to use for several queries."""
    deadline: Deadline

    def candidates(self, queries: Float32Array) -> Iterator[SlotArray]:
        """Yield for each query the slots that can be among its nearest: intp, ascending.

        Args:
            queries: float32, shape (q, dimension), C-contiguous, preprocessed.
        """
        few = len(self.slots) * queries.shape[1] <= _FEW_NUMBERS
        if few or len(self.slots) <= self.top_k:
            yield from repeat(self.slots, len(queries))
            return
        coded = codes.encode_queries(queries)
        rounding = self._rounding(max(coded.squared_norms.tolist()), queries.shape[1])
        if not math.isfinite(rounding):
            yield from repeat(self.slots, len(queries))
            return
        places = self._places()
        scales = _picked(self.view.code_scales, places)
        norms = _picked(self.view.squared_norms, places)
        errors = _Errors(self.metric.product_weight, rounding, coded, scales, norms)
        number = 0
        for far in self._products(places, coded.codes):
            block = slice(number, number + len(far))
            far *= scales  # noqa: PLW2901 - each is ours, and changed in place
            far *= coded.scales[block, None]  # noqa: PLW2901 - the same
            self.metric.from_products(far, norms, coded.squared_norms[block])
            for one in far:
                chosen = self._in_doubt(one, errors, number)
                if len(chosen) > max(_DOUBTFUL, 2 * self.top_k):
                    query = queries[number : number + 1]
                    chosen = self._in_doubt_still(chosen, query, rounding)
                yield self.slots.take(chosen)
                number += 1

    def _rounding(self, query_squared_norm: float, dimension: int) -> float:
        """Return how much float32 can add to a distance; infinite where it says nothing."""
        rounding = scan_error(self.view.largest_squared_norm, query_squared_norm, dimension)
        if math.isfinite(rounding):
            return rounding
        # Some row of the index is out of float32's reach, but perhaps none of these.
        largest = float(self.view.squared_norms[self.slots].max())
        return scan_error(largest, query_squared_norm, dimension)

    def _places(self) -> slice | SlotArray:
        """Return what picks the slots out of an array: a slice if they are all in a row."""
        first, last = int(self.slots[0]), int(self.slots[-1]) + 1
        return slice(first, last) if last - first == len(self.slots) else self.slots

    def _products(
        self, places: slice | SlotArray, queries: codes.CodeArray
    ) -> Iterator[Float32Array]:
        """Yield the products of some queries' codes and the slots': float32, shape (some, n)."""
        first, last = int(self.slots[0]), int(self.slots[-1]) + 1
        count, span = len(self.slots), last - first
        # Looking at all rows is as quick as copying half of them together first.
        whole = isinstance(places, slice) or len(queries) * (span - count) <= count
        per_block = max(1, _BLOCK_FLOATS // (span if whole else count))
        per_part = max(1, _CACHED_FLOATS // count)
        for start in range(0, len(queries), per_block):
            self.deadline.check()
            block = queries[start : start + per_block]
            if whole:
                found = self._multiplied(block, self.view.codes[first:last])
            else:
                found = self._gathered(block)
            for some in range(0, len(found), per_part):
                part = found[some : some + per_part]
                yield part if part.shape[1] == count else part.take(self.slots - first, axis=1)

    def _multiplied(self, queries: codes.CodeArray, rows: codes.CodeArray) -> Float32Array:
        """Return the products of codes: float32, shape (q, n)."""
        worthwhile = len(queries) * rows.size >= _THREADED_NUMBERS
        return codes.products(queries, rows, threads=self.threads if worthwhile else 1)

    def _gathered(self, queries: codes.CodeArray) -> Float32Array:
        """Return the products of queries and slots that lie apart: float32, shape (q, n)."""
        parts = []
        step = max(1, _GATHERED_BYTES // queries.shape[1])
        for start in range(0, len(self.slots), step):
            rows = self.view.codes.take(self.slots[start : start + step], axis=0)
            parts.append(self._multiplied(queries, rows))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _in_doubt(self, far: Float32Array, errors: _Errors, number: int) -> SlotArray:
        """Return the positions that can be among the nearest, by what codes say.

        Args:
            far: float32, shape (n,), approximate distances, in hnswlib's unit.
            errors: Of these distances.
            number: Of the query.
        """
        limit = _about_nearest(far, self.top_k) + 2.0 * errors.largest(number)
        chosen: SlotArray = (far <= limit).nonzero()[0]
        if (len(chosen) - self.top_k) * self.view.rows.shape[1] <= _SPARED_NUMBERS:
            return chosen
        near, wrong = far.take(chosen), errors.at(chosen, number)
        within = near + wrong
        within.partition(self.top_k - 1)
        result: SlotArray = chosen[near - wrong <= within[self.top_k - 1]]
        return result

    def _in_doubt_still(
        self, positions: SlotArray, query: Float32Array, rounding: float
    ) -> SlotArray:
        """Return those of positions that can be among the nearest, by what float32 says."""
        far = np.empty(len(positions), dtype=np.float32)
        step = max(1, _BLOCK_FLOATS // query.shape[1])
        for start in range(0, len(positions), step):
            self.deadline.check()
            part = self.slots.take(positions[start : start + step])
            rows, norms = self.view.rows.take(part, axis=0), self.view.squared_norms.take(part)
            far[start : start + step] = self.metric.scan(rows, norms, query)[0]
        limit = np.partition(far, self.top_k - 1)[self.top_k - 1] + 2.0 * rounding
        result: SlotArray = positions[far <= limit]
        return result


def _picked(array: npt.NDArray[_Number], places: slice | SlotArray) -> npt.NDArray[_Number]:
    """Return what stands at these places; taking is twice as quick as indexing."""
    return array[places] if isinstance(places, slice) else array.take(places)


def _about_nearest(far: Float32Array, k: int) -> float:
    """Return a distance that at least k do not exceed, and not many more.

    The nearest of each of many columns are looked through for the k nearest instead of all: numpy's
    own partition takes 95 µs for 20,000 distances, this 8.

    Args:
        far: float32, shape (n,).
        k: At most n.
    """
    height = min(_COLUMN_MAX, len(far) // (4 * k))
    if height > 1:
        width = len(far) // height
        far = np.minimum.reduce(far[: height * width].reshape(height, width), axis=0)
        far.partition(k - 1)
        return far.item(k - 1)
    return np.partition(far, k - 1).item(k - 1)
