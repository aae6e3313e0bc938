"""The call that is being served: its log record, its deadline, and what the engine says of it.

Rules of this file: one CallRecord a call, found through a context variable by whoever works on the
call's own thread; a call's end is asked of gRPC, never guessed.
"""

from __future__ import annotations

from contextvars import ContextVar

import grpc

from vectorbucket.errors import RequestTimeout
from vectorbucket_server.observability.logs import CallRecord, Log
from vectorbucket_server.observability.metrics import Metrics

_FOR_EVER_S = 10 * 365 * 86_400.0
"""gRPC says "no deadline" as some huge number of seconds; ten years is one, too."""

_current: ContextVar[CallRecord | None] = ContextVar("call", default=None)


def begin_call(record: CallRecord) -> None:
    """Make a record the current one. gRPC runs each call in a context of its own."""
    _current.set(record)


def current_call() -> CallRecord:
    """Return the record of the call that is being served.

    Outside a call (a background thread, a test of one servicer) it is one that nobody reads.
    """
    record = _current.get()
    return CallRecord("", "") if record is None else record


class ContextDeadline:
    """The Deadline of an engine call, asked of the gRPC call that it serves."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def check(self) -> None:
        """Return if the caller still waits.

        Raises:
            RequestTimeout: The deadline passed, or the call was cancelled.
        """
        if not self._context.is_active():
            raise RequestTimeout(
                "the call ended before its answer: cancelled, or past its deadline"
            )
        remaining_s = self.remaining_s()
        if remaining_s is not None and remaining_s <= 0:
            raise RequestTimeout("the call's deadline passed")

    def remaining_s(self) -> float | None:
        """Return the seconds left, or None where the caller set no deadline."""
        remaining_s = self._context.time_remaining()
        return None if remaining_s > _FOR_EVER_S else remaining_s


class CallObserver:
    """An engine's observer: it counts; plans go to their call's line, failures get their own."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics

    def plan_chosen(self, plan: str, query_count: int) -> None:
        """Note the plan, if the engine runs on the thread of the call."""
        self._metrics.plan_chosen(plan, query_count)
        record = _current.get()
        if record is not None:
            record.plan = plan

    def vectors_indexed(self, count: int, seconds: float) -> None:
        """Count it."""
        self._metrics.vectors_indexed(count, seconds)

    def backend_called(self, call: str, outcome: str, seconds: float) -> None:
        """Count it."""
        self._metrics.backend_called(call, outcome, seconds)

    def background_failed(self, what: str, error: Exception) -> None:
        """Log it, with the traceback."""
        self._metrics.background_failed(what)
        self._log.error("background work failed", work=what, exc_info=error)

    def background_recovered(self, what: str, seconds: float) -> None:
        """Log it."""
        self._log.warning("background work goes on", work=what, failed_s=round(seconds, 3))
