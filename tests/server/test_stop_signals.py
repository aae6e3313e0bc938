"""Signals that ask a process to stop, and those that ask it to do so at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from rooms import eventually
from vectorbucket_server.stop_signals import ONE_S, SIGNALS, StopSignals, stop_signals


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    """Give the signals the handlers back that they had; tests run in the main thread."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def later(signals: StopSignals) -> None:
    """Let the time pass within which signals are one, as if it had."""
    signals._first_s -= ONE_S


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_that_came_before_anybody_waited_counts(number: int) -> None:
    with stop_signals() as signals:
        send(number)
        signals.wait()


def test_signal_that_another_thread_gets_wakes_who_waits() -> None:
    with stop_signals() as signals:
        # To that thread, which is the worst that a kernel may do: the main thread is not woken.
        other = threading.Thread(
            target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        )
        other.start()
        signals.wait()
        other.join()


def test_second_signal_hurries_once() -> None:
    hurried: list[str] = []
    with stop_signals() as signals:
        send()
        signals.wait()
        later(signals)
        with signals.again(lambda: hurried.append("now")):
            send(signal.SIGINT)
            eventually(lambda: hurried == ["now"], "somebody hurries")
            send()
            send()
    assert hurried == ["now"]


def test_signals_that_come_together_are_one() -> None:
    hurried: list[str] = []
    with stop_signals() as signals:
        send()
        signals.wait()
        send()
        with signals.again(lambda: hurried.append("now")):
            send()
            send(signal.SIGINT)
    assert hurried == []


def test_block_without_another_signal_ends() -> None:
    with stop_signals() as signals:
        send()
        signals.wait()
        with signals.again(lambda: pytest.fail("nobody asked for it")):
            pass
        assert not [one for one in threading.enumerate() if one.name == "signals"]


def test_wakeup_descriptor_is_given_back() -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with stop_signals():
        pass
    after = signal.set_wakeup_fd(before)
    assert after == before
