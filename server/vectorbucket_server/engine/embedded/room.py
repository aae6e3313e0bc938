"""An index's generation in memory: how it comes, stays, is replaced, and leaves.

Three locks, taken in this order: ``saving`` by whoever writes a checkpoint or lets the generation
leave, ``work`` by whoever changes the graph or needs it to stand still, and the write mutex. None
is held while memory is asked for (budget.py), because that may take those of another index.

Rules of this file:

- A generation that readers may hold is never gone on with: it leaves only when nobody uses it, and
  what replaces it has files of its own.
- What is done to the generation while it is here is open_index.py's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vectorbucket.errors import (
    Corruption,
    NoSuchVectorIndex,
    RequestTimeout,
    ServiceUnavailable,
)
from vectorbucket_server.engine.base import NO_DEADLINE, Deadline, Observer
from vectorbucket_server.engine.embedded.budget import MemoryBudget
from vectorbucket_server.engine.embedded.dead_rows import DeadRows
from vectorbucket_server.engine.embedded.footprint import index_bytes
from vectorbucket_server.engine.embedded.generation import Generation, disk_error
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.recovery import (
    BeingLoaded,
    Recovery,
    load_checkpoints,
    load_dead,
    load_state,
)
from vectorbucket_server.engine.embedded.schema import Checkpoint, IndexState
from vectorbucket_server.engine.embedded.store import Store
from vectorbucket_server.model import Index

_WAIT_S = 2.0
"""How long, in seconds, a caller waits for an index that another thread is loading."""

_LEAVE_WAIT_S = 1.0
"""How long, in seconds, whoever wants a generation to leave waits for those who work on it."""

_USERS_LOOK_S = 0.001
"""How often, in seconds, it is looked whether the last user is done."""


class Room:
    """Where the generation of one index is, or is not."""

    def __init__(
        self,
        index: Index,
        store: Store,
        options: EmbeddedOptions,
        observer: Observer,
        *,
        budget: MemoryBudget[Any],
        work_came: Callable[[], None],
    ) -> None:
        """Make the room; nothing is read yet.

        Args:
            index: The index.
            store: Where its records are.
            options: Of the engine.
            observer: Is told of checkpoints that cannot be believed.
            budget: Asked before memory is taken.
            work_came: Called when there is work for the indexer or the reaper.
        """
        self.index = index
        self.used_s = time.monotonic()
        """When a call last needed the generation, on the monotonic clock."""
        self.saved_s = time.monotonic()
        """When the last checkpoint was written, or the generation loaded, on the same clock."""
        self.checkpoints: list[Checkpoint] = []
        """Those that may be good, the newest first. Only under ``saving`` or the mutex."""
        self.saving = threading.Lock()
        """Held while a checkpoint is written and named."""
        self.work = threading.Lock()
        """Held while the graph is changed, or must not be."""
        self.is_busy = False
        """Whether a rebuild is under way: a checkpoint now would soon be of no use."""
        self._store = store
        self._options = options
        self._observer = observer
        self._budget = budget
        self._work_came = work_came
        self._mutex = threading.Lock()
        self._coming = threading.Lock()
        """Held while memory is asked for: others may have to leave, and whoever waits for the same
        room waits here, where he can give up. Taken by nobody who holds another lock."""
        self._dropped = False
        self._may_resume = True
        self._generation: Generation | None = None
        self._known: IndexState | None = None
        self._users: set[object] = set()
        """Tickets of those who hold a generation, this one or one that it replaced."""
        self.dead_rows = DeadRows(index.index_id, store)

    @property
    def directory(self) -> Path:
        """Where the generations of this index are."""
        return self._options.data_dir / "generations" / str(self.index.index_id)

    @property
    def generation(self) -> Generation | None:
        """The generation, if it is in memory."""
        return self._generation

    @property
    def is_dropped(self) -> bool:
        """Whether the index was deleted."""
        return self._dropped

    @property
    def size_bytes(self) -> int:
        """Bytes of memory that the index takes now, about."""
        generation = self._generation
        return 0 if generation is None else generation.size_bytes

    def needed_bytes(self) -> int:
        """Return the bytes of memory that the index will take once it is loaded, about.

        Raises:
            Corruption: The store's counters are broken.
        """
        count = max(load_state(self._store, self.index).vector_count, 0)
        if self._may_resume:
            for checkpoint in load_checkpoints(self._store, self.index)[:1]:
                count = max(count, checkpoint.count)
        return index_bytes(self.index, self._options, count)

    def load(self, deadline: Deadline, stop: Deadline = NO_DEADLINE) -> Generation:
        """Return the generation, bringing it into memory if need be.

        Args:
            deadline: How long the caller waits for someone else who is loading it. Whoever has
                begun finishes, or callers with little time would for ever begin anew.
            stop: Ends the loading all the same, when the engine closes.

        Raises:
            NoSuchVectorIndex: The index was dropped.
            MemoryBudgetExceeded: It does not fit into memory, whatever else leaves.
            RequestTimeout: The deadline passed while it was loaded.
            ServiceUnavailable: Someone else is loading it, and that takes longer than a moment.
            Corruption: The store's records do not fit together.
        """
        with _Use(self, deadline, stop) as generation:
            return generation

    def using(self, deadline: Deadline) -> AbstractContextManager[Generation]:
        """Return the generation as ``load`` does, and keep it in memory until the block is done."""
        return _Use(self, deadline, NO_DEADLINE)

    def enter(self, ticket: object, deadline: Deadline, stop: Deadline) -> Generation:
        """Return the generation, for a user with a ticket who says when he is done: ``leave``."""
        if self._dropped:
            raise self._gone()
        self.used_s = time.monotonic()
        # Whoever wants it to leave takes it away first and looks for users then: who has a ticket
        # before it looks for the generation, and finds it, is seen.
        self._users.add(ticket)
        generation = self._generation
        return self._loaded(deadline, stop, ticket) if generation is None else generation

    def leave(self, ticket: object) -> None:
        """Say that a user is done."""
        self._users.discard(ticket)

    def _loaded(self, deadline: Deadline, stop: Deadline, ticket: object) -> Generation:
        """Bring the generation into memory, for a user with this ticket."""
        # Whoever lets it leave must not wait for somebody who waits for it to be gone.
        self._users.discard(ticket)
        with self._admitted(deadline, 0):
            generation = self._load_held(stop)
            self._users.add(ticket)  # still in the hold: it cannot have left yet
        return generation

    @contextmanager
    def _admitted(self, deadline: Deadline, extra_bytes: int) -> Iterator[None]:
        """Hold the write mutex, and room in memory for the generation and so much more.

        Raises:
            MemoryBudgetExceeded: There is no such room.
        """
        while True:
            with self._holding(self._coming, deadline):
                self._budget.admit(self, self._grown_bytes(extra_bytes))
            with self._entry_kept(), self._writing(deadline):
                # It may have left since, and its room may be taken.
                if not self._budget.holds(self):
                    continue
                try:
                    yield
                finally:
                    if self._generation is None:
                        self._budget.left(self)
                    self._budget.note(self)
                return

    def _grown_bytes(self, extra_bytes: int) -> int:
        """Return what the index will take in all, loaded, with so much more in it."""
        try:
            generation = self._generation
            if generation is None:
                return self.needed_bytes() + extra_bytes
            # As much as it will ask for when it comes back, or it could not.
            estimated_bytes = index_bytes(self.index, self._options, generation.view.count)
            return max(generation.size_bytes, estimated_bytes) + extra_bytes
        except Corruption:
            if self._dropped:  # and its records removed, meanwhile
                raise self._gone() from None
            raise

    @contextmanager
    def _entry_kept(self) -> Iterator[None]:
        """Keep what was admitted, unless the block fails and nothing is loaded for it."""
        try:
            yield
        except (RequestTimeout, ServiceUnavailable):
            if self._generation is None:
                self._budget.left(self)
            raise

    def _writing(self, deadline: Deadline) -> AbstractContextManager[None]:
        """Hold the write mutex; see ``_holding``."""
        return self._holding(self._mutex, deadline)

    @contextmanager
    def _holding(self, lock: threading.Lock, deadline: Deadline) -> Iterator[None]:
        """Hold a lock.

        Raises:
            RequestTimeout: The deadline passed before that.
            BeingLoaded: Somebody is loading the index, and that takes longer than a moment.
        """
        left_s = deadline.remaining_s()
        patient = left_s is None or left_s > _WAIT_S
        if not lock.acquire(timeout=_WAIT_S if patient else max(left_s or 0.0, 0.0)):
            # Whoever waits holds a worker; other indexes need those.
            text = f"index {self.index.name!r} is still being loaded"
            raise BeingLoaded(text) if patient else RequestTimeout(text)
        try:
            yield
        finally:
            lock.release()

    def _load_held(self, stop: Deadline = NO_DEADLINE) -> Generation:
        """Return the generation; the caller holds the mutex."""
        if self._dropped:
            raise self._gone()
        if self._generation is None:
            recovery = Recovery(self._store, self.index, self._options, self._observer)
            try:
                recovered = recovery.run(
                    self._state(), self.directory, stop=stop, resume=self._may_resume
                )
            except OSError as error:
                raise disk_error(self.index.name, error) from error
            self._generation, self.checkpoints = recovered.generation, recovered.checkpoints
            self.saved_s, self._may_resume = time.monotonic(), True
            self._work_came()
        return self._generation

    def _state(self) -> IndexState:
        """Return the counters; the caller holds the mutex."""
        if self._known is None:
            state = load_state(self._store, self.index)
            self.dead_rows.start_over(load_dead(self._store, self.index))
            self._known = state
        return self._known

    @contextmanager
    def frozen(self) -> Iterator[tuple[Generation | None, IndexState]]:
        """Hold rows and graph still; yield the generation, None if there is none, and the state.

        Raises:
            NoSuchVectorIndex: The index was dropped.
        """
        with self.work, self._mutex:
            if self._dropped:
                raise self._gone()
            yield self._generation, self._state()

    def swap(self, old: Generation, new: Generation) -> bool:
        """Put a generation in another's place; inside ``frozen``. Return False if it is not there.

        Readers that have the old one finish with it.
        """
        if self._generation is not old:
            return False
        self._generation = new
        # The newest checkpoints are the old one's; its files stay until new ones are written.
        old.close()
        self._budget.note(self)
        return True

    def unload(self, *, afresh: bool = False) -> bool:
        """Let the generation leave memory; return False if it is in use or not there.

        What no checkpoint holds is made again from the store when the index is used again; if
        ``afresh``, all of it is, without what is dead.
        """
        until = time.monotonic() + _LEAVE_WAIT_S
        with ExitStack() as held:
            for lock in (self.saving, self.work, self._mutex):
                if not lock.acquire(timeout=max(until - time.monotonic(), 0.0)):
                    return False  # whoever is at work on it is using it
                held.callback(lock.release)
            if self.is_busy:
                return False  # before it is taken away, or the rebuild would take itself for old
            generation, self._generation = self._generation, None
            if generation is None:
                return False
            # Whoever comes from now on finds nothing and waits for the mutex.
            while self._users and time.monotonic() < until:
                time.sleep(_USERS_LOOK_S)
            if self._users:
                self._generation = generation
                return False
            generation.close()
            self._may_resume = self._may_resume and not afresh
            self._budget.left(self)
        return True

    def forget(self) -> None:
        """Throw away what is in memory, because it may not be what is in the store.

        It is made again from the store, and not from a checkpoint, whose files readers may still
        look at. The caller holds the mutex.
        """
        generation, self._generation = self._generation, None
        self._known, self._may_resume = None, False
        if generation is not None:
            generation.close()
        self._budget.left(self)

    def drop(self, forget: Callable[[], None]) -> None:
        """Run ``forget``, which removes the definition, and refuse everything from then on.

        Raises:
            NoSuchVectorIndex: The index was dropped already.
        """
        with self._mutex:
            if self._dropped:
                raise self._gone()
            forget()
            self._dropped = True

    def close(self) -> None:
        """Let go of the generation, once nobody works on it or saves it any more."""
        with self.saving, self.work, self._mutex:
            if self._generation is not None:
                self._generation.close()
                self._generation = None
            self._budget.left(self)

    def _gone(self) -> NoSuchVectorIndex:
        return NoSuchVectorIndex.of(self.index.bucket_name, self.index.name)

    def reading(self) -> AbstractContextManager[None]:
        """Keep the rows of everything that is live now until the reader is done."""
        return self.dead_rows.reading(self._seq)

    def _seq(self) -> int:
        """Return the newest seq, or 0 if nothing was read or written yet in this process."""
        known = self._known
        return 0 if known is None else known.seq


class _Use:
    """One use of a generation. Not a generator: that would cost each query two microseconds."""

    __slots__ = ("_deadline", "_room", "_stop", "_ticket")

    def __init__(self, room: Room, deadline: Deadline, stop: Deadline) -> None:
        self._room = room
        self._deadline = deadline
        self._stop = stop
        self._ticket = object()

    def __enter__(self) -> Generation:
        try:
            return self._room.enter(self._ticket, self._deadline, self._stop)
        except BaseException:
            self._room.leave(self._ticket)
            raise

    def __exit__(self, *error: object) -> None:
        self._room.leave(self._ticket)
