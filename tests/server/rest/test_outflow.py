"""Whether a client takes what it is sent."""

from __future__ import annotations

from vectorbucket_server.rest.outflow import LOOKS, Outflow

PAUSE_S = 20.0


def test_nothing_that_waits_is_never_stuck() -> None:
    outflow = Outflow(PAUSE_S)
    assert not any(outflow.is_stuck(0, now_s) for now_s in (0.0, 100.0, 1000.0))


def test_answer_of_which_nothing_is_taken_is_stuck_after_a_pause() -> None:
    outflow = Outflow(PAUSE_S)
    outflow.begin(1000, 100.0, 60.0)
    assert not outflow.is_stuck(1000, 119.9)
    assert outflow.is_stuck(1000, 120.0)


def test_answer_that_is_taken_bit_by_bit_is_stuck_when_its_time_is_over() -> None:
    outflow = Outflow(PAUSE_S)
    outflow.begin(1000, 100.0, 60.0)
    assert not any(outflow.is_stuck(1000 - second, 100.0 + second) for second in range(60))
    assert outflow.is_stuck(940, 160.0)


def test_answer_that_was_taken_has_no_end() -> None:
    outflow = Outflow(PAUSE_S)
    outflow.begin(1000, 100.0, 60.0)
    outflow.end()
    assert not outflow.is_stuck(10, 160.0)
    assert outflow.is_stuck(10, 180.0)


def test_as_much_as_before_is_not_stuck_if_something_was_added() -> None:
    outflow = Outflow(PAUSE_S)
    assert not outflow.is_stuck(10, 100.0)
    outflow.add()
    assert not outflow.is_stuck(10, 120.0)
    assert outflow.is_stuck(10, 140.0)


def test_it_is_looked_often_enough_while_an_answer_waits() -> None:
    outflow = Outflow(PAUSE_S)
    assert outflow.look_at_s(100.0) == 100.0 + PAUSE_S
    outflow.begin(1000, 100.0, 60.0)
    assert outflow.look_at_s(100.0) == 100.0 + PAUSE_S / LOOKS
    assert outflow.look_at_s(158.0) == 160.0
    outflow.end()
    assert outflow.look_at_s(100.0) == 100.0 + PAUSE_S
