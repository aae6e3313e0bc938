"""The messages of a put stream, read one at a time, with a way to end the stream from outside.

A worker that waits for the next message of a call cannot be woken by anything else: not by a drain,
not by a newer stream that takes this one's place. So another thread waits for the message, and the
worker waits for whichever comes first.

Rules of this file: the next message is asked for only when it is wanted, or to know whether there
is one, so that a stream holds one that waits at most, beside the one that it works on; an
interruption never loses an answer, because it is seen only between messages; the source is closed
by the thread that reads it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future
from contextlib import closing, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from vectorbucket.errors import ServiceUnavailable, VectorBucketError

T = TypeVar("T")


class Feed(Generic[T]):
    """An iterator over a call's messages that can be interrupted."""

    def __init__(self, messages: Generator[T, None, None], readers: Executor) -> None:
        """Take over the messages.

        Args:
            messages: The source; from now on used by the readers only.
            readers: Runs at most one read of this feed at a time.
        """
        self._messages = messages
        self._readers = readers
        self._events: SimpleQueue[Future[T | None] | VectorBucketError] = SimpleQueue()
        self._read: Future[T | None] | None = None
        self._is_reading = False
        """Whether a read was begun whose message nobody has taken."""
        self._next: Future[T | None] | VectorBucketError | None = None
        """What ``is_near`` found."""

    def __iter__(self) -> Iterator[T]:
        """Return itself."""
        return self

    def __next__(self) -> T:
        """Return the next message, once it is there.

        Raises:
            VectorBucketError: The interruption, if one came first.
            grpc.RpcError: The call ended, as its own iterator says it.
        """
        self._begin_read()
        event, self._next = self._next or self._events.get(), None
        if isinstance(event, VectorBucketError):
            raise event
        self._is_reading = False
        message = event.result()
        if message is None:
            raise StopIteration
        return message

    def is_near(self, within_s: float) -> bool:
        """Return whether ``next`` has something to return or to raise, now or within a moment."""
        self._begin_read()
        if self._next is None:
            with suppress(Empty):
                self._next = self._events.get(timeout=within_s)
        return self._next is not None

    def _begin_read(self) -> None:
        """Let a reader wait for the next message, unless one does."""
        if not self._is_reading:
            self._is_reading = True
            self._read = self._readers.submit(next, self._messages, None)
            self._read.add_done_callback(self._events.put)

    def interrupt(self, error: VectorBucketError) -> None:
        """Make the next wait for a message, or the present one, end with an error."""
        self._events.put(error)

    def close(self) -> None:
        """Let go of the source: now, or when the read that is under way returns."""
        if self._read is None:
            self._messages.close()
        else:
            self._read.add_done_callback(lambda _read: self._messages.close())


class Drain:
    """The end of service, in two steps.

    It is announced, so that callers go elsewhere; it begins, and streams that wait for messages are
    told, new calls are refused.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: set[Callable[[VectorBucketError], None]] = set()
        self._told: set[Callable[[], object]] = set()
        self.is_announced = False
        """Whether the server says that it will be gone soon."""
        self.has_begun = False
        """Whether it takes no new calls."""

    @contextmanager
    def watch(self, interrupt: Callable[[VectorBucketError], None]) -> Iterator[None]:
        """Call ``interrupt`` when the drain begins, if it does while the block runs.

        Raises:
            ServiceUnavailable: The drain has begun already.
        """
        with self._lock:
            self.check()
            self._watched.add(interrupt)
        try:
            yield
        finally:
            with self._lock:
                self._watched.discard(interrupt)

    @contextmanager
    def tell(self, changed: Callable[[], object]) -> Iterator[None]:
        """Call ``changed`` after each step of the drain that is taken while the block runs."""
        with self._lock:
            self._told.add(changed)
        try:
            yield
        finally:
            with self._lock:
                self._told.discard(changed)

    def check(self) -> None:
        """Return if calls are taken.

        Raises:
            ServiceUnavailable: They are not any more.
        """
        if self.has_begun:
            raise _draining()

    def announce(self) -> None:
        """Say that the server will be gone soon; it still serves everything. Idempotent."""
        with self._lock:
            self.is_announced = True
            told = list(self._told)
        for changed in told:
            changed()

    def begin(self) -> None:
        """Interrupt everything watched, and refuse what comes later. Idempotent."""
        with self._lock:
            self.is_announced = self.has_begun = True
            watched, told = list(self._watched), list(self._told)
        for interrupt in watched:
            interrupt(_draining())
        for changed in told:
            changed()


def until_drained(
    messages: Generator[T, None, None], drain: Drain, readers: Executor
) -> Generator[T, None, None]:
    """Yield a call's messages until they end or a drain begins.

    For streams that know nothing of drains and wait for their caller without one.

    Raises:
        ServiceUnavailable: The drain began.
    """
    with closing(Feed(messages, readers)) as feed, drain.watch(feed.interrupt):
        yield from feed


def _draining() -> ServiceUnavailable:
    """Return the error of a call that the server has no more time for."""
    return ServiceUnavailable("the server is shutting down; call again when it is back")
