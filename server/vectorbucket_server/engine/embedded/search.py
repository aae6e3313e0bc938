"""Running a plan over a generation: from prepared queries to ranked slots.

Every way ends the same: candidates are checked against one view, scored again by ``Metric.score``
from the column, and ranked. Whatever the plan guessed, the answer holds ``top_k`` slots if so many
take part: a search that found too few is widened, then replaced by an exact scan.

Rules of this file:

- Slots and distances only: no keys, metadata or records.
- The bitmaps are read after the view was taken, so that they hold every slot of it.
- Arrays stay bounded: scans go in blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from vectorbucket_server.engine.base import Deadline
from vectorbucket_server.engine.embedded.generation import Found, Generation, SlotArray, View
from vectorbucket_server.engine.embedded.metric import Float64Array, scan_error
from vectorbucket_server.engine.embedded.planner import (
    ExactScan,
    GraphSearch,
    OverfetchedSearch,
    Plan,
    Statistics,
    choose,
)
from vectorbucket_server.filters.expression import Expression
from vectorbucket_server.model import Float32Array

_BLOCK_FLOATS = 1 << 22
"""Floats that one block of a scan or of scoring may hold: 16 MB."""

_SPARE = 8
"""Candidates kept beyond top_k before the exact scoring: float32 distances can swap near
neighbours."""

_WIDEN = 4
"""How much broader a search gets that found too few."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The answers to all queries: slots by ascending distance, one row a query."""

    slots: SlotArray
    """intp, shape (q, w)."""
    distances: Float64Array
    """float64, shape (q, w), in the contract's unit."""
    valid: npt.NDArray[np.bool_]
    """bool, shape (q, w): which entries count; in each row those that do come first."""
    has_ties: bool
    """Whether some row has equal distances: those are to be ordered by key, and a row may be longer
    than ``top_k`` then, because what equals its last hit is in it."""


@dataclass(slots=True, eq=False)
class Search:
    """A query call on its way: what it looks for, where, and how broadly."""

    generation: Generation
    queries: Float32Array
    """float32, shape (q, dimension), C-contiguous, preprocessed."""
    top_k: int
    filter: Expression | None
    ef_search: int
    threads: int
    deadline: Deadline
    _evaluated: tuple[View, BitMap] | None = None
    """The last view that the filter was evaluated for, and what matched."""

    def run(self) -> tuple[Plan, View, Ranked]:
        """Return the plan that was chosen, the view that the answer is true in, and the answer."""
        view = self.generation.view
        plan = self._plan(view)
        if not isinstance(plan, ExactScan):
            answer = self._graph(plan)
            if answer is not None:
                return plan, *answer
            self.deadline.check()
            view = self.generation.view
        slots = self._taking_part(view, 0)
        return plan, view, self._rank(view, *_matrix(self._scan(view, slots)))

    def _plan(self, view: View) -> Plan:
        generation = self.generation
        return choose(
            Statistics(
                live=generation.live_count,
                graph_rows=generation.graphed if generation.has_graph else 0,
                matching=None if self.filter is None else len(self._matching(view)),
                dimension=self.queries.shape[1],
            ),
            self.top_k,
            self.ef_search,
        )

    def _matching(self, view: View) -> BitMap:
        """Return what matches the filter in this view; evaluated once a view."""
        if self._evaluated is None or self._evaluated[0] is not view:
            assert self.filter is not None  # noqa: S101 - callers ask only then
            bitmap = self.generation.metadata_index.matching(self.filter, view.count)
            self._evaluated = (view, bitmap)
        return self._evaluated[1]

    # --- Exact scans ------------------------------------------------------------------------------

    def _taking_part(self, view: View, start: int) -> SlotArray:
        """Return the live slots from ``start`` on that match the filter, ascending."""
        if start >= view.count:
            return _NO_SLOTS
        if self.filter is None:
            return view.live_range(start, view.count)
        matching = np.frombuffer(self._matching(view).to_array(), dtype=np.uint32)
        slots = matching[np.searchsorted(matching, start) : np.searchsorted(matching, view.count)]
        return slots[view.live(slots)].astype(np.intp)

    def _scan(self, view: View, slots: SlotArray) -> list[SlotArray]:
        """Return for each query the slots among these that can be its nearest."""
        if len(slots) <= self.top_k:
            return [slots] * len(self.queries)
        error = scan_error(
            view.largest_squared_norm,
            float(np.einsum("ij,ij->i", self.queries, self.queries).max()),
            self.queries.shape[1],
        )
        if not np.isfinite(error):
            return [slots] * len(self.queries)
        chosen: list[SlotArray] = []
        per_block = max(1, _BLOCK_FLOATS // len(slots))
        for first in range(0, len(self.queries), per_block):
            self.deadline.check()
            block = self.queries[first : first + per_block]
            approximate = self._distances(view, slots, block)
            chosen.extend(slots[_near(row, self.top_k, error)] for row in approximate)
        return chosen

    def _distances(self, view: View, slots: SlotArray, queries: Float32Array) -> Float32Array:
        """Return approximate distances, float32 of shape (q, n), of queries to slots."""
        metric = self.generation.metric
        first, last = int(slots[0]), int(slots[-1]) + 1
        if last - first == len(slots):
            return metric.scan(view.rows[first:last], view.squared_norms[first:last], queries)
        result = np.empty((len(queries), len(slots)), dtype=np.float32)
        rows_per_block = max(1, _BLOCK_FLOATS // self.queries.shape[1])
        for start in range(0, len(slots), rows_per_block):
            part = slots[start : start + rows_per_block]
            result[:, start : start + len(part)] = metric.scan(
                view.rows[part], view.squared_norms[part], queries
            )
        return result

    # --- Graph searches ---------------------------------------------------------------------------

    def _graph(self, plan: GraphSearch | OverfetchedSearch) -> tuple[View, Ranked] | None:
        """Search the graph, wider until top_k take part; None when an exact scan is due."""
        breadth = plan.breadth
        while True:
            self.deadline.check()
            found = self.generation.search(self.queries, breadth, self.threads)
            view = found.view
            pending = self._taking_part(view, found.graphed)
            alive = view.live(found.slots)
            if self.filter is None and not len(pending) and alive.all():
                # The steady state of an unfiltered index: nothing to choose among, one matrix.
                if found.slots.shape[1] >= self.top_k:
                    slots = found.slots[:, : self.top_k + _SPARE]
                    return view, self._rank(view, slots, None)
            else:
                kept = self._keep(found, alive)
                if min(map(len, kept)) >= self.top_k:
                    if len(pending):
                        nearest = self._scan(view, pending)
                        kept = [np.concatenate(pair) for pair in zip(kept, nearest, strict=True)]
                    return view, self._rank(view, *_matrix(kept))
            if found.slots.shape[1] < breadth or breadth >= found.graphed // _WIDEN:
                return None
            breadth *= _WIDEN

    def _keep(self, found: Found, alive: npt.NDArray[np.bool_]) -> list[SlotArray]:
        """Return for each query the found slots that are live and match, nearest first."""
        wanted = self.top_k + _SPARE
        if self.filter is None:
            return [row[keep][:wanted] for row, keep in zip(found.slots, alive, strict=True)]
        matching = self._matching(found.view)
        return [
            np.array(
                list(islice((slot for slot in row[keep].tolist() if slot in matching), wanted)),
                dtype=np.intp,
            )
            for row, keep in zip(found.slots, alive, strict=True)
        ]

    # --- Ranking ----------------------------------------------------------------------------------

    def _rank(self, view: View, slots: SlotArray, valid: npt.NDArray[np.bool_] | None) -> Ranked:
        """Score candidates exactly and return them by distance, cut after top_k and its equals.

        Args:
            view: Whose slots they are.
            slots: intp, shape (q, c): candidates of each query.
            valid: bool, shape (q, c): which of them count; None means all.
        """
        scores = self._scores(view, slots)
        if valid is not None:
            scores[~valid] = np.inf
        order = scores.argsort(axis=1, kind="stable")
        each = _positions(len(scores))
        scores = scores[each, order]
        width = min(self.top_k, scores.shape[1])
        while width < scores.shape[1] and (scores[:, width] == scores[:, self.top_k - 1]).any():
            width += 1
        scores, order = scores[:, :width], order[:, :width]
        kept = np.ones(scores.shape, dtype=np.bool_) if valid is None else valid[each, order]
        ties = bool((scores[:, 1:] == scores[:, :-1]).any())
        return Ranked(slots[each, order], scores, kept, ties)

    def _scores(self, view: View, slots: SlotArray) -> Float64Array:
        """Return exact distances, float64 of shape (q, c), of each query to its own slots."""
        score = self.generation.metric.score
        if slots.size * self.queries.shape[1] <= _BLOCK_FLOATS:
            return score(view.rows[slots], view.squared_norms[slots], self.queries)
        result = np.empty(slots.shape, dtype=np.float64)
        columns = max(1, _BLOCK_FLOATS // self.queries.shape[1])
        for position, query in enumerate(self.queries):
            for start in range(0, slots.shape[1], columns):
                part = slots[position : position + 1, start : start + columns]
                result[position, start : start + columns] = score(
                    view.rows[part], view.squared_norms[part], query[None, :]
                )
        return result


_NO_SLOTS: SlotArray = np.empty(0, dtype=np.intp)


def _positions(count: int) -> npt.NDArray[np.intp]:
    """Return 0 … count - 1 as a column, to take from each row its own entries."""
    return np.arange(count)[:, None]


def _near(approximate: Float32Array, k: int, error: float) -> npt.NDArray[np.intp]:
    """Return the positions that can be among the k nearest, given how wrong each distance can be.

    Args:
        approximate: float32, shape (n,), n > k.
        k: How many are wanted.
        error: The largest difference of an approximate distance from the true one.
    """
    limit = np.partition(approximate, k - 1)[k - 1] + 2.0 * error
    return np.flatnonzero(approximate <= limit)


def _matrix(rows: Sequence[SlotArray]) -> tuple[SlotArray, npt.NDArray[np.bool_] | None]:
    """Return rows of different lengths as one matrix, and which of its entries count."""
    lengths = np.array([len(row) for row in rows])
    width = int(lengths.max())
    if (lengths == width).all():
        return np.stack(rows), None
    matrix = np.zeros((len(rows), width), dtype=np.intp)
    for target, row in zip(matrix, rows, strict=True):
        target[: len(row)] = row
    return matrix, np.arange(width) < lengths[:, None]
