"""What calls add up to: ended ones, those under way, from many threads, with bounded names."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

from vectorbucket_server.observability.call_tally import ACKNOWLEDGED, DELETED, CallTally
from vectorbucket_server.observability.logs import CallRecord
from vectorbucket_server.observability.methods import UNKNOWN
from vectorbucket_server.observability.metric_table import DURATION_BOUNDS_S, OTHER


def ended(
    tally: CallTally, method: str = "QueryVectors", code: str = "OK", **facts: object
) -> None:
    """Let a call begin and end."""
    record = CallRecord("ID", method)
    tally.begin(record)
    record.code = code
    for name, value in facts.items():
        setattr(record, name, value)
    tally.end(record)


def test_calls_are_counted_by_method_and_code() -> None:
    tally = CallTally()
    ended(tally)
    ended(tally)
    ended(tally, code="NOT_FOUND", reason="NoSuchBucket")
    ended(tally, "GetVectors")
    totals = tally.totals()
    assert totals.methods["QueryVectors"].codes == {"OK": 2, "NOT_FOUND": 1}
    assert totals.methods["GetVectors"].codes == {"OK": 1}
    assert totals.errors == {"NoSuchBucket": 1}


def test_durations_fall_into_classes_with_their_bounds_inside() -> None:
    tally = CallTally()
    for latency_ms in (0.1, 0.25, 0.26, 100_000.0):
        ended(tally, latency_ms=latency_ms)
    totals = tally.totals().methods["QueryVectors"]
    assert totals.durations[:2] == [2, 1]
    assert totals.durations[-1] == 1
    assert len(totals.durations) == len(DURATION_BOUNDS_S) + 1
    assert totals.seconds == sum((0.0001, 0.00025, 0.00026, 100.0))


def test_vectors_are_those_of_the_methods_that_are_asked_for() -> None:
    tally = CallTally()
    ended(tally, "PutVectorsBatch", vector_count=500)
    ended(tally, "PutVectors", vector_count=7)
    ended(tally, "DeleteVectors", vector_count=3)
    ended(tally, "QueryVectors", vector_count=10)
    totals = tally.totals()
    assert totals.vectors(ACKNOWLEDGED) == 507
    assert totals.vectors(DELETED) == 3


def test_what_a_stream_has_done_counts_while_it_lives_and_once_when_it_has_ended() -> None:
    tally = CallTally()
    record = CallRecord("ID", "PutVectors")
    tally.begin(record)
    seen = []
    for batch in range(3):
        record.message_count = record.batch_count = batch + 1
        record.rejected_batch_count = 1
        record.vector_count += 500
        record.request_bytes += 1000
        totals = tally.totals()
        assert totals.under_way == {"unary": 0, "stream": 1}
        assert not totals.methods["PutVectors"].codes
        seen.append(totals.methods["PutVectors"])
    record.code = "OK"
    tally.end(record)
    totals = tally.totals()
    assert totals.under_way == {"unary": 0, "stream": 0}
    last = totals.methods["PutVectors"]
    assert [one.vector_count for one in (*seen, last)] == [500, 1000, 1500, 1500]
    assert [one.request_bytes for one in (*seen, last)] == [1000, 2000, 3000, 3000]
    assert (last.message_count, last.batch_count, last.rejected_batch_count) == (3, 3, 1)


def test_names_that_callers_make_up_are_one() -> None:
    tally = CallTally()
    for number in range(100):
        ended(tally, f"Method{number}", "UNIMPLEMENTED", reason=f"Reason{number}")
    totals = tally.totals()
    assert list(totals.methods) == [UNKNOWN]
    assert totals.errors == {OTHER: 100}


def test_totals_of_before_do_not_change() -> None:
    tally = CallTally()
    ended(tally)
    before = tally.totals()
    ended(tally, latency_ms=1000.0, request_bytes=5)
    assert before.methods["QueryVectors"].codes == {"OK": 1}
    assert sum(before.methods["QueryVectors"].durations) == 1
    assert before.methods["QueryVectors"].request_bytes == 0


def test_totals_never_shrink_while_many_threads_call() -> None:
    tally, done = CallTally(), threading.Event()

    def call_often() -> None:
        for _ in range(2_000):
            ended(tally, "PutVectors", vector_count=1, message_count=1, batch_count=1)

    def watch() -> None:
        while not done.is_set():
            seen.append(tally.totals().vectors(ACKNOWLEDGED))

    seen: list[int] = []
    watching = threading.Thread(target=watch)
    callers = [threading.Thread(target=call_often) for _ in range(4)]
    for thread in (watching, *callers):
        thread.start()
    for thread in callers:
        thread.join()
    done.set()
    watching.join()
    assert all(before <= after for before, after in pairwise(seen))
    totals = tally.totals()
    assert totals.vectors(ACKNOWLEDGED) == 8_000
    assert totals.methods["PutVectors"].codes == {"OK": 8_000}
    assert totals.under_way == {"unary": 0, "stream": 0}


def test_call_costs_a_few_microseconds_at_most() -> None:
    # The least of several rounds, because others use the machine, too; measured 1.4 µs.
    tally, rounds = CallTally(), []
    for _ in range(20):
        begin_s = time.perf_counter()
        for _ in range(500):
            ended(tally, request_bytes=500, vector_count=10, latency_ms=0.7)
        rounds.append((time.perf_counter() - begin_s) / 500)
    assert min(rounds) < 30e-6
