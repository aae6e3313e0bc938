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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice, repeat

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
    """The answer to one query: slots by ascending distance, those of equal distance by key."""

    slots: SlotArray
    """intp, shape (n,), n <= top_k."""
    distances: Float64Array
    """float64, shape (n,), in the contract's unit."""


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
        slots = self._taking_part(view, 0)
        return plan, view, self._rank_each(view, self._scan(view, slots))

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

    def _scan(self, view: View, slots: SlotArray) -> Iterator[SlotArray]:
        """Yield for each query the slots among these that can be its nearest."""
        if len(slots) <= self.top_k:
            yield from repeat(slots, len(self.queries))
            return
        error = scan_error(
            float(view.squared_norms[slots].max()),
            float(np.einsum("ij,ij->i", self.queries, self.queries).max()),
            self.queries.shape[1],
        )
        if not np.isfinite(error):
            yield from repeat(slots, len(self.queries))
            return
        per_block = max(1, _BLOCK_FLOATS // len(slots))
        for first in range(0, len(self.queries), per_block):
            block = self.queries[first : first + per_block]
            for row in self._distances(view, slots, block):
                yield slots[_near(row, self.top_k, error)]

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
            view = found.view
            pending = self._taking_part(view, found.graphed)
            alive = view.live(found.slots)
            if self.filter is None and not len(pending) and alive.all():
                # The steady state of an unfiltered index: nothing to choose among, one matrix.
                if found.slots.shape[1] >= self.top_k:
                    return view, self._rank(view, found.slots[:, : self.top_k + _SPARE])
            else:
                kept = self._keep(found, alive)
                if min(map(len, kept)) >= self.top_k:
                    both = zip(kept, self._scan(view, pending), strict=True)
                    return view, self._rank_each(view, map(np.concatenate, both))
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

    def _rank(self, view: View, slots: SlotArray) -> list[Ranked]:
        """Score a few candidates of each query and return the nearest, all queries at once.

        Args:
            view: Whose slots they are.
            slots: intp, shape (q, c): candidates of each query, ``top_k`` or a few more.
        """
        ranked: list[Ranked] = []
        per_block = max(1, _BLOCK_FLOATS // (slots.shape[1] * self.queries.shape[1]))
        for first in range(0, len(slots), per_block):
            self.deadline.check()
            block, queries = (
                slots[first : first + per_block],
                self.queries[first : first + per_block],
            )
            scores = self.generation.metric.score(
                view.rows[block], view.squared_norms[block], queries
            )
            order = scores.argsort(axis=1)
            each = np.arange(len(scores))[:, None]
            block, scores = block[each, order], scores[each, order]
            tied = (scores[:, 1:] == scores[:, :-1]).any(axis=1)
            if tied.any():
                ranked.extend(map(self._cut, repeat(view), block, scores))
                continue
            cut = slice(self.top_k)
            ranked.extend(map(Ranked, block[:, cut], scores[:, cut]))
        return ranked

    def _rank_each(self, view: View, candidates: Iterable[SlotArray]) -> list[Ranked]:
        """Score the candidates of each query, however many, and return the nearest."""
        ranked = []
        for query, slots in zip(self.queries, candidates, strict=True):
            self.deadline.check()
            ranked.append(self._cut(view, slots, self._scores(view, slots, query)))
        return ranked

    def _scores(self, view: View, slots: SlotArray, query: Float32Array) -> Float64Array:
        """Return exact distances, float64 of shape (c,), of one query to slots, in blocks."""
        result = np.empty(len(slots), dtype=np.float64)
        step = max(1, _BLOCK_FLOATS // len(query))
        for start in range(0, len(slots), step):
            part = slots[None, start : start + step]
            result[start : start + step] = self.generation.metric.score(
                view.rows[part], view.squared_norms[part], query[None, :]
            )[0]
        return result

    def _cut(self, view: View, slots: SlotArray, scores: Float64Array) -> Ranked:
        """Return the ``top_k`` nearest of a query's candidates, those of equal distance by key."""
        top_k = self.top_k
        if len(slots) > top_k:
            last = np.partition(scores, top_k - 1)[top_k - 1]
            nearer, equal = np.flatnonzero(scores < last), np.flatnonzero(scores == last)
            missing = top_k - len(nearer)
            if len(equal) > missing:
                keys = [key.encode() for key in view.keys.at(slots[equal])]
                equal = equal[nsmallest(missing, range(len(keys)), key=keys.__getitem__)]
            chosen = np.concatenate([nearer, equal])
            slots, scores = slots[chosen], scores[chosen]
        order = np.argsort(scores, kind="stable")
        slots, scores = slots[order], scores[order]
        if (scores[1:] == scores[:-1]).any():
            keys = [key.encode() for key in view.keys.at(slots)]
            by_key = sorted(range(len(keys)), key=lambda place: (scores[place], keys[place]))
            slots, scores = slots[by_key], scores[by_key]
        return Ranked(slots, scores)


_NO_SLOTS: SlotArray = np.empty(0, dtype=np.intp)


def _near(approximate: Float32Array, k: int, error: float) -> npt.NDArray[np.intp]:
    """Return the positions that can be among the k nearest, given how wrong each distance can be.

    Args:
        approximate: float32, shape (n,), n > k.
        k: How many are wanted.
        error: The largest difference of an approximate distance from the true one.
    """
    limit = np.partition(approximate, k - 1)[k - 1] + 2.0 * error
    return np.flatnonzero(approximate <= limit)
