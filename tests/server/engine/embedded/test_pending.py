"""Writers that are ahead wait: until less is pending, their patience ends, or their caller leaves.

Method: what is pending is a number of the test's; that a writer waits is known by its having asked
for that number from within its wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from rooms import WITHIN_S, GivenUp, eventually, refused, running, together
from vectorbucket.errors import QpsLimitExceeded, RequestTimeout
from vectorbucket_server.engine.base import NO_DEADLINE, NoDeadline
from vectorbucket_server.engine.embedded import pending
from vectorbucket_server.engine.embedded.pending import Backlog

LIMIT = 1_000


class Pending:
    """So many bytes, and how often somebody asked."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.asked = 0

    def __call__(self) -> int:
        """Return the bytes."""
        self.asked += 1
        return self.size_bytes

    def wait_for_waiters(self, count: int) -> None:
        """Return once so many writers have looked twice: before their wait, and within it."""
        eventually(lambda: self.asked >= 2 * count, f"{count} writers wait")


class Until:
    """A deadline on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def check(self) -> None:
        """Raise if the time is over."""
        if self.remaining_s() <= 0:
            raise RequestTimeout("the deadline passed")

    def remaining_s(self) -> float:
        """Return what is left."""
        return self._until - time.monotonic()


class Cancellable(NoDeadline):
    """A caller who may leave at any time."""

    def __init__(self) -> None:
        self.gone = False

    def check(self) -> None:
        """Raise if the caller is gone."""
        if self.gone:
            raise RequestTimeout("the caller has cancelled")


@pytest.fixture(name="waiting")
def fixture_waiting() -> Pending:
    """Return twice what is allowed."""
    return Pending(2 * LIMIT)


@pytest.fixture(name="backlog")
def fixture_backlog(waiting: Pending) -> Backlog:
    """Return a backlog of ``waiting``."""
    return Backlog(waiting, LIMIT)


@pytest.fixture(name="only_told")
def fixture_only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody look again by himself: who goes on was told to, or his time was over."""
    monkeypatch.setattr(pending, "_LOOK_AGAIN_S", 10 * WITHIN_S)


def waits(backlog: Backlog, wait_s: float | None = None) -> Callable[[], None]:
    """Return a call that waits without a deadline."""
    return lambda: backlog.wait(wait_s, NO_DEADLINE)


@pytest.mark.parametrize("size_bytes", [0, LIMIT - 1, LIMIT])
def test_up_to_the_bound_nobody_waits(size_bytes: int) -> None:
    Backlog(Pending(size_bytes), LIMIT).wait(0.0, GivenUp())


@pytest.mark.usefixtures("only_told")
def test_writer_goes_on_when_less_is_pending(backlog: Backlog, waiting: Pending) -> None:
    with running(waits(backlog)) as threads:
        waiting.wait_for_waiters(1)
        assert threads[0].is_alive()
        waiting.size_bytes = LIMIT
        backlog.shrunk()


@pytest.mark.usefixtures("only_told")
def test_all_writers_go_on_when_less_is_pending(backlog: Backlog, waiting: Pending) -> None:
    with running(waits(backlog), times=5):
        waiting.wait_for_waiters(5)
        waiting.size_bytes = 0
        backlog.shrunk()


@pytest.mark.usefixtures("only_told")
def test_writer_goes_on_waiting_while_too_much_is_pending(
    backlog: Backlog, waiting: Pending
) -> None:
    with running(waits(backlog)) as threads:
        waiting.wait_for_waiters(1)
        for size_bytes in (2 * LIMIT, LIMIT + 1):
            waiting.size_bytes, waiting.asked = size_bytes, 0
            backlog.shrunk()
            eventually(lambda: waiting.asked, "the writer looked again")
            assert threads[0].is_alive()
        waiting.size_bytes = LIMIT
        backlog.shrunk()


def test_writer_goes_on_even_if_nobody_told_it(backlog: Backlog, waiting: Pending) -> None:
    with running(waits(backlog)):
        waiting.wait_for_waiters(1)
        waiting.size_bytes = 0


@pytest.mark.parametrize("wait_s", [0.0, 0.02])
@pytest.mark.usefixtures("only_told")
def test_patience_that_ends_is_an_error_with_numbers(backlog: Backlog, wait_s: float) -> None:
    (error,) = together([waits(backlog, wait_s)])
    assert isinstance(error, QpsLimitExceeded)
    assert "2000 bytes of vectors wait" in error.message
    assert "limit is 1000" in error.message
    assert error.details == {"limit": "1000"}
    assert error.retryable
    assert error.retry_after_s


@pytest.mark.usefixtures("only_told")
def test_deadline_that_passes_is_the_callers_error(backlog: Backlog) -> None:
    (error,) = together([lambda: backlog.wait(None, Until(0.02))])
    assert isinstance(error, RequestTimeout)


@pytest.mark.usefixtures("only_told")
def test_whichever_ends_first_decides(backlog: Backlog) -> None:
    deadline, patience = together(
        [
            lambda: backlog.wait(10 * WITHIN_S, Until(0.02)),
            lambda: backlog.wait(0.02, Until(10 * WITHIN_S)),
        ]
    )
    assert isinstance(deadline, RequestTimeout)
    assert isinstance(patience, QpsLimitExceeded)


def test_caller_who_has_left_does_not_wait(backlog: Backlog) -> None:
    with pytest.raises(RequestTimeout):
        backlog.wait(None, GivenUp())


def test_caller_who_leaves_meanwhile_is_noticed(backlog: Backlog, waiting: Pending) -> None:
    caller = Cancellable()
    outcome: list[object] = []
    with running(lambda: outcome.append(refused(lambda: backlog.wait(None, caller)))):
        waiting.wait_for_waiters(1)
        caller.gone = True
    assert isinstance(outcome[0], RequestTimeout)


@pytest.mark.usefixtures("only_told")
def test_one_writers_end_leaves_the_others_waiting(backlog: Backlog, waiting: Pending) -> None:
    with running(waits(backlog)) as threads:
        waiting.wait_for_waiters(1)
        with pytest.raises(QpsLimitExceeded):
            backlog.wait(0.0, NO_DEADLINE)
        assert threads[0].is_alive()
        waiting.size_bytes = 0
        backlog.shrunk()


@pytest.mark.parametrize(
    ("size_bytes", "is_moderate"),
    [(0, True), (LIMIT // 2 - 1, True), (LIMIT // 2, False), (LIMIT, False), (2 * LIMIT, False)],
)
def test_less_than_half_of_the_bound_is_moderate(size_bytes: int, *, is_moderate: bool) -> None:
    assert Backlog(Pending(size_bytes), LIMIT).is_moderate is is_moderate


def test_telling_nobody_is_no_error(backlog: Backlog) -> None:
    backlog.shrunk()


@pytest.mark.usefixtures("only_told")
def test_no_wake_is_lost_however_often_it_shrinks(backlog: Backlog, waiting: Pending) -> None:
    done = threading.Event()

    def write() -> None:
        for _ in range(50):
            backlog.wait(None, NO_DEADLINE)
            waiting.size_bytes = 2 * LIMIT
        done.set()

    with running(write):
        while not done.is_set():
            waiting.size_bytes = 0
            backlog.shrunk()
