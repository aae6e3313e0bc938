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

import numpy as np
import numpy.typing as npt

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
    """The answer to one query: slots by ascending distance, equal ones beyond top_k included."""

    slots: SlotArray
    """intp, shape (n,)."""
    distances: Float64Array
    """float64, shape (n,), in the contract's unit."""


@dataclass(frozen=True, slots=True, eq=False)
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

    def run(self) -> tuple[Plan, View, list[Ranked]]:
        """Return the plan that was chosen, the view that the answer is true in, and the answer."""
        view = self.generation.view
        plan = self._plan(view)
        if not isinstance(plan, ExactScan):
            answer = self._graph(plan)
            if answer is not None:
                return plan, *answer
        self.deadline.check()
        view = self.generation.view
        slots = self._taking_part(view)
        return plan, view, self._rank(view, self._scan(view, slots))

    def _plan(self, view: View) -> Plan:
        matching = None
        if self.filter is not None:
            matching = len(self.generation.metadata_index.matching(self.filter, view.count))
        generation = self.generation
        return choose(
            Statistics(
                live=generation.live_count,
                graph_rows=generation.graphed if generation.has_graph else 0,
                matching=matching,
                dimension=self.queries.shape[1],
            ),
            self.top_k,
            self.ef_search,
        )

    # --- Exact scans ------------------------------------------------------------------------------

    def _taking_part(self, view: View, start: int = 0) -> SlotArray:
        """Return the live slots from ``start`` on that match the filter, ascending."""
        if self.filter is None:
            return view.live_range(start, view.count)
        bitmap = self.generation.metadata_index.matching(self.filter, view.count)
        slots = np.asarray(bitmap.to_array(), dtype=np.intp)
        slots = slots[np.searchsorted(slots, start) : np.searchsorted(slots, view.count)]
        return slots[view.live(slots)]

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

    def _graph(self, plan: GraphSearch | OverfetchedSearch) -> tuple[View, list[Ranked]] | None:
        """Search the graph, wider until top_k take part; None when an exact scan is due."""
        breadth = plan.breadth
        while True:
            self.deadline.check()
            found = self.generation.search(self.queries, breadth, self.threads)
            pending = self._taking_part(found.view, found.graphed)
            kept = self._keep(found)
            if all(len(slots) >= self.top_k for slots in kept):
                nearest = self._scan(found.view, pending)
                both = [np.concatenate(pair) for pair in zip(kept, nearest, strict=True)]
                return found.view, self._rank(found.view, both)
            if found.slots.shape[1] < breadth or breadth >= found.graphed // _WIDEN:
                return None
            breadth *= _WIDEN

    def _keep(self, found: Found) -> list[SlotArray]:
        """Return for each query the found slots that are live and match, nearest first."""
        alive = found.view.live(found.slots)
        wanted = self.top_k + _SPARE
        if self.filter is None:
            if alive.all():
                return list(found.slots[:, :wanted])
            return [row[keep][:wanted] for row, keep in zip(found.slots, alive, strict=True)]
        matching = self.generation.metadata_index.matching(self.filter, found.view.count)
        kept = []
        for row, keep in zip(found.slots, alive, strict=True):
            slots = [slot for slot in row[keep].tolist() if slot in matching]
            kept.append(np.array(slots[:wanted], dtype=np.intp))
        return kept

    # --- Ranking ----------------------------------------------------------------------------------

    def _rank(self, view: View, candidates: Sequence[SlotArray]) -> list[Ranked]:
        """Score candidates exactly and return them by distance, cut after top_k and its equals."""
        widths = [len(slots) for slots in candidates]
        width = max(widths, default=0)
        if not width:
            empty = np.empty(0)
            return [Ranked(empty.astype(np.intp), empty) for _ in candidates]
        ranked: list[Ranked] = []
        per_block = max(1, _BLOCK_FLOATS // (width * self.queries.shape[1]))
        for first in range(0, len(candidates), per_block):
            block = candidates[first : first + per_block]
            slots = _matrix(block, width)
            scores = self._score(view, slots, self.queries[first : first + len(block)])
            for row, score, count in zip(slots, scores, widths[first:], strict=False):
                ranked.append(_cut(row[:count], score[:count], self.top_k))
        return ranked

    def _score(self, view: View, slots: SlotArray, queries: Float32Array) -> Float64Array:
        """Return exact distances, float64 of shape (q, c), of each query to its own slots."""
        per_block = max(1, _BLOCK_FLOATS // (len(slots) * queries.shape[1]))
        if slots.shape[1] <= per_block:
            return self.generation.metric.score(view.rows[slots], queries)
        parts = [
            self.generation.metric.score(view.rows[slots[:, start : start + per_block]], queries)
            for start in range(0, slots.shape[1], per_block)
        ]
        return np.concatenate(parts, axis=1)


def _near(approximate: Float32Array, k: int, error: float) -> npt.NDArray[np.intp]:
    """Return the positions that can be among the k nearest, given how wrong each distance can be.

    Args:
        approximate: float32, shape (n,), n > k.
        k: How many are wanted.
        error: The largest difference of an approximate distance from the true one.
    """
    limit = np.partition(approximate, k - 1)[k - 1] + 2.0 * error
    return np.flatnonzero(approximate <= limit)


def _matrix(rows: Sequence[SlotArray], width: int) -> SlotArray:
    """Return rows of different lengths as one matrix; what is missing repeats slot 0."""
    if all(len(row) == width for row in rows):
        return np.stack(rows)
    matrix = np.zeros((len(rows), width), dtype=np.intp)
    for target, row in zip(matrix, rows, strict=True):
        target[: len(row)] = row
    return matrix


def _cut(slots: SlotArray, scores: Float64Array, top_k: int) -> Ranked:
    """Return slots and scores by ascending score: top_k, and those that equal the last of them."""
    order = np.argsort(scores, kind="stable")
    if len(order) > top_k:
        last = scores[order[top_k - 1]]
        order = order[: int(np.searchsorted(scores[order], last, side="right"))]
    return Ranked(slots[order], scores[order])
