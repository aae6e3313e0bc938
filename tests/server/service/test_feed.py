"""Messages one at a time, interruptions, and the drain."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from vectorbucket.errors import ServiceUnavailable, VectorIndexOperationConflict
from vectorbucket_server.service.feed import Drain, Feed, until_drained

WAIT_S = 20.0


@pytest.fixture
def readers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


class Source:
    """Messages that come when a test lets them."""

    def __init__(self) -> None:
        self.asked = 0
        self.closed = threading.Event()
        self._allowed = threading.Semaphore(0)

    def messages(self) -> Generator[int, None, None]:
        try:
            for number in range(100):
                self.asked += 1
                assert self._allowed.acquire(timeout=WAIT_S)
                yield number
        finally:
            self.closed.set()

    def allow(self, count: int = 1) -> None:
        self._allowed.release(count)


def test_messages_come_in_order_and_end(readers: ThreadPoolExecutor) -> None:
    feed = Feed((number for number in range(1, 4)), readers)
    assert list(feed) == [1, 2, 3]
    feed.close()


def test_next_message_is_asked_for_only_when_it_is_wanted(readers: ThreadPoolExecutor) -> None:
    source = Source()
    source.allow(3)
    feed = Feed(source.messages(), readers)
    assert source.asked == 0
    assert next(feed) == 0
    assert source.asked == 1
    assert next(feed) == 1
    assert source.asked == 2
    feed.close()
    assert source.closed.is_set()


def test_failure_of_the_source_is_raised_as_it_is(readers: ThreadPoolExecutor) -> None:
    class Gone(Exception):
        pass

    gone = Gone()

    def messages() -> Generator[int, None, None]:
        yield 1
        raise gone

    feed = Feed(messages(), readers)
    assert next(feed) == 1
    with pytest.raises(Gone) as caught:
        next(feed)
    assert caught.value is gone


def test_interruption_wakes_who_waits_for_a_message(readers: ThreadPoolExecutor) -> None:
    source = Source()
    feed = Feed(source.messages(), readers)
    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(next, feed)
        feed.interrupt(VectorIndexOperationConflict("superseded"))
        assert isinstance(waiting.exception(WAIT_S), VectorIndexOperationConflict)
        feed.close()
        assert not source.closed.is_set()
        source.allow()
        assert source.closed.wait(WAIT_S)


def test_interruption_during_work_is_seen_at_the_next_message(readers: ThreadPoolExecutor) -> None:
    source = Source()
    source.allow(1)
    feed = Feed(source.messages(), readers)
    assert next(feed) == 0
    feed.interrupt(ServiceUnavailable("draining"))
    with pytest.raises(ServiceUnavailable):
        next(feed)
    source.allow()
    feed.close()
    assert source.closed.wait(WAIT_S)


def test_source_that_was_never_asked_is_closed(readers: ThreadPoolExecutor) -> None:
    messages = Source().messages()
    Feed(messages, readers).close()
    assert list(messages) == []


def test_feed_lets_go_of_a_message_that_was_handed_out(readers: ThreadPoolExecutor) -> None:
    class Message:
        pass

    gate, waits = threading.Event(), threading.Event()

    def messages() -> Generator[Message, None, None]:
        yield Message()
        waits.set()
        assert gate.wait(WAIT_S)

    feed = Feed(messages(), readers)
    message = next(feed)
    kept = weakref.ref(message)
    del message
    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(list, feed)
        assert waits.wait(WAIT_S)
        assert kept() is None
        gate.set()
        assert waiting.result(WAIT_S) == []


# --- Whether there is something -------------------------------------------------------------------


def test_message_that_has_come_is_near_and_is_not_lost(readers: ThreadPoolExecutor) -> None:
    feed = Feed((number for number in range(1, 4)), readers)
    for number in range(1, 4):
        assert feed.is_near(WAIT_S)
        assert feed.is_near(0)
        assert next(feed) == number
    # The end, too, is something to hear of.
    assert feed.is_near(WAIT_S)
    assert list(feed) == []
    feed.close()


def test_message_that_has_not_come_is_not_near_and_is_asked_for_once(
    readers: ThreadPoolExecutor,
) -> None:
    source = Source()
    feed = Feed(source.messages(), readers)
    for within_s in (0, 0.001, 0.001):
        assert not feed.is_near(within_s)
    source.allow(2)
    assert [next(feed), next(feed)] == [0, 1]
    assert source.asked == 2
    feed.close()


def test_interruption_is_near_and_is_raised_by_the_next(readers: ThreadPoolExecutor) -> None:
    source = Source()
    feed = Feed(source.messages(), readers)
    assert not feed.is_near(0)
    feed.interrupt(ServiceUnavailable("draining"))
    assert feed.is_near(WAIT_S)
    with pytest.raises(ServiceUnavailable):
        next(feed)
    source.allow()
    feed.close()
    assert source.closed.wait(WAIT_S)


def test_interruption_comes_after_a_message_that_was_near_before_it(
    readers: ThreadPoolExecutor,
) -> None:
    source = Source()
    source.allow()
    feed = Feed(source.messages(), readers)
    assert feed.is_near(WAIT_S)
    feed.interrupt(ServiceUnavailable("draining"))
    assert next(feed) == 0
    with pytest.raises(ServiceUnavailable):
        next(feed)
    source.allow()
    feed.close()
    assert source.closed.wait(WAIT_S)


def test_failure_of_the_source_is_near_and_raised_by_the_next(readers: ThreadPoolExecutor) -> None:
    def messages() -> Generator[int, None, None]:
        yield 1
        raise KeyError("gone")

    feed = Feed(messages(), readers)
    assert next(feed) == 1
    assert feed.is_near(WAIT_S)
    with pytest.raises(KeyError):
        next(feed)


def test_feed_lets_go_of_a_message_that_was_near(readers: ThreadPoolExecutor) -> None:
    class Message:
        pass

    gate, waits = threading.Event(), threading.Event()

    def messages() -> Generator[Message, None, None]:
        yield Message()
        waits.set()
        assert gate.wait(WAIT_S)

    feed = Feed(messages(), readers)
    assert feed.is_near(WAIT_S)
    message = next(feed)
    kept = weakref.ref(message)
    del message
    assert not feed.is_near(0)
    assert waits.wait(WAIT_S)
    assert kept() is None
    gate.set()
    assert list(feed) == []


# --- The drain ------------------------------------------------------------------------------------


def test_drain_interrupts_what_it_watches_and_nothing_else() -> None:
    drain, told = Drain(), list[str]()

    def tell_left(_error: Exception) -> None:
        told.append("left")

    def tell_stayed(error: Exception) -> None:
        assert isinstance(error, ServiceUnavailable)
        assert error.retry_after_s is not None
        told.append("stayed")

    with drain.watch(tell_stayed):
        with drain.watch(tell_left):
            pass
        drain.begin()
    assert told == ["stayed"]


def test_drain_refuses_who_comes_later() -> None:
    drain = Drain()
    drain.begin()
    drain.begin()
    with pytest.raises(ServiceUnavailable, match="shutting down"), drain.watch(print):
        pass


def test_feed_ends_when_a_drain_begins(readers: ThreadPoolExecutor) -> None:
    source, drain = Source(), Drain()
    source.allow()
    feed = Feed(source.messages(), readers)
    with drain.watch(feed.interrupt):
        assert next(feed) == 0
        drain.begin()
        with pytest.raises(ServiceUnavailable):
            next(feed)
    source.allow()
    feed.close()
    assert source.closed.wait(WAIT_S)


def test_drain_that_is_announced_refuses_nobody_yet() -> None:
    drain, told = Drain(), list[str]()
    with drain.watch(lambda _error: told.append("interrupted")):
        drain.announce()
        drain.check()
        assert (drain.is_announced, drain.has_begun, told) == (True, False, [])
    with drain.watch(lambda _error: told.append("later")):
        drain.begin()
    assert (drain.is_announced, drain.has_begun, told) == (True, True, ["later"])
    with pytest.raises(ServiceUnavailable, match="shutting down"):
        drain.check()


def test_who_wants_to_know_is_told_of_each_step_while_he_does() -> None:
    drain, told = Drain(), list[tuple[bool, bool]]()

    def note() -> None:
        told.append((drain.is_announced, drain.has_begun))

    with drain.tell(note):
        drain.announce()
        drain.begin()
    drain.begin()
    assert told == [(True, False), (True, True)]


def test_drain_that_was_not_announced_is_so_when_it_begins() -> None:
    drain = Drain()
    drain.begin()
    assert drain.is_announced


def test_messages_of_who_knows_no_drain_come_until_one_begins(readers: ThreadPoolExecutor) -> None:
    source, drain = Source(), Drain()
    source.allow(2)
    messages = until_drained(source.messages(), drain, readers)
    assert [next(messages), next(messages)] == [0, 1]
    drain.begin()
    with pytest.raises(ServiceUnavailable):
        next(messages)
    source.allow()
    assert source.closed.wait(WAIT_S)


def test_messages_that_end_before_any_drain_end_as_they_are(readers: ThreadPoolExecutor) -> None:
    def messages() -> Generator[int, None, None]:
        yield from range(3)

    assert list(until_drained(messages(), Drain(), readers)) == [0, 1, 2]
