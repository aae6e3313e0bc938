"""Which errors may be tried again, and after how long.

Rules of this file: pure policy; it neither sleeps nor calls. The clock and the source of randomness
are arguments, so that every decision can be tested. An error is tried again only where the server
was not there (UNAVAILABLE) or asked for it (RetryInfo): not by a list of codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from vectorbucket.errors import Forbidden, ServiceUnavailable, VectorBucketError

Clock: TypeAlias = Callable[[], float]
"""Seconds since any fixed moment, never going back."""

Chance: TypeAlias = Callable[[], float]
"""A random number, 0 to just under 1."""

Pause: TypeAlias = Callable[[float], None]
"""Waits for so many seconds."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patiently a client tries again.

    Attributes:
        attempts_max: How often one call is made at most, the first time included; 1 never tries
            again. A stream is resumed by time, not by count: see ``Client``.
        first_delay_s: Seconds before the second attempt.
        factor: How much longer each further delay is than the one before.
        delay_s_max: Seconds between attempts, at most (unless the server asks for more).
        jitter: Which share of a delay is left to chance, 0 to 1, so that many clients that lost
            the same server do not all come back at once.
    """

    attempts_max: int = 5
    first_delay_s: float = 0.1
    factor: float = 2.0
    delay_s_max: float = 5.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        """Check that the numbers make sense."""
        if self.attempts_max < 1:
            raise ValueError(f"attempts_max is {self.attempts_max}; it must be 1 or more")
        if self.first_delay_s < 0 or self.delay_s_max < 0:
            raise ValueError("first_delay_s and delay_s_max must be 0 or more")
        if self.factor < 1:
            raise ValueError(f"factor is {self.factor}; it must be 1 or more")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is {self.jitter}; it must be 0 to 1")

    def delay_s(self, failures: int, asked_s: float, chance: Chance) -> float:
        """Return how long to wait after so many failures in a row.

        Args:
            failures: 1 after the first failure.
            asked_s: What the server asks for; never shortened.
            chance: Where randomness comes from.
        """
        # Past 64 doublings the number would outgrow a float; the limit was reached long before.
        grown = self.first_delay_s * self.factor ** min(failures - 1, 64)
        delay = min(grown, self.delay_s_max) * (1.0 - self.jitter * chance())
        return max(delay, asked_s)


def may_retry(error: VectorBucketError, *, repeatable: bool = True) -> bool:
    """Return whether a call that ended so may be made again.

    Args:
        error: How it ended.
        repeatable: Whether making it twice is the same as making it once. If not, it may be made
            again only where the server itself said so, because a broken connection does not tell
            whether the first attempt was carried out.
    """
    if isinstance(error, Forbidden):
        # Who the caller is does not change by asking again, whatever an intermediary says.
        return False
    if repeatable and isinstance(error, ServiceUnavailable):
        return True
    return bool(error.retry_after_s)


@dataclass(slots=True)
class Patience:
    """The failures of one call or stream since it last made progress, and when to give up.

    Attributes:
        policy: How the delays grow.
        budget_s: Seconds after the first of these failures at which to give up.
        clock: What time it is.
        chance: Where randomness comes from.
        failures_max: How many of these failures to bear; None for no such limit.
        repeatable: See ``may_retry``.
    """

    policy: RetryPolicy
    budget_s: float
    clock: Clock
    chance: Chance
    failures_max: int | None = None
    repeatable: bool = True
    _failures: int = field(default=0, init=False)
    _failing_since: float = field(default=0.0, init=False)

    def progressed(self) -> None:
        """Note that something succeeded: patience is whole again."""
        self._failures = 0

    def delay_s(self, error: VectorBucketError) -> float | None:
        """Note a failure; return how long to wait before the next attempt, None to give up."""
        now = self.clock()
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        if not may_retry(error, repeatable=self.repeatable):
            return None
        if self.failures_max is not None and self._failures >= self.failures_max:
            return None
        delay = self.policy.delay_s(self._failures, error.retry_after_s or 0.0, self.chance)
        return delay if now + delay < self._failing_since + self.budget_s else None
