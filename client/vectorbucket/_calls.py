"""Calls with a deadline, retries and the contract's errors: what every method of Client is made of.

Rules of this file: one deadline covers all attempts of a call; who waits, waits here; nothing that
gRPC raises gets out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import grpc

from vectorbucket._retry import Chance, Clock, Patience, Pause, RetryPolicy
from vectorbucket.status import error_of_call

T = TypeVar("T")


class Calls:
    """Makes calls, again where that is right.

    Args:
        policy: How patiently.
        clock: What time it is.
        chance: Where randomness comes from.
        pause: How to wait.
    """

    def __init__(self, policy: RetryPolicy, *, clock: Clock, chance: Chance, pause: Pause) -> None:
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._pause = pause

    def patience(
        self, budget_s: float, *, failures_max: int | None = None, repeatable: bool = True
    ) -> Patience:
        """Return fresh patience; see there for the arguments."""
        return Patience(self._policy, budget_s, self._clock, self._chance, failures_max, repeatable)

    def unary(
        self, method: Callable[..., Any], request: Any, *, timeout_s: float, repeatable: bool = True
    ) -> Any:
        """Return the answer to a request.

        Args:
            method: A method of a stub that answers with one message.
            request: Its request message.
            timeout_s: Seconds for all attempts together.
            repeatable: Whether the call may be made again when it is unknown what became of it.

        Raises:
            VectorBucketError: How the last attempt ended.
        """
        return self._until(
            lambda left_s: method(request, timeout=left_s), timeout_s, repeatable=repeatable
        )

    def whole_stream(
        self, method: Callable[..., Any], request: Any, *, timeout_s: float
    ) -> list[Any]:
        """Return all messages that answer a request; the whole call is repeated if it breaks.

        Args:
            method: A method of a stub that answers with a stream.
            request: Its request message.
            timeout_s: Seconds for all attempts together.

        Raises:
            VectorBucketError: How the last attempt ended.
        """
        return self._until(
            lambda left_s: list(method(request, timeout=left_s)), timeout_s, repeatable=True
        )

    def _until(self, attempt: Callable[[float], T], timeout_s: float, *, repeatable: bool) -> T:
        """Return what an attempt returns, within the time."""
        end_s = self._clock() + timeout_s
        patience = self.patience(
            timeout_s, failures_max=self._policy.attempts_max, repeatable=repeatable
        )
        while True:
            try:
                return attempt(max(0.0, end_s - self._clock()))
            except grpc.RpcError as ended:
                error = error_of_call(ended)
                delay_s = patience.delay_s(error)
                if delay_s is None or self._clock() + delay_s >= end_s:
                    raise error from ended
            self._pause(delay_s)

    def resumed_stream(
        self,
        open_call: Callable[[], Any],
        *,
        message_timeout_s: float,
        resume_timeout_s: float,
    ) -> Generator[Any, None, None]:
        """Yield the messages of a stream that is opened again when it breaks.

        Args:
            open_call: Opens the stream so that it goes on after the last message that was yielded
                and used up: it is called after the next one was asked for.
            message_timeout_s: Seconds that the server may take for each message. How long the
                caller takes between them does not matter.
            resume_timeout_s: Seconds of failing without a message, after which to give up.

        Raises:
            VectorBucketError: How the last attempt ended.
        """
        patience = self.patience(resume_timeout_s)
        while True:
            call = open_call()
            try:
                while (message := _next_within(call, message_timeout_s)) is not None:
                    patience.progressed()
                    yield message
            except grpc.RpcError as ended:
                error = error_of_call(ended)
                delay_s = patience.delay_s(error)
                if delay_s is None:
                    raise error from ended
            else:
                return
            finally:
                call.cancel()
            self._pause(delay_s)


def _next_within(call: Any, timeout_s: float) -> Any:
    """Return the next message of a stream, None at its end; cancel it when that takes too long."""
    watch = threading.Timer(timeout_s, call.cancel)
    watch.daemon = True
    watch.start()
    try:
        return next(call, None)
    finally:
        watch.cancel()
