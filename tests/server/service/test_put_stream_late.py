"""PutVectors over an engine whose writes are seen later: answers in order, and only then."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
import pytest

from conftest import StartServer
from rpc import WAIT_S, PutStream, Stubs, put_message, refused, stubs_of, vector_of
from stubborn import eventually
from vectorbucket.errors import ServiceUnavailable
from vectorbucket_server.engine.base import NO_DEADLINE, Capabilities, Deadline, WriteGuard
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import Index, VectorBatch


class LateEngine(MemoryEngine):
    """What it stores is seen when somebody has waited for it, which a test can hold up."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[str] = []
        self.events: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Semaphore(0)
        self.put_error: Exception | None = None
        self.wait_error: Exception | None = None
        self._unseen: list[tuple[Index, VectorBatch]] = []

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, visible_at_once=False)

    def put_vectors(
        self,
        index: Index,
        batch: VectorBatch,
        *,
        guard: WriteGuard | None = None,
        backlog_wait_s: float | None = None,
        deadline: Deadline = NO_DEADLINE,
        visible: bool = True,
    ) -> bool:
        del backlog_wait_s
        if self.put_error is not None:
            raise self.put_error
        if guard is not None and not guard.admit():
            return False
        self.stored += batch.keys
        self.events.append("put")
        self._unseen.append((index, batch))
        if guard is not None:
            guard.committed()
        if visible:
            self.wait_until_visible(index, deadline=deadline)
        return True

    def wait_until_visible(self, index: Index, *, deadline: Deadline = NO_DEADLINE) -> None:
        unseen, self._unseen = self._unseen, []
        self.events.append("wait")
        self.waiting.release()
        while not self.gate.wait(0.01):
            deadline.check()
        if self.wait_error is not None:
            raise self.wait_error
        super().wait_until_visible(index, deadline=deadline)
        for of, batch in unseen:
            super().put_vectors(of, batch)


@pytest.fixture
def late() -> Iterator[LateEngine]:
    """It; held up by nothing in the end, so that no server waits for it."""
    engine = LateEngine()
    yield engine
    engine.gate.set()


@pytest.fixture
def late_stubs(start_server: StartServer, late: LateEngine) -> Iterator[Stubs]:
    """Stubs of a server over it, with an index."""
    with stubs_of(start_server(over=late).address) as stubs:
        stubs.make_index()
        yield stubs


def held_stream(stubs: Stubs, late: LateEngine, *keys: str, stream_id: str = "stream") -> PutStream:
    """Return a stream whose first batch waits to be seen; the others are on their way."""
    late.gate.clear()
    stream = PutStream(stubs)
    for number, key in enumerate(keys, 1):
        stream.send(put_message(number, vector_of(key), stream_id=stream_id))
        if number == 1:
            assert late.waiting.acquire(timeout=WAIT_S)
    return stream


def numbers_read(stream: PutStream, count: int) -> list[int]:
    return [stream.read().batch_number for _ in range(count)]


def test_batch_is_answered_when_it_is_seen_and_no_sooner(
    late_stubs: Stubs, late: LateEngine
) -> None:
    stream = held_stream(late_stubs, late, "a")
    answer: Future[Any]
    with ThreadPoolExecutor(1) as reader:
        answer = reader.submit(stream.read)
        assert late.stored == ["a"]
        assert late_stubs.all_keys() == []
        assert not answer.done()
        late.gate.set()
        assert answer.result(WAIT_S).stored.vector_count == 1
    assert late_stubs.all_keys() == ["a"]
    stream.finish()


def test_caller_who_waits_for_each_answer_gets_each(late_stubs: Stubs, late: LateEngine) -> None:
    stream = PutStream(late_stubs)
    for number in range(1, 6):
        answer = stream.ask(put_message(number, vector_of(f"k{number}")))
        assert (answer.batch_number, answer.stored.vector_count) == (number, 1)
        assert len(late_stubs.all_keys()) == number
    stream.finish()
    assert late.events == ["put", "wait"] * 5


def test_batches_that_have_come_meanwhile_share_one_wait(
    late_stubs: Stubs, late: LateEngine
) -> None:
    stream = held_stream(late_stubs, late, *(f"k{number:02}" for number in range(1, 41)))
    late.gate.set()
    answers = stream.finish()
    assert [answer.batch_number for answer in answers] == list(range(1, 41))
    assert all(answer.stored.vector_count == 1 for answer in answers)
    assert len(late_stubs.all_keys()) == 40
    # As many as have come, up to sixteen.
    assert 4 <= late.events.count("wait") < 40
    assert max(map(len, "".join(late.events).replace("put", "p").split("wait"))) <= 16


def test_rejected_batch_keeps_its_place_and_waits_for_nothing_alone(
    late_stubs: Stubs, late: LateEngine
) -> None:
    bad = vector_of("bad", (1,))
    sent = [
        put_message(1, vector_of("a")),
        put_message(2, bad),
        put_message(3, vector_of("c")),
    ]
    answers = list(late_stubs.vectors.PutVectors(iter(sent)))
    results = [(one.batch_number, one.WhichOneof("result")) for one in answers]
    assert results == [(1, "stored"), (2, "error"), (3, "stored")]
    assert late_stubs.all_keys() == ["a", "c"]
    late.events.clear()
    (answer,) = late_stubs.vectors.PutVectors(iter([put_message(4, bad)]))
    assert answer.WhichOneof("result") == "error"
    assert late.events == []


def test_batch_that_was_stored_already_is_answered_when_it_is_seen(
    late_stubs: Stubs, late: LateEngine
) -> None:
    message = put_message(1, vector_of("a"))
    for _ in range(2):
        (answer,) = late_stubs.vectors.PutVectors(iter([message]))
        assert answer.stored.vector_count == 1
    assert late.events == ["put", "wait", "wait"]


def test_put_that_fails_ends_the_stream_after_the_answers_of_before(
    late_stubs: Stubs, late: LateEngine
) -> None:
    stream = held_stream(late_stubs, late, "a", "b")
    late.put_error = ServiceUnavailable("Milvus does not answer")
    late.gate.set()
    assert numbers_read(stream, 1) == [1]
    refusal = refused(stream.read)
    assert refusal.code is grpc.StatusCode.UNAVAILABLE
    assert "Milvus does not answer" in refusal.message
    assert late_stubs.all_keys() == ["a"]


def test_put_that_fails_in_the_middle_of_several_leaves_those_of_before(
    start_server: StartServer, late: LateEngine
) -> None:
    put = late.put_vectors

    def fail_at_c(index: Index, batch: VectorBatch, **how: Any) -> bool:
        if batch.keys == ("c",):
            raise ServiceUnavailable("Milvus does not answer")
        return put(index, batch, **how)

    late.put_vectors = fail_at_c  # type: ignore[method-assign]
    with stubs_of(start_server(over=late).address) as stubs:
        stubs.make_index()
        stream = held_stream(stubs, late, "first", "a", "b", "c", "d")
        late.gate.set()
        assert numbers_read(stream, 3) == [1, 2, 3]
        assert refused(stream.read).code is grpc.StatusCode.UNAVAILABLE
        assert stubs.all_keys() == ["a", "b", "first"]


def test_wait_that_fails_ends_the_stream_at_once_and_its_batches_can_be_resumed(
    late_stubs: Stubs, late: LateEngine
) -> None:
    stream = held_stream(late_stubs, late, "a")
    late.wait_error = ServiceUnavailable("Milvus does not answer")
    late.gate.set()
    assert refused(stream.read).code is grpc.StatusCode.UNAVAILABLE
    # To wait once more would take as long once more.
    assert late.events == ["put", "wait"]
    late.wait_error = None
    (answer,) = late_stubs.vectors.PutVectors(iter([put_message(1, vector_of("a"))]))
    assert answer.stored.vector_count == 1


def test_newer_stream_lets_the_older_give_its_answers_first(
    late_stubs: Stubs, late: LateEngine
) -> None:
    older = held_stream(late_stubs, late, "a")
    newer = PutStream(late_stubs)
    newer.send(put_message(2, vector_of("b")))
    assert late.waiting.acquire(timeout=WAIT_S)
    late.gate.set()
    assert numbers_read(older, 1) == [1]
    assert refused(older.read).code is grpc.StatusCode.ABORTED
    assert newer.read().batch_number == 2
    newer.finish()
    assert late_stubs.all_keys() == ["a", "b"]


def test_drain_lets_a_stream_give_its_answers_first(
    start_server: StartServer, late: LateEngine
) -> None:
    server = start_server(over=late)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
        stream = held_stream(stubs, late, "a")
        idle = PutStream(stubs)
        idle.send(put_message(1, vector_of("b", (1,)), stream_id="idle"))
        assert idle.read().WhichOneof("result") == "error"
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        # The one that waits for a message has heard of it, so the other has, too.
        assert refused(idle.read).code is grpc.StatusCode.UNAVAILABLE
        late.gate.set()
        assert numbers_read(stream, 1) == [1]
        assert refused(stream.read).code is grpc.StatusCode.UNAVAILABLE
        stopping.join(WAIT_S)
        assert not stopping.is_alive()


def test_cancelled_stream_does_not_wait_until_its_batches_are_seen(
    late_stubs: Stubs, late: LateEngine, server_log: io.StringIO
) -> None:
    stream = held_stream(late_stubs, late, "a")
    stream.cancel()
    eventually(lambda: '"PutVectors"' in server_log.getvalue())


def test_unary_put_answers_when_its_batch_is_seen(late_stubs: Stubs, late: LateEngine) -> None:
    late.gate.clear()
    with ThreadPoolExecutor(1) as caller:
        put = caller.submit(late_stubs.put, vector_of("a"))
        assert late.waiting.acquire(timeout=WAIT_S)
        assert late_stubs.all_keys() == []
        assert not put.done()
        late.gate.set()
        assert put.result(WAIT_S) == 1
    assert late_stubs.all_keys() == ["a"]
