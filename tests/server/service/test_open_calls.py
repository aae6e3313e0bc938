"""Calls that are counted while they are under way, and who waits until none is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rooms import WITHIN_S, together
from vectorbucket_server.service.open_calls import OpenCalls


class Call:
    """A call as gRPC knows it: it tells of its end, unless it is over already."""

    def __init__(self, *, over: bool = False) -> None:
        self._over = over
        self._told: list[Callable[[], None]] = []

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Take who is told of the end; False if there is nothing to wait for any more."""
        if not self._over:
            self._told.append(callback)
        return not self._over

    def end(self) -> None:
        """Be over."""
        for callback in self._told:
            callback()


@pytest.fixture
def hurried() -> threading.Event:
    return threading.Event()


def followed(calls: OpenCalls, call: Any) -> Any:
    calls.begin()
    calls.follow(call)
    return call


def test_without_calls_nobody_waits(hurried: threading.Event) -> None:
    assert OpenCalls().wait_until_none(0.0, hurried)


def test_call_counts_until_nothing_of_it_is_left(hurried: threading.Event) -> None:
    calls = OpenCalls()
    first, second = followed(calls, Call()), followed(calls, Call())
    assert not calls.wait_until_none(0.0, hurried)
    first.end()
    assert not calls.wait_until_none(0.0, hurried)
    second.end()
    assert calls.wait_until_none(0.0, hurried)


def test_call_that_was_over_before_it_was_served_does_not_count(hurried: threading.Event) -> None:
    calls = OpenCalls()
    followed(calls, Call(over=True))
    assert calls.wait_until_none(0.0, hurried)


def test_call_that_began_counts_before_anybody_serves_it(hurried: threading.Event) -> None:
    calls = OpenCalls()
    calls.begin()
    assert not calls.wait_until_none(0.0, hurried)
    calls.end()
    assert calls.wait_until_none(0.0, hurried)


def test_who_waits_hears_of_the_last_call(hurried: threading.Event) -> None:
    calls = OpenCalls()
    call = followed(calls, Call())
    with ThreadPoolExecutor(1) as waiters:
        waiting = waiters.submit(calls.wait_until_none, WITHIN_S, hurried)
        call.end()
        assert waiting.result(WITHIN_S)


def test_who_is_hurried_waits_no_longer(hurried: threading.Event) -> None:
    calls = OpenCalls()
    followed(calls, Call())
    with ThreadPoolExecutor(1) as waiters:
        waiting = waiters.submit(calls.wait_until_none, 600.0, hurried)
        hurried.set()
        assert not waiting.result(WITHIN_S)


def test_calls_of_many_threads_are_all_counted(hurried: threading.Event) -> None:
    calls = OpenCalls()

    def serve() -> None:
        for _ in range(500):
            followed(calls, Call()).end()

    together([serve] * 4)
    assert calls.wait_until_none(0.0, hurried)
