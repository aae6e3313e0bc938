"""What calls add up to: those that ended, and of those under way what they have done so far.

A put stream may live for days, so its messages count while it lives: whoever asks for the totals
gets those of ended calls, and the records of the others are looked at then. So a call costs one
step when it begins and one when it ends, however much it does between.

Rules of this file: totals never shrink, whatever ends meanwhile; no name that a caller makes up
becomes a key.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from vectorbucket.errors import TABLE
from vectorbucket_server.observability.logs import CallRecord
from vectorbucket_server.observability.methods import METHODS, label_of
from vectorbucket_server.observability.metric_table import DURATION_BOUNDS_S, OTHER

ACKNOWLEDGED = frozenset({"PutVectors", "PutVectorsBatch"})
"""Methods whose vectors were stored."""

DELETED = frozenset({"DeleteVectors"})
"""Methods whose vectors were deleted; those of all others were returned."""

_REASONS = frozenset(leaf.code for leaf in TABLE)


@dataclass(slots=True)
class MethodTotals:
    """What the calls of one method add up to."""

    codes: Counter[str] = field(default_factory=Counter)
    """Calls that ended, by gRPC status code."""
    durations: list[int] = field(default_factory=lambda: [0] * (len(DURATION_BOUNDS_S) + 1))
    """The same by duration: one number a class of DURATION_BOUNDS_S, the last of what is longer."""
    seconds: float = 0.0
    """How long they took together."""
    request_bytes: int = 0
    vector_count: int = 0
    message_count: int = 0
    batch_count: int = 0
    rejected_batch_count: int = 0

    def add(self, record: CallRecord) -> None:
        """Add what a call has done."""
        self.request_bytes += record.request_bytes
        if record.vector_count:
            self.vector_count += record.vector_count
        if record.message_count:
            self.message_count += record.message_count
            self.batch_count += record.batch_count
            self.rejected_batch_count += record.rejected_batch_count

    def copy(self) -> MethodTotals:
        """Return the same, once more."""
        return MethodTotals(
            self.codes.copy(),
            self.durations.copy(),
            self.seconds,
            self.request_bytes,
            self.vector_count,
            self.message_count,
            self.batch_count,
            self.rejected_batch_count,
        )


@dataclass(frozen=True, slots=True)
class CallTotals:
    """What all calls add up to, at one moment."""

    methods: Mapping[str, MethodTotals]
    """By name; of each that was called."""
    errors: Mapping[str, int]
    """Calls that ended with an error, by its OSS code."""
    under_way: Mapping[str, int]
    """Calls that are being served: ``unary`` and ``stream``."""

    def vectors(self, methods: frozenset[str]) -> int:
        """Return the vectors of some methods together."""
        return sum(totals.vector_count for name, totals in self.methods.items() if name in methods)


class CallTally:
    """Adds calls up; any thread may begin and end them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[int, CallRecord] = {}
        self._methods: dict[str, MethodTotals] = {}
        self._errors: Counter[str] = Counter()

    def begin(self, record: CallRecord) -> None:
        """Take a call that begins; its record is read, too, until it ends."""
        # One step of the interpreter, so without the lock.
        self._under_way[id(record)] = record

    def end(self, record: CallRecord) -> None:
        """Take the same call when its record is complete."""
        method = record.method
        seconds = record.latency_ms / 1e3
        position = bisect_left(DURATION_BOUNDS_S, seconds)
        with self._lock:
            self._under_way.pop(id(record), None)
            totals = self._methods.get(method)
            if totals is None:
                totals = self._totals(method)
            totals.codes[record.code] += 1
            totals.durations[position] += 1
            totals.seconds += seconds
            totals.add(record)
            if record.reason:
                self._errors[record.reason if record.reason in _REASONS else OTHER] += 1

    def totals(self) -> CallTotals:
        """Return what all calls add up to by now."""
        with self._lock:
            methods = {name: totals.copy() for name, totals in self._methods.items()}
            errors = dict(self._errors)
            # Calls begin without the lock; a copy is one step, too.
            under_way = list(self._under_way.copy().values())
            kinds = {"unary": 0, "stream": 0}
            for record in under_way:
                known = METHODS.get(record.method)
                kinds["stream" if known is not None and known.streams else "unary"] += 1
                methods.setdefault(label_of(record.method), MethodTotals()).add(record)
        return CallTotals(methods, errors, kinds)

    def _totals(self, method: str) -> MethodTotals:
        """Return the totals of a method that are not there under its name."""
        return self._methods.setdefault(label_of(method), MethodTotals())
