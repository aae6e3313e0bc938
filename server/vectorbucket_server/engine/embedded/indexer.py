"""The background thread that puts pending vectors into graphs, and builds worn ones anew.

One thread serves all indexes, so that two graphs never compete for the cores; hnswlib itself uses
several threads within a turn. A turn holds the graph alone, so its length is what a query may have
to wait: large turns while nobody queries, short ones as soon as somebody does.

Rules of this file: it decides when and how much; generation.py and rebuild.py know how.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from vectorbucket.errors import (
    MemoryBudgetExceeded,
    NoSuchVectorIndex,
    RequestTimeout,
    VectorBucketError,
)
from vectorbucket_server.engine.base import NO_DEADLINE, NoDeadline, Observer
from vectorbucket_server.engine.embedded.budget import MemoryBudget
from vectorbucket_server.engine.embedded.generation import Generation
from vectorbucket_server.engine.embedded.open_index import OpenIndex
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.rebuild import Rebuild, is_worn
from vectorbucket_server.engine.embedded.store import Store

_QUERIES_RECENT_S = 0.2
"""A query within so many seconds makes turns short."""

_PUTS_RECENT_S = 0.05
"""A put within so many seconds is part of a burst."""

_BURST_S = 2.0
"""How long a burst of puts goes first. Graphs and puts share the cores: a burst that is
acknowledged before it is indexed is acknowledged about twice as fast, and is indexed hardly later.
"""

_ROWS_PER_S_FIRST = 2_000.0
"""What a new graph is assumed to take, until a turn was measured."""

_AFTER_FAILURE_S = 10.0
"""How long an index whose turn failed is left alone, and one whose rebuild found no memory is not
rebuilt."""

_FAILURES = (VectorBucketError, RuntimeError, MemoryError, OSError, ValueError)
"""What hnswlib, numpy, the store and the disk may raise. None of it may end the thread."""


class Pace:
    """How many rows the next turn of an index should take. Pure arithmetic."""

    def __init__(self, options: EmbeddedOptions) -> None:
        self._options = options
        # hnswlib drops to one thread at 4 rows a thread or fewer.
        self._rows_min = 4 * options.threads() + 1
        self._rows_per_s = _ROWS_PER_S_FIRST

    def rows(self, *, queried_recently: bool) -> int:
        """Return how many rows the next turn should take."""
        most = max(self._options.turn_rows_idle, self._rows_min)
        if not queried_recently:
            return most
        fitting = int(self._rows_per_s * self._options.turn_target_s)
        return min(max(fitting, self._rows_min), most)

    def measured(self, rows: int, seconds: float) -> None:
        """Note how long a turn took; the newest counts a quarter."""
        if rows and seconds > 0:
            self._rows_per_s += 0.25 * (rows / seconds - self._rows_per_s)


class Indexer:
    """The thread, and what wakes it."""

    def __init__(
        self,
        indexes: Callable[[], Sequence[OpenIndex]],
        store: Store,
        budget: MemoryBudget[OpenIndex],
        options: EmbeddedOptions,
        observer: Observer,
    ) -> None:
        """Make the indexer; ``start`` starts it.

        Args:
            indexes: Returns the indexes that are open.
            store: Where their records are.
            budget: Asked before a second generation of an index is made.
            options: Of the engine.
            observer: Is told of every turn.
        """
        self._indexes = indexes
        self._store = store
        self._budget = budget
        self._options = options
        self._observer = observer
        self._condition = threading.Condition()
        self._woken = False
        self._stopping = False
        self._paces: dict[int, Pace] = {}
        self._left_alone: dict[int, float] = {}
        self._bursts: dict[int, float] = {}
        """When the burst of an index began that has not been indexed yet."""
        self._yielding = False
        self._rebuilds: dict[int, Rebuild] = {}
        self._asked: dict[int, OpenIndex] = {}
        """What is to be rebuilt because somebody wants it, until that is over."""
        self._refused: dict[int, float] = {}
        """When an index may be rebuilt for which there was no memory."""
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the turn under way and end the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join()

    def wake(self) -> None:
        """Say that there may be work."""
        if self._woken:
            return
        with self._condition:
            self._woken = True
            self._condition.notify()

    def rebuild(self, opened: OpenIndex) -> None:
        """Have the graph of an index built anew, worn or not; see Engine.rebuild_index.

        It is busy when this returns, unless it needs no graph, and until that is over.
        """
        try:
            while not opened.is_busy:
                generation = opened.bring(NO_DEADLINE)
                if not generation.wants_graph:
                    return
                self._budget.reserve(opened, _second_bytes(generation))
                # Held, or it could be about to leave.
                with opened.frozen() as (found, _):
                    if found is generation and not opened.is_busy:
                        self._asked[opened.index.index_id] = opened
                        opened.is_busy = True
        finally:
            if not opened.is_busy:
                self._budget.release(opened)
        self.wake()

    def _run(self) -> None:
        self._load()
        while True:
            with self._condition:
                # An index that was left alone is looked at again without being asked.
                later_s = _AFTER_FAILURE_S if self._left_alone or self._refused else None
                self._condition.wait_for(
                    lambda: self._woken or self._stopping,
                    _PUTS_RECENT_S if self._yielding else later_s,
                )
                self._woken = False
            while not self._stopping and self._round():
                pass
            if self._stopping:
                for opened in self._indexes():
                    self._abandon(opened)
                return

    def _load(self) -> None:
        """Load the indexes that fit into memory, so that their first callers find them there."""
        for opened in self._indexes():
            if self._stopping:
                return
            try:
                left = self._budget.limit_bytes - self._budget.taken_bytes
                if opened.needed_bytes() <= left:
                    opened.load(NO_DEADLINE, stop=_UntilStop(self))
            except NoSuchVectorIndex:
                continue  # dropped meanwhile
            except RequestTimeout:
                return  # the engine is closing
            except _FAILURES as error:
                if not opened.is_dropped:  # else its records are on their way out
                    self._observer.background_failed(f"loading of {opened.index.name!r}", error)

    def _round(self) -> bool:
        """Give each index that has work one turn; return whether there was any."""
        worked = self._yielding = False
        self._forget_dropped()
        for opened in self._indexes():
            generation = opened.generation
            index_id = opened.index.index_id
            if generation is None and (index_id in self._rebuilds or index_id in self._asked):
                self._abandon(opened)
            if generation is None or self._stopping or not self._has_work(opened, generation):
                self._bursts.pop(index_id, None)
                continue
            if self._puts_go_first(opened):
                self._yielding = True
                continue
            if self._left_alone.get(index_id, 0.0) > time.monotonic():
                continue
            self._left_alone.pop(index_id, None)
            try:
                self._turn(opened, generation)
            except NoSuchVectorIndex:
                self._abandon(opened)
            except _FAILURES as error:
                self._abandon(opened)
                self._left_alone[index_id] = time.monotonic() + _AFTER_FAILURE_S
                self._observer.background_failed(f"indexing of {opened.index.name!r}", error)
            worked = True
        return worked

    def _has_work(self, opened: OpenIndex, generation: Generation) -> bool:
        """Return whether a turn would do something."""
        if opened.index.index_id in self._rebuilds:
            return True
        return generation.has_work or self._wants_rebuild(opened, generation)

    def _wants_rebuild(self, opened: OpenIndex, generation: Generation) -> bool:
        """Return whether a rebuild should begin."""
        if opened.index.index_id in self._asked:
            return True
        if self._refused.get(opened.index.index_id, 0.0) > time.monotonic():
            return False
        return is_worn(generation, self._options)

    def _forget_dropped(self) -> None:
        """Forget what is known of indexes that are not there any more."""
        known = {opened.index.index_id for opened in self._indexes()}
        for notes in (self._paces, self._left_alone, self._bursts, self._refused):
            for index_id in notes.keys() - known:
                del notes[index_id]
        wanted = {index_id: rebuild.opened for index_id, rebuild in self._rebuilds.items()}
        wanted |= self._asked.copy()  # which callers add to
        for index_id in wanted.keys() - known:
            self._abandon(wanted[index_id])

    def _puts_go_first(self, opened: OpenIndex) -> bool:
        """Return whether a burst of puts into the index is under way, and not for long yet."""
        now = time.monotonic()
        if now - opened.put_s >= _PUTS_RECENT_S or not opened.backlog.is_moderate:
            return False
        return now - self._bursts.setdefault(opened.index.index_id, now) < _BURST_S

    def _turn(self, opened: OpenIndex, generation: Generation) -> None:
        """Work on one index for a moment."""
        pace = self._paces.setdefault(opened.index.index_id, Pace(self._options))
        started = time.monotonic()
        recently = started - opened.queried_s < _QUERIES_RECENT_S
        rows_max, threads = pace.rows(queried_recently=recently), self._options.threads()
        rebuild = self._rebuilding(opened, generation)
        with opened.work:
            if opened.is_dropped or opened.generation is not generation:
                return
            # While a graph is built anew, the old one is fed only when too much waits for it:
            # whatever goes into it now is soon thrown away.
            if rebuild is not None and opened.backlog.is_moderate:
                rows = rebuild.step(rows_max, threads)
            else:
                rows = generation.turn(rows_max, threads) if generation.has_work else 0
        seconds = time.monotonic() - started
        pace.measured(rows, seconds)
        if rebuild is not None and rebuild.is_near(rows_max) and rebuild.finish(rows_max):
            self._ended(opened)
            rebuild.sweep()
        self._budget.note(opened)
        if rows:
            self._observer.vectors_indexed(rows, seconds)
        opened.backlog.shrunk()

    def _rebuilding(self, opened: OpenIndex, generation: Generation) -> Rebuild | None:
        """Return the rebuild of the index that is under way, or is to begin."""
        index_id = opened.index.index_id
        rebuild = self._rebuilds.get(index_id)
        if rebuild is not None and rebuild.is_outdated:
            self._abandon(opened)
            rebuild = None
        if rebuild is None and self._wants_rebuild(opened, generation):
            asked = index_id in self._asked
            try:
                self._budget.reserve(opened, _second_bytes(generation))
            except MemoryBudgetExceeded as error:
                if asked:  # and it has grown since
                    self._ended(opened)
                # The worn one goes on: it is slow, but what is pending has to go somewhere. Unless
                # it is mostly dead: then what is alive comes again from the store.
                if generation.dead_count > generation.live_count:
                    opened.unload(afresh=True)
                self._refused[index_id] = time.monotonic() + _AFTER_FAILURE_S
                self._observer.background_failed(f"rebuild of {opened.index.name!r}", error)
                return None
            self._refused.pop(index_id, None)
            with opened.work:  # under which a dropped index is closed, and its files removed after
                if opened.is_dropped or opened.generation is not generation:
                    self._budget.release(opened)
                    return None
                opened.is_busy = True
                self._rebuilds[index_id] = rebuild = Rebuild(
                    opened, generation, self._store, self._options
                )
        return rebuild

    def _ended(self, opened: OpenIndex) -> None:
        """Forget the rebuild of an index."""
        self._rebuilds.pop(opened.index.index_id, None)
        self._asked.pop(opened.index.index_id, None)
        opened.is_busy = False
        self._budget.release(opened)

    def _abandon(self, opened: OpenIndex) -> None:
        """Throw away the rebuild of an index, if there is one."""
        rebuild = self._rebuilds.get(opened.index.index_id)
        self._ended(opened)
        if rebuild is not None:
            rebuild.abandon()


def _second_bytes(generation: Generation) -> int:
    """Return the bytes of memory that a rebuild takes beside the generation.

    What is dead will not be in the new one; there is hardly ever room for all twice.
    """
    return generation.size_bytes * generation.live_count // max(generation.view.count, 1)


class _UntilStop(NoDeadline):
    """The patience of the indexer, which ends when it is to stop."""

    def __init__(self, indexer: Indexer) -> None:
        self._indexer = indexer

    def check(self) -> None:
        """Return, or raise RequestTimeout if the indexer is to stop."""
        if self._indexer._stopping:  # noqa: SLF001 - one idea in two classes
            raise RequestTimeout("the engine is closing")
