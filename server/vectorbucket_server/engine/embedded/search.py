"""Running a plan over a generation: from prepared queries to ranked slots.

Every way ends the same: candidates are checked against one view, scored again by ``Metric.score``
from the column, and ranked. Whatever the plan guessed, the answer holds ``top_k`` slots if so many
take part: a search that found too few is widened, or completed by an exact scan.

Rules of this file:

- Slots and distances only: no keys, metadata or records.
- The lists of metadata are read after the view was taken, so that they hold every slot of it.
- Arrays stay bounded: scoring goes in blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vectorbucket_server.engine.base import Deadline
from vectorbucket_server.engine.embedded.generation import Found, Generation
from vectorbucket_server.engine.embedded.matches import Matches
from vectorbucket_server.engine.embedded.metric import Float64Array
from vectorbucket_server.engine.embedded.planner import (
    ExactScan,
    GraphSearch,
    OverfetchedSearch,
    Plan,
    Statistics,
    choose,
    go_on,
    is_sure,
)
from vectorbucket_server.engine.embedded.rows import SlotArray, View
from vectorbucket_server.engine.embedded.scan import Scan, live
from vectorbucket_server.filters.expression import Expression
from vectorbucket_server.model import Float32Array

_BLOCK_FLOATS = 1 << 22
"""Floats that one block of scoring may hold: 16 MB."""

_SPARE = 8
"""Candidates kept beyond top_k before the exact scoring: float32 distances can swap near
neighbours."""

_SORTED_MAX = 128
"""Scores that are quicker to sort than to look through for the least first."""

_TOGETHER = 64
"""Queries whose candidates are scored together, if they have not too many."""

_WIDE_MAX = 3
"""Where one of them has more than so many times what they have on average, each is by itself."""


class Ranked(NamedTuple):
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
    _evaluated: tuple[View, Matches] | None = None
    """The last view that the filter was evaluated for, and what matched."""

    def run(self) -> tuple[Plan, View, list[Ranked]]:
        """Return the plan that was chosen, the view that the answer is true in, and the answer."""
        view = self.generation.view
        plan = choose(self._statistics(view), self.top_k, self.ef_search)
        if isinstance(plan, ExactScan):
            slots = self._taking_part(view, 0)
            return plan, view, self._rank_each(view, self._scan(view, slots, self.queries))
        return plan, *self._graph(plan)

    def _statistics(self, view: View) -> Statistics:
        generation = self.generation
        return Statistics(
            live=generation.live_count,
            graph_rows=generation.graphed if generation.has_graph else 0,
            matching=None if self.filter is None else len(self._matching(view)),
            dimension=self.queries.shape[1],
            queries=len(self.queries),
        )

    def _matching(self, view: View) -> Matches:
        """Return what matches the filter in this view; evaluated once a view."""
        if self._evaluated is None or self._evaluated[0] is not view:
            assert self.filter is not None  # noqa: S101 - callers ask only then
            matches = self.generation.metadata_index.matching(self.filter, view.count)
            self._evaluated = (view, matches)
        return self._evaluated[1]

    # --- Exact scans ------------------------------------------------------------------------------

    def _taking_part(self, view: View, start: int) -> SlotArray:
        """Return the live slots from ``start`` on that match the filter, ascending."""
        if start >= view.count:
            return _NO_SLOTS
        if self.filter is None:
            return view.live_range(start, view.count)
        slots = self._matching(view).slots()
        return live(view, slots[np.searchsorted(slots, start) :] if start else slots)

    def _scan(self, view: View, slots: SlotArray, queries: Float32Array) -> Iterator[SlotArray]:
        """Yield for each query the slots among these that can be its nearest."""
        scan = Scan(self.generation.metric, view, slots, self.top_k, self.threads, self.deadline)
        return scan.candidates(queries)

    # --- Graph searches ---------------------------------------------------------------------------

    def _graph(self, plan: GraphSearch | OverfetchedSearch) -> tuple[View, list[Ranked]]:
        """Search the graph; where that finds too few, search wider or scan what takes part."""
        breadth = plan.breadth
        while True:
            self.deadline.check()
            found = self.generation.search(self.queries, breadth, self.threads)
            view = found.view
            alive = view.live(found.slots)
            pending = self._taking_part(view, found.graphed)
            steady = (
                self.filter is None and not len(pending) and np.count_nonzero(alive) == alive.size
            )
            if steady and found.slots.shape[1] >= self.top_k:
                # Nothing to choose among: one matrix.
                return view, self._rank(view, found.slots[:, : self.top_k + _SPARE])
            keep = alive if self.filter is None else alive & self._matching(view).hold(found.slots)
            short = self._short(keep)
            wider = None
            if len(short) and keep.shape[1] == breadth:
                wider = go_on(
                    self._statistics(view),
                    self.top_k,
                    self.ef_search,
                    breadth=breadth,
                    kept=int(keep[short].sum(axis=1).min()),
                )
            if wider is None:
                return view, self._rank_each(view, self._completed(found, keep, pending, short))
            breadth = wider

    def _short(self, keep: npt.NDArray[np.bool_]) -> SlotArray:
        """Return the queries for which a search found too few that take part.

        Args:
            keep: bool, shape (q, breadth): which of the slots found take part, nearest first.
        """
        breadth = keep.shape[1]
        if breadth < self.top_k:
            return np.arange(len(keep))
        kept = keep.cumsum(axis=1)
        if self.filter is None:
            return np.flatnonzero(kept[:, -1] < self.top_k)
        last = (kept < self.top_k).sum(axis=1) + 1
        sure = [
            is_sure(self.top_k, self.ef_search, breadth=breadth, last=one) for one in last.tolist()
        ]
        return np.flatnonzero(np.logical_not(sure))

    def _completed(
        self,
        found: Found,
        keep: npt.NDArray[np.bool_],
        pending: SlotArray,
        short: SlotArray,
    ) -> Iterator[SlotArray]:
        """Yield the candidates of each query: found and pending ones; of all, where it is short."""
        enough = np.ones(len(keep), dtype=np.bool_)
        enough[short] = False
        beside = self._scan(found.view, pending, self.queries[enough])
        whole: Iterator[SlotArray] = iter(())
        if len(short):
            slots = self._taking_part(found.view, 0)
            whole = self._scan(found.view, slots, self.queries[short])
        for row, kept, is_enough in zip(found.slots, keep, enough.tolist(), strict=True):
            if is_enough:
                near = row[kept][: self.top_k + _SPARE]
                yield np.concatenate([near, next(beside)]) if len(pending) else near
            else:
                yield next(whole)

    # --- Ranking ----------------------------------------------------------------------------------

    def _rank(
        self, view: View, slots: SlotArray, first: int = 0, counts: SlotArray | None = None
    ) -> list[Ranked]:
        """Score a few candidates of each query and return the nearest, all queries at once.

        Args:
            view: Whose slots they are.
            slots: intp, shape (q, c): candidates of each query, ``top_k`` or a few more.
            first: The query of the first row.
            counts: intp, shape (q,): how many of them are candidates; all where it is missing.
        """
        if len(self.queries) == 1:
            return [self._nearest(view, slots[0], self.queries)]
        ranked: list[Ranked] = []
        width = slots.shape[1]
        per_block = max(1, _BLOCK_FLOATS // (width * self.queries.shape[1]))
        for start in range(0, len(slots), per_block):
            self.deadline.check()
            block = slots[start : start + per_block]
            queries = self.queries[first + start : first + start + len(block)]
            scores = self._scores(view, block, queries)
            stops = [width] * len(block)
            if counts is not None:
                some = counts[start : start + per_block]
                scores[np.arange(width) >= some[:, None]] = np.inf
                stops = some.tolist()
            order = scores.argsort(axis=1)
            each = np.arange(len(scores))[:, None]
            block, scores = block[each, order], scores[each, order]
            tied = (scores[:, 1:] == scores[:, :-1]) & (scores[:, 1:] < np.inf)
            if np.count_nonzero(tied):
                for row, score, stop in zip(block, scores, stops, strict=True):
                    ranked.append(self._cut(view, row[:stop], score[:stop]))
                continue
            cuts = [min(stop, self.top_k) for stop in stops]
            for row, score, cut in zip(block, scores, cuts, strict=True):
                ranked.append(Ranked(row[:cut], score[:cut]))
        return ranked

    def _rank_each(self, view: View, candidates: Iterable[SlotArray]) -> list[Ranked]:
        """Score the candidates of each query, however many, and return the nearest."""
        if len(self.queries) == 1:
            (slots,) = candidates
            return [self._nearest(view, slots, self.queries)]
        ranked: list[Ranked] = []
        some: list[SlotArray] = []
        room = _BLOCK_FLOATS // self.queries.shape[1]
        for slots in candidates:
            some.append(slots)
            if len(some) == _TOGETHER or sum(map(len, some)) >= room:
                ranked.extend(self._rank_some(view, len(ranked), some))
                some = []
        if some:
            ranked.extend(self._rank_some(view, len(ranked), some))
        return ranked

    def _rank_some(self, view: View, first: int, some: list[SlotArray]) -> list[Ranked]:
        """Rank the candidates of the queries from ``first`` on, together where they are alike."""
        counts = np.array([len(slots) for slots in some])
        if len(some) > 1 and 0 < counts.max() <= _WIDE_MAX * counts.mean():
            padded = np.zeros((len(some), counts.max()), dtype=np.intp)
            padded[np.arange(padded.shape[1]) < counts[:, None]] = np.concatenate(some)
            return self._rank(view, padded, first, counts)
        ranked = []
        for number, slots in enumerate(some, first):
            ranked.append(self._nearest(view, slots, self.queries[number : number + 1]))
        return ranked

    def _nearest(self, view: View, slots: SlotArray, query: Float32Array) -> Ranked:
        """Score the candidates of one query, in blocks, and return the nearest.

        Args:
            view: Whose slots they are.
            slots: intp, shape (c,).
            query: float32, shape (1, dimension).
        """
        self.deadline.check()
        step = max(1, _BLOCK_FLOATS // query.shape[1])
        if len(slots) <= step:
            return self._cut(view, slots, self._scores(view, slots[None], query)[0])
        parts = np.split(slots, range(step, len(slots), step))
        scores = [self._scores(view, part[None], query)[0] for part in parts]
        return self._cut(view, slots, np.concatenate(scores))

    def _scores(self, view: View, slots: SlotArray, queries: Float32Array) -> Float64Array:
        """Return exact distances: slots intp of shape (q, c), float64 of the same shape."""
        rows, norms = view.rows.take(slots, axis=0), view.squared_norms.take(slots)
        return self.generation.metric.score(rows, norms, queries)

    def _cut(self, view: View, slots: SlotArray, scores: Float64Array) -> Ranked:
        """Return the ``top_k`` nearest of a query's candidates, those of equal distance by key."""
        top_k = self.top_k
        # One more than wanted: it might be as near as the last.
        if len(slots) <= max(_SORTED_MAX, top_k + 1):
            order = scores.argsort()[: top_k + 1]
        else:
            order = scores.argpartition(top_k)[: top_k + 1]
            order = order.take(scores.take(order).argsort())
        nearest = scores.take(order)
        if np.count_nonzero(nearest[1:] == nearest[:-1]):
            return self._cut_tied(view, slots, scores)
        return Ranked(slots.take(order[:top_k]), nearest[:top_k])

    def _cut_tied(self, view: View, slots: SlotArray, scores: Float64Array) -> Ranked:
        """Do as ``_cut`` where some distances are equal."""
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
        keys = [key.encode() for key in view.keys.at(slots)]
        order = sorted(range(len(keys)), key=lambda place: (scores[place], keys[place]))
        return Ranked(slots[order], scores[order])


_NO_SLOTS: SlotArray = np.empty(0, dtype=np.intp)
