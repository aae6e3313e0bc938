"""How often callers may call: token buckets, one for each OSS operation and credential.

A bucket holds as many tokens as its operation may be called in a second, one at least, and fills at
that pace. A call takes one; a message of a put stream may take one that is still to come, and then
waits for it. So streams keep their turn, and unary calls hear when the next token comes.

Rules of this file: buckets know the time by what they are told; who has not called for a while has
no bucket, so they are as many as callers who call now.

Source of OSS_RATES: oss-vectors-api, section 5.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from vectorbucket.errors import QpsLimitExceeded
from vectorbucket_server.auth.actions import ACTIONS
from vectorbucket_server.engine.base import Deadline
from vectorbucket_server.service.admission import TURN_POLL_S

OPERATIONS = tuple(sorted({action.partition(":")[2] for action in ACTIONS.values()}))
"""The operations of OSS, which can be given a rate; RPCs of ours count as the one whose work they
do."""

OSS_RATES: Mapping[str, float] = {"PutVectors": 5.0, "PutVectorIndex": 5.0}
"""Calls a second of a caller, as OSS documented them."""

SWEPT_FROM = 64
"""Buckets of an operation from which on full ones are looked for, to be forgotten."""


def checked_rates(table: dict[str, Any]) -> dict[str, float]:
    """Return a table of rates, with names and values as they have to be.

    Args:
        table: Calls a second by operation, whose name may have letters of any case: so it is in the
            environment.

    Raises:
        ValueError: A name or a value is none; says which.
    """
    known = {name.lower(): name for name in OPERATIONS}
    rates = {}
    for given, value in table.items():
        name = known.get(given.lower())
        if name is None:
            near = difflib.get_close_matches(given.lower(), known, n=3, cutoff=0.5)
            hint = f"; there is {', '.join(known[one] for one in near)}" if near else ""
            raise ValueError(f"there is no operation {given!r}{hint}")
        try:
            rates[name] = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{name} is {value!r}, which is no number of calls a second") from None
        if not 0 < rates[name] <= 1e9:  # noqa: PLR2004 - more is no limit; and it is not infinite
            raise ValueError(f"{name} is {value!r}; it must be more than 0, and 1e9 at most")
    return rates


class TokenBucket:
    """The tokens of one caller for one operation; whoever uses it holds a lock."""

    __slots__ = ("_at_s", "_capacity", "_rate", "_tokens")

    def __init__(self, rate: float, now_s: float) -> None:
        """Make a full one that gets ``rate`` tokens a second."""
        self._rate = rate
        self._capacity = self._tokens = max(1.0, rate)
        self._at_s = now_s

    def take(self, now_s: float) -> float:
        """Take a token and return 0; if none is there take none, and return when one will be.

        Returns:
            Seconds from now.
        """
        self._fill(now_s)
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0

    def reserve(self, now_s: float) -> float:
        """Take a token, perhaps one that is still to come; return in how many seconds it is there.

        Who reserves first has his first.
        """
        self._fill(now_s)
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)

    def give_back(self) -> None:
        """Return a token that was reserved and is not used."""
        self._tokens += 1

    def is_full(self, now_s: float) -> bool:
        """Return whether it is as a new one would be."""
        self._fill(now_s)
        return self._tokens >= self._capacity

    def _fill(self, now_s: float) -> None:
        come = (now_s - self._at_s) * self._rate
        self._tokens = min(self._capacity, self._tokens + come)
        self._at_s = now_s


class OperationRate:
    """The rate of one operation, for all callers."""

    def __init__(
        self,
        operation: str,
        rate: float,
        clock: Callable[[], float],
        pause: Callable[[float], object],
    ) -> None:
        """Make it; nobody has called yet.

        Args:
            operation: Its name, as ``PutVectors``.
            rate: Calls a second of each caller.
            clock: Tells seconds.
            pause: Waits for seconds.
        """
        self._operation = operation
        self._rate = rate
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._buckets: dict[str, TokenBucket] = {}
        self._swept_from = SWEPT_FROM

    def __len__(self) -> int:
        """Return the number of callers that are remembered."""
        return len(self._buckets)

    def take(self, caller: str) -> None:
        """Count a call.

        Args:
            caller: Name of the credential.

        Raises:
            QpsLimitExceeded: It is one too many; says when the next is welcome.
        """
        with self._lock:
            now_s = self._clock()
            wait_s = self._bucket(caller, now_s).take(now_s)
        if wait_s:
            who = f" by {caller!r}" if caller else ""
            raise QpsLimitExceeded(
                f"{self._operation} is called more than {self._rate:g} times a second{who}",
                details={"operation": self._operation, "limit": f"{self._rate:g}"},
                retry_after_s=wait_s,
            )

    def wait(self, caller: str, deadline: Deadline) -> None:
        """Count a message of a stream, and wait for its turn.

        Args:
            caller: Name of the credential.
            deadline: Until when the caller waits.

        Raises:
            RequestTimeout: The deadline passed, or the caller cancelled, before; it is not counted.
        """
        with self._lock:
            now_s = self._clock()
            bucket = self._bucket(caller, now_s)
            turn_s = now_s + bucket.reserve(now_s)
        try:
            while (left_s := turn_s - self._clock()) > 0:
                deadline.check()
                self._pause(min(left_s, TURN_POLL_S))
        except BaseException:
            with self._lock:
                bucket.give_back()
            raise

    def _bucket(self, caller: str, now_s: float) -> TokenBucket:
        """Return the bucket of a caller, made if there is none."""
        bucket = self._buckets.get(caller)
        if bucket is None:
            if len(self._buckets) >= self._swept_from:
                self._sweep(now_s)
            bucket = self._buckets[caller] = TokenBucket(self._rate, now_s)
        return bucket

    def _sweep(self, now_s: float) -> None:
        """Forget those who have not called for a while."""
        used = {name: one for name, one in self._buckets.items() if not one.is_full(now_s)}
        self._buckets = used
        # So that sweeping stays rare, however many call.
        self._swept_from = max(SWEPT_FROM, 2 * len(used))


class RateLimits:
    """The rates of a server, found by the names of RPCs."""

    def __init__(
        self,
        rates: Mapping[str, float],
        *,
        clock: Callable[[], float],
        pause: Callable[[float], object],
    ) -> None:
        """Take the rates.

        Args:
            rates: Calls a second of each caller, by operation; of those that have a limit.
            clock: Tells seconds.
            pause: Waits for seconds.
        """
        self._rates = {
            name: OperationRate(name, rate, clock, pause) for name, rate in rates.items()
        }

    def of(self, rpc: str) -> OperationRate | None:
        """Return the rate that calls of an RPC count for; None if there is no limit.

        Args:
            rpc: The RPC's name, as ``PutVectorsBatch``, which counts as ``PutVectors``.
        """
        return self._rates.get(ACTIONS.get(rpc, "").partition(":")[2])
