"""What a caller gets of a put: a result, one error, or several in one."""

from __future__ import annotations

import pytest

from vectorbucket import PutProgress, PutRejected, PutResult, RejectedBatch, VectorBucketError
from vectorbucket._tally import Tally
from vectorbucket.errors import ServiceUnavailable, VectorIndexParameterInvalid


def refusal(first_position: int, count: int) -> RejectedBatch:
    """Return a rejected batch."""
    error = VectorIndexParameterInvalid(f"bad at {first_position}", field="vectors[0].key")
    return RejectedBatch(first_position, count, error)


def test_result_counts_what_is_stored() -> None:
    tally = Tally()
    tally.stored(500)
    tally.stored(120)
    assert tally.result() == PutResult(620, [])


def test_only_batch_that_is_rejected_raises_its_own_error() -> None:
    tally = Tally()
    only = refusal(0, 3)
    tally.rejected(only)
    with pytest.raises(VectorIndexParameterInvalid) as caught:
        tally.result()
    assert caught.value is only.error


def test_rejected_batch_among_several_raises_the_result() -> None:
    tally = Tally()
    tally.stored(500)
    tally.rejected(refusal(500, 20))
    with pytest.raises(PutRejected) as caught:
        tally.result()
    assert caught.value.result.stored == 500
    assert [batch[:2] for batch in caught.value.result.rejected] == [(500, 20)]
    assert "20 vectors in 1 of the batches were rejected, 500 are stored" in str(caught.value)
    assert caught.value.field == "vectors[0].key"


def test_rejections_stand_in_the_order_of_positions_however_they_arrived() -> None:
    tally = Tally()
    for position in (1000, 0, 500):
        tally.rejected(refusal(position, 500))
    with pytest.raises(PutRejected) as caught:
        tally.result()
    assert [batch.first_position for batch in caught.value.result.rejected] == [0, 500, 1000]


@pytest.mark.parametrize("batches", [1, 3])
def test_with_a_callback_rejections_are_told_and_raise_nothing(batches: int) -> None:
    told: list[RejectedBatch] = []
    tally = Tally(on_rejected=told.append)
    refusals = [refusal(position * 10, 10) for position in range(batches)]
    for batch in refusals:
        tally.rejected(batch)
    assert told == refusals
    assert tally.result() == PutResult(0, refusals)


def test_progress_is_reported_after_each_answer_and_once_more_at_the_end() -> None:
    reports: list[PutProgress] = []
    with Tally(30, progress=reports.append) as tally:
        tally.stored(10)
        tally.rejected(refusal(10, 10))
        tally.stored(10)
    assert reports == [
        PutProgress(10, 0, 30),
        PutProgress(10, 10, 30),
        PutProgress(20, 10, 30),
        PutProgress(20, 10, 30, finished=True),
    ]


def test_put_that_fails_makes_its_last_report_and_says_how_far_it_came() -> None:
    reports: list[PutProgress] = []

    def fail() -> None:
        with Tally(progress=reports.append) as tally:
            tally.stored(10)
            tally.rejected(refusal(10, 5))
            raise ServiceUnavailable("gone")

    with pytest.raises(ServiceUnavailable) as caught:
        fail()
    assert reports[-1] == PutProgress(10, 5, None, finished=True)
    assert caught.value.__notes__ == [
        "Until then 10 vectors were stored and 5 were rejected, of 2 batches."
    ]


def test_exception_of_the_input_is_left_as_it_is() -> None:
    def fail() -> None:
        with Tally():
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone") as caught:
        fail()
    assert not hasattr(caught.value, "__notes__")


def test_callback_that_raises_reaches_the_caller_and_is_not_called_again() -> None:
    calls = 0

    def failing(_: PutProgress) -> None:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError("in the callback")

    def put() -> None:
        with Tally(progress=failing) as tally:
            tally.stored(1)

    with pytest.raises(ZeroDivisionError, match="in the callback"):
        put()
    assert calls == 1


def test_several_rejections_are_caught_with_every_other_error_of_ours() -> None:
    assert issubclass(PutRejected, VectorBucketError)
