"""Calls whose first message has not come yet, and an end for those that keep it back.

gRPC waits for the message of a unary call on a thread of the server, for as long as the caller
likes. So whoever waits here is written down, and a thread that looks now and then cancels those
that are late. Of strangers only a few messages are read at once, because they may be large; who
keeps one of these places for nothing loses it to whoever wants it.

Rules of this file: it costs a call a line in a dictionary, no more.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import grpc

from vectorbucket.errors import InvalidArgument, QpsLimitExceeded, RequestTimeout

LOOK_EVERY_S = 0.25
"""How often it is looked who is late."""


PLACE_S = 0.05
"""How long a place among the messages of strangers is nobody else's: a probe's message comes with
its headers, and has a few bytes. While others wait, it is lost after that."""


class _Awaited(NamedTuple):
    context: grpc.ServicerContext
    until_s: float


class FirstMessages:
    """The first messages of calls; one for a server."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Make it; ``clock`` tells seconds."""
        self._clock = clock
        self._numbers = itertools.count()
        self._awaited: dict[int, _Awaited] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="first messages", daemon=True)

    def start(self) -> None:
        """Start to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; idempotent, also when it was never started."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def first(
        self, raws: Iterator[bytes], context: grpc.ServicerContext, timeout_s: float
    ) -> bytes:
        """Return the first message of a call, once it is there.

        Args:
            raws: The call's messages.
            context: The call.
            timeout_s: Seconds from now after which it may be cancelled.

        Raises:
            InvalidArgument: The caller ended the call without one.
            RequestTimeout: It did not come in time, and the call was cancelled.
            grpc.RpcError: The call ended, as its own iterator says it.
        """
        number, until_s = next(self._numbers), self._clock() + timeout_s
        self._awaited[number] = _Awaited(context, until_s)
        try:
            for raw in raws:
                return raw
        except grpc.RpcError:
            if self._clock() < until_s:
                raise
        finally:
            del self._awaited[number]
        # Of a call that is cancelled gRPC may first say that no message follows.
        if self._clock() < until_s:
            raise InvalidArgument("the call has no message")
        raise RequestTimeout(f"no message came within {timeout_s:g} s; the call was cancelled")

    def cancel_late(self) -> None:
        """Cancel the calls that are late."""
        now_s = self._clock()
        # A copy, because others add and remove meanwhile.
        for awaited in self._awaited.copy().values():
            if now_s >= awaited.until_s:
                awaited.context.cancel()  # type: ignore[no-untyped-call]

    def _run(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self.cancel_late()


class _Place(NamedTuple):
    context: grpc.ServicerContext
    since_s: float


class StrangersMessages:
    """Places for the messages of callers who may be anybody; one for a server."""

    def __init__(self, count: int, clock: Callable[[], float]) -> None:
        """Make it.

        Args:
            count: Messages that are read at once.
            clock: Tells seconds.
        """
        self._count = count
        self._clock = clock
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._taken: dict[int, _Place | None] = {}
        """The places by the order in which they were taken; None: its call is cancelled."""

    @contextmanager
    def place(self, context: grpc.ServicerContext, wait_s: float) -> Iterator[None]:
        """Hold a place while the block runs; the call is cancelled if it does so for too long.

        Args:
            context: The call.
            wait_s: The longest that it waits for one.

        Raises:
            QpsLimitExceeded: None became free.
        """
        number = self._take(context, wait_s)
        try:
            yield
        finally:
            with self._changed:
                del self._taken[number]
                self._changed.notify()

    def _take(self, context: grpc.ServicerContext, wait_s: float) -> int:
        """Wait for a place and take it."""
        until_s = self._clock() + wait_s
        with self._changed:
            while len(self._taken) >= self._count:
                now_s = self._clock()
                if now_s >= until_s:
                    raise QpsLimitExceeded(
                        f"{self._count} callers keep their message back; try again"
                    )
                self._hurry_one(now_s)
                self._changed.wait(PLACE_S / 2)
            number = next(self._numbers)
            self._taken[number] = _Place(context, self._clock())
            return number

    def _hurry_one(self, now_s: float) -> None:
        """Cancel the call that has had a place for the longest time, if that was long enough."""
        for number, place in self._taken.items():
            if place is not None and now_s - place.since_s >= PLACE_S:
                self._taken[number] = None
                place.context.cancel()  # type: ignore[no-untyped-call]
                return
