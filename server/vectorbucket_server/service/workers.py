"""The threads of the server: which calls run on which, so that none can take another's.

Streams run on threads that only streams use; unary calls that write (they may wait for a disk or
for the indexer) and unary calls that read have threads of their own. So neither idle streams nor a
disk that hangs can keep a query waiting. What an operator asks for may take minutes, and so has its
own, too; and questions for health, which have to be answered whatever all others wait for.

Rules of this file: every pool is bounded; a pool's threads are made when they are first needed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

REFUSERS = 4
"""Threads beside those of the permitted streams: they tell the others, at once, that there are too
many."""

FEEDS_PER_STREAM = 4
"""Threads that wait for messages, for each permitted stream: one for itself, and some for streams
that were superseded and whose dead connection gRPC has not noticed yet."""

OPERATORS = 4
"""Threads for what operators ask for and what takes its time: backups, loading, rebuilding."""

CHECKERS = 8
"""Threads that say how the server fares. Anybody may ask, also who is not known; so there are more
than messages that are read at once, or nobody would be there to hurry those who keep theirs back.
"""

WATCHES_MAX = 64
"""Calls that may watch how the server or an index fares, at once; a thread each."""

_LONG = frozenset(
    {"PutBackup", "DeleteBackup", "RebuildVectorIndex", "LoadVectorIndex", "UnloadVectorIndex"}
)
"""Methods that operators call, and that may take long."""

_WRITING = ("Put", "Delete")
"""How the names of methods begin that change something."""


class Workers:
    """The thread pools of one server."""

    def __init__(self, streams_max: int, unary_workers: int) -> None:
        """Make the pools.

        Args:
            streams_max: Streaming calls that may be open at once.
            unary_workers: Threads for unary calls that read, and as many for those that write.
        """
        self._streams = ThreadPoolExecutor(streams_max + REFUSERS, "stream")
        self._readers = ThreadPoolExecutor(unary_workers, "read")
        self._writers = ThreadPoolExecutor(unary_workers, "write")
        self._operators = ThreadPoolExecutor(OPERATORS, "operate")
        self.checkers = ThreadPoolExecutor(CHECKERS, "check")
        """Answers the unary calls for health."""
        self.watchers = ThreadPoolExecutor(WATCHES_MAX + REFUSERS, "watch")
        """Answers the streaming ones."""
        self.feeds = ThreadPoolExecutor(FEEDS_PER_STREAM * streams_max, "feed")
        """Waits for the messages of put streams."""
        self.rest = ThreadPoolExecutor(streams_max + REFUSERS + 2 * unary_workers, "call")
        """What gRPC is given for calls that name no pool: those of unknown callers and of unknown
        methods, which it refuses at once. Large enough for all calls together, in case a gRPC to
        come no longer asks a handler for its pool."""

    def pool_of(self, method: str, *, streaming: bool) -> ThreadPoolExecutor:
        """Return where the calls of a method run.

        Args:
            method: The RPC's name, as ``QueryVectors``.
            streaming: Whether it streams either way.
        """
        if streaming:
            return self._streams
        if method in _LONG:
            return self._operators
        return self._writers if method.startswith(_WRITING) else self._readers

    def shut_down(self) -> None:
        """Wait until every call that runs has returned, and end the threads."""
        for pool in (
            self._streams,
            self._readers,
            self._writers,
            self._operators,
            self.checkers,
            self.watchers,
            self.rest,
            self.feeds,
        ):
            pool.shutdown(wait=True, cancel_futures=True)
