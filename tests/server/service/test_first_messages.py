"""Callers who keep their first message back, under a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from rooms import WITHIN_S, eventually
from vectorbucket.errors import InvalidArgument, QpsLimitExceeded, RequestTimeout
from vectorbucket_server.service.first_messages import PLACE_S, FirstMessages, StrangersMessages


class Gone(grpc.RpcError):
    """What gRPC raises where somebody waits on a call that ended."""


class Call:
    """A call as gRPC serves it: its context and its messages in one."""

    def __init__(self) -> None:
        self._cancelled = False
        self._happened = threading.Event()
        self._raw: bytes | None = None

    def cancel(self) -> None:
        """End it from this side."""
        self._cancelled = True
        self._happened.set()

    def is_cancelled(self) -> bool:
        """Return whether it was ended from this side."""
        return self._cancelled

    def send(self, raw: bytes) -> None:
        """Let its message arrive."""
        self._raw = raw
        self._happened.set()

    def messages(self) -> Iterator[bytes]:
        """Yield what arrives."""
        assert self._happened.wait(WITHIN_S)
        if self._raw is None:
            raise Gone
        yield self._raw


class Room:
    """First messages, a clock that stands, and threads that wait."""

    def __init__(self, workers: ThreadPoolExecutor) -> None:
        self.now_s = 0.0
        self.awaited = FirstMessages(lambda: self.now_s)
        self._workers = workers

    def wait_for(self, call: Any, timeout_s: float) -> Any:
        """Wait for a message on a thread; return its future once it waits."""
        before = len(self.awaited._awaited)
        waiting = self._workers.submit(self.awaited.first, call.messages(), call, timeout_s)
        eventually(lambda: len(self.awaited._awaited) > before, "it waits")
        return waiting


@pytest.fixture
def room() -> Iterator[Room]:
    with ThreadPoolExecutor(4) as workers:
        yield Room(workers)


def test_message_that_is_there_is_returned_and_nothing_is_kept(room: Room) -> None:
    call = Call()
    call.send(b"hello")
    first: Any = room.awaited.first(call.messages(), call, 1.0)  # type: ignore[arg-type]
    assert first == b"hello"
    assert not room.awaited._awaited


def test_caller_who_ends_the_call_without_a_message_is_told(room: Room) -> None:
    with pytest.raises(InvalidArgument, match="no message"):
        room.awaited.first(iter([]), Call(), 1.0)  # type: ignore[arg-type]
    assert not room.awaited._awaited


def test_who_is_late_is_cancelled_and_nobody_else(room: Room) -> None:
    late, early = Call(), Call()
    first = room.wait_for(late, 10.0)
    room.now_s = 9.0
    second = room.wait_for(early, 10.0)
    room.awaited.cancel_late()
    assert not late.is_cancelled()
    room.now_s = 10.0
    room.awaited.cancel_late()
    assert late.is_cancelled()
    assert not early.is_cancelled()
    error = first.exception(WITHIN_S)
    assert isinstance(error, RequestTimeout)
    assert "no message came within 10 s" in error.message
    early.send(b"in time")
    assert second.result(WITHIN_S) == b"in time"
    assert not room.awaited._awaited


def test_caller_who_leaves_is_no_timeout(room: Room) -> None:
    call = Call()
    waiting = room.wait_for(call, 10.0)
    call.cancel()
    assert isinstance(waiting.exception(WITHIN_S), Gone)


def test_thread_looks_until_it_is_stopped(room: Room) -> None:
    call = Call()
    waiting = room.wait_for(call, 10.0)
    room.awaited.start()
    room.now_s = 10.0
    assert isinstance(waiting.exception(WITHIN_S), RequestTimeout)
    for _ in range(2):
        room.awaited.stop()
    assert not room.awaited._thread.is_alive()


def test_stopping_what_was_never_started_is_nothing() -> None:
    FirstMessages(lambda: 0.0).stop()


def test_places_are_as_many_as_were_said_and_are_given_back() -> None:
    now_s = iter(range(100)).__next__
    places = StrangersMessages(1, lambda: now_s() * PLACE_S / 10)
    first, second = Call(), Call()
    for call in (first, second):
        with places.place(call, 0.0):  # type: ignore[arg-type]
            with pytest.raises(QpsLimitExceeded, match="1 callers keep their message back"):
                places._take(Call(), 0.0)  # type: ignore[arg-type]
            assert not call.is_cancelled()
    assert not places._taken


def test_who_keeps_his_message_back_loses_his_place_to_whoever_wants_it() -> None:
    now_s = 0.0
    places = StrangersMessages(2, lambda: now_s)
    calls = [Call(), Call()]

    def keep(call: Any) -> None:
        with places.place(call, WITHIN_S):
            call._happened.wait(WITHIN_S)

    with ThreadPoolExecutor(3) as workers:
        kept = []
        for call in calls:
            before = len(places._taken)
            kept.append(workers.submit(keep, call))
            eventually(lambda: len(places._taken) > before, "it has a place")  # noqa: B023 - now
        late = Call()
        wanting = workers.submit(keep, late)
        assert not any(call.is_cancelled() for call in calls)
        now_s = PLACE_S
        kept[0].result(WITHIN_S)
        assert [call.is_cancelled() for call in calls] == [True, False]
        for call in (calls[1], late):
            call.send(b"")
        wanting.result(WITHIN_S)
        kept[1].result(WITHIN_S)
    assert not late.is_cancelled()
