"""SIGTERM and SIGINT: the first asks a process to stop, another one to do so at once.

A signal may be delivered to any thread, and then wakes no lock that the main thread waits for; but
whichever thread gets it writes to the wakeup descriptor, which is what is waited for here.

Rules of this file: nothing is done in a handler; signals that came before anybody waited count.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What asks a process to stop."""

ONE_S = 0.5
"""Seconds within which signals are one: ``timeout`` and terminals send theirs to a process and to
its group, so that it comes twice."""

_OVER = b"\0"
"""What no signal writes."""


class StopSignals:
    """The signals that a process got since it asked for them."""

    def __init__(self, awaited: socket.socket, woken: socket.socket) -> None:
        self._awaited = awaited
        self._woken = woken
        self._first_s = 0.0

    def wait(self) -> None:
        """Return once one came."""
        self._awaited.recv(1)
        self._first_s = time.monotonic()

    @contextmanager
    def again(self, hurry: Callable[[], object]) -> Iterator[None]:
        """Call ``hurry`` if another one comes while the block runs; once, on another thread."""

        def listen() -> None:
            while self._awaited.recv(1) != _OVER:
                if time.monotonic() - self._first_s >= ONE_S:
                    hurry()
                    return

        listening = threading.Thread(target=listen, name="signals")
        listening.start()
        try:
            yield
        finally:
            self._woken.send(_OVER)
            listening.join()


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Take the signals for as long as the block runs; after it they do nothing."""
    awaited, woken = socket.socketpair()
    with awaited, woken:
        woken.settimeout(0)
        previous = signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            # What it does is said by the descriptor; without a handler there would be the default.
            signal.signal(number, lambda _number, _frame: None)
        try:
            yield StopSignals(awaited, woken)
        finally:
            signal.set_wakeup_fd(previous)
            for number in SIGNALS:
                # Not a handler: Python takes those away at its end, and one signal more would kill
                # a process that has nothing left to do.
                signal.signal(number, signal.SIG_IGN)
